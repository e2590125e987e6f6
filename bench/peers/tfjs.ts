/** tfjs-backend-wasm, SIMD, one thread: a matrix product with its operands already in wasm memory. */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';

interface Tensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}
interface Core {
  version_core: string;
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  env(): { set(flag: string, value: boolean): void };
  tensor2d(data: Float32Array, shape: [number, number]): Tensor;
  matMul(a: Tensor, b: Tensor): Tensor;
}
interface Backend {
  setWasmPaths(folder: string): void;
  setThreadsCount(count: number): void;
}

let loaded: Promise<Core> | undefined;

// both packages are CommonJS under Node and must share one copy of the core: require, not import
async function start(): Promise<Core> {
  const require = createRequire(import.meta.url);
  const core = require('@tensorflow/tfjs-core') as Core;
  const backend = require('@tensorflow/tfjs-backend-wasm') as Backend;
  backend.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
  core.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  backend.setThreadsCount(1);
  if (!(await core.setBackend('wasm'))) throw new Error('the wasm backend did not start');
  await core.ready();
  return core;
}

function load(): Promise<Core> {
  loaded ??= start();
  return loaded;
}

/** Why this peer cannot run, or null. */
export async function available(): Promise<string | null> {
  try {
    await load();
    return null;
  } catch (error) {
    return `tfjs-backend-wasm is not installed: npm ci --prefix bench/peers (${(error as Error).message.split('\n')[0]})`;
  }
}

export async function version(): Promise<string> {
  return `tfjs-backend-wasm ${(await load()).version_core}`;
}

/** C = A·B, all [n, n]; upload and download are not part of `run`. */
export async function matmul(a: Float32Array, b: Float32Array, n: number) {
  const core = await load();
  const left = core.tensor2d(a, [n, n]);
  const right = core.tensor2d(b, [n, n]);
  return {
    run: (): void => core.matMul(left, right).dispose(),
    result: async (): Promise<Float32Array> => {
      const product = core.matMul(left, right);
      const data = await product.data();
      product.dispose();
      return data;
    },
    dispose: (): void => {
      left.dispose();
      right.dispose();
    },
  };
}
