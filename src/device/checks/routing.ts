import type { RouteRule, Tensor } from '../device.ts';
import {
  checkApart,
  checkApartOrSame,
  checkFloats,
  checkInts,
  elements,
  heightOf,
  shapeError,
  widthOf,
} from './tensor.ts';

/** Most choices of a token. */
const MOST_CHOICES = 64;

export function checkRoute(
  logits: Tensor,
  bias: Tensor | null,
  rule: RouteRule,
  places: Tensor,
  weights: Tensor,
  operation: 'route' | 'routeBackward' = 'route',
): void {
  checkFloats(operation, logits, bias, weights);
  checkInts(operation, places);
  const [rows, experts, k] = [heightOf(logits), widthOf(logits), widthOf(places)];
  if (heightOf(places) !== rows || heightOf(weights) !== rows || widthOf(weights) !== k) {
    const [a, b] = [places, weights].map((t) => `[${heightOf(t)}, ${widthOf(t)}]`);
    throw shapeError(operation, `${rows} tokens into ${a} and ${b}`);
  }
  if (bias && elements(bias.shape) !== experts) {
    throw shapeError(operation, `a bias of ${elements(bias.shape)} for ${experts} experts`);
  }
  const { groups, topGroups } = rule;
  const grouped = Number.isInteger(groups) && groups >= 1 && experts % groups === 0;
  if (!grouped || !(Number.isInteger(topGroups) && topGroups >= 1 && topGroups <= groups)) {
    throw shapeError(operation, `${experts} experts in ${groups} groups, ${topGroups} of them chosen`);
  }
  if (k < 1 || k > MOST_CHOICES || k > (experts / groups) * topGroups) {
    throw shapeError(operation, `${k} of ${(experts / groups) * topGroups} experts`);
  }
  checkApart(operation, places, logits, bias);
  checkApart(operation, weights, logits, bias, places);
}

export function checkRouteBackward(
  logits: Tensor,
  rule: RouteRule,
  places: Tensor,
  dWeights: Tensor,
  dLogits: Tensor,
): void {
  // what is true of the way forward, from the same shapes
  checkRoute(logits, null, rule, places, dWeights, 'routeBackward');
  checkFloats('routeBackward', dLogits);
  if (heightOf(dLogits) !== heightOf(logits) || widthOf(dLogits) !== widthOf(logits)) {
    throw shapeError('routeBackward', `dLogits [${heightOf(dLogits)}, ${widthOf(dLogits)}] differ from logits`);
  }
  checkApart('routeBackward', dLogits, logits, places, dWeights);
}

export function checkRouterLosses(logits: Tensor, offsets: Tensor, losses: Tensor): void {
  checkOfRouter('routerLosses', logits, offsets, losses);
  if (elements(losses.shape) !== 2) throw shapeError('routerLosses', `${elements(losses.shape)} losses, not 2`);
}

export function checkRouterLossesBackward(logits: Tensor, offsets: Tensor, dLogits: Tensor): void {
  checkOfRouter('routerLossesBackward', logits, offsets, dLogits);
  if (elements(dLogits.shape) !== elements(logits.shape)) {
    throw shapeError(
      'routerLossesBackward',
      `${elements(dLogits.shape)} gradients of ${elements(logits.shape)} logits`,
    );
  }
}

function checkOfRouter(operation: string, logits: Tensor, offsets: Tensor, written: Tensor): void {
  checkFloats(operation, logits, written);
  checkInts(operation, offsets);
  const [experts, ends] = [widthOf(logits), elements(offsets.shape)];
  if (ends !== experts + 1) throw shapeError(operation, `${ends} offsets of ${experts} experts`);
  checkApart(operation, written, logits, offsets);
}

export function checkDispatch(places: Tensor, order: Tensor, offsets: Tensor): void {
  checkInts('dispatch', places, order, offsets);
  const slots = elements(places.shape);
  const experts = elements(offsets.shape) - 1;
  if (elements(order.shape) !== slots || experts < 1) {
    throw shapeError('dispatch', `${slots} slots of ${experts} experts into ${elements(order.shape)}`);
  }
  checkApart('dispatch', order, places);
  checkApart('dispatch', offsets, places, order);
}

