import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { LINE, overElements, overRows } from './over-rows.ts';
import type { Parts } from './parts.ts';
import { addressOf } from './tensor.ts';

/** As TrainDevice.fill. */
export function fill({ memory }: Parts, x: Tensor, value: number): void {
  const at = addressOf(x) / 4;
  new Float32Array(memory.memory.buffer).fill(value, at, at + elements(x.shape));
}

/** As TrainDevice.axpy. */
export function axpy({ lanes }: Parts, alpha: number, x: Tensor, y: Tensor): void {
  const n = elements(x.shape);
  const [from, to] = [addressOf(x), addressOf(y)];
  overElements(lanes, 'axpy', n, (count, at) => [count, alpha, from + at, to + at]);
}

/** As TrainDevice.columnSum: lanes share columns, so that a sum runs over the rows in their order. */
export function columnSum({ lanes }: Parts, x: Tensor, out: Tensor): void {
  const [rows, n] = [heightOf(x), widthOf(x)];
  const [from, to] = [addressOf(x), addressOf(out)];
  overRows(lanes, 'columnSum', n, rows, [0, 0, rows, n, from, to], { align: LINE });
}

/** Elements that are summed by themselves, whoever sums them. */
const BLOCK = 1 << 12;

/** As TrainDevice.sumSquares: the sums of blocks are added in their order. */
export function sumSquares({ arena, memory, lanes }: Parts, x: Tensor, out: Tensor): void {
  const n = elements(x.shape);
  const blocks = Math.ceil(n / BLOCK);
  const mark = arena.mark();
  const sums = arena.allocate(8 * blocks);
  overRows(lanes, 'sumSquares', blocks, BLOCK, [0, 0, BLOCK, n, addressOf(x), sums]);
  let sum = 0;
  for (const block of new Float64Array(memory.memory.buffer, sums, blocks)) sum += block;
  new Float32Array(memory.memory.buffer, addressOf(out), 1)[0]! += sum;
  arena.reset(mark);
}
