import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { evenly } from './lanes.ts';
import type { Parts } from './parts.ts';
import { addressOf } from './tensor.ts';

/** Elements below which an operation is not worth a command to the lanes. */
const FEW = 1 << 14;
/** Elements of a range, in whole cache lines. */
const LINE = 16;

/** As TrainDevice.fill. */
export function fill({ memory }: Parts, x: Tensor, value: number): void {
  const at = addressOf(x) / 4;
  new Float32Array(memory.memory.buffer).fill(value, at, at + elements(x.shape));
}

/** As TrainDevice.axpy. */
export function axpy({ lanes }: Parts, alpha: number, x: Tensor, y: Tensor): void {
  const n = elements(x.shape);
  const [from, to] = [addressOf(x), addressOf(y)];
  lanes.run('axpy', evenly(n, lanes.parts(n, FEW, 2), LINE), (first, last) => {
    return [last - first, alpha, from + 4 * first, to + 4 * first];
  });
}

/** As TrainDevice.columnSum: lanes share columns, so that a sum runs over the rows in their order. */
export function columnSum({ lanes }: Parts, x: Tensor, out: Tensor): void {
  const [rows, n] = [heightOf(x), widthOf(x)];
  const [from, to] = [addressOf(x), addressOf(out)];
  lanes.run('columnSum', evenly(n, lanes.parts(rows * n, FEW, 2), LINE), (first, last) => {
    return [first, last, rows, n, from, to];
  });
}

/** Elements that are summed by themselves, whoever sums them. */
const BLOCK = 1 << 12;

/** As TrainDevice.sumSquares: the sums of blocks are added in their order. */
export function sumSquares({ arena, memory, lanes }: Parts, x: Tensor, out: Tensor): void {
  const n = elements(x.shape);
  const blocks = Math.ceil(n / BLOCK);
  const mark = arena.mark();
  const sums = arena.allocate(8 * blocks);
  lanes.run('sumSquares', evenly(blocks, lanes.parts(n, FEW, 2)), (first, last) => {
    return [first, last, BLOCK, n, addressOf(x), sums];
  });
  let sum = 0;
  for (const block of new Float64Array(memory.memory.buffer, sums, blocks)) sum += block;
  new Float32Array(memory.memory.buffer, addressOf(out), 1)[0]! += sum;
  arena.reset(mark);
}
