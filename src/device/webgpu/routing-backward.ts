import type { RouteRule, Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function routeBackward(
  _parts: GpuParts,
  _logits: Tensor,
  _rule: RouteRule,
  _places: Tensor,
  _dWeights: Tensor,
  _dLogits: Tensor,
): void {
  notYet('routeBackward');
}

export function combineBackward(
  _parts: GpuParts,
  _dOut: Tensor,
  _y: Tensor,
  _order: Tensor,
  _weights: Tensor,
  _dY: Tensor,
  _dWeights: Tensor,
): void {
  notYet('combineBackward');
}

export function gatherRowsBackward(_parts: GpuParts, _dY: Tensor, _order: Tensor, _dX: Tensor): void {
  notYet('gatherRowsBackward');
}

export function sigmoidScaleBackward(
  _parts: GpuParts,
  _gate: Tensor,
  _x: Tensor,
  _dOut: Tensor,
  _dX: Tensor,
  _dGate: Tensor,
): void {
  notYet('sigmoidScaleBackward');
}

export function routerLosses(_parts: GpuParts, _logits: Tensor, _offsets: Tensor, _losses: Tensor): void {
  notYet('routerLosses');
}

export function routerLossesBackward(
  _parts: GpuParts,
  _logits: Tensor,
  _offsets: Tensor,
  _balance: number,
  _z: number,
  _dLogits: Tensor,
): void {
  notYet('routerLossesBackward');
}
