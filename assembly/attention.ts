/**
 * Attention over a cache of keys and values, both row-major [positions][nKvHeads][headDim], keys already rotated.
 *
 * Grouped queries: head h reads KV head h / (nHeads / nKvHeads). What a row sees is given by three numbers: cache positions
 * from `from` up to `limit` (a shared prefix), and from `self` up to and with its own position. Plain causal attention has
 * from = self = 0 and limit = own + 1.
 */
import { scale } from './activation';
import { EXP2, LOG2_E, exp2With, exp2x4, maxLanes, sum4 } from './math';
import { gemmBlock, microRows } from './gemm';
import { packA, packB } from './pack';

/** Keys in a tile. */
export const TILE: i32 = 64;
/** Rows (queries times heads of a group) in a block: a multiple of 4, 5 and 6. */
export const ROWS: i32 = 60;
export const NOTHING: f32 = -1e30;

// @ts-ignore: decorator
@inline
export function pad8(n: i32): i32 {
  return (n + 7) & ~7;
}

/** Bytes of scratch for attentionPrefill over `keys` cache positions (the new ones included). */
export function attentionPrefillScratch(keys: i32, headDim: i32): usize {
  const all = pad8(keys) + TILE, d = pad8(headDim), m = ROWS + 6;
  return <usize>(2 * all * d + m * (2 * d + 2 * TILE + 4)) << 2;
}

