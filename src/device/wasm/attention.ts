import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { AttentionArguments, AttentionSplit, Tensor } from '../device.ts';
import type { AttentionBackwardArguments } from '../train-device.ts';
import type { Call } from './calls.ts';
import { MOST_PARTS } from './control.ts';
import type { Kernels } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import type { Arena, WasmMemory } from './memory.ts';
import { addressOf } from './tensor.ts';
import type { Tuning } from './tune.ts';

/** Rows that the prefill kernel takes at a time, queries times the heads that share a KV head (ROWS of assembly/attention.ts). */
const BLOCK = 60;
/** Products of a query and a cache position, times their width, below which attention is not worth a command to the lanes. */
export const FEW = 1 << 15;

/** Attention of the wasm device: the kernel for the case, its scratch, and each lane's part. */
export class Attention {
  readonly #kernels: Kernels;
  readonly #arena: Arena;
  readonly #tuning: Tuning;
  readonly #lanes: Lanes;

  constructor(kernels: Kernels, arena: Arena, tuning: Tuning, lanes: Lanes) {
    this.#kernels = kernels;
    this.#arena = arena;
    this.#tuning = tuning;
    this.#lanes = lanes;
  }

  /** As Device.attention. */
  run(args: AttentionArguments): void {
    const { q, mask, split, headDim, base, nHeads, logSumExp } = args;
    const [rows, width] = [heightOf(q), widthOf(q)];
    const keys = base + rows;
    const mark = this.#arena.mark();
    const parts = this.#lanes.parts(rows * keys * width, FEW);
    if (split) this.#split(args, split, rows, width);
    else if (logSumExp) {
      const sums = addressOf(logSumExp);
      this.#prefill(args, rows, width, mask, addressOf(args.out), sums);
      this.#kernels.scale(rows * nHeads, Math.LN2, sums);
    } else if (rows === 1 && !mask && headDim % 4 === 0) this.#decode(args, keys, parts);
    else this.#prefill(args, rows, width, mask, addressOf(args.out));
    this.#arena.reset(mark);
  }

