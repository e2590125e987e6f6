/** The way to what computes a layer in few commands: with what else only a GPU needs (device/webgpu/load.ts). */
export type Fused = typeof import('./fused-layer.ts');

export function loadFused(): Promise<Fused> {
  return import('./fused-layer.ts');
}
