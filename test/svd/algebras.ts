import { Lanes } from '../../src/device/wasm/lanes.ts';
import { hasRelaxedSimd, instantiate, loadKernels } from '../../src/device/wasm/load-kernels.ts';
import { WasmMemory } from '../../src/device/wasm/memory.ts';
import { Blas } from '../../src/svd/blas.ts';
import { LinearAlgebra } from '../../src/svd/index.ts';
import { fillNormal } from '../../src/svd/normal.ts';

/** The main thread of a page may not wait for lanes. */
export const lanesPossible = typeof SharedArrayBuffer === 'function' && !('document' in globalThis);

/** Every build that this host has, and lanes where it may have them. */
export async function algebras(): Promise<{ name: string; algebra: LinearAlgebra }[]> {
  const list: { name: string; algebra: LinearAlgebra }[] = [];
  for (const relaxed of hasRelaxedSimd() ? [false, true] : [false]) {
    const simd = relaxed ? 'relaxed' : 'plain';
    list.push({ name: simd, algebra: await LinearAlgebra.create({ relaxed }) });
    if (lanesPossible)
      list.push({ name: `${simd}, 2 lanes`, algebra: await LinearAlgebra.create({ relaxed, lanes: 2 }) });
  }
  return list;
}

/** The kernels themselves, of every SIMD variant. */
export async function kernelSets(): Promise<{ name: string; blas: Blas }[]> {
  const list: { name: string; blas: Blas }[] = [];
  for (const relaxed of hasRelaxedSimd() ? [false, true] : [false]) {
    const module = await loadKernels(false, relaxed);
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536 });
    const kernels = await instantiate(module, memory);
    const own = new WasmMemory(memory, kernels.heapBase());
    list.push({
      name: relaxed ? 'relaxed' : 'plain',
      blas: new Blas(kernels, own, new Lanes(kernels, module.module, own, 1)),
    });
  }
  return list;
}

/** Reproducible standard normal numbers. */
export function normal(count: number, seed: number): Float64Array<ArrayBuffer> {
  const x = new Float64Array(count);
  fillNormal(x, seed);
  return x;
}

/** A[m, k] · B[k, n], the plain way. */
export function product(m: number, n: number, k: number, a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let l = 0; l < k; l++) {
      const v = a[i * k + l]!;
      for (let j = 0; j < n; j++) c[i * n + j]! += v * b[l * n + j]!;
    }
  }
  return c;
}

export function transpose(rows: number, columns: number, a: ArrayLike<number>): Float64Array<ArrayBuffer> {
  return Float64Array.from({ length: rows * columns }, (_, i) => a[(i % rows) * columns + Math.floor(i / rows)]!);
}

/** Largest difference. */
export function difference(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let most = x.length === y.length ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < x.length; i++) most = Math.max(most, Math.abs(x[i]! - y[i]!));
  return most;
}

/** Do values fall, or stay? NaN does neither. */
export function descending(x: Float64Array): boolean {
  return x.every((v, i) => (i === 0 ? !Number.isNaN(v) : v <= x[i - 1]!));
}

/** ||A - U S V^T||_F / ||A||_F and the largest entry of U^T U - I and V V^T - I, in plain loops: what `quality` is held against. */
export function measured(
  rows: number,
  columns: number,
  a: ArrayLike<number>,
  result: { u: ArrayLike<number>; s: Float64Array; vt: ArrayLike<number> },
): { residual: number; orthogonality: number } {
  const k = result.s.length;
  const us = Float64Array.from({ length: rows * k }, (_, i) => result.u[i]! * result.s[i % k]!);
  const c = product(rows, columns, k, us, result.vt);
  let missed = 0;
  let all = 0;
  for (let i = 0; i < c.length; i++) {
    missed += (c[i]! - a[i]!) ** 2;
    all += a[i]! ** 2;
  }
  const identity = Float64Array.from({ length: k * k }, (_, i) => (i % (k + 1) === 0 ? 1 : 0));
  const ofU = difference(product(k, k, rows, transpose(rows, k, result.u), result.u), identity);
  const ofV = difference(product(k, k, columns, result.vt, transpose(k, columns, result.vt)), identity);
  return { residual: all === 0 ? 0 : Math.sqrt(missed / all), orthogonality: Math.max(ofU, ofV) };
}
