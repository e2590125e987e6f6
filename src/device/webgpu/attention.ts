import type { AttentionArguments } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function attention(_parts: GpuParts, _args: AttentionArguments): void {
  notYet('attention');
}
