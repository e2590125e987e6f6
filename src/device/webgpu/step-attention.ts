/** `attendEach` of the GPU device: one dispatch for all sequences whose caches stand in the same buffers, and one that puts their tiles together. */
import { attendEachApart } from '../attend-each.ts';
import { widthOf } from '../checks/tensor.ts';
import type { Device, StepArguments, StepSequence, Tensor } from '../device.ts';
import { scratch } from './attention.ts';
import { ATTENTION_TOGETHER, PART_LANES } from './attention-kernels.ts';
import { quarters, TILE } from './attention-text.ts';
import type { Bound } from './commands.ts';
import { addLinear } from './fused.ts';
import type { GpuMemory } from './memory.ts';
import { operandOf } from './operand.ts';
import { joinedRowProduct } from './row-product.ts';
import { MOST_SEQUENCES, STEP_PARTS, stepBytes } from './step-kernel.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

/** Sequences whose keys stand in one buffer, and whose values stand in one. */
interface Company {
  readonly keys: GpuMemory;
  readonly values: GpuMemory;
  /** Rows of the list. */
  readonly list: number[];
}

/** What tiles of positions give, to be put together; without stats it is the result. */
interface Tiles {
  readonly count: number;
  readonly data: Bound;
  readonly stats: Bound | null;
}

export function attendEach(device: Device, parts: GpuParts, args: StepArguments): void {
  if (args.sequences.length === 0 || widthOf(args.q) === 0) return;
  const mark = parts.arena.mark();
  const tiles = tilesOf(parts, args);
  if (tiles) putTogether(parts, args, tiles);
  else attendEachApart(device, args);
  parts.arena.reset(mark);
}

/** residual += attended · weightᵀ. What is in `out` is undefined. */
export function attendLinear(
  device: Device,
  parts: GpuParts,
  args: StepArguments,
  weight: Tensor,
  residual: Tensor,
): void {
  const { out, nHeads: heads, headDim, sequences } = args;
  const mark = parts.arena.mark();
  const one = sequences.length === 1 ? tilesOf(parts, args) : null;
  const { stats, data, count: tiles } = one ?? { stats: null, data: null, count: 0 };
  const row = stats && { parts: data, stats, tiles, heads, headDim };
  if (!row || !joinedRowProduct(parts, row, operandOf(weight), residual as GpuTensor)) {
    if (one) putTogether(parts, args, one);
    else attendEach(device, parts, args);
    addLinear(parts, out, weight, residual);
  }
  parts.arena.reset(mark);
}

/** Keys and values to the caches, and queries against each tile, in scratch; null where one dispatch cannot. */
function tilesOf(parts: GpuParts, args: StepArguments): Tiles | null {
  const { q, k, v, out, table, rotation, sequences, nHeads, nKvHeads, headDim, window } = args;
  const { commands } = parts;
  const rows = sequences.length;
  const group = nHeads / nKvHeads;
  const own = group <= PART_LANES ? 1 : group <= 2 * PART_LANES ? 2 : 4;
  let [zero, end] = [Number.POSITIVE_INFINITY, 0];
  for (const { base } of sequences) {
    end = Math.max(end, Math.floor(base / TILE) + 1);
    zero = Math.min(zero, window > 0 ? Math.floor(Math.max(0, base + 1 - window) / TILE) : 0);
  }
  const tiles = end - zero;
  const count = rows * nHeads;
  if (group > 4 * PART_LANES || stepBytes(own, headDim) > commands.context.traits.workgroupBytes) return null;
  const companies = companiesOf(parts, args, 4 * tiles * count * headDim);
  if (!companies) return null;
  const last = tiles === 1;
  const data = last ? (out as GpuTensor) : scratch(parts, tiles * count * headDim);
  const stats = last ? null : scratch(parts, tiles * count * 2);
  const half = table ? rotation.rotaryDims / 2 : 0;
  const kernel = STEP_PARTS(own, headDim, headDim % 4 === 0, last, rotation.layout === 'interleaved');
  const operands = [q, k, v, table ?? q].map((t) => t as GpuTensor);
  for (const { keys, values, list } of companies) {
    const bound = [...operands, whole(keys), whole(values), data, ...(stats ? [stats] : [])];
    const numbers = [rows, nHeads, nKvHeads, group, half, window, zero];
    numbers.push(args.scale * Math.LOG2E, 16, quarters(headDim), TILE / 16);
    for (let first = 0; first < list.length; first += 8 * MOST_SEQUENCES) {
      const some = list.slice(first, first + 8 * MOST_SEQUENCES);
      commands.run(kernel, bound, [...numbers, ...some], [tiles, nKvHeads, some.length / 8]);
    }
  }
  return { count: tiles, data, stats };
}

function putTogether(
  { commands }: GpuParts,
  { out, sequences, nHeads, headDim }: StepArguments,
  { count: tiles, data, stats }: Tiles,
): void {
  if (!stats) return;
  const count = sequences.length * nHeads;
  const columns = Math.ceil(headDim / 64);
  const numbers = [tiles, count, headDim, columns, 1];
  commands.run(ATTENTION_TOGETHER(false), [data, stats, out as GpuTensor], numbers, count * columns);
}

/**
 * Whose caches one dispatch can take; null where they cannot be bound so: a buffer is larger than a binding or has more than caches, or a cache begins
 * where no vector of four does.
 */
function companiesOf({ commands }: GpuParts, args: StepArguments, partBytes: number): Company[] | null {
  const { q, k, v, out, table, headDim, sequences } = args;
  const { bindingLimit } = commands;
  if (partBytes > bindingLimit) return null;
  for (const t of [q, k, v, out, table]) if (t && t.byteLength + 256 > bindingLimit) return null;
  const others = [q, k, v, out, table].map((t) => (t as GpuTensor | null)?.memory);
  const bytes = headDim % 4 === 0 ? 16 : 4;
  const found: Company[] = [];
  for (const [row, { keys, values, base, position }] of (sequences as readonly GpuSequence[]).entries()) {
    let company = found.find((one) => one.keys === keys.memory && one.values === values.memory);
    if (!company) {
      if (keys.memory === values.memory) return null;
      for (const { memory } of [keys, values]) {
        if (memory.size > bindingLimit || others.includes(memory)) return null;
      }
      company = { keys: keys.memory, values: values.memory, list: [] };
      found.push(company);
    }
    if (keys.offset % bytes !== 0) return null;
    company.list.push(row, base, keys.offset / bytes, values.offset / 4, position, 0, 0, 0);
  }
  return found;
}

type GpuSequence = StepSequence & { readonly keys: GpuTensor; readonly values: GpuTensor };

/** All of a buffer, which caches stand in at offsets of their own. */
function whole(memory: GpuMemory): Bound {
  return { memory, offset: 0, byteLength: memory.size };
}
