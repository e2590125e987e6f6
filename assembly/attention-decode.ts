/** One query over a cache of keys and values (attention.ts): decoding. */
import { LOG2_E, exp2x4, madd, maxLanes, sum4 } from './math';
import { scale } from './activation';
import { NOTHING } from './attention';

/** Cache positions of a chunk. Chunks are the same whatever the lanes, so results are too, to the bit. */
const CHUNK: i32 = 64;
/** Bytes of a head's scores. */
const ROW: usize = <usize>CHUNK << 2;

/** Chunks of `positions` cache positions. */
export function decodeChunks(positions: i32): i32 {
  return (positions + CHUNK - 1) / CHUNK;
}

/** Bytes of scratch for attentionDecode, of each lane's own. */
export function attentionDecodeScratch(nHeads: i32): usize {
  return <usize>nHeads * ROW;
}

/**
 * One query row over the chunks first..last-1 of the cache positions start..keys-1, for mergeDecode: outs [chunk][nHeads][headDim] become
 * the sums of values times 2^(score - maximum), stats [chunk][nHeads] of (maximum, sum). headDim a multiple of 4. Lanes share the
 * positions, not the heads, so that each reads its own part of the cache; all heads walk 32 positions at a time, so that memory sees
 * sequential streams.
 */
export function attentionDecode(
  first: i32, last: i32, start: i32, keys: i32, nHeads: i32, nKvHeads: i32, headDim: i32, factor: f32, q: usize,
  keysAt: usize, valuesAt: usize, outs: usize, stats: usize, scratch: usize,
): void {
  const stride = <usize>(nKvHeads * headDim) << 2, width = <usize>(nHeads * headDim) << 2;
  for (let c = first; c < last; c++) {
    const from = start + c * CHUNK, n = min(CHUNK, keys - from), at = <usize>from * stride;
    decodeChunk(
      n, nHeads, nHeads / nKvHeads, headDim, stride, factor, q, keysAt + at, valuesAt + at, outs + <usize>c * width,
      stats + (<usize>(c * nHeads) << 3), scratch,
    );
  }
}

function decodeChunk(
  n: i32, nHeads: i32, group: i32, headDim: i32, stride: usize, factor: f32, q: usize, keysAt: usize, valuesAt: usize,
  out: usize, stats: usize, scratch: usize,
): void {
  const width = <usize>headDim << 2;
  let at = keysAt, touched = i32x4.splat(0);
  for (let j = 0; j < n; j += BLOCK, at += <usize>BLOCK * stride) {
    const m = min(BLOCK, n - j);
    touched = v128.or(touched, touch(at, at + <usize>m * stride));
    for (let h = 0; h < nHeads; h++) {
      const query = q + <usize>h * width, to = scratch + <usize>h * ROW + (<usize>j << 2);
      let k = at + <usize>(h / group) * width;
      for (let i = 0; i < m; i += 4, k += 4 * stride) {
        // beyond the end: the last row again, hidden below
        const s1: usize = i + 1 < m ? stride : 0, s2: usize = i + 2 < m ? stride << 1 : 0, s3: usize = i + 3 < m ? stride * 3 : 0;
        v128.store(to + (<usize>i << 2), scores4(query, k, k + s1, k + s2, k + s3, width, factor * LOG2_E));
      }
    }
  }
  for (let h = 0; h < nHeads; h++) {
    const scores = scratch + <usize>h * ROW;
    for (let p = n; p & 3; p++) store<f32>(scores + (<usize>p << 2), NOTHING);
    softmaxRow(scores, n, stats + (<usize>h << 3));
  }
  memory.fill(out, 0, <usize>nHeads * width);
  at = valuesAt;
  for (let j = 0; j < n; j += BLOCK, at += <usize>BLOCK * stride) {
    const m = min(BLOCK, n - j);
    touched = v128.or(touched, touch(at, at + <usize>m * stride));
    for (let h = 0; h < nHeads; h++) {
      const p = scratch + <usize>h * ROW + (<usize>j << 2);
      let v = at + <usize>(h / group) * width, to = out + <usize>h * width, left = headDim;
      for (; left >= 32; left -= 32, v += 128, to += 128) weigh32(p, m, v, stride, to);
      for (; left > 0; left -= 4, v += 16, to += 16) weigh4(p, m, v, stride, to);
    }
  }
  v128.store(scratch, touched); // so that the touching is not optimised away
}

/**
 * The chunks of attentionDecode together: outs [chunks][nHeads][headDim] and stats [chunks][nHeads] of (maximum, sum) to
 * out [nHeads][headDim], as in online softmax.
 */
export function mergeDecode(chunks: i32, nHeads: i32, headDim: i32, outs: usize, stats: usize, out: usize): void {
  const width = <usize>headDim << 2;
  for (let h = 0; h < nHeads; h++) {
    let most = NOTHING, sum: f32 = 0;
    for (let p = 0; p < chunks; p++) most = max(most, load<f32>(stats + (<usize>(p * nHeads + h) << 3)));
    const to = out + <usize>h * width;
    memory.fill(to, 0, width);
    for (let p = 0; p < chunks; p++) {
      const at = stats + (<usize>(p * nHeads + h) << 3), from = outs + <usize>(p * nHeads + h) * width;
      const factor = exp2x4(f32x4.splat(load<f32>(at) - most));
      sum += load<f32>(at, 4) * f32x4.extract_lane(factor, 0);
      for (let i: usize = 0; i < width; i += 16) v128.store(to + i, madd(factor, v128.load(from + i), v128.load(to + i)));
    }
    scale(headDim, <f32>1 / sum, to);
  }
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

/** n scores (padded to a multiple of four) to 2^(score - maximum); their maximum and sum to stats. */
// @ts-ignore: decorator
@inline
function softmaxRow(scores: usize, n: i32, stats: usize): void {
  const end = scores + (<usize>((n + 3) & ~3) << 2);
  let m = v128.load(scores);
  for (let p = scores; p < end; p += 16) m = f32x4.pmax(m, v128.load(p));
  const base = maxLanes(m);
  let total = f32x4.splat(0);
  for (let p = scores; p < end; p += 16) {
    const e = exp2x4(f32x4.sub(v128.load(p), base));
    v128.store(p, e);
    total = f32x4.add(total, e);
  }
  store<f32>(stats, f32x4.extract_lane(base, 0));
  store<f32>(stats, sum4(total), 4);
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
