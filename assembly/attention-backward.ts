/**
 * The way back of attentionPrefill (attention.ts), in a file of its own for its length. Dao et al. 2022, section 3.1: probabilities are
 * computed again from the log-sum-exp, in tiles, and never stand whole. Of the five products of a tile each is a packed one.
 */
import { ROWS, TILE, copyRow, packValues, pad8, seen } from './attention';
import { gemmBlock, microRows } from './gemm';
import { EXP2, LOG2_E, exp2With, madd, sum4 } from './math';
import { packA, packB } from './pack';

/** The numbers of a segment: query rows queries .. queriesEnd - 1 see nothing but keys .. keysEnd - 1, which no other row sees. */
const enum Segment {
  Queries = 0,
  QueriesEnd = 1,
  Keys = 2,
  KeysEnd = 3,
  Count = 4,
}

/** headDim as rows of a product: whole tiles of any micro-kernel. */
// @ts-ignore: decorator
@inline
function padded(n: i32, mr: i32): i32 {
  return (n + mr - 1) / mr * mr;
}

/** Bytes of scratch for attentionBackward over segments of at most `keys` keys. */
export function attentionBackwardScratch(keys: i32, headDim: i32): usize {
  const all = pad8(keys), d = pad8(headDim) + 8, m = ROWS + 6;
  return <usize>(3 * all * d + 2 * (all + TILE) * d + m * (7 * d + 3 * TILE + 2)) << 2;
}

/**
 * Units first..last-1, each a KV head (unit / segmentCount) with a segment: dQ of all heads that share it is replaced, dKeys and dValues are
 * added to. A unit is computed by one lane from beginning to end, so sums are the same however units are shared out.
 * As attentionPrefill: q, out, dOut and dQ have row strides of `stride` bytes; row i stands at cache position base + i; mask, maskWidth and
 * window say what it sees. logSumExp: [rows][nHeads] f32, natural. segments: [segmentCount][Segment.Count] i32.
 */
export function attentionBackward(
  kernel: i32, first: i32, last: i32, segments: usize, segmentCount: i32, base: i32, nHeads: i32, nKvHeads: i32,
  headDim: i32, factor: f32, q: usize, stride: usize, keysAt: usize, valuesAt: usize, window: i32, mask: usize,
  maskWidth: i32, logSumExp: usize, out: usize, dOut: usize, dQ: usize, dKeys: usize, dValues: usize, scratch: usize,
): void {
  const group = nHeads / nKvHeads, mr = microRows(kernel), dRows = padded(headDim, mr), d = pad8(headDim);
  const cacheStride = <usize>(nKvHeads * headDim) << 2;
  for (let unit = first; unit < last; unit++) {
    const kv = unit / segmentCount, kvAt = <usize>(kv * headDim) << 2;
    const segment = segments + (<usize>(unit % segmentCount * Segment.Count) << 2);
    const row0 = load<i32>(segment, Segment.Queries << 2), rowEnd = load<i32>(segment, Segment.QueriesEnd << 2);
    const k0 = load<i32>(segment, Segment.Keys << 2), keys = load<i32>(segment, Segment.KeysEnd << 2) - k0;
    const all = pad8(keys), tiles = (keys + TILE - 1) / TILE, from = kvAt + <usize>k0 * cacheStride;
    // keys by columns for scores and by rows for dQ, values by columns; sums of dK and dV by tiles [headDim][TILE]
    const kPanels = scratch, vPanels = kPanels + (<usize>(all * headDim) << 2), kRows = vPanels + (<usize>(all * headDim) << 2);
    const dK = kRows + (<usize>(all * d) << 2), dV = dK + (<usize>(tiles * TILE * dRows) << 2);
    const block = dV + (<usize>(tiles * TILE * dRows) << 2);
    packB(keysAt + from, 4, cacheStride, headDim, keys, kPanels);
    packB(valuesAt + from, 4, cacheStride, headDim, keys, vPanels);
    packValues(keysAt + from, cacheStride, keys, all, headDim, kRows);
    memory.fill(dK, 0, <usize>(2 * tiles * TILE * dRows) << 2);
    const step = group > ROWS ? ROWS : group, queries = max(1, ROWS / group);
    for (let head = kv * group; head < (kv + 1) * group; head += step) {
      const heads = min(step, (kv + 1) * group - head);
      for (let i0 = row0; i0 < rowEnd; i0 += queries) {
        backBlock(
          kernel, i0, min(queries, rowEnd - i0), head, heads, base, k0, keys, nHeads, headDim, factor, q, stride, window, mask,
          maskWidth, logSumExp, out, dOut, dQ, kPanels, vPanels, kRows, dK, dV, block,
        );
      }
    }
    addTiles(dK, keys, headDim, dRows, dKeys + from, cacheStride);
    addTiles(dV, keys, headDim, dRows, dValues + from, cacheStride);
  }
}

