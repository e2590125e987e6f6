import type { GatedActivation, Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function gatedActivation(
  _parts: GpuParts,
  _kind: GatedActivation,
  _gate: Tensor,
  _up: Tensor,
  _out: Tensor,
): void {
  notYet('gatedActivation');
}

export function scaleRows(_parts: GpuParts, _x: Tensor, _coefficients: Tensor, _column: number, _out: Tensor): void {
  notYet('scaleRows');
}

export function softmax(_parts: GpuParts, _x: Tensor): void {
  notYet('softmax');
}

export function rmsNormBackward(
  _parts: GpuParts,
  _x: Tensor,
  _weight: Tensor,
  _dY: Tensor,
  _eps: number,
  _dX: Tensor,
  _dWeight: Tensor | null,
): void {
  notYet('rmsNormBackward');
}

export function gatedActivationBackward(
  _parts: GpuParts,
  _kind: GatedActivation,
  _gate: Tensor,
  _up: Tensor,
  _dY: Tensor,
  _dGate: Tensor,
  _dUp: Tensor,
): void {
  notYet('gatedActivationBackward');
}

export function scaleRowsBackward(
  _parts: GpuParts,
  _x: Tensor,
  _coefficients: Tensor,
  _column: number,
  _dY: Tensor,
  _dX: Tensor | null,
  _dCoefficients: Tensor | null,
): void {
  notYet('scaleRowsBackward');
}