  /** Two parts of the cache, each with its softmax. */
  #split(args: AttentionArguments, split: AttentionSplit, rows: number, width: number): void {
    const { nHeads, headDim } = args;
    const [sums, otherSums] = [this.#arena.allocate(4 * rows * nHeads), this.#arena.allocate(4 * rows * nHeads)];
    const [to, other] = [addressOf(args.out), this.#arena.allocate(4 * rows * width)];
    this.#prefill(args, rows, width, args.mask, to, sums);
    this.#prefill(args, rows, width, split.mask, other, otherSums);
    const parts = this.#lanes.parts(rows * width, FEW, 2);
    this.#lanes.run('mergeAttention', evenly(rows, parts), (first, last) => {
      return [first, last, nHeads, headDim, split.factor, other, otherSums, to, sums, to];
    });
  }

  /** One query: chunks of the cache's positions are shared out, so that each lane reads its own, and put together. */
  #decode(args: AttentionArguments, keys: number, parts: number): void {
    const { nHeads, nKvHeads, headDim, scale, window } = args;
    const [q, k, v, out] = [addressOf(args.q), addressOf(args.keys), addressOf(args.values), addressOf(args.out)];
    const start = window > 0 ? Math.max(0, keys - window) : 0;
    const chunks = this.#kernels.decodeChunks(keys - start);
    const outs = this.#arena.allocate(4 * chunks * nHeads * headDim);
    const stats = this.#arena.allocate(8 * chunks * nHeads);
    const { at, stride } = this.#lanes.scratch(this.#arena, this.#kernels.attentionDecodeScratch(nHeads));
    const values = [0, 0, start, keys, nHeads, nKvHeads, headDim, scale, q, k, v, outs, stats, at] as const;
    const own = { index: 13, stride };
    this.#lanes.share(chunks, Math.min(parts, chunks), [
      { name: 'attentionDecode', values, range: 0, before: 0, count: chunks, own },
    ]);
    this.#kernels.mergeDecode(chunks, nHeads, headDim, outs, stats, out);
  }

  /**
   * Many queries: KV heads are shared out, and rows, so that each lane has as many products. Each part packs the keys and values that it sees of its
   * heads, so rows are cut into no more ranges than make enough parts.
   * @param out address of the result @param sums of the log-sum-exp, 0: not wanted
   */
  #prefill(args: AttentionArguments, rows: number, width: number, masked: Tensor | null, out: number, sums = 0): void {
    const { nHeads, nKvHeads, headDim, base, scale, window } = args;
    const parts = this.#lanes.parts(rows * (base + rows) * width, FEW, 2);
    const [q, k, v, mask] = [addressOf(args.q), addressOf(args.keys), addressOf(args.values), addressOf(masked)];
    const maskWidth = masked ? elements(masked.shape) / rows : 0;
    const { micro } = this.#tuning;
    const block = Math.max(1, Math.floor((BLOCK * nKvHeads) / nHeads));
    const [headParts, rowParts] = partsOf(parts, nKvHeads, Math.ceil(rows / block));
    const heads = evenly(nKvHeads, headParts);
    const bounds = rowParts > 1 ? rowBounds(rows, masked ? 0 : base, window, rowParts, block) : [0, rows];
    const bytes = this.#kernels.attentionPrefillScratch(base + rows, headDim);
    const { at, stride } = this.#lanes.scratch(this.#arena, bytes);
    const calls: Call[][] = [];
    for (let part = 0; part < headParts * rowParts; part++) {
      const [head, range] = [Math.floor(part / rowParts), part % rowParts];
      const [from, to, firstKv, lastKv] = [bounds[range]!, bounds[range + 1]!, heads[head]!, heads[head + 1]!];
      if (from === to || firstKv === lastKv) continue;
      const n = to - from;
      // rows that stand anywhere may see all of the cache
      const keys = maskWidth === 6 ? base + rows : base + to;
      const [qAt, outAt, maskAt] = [q + 4 * width * from, out + 4 * width * from, mask && mask + 4 * maskWidth * from];
      const values = [
        ...([micro, n, keys - n, nHeads, nKvHeads, headDim, firstKv, lastKv, scale, qAt, 4 * width, k, v] as const),
        ...([window, maskAt, maskWidth, outAt, 4 * width, sums && sums + 4 * nHeads * from, at] as const),
      ] as const;
      calls.push([['attentionPrefill', values, { index: 19, stride }]]);
    }
    this.#lanes.dispatch(calls);
  }
}

/**
 * As TrainDevice.attentionBackward. Shared out are units, a KV head with a segment of rows that look at nothing beside it; neither depends on
 * the number of lanes.
 */
export function attentionBackward(
  { kernels, arena, tuning, lanes, memory }: AttentionParts,
  args: AttentionBackwardArguments,
): void {
  const { q, mask, nHeads, nKvHeads, headDim, base, scale, window } = args;
  const [rows, stride] = [heightOf(q), 4 * widthOf(q)];
  if (rows === 0) return;
  const maskWidth = mask ? elements(mask.shape) / rows : 0;
  const maskAt = addressOf(mask);
  const apart = mask && maskWidth === 3 && base === 0;
  const masks = apart ? new Int32Array(memory.memory.buffer, maskAt, 3 * rows) : null;
  const segments = masks ? segmentsOf(masks) : [0, rows, 0, base + rows];
  const count = segments.length / 4;
  const mark = arena.mark();
  const table = arena.allocate(4 * segments.length);
  new Int32Array(memory.memory.buffer).set(segments, table / 4);
  const [queries, keys, values, lse] = [q, args.keys, args.values, args.logSumExp].map(addressOf) as Four;
  const [out, dOut, dQ, dKeys] = [args.out, args.dOut, args.dQ, args.dKeys].map(addressOf) as Four;
  const dValues = addressOf(args.dValues);
  const bounds = unitBounds(segments, nKvHeads, (products) => lanes.parts(products * nHeads * headDim, FEW, 2));
  lanes.run('attentionBackward', bounds, (first, last) => {
    let most = 0;
    for (let u = first; u < last; u++) most = Math.max(most, keysIn(segments, u % count));
    const scratch = arena.allocate(kernels.attentionBackwardScratch(most, headDim));
    return [
      ...([tuning.micro, first, last, table, count, base, nHeads, nKvHeads, headDim, scale, queries, stride] as const),
      ...([keys, values, window, maskAt, maskWidth, lse, out, dOut, dQ, dKeys, dValues, scratch] as const),
    ];
  });
  arena.reset(mark);
}

