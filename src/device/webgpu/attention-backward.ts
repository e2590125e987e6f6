import type { AttentionBackwardArguments } from '../train-device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function attentionBackward(_parts: GpuParts, _args: AttentionBackwardArguments): void {
  notYet('attentionBackward');
}
