/** Small dense algebra beside `LinearAlgebra`: products on any device, and what rows of them need. */
import type { Device, Tensor } from '../../../device/device.ts';

/** Rows of a product at a time. */
const ROWS = 512;

/** a [m, k] · b [n, k]^T + add, on the device. */
export async function times(
  device: Device,
  a: Float32Array,
  b: Float32Array,
  k: number,
  add = 0,
): Promise<Float32Array> {
  const [m, n] = [a.length / k, b.length / k];
  const out = new Float32Array(m * n);
  const held: Tensor[] = [];
  const room = (rows: number, columns: number): Tensor => {
    const made = device.tensor('f32', [rows, columns]);
    held.push(made);
    return made;
  };
  try {
    const right = room(n, k);
    device.write(right, b);
    const rows = Math.min(ROWS, m);
    const [left, product] = [room(rows, k), room(rows, n)];
    for (let first = 0; first < m; first += rows) {
      const some = Math.min(rows, m - first);
      const [x, y] = [device.rows(left, 0, some), device.rows(product, 0, some)];
      device.write(x, a.subarray(first * k, (first + some) * k));
      device.matmul(x, right, y, { transposeB: true });
      out.set((await device.read(y)) as Float32Array, first * n);
    }
  } finally {
    for (const tensor of held) tensor.dispose();
  }
  if (add !== 0) for (let i = 0; i < out.length; i++) out[i]! += add;
  return out;
}

export function transposed(a: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(a.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = a[i * columns + j]!;
  return out;
}

/** With four sums, so that one addition need not wait for the last. */
export function dot(a: Float32Array, b: Float32Array, from: number): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 4 <= a.length; i += 4) {
    s0 += a[i]! * b[from + i]!;
    s1 += a[i + 1]! * b[from + i + 1]!;
    s2 += a[i + 2]! * b[from + i + 2]!;
    s3 += a[i + 3]! * b[from + i + 3]!;
  }
  for (; i < a.length; i++) s0 += a[i]! * b[from + i]!;
  return s0 + s1 + s2 + s3;
}

export function softmax(scores: Float64Array, temperature: number): Float64Array {
  const most = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const shares = scores.map((score) => Math.exp((score - most) / temperature));
  const total = shares.reduce((sum, share) => sum + share, 0);
  return shares.map((share) => share / total);
}

export function logShare(scores: Float64Array, temperature: number, label: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const score of scores) most = Math.max(most, score);
  let sum = 0;
  for (const score of scores) sum += Math.exp((score - most) / temperature);
  return (scores[label]! - most) / temperature - Math.log(sum);
}

/** Solves a x = b for the columns of b [n, columns] in place, by elimination with pivoting; `a` [n, n] is overwritten. */
export function solve(a: Float64Array, b: Float64Array, n: number): void {
  const columns = b.length / n;
  const swap = (list: Float64Array, width: number, i: number, j: number): void => {
    for (let k = 0; i !== j && k < width; k++) {
      const kept = list[i * width + k]!;
      list[i * width + k] = list[j * width + k]!;
      list[j * width + k] = kept;
    }
  };
  for (let i = 0; i < n; i++) {
    let pivot = i;
    for (let j = i + 1; j < n; j++) if (Math.abs(a[j * n + i]!) > Math.abs(a[pivot * n + i]!)) pivot = j;
    swap(a, n, i, pivot);
    swap(b, columns, i, pivot);
    for (let j = 0; j < n; j++) {
      if (j === i) continue;
      const by = a[j * n + i]! / a[i * n + i]!;
      for (let k = i; by !== 0 && k < n; k++) a[j * n + k]! -= by * a[i * n + k]!;
      for (let k = 0; by !== 0 && k < columns; k++) b[j * columns + k]! -= by * b[i * columns + k]!;
    }
  }
  for (let i = 0; i < n; i++) for (let k = 0; k < columns; k++) b[i * columns + k]! /= a[i * n + i]!;
}
