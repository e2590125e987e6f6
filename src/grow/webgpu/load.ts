/** The way to what a GPU computes of a projection: with what else only a GPU needs (device/webgpu/load.ts). */
export type Projection = typeof import('./projection.ts');

export function loadProjection(): Promise<Projection> {
  return import('./projection.ts');
}