export function checkGatherRows(x: Tensor, order: Tensor, out: Tensor): void {
  checkGathered('gatherRows', x, order, out);
  checkApart('gatherRows', out, x, order);
}

export function checkGatherRowsBackward(dY: Tensor, order: Tensor, dX: Tensor): void {
  checkGathered('gatherRowsBackward', dX, order, dY);
  checkApart('gatherRowsBackward', dX, dY, order);
}

function checkGathered(operation: string, x: Tensor, order: Tensor, out: Tensor): void {
  checkFloats(operation, x, out);
  checkInts(operation, order);
  const slots = heightOf(out);
  const fits = widthOf(x) === widthOf(out) && Number.isInteger(slots / heightOf(x)) && elements(order.shape) === slots;
  if (!fits) {
    throw shapeError(operation, `[${heightOf(x)}, ${widthOf(x)}] to [${slots}, ${widthOf(out)}]`);
  }
}

export function checkCombine(y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void {
  checkCombined('combine', y, order, weights, out);
  checkApart('combine', out, y, order, weights);
}

export function checkCombineBackward(
  dOut: Tensor,
  y: Tensor,
  order: Tensor,
  weights: Tensor,
  dY: Tensor,
  dWeights: Tensor,
): void {
  const operation = 'combineBackward';
  checkCombined(operation, y, order, weights, dOut);
  checkFloats(operation, dY, dWeights);
  if (heightOf(dY) !== heightOf(y) || widthOf(dY) !== widthOf(y)) {
    throw shapeError(operation, `dY [${heightOf(dY)}, ${widthOf(dY)}] of [${heightOf(y)}, ${widthOf(y)}]`);
  }
  if (elements(dWeights.shape) !== elements(weights.shape)) {
    throw shapeError(operation, `${elements(dWeights.shape)} gradients of ${elements(weights.shape)} weights`);
  }
  checkApartOrSame(operation, dY, y);
  checkApart(operation, dY, dOut, order, weights, dWeights);
  checkApart(operation, dWeights, dOut, y, order, weights);
}

function checkCombined(operation: string, y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void {
  checkFloats(operation, y, weights, out);
  checkInts(operation, order);
  const [slots, tokens] = [heightOf(y), heightOf(out)];
  if (
    widthOf(y) !== widthOf(out) ||
    elements(order.shape) !== slots ||
    elements(weights.shape) !== slots ||
    !Number.isInteger(slots / tokens)
  ) {
    throw shapeError(operation, `${slots} slots of ${widthOf(y)} into [${tokens}, ${widthOf(out)}]`);
  }
}

export function checkSigmoidScale(gate: Tensor, x: Tensor): void {
  checkGates('sigmoidScale', gate, x);
  checkApart('sigmoidScale', x, gate);
}

export function checkSigmoidScaleBackward(gate: Tensor, x: Tensor, dOut: Tensor, dX: Tensor, dGate: Tensor): void {
  const operation = 'sigmoidScaleBackward';
  checkGates(operation, gate, x);
  checkGates(operation, dGate, dX);
  checkFloats(operation, dOut);
  const size = elements(x.shape);
  if (elements(dOut.shape) !== size || elements(dX.shape) !== size || elements(dGate.shape) !== elements(gate.shape)) {
    throw shapeError(operation, `${size} elements, their gradients ${elements(dOut.shape)} and ${elements(dX.shape)}`);
  }
  checkApartOrSame(operation, dX, dOut);
  checkApart(operation, dX, gate, x, dGate);
  checkApart(operation, dGate, gate, x, dOut);
}

function checkGates(operation: string, gate: Tensor, x: Tensor): void {
  checkFloats(operation, gate, x);
  const [gates, rows] = [elements(gate.shape), heightOf(x)];
  if (gates !== rows) throw shapeError(operation, `${gates} gates of ${rows} rows`);
}
