/** One query over a cache of keys and values (attention.ts): decoding. */
import { LOG2_E, exp2x4, madd, max4, sum4 } from './math';
import { NOTHING } from './attention';

// @ts-ignore: decorator
@inline
function pad8(n: i32): i32 {
  return (n + 7) & ~7;
}

/** Bytes of scratch for attentionDecode. */
export function attentionDecodeScratch(keys: i32, nHeads: i32): usize {
  return <usize>(nHeads * (pad8(keys) + 8)) << 2;
}

/**
 * One query row over cache positions start..keys-1, heads first..last-1: out[nHeads][headDim]. headDim a multiple of 4. Keys and values are walked
 * once, four and sixteen positions at a time, with all heads at each step: memory sees two sequential streams.
 */
export function attentionDecode(
  start: i32, keys: i32, nHeads: i32, nKvHeads: i32, headDim: i32, first: i32, last: i32, factor: f32, q: usize,
  keysAt: usize, valuesAt: usize, out: usize, scratch: usize,
): void {
  const group = nHeads / nKvHeads, stride = <usize>(nKvHeads * headDim) << 2, width = <usize>headDim << 2;
  const n = keys - start, row = <usize>(pad8(n) + 8) << 2;
  let at = keysAt + <usize>start * stride, touched = i32x4.splat(0);
  for (let j = 0; j < n; j += BLOCK, at += <usize>BLOCK * stride) {
    const m = min(BLOCK, n - j);
    touched = v128.or(touched, touch(at, at + <usize>m * stride));
    for (let h = first; h < last; h++) {
      const query = q + <usize>h * width, to = scratch + <usize>h * row + (<usize>j << 2);
      let k = at + <usize>(h / group) * width;
      for (let i = 0; i < m; i += 4, k += 4 * stride) {
        // beyond the end: the last row again, hidden below
        const s1: usize = i + 1 < m ? stride : 0, s2: usize = i + 2 < m ? stride << 1 : 0, s3: usize = i + 3 < m ? stride * 3 : 0;
        v128.store(to + (<usize>i << 2), scores4(query, k, k + s1, k + s2, k + s3, width, factor * LOG2_E));
      }
    }
  }
  for (let h = first; h < last; h++) {
    const scores = scratch + <usize>h * row;
    for (let p = n; p & 3; p++) store<f32>(scores + (<usize>p << 2), NOTHING);
    const inverse = softmaxRow(scores, n);
    store<f32>(scores + row - 16, inverse);
    memory.fill(out + <usize>h * width, 0, width);
  }
  at = valuesAt + <usize>start * stride;
  for (let j = 0; j < n; j += BLOCK, at += <usize>BLOCK * stride) {
    const m = min(BLOCK, n - j);
    touched = v128.or(touched, touch(at, at + <usize>m * stride));
    for (let h = first; h < last; h++) {
      const p = scratch + <usize>h * row + (<usize>j << 2);
      let v = at + <usize>(h / group) * width, to = out + <usize>h * width, left = headDim;
      for (; left >= 32; left -= 32, v += 128, to += 128) weigh32(p, m, v, stride, to);
      for (; left > 0; left -= 4, v += 16, to += 16) weigh4(p, m, v, stride, to);
    }
  }
  for (let h = first; h < last; h++) {
    const inverse = v128.load32_splat(scratch + <usize>h * row + row - 16), to = out + <usize>h * width;
    for (let i: usize = 0; i < width; i += 16) v128.store(to + i, f32x4.mul(v128.load(to + i), inverse));
  }
  v128.store(scratch + <usize>first * row, touched); // so that the touching is not optimised away
}

/** Cache positions that stay in level 1 or 2 while all heads pass. */
const BLOCK: i32 = 32;

/** Reads one word of each line in order: memory streams, where the heads' own walk with strides would wait. */
// @ts-ignore: decorator
@inline
function touch(from: usize, to: usize): v128 {
  let sum = i32x4.splat(0);
  for (let p = from; p < to; p += 64) sum = v128.or(sum, v128.load(p));
  return sum;
}

/** Scaled products of one query with four keys. */
// @ts-ignore: decorator
@inline
function scores4(q: usize, k0: usize, k1: usize, k2: usize, k3: usize, width: usize, factor: f32): v128 {
  let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
  for (let i: usize = 0; i < width; i += 16) {
    const x = v128.load(q + i);
    a0 = madd(x, v128.load(k0 + i), a0);
    a1 = madd(x, v128.load(k1 + i), a1);
    a2 = madd(x, v128.load(k2 + i), a2);
    a3 = madd(x, v128.load(k3 + i), a3);
  }
  // four horizontal sums at once
  const b0 = f32x4.add(v128.shuffle<f32>(a0, a1, 0, 4, 1, 5), v128.shuffle<f32>(a0, a1, 2, 6, 3, 7));
  const b1 = f32x4.add(v128.shuffle<f32>(a2, a3, 0, 4, 1, 5), v128.shuffle<f32>(a2, a3, 2, 6, 3, 7));
  const sums = f32x4.add(v128.shuffle<f32>(b0, b1, 0, 1, 4, 5), v128.shuffle<f32>(b0, b1, 2, 3, 6, 7));
  return f32x4.mul(sums, f32x4.splat(factor));
}

/** n scores (padded to a multiple of four) to 2^(score - maximum); returns 1 / sum. */
// @ts-ignore: decorator
@inline
function softmaxRow(scores: usize, n: i32): f32 {
  const end = scores + (<usize>((n + 3) & ~3) << 2);
  let m = v128.load(scores);
  for (let p = scores; p < end; p += 16) m = f32x4.pmax(m, v128.load(p));
  const base = f32x4.splat(max4(m));
  let total = f32x4.splat(0);
  for (let p = scores; p < end; p += 16) {
    const e = exp2x4(f32x4.sub(v128.load(p), base));
    v128.store(p, e);
    total = f32x4.add(total, e);
  }
  return <f32>1 / sum4(total);
}

/** to[32] += weighted sum of n rows of values: eight chains. Its own function, so that its registers are. */
export function weigh32(scores: usize, n: i32, v: usize, stride: usize, to: usize): void {
  let a0 = v128.load(to), a1 = v128.load(to, 16), a2 = v128.load(to, 32), a3 = v128.load(to, 48);
  let a4 = v128.load(to, 64), a5 = v128.load(to, 80), a6 = v128.load(to, 96), a7 = v128.load(to, 112);
  for (let j = 0; j < n; j++, v += stride, scores += 4) {
    const p = v128.load32_splat(scores);
    a0 = madd(p, v128.load(v), a0);
    a1 = madd(p, v128.load(v, 16), a1);
    a2 = madd(p, v128.load(v, 32), a2);
    a3 = madd(p, v128.load(v, 48), a3);
    a4 = madd(p, v128.load(v, 64), a4);
    a5 = madd(p, v128.load(v, 80), a5);
    a6 = madd(p, v128.load(v, 96), a6);
    a7 = madd(p, v128.load(v, 112), a7);
  }
  v128.store(to, a0);
  v128.store(to, a1, 16);
  v128.store(to, a2, 32);
  v128.store(to, a3, 48);
  v128.store(to, a4, 64);
  v128.store(to, a5, 80);
  v128.store(to, a6, 96);
  v128.store(to, a7, 112);
}

function weigh4(scores: usize, n: i32, v: usize, stride: usize, to: usize): void {
  let a = v128.load(to);
  for (let j = 0; j < n; j++, v += stride, scores += 4) a = madd(v128.load32_splat(scores), v128.load(v), a);
  v128.store(to, a);
}
