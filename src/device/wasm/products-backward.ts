import { heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Call } from './calls.ts';
import { type ExpertGroup, expertGroups } from './expert-groups.ts';
import { PANEL_TYPE } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import type { Parts } from './parts.ts';
import { grid } from './product-parts.ts';
import { FEW } from './products.ts';
import { addressOf, type WasmTensor } from './tensor.ts';

/**
 * The way back through the products of products.ts, apart from it for its length and because pages that only infer load none of it. The
 * gradient of a weight is a product of rows, `matmul`; only that of experts is here.
 */

/** Columns that lanes share a weight by: a block of the quantised types. */
const BLOCK = 32;
/** What unpacking and transposing a weight costs, in rows that meet it. */
const UNPACKING = 8;

/** As TrainDevice.linearBackward. Sums run over the outputs of the weight, whoever has a rectangle of dX. */
export function linearBackward(parts: Parts, dY: Tensor, weight: Tensor, dX: Tensor, accumulate: boolean): void {
  const { kernels, arena, lanes } = parts;
  const m = heightOf(dY);
  const [n, k] = weight.shape as [number, number];
  const count = lanes.parts(m * n * k, FEW);
  const [down, across] = grid(count, m, k);
  const rows = evenly(m, down, kernels.microRows(parts.tuning.micro));
  const columns = evenly(k, across, BLOCK);
  const mark = arena.mark();
  const calls: Call[][] = [];
  for (let i = 0; i < down; i++) {
    for (let j = 0; j < across; j++) {
      const [r, first, last] = [rows[i]!, columns[j]!, columns[j + 1]!];
      const height = rows[i + 1]! - r;
      if (height === 0 || first === last) continue;
      const [from, to] = [addressOf(dY) + 4 * r * n, addressOf(dX) + 4 * r * k];
      const matrix = { weight, at: addressOf(weight), shift: (weight as WasmTensor).shifts[0]! };
      const scratch = arena.allocate(kernels.linearBackwardScratch(last - first));
      calls.push([backwardCall(parts, matrix, height, from, to, first, last, accumulate, scratch)]);
    }
  }
  lanes.dispatch(calls);
  arena.reset(mark);
}

/** As TrainDevice.linearGroupedBackward. The offsets are read, since this memory is at hand. */
export function linearGroupedBackward(
  parts: Parts,
  dY: Tensor,
  offsets: Tensor,
  weights: Tensor,
  dX: Tensor,
  accumulate: boolean,
): void {
  const { kernels, memory, arena, lanes } = parts;
  const [experts, n, k] = weights.shape as [number, number, number];
  const groups = expertGroups(memory, offsets, heightOf(dY));
  const mark = arena.mark();
  const scratch = new Map<number, number>();
  shareGroups(lanes, groups, Math.ceil(k / BLOCK), n * k, (group, from, to, part) => {
    const [first, last] = [from * BLOCK, Math.min(k, to * BLOCK)];
    const own = scratch.get(part) ?? arena.allocate(kernels.linearBackwardScratch(k));
    scratch.set(part, own);
    const matrix = {
      weight: weights,
      at: addressOf(weights) + (group.expert * weights.byteLength) / experts,
      shift: (weights as WasmTensor).shifts[group.expert]!,
    };
    const [y, x] = [addressOf(dY) + 4 * n * group.first, addressOf(dX) + 4 * k * group.first];
    return backwardCall(parts, matrix, group.rows, y, x, first, last, accumulate, own);
  });
  arena.reset(mark);
}

/** As TrainDevice.linearGroupedWeights. */
export function linearGroupedWeights(parts: Parts, dY: Tensor, offsets: Tensor, x: Tensor, dW: Tensor): void {
  const { kernels, memory, arena, lanes, tuning } = parts;
  const [n, k] = [widthOf(dY), widthOf(x)];
  const groups = expertGroups(memory, offsets, heightOf(dY));
  const mark = arena.mark();
  const scratch = new Map<number, number>();
  shareGroups(lanes, groups, Math.ceil(k / 8), n * k, (group, from, to, part) => {
    const [first, last] = [from * 8, Math.min(k, to * 8)];
    const own = scratch.get(part) ?? arena.allocate(kernels.gemmScratch(k));
    scratch.set(part, own);
    const a = addressOf(dY) + 4 * n * group.first;
    const b = addressOf(x) + 4 * (k * group.first + first);
    const c = addressOf(dW) + 4 * (group.expert * n * k + first);
    return ['gemm', [tuning.micro, n, last - first, group.rows, 1, a, 4, 4 * n, b, 4 * k, 4, c, 4 * k, 1, own]];
  });
  arena.reset(mark);
}

/** A weight, or the one of an expert within a stack. */
interface Matrix {
  readonly weight: Tensor;
  readonly at: number;
  readonly shift: number;
}

/** The columns first .. last - 1 of some rows of dX. */
function backwardCall(
  { tuning }: Parts,
  { weight, at, shift }: Matrix,
  rows: number,
  dY: number,
  dX: number,
  first: number,
  last: number,
  accumulate: boolean,
  scratch: number,
): Call {
  const [n, k] = weight.shape.slice(-2) as [number, number];
  const type = PANEL_TYPE[weight.type as 'f32'];
  return [
    'linearBackward',
    [tuning.micro, rows, n, k, dY, type, at, shift, first, last, dX, accumulate ? 1 : 0, scratch],
  ];
}

/**
 * Work on the groups, each of `units` columns or blocks of them, shared among lanes: all of it end to end, cut where it costs the same,
 * so that most groups have one lane. work: multiply-adds of a row. call: that for the units from .. to - 1 of a group.
 */
function shareGroups(
  lanes: Lanes,
  groups: readonly ExpertGroup[],
  units: number,
  work: number,
  call: (group: ExpertGroup, from: number, to: number, part: number) => Call,
): void {
  const rows = groups.reduce((sum, group) => sum + group.rows, 0);
  const parts = lanes.parts(rows * work, FEW);
  const total = units * (rows + UNPACKING * groups.length);
  const calls = Array.from({ length: parts }, (): Call[] => []);
  let before = 0;
  for (const group of groups) {
    const cost = group.rows + UNPACKING;
    const bound = (part: number) => Math.min(units, Math.max(0, Math.round(((total * part) / parts - before) / cost)));
    for (let part = 0; part < parts; part++) {
      const [from, to] = [bound(part), bound(part + 1)];
      if (from < to) calls[part]!.push(call(group, from, to, part));
    }
    before += units * cost;
  }
  // with many experts a part has more calls than its slot holds
  lanes.dispatchLong(calls.filter((list) => list.length > 0));
}
