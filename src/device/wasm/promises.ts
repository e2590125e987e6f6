import { elements, shapeError } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { WasmMemory } from './memory.ts';
import { addressOf } from './tensor.ts';

/** Ids, places, orders and offsets are what their caller promises: a device in debug mode looks whether he keeps it. */

/** Every number from `least` to below `end`. @throws E_SHAPE */
export function checkNumbers(memory: WasmMemory, operation: string, t: Tensor, least: number, end: number): void {
  for (const [i, x] of numbersOf(memory, t).entries()) {
    if (x < least || x >= end) throw shapeError(operation, `number ${i} is ${x}, and there are ${end}`);
  }
}

/** Every slot once. @throws E_SHAPE */
export function checkOrder(memory: WasmMemory, operation: string, order: Tensor): void {
  const slots = numbersOf(memory, order);
  checkNumbers(memory, operation, order, 0, slots.length);
  if (new Set(slots).size !== slots.length) throw shapeError(operation, 'the order has a slot twice');
}

/** Rows that follow one another. @throws E_SHAPE */
export function checkOffsets(memory: WasmMemory, operation: string, offsets: Tensor, rows: number): void {
  const list = numbersOf(memory, offsets);
  checkNumbers(memory, operation, offsets, 0, rows + 1);
  if (list.some((at, e) => e > 0 && at < list[e - 1]!)) throw shapeError(operation, 'the offsets do not ascend');
}

function numbersOf(memory: WasmMemory, t: Tensor): Int32Array {
  return new Int32Array(memory.memory.buffer, addressOf(t), elements(t.shape));
}
