/** The library as a contender. The only file here that knows how to call it; everything is imported when first used. */
import { EspalierError } from '../src/errors.ts';

export interface Product {
  /** One C = A·B on data already on the device; synchronous, done when it returns. */
  run(): void;
  result(): Promise<Float32Array>;
  dispose(): void;
}

export interface BenchModel {
  /** Forgets what was there, runs all ids with logits for the last only; seconds. */
  prefill(ids: readonly number[]): Promise<number>;
  /** Greedy decoding of `n` tokens from where the last call ended; seconds without picking the token. */
  decode(n: number): Promise<{ seconds: number; ids: number[] }>;
  dispose(): void;
}

export interface OpenOptions {
  /** How quantised weights meet activations. */
  activations: 'int8' | 'f32';
  /** Positions the cache must hold. */
  context: number;
}

export interface MicroCase {
  name: string;
  run(): void;
}

/** a, b: [n, n]. */
export async function gemm(_a: Float32Array, _b: Float32Array, _n: number): Promise<Product> {
  throw notWired();
}

/** A GGUF file or a model folder. */
export async function openModel(_path: string, _options: OpenOptions): Promise<BenchModel> {
  throw notWired();
}

/** Small operations, each well under a millisecond. */
export async function micro(): Promise<MicroCase[]> {
  throw notWired();
}

export const version = 'espalier 0.1.0';

function notWired(): EspalierError {
  return new EspalierError(
    'E_DEVICE_UNSUPPORTED',
    'This benchmark is not wired to the kernels.',
    'Fill in bench/ours.ts.',
  );
}