/** What of a device's parts attention is computed with. */
interface AttentionParts {
  readonly kernels: Kernels;
  readonly memory: WasmMemory;
  readonly arena: Arena;
  readonly tuning: Tuning;
  readonly lanes: Lanes;
}

type Four = [number, number, number, number];

/**
 * The segments of rows that see only each other, by masks of three numbers over a cache of these rows alone: (first row, last row + 1, first
 * position, last position + 1) of each. Sequences packed behind one another are segments; what nobody sees through is cut.
 */
export function segmentsOf(masks: Int32Array): number[] {
  const rows = masks.length / 3;
  // the first position that any row from `row` on sees
  const least = new Int32Array(rows);
  for (let row = rows - 1, first = rows; row >= 0; row--) {
    const [from, limit, self] = [masks[3 * row]!, masks[3 * row + 1]!, masks[3 * row + 2]!];
    if (from < limit) first = Math.min(first, from);
    first = Math.min(first, self);
    least[row] = first;
  }
  const segments: number[] = [];
  for (let row = 0, start = 0, limits = 0; row < rows; row++) {
    if (masks[3 * row]! < masks[3 * row + 1]!) limits = Math.max(limits, masks[3 * row + 1]!);
    const end = row + 1;
    if (end < rows && (least[end]! < end || limits > end)) continue;
    segments.push(start, end, start, end);
    start = end;
  }
  return segments;
}

function keysIn(segments: readonly number[], segment: number): number {
  return segments[4 * segment + 3]! - segments[4 * segment + 2]!;
}

/** Ranges of units with equal numbers of products of a row and a position. */
function unitBounds(segments: readonly number[], kvHeads: number, parts: (products: number) => number): number[] {
  const count = segments.length / 4;
  const products = (unit: number) => {
    const segment = unit % count;
    return (segments[4 * segment + 1]! - segments[4 * segment]!) * keysIn(segments, segment);
  };
  let all = 0;
  for (let unit = 0; unit < count; unit++) all += products(unit);
  const wanted = Math.min(parts(all), count * kvHeads);
  const bounds = [0];
  for (let unit = 0, sum = 0; unit < count * kvHeads; unit++) {
    sum += products(unit);
    if (sum >= (all * kvHeads * bounds.length) / wanted || unit === count * kvHeads - 1) bounds.push(unit + 1);
  }
  return bounds;
}

/**
 * How many ranges KV heads and rows are cut into for so many parts.
 * @param blocks of rows, which are not cut
 */
function partsOf(parts: number, nKvHeads: number, blocks: number): readonly [heads: number, rows: number] {
  if (parts === 1) return [1, 1];
  const heads = nKvHeads <= 2 * parts ? Math.min(nKvHeads, MOST_PARTS) : parts;
  const rows = Math.min(Math.ceil(parts / heads), blocks, Math.floor(MOST_PARTS / heads));
  return [heads, Math.max(1, rows)];
}

/**
 * Row ranges with equal numbers of visible positions: row i sees base + i + 1, at most `window`. In whole blocks, so that a row is
 * computed in the same company however many lanes there are.
 */
function rowBounds(rows: number, base: number, window: number, parts: number, block: number): number[] {
  const upTo = (row: number): number => {
    const full = window > 0 ? Math.min(row, Math.max(0, window - base)) : row;
    return base * full + (full * (full + 1)) / 2 + (row - full) * window;
  };
  const bounds = [0];
  for (let part = 1; part < parts; part++) {
    const wanted = (upTo(rows) * part) / parts;
    let row = bounds[part - 1]!;
    while (row + block <= rows && upTo(row + block / 2) < wanted) row += block;
    bounds.push(row);
  }
  bounds.push(rows);
  return bounds;
}
