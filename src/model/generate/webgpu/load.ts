/** The way to passes that run ahead: with what else only a GPU needs (device/webgpu/load.ts). */
export type Ahead = typeof import('./run-ahead.ts');

export function loadAhead(): Promise<Ahead> {
  return import('./run-ahead.ts');
}
