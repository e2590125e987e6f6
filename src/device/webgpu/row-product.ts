/** Products of few rows with large weights, several weights in one dispatch. */
import { elements } from '../checks/tensor.ts';
import type { GatedActivation, Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { spread } from './kernel.ts';
import { normSize } from './norm.ts';
import { floatRows, type Operand, rowsOf, rowsWithin } from './operand.ts';
import { part } from './pieces.ts';
import { sourceNumbers } from './quads.ts';
import { joinedBytes, MOST_JOINED, outputsOf, type RowShape, rowKernel } from './row-kernel.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';
import type { Scaling } from './tile-product.ts';

/** Most rows that are better computed so than by tiles. */
export const FEW_ROWS = 16;
/** Most weights of a dispatch: queries, keys and values. */
const MOST_WEIGHTS = 3;
/** Tiles of a row that are put together anew by each workgroup of a product: with more, it is done once before. */
const MOST_TILES = 16;
/** Rows of a dispatch: fewer than workgroups of a dimension. */
const MOST_ROWS = 32_768;

/** A weight [n, k], and what gets its products. */
export interface Meeting {
  readonly weight: Operand;
  readonly out: Bound;
}

/** `rmsNorm` of rows as they are read; they are vectors of four, and so is the weight. */
export interface RowNorm {
  readonly weight: Tensor;
  readonly eps: number;
}

/** A row that attention has in tiles. */
export interface RowTiles {
  readonly parts: Bound; // [tiles, heads · headDim]
  readonly stats: Bound; // [tiles, heads, 2]
  readonly tiles: number;
  readonly heads: number;
  readonly headDim: number;
}

/** Rows of experts: see `linearGrouped`. */
export interface Experts {
  readonly offsets: Tensor;
  /** Rows of weights of each. */
  readonly rows: number;
}

/** out [rows, n] = alpha · x · weightᵀ (+ out) for each of them, each row with the bits that it gets as the only one. */
export function rowProduct(
  parts: GpuParts,
  x: Operand,
  meetings: readonly Meeting[],
  scaling: Scaling,
  experts: Experts | null = null,
  norm: RowNorm | null = null,
): void {
  const limit = parts.commands.bindingLimit;
  for (let at = 0; at < meetings.length; ) {
    const some = experts ? meetings.slice(at, at + 1) : together(parts, meetings, at, norm ? 2 : 1);
    at += some.length;
    const widest = Math.max(x.rowBytes, ...some.map(({ weight }) => 4 * outputsEach(weight, experts)));
    const step = Math.min(MOST_ROWS, rowsWithin(limit, widest));
    for (let first = 0; first < x.rows; first += step) {
      const rows = rowsOf(x, first, Math.min(step, x.rows - first));
      const pieces = some.map(({ weight, out }) => {
        const bytes = 4 * outputsEach(weight, experts);
        return { weight, out: part(out, first * bytes, rows.rows * bytes) };
      });
      if (experts) byExperts(parts, rows, first, pieces[0]!, scaling, experts);
      else byWeights(parts, rows, pieces, scaling, norm);
    }
  }
}

const outputsEach = (weight: Operand, experts: Experts | null): number => experts?.rows ?? weight.rows;

/**
 * act(x · gateᵀ) · (x · upᵀ) of normed rows, in one dispatch. @returns whether it can be: the weights are of one type, and all of it is bound
 */
export function gatedRowProduct(
  parts: GpuParts,
  x: Operand,
  [gate, up]: readonly [gate: Operand, up: Operand],
  out: Bound,
  kind: GatedActivation,
  norm: RowNorm,
): boolean {
  const { commands } = parts;
  const limit = commands.bindingLimit;
  const buffers = 3 + (gate.scales ? 4 : 2);
  if (
    gate.reading !== up.reading ||
    buffers > commands.context.device.limits.maxStorageBuffersPerShaderStage ||
    rowsWithin(limit, gate.rowBytes) < gate.rows ||
    rowsWithin(limit, Math.max(x.rowBytes, 4 * gate.rows)) < x.rows ||
    x.rows > MOST_ROWS
  ) {
    return false;
  }
  const meetings = [gate, up].map((weight) => ({ weight, out }));
  run(parts, x, meetings, [gate.rows, up.rows], { alpha: 1, accumulate: false }, null, norm, kind);
  return true;
}

/** out [1, n] += row · weightᵀ in one dispatch. @returns whether it can be */
export function joinedRowProduct(
  parts: GpuParts,
  { parts: data, stats, tiles, heads, headDim }: RowTiles,
  weight: Operand,
  out: Bound,
): boolean {
  const limit = parts.commands.bindingLimit;
  const columns = heads * headDim;
  const bytes = Math.max(data.byteLength, out.byteLength) + 256;
  if (tiles > MOST_TILES || heads * tiles > MOST_JOINED || headDim % 4 !== 0 || bytes > limit) return false;
  if (rowsWithin(limit, weight.rowBytes) < weight.rows) return false;
  if (joinedBytes(joinedQuads(columns)) > parts.context.traits.workgroupBytes) return false;
  const x: Operand = { ...floatRows(data, tiles, columns), rows: 1 };
  const row = { stats, numbers: [tiles, heads, headDim / 4] };
  run(parts, x, [{ weight, out }], [weight.rows], { alpha: 1, accumulate: true }, null, null, 'none', row);
  return true;
}

/** Room for a row: a power of two, for few kernels. */
const joinedQuads = (columns: number): number => 2 ** Math.ceil(Math.log2(Math.max(4, columns) / 4));

/** Weights from `at` on that one dispatch can take: of one type, and each whole. @param others buffers beside those of weights */
function together({ commands }: GpuParts, all: readonly Meeting[], at: number, others: number): readonly Meeting[] {
  const [first] = all.slice(at);
  const buffers = commands.context.device.limits.maxStorageBuffersPerShaderStage - others;
  const most = Math.min(MOST_WEIGHTS, Math.floor(buffers / (first!.weight.scales ? 3 : 2)));
  const fits = ({ weight }: Meeting) =>
    weight.reading === first!.weight.reading && rowsWithin(commands.bindingLimit, weight.rowBytes) >= weight.rows;
  let count = 1;
  if (fits(first!)) while (count < most && at + count < all.length && fits(all[at + count]!)) count++;
  return all.slice(at, at + count);
}

function byWeights(
  parts: GpuParts,
  x: Operand,
  meetings: readonly Meeting[],
  scaling: Scaling,
  norm: RowNorm | null,
): void {
  const strides = meetings.map(({ weight }) => weight.rows);
  const step = rowsWithin(parts.commands.bindingLimit, meetings[0]!.weight.rowBytes);
  if (meetings.length > 1 || step >= strides[0]!) {
    run(parts, x, meetings, strides, scaling, null, norm);
    return;
  }
  const [{ weight, out }] = meetings as [Meeting];
  for (let first = 0; first < weight.rows; first += step) {
    const some = rowsOf(weight, first, Math.min(step, weight.rows - first));
    const meeting = { weight: some, out: part(out, 4 * first, out.byteLength - 4 * first) };
    run(parts, x, [meeting], strides, scaling, null, norm);
  }
}

/** By as many experts as a binding holds, or by parts of one. */
function byExperts(
  parts: GpuParts,
  x: Operand,
  firstRow: number,
  { weight, out }: Meeting,
  scaling: Scaling,
  { offsets, rows: n }: Experts,
): void {
  const all = elements(offsets.shape) - 1;
  const most = rowsWithin(parts.commands.bindingLimit, weight.rowBytes);
  const step = Math.max(1, Math.floor(most / n));
  for (let e = 0; e < all; e += step) {
    const count = Math.min(step, all - e);
    const size = Math.min(n, most);
    for (let first = 0; first < n; first += size) {
      const rows = Math.min(size, n - first);
      const some = rowsOf(weight, e * n + first, size < n ? rows : count * n);
      const to = part(out, 4 * first, out.byteLength - 4 * first);
      const numbers = [firstRow, e, count, n];
      run(parts, x, [{ weight: { ...some, rows }, out: to }], [n], scaling, { offsets: offsets as GpuTensor, numbers });
    }
  }
}

/** @param grouped offsets, and the numbers that say whose rows these are */
function run(
  { commands, context }: GpuParts,
  x: Operand,
  meetings: readonly Meeting[],
  strides: readonly number[],
  { alpha, accumulate }: Scaling,
  grouped: { readonly offsets: Bound; readonly numbers: readonly number[] } | null,
  norm: RowNorm | null = null,
  gate: RowShape['gate'] = 'none',
  joined: { readonly stats: Bound; readonly numbers: readonly number[] } | null = null,
): void {
  const some = meetings.filter(({ weight }) => weight.rows > 0);
  if (some.length === 0 || x.rows === 0) return;
  const pairs = Math.ceil(x.columns / 8);
  const outputs = some.reduce((sum, { weight }) => sum + weight.rows, 0);
  const shape: RowShape = {
    ...sizesOf(context.traits.subgroupSize, pairs, grouped ? 1 : x.rows, outputs, gate === 'none' ? 4 : 2),
    ...{
      weights: some.length,
      grouped: grouped !== null,
      norm: norm ? normSize(norm.weight) : 0,
      joined: joined ? joinedQuads(x.columns) : 0,
      gate,
    },
  };
  const numbers = [x.rows, pairs, alpha, accumulate ? 1 : 0, ...(grouped?.numbers ?? [])];
  if (norm) numbers.push(norm.eps);
  if (joined) numbers.push(...joined.numbers);
  numbers.push(...sourceNumbers(x, 1));
  const weights: Bound[] = [];
  let groups = 0;
  for (const [i, { weight }] of some.entries()) {
    const its = Math.ceil(weight.rows / outputsOf(shape));
    if (i === 0 || gate === 'none') groups += its;
    numbers.push(weight.rows, its, strides[i]!, ...sourceNumbers(weight, 2));
    weights.push(weight.data, ...(weight.scales ? [weight.scales] : []));
  }
  const outs = gate === 'none' ? some.map(({ out }) => out) : [some[0]!.out];
  const beside = [...(norm ? [norm.weight as GpuTensor] : []), ...(joined ? [joined.stats] : [])];
  const bound = [x.data, ...(grouped ? [grouped.offsets] : []), ...weights, ...beside, ...outs];
  const [across, deep] = spread(groups);
  const kernel = rowKernel(shape, x.reading, some[0]!.weight.reading);
  commands.run(kernel, bound, numbers, [across, Math.ceil(x.rows / shape.rows), deep]);
}

/** Sums that a large GPU has in the making at once. */
const BUSY = 2 ** 17;

/** Lanes by the length alone, since they decide the order of a sum. */
function sizesOf(
  subgroup: number,
  pairs: number,
  count: number,
  all: number,
  mostOutputs: number,
): Pick<RowShape, 'lanes' | 'outputs' | 'rows'> {
  const wanted = pairs >= 128 ? 32 : pairs >= 48 ? 16 : pairs >= 12 ? 8 : 4;
  const lanes = subgroup >= 4 ? Math.min(wanted, subgroup) : wanted;
  const rows = count === 1 ? 1 : count === 2 ? 2 : count <= 4 ? 4 : 8;
  const busy = (all * lanes) / BUSY;
  const outputs = rows >= 4 || busy >= 4 ? 4 : busy >= 2 ? 2 : 1;
  return { lanes, outputs: Math.min(outputs, mostOutputs), rows };
}
