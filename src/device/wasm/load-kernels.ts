import { EspalierError } from '../../errors.ts';
import type { Kernels } from './kernels.ts';
import { kernelAddress } from './location.ts';

/** (module (func (result v128) (f32x4.relaxed_madd …))): valid where the engine has relaxed SIMD. */
const RELAXED_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 1, 253, 17, 65, 1, 253, 17, 65,
  1, 253, 17, 253, 133, 2, 11,
]);
/** (module (func (result v128) (i32x4.splat (i32.const 1)))). */
const SIMD_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 1, 253, 17, 11,
]);

export interface KernelModule {
  readonly module: WebAssembly.Module;
  readonly relaxed: boolean;
  readonly shared: boolean;
}

const compiled = new Map<string, Promise<WebAssembly.Module>>();

/** Does this engine accept relaxed SIMD? */
export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(RELAXED_PROBE);
}

/**
 * Compiles the kernels for this engine, once a process and variant.
 * @param shared over shared memory. @param relaxed false forces plain SIMD. @param location folder of the wasm files, where it is not the package's.
 * @throws E_DEVICE_UNSUPPORTED without WebAssembly SIMD; E_FILE_NOT_FOUND when the wasm file is not where it should be.
 */
export async function loadKernels(
  shared: boolean,
  relaxed: boolean = hasRelaxedSimd(),
  location?: URL,
): Promise<KernelModule> {
  if (!WebAssembly.validate(SIMD_PROBE)) {
    throw new EspalierError(
      'E_DEVICE_UNSUPPORTED',
      'This engine has no WebAssembly SIMD.',
      'Use Node 20, Deno 2 or a browser from 2023 or later.',
    );
  }
  const url = kernelAddress(`${shared ? 'shared' : 'plain'}.${relaxed ? 'relaxed' : 'simd'}`, location);
  let module = compiled.get(url.href);
  if (module === undefined) {
    module = readBytes(url).then((bytes) => WebAssembly.compile(bytes));
    module.catch(() => compiled.delete(url.href));
    compiled.set(url.href, module);
  }
  return { module: await module, relaxed, shared };
}

async function readBytes(url: URL): Promise<Uint8Array<ArrayBuffer>> {
  try {
    if (url.protocol === 'file:') {
      const { readFile } = await import('node:fs/promises');
      return new Uint8Array(await readFile(url));
    }
    const response = await fetch(url);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw new EspalierError(
      'E_FILE_NOT_FOUND',
      `The kernels are not at ${url.href}.`,
      'Run `npm run build` in a checkout, or serve the package’s build folder beside its JavaScript.',
      { cause },
    );
  }
}

/** A module over a memory. Pointer-style kernels need no loader: exports are called with addresses. */
export async function instantiate(kernels: KernelModule, memory: WebAssembly.Memory): Promise<Kernels> {
  const abort = () => {
    throw new EspalierError(
      'E_DEVICE_UNSUPPORTED',
      'A kernel stopped.',
      'This is a defect of Espalier; please report it.',
    );
  };
  const instance = await WebAssembly.instantiate(kernels.module, { env: { memory, abort } });
  return instance.exports as unknown as Kernels;
}
