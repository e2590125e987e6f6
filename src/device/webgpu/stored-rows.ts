import type { PlaceArguments, StoredRows, Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function storeRows(_parts: GpuParts, _from: Tensor, _to: StoredRows, _toRow: number, _heads: number): void {
  notYet('storeRows');
}

export function placeRows(_parts: GpuParts, _args: PlaceArguments): void {
  notYet('placeRows');
}
