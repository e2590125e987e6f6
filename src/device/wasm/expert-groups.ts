import { elements } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { WasmMemory } from './memory.ts';
import { addressOf } from './tensor.ts';

/** The rows of an expert that has some. */
export interface ExpertGroup {
  readonly expert: number;
  readonly first: number;
  readonly rows: number;
}

/** By offsets [E + 1] into `rows` rows, which are read, since this memory is at hand. */
export function expertGroups({ memory }: WasmMemory, offsets: Tensor, rows: number): ExpertGroup[] {
  const bounds = new Int32Array(memory.buffer, addressOf(offsets), elements(offsets.shape));
  const groups: ExpertGroup[] = [];
  let first = Math.min(rows, Math.max(0, bounds[0]!));
  for (let expert = 0; expert < bounds.length - 1; expert++) {
    // offsets that are none give some rows, never other memory
    const last = Math.min(rows, Math.max(first, bounds[expert + 1]!));
    if (first < last) groups.push({ expert, first, rows: last - first });
    first = last;
  }
  return groups;
}
