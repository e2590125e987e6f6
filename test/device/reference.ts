/** Plain f64 references for the device tests, and helpers that make inputs and measure errors. */

/** Deterministic numbers in [-1, 1) (a 32-bit linear congruential generator). */
export function noise(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2147483648 - 1;
  };
}

export function randomF32(n: number, seed: number, scale = 1): Float32Array {
  const next = noise(seed);
  return Float32Array.from({ length: n }, () => next() * scale);
}

/** Largest |a - b| relative to the largest |b|. */
export function worstError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`lengths differ: ${a.length}, ${b.length}`);
  let error = 0;
  let size = 0;
  for (let i = 0; i < a.length; i++) {
    if (!Number.isFinite(a[i]!)) return Number.POSITIVE_INFINITY;
    error = Math.max(error, Math.abs(a[i]! - b[i]!));
    size = Math.max(size, Math.abs(b[i]!));
  }
  return size === 0 ? error : error / size;
}

/** c[m, n] = alpha · op(a) · op(b) in f64. */
export function product(
  m: number,
  n: number,
  k: number,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { transposeA = false, transposeB = false, alpha = 1 } = {},
): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++)
        sum += a[transposeA ? p * m + i : i * k + p]! * b[transposeB ? j * k + p : p * n + j]!;
      c[i * n + j] = alpha * sum;
    }
  }
  return c;
}
