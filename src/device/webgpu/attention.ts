/** Attention of the GPU device: which kernels compute it, and in which pieces. */
import { heightOf, widthOf } from '../checks/tensor.ts';
import type { AttentionArguments, Tensor } from '../device.ts';
import {
  ATTENTION_MERGE,
  ATTENTION_PARTS,
  ATTENTION_TILES,
  ATTENTION_TOGETHER,
  PART_LANES,
} from './attention-kernels.ts';
import { chunkOf, quarters, TILE, type Tile, weighChunk } from './attention-text.ts';
import type { Bound } from './commands.ts';
import { part, rowsOf } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

/** Workgroups from which the tiles of a row are worth being one workgroup's: a large GPU has about as many processors. */
const MANY_GROUPS = 128;
/** Bytes of what parts of the positions give, at most: rows go in pieces of so many. */
const PART_BYTES = 64 * 2 ** 20;

/** What attention and its way back have alike. */
export type AttentionShape = Pick<
  AttentionArguments,
  'q' | 'keys' | 'values' | 'base' | 'nHeads' | 'nKvHeads' | 'headDim' | 'scale' | 'window'
>;

/** Rows of q that go together, with what belongs to them. */
export interface RowPiece {
  readonly first: number;
  readonly rows: number;
  readonly q: Bound;
  readonly mask: Bound | null;
  readonly maskWidth: number;
}

/** A row's log-sum-exp goes where, in which unit; log2 is 1. */
interface Sums {
  readonly to: Bound;
  readonly unit: number;
}

export function attention(parts: GpuParts, args: AttentionArguments): void {
  const { q, out, split, mask, nHeads, headDim, logSumExp } = args;
  const [rows, width] = [heightOf(q), widthOf(q)];
  if (rows === 0 || width === 0) return;
  if (!split) {
    const sums = logSumExp ? { to: logSumExp as GpuTensor, unit: Math.LN2 } : null;
    attend(parts, args, mask, out as GpuTensor, sums);
    return;
  }
  const { commands, arena } = parts;
  const mark = arena.mark();
  const [other, sums, otherSums] = [rows * width, rows * nHeads, rows * nHeads].map((n) => scratch(parts, n));
  attend(parts, args, mask, out as GpuTensor, { to: sums!, unit: 1 });
  attend(parts, args, split.mask, other!, { to: otherSums!, unit: 1 });
  const most = rowsOf('attention', commands.bindingLimit, 4 * width);
  for (let first = 0; first < rows; first += most) {
    const n = Math.min(most, rows - first);
    const [a, b] = [other!, out as GpuTensor].map((t) => part(t, 4 * width * first, 4 * width * n));
    const [sumsA, sumsB] = [otherSums!, sums!].map((t) => part(t, 4 * nHeads * first, 4 * nHeads * n));
    const count = n * width;
    commands.run(ATTENTION_MERGE, [a!, sumsA!, sumsB!, b!], [count, headDim, split.factor], Math.ceil(count / 256));
  }
  arena.reset(mark);
}

/** With one softmax. */
function attend(parts: GpuParts, args: AttentionShape, mask: Tensor | null, out: Bound, sums: Sums | null): void {
  const { commands } = parts;
  const { q, keys, base, nHeads, nKvHeads, headDim } = args;
  const [rows, width] = [heightOf(q), widthOf(q)];
  const end = base + rows;
  // what no row's window reaches is not read
  const zero = !mask && args.window > 0 ? Math.floor(Math.max(0, base + 1 - args.window) / TILE) : 0;
  const tiles = Math.ceil(end / TILE) - zero;
  const bytesOfKey = 4 * widthOf(keys);
  const { bindingLimit } = commands;
  const fits = bytesOfKey * (end - zero * TILE) + 256 <= bindingLimit;
  const block = blockOf(tileRows(parts, headDim), nHeads / nKvHeads);
  const most = rowsOf('attention', bindingLimit, 4 * width);
  const inTiles = fits && Math.ceil(Math.min(most, rows) / block.queries) * nKvHeads * block.headBlocks >= MANY_GROUPS;
  const some = inTiles ? most : rowsOf('attention', Math.min(bindingLimit, PART_BYTES), 4 * width * tiles);
  for (const piece of rowPieces(some, q, mask)) {
    const to = part(out, 4 * width * piece.first, 4 * width * piece.rows);
    const ofSums = sums && { ...sums, to: part(sums.to, 4 * nHeads * piece.first, 4 * nHeads * piece.rows) };
    if (inTiles) attendInTiles(parts, args, piece, to, ofSums);
    else attendInParts(parts, args, piece, to, ofSums, zero, tiles);
  }
}

function attendInTiles(parts: GpuParts, args: AttentionShape, piece: RowPiece, out: Bound, sums: Sums | null): void {
  const { nKvHeads, nHeads, headDim } = args;
  const rows = tileRows(parts, headDim);
  const block = blockOf(rows, nHeads / nKvHeads);
  const first = firstPosition(args, piece.mask);
  const [keys, values] = positions(args, first, args.base + heightOf(args.q));
  const wide = isWide(headDim, piece.q, keys, values, out);
  const bound = [piece.q, keys, values, piece.mask ?? piece.q, out, ...(sums ? [sums.to] : [])];
  parts.commands.run(
    ATTENTION_TILES(rows, headDim, wide, sums !== null),
    bound,
    [...blockNumbers(args, piece, block, first, loopsOf({ rows, keys: TILE, headDim, wide })), sums?.unit ?? 1],
    [Math.ceil(piece.rows / block.queries), nKvHeads * block.headBlocks],
  );
}

