/**
 * Attention over a cache of keys and values, both row-major [positions][nKvHeads][headDim], keys already rotated.
 *
 * Grouped queries: head h reads KV head h / (nHeads / nKvHeads). What a row sees is given by three numbers: cache positions
 * from `from` up to `limit` (a shared prefix), and from `self` up to and with its own position. Plain causal attention has
 * from = self = 0 and limit = own + 1.
 */
import { exp4, madd, max4, sum4 } from './math';
import { gemmBlock, microRows, packA } from './gemm';

/** Keys in a tile. */
const TILE: i32 = 64;
/** Rows (queries times heads of a group) in a block: a multiple of 4, 5 and 6. */
const ROWS: i32 = 60;
const NOTHING: f32 = -1e30;

// @ts-ignore: decorator
@inline
function pad8(n: i32): i32 {
  return (n + 7) & ~7;
}

/** Bytes of scratch for attentionPrefill over `keys` cache positions (the new ones included). */
export function attentionPrefillScratch(keys: i32, headDim: i32): usize {
  const all = pad8(keys) + TILE, d = pad8(headDim), m = ROWS + 6;
  return <usize>(2 * all * d + m * (2 * d + 2 * TILE + 4)) << 2;
}

/** Rows `keys` of one KV head to panels [keys/8][headDim][8] (transposed); missing ones zero. */
function packKeys(k: usize, stride: usize, keys: i32, headDim: i32, to: usize): void {
  for (let j = 0; j < keys; j += 8) {
    for (let c = 0; c < 8; c++) {
      let out = to + (<usize>c << 2);
      let from = k + <usize>(j + c) * stride;
      if (j + c < keys) for (let i = 0; i < headDim; i++, out += 32, from += 4) store<f32>(out, load<f32>(from));
      else for (let i = 0; i < headDim; i++, out += 32) store<f32>(out, 0);
    }
    to += <usize>headDim << 5;
  }
}

/** Rows `keys` of one KV head to panels [headDim/8][all][8], `all` rows long; the rest zero. */
function packValues(v: usize, stride: usize, keys: i32, all: i32, headDim: i32, to: usize): void {
  for (let c = 0; c < headDim; c += 8) {
    const n = min(8, headDim - c);
    let from = v + (<usize>c << 2), out = to;
    for (let j = 0; j < keys; j++, from += stride, out += 32) {
      if (n == 8) {
        v128.store(out, v128.load(from));
        v128.store(out, v128.load(from, 16), 16);
      } else {
        for (let i: usize = 0; i < 8; i++) store<f32>(out + (i << 2), i < <usize>n ? load<f32>(from + (i << 2)) : 0);
      }
    }
    memory.fill(out, 0, <usize>(all - keys) << 5);
    to += <usize>all << 5;
  }
}

/**
 * out[rows][nHeads][headDim] for query rows 0..rows-1 and the KV heads firstKv..lastKv-1. q as out, row strides in bytes. Row i
 * stands at cache position base + i; mask: 0 (causal within `window` positions, 0 for no window), or [rows][3] i32 of
 * (from, limit, self). Online softmax over tiles of keys (Milakov and Gimelshein 2018; Dao et al. 2022).
 */
export function attentionPrefill(
  kernel: i32, rows: i32, base: i32, nHeads: i32, nKvHeads: i32, headDim: i32, firstKv: i32, lastKv: i32, scale: f32,
  q: usize, qStride: usize, keysAt: usize, valuesAt: usize, window: i32, mask: usize, out: usize, outStride: usize,
  scratch: usize,
): void {
  const group = nHeads / nKvHeads, d = pad8(headDim), mr = microRows(kernel);
  const keys = base + rows, all = pad8(keys) + TILE, cacheStride = <usize>(nKvHeads * headDim) << 2;
  const m6 = <usize>(ROWS + 6) << 2; // rows of a block, rounded up to any tile, in bytes of f32
  const kPanels = scratch, vPanels = kPanels + (<usize>(all * d) << 2), packed = vPanels + (<usize>(all * d) << 2);
  const acc = packed + m6 * d, s = acc + m6 * d, probabilities = s + m6 * TILE, stats = probabilities + m6 * TILE;
  const queries = max(1, ROWS / group);
  for (let kv = firstKv; kv < lastKv; kv++) {
    const kvAt = <usize>(kv * headDim) << 2;
    packKeys(keysAt + kvAt, cacheStride, keys, headDim, kPanels);
    memory.fill(kPanels + (<usize>(pad8(keys) * headDim) << 2), 0, <usize>(TILE * headDim) << 2);
    packValues(valuesAt + kvAt, cacheStride, keys, all, headDim, vPanels);
    for (let head = kv * group; head < (kv + 1) * group; head += group > ROWS ? ROWS : group) {
      const heads = min(min(group, ROWS), (kv + 1) * group - head);
      for (let i0 = 0; i0 < rows; i0 += queries) {
        const n = min(queries, rows - i0), m = n * heads;
        // rows of the block: query-major, so that row r is query i0 + r / heads, head + r % heads
        for (let r = 0; r < m; r++) {
          const from = q + <usize>(i0 + r / heads) * qStride + (<usize>((head + r % heads) * headDim) << 2);
          memory.copy(acc + (<usize>(r * headDim) << 2), from, <usize>headDim << 2);
        }
        packA(acc, <usize>headDim << 2, 4, m, headDim, mr, scale, packed);
        attendBlock(
          kernel, n, heads, base, i0, headDim, keys, all, window, mask, packed, kPanels, vPanels, s, probabilities, acc, stats,
        );
        for (let r = 0; r < m; r++) {
          const to = out + <usize>(i0 + r / heads) * outStride + (<usize>((head + r % heads) * headDim) << 2);
          const inverse: f32 = <f32>1 / load<f32>(stats + (<usize>r << 4), 4), from = acc + (<usize>(r * d) << 2);
          for (let i: usize = 0; i < <usize>headDim; i++) store<f32>(to + (i << 2), load<f32>(from + (i << 2)) * inverse);
        }
      }
    }
  }
}