/** One block of rows, n queries of some heads from row i0 on, against all tiles of the keys k0 .. k0 + keys - 1. */
function backBlock(
  kernel: i32, i0: i32, n: i32, head: i32, heads: i32, base: i32, k0: i32, keys: i32, nHeads: i32, headDim: i32, factor: f32,
  q: usize, stride: usize, window: i32, mask: usize, maskWidth: i32, logSumExp: usize, out: usize, dOut: usize, dQ: usize,
  kPanels: usize, vPanels: usize, kRows: usize, dK: usize, dV: usize, scratch: usize,
): void {
  const mr = microRows(kernel), m = n * heads, mRows = padded(m, mr), dRows = padded(headDim, mr), d = pad8(headDim);
  const all = pad8(keys), m6 = <usize>(ROWS + 6) << 2;
  // queries and gradients by rows, then as packed operands: by rows for scores, by columns for dK and dV
  const qs = scratch, os = qs + m6 * headDim, qPacked = os + m6 * headDim, oPacked = qPacked + m6 * headDim;
  const qColumns = oPacked + m6 * headDim, oColumns = qColumns + m6 * dRows, acc = oColumns + m6 * dRows;
  const s = acc + m6 * d, t = s + m6 * TILE, packed = t + m6 * TILE, stats = packed + m6 * TILE;
  for (let r = 0; r < m; r++) {
    const h = head + r % heads, i = i0 + r / heads, at = <usize>i * stride + (<usize>(h * headDim) << 2);
    const to = <usize>(r * headDim) << 2;
    copyRow(q + at, qs + to, headDim);
    copyRow(dOut + at, os + to, headDim);
    store<f32>(stats + (<usize>r << 3), load<f32>(logSumExp + (<usize>(i * nHeads + h) << 2)) * LOG2_E);
    store<f32>(stats + (<usize>r << 3), dot(headDim, out + at, dOut + at), 4);
  }
  packA(qs, <usize>headDim << 2, 4, m, headDim, mr, factor * LOG2_E, qPacked);
  packA(os, <usize>headDim << 2, 4, m, headDim, mr, 1, oPacked);
  packA(qs, 4, <usize>headDim << 2, headDim, m, mr, factor, qColumns);
  packA(os, 4, <usize>headDim << 2, headDim, m, mr, 1, oColumns);
  memory.fill(acc, 0, <usize>(mRows * d) << 2);
  const wide = maskWidth == 6, end = wide ? keys : min(keys, base + i0 + n - k0), panel = <usize>mRows << 5;
  let start = 0;
  if (!mask && window > 0) start = max(0, base + i0 + 1 - window - k0) & ~(TILE - 1);
  for (let j0 = start; j0 < end; j0 += TILE) {
    const width = pad8(min(TILE, end - j0)), at = <usize>(j0 * headDim) << 2, first = k0 + j0;
    if (mask && !seen(mask, i0, n, maskWidth, base, first, k0 + min(j0 + TILE, end))) continue;
    // scores and dP in panels of 8 keys [8 keys][rows][8], as dK and dV want them for their second operand
    const aStride = <usize>(mr * headDim) << 2, bStride = <usize>headDim << 5;
    for (let p: usize = 0; p < <usize>width >> 3; p++) {
      gemmBlock(kernel, mRows, 8, headDim, qPacked, aStride, kPanels + at + p * bStride, bStride, s + p * panel, 32, 0, packed);
      gemmBlock(kernel, mRows, 8, headDim, oPacked, aStride, vPanels + at + p * bStride, bStride, t + p * panel, 32, 0, packed);
    }
    differentiate(m, width, panel, stats, s, t);
    for (let i = i0, r = 0; i < i0 + n; i++) {
      const own = base + i, row = mask + <usize>(i * maskWidth) * 4;
      let from = window > 0 ? max(0, own + 1 - window) : 0, limit = own + 1, self = own + 1;
      if (mask) {
        from = load<i32>(row);
        limit = load<i32>(row, 4);
        self = load<i32>(row, 8);
      }
      const hidden = from > first || limit < first + width;
      for (let h = 0; h < heads; h++, r++) {
        if (hidden && wide) hideWide(s, t, panel, r, first, width, row);
        else if (hidden) hide(s, t, panel, r, first, width, from, limit, self, own);
      }
    }
    // dVᵀ += dOutᵀ · P, dKᵀ += scale · Qᵀ · dS, dQ += dS · K; what is left of scale comes at the end
    const tile = <usize>(j0 * dRows) << 2, columns = <usize>(mr * m) << 2;
    gemmBlock(kernel, dRows, width, m, oColumns, columns, s, panel, dV + tile, <usize>TILE << 2, 1, packed);
    gemmBlock(kernel, dRows, width, m, qColumns, columns, t, panel, dK + tile, <usize>TILE << 2, 1, packed);
    packPanels(t, panel, m, width, mr, packed);
    gemmBlock(
      kernel, mRows, d, width, packed, <usize>(mr * width) << 2, kRows + (<usize>j0 << 5), <usize>all << 5, acc, <usize>d << 2, 1, s,
    );
  }
  for (let r = 0; r < m; r++) {
    const to = dQ + <usize>(i0 + r / heads) * stride + (<usize>((head + r % heads) * headDim) << 2);
    scaleTo(headDim, factor, acc + (<usize>(r * d) << 2), to);
  }
}

