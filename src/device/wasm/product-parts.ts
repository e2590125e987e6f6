/** Small facts that products of several kinds go by. */
import type { ElementType } from '../device.ts';
import type { Call, RangedCall } from './calls.ts';

/** For units first .. last - 1 of it. */
export function callOf({ name, values, range, own }: RangedCall, first: number, last: number): Call {
  const all = [...values] as number[];
  all[range] = first;
  all[range + 1] = last;
  return [name, all, own] as unknown as Call;
}

/** Rows that stand in memory for `rows` that go by fours as far as they do (assembly/gemv.ts). */
export function heldRows(rows: number): number {
  return rows % 4 === 3 ? rows + 1 : rows;
}

/** Rows and columns of a grid of tiles over [m, n] that packs least: each tile packs its rows of A and columns of B. */
export function grid(tiles: number, m: number, n: number): [number, number] {
  let best: [number, number] = [1, tiles];
  for (let down = 1; down <= tiles; down++) {
    if (tiles % down) continue;
    const across = tiles / down;
    if (m / down + n / across < m / best[0] + n / best[1]) best = [down, across];
  }
  return best;
}

export function isQuantised(type: ElementType): boolean {
  return codeBits(type) !== 0;
}

/** Bits of a weight's code; 0 where it is a number. */
export function codeBits(type: ElementType): 0 | 4 | 8 {
  switch (type) {
    case 'q4_0':
    case 'q4_1':
      return 4;
    case 'q8_0':
    case 'q8_1':
      return 8;
    case 'f32':
    case 'f16':
    case 'bf16':
    case 'i32':
    case 'u32':
    case 'i8':
      return 0;
    default:
      return type satisfies never;
  }
}