/** All tiles of keys for one block of rows. packed: queries; stats: [rows] of (maximum, sum, -, -); acc: [rows][pad8(headDim)]. */
function attendBlock(
  kernel: i32, n: i32, heads: i32, base: i32, i0: i32, headDim: i32, keys: i32, all: i32, window: i32, mask: usize,
  packed: usize, kPanels: usize, vPanels: usize, s: usize, probabilities: usize, acc: usize, stats: usize,
): void {
  const m = n * heads, d = pad8(headDim), mr = microRows(kernel);
  memory.fill(acc, 0, <usize>(m * d) << 2);
  for (let r = 0; r < m; r++) {
    store<f32>(stats + (<usize>r << 4), NOTHING);
    store<f32>(stats + (<usize>r << 4), 0, 4);
  }
  const end = min(keys, base + i0 + n);
  let start = 0;
  if (!mask && window > 0) start = max(0, base + i0 + 1 - window) & ~(TILE - 1);
  for (let j0 = start; j0 < end; j0 += TILE) {
    const width = pad8(min(TILE, end - j0));
    gemmBlock(
      kernel, m, width, headDim, packed, <usize>(mr * headDim) << 2, kPanels + (<usize>(j0 * headDim) << 2),
      <usize>headDim << 5, s, <usize>TILE << 2, 0, probabilities,
    );
    for (let r = 0; r < m; r++) {
      const row = s + (<usize>(r * TILE) << 2), i = i0 + r / heads, own = base + i;
      let from = window > 0 ? max(0, own + 1 - window) : 0, limit = own + 1, self = own + 1;
      if (mask) {
        const at = mask + <usize>i * 12;
        from = load<i32>(at);
        limit = load<i32>(at, 4);
        self = load<i32>(at, 8);
      }
      if (from > j0 || limit < j0 + width) hide(row, j0, width, from, limit, self, own);
      softmaxTile(row, width, stats + (<usize>r << 4), acc + (<usize>(r * d) << 2), d);
    }
    // acc += P · V; tiles at the edge go through whichever of s and probabilities is free
    packA(s, <usize>TILE << 2, 4, m, width, mr, 1, probabilities);
    gemmBlock(
      kernel, m, headDim, width, probabilities, <usize>(mr * width) << 2, vPanels + (<usize>j0 << 5), <usize>all << 5, acc,
      <usize>d << 2, 1, s,
    );
  }
}

/** Scores outside [from, limit) and [self, own] become NOTHING. */
function hide(row: usize, j0: i32, width: i32, from: i32, limit: i32, self: i32, own: i32): void {
  for (let j = 0; j < width; j++) {
    const at = j0 + j;
    if (!((at >= from && at < limit) || (at >= self && at <= own))) store<f32>(row + (<usize>j << 2), NOTHING);
  }
}

/** Scores to e^(score - running maximum); earlier sums and outputs are rescaled when the maximum grows. */
// @ts-ignore: decorator
@inline
function softmaxTile(row: usize, width: i32, stats: usize, acc: usize, d: i32): void {
  const end = row + (<usize>width << 2);
  let m = v128.load(row);
  for (let p = row + 16; p < end; p += 16) m = f32x4.max(m, v128.load(p));
  const before = load<f32>(stats), most = max(before, max4(m));
  // a row that has seen nothing yet keeps NOTHING: its scores must become 0, not e^0
  const base = f32x4.splat(most <= NOTHING ? 0 : most);
  let sum = f32x4.splat(0);
  for (let p = row; p < end; p += 16) {
    const e = exp4(f32x4.sub(v128.load(p), base));
    v128.store(p, e);
    sum = f32x4.add(sum, e);
  }
  if (most > before) {
    const factor = exp4(f32x4.splat(before - most));
    store<f32>(stats, load<f32>(stats, 4) * f32x4.extract_lane(factor, 0), 4);
    for (let p = acc, to = acc + (<usize>d << 2); p < to; p += 16) v128.store(p, f32x4.mul(v128.load(p), factor));
    store<f32>(stats, most);
  }
  store<f32>(stats, load<f32>(stats, 4) + sum4(sum), 4);
}