/** Scores s to P = 2^(score - logSumExp) and t = dP to dS = P (dP - D), rows 0..m-1 of panels. stats: [rows] of (log2 of the sum, D). */
function differentiate(m: i32, width: i32, panel: usize, stats: usize, s: usize, t: usize): void {
  const least = v128.load32_splat(EXP2), magic = v128.load32_splat(EXP2, 4), one = v128.load32_splat(EXP2, 32);
  const c0 = v128.load32_splat(EXP2, 8), c1 = v128.load32_splat(EXP2, 12), c2 = v128.load32_splat(EXP2, 16);
  const c3 = v128.load32_splat(EXP2, 20), c4 = v128.load32_splat(EXP2, 24), c5 = v128.load32_splat(EXP2, 28);
  for (let p = 0; p < width; p += 8, s += panel, t += panel) {
    let at = stats;
    for (let i: usize = 0, end = <usize>m << 5; i < end; i += 32, at += 8) {
      const lse = v128.load32_splat(at), back = v128.load32_splat(at, 4);
      const e = exp2With(f32x4.pmax(least, f32x4.sub(v128.load(s + i), lse)), magic, one, c0, c1, c2, c3, c4, c5);
      v128.store(s + i, e);
      v128.store(t + i, f32x4.mul(e, f32x4.sub(v128.load(t + i), back)));
      const f = exp2With(f32x4.pmax(least, f32x4.sub(v128.load(s + i, 16), lse)), magic, one, c0, c1, c2, c3, c4, c5);
      v128.store(s + i, f, 16);
      v128.store(t + i, f32x4.mul(f, f32x4.sub(v128.load(t + i, 16), back)), 16);
    }
  }
}

/** P and dS of row r become 0 outside [from, limit) and [self, own], at cache positions j0 .. j0 + width - 1. */
function hide(
  s: usize, t: usize, panel: usize, r: i32, j0: i32, width: i32, from: i32, limit: i32, self: i32, own: i32,
): void {
  const end = j0 + width;
  blankAll(s, t, panel, r, j0, j0, min(min(from, self), end));
  blankAll(s, t, panel, r, j0, max(limit, j0), min(self, end));
  blankAll(s, t, panel, r, j0, max(max(limit, own + 1), j0), end);
  if (from > self) blankAll(s, t, panel, r, j0, max(own + 1, j0), min(from, end));
}

// @ts-ignore: decorator
@inline
function blankAll(s: usize, t: usize, panel: usize, r: i32, j0: i32, first: i32, last: i32): void {
  for (let j = first - j0; j < last - j0; j++) blank(s, t, panel, r, j);
}

