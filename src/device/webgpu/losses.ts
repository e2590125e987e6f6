import type { Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function crossEntropyBackward(
  _parts: GpuParts,
  _logits: Tensor,
  _numbers: Tensor,
  _targets: Tensor,
  _weights: Tensor,
  _dLogits: Tensor,
): void {
  notYet('crossEntropyBackward');
}

export function divergenceBackward(
  _parts: GpuParts,
  _reference: Tensor,
  _referenceNumbers: Tensor,
  _logits: Tensor,
  _numbers: Tensor,
  _weights: Tensor,
  _dLogits: Tensor,
  _losses: Tensor,
): void {
  notYet('divergenceBackward');
}

export function hingeLoss(
  _parts: GpuParts,
  _numbers: Tensor,
  _places: Tensor,
  _targets: Tensor,
  _losses: Tensor,
): void {
  notYet('hingeLoss');
}

export function hingeBackward(
  _parts: GpuParts,
  _logits: Tensor,
  _numbers: Tensor,
  _places: Tensor,
  _targets: Tensor,
  _weights: Tensor,
  _dLogits: Tensor,
): void {
  notYet('hingeBackward');
}

export function entropyBackward(
  _parts: GpuParts,
  _logits: Tensor,
  _numbers: Tensor,
  _tsallisOrder: number,
  _reference: Tensor | null,
  _weights: Tensor,
  _dLogits: Tensor,
): void {
  notYet('entropyBackward');
}
