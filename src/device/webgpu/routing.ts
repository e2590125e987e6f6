import type { RouteRule, Tensor } from '../device.ts';
import { notYet } from './not-yet.ts';
import type { GpuParts } from './tensor-store.ts';

export function route(
  _parts: GpuParts,
  _logits: Tensor,
  _bias: Tensor | null,
  _rule: RouteRule,
  _places: Tensor,
  _weights: Tensor,
): void {
  notYet('route');
}

export function dispatch(_parts: GpuParts, _places: Tensor, _order: Tensor, _offsets: Tensor): void {
  notYet('dispatch');
}

export function gatherRows(_parts: GpuParts, _x: Tensor, _order: Tensor, _out: Tensor): void {
  notYet('gatherRows');
}

export function combine(_parts: GpuParts, _y: Tensor, _order: Tensor, _weights: Tensor, _out: Tensor): void {
  notYet('combine');
}

export function sigmoidScale(_parts: GpuParts, _gate: Tensor, _x: Tensor): void {
  notYet('sigmoidScale');
}