/** The same for a mask of six numbers (attention.ts). */
function hideWide(s: usize, t: usize, panel: usize, r: i32, j0: i32, width: i32, mask: usize): void {
  const from = load<i32>(mask), limit = load<i32>(mask, 4), from2 = load<i32>(mask, 8), limit2 = load<i32>(mask, 12);
  const self = load<i32>(mask, 16), own = load<i32>(mask, 20);
  for (let j = j0; j < j0 + width; j++) {
    if (!((j >= from && j < limit) || (j >= from2 && j < limit2) || (j >= self && j <= own))) blank(s, t, panel, r, j - j0);
  }
}

// @ts-ignore: decorator
@inline
function blank(s: usize, t: usize, panel: usize, r: i32, j: i32): void {
  const at = <usize>(j >> 3) * panel + (<usize>r << 5) + (<usize>(j & 7) << 2);
  store<f32>(s + at, 0);
  store<f32>(t + at, 0);
}

/** Rows 0..m-1 of panels of 8 columns to slivers [width][mr], as packA would make them of rows. */
function packPanels(t: usize, panel: usize, m: i32, width: i32, mr: i32, to: usize): void {
  for (let i = 0; i < m; i += mr) {
    let from = t + (<usize>i << 5);
    for (let k = 0; k < width; k += 8, from += panel, to += <usize>mr << 5) packA(from, 32, 4, min(mr, m - i), 8, mr, 1, to);
  }
}

/** Σ x · y over n. */
function dot(n: i32, x: usize, y: usize): f32 {
  let sum = f32x4.splat(0);
  for (; n >= 4; n -= 4, x += 16, y += 16) sum = madd(v128.load(x), v128.load(y), sum);
  let total = sum4(sum);
  for (; n > 0; n--, x += 4, y += 4) total += load<f32>(x) * load<f32>(y);
  return total;
}

function scaleTo(n: i32, factor: f32, x: usize, to: usize): void {
  const f = f32x4.splat(factor);
  for (; n >= 4; n -= 4, x += 16, to += 16) v128.store(to, f32x4.mul(v128.load(x), f));
  for (; n > 0; n--, x += 4, to += 4) store<f32>(to, load<f32>(x) * factor);
}

/** Tiles [dRows][TILE] of columns are added to rows of headDim, `stride` bytes apart, by transposing 4 x 4 blocks in registers. */
function addTiles(tiles: usize, rows: i32, headDim: i32, dRows: i32, to: usize, stride: usize): void {
  const line = <usize>TILE << 2;
  for (let j = 0; j < rows; j += 4) {
    const n = min(4, rows - j), row = to + <usize>j * stride;
    const from = tiles + (<usize>(j / TILE * TILE * dRows) << 2) + (<usize>(j % TILE) << 2);
    let c = 0;
    for (; n == 4 && c + 4 <= headDim; c += 4) {
      const at = from + <usize>c * line, out = row + (<usize>c << 2);
      const v0 = v128.load(at), v1 = v128.load(at + line), v2 = v128.load(at + 2 * line), v3 = v128.load(at + 3 * line);
      const a = v128.shuffle<f32>(v0, v1, 0, 4, 1, 5), b = v128.shuffle<f32>(v2, v3, 0, 4, 1, 5);
      const e = v128.shuffle<f32>(v0, v1, 2, 6, 3, 7), f = v128.shuffle<f32>(v2, v3, 2, 6, 3, 7);
      increase(out, v128.shuffle<f32>(a, b, 0, 1, 4, 5));
      increase(out + stride, v128.shuffle<f32>(a, b, 2, 3, 6, 7));
      increase(out + 2 * stride, v128.shuffle<f32>(e, f, 0, 1, 4, 5));
      increase(out + 3 * stride, v128.shuffle<f32>(e, f, 2, 3, 6, 7));
    }
    for (; c < headDim; c++) {
      for (let i: usize = 0; i < <usize>n; i++) {
        const at = row + i * stride + (<usize>c << 2);
        store<f32>(at, load<f32>(at) + load<f32>(from + <usize>c * line + (i << 2)));
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function increase(at: usize, by: v128): void {
  v128.store(at, f32x4.add(v128.load(at), by));
}
