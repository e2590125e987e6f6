/** The four builds of the kernels. */
export type KernelBuild = 'plain.simd' | 'plain.relaxed' | 'shared.simd' | 'shared.relaxed';

/** Bundlers find the files by these very expressions. */
const packaged: Record<KernelBuild, () => URL> = {
  'plain.simd': () => new URL('../../../build/kernels.plain.simd.wasm', import.meta.url),
  'plain.relaxed': () => new URL('../../../build/kernels.plain.relaxed.wasm', import.meta.url),
  'shared.simd': () => new URL('../../../build/kernels.shared.simd.wasm', import.meta.url),
  'shared.relaxed': () => new URL('../../../build/kernels.shared.relaxed.wasm', import.meta.url),
};

let elsewhere: URL | undefined;

/** Where kernels lie that are loaded later by whoever was not told: of a model on a GPU, whose host computes a part. */
export function kernelsLieIn(location: URL | undefined): void {
  elsewhere = location ?? elsewhere;
}

/** Where a build lies: in the package, or in the folder `location`. */
export function kernelAddress(build: KernelBuild, location: URL | undefined = elsewhere): URL {
  return location === undefined ? packaged[build]() : new URL(`kernels.${build}.wasm`, location);
}
