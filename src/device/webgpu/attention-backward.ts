/** Attention's way back on the GPU: which kernels compute it, and in which pieces. */
import { heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { AttentionBackwardArguments } from '../train-device.ts';
import {
  type BlockShape,
  blockNumbers,
  blockOf,
  firstPosition,
  isWide,
  loopsOf,
  positions,
  type RowPiece,
  rowPieces,
  scratch,
} from './attention.ts';
import {
  ATTENTION_BACK_KEYS,
  ATTENTION_BACK_QUERIES,
  ATTENTION_BACK_SUM,
  ATTENTION_INNER,
  rowTurns,
} from './attention-backward-kernels.ts';
import type { Tile } from './attention-text.ts';
import type { Bound } from './commands.ts';
import { part, rowsOf } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

/** Workgroups that the gradient of keys and values is wanted to have: blocks of rows are shared out until there are as many. */
const WANTED_GROUPS = 256;
/** Blocks of rows of one of those, at least, and bytes of their sums, at most. */
const LEAST_BLOCKS = 2;
const PART_BYTES = 64 * 2 ** 20;

/** Positions that a binding holds. */
interface KeyPiece {
  readonly first: number;
  readonly end: number;
}

export function attentionBackward(parts: GpuParts, args: AttentionBackwardArguments): void {
  const { q, keys, mask, nHeads, nKvHeads, headDim, base } = args;
  const [rows, width] = [heightOf(q), widthOf(q)];
  if (rows === 0 || width === 0) return;
  const { commands, arena } = parts;
  const { workgroupBytes, invocations } = commands.context.traits;
  const side = workgroupBytes >= 32_768 && invocations >= 256 ? 64 : 32;
  const block = blockOf(side, nHeads / nKvHeads);
  const [limit, end] = [commands.bindingLimit, base + rows];
  const some = rowsOf('attentionBackward', limit, 4 * widthOf(keys) * side) * side;
  for (const piece of rowPieces(rowsOf('attentionBackward', limit, 4 * width), q, mask)) {
    const mark = arena.mark();
    const [of, ofHeads] = [4 * width, 4 * nHeads];
    const own = (t: Tensor, bytes: number) => part(t as GpuTensor, bytes * piece.first, bytes * piece.rows);
    const count = piece.rows * nHeads;
    const stats = scratch(parts, 2 * count);
    commands.run(
      ATTENTION_INNER,
      [own(args.out, of), own(args.dOut, of), own(args.logSumExp, ofHeads), stats],
      [count, headDim, Math.LOG2E],
      Math.ceil(count / 16),
    );
    const rowBound: RowBound = { piece, block, dOut: own(args.dOut, of), dQ: own(args.dQ, of), stats };
    const start = firstPosition(args, piece.mask);
    for (let first = start; first < end; first += some) {
      const keyPiece = { first, end: Math.min(end, first + some) };
      backQueries(parts, args, side, rowBound, keyPiece, first > start);
      backKeys(parts, args, side, rowBound, keyPiece);
    }
    arena.reset(mark);
  }
}

interface RowBound {
  readonly piece: RowPiece;
  readonly block: BlockShape;
  readonly dOut: Bound;
  readonly dQ: Bound;
  readonly stats: Bound;
}

function backQueries(
  { commands }: GpuParts,
  args: AttentionBackwardArguments,
  side: number,
  { piece, block, dOut, dQ, stats }: RowBound,
  { first, end }: KeyPiece,
  more: boolean,
): void {
  const { headDim, nKvHeads, scale } = args;
  const [keys, values] = positions(args, first, end);
  const wide = isWide(headDim, piece.q, keys, values, dOut, dQ);
  const tile: Tile = { rows: side, keys: side, headDim, wide };
  commands.run(
    ATTENTION_BACK_QUERIES(side, side, headDim, wide),
    [piece.q, keys, values, dOut, stats, piece.mask ?? piece.q, dQ],
    [...blockNumbers(args, piece, block, first, loopsOf(tile)), end, scale, more ? 1 : 0],
    [Math.ceil(piece.rows / block.queries), nKvHeads * block.headBlocks],
  );
}

function backKeys(
  parts: GpuParts,
  args: AttentionBackwardArguments,
  side: number,
  { piece, block, dOut, stats }: RowBound,
  { first, end }: KeyPiece,
): void {
  const { commands, arena } = parts;
  const { headDim, nKvHeads, scale } = args;
  const [keys, values] = positions(args, first, end);
  const [dKeys, dValues] = positions({ ...args, keys: args.dKeys, values: args.dValues }, first, end);
  const wide = isWide(headDim, piece.q, keys, values, dOut, dKeys, dValues);
  const tile: Tile = { rows: side, keys: side, headDim, wide };
  const tiles = Math.ceil((end - first) / side);
  const allBlocks = Math.ceil(piece.rows / block.queries) * block.headBlocks;
  const count = (end - first) * nKvHeads * headDim;
  const most = Math.floor(Math.min(PART_BYTES, commands.bindingLimit) / (4 * count));
  const wanted = Math.ceil(WANTED_GROUPS / (tiles * nKvHeads));
  const shared = Math.max(1, Math.min(wanted, most, Math.floor(allBlocks / LEAST_BLOCKS)));
  const blocks = Math.ceil(allBlocks / shared);
  const n = Math.ceil(allBlocks / blocks);
  const mark = arena.mark();
  const [k, v] = n === 1 ? [dKeys, dValues] : [scratch(parts, n * count), scratch(parts, n * count)];
  commands.run(
    ATTENTION_BACK_KEYS(side, side, headDim, wide),
    [piece.q, keys, values, dOut, stats, piece.mask ?? piece.q, k, v],
    [
      ...[...blockNumbers(args, piece, block, first, loopsOf(tile)), end, scale],
      ...[blocks, allBlocks, rowTurns(tile), n === 1 ? 0 : 1],
    ],
    [tiles, nKvHeads, n],
  );
  if (n > 1) {
    for (const [sums, to] of [
      [k, dKeys],
      [v, dValues],
    ] as const) {
      commands.run(ATTENTION_BACK_SUM, [sums, to], [count, n], Math.ceil(count / 256));
    }
  }
  arena.reset(mark);
}
