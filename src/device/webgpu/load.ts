/**
 * The way to all that computes on a GPU: loaded when a GPU is asked for, so that what computes on the CPU loads none of it. The build puts
 * another module in the place of this one where workers are bundled (scripts/build.mjs).
 */
export type Gpu = typeof import('./gpu.ts');

export function loadGpu(): Promise<Gpu> {
  return import('./gpu.ts');
}
