import type { Tensor } from '../device.ts';
import type { AdamArguments } from '../train-device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function adamStep(_parts: GpuParts, _args: AdamArguments): void {
  notYet('adamStep');
}

export function pack(_parts: GpuParts, _from: Tensor, _to: Tensor): void {
  notYet('pack');
}
