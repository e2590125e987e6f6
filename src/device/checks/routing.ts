import type { RouteRule, Tensor } from '../device.ts';
import { checkApart, checkFloats, checkInts, elements, heightOf, shapeError, widthOf } from './tensor.ts';

/** Most choices of a token. */
const MOST_CHOICES = 64;

export function checkRoute(
  logits: Tensor,
  bias: Tensor | null,
  rule: RouteRule,
  places: Tensor,
  weights: Tensor,
): void {
  checkFloats('route', logits, bias, weights);
  checkInts('route', places);
  const [rows, experts, k] = [heightOf(logits), widthOf(logits), widthOf(places)];
  if (heightOf(places) !== rows || heightOf(weights) !== rows || widthOf(weights) !== k) {
    const [a, b] = [places, weights].map((t) => `[${heightOf(t)}, ${widthOf(t)}]`);
    throw shapeError('route', `${rows} tokens into ${a} and ${b}`);
  }
  if (bias && elements(bias.shape) !== experts) {
    throw shapeError('route', `a bias of ${elements(bias.shape)} for ${experts} experts`);
  }
  const { groups, topGroups } = rule;
  const grouped = Number.isInteger(groups) && groups >= 1 && experts % groups === 0;
  if (!grouped || !(Number.isInteger(topGroups) && topGroups >= 1 && topGroups <= groups)) {
    throw shapeError('route', `${experts} experts in ${groups} groups, ${topGroups} of them chosen`);
  }
  if (k < 1 || k > MOST_CHOICES || k > (experts / groups) * topGroups) {
    throw shapeError('route', `${k} of ${(experts / groups) * topGroups} experts`);
  }
  checkApart('route', places, logits, bias);
  checkApart('route', weights, logits, bias, places);
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
  checkFloats('gatherRows', x, out);
  checkInts('gatherRows', order);
  const slots = heightOf(out);
  const fits = widthOf(x) === widthOf(out) && Number.isInteger(slots / heightOf(x)) && elements(order.shape) === slots;
  if (!fits) {
    throw shapeError('gatherRows', `[${heightOf(x)}, ${widthOf(x)}] to [${slots}, ${widthOf(out)}]`);
  }
  checkApart('gatherRows', out, x, order);
}

export function checkCombine(y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void {
  checkFloats('combine', y, weights, out);
  checkInts('combine', order);
  const [slots, tokens] = [heightOf(y), heightOf(out)];
  if (
    widthOf(y) !== widthOf(out) ||
    elements(order.shape) !== slots ||
    elements(weights.shape) !== slots ||
    !Number.isInteger(slots / tokens)
  ) {
    throw shapeError('combine', `${slots} slots of ${widthOf(y)} into [${tokens}, ${widthOf(out)}]`);
  }
  checkApart('combine', out, y, order, weights);
}

export function checkSigmoidScale(gate: Tensor, x: Tensor): void {
  checkFloats('sigmoidScale', gate, x);
  const [gates, rows] = [elements(gate.shape), heightOf(x)];
  if (gates !== rows) throw shapeError('sigmoidScale', `${gates} gates of ${rows} rows`);
  checkApart('sigmoidScale', x, gate);
}