/** Rows `keys` of one KV head to panels [headDim/8][all][8], `all` rows long; the rest zero. */
export function packValues(v: usize, stride: usize, keys: i32, all: i32, headDim: i32, to: usize): void {
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
 * stands at cache position base + i; mask: 0 (causal within `window` positions, 0 for no window), or [rows][maskWidth] i32 of
 * (from, limit, self), or with maskWidth 6 of (from, limit, from2, limit2, self, own): then the row sees another range and stands
 * at `own`, anywhere in the cache of base + rows. sums: 0, or [rows][nHeads] f32 for log2 of the sum of 2^scores, by which parts of
 * the cache can be put together (`mergeAttention`). Online softmax over tiles of keys (Milakov and Gimelshein 2018; Dao et al. 2022).
 */
export function attentionPrefill(
  kernel: i32, rows: i32, base: i32, nHeads: i32, nKvHeads: i32, headDim: i32, firstKv: i32, lastKv: i32, factor: f32,
  q: usize, qStride: usize, keysAt: usize, valuesAt: usize, window: i32, mask: usize, maskWidth: i32, out: usize,
  outStride: usize, sums: usize, scratch: usize,
): void {
  const group = nHeads / nKvHeads, d = pad8(headDim), mr = microRows(kernel);
  const keys = base + rows, all = pad8(keys) + TILE, cacheStride = <usize>(nKvHeads * headDim) << 2;
  const m6 = <usize>(ROWS + 6) << 2; // rows of a block, rounded up to any tile, in bytes of f32
  const kPanels = scratch, vPanels = kPanels + (<usize>(all * d) << 2), packed = vPanels + (<usize>(all * d) << 2);
  const acc = packed + m6 * d, s = acc + m6 * d, probabilities = s + m6 * TILE, stats = probabilities + m6 * TILE;
  const queries = max(1, ROWS / group);
  for (let kv = firstKv; kv < lastKv; kv++) {
    const kvAt = <usize>(kv * headDim) << 2;
    packB(keysAt + kvAt, 4, cacheStride, headDim, keys, kPanels);
    memory.fill(kPanels + (<usize>(pad8(keys) * headDim) << 2), 0, <usize>(TILE * headDim) << 2);
    packValues(valuesAt + kvAt, cacheStride, keys, all, headDim, vPanels);
    for (let head = kv * group; head < (kv + 1) * group; head += group > ROWS ? ROWS : group) {
      const heads = min(min(group, ROWS), (kv + 1) * group - head);
      for (let i0 = 0; i0 < rows; i0 += queries) {
        const n = min(queries, rows - i0), m = n * heads;
        // rows of the block: query-major, so that row r is query i0 + r / heads, head + r % heads
        for (let r = 0; r < m; r++) {
          const from = q + <usize>(i0 + r / heads) * qStride + (<usize>((head + r % heads) * headDim) << 2);
          copyRow(from, acc + (<usize>(r * headDim) << 2), headDim);
        }
        packA(acc, <usize>headDim << 2, 4, m, headDim, mr, factor * LOG2_E, packed);
        attendBlock(
          kernel, n, heads, base, i0, headDim, keys, all, window, mask, maskWidth, packed, kPanels, vPanels, s, probabilities,
          acc, stats,
        );
        for (let r = 0; r < m; r++) {
          const to = out + <usize>(i0 + r / heads) * outStride + (<usize>((head + r % heads) * headDim) << 2);
          const most = load<f32>(stats + (<usize>r << 4)), sum = load<f32>(stats + (<usize>r << 4), 4);
          copyRow(acc + (<usize>(r * d) << 2), to, headDim);
          // a row that sees nothing gives zeros; where others of its block see something, powers of NOTHING less itself have been added up
          const sees = most > NOTHING;
          scale(headDim, sees ? <f32>1 / sum : 0, to);
          if (sums) store<f32>(sums + (<usize>((i0 + r / heads) * nHeads + head + r % heads) << 2), sees ? most + log2(sum) : NOTHING);
        }
      }
    }
  }
}

/** n f32; for rows this short memory.copy, a call out of the module, costs more. */
// @ts-ignore: decorator
@inline
export function copyRow(from: usize, to: usize, n: i32): void {
  for (; n >= 4; n -= 4, from += 16, to += 16) v128.store(to, v128.load(from));
  for (; n > 0; n--, from += 4, to += 4) store<f32>(to, load<f32>(from));
}

/** All tiles of keys for one block of rows. packed: queries; stats: [rows] of (maximum, sum, -, -); acc: [rows][pad8(headDim)]. */
function attendBlock(
  kernel: i32, n: i32, heads: i32, base: i32, i0: i32, headDim: i32, keys: i32, all: i32, window: i32, mask: usize,
  maskWidth: i32, packed: usize, kPanels: usize, vPanels: usize, s: usize, probabilities: usize, acc: usize, stats: usize,
): void {
  const m = n * heads, d = pad8(headDim), mr = microRows(kernel);
  memory.fill(acc, 0, <usize>(m * d) << 2);
  for (let r = 0; r < m; r++) {
    store<f32>(stats + (<usize>r << 4), NOTHING);
    store<f32>(stats + (<usize>r << 4), 0, 4);
  }
  const wide = maskWidth == 6, end = wide ? keys : min(keys, base + i0 + n);
  let start = 0;
  if (!mask && window > 0) start = max(0, base + i0 + 1 - window) & ~(TILE - 1);
  for (let j0 = start; j0 < end; j0 += TILE) {
    const width = pad8(min(TILE, end - j0));
    if (mask && !seen(mask, i0, n, maskWidth, base, j0, min(j0 + TILE, end))) continue;
    gemmBlock(
      kernel, m, width, headDim, packed, <usize>(mr * headDim) << 2, kPanels + (<usize>(j0 * headDim) << 2),
      <usize>headDim << 5, s, <usize>TILE << 2, 0, probabilities,
    );
    let r = 0;
    for (let i = i0; i < i0 + n; i++) {
      const own = base + i;
      let from = window > 0 ? max(0, own + 1 - window) : 0, limit = own + 1, self = own + 1;
      const at = mask + <usize>(i * maskWidth) * 4;
      if (mask) {
        from = load<i32>(at);
        limit = load<i32>(at, 4);
        self = load<i32>(at, 8);
      }
      const hidden = from > j0 || limit < j0 + width;
      for (let h = 0; h < heads; h++, r++) {
        const row = s + (<usize>(r * TILE) << 2);
        if (hidden && wide) hideWide(row, j0, width, at);
        else if (hidden) hide(row, j0, width, from, limit, self, own);
        softmaxTile(row, width, stats + (<usize>r << 4), acc + (<usize>(r * d) << 2), d);
      }
    }
    packA(s, <usize>TILE << 2, 4, m, width, mr, 1, probabilities);
    // acc += P · V; tiles at the edge go through whichever of s and probabilities is free, and rows beyond m do not count
    gemmBlock(
      kernel, m, headDim, width, probabilities, <usize>(mr * width) << 2, vPanels + (<usize>j0 << 5), <usize>all << 5, acc,
      <usize>d << 2, 1, s,
    );
  }
}

/** Scores outside [from, limit) and [self, own] become NOTHING. row: cache positions j0 .. j0 + width - 1. */
function hide(row: usize, j0: i32, width: i32, from: i32, limit: i32, self: i32, own: i32): void {
  const end = j0 + width;
  blank(row, j0, j0, min(min(from, self), end));
  blank(row, j0, max(limit, j0), min(self, end));
  blank(row, j0, max(max(limit, own + 1), j0), end);
  if (from > self) for (let j = max(own + 1, j0); j < min(from, end); j++) blank(row, j0, j, j + 1);
}

/** The same for a mask of six numbers. */
function hideWide(row: usize, j0: i32, width: i32, mask: usize): void {
  const from = load<i32>(mask), limit = load<i32>(mask, 4), from2 = load<i32>(mask, 8), limit2 = load<i32>(mask, 12);
  const self = load<i32>(mask, 16), own = load<i32>(mask, 20);
  for (let j = j0; j < j0 + width; j++) {
    if (!((j >= from && j < limit) || (j >= from2 && j < limit2) || (j >= self && j <= own))) blank(row, j0, j, j + 1);
  }
}

/** Does any of rows i0 .. i0 + n - 1 see one of the cache positions first .. last - 1? */
export function seen(mask: usize, i0: i32, n: i32, maskWidth: i32, base: i32, first: i32, last: i32): bool {
  let at = mask + <usize>(i0 * maskWidth) * 4;
  for (let i = i0; i < i0 + n; i++, at += <usize>maskWidth * 4) {
    if (load<i32>(at) < last && load<i32>(at, 4) > first && load<i32>(at) < load<i32>(at, 4)) return true;
    if (maskWidth == 6) {
      if (load<i32>(at, 8) < last && load<i32>(at, 12) > first && load<i32>(at, 8) < load<i32>(at, 12)) return true;
      if (load<i32>(at, 16) < last && load<i32>(at, 20) >= first && load<i32>(at, 16) <= load<i32>(at, 20)) return true;
    } else if (load<i32>(at, 8) < last && base + i >= first && load<i32>(at, 8) <= base + i) return true;
  }
  return false;
}

/**
 * Puts together what rows first..last-1 [heads][headDim] saw in two parts of the cache, a and b, with the sums of attentionPrefill:
 * out = (2^(factor · sumsA) · a + 2^sumsB · b) / (2^(factor · sumsA) + 2^sumsB). out may be a.
 */
export function mergeAttention(
  first: i32, last: i32, heads: i32, headDim: i32, factor: f32, a: usize, sumsA: usize, b: usize, sumsB: usize, out: usize,
): void {
  for (let h = first * heads; h < last * heads; h++) {
    const la = load<f32>(sumsA + (<usize>h << 2)), lb = load<f32>(sumsB + (<usize>h << 2));
    const sa = la <= NOTHING ? NOTHING : factor * la, most = max(sa, lb);
    const ea = <f32>Mathf.pow(2, sa - most), eb = <f32>Mathf.pow(2, lb - most);
    const wa = ea / (ea + eb), wb = eb / (ea + eb);
    let at = <usize>(h * headDim) << 2;
    const end = at + (<usize>headDim << 2);
    for (; at + 16 <= end; at += 16) {
      v128.store(out + at, f32x4.add(f32x4.mul(v128.load(a + at), f32x4.splat(wa)), f32x4.mul(v128.load(b + at), f32x4.splat(wb))));
    }
    for (; at < end; at += 4) store<f32>(out + at, load<f32>(a + at) * wa + load<f32>(b + at) * wb);
  }
}

// @ts-ignore: decorator
@inline
function log2(x: f32): f32 {
  return <f32>(Math.log(x) * 1.4426950408889634);
}

// @ts-ignore: decorator
@inline
function blank(row: usize, j0: i32, first: i32, last: i32): void {
  for (let j = first; j < last; j++) store<f32>(row + (<usize>(j - j0) << 2), NOTHING);
}

/**
 * Scores of a row to 2^(score - running maximum), in place; earlier sums and outputs are rescaled when the maximum grows. The loop is
 * exp2x4 with its constants in registers.
 */
function softmaxTile(row: usize, width: i32, stats: usize, acc: usize, d: i32): void {
  const end = row + (<usize>width << 2), before = v128.load32_splat(stats);
  let m = before;
  for (let p = row; p < end; p += 16) m = f32x4.pmax(m, v128.load(p));
  const most = maxLanes(m);
  // a row that has seen nothing yet keeps NOTHING: its scores must vanish, not become 1
  const base = v128.and(most, f32x4.gt(most, f32x4.splat(NOTHING)));
  const least = v128.load32_splat(EXP2), magic = v128.load32_splat(EXP2, 4), one = v128.load32_splat(EXP2, 32);
  const c0 = v128.load32_splat(EXP2, 8), c1 = v128.load32_splat(EXP2, 12), c2 = v128.load32_splat(EXP2, 16);
  const c3 = v128.load32_splat(EXP2, 20), c4 = v128.load32_splat(EXP2, 24), c5 = v128.load32_splat(EXP2, 28);
  let sum = f32x4.splat(0);
  for (let p = row; p < end; p += 16) {
    const e = exp2With(f32x4.pmax(least, f32x4.sub(v128.load(p), base)), magic, one, c0, c1, c2, c3, c4, c5);
    v128.store(p, e);
    sum = f32x4.add(sum, e);
  }
  let earlier = load<f32>(stats, 4);
  if (f32x4.extract_lane(most, 0) > f32x4.extract_lane(before, 0)) {
    const factor = exp2x4(f32x4.sub(before, most));
    for (let p = acc, last = acc + (<usize>d << 2); p < last; p += 16) v128.store(p, f32x4.mul(v128.load(p), factor));
    earlier *= f32x4.extract_lane(factor, 0);
    store<f32>(stats, f32x4.extract_lane(most, 0));
  }
  store<f32>(stats, earlier + sum4(sum), 4);
}