/** Each tile of positions by itself, and after that all that they give; positions in as many pieces as a binding wants. */
function attendInParts(
  parts: GpuParts,
  args: AttentionShape,
  piece: RowPiece,
  out: Bound,
  sums: Sums | null,
  zero: number,
  tiles: number,
): void {
  const { commands, arena } = parts;
  const { keys, nHeads, nKvHeads, headDim } = args;
  const group = nHeads / nKvHeads;
  const own = piece.rows * group <= PART_LANES ? 1 : piece.rows * group <= 2 * PART_LANES ? 2 : 4;
  const block = blockOf(own * PART_LANES, group);
  const count = piece.rows * nHeads;
  const last = tiles === 1;
  const end = args.base + heightOf(args.q);
  const mark = arena.mark();
  const [data, stats] = last
    ? [out, null]
    : [scratch(parts, tiles * count * headDim), scratch(parts, tiles * count * 2)];
  const some = rowsOf('attention', commands.bindingLimit, 4 * widthOf(keys) * TILE);
  for (let tile = zero; tile < zero + tiles; tile += some) {
    const n = Math.min(some, zero + tiles - tile);
    const [k, v] = positions(args, tile * TILE, Math.min(end, (tile + n) * TILE));
    const wide = isWide(headDim, piece.q, k);
    const results = last ? (sums ? [sums.to] : []) : [stats!];
    commands.run(
      ATTENTION_PARTS(own, headDim, wide, last, last && sums !== null),
      [piece.q, k, v, piece.mask ?? piece.q, data, ...results],
      [
        ...blockNumbers(args, piece, block, tile * TILE, [16, quarters(headDim), TILE / 16]),
        sums?.unit ?? 1,
        tile,
        zero,
      ],
      [n, nKvHeads * block.headBlocks, Math.ceil(piece.rows / block.queries)],
    );
  }
  if (!last) {
    const columns = Math.ceil(headDim / 64);
    commands.run(
      ATTENTION_TOGETHER(sums !== null),
      [data, stats!, out, ...(sums ? [sums.to] : [])],
      [tiles, count, headDim, columns, sums?.unit ?? 1],
      count * columns,
    );
  }
  arena.reset(mark);
}

/** Heads of a group that a block of rows has, blocks of them, and queries. */
export interface BlockShape {
  readonly heads: number;
  readonly headBlocks: number;
  readonly queries: number;
}

export function blockOf(rows: number, group: number): BlockShape {
  const heads = Math.min(rows, group);
  return { heads, headBlocks: Math.ceil(group / heads), queries: Math.floor(rows / heads) };
}

/** `BLOCK_NUMBERS`. */
export function blockNumbers(
  args: AttentionShape,
  piece: RowPiece,
  block: BlockShape,
  keyFirst: number,
  loops: readonly [across: number, chunk: number, turns: number],
): number[] {
  const { q, base, nHeads, nKvHeads, window, scale } = args;
  return [
    ...[piece.rows, nHeads, nKvHeads, nHeads / nKvHeads, block.heads, block.headBlocks, block.queries],
    ...[base + piece.first, base + heightOf(q), keyFirst, window, piece.maskWidth, scale * Math.LOG2E],
    ...loops,
  ];
}

/** Bounds of the inner loops of a kernel of such tiles, for `blockNumbers`. */
export function loopsOf(tile: Tile): readonly [across: number, chunk: number, turns: number] {
  return [tile.keys / 4, chunkOf(tile), weighChunk(tile).keys / 4];
}

/** Rows of a block that the GPU's workgroup memory and invocations are enough for. */
function tileRows({ commands }: GpuParts, headDim: number): number {
  const { workgroupBytes, invocations } = commands.context.traits;
  return workgroupBytes >= 32_768 && invocations >= 256 && headDim <= 256 ? 64 : 32;
}

/** The first position that is read. */
export function firstPosition({ base, window }: AttentionShape, mask: Bound | null): number {
  return !mask && window > 0 ? Math.floor(Math.max(0, base + 1 - window) / TILE) * TILE : 0;
}

/** Those of the cache from `first` to `end` - 1. */
export function positions({ keys, values }: AttentionShape, first: number, end: number): readonly [Bound, Bound] {
  const bytes = 4 * widthOf(keys);
  const of = (t: Tensor) => part(t as GpuTensor, bytes * first, bytes * (end - first));
  return [of(keys), of(values)];
}

export function rowPieces(most: number, q: Tensor, mask: Tensor | null): RowPiece[] {
  const [rows, width] = [heightOf(q), widthOf(q)];
  const maskWidth = mask ? mask.byteLength / 4 / rows : 0;
  const pieces: RowPiece[] = [];
  for (let first = 0; first < rows; first += most) {
    const n = Math.min(most, rows - first);
    pieces.push({
      first,
      rows: n,
      q: part(q as GpuTensor, 4 * width * first, 4 * width * n),
      mask: mask && part(mask as GpuTensor, 4 * maskWidth * first, 4 * maskWidth * n),
      maskWidth,
    });
  }
  return pieces;
}

/** Whether all may be bound by four numbers. */
export function isWide(headDim: number, ...bound: readonly Bound[]): boolean {
  return headDim % 4 === 0 && bound.every(({ offset }) => offset % 16 === 0);
}

export function scratch({ arena }: GpuParts, floats: number): Bound {
  return { memory: arena.take(4 * floats), offset: 0, byteLength: 4 * floats };
}
