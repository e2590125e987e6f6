/** Products of few rows with large weights, several weights in one dispatch. */
import { elements } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { spread } from './kernel.ts';
import { type Operand, rowsOf, rowsWithin } from './operand.ts';
import { part } from './pieces.ts';
import { sourceNumbers } from './quads.ts';
import { outputsOf, type RowShape, rowKernel } from './row-kernel.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';
import type { Scaling } from './tile-product.ts';

/** Most rows that are better computed so than by tiles. */
export const FEW_ROWS = 16;
/** Most weights of a dispatch: queries, keys and values. */
const MOST_WEIGHTS = 3;
/** Rows of a dispatch: fewer than workgroups of a dimension. */
const MOST_ROWS = 32_768;

/** A weight [n, k], and what gets its products. */
export interface Meeting {
  readonly weight: Operand;
  readonly out: Bound;
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
): void {
  const limit = parts.commands.bindingLimit;
  for (let at = 0; at < meetings.length; ) {
    const some = experts ? meetings.slice(at, at + 1) : together(parts, meetings, at);
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
      else byWeights(parts, rows, pieces, scaling);
    }
  }
}

const outputsEach = (weight: Operand, experts: Experts | null): number => experts?.rows ?? weight.rows;

/** Weights from `at` on that one dispatch can take: of one type, and each whole. */
function together({ commands }: GpuParts, all: readonly Meeting[], at: number): readonly Meeting[] {
  const [first] = all.slice(at);
  const buffers = commands.context.device.limits.maxStorageBuffersPerShaderStage - 1;
  const most = Math.min(MOST_WEIGHTS, Math.floor(buffers / (first!.weight.scales ? 3 : 2)));
  const fits = ({ weight }: Meeting) =>
    weight.reading === first!.weight.reading && rowsWithin(commands.bindingLimit, weight.rowBytes) >= weight.rows;
  let count = 1;
  if (fits(first!)) while (count < most && at + count < all.length && fits(all[at + count]!)) count++;
  return all.slice(at, at + count);
}

function byWeights(parts: GpuParts, x: Operand, meetings: readonly Meeting[], scaling: Scaling): void {
  const strides = meetings.map(({ weight }) => weight.rows);
  const step = rowsWithin(parts.commands.bindingLimit, meetings[0]!.weight.rowBytes);
  if (meetings.length > 1 || step >= strides[0]!) {
    run(parts, x, meetings, strides, scaling, null);
    return;
  }
  const [{ weight, out }] = meetings as [Meeting];
  for (let first = 0; first < weight.rows; first += step) {
    const some = rowsOf(weight, first, Math.min(step, weight.rows - first));
    run(parts, x, [{ weight: some, out: part(out, 4 * first, out.byteLength - 4 * first) }], strides, scaling, null);
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
): void {
  const some = meetings.filter(({ weight }) => weight.rows > 0);
  if (some.length === 0 || x.rows === 0) return;
  const pairs = Math.ceil(x.columns / 8);
  const outputs = some.reduce((sum, { weight }) => sum + weight.rows, 0);
  const shape = shapeOf(
    context.traits.subgroupSize,
    pairs,
    grouped ? 1 : x.rows,
    outputs,
    some.length,
    grouped !== null,
  );
  const numbers = [x.rows, pairs, alpha, accumulate ? 1 : 0, ...(grouped?.numbers ?? []), ...sourceNumbers(x, 1)];
  const weights: Bound[] = [];
  let groups = 0;
  for (const [i, { weight }] of some.entries()) {
    const its = Math.ceil(weight.rows / outputsOf(shape));
    groups += its;
    numbers.push(weight.rows, its, strides[i]!, ...sourceNumbers(weight, 2));
    weights.push(weight.data, ...(weight.scales ? [weight.scales] : []));
  }
  const bound = [x.data, ...(grouped ? [grouped.offsets] : []), ...weights, ...some.map(({ out }) => out)];
  const [across, deep] = spread(groups);
  const kernel = rowKernel(shape, x.reading, some[0]!.weight.reading);
  commands.run(kernel, bound, numbers, [across, Math.ceil(x.rows / shape.rows), deep]);
}

/** Sums that a large GPU has in the making at once. */
const BUSY = 2 ** 17;

/** Lanes by the length alone, since they decide the order of a sum. */
function shapeOf(
  subgroup: number,
  pairs: number,
  count: number,
  all: number,
  weights: number,
  grouped: boolean,
): RowShape {
  const wanted = pairs >= 128 ? 32 : pairs >= 48 ? 16 : pairs >= 12 ? 8 : 4;
  const lanes = subgroup >= 4 ? Math.min(wanted, subgroup) : wanted;
  const rows = count === 1 ? 1 : count === 2 ? 2 : count <= 4 ? 4 : 8;
  const busy = (all * lanes) / BUSY;
  const outputs = rows >= 4 || busy >= 4 ? 4 : busy >= 2 ? 2 : 1;
  return { lanes, outputs, rows, weights, grouped };
}