/**
 * One query row over cache positions start..keys-1: out[nHeads][headDim]. headDim a multiple of 4. scores: scratch of
 * (keys + 4) f32.
 */
export function attentionDecode(
  start: i32, keys: i32, nHeads: i32, nKvHeads: i32, headDim: i32, firstKv: i32, lastKv: i32, scale: f32, q: usize,
  keysAt: usize, valuesAt: usize, out: usize, scores: usize,
): void {
  const group = nHeads / nKvHeads, stride = <usize>(nKvHeads * headDim) << 2, width = <usize>headDim << 2;
  for (let h = firstKv * group; h < lastKv * group; h++) {
    const at = <usize>((h / group) * headDim) << 2, query = q + <usize>h * width;
    const k = keysAt + at + <usize>start * stride, n = keys - start;
    let most = NOTHING, j = 0;
    for (; j + 4 <= n; j += 4) {
      let k0 = k + <usize>j * stride, k1 = k0 + stride, k2 = k1 + stride, k3 = k2 + stride;
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
      for (let i: usize = 0; i < width; i += 16) {
        const x = v128.load(query + i);
        a0 = madd(x, v128.load(k0 + i), a0);
        a1 = madd(x, v128.load(k1 + i), a1);
        a2 = madd(x, v128.load(k2 + i), a2);
        a3 = madd(x, v128.load(k3 + i), a3);
      }
      // four horizontal sums at once
      const b0 = f32x4.add(v128.shuffle<f32>(a0, a1, 0, 4, 1, 5), v128.shuffle<f32>(a0, a1, 2, 6, 3, 7));
      const b1 = f32x4.add(v128.shuffle<f32>(a2, a3, 0, 4, 1, 5), v128.shuffle<f32>(a2, a3, 2, 6, 3, 7));
      const sums = f32x4.add(v128.shuffle<f32>(b0, b1, 0, 1, 4, 5), v128.shuffle<f32>(b0, b1, 2, 3, 6, 7));
      const scaled = f32x4.mul(sums, f32x4.splat(scale));
      v128.store(scores + (<usize>j << 2), scaled);
      most = max(most, max4(scaled));
    }
    for (; j < n; j++) {
      let a = f32x4.splat(0);
      for (let i: usize = 0; i < width; i += 16) a = madd(v128.load(query + i), v128.load(k + <usize>j * stride + i), a);
      const score = sum4(a) * scale;
      store<f32>(scores + (<usize>j << 2), score);
      most = max(most, score);
    }
    // pad to a multiple of four with scores that vanish
    for (let p = n; p & 3; p++) store<f32>(scores + (<usize>p << 2), NOTHING);
    let total = f32x4.splat(0);
    for (let p = scores, end = scores + (<usize>((n + 3) & ~3) << 2); p < end; p += 16) {
      const e = exp4(f32x4.sub(v128.load(p), f32x4.splat(most)));
      v128.store(p, e);
      total = f32x4.add(total, e);
    }
    const inverse = f32x4.splat(1 / sum4(total));
    let v = valuesAt + at + <usize>start * stride, to = out + <usize>h * width, left = headDim;
    for (; left >= 32; left -= 32, v += 128, to += 128) weigh32(scores, n, v, stride, inverse, to);
    for (; left > 0; left -= 4, v += 16, to += 16) weigh4(scores, n, v, stride, inverse, to);
  }
}

/** 32 columns of the weighted sum of values: eight chains. */
function weigh32(scores: usize, n: i32, v: usize, stride: usize, inverse: v128, to: usize): void {
  let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
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
  v128.store(to, f32x4.mul(a0, inverse));
  v128.store(to, f32x4.mul(a1, inverse), 16);
  v128.store(to, f32x4.mul(a2, inverse), 32);
  v128.store(to, f32x4.mul(a3, inverse), 48);
  v128.store(to, f32x4.mul(a4, inverse), 64);
  v128.store(to, f32x4.mul(a5, inverse), 80);
  v128.store(to, f32x4.mul(a6, inverse), 96);
  v128.store(to, f32x4.mul(a7, inverse), 112);
}

function weigh4(scores: usize, n: i32, v: usize, stride: usize, inverse: v128, to: usize): void {
  let a = f32x4.splat(0);
  for (let j = 0; j < n; j++, v += stride, scores += 4) a = madd(v128.load32_splat(scores), v128.load(v), a);
  v128.store(to, f32x4.mul(a, inverse));
}
