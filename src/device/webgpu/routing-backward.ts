import { heightOf, widthOf } from '../checks/tensor.ts';
import type { RouteRule, Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { isAligned } from './elementwise.ts';
import { type Kernel, kernel, reduction, variants } from './kernel.ts';
import { LEAST } from './logit-rows.ts';
import { exponential, LOG1P, QUOTIENT, SIGMOID } from './math.ts';
import { byRows, part } from './pieces.ts';
import { ROUTING, SCORES, SOFTMAX } from './routing.ts';
import { overSlots } from './slots.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

/** A workgroup a token, an invocation a choice. */
const ROUTE_BACKWARD = variants('routeBackward', (_, score: RouteRule['score'], shared: boolean) => {
  const isSigmoid = score === 'sigmoid';
  const over = shared ? 'chosen' : isSigmoid ? 'none' : 'all';
  const scores = {
    // what all of the chosen share is their sum
    chosen: `${isSigmoid ? '' : `let top = largest(select(${LEAST}, z, isSlot), li);`}
  let p = select(0.0, ${isSigmoid ? 'sigmoid(z)' : 'exp1(z - top)'}, isSlot);
  let share = quotient(p, total(p, li) + 1e-20);`,
    none: 'let share = sigmoid(z);',
    all: `${SOFTMAX}
  let share = quotient(exp1(z - top), all);`,
  }[over];
  return {
    buffers: [
      ['logits', 'f32', 'read'],
      ['places', 'u32', 'read'],
      ['dWeights', 'f32', 'read'],
      ['dLogits', 'f32', 'write'],
    ],
    numbers: ['rows: u32', 'experts: u32', 'k: u32', 'scale: f32'],
    workgroup: ROUTING,
    declarations: SCORES,
    body: `if (group >= u.rows) { return; }
  let start = u.logitsAt + group * u.experts;
  let to = u.dLogitsAt + group * u.experts;
  let isSlot = li < u.k;
  let slot = group * u.k + min(li, u.k - 1u);
  let place = min(places[u.placesAt + slot], u.experts - 1u);
  let z = logits[start + place];
  let d = dWeights[u.dWeightsAt + slot];
  ${scores}
  ${over === 'none' ? 'let inner = 0.0;' : 'let inner = total(select(0.0, d * share, isSlot), li);'}
  ${
    over === 'all'
      ? `for (var i = li; i < u.experts; i += ${ROUTING}u) {
    dLogits[to + i] = fma(-u.scale * inner, quotient(exp1(logits[start + i] - top), all), dLogits[to + i]);
  }
  workgroupBarrier();
  storageBarrier();
  let own = d;`
      : 'let own = d - inner;'
  }
  if (isSlot) {
    let slope = u.scale * share${isSigmoid ? ' * sigmoid(-z)' : ''};
    dLogits[to + place] = fma(slope, own, dLogits[to + place]);
  }`,
  };
});

export function routeBackward(
  { commands }: GpuParts,
  logits: Tensor,
  { score, renormalise, scale }: RouteRule,
  places: Tensor,
  dWeights: Tensor,
  dLogits: Tensor,
): void {
  const of = ROUTE_BACKWARD(score, renormalise || score === 'selected-softmax');
  for (const { bound, rows } of byRows(commands.bindingLimit, [logits, places, dWeights, dLogits])) {
    commands.run(of, bound, [rows, widthOf(logits), widthOf(places), scale], rows);
  }
}

const WORKGROUP = 256;

/** `to` = `factor` · x over a row, if it is `asked`; `product` = x · y over the workgroup, of what stood there: `to` may be either. */
function scaled(wide: boolean, x: string, y: string, to: string): string {
  const type = wide ? 'vec4f' : 'f32';
  return `var sum = ${type}();
  let width = select(0u, u.width, asked);
  for (var i = li; i < width; i += ${WORKGROUP}u) {
    let value = ${x};
    sum = fma(value, ${y}, sum);
    ${to} = value * factor;
  }
  let product = total(${wide ? '(sum.x + sum.y) + (sum.z + sum.w)' : 'sum'}, li);`;
}

/** A workgroup a place of the order. Of dOut, weights and dWeights the tokens from `first` on are bound. In place, y is dY. */
const COMBINE_BACKWARD = variants('combineBackward', (_, wide: boolean, inPlace: boolean) => {
  const type = wide ? 'vec4f' : 'f32';
  return {
    buffers: [
      ...(inPlace ? [] : [['y', type, 'read'] as const]),
      ['dY', type, 'write'],
      ['order', 'u32', 'read'],
      ['dOut', type, 'read'],
      ['weights', 'f32', 'read'],
      ['dWeights', 'f32', 'write'],
    ],
    numbers: ['rows: u32', 'width: u32', 'k: u32', 'first: u32', 'tokens: u32'],
    workgroup: WORKGROUP,
    declarations: reduction('total', WORKGROUP, 'sum'),
    body: `if (group >= u.rows) { return; }
  let slot = order[u.orderAt + group] - u.first * u.k;
  let asked = slot < u.tokens * u.k;
  let factor = weights[u.weightsAt + select(0u, slot, asked)];
  let own = group * u.width;
  let outer = u.dOutAt + select(0u, slot / u.k, asked) * u.width;
  ${scaled(wide, 'dOut[outer + i]', inPlace ? 'dY[u.dYAt + own + i]' : 'y[u.yAt + own + i]', 'dY[u.dYAt + own + i]')}
  if (li == 0u && asked) { dWeights[u.dWeightsAt + slot] = product; }`,
  };
});

/** Whether they are one: checks let nothing else through that begins alike. */
function isSame(a: Tensor, b: Tensor): boolean {
  return a.storage === b.storage && a.offset === b.offset;
}

export function combineBackward(
  { commands }: GpuParts,
  dOut: Tensor,
  y: Tensor,
  order: Tensor,
  weights: Tensor,
  dY: Tensor,
  dWeights: Tensor,
): void {
  const [width, tokens] = [widthOf(dOut), heightOf(dOut)];
  if (width === 0 || tokens === 0) return;
  const k = heightOf(y) / tokens;
  const inPlace = isSame(y, dY);
  for (const outer of byRows(commands.bindingLimit, [dOut, weights, dWeights])) {
    for (const { bound, rows } of byRows(commands.bindingLimit, inPlace ? [dY, order] : [y, dY, order])) {
      const wide = width % 4 === 0 && isAligned(outer.bound[0]!) && bound.slice(0, -1).every(isAligned);
      const numbers = [rows, wide ? width / 4 : width, k, outer.first, outer.rows];
      commands.run(COMBINE_BACKWARD(wide, inPlace), [...bound, ...outer.bound], numbers, rows);
    }
  }
}

export function gatherRowsBackward(parts: GpuParts, dY: Tensor, order: Tensor, dX: Tensor): void {
  overSlots(parts, dY, order, null, dX);
}

/** A workgroup a row. In place, dOut is dX. */
const SIGMOID_SCALE_BACKWARD = variants('sigmoidScaleBackward', (_, wide: boolean, inPlace: boolean) => {
  const type = wide ? 'vec4f' : 'f32';
  return {
    buffers: [
      ['x', type, 'read'],
      ...(inPlace ? [] : [['dOut', type, 'read'] as const]),
      ['dX', type, 'write'],
      ['gate', 'f32', 'read'],
      ['dGate', 'f32', 'write'],
    ],
    numbers: ['rows: u32', 'width: u32'],
    workgroup: WORKGROUP,
    declarations: `${exponential('exp1', 'f32')}
${QUOTIENT}
${SIGMOID}
${reduction('total', WORKGROUP, 'sum')}`,
    body: `if (group >= u.rows) { return; }
  let asked = true;
  let own = group * u.width;
  let g = gate[u.gateAt + group];
  let factor = sigmoid(g);
  ${scaled(wide, inPlace ? 'dX[u.dXAt + own + i]' : 'dOut[u.dOutAt + own + i]', 'x[u.xAt + own + i]', 'dX[u.dXAt + own + i]')}
  if (li == 0u) { dGate[u.dGateAt + group] = factor * sigmoid(-g) * product; }`,
  };
});

export function sigmoidScaleBackward(
  { commands }: GpuParts,
  gate: Tensor,
  x: Tensor,
  dOut: Tensor,
  dX: Tensor,
  dGate: Tensor,
): void {
  const width = widthOf(x);
  const inPlace = isSame(dOut, dX);
  const tensors = [x, ...(inPlace ? [] : [dOut]), dX, gate, dGate];
  for (const { bound, rows } of byRows(commands.bindingLimit, tensors)) {
    const wide = width % 4 === 0 && bound.slice(0, -2).every(isAligned);
    commands.run(SIGMOID_SCALE_BACKWARD(wide, inPlace), bound, [rows, wide ? width / 4 : width], rows);
  }
}

/** `shareOf(i)`: what share of the slots an expert has got. Of a token's softmax, whose `top` and `all` are known, `inner` = Σ f p. */
const SHARES = `fn shareOf(i: u32) -> f32 {
  let at = u.offsetsAt;
  let slots = offsets[at + u.experts] - offsets[at];
  return select(0.0, f32(offsets[at + i + 1u] - offsets[at + i]) / f32(max(slots, 1)), slots > 0);
}`;
const INNER = `var weighed = 0.0;
  for (var i = li; i < u.experts; i += ${ROUTING}u) { weighed = fma(shareOf(i), exp1(logits[start + i] - top), weighed); }
  let inner = quotient(total(weighed, li), all);
  let lse = top + log1p(all - 1.0);`;

/** A workgroup a token: its Σ f p, and the square of its log-sum-exp. */
const ROUTER_TOKENS = kernel('routerLosses tokens', () => ({
  buffers: [
    ['logits', 'f32', 'read'],
    ['offsets', 'i32', 'read'],
    ['partial', 'vec2f', 'write'],
  ],
  numbers: ['rows: u32', 'experts: u32'],
  workgroup: ROUTING,
  declarations: `${SCORES}\n${LOG1P}\n${SHARES}`,
  body: `if (group >= u.rows) { return; }
  let start = u.logitsAt + group * u.experts;
  ${SOFTMAX}
  ${INNER}
  if (li == 0u) { partial[u.partialAt + group] = vec2f(inner, lse * lse); }`,
}));

/** The means over tokens, by one workgroup: each invocation sums every 256th, in runs of 16. */
const ROUTER_MEANS = kernel('routerLosses means', () => ({
  buffers: [
    ['partial', 'vec2f', 'read'],
    ['losses', 'f32', 'write'],
  ],
  numbers: ['rows: u32', 'experts: u32'],
  workgroup: WORKGROUP,
  declarations: reduction('total', WORKGROUP, 'sum'),
  body: `var sum = vec2f();
  for (var first = li; first < u.rows; first += ${16 * WORKGROUP}u) {
    var few = vec2f();
    for (var i = first; i < min(first + ${16 * WORKGROUP}u, u.rows); i += ${WORKGROUP}u) { few += partial[u.partialAt + i]; }
    sum += few;
  }
  let balance = total(sum.x, li);
  let squares = total(sum.y, li);
  if (li == 0u) {
    let tokens = f32(max(u.rows, 1u));
    losses[u.lossesAt] = balance * f32(u.experts) / tokens;
    losses[u.lossesAt + 1u] = squares / tokens;
  }`,
}));

export function routerLosses({ commands, arena }: GpuParts, logits: Tensor, offsets: Tensor, losses: Tensor): void {
  const [tokens, experts] = [heightOf(logits), widthOf(logits)];
  const byteLength = 8 * Math.max(1, tokens);
  const mark = arena.mark();
  const partial: Bound = { memory: arena.take(byteLength), offset: 0, byteLength };
  for (const { bound, first, rows } of byRows(commands.bindingLimit, [logits], 8)) {
    const given = [bound[0]!, offsets as GpuTensor, part(partial, 8 * first, 8 * rows)];
    commands.run(ROUTER_TOKENS, given, [rows, experts], rows);
  }
  commands.run(ROUTER_MEANS, [partial, losses as GpuTensor], [tokens, experts], 1);
  arena.reset(mark);
}

const ROUTER_BACKWARD: Kernel = kernel('routerLossesBackward', () => ({
  buffers: [
    ['logits', 'f32', 'read'],
    ['dLogits', 'f32', 'write'],
    ['offsets', 'i32', 'read'],
  ],
  numbers: ['rows: u32', 'experts: u32', 'balance: f32', 'z: f32'],
  workgroup: ROUTING,
  declarations: `${SCORES}\n${LOG1P}\n${SHARES}`,
  body: `if (group >= u.rows) { return; }
  let start = u.logitsAt + group * u.experts;
  let to = u.dLogitsAt + group * u.experts;
  ${SOFTMAX}
  ${INNER}
  for (var i = li; i < u.experts; i += ${ROUTING}u) {
    let p = quotient(exp1(logits[start + i] - top), all);
    let pull = fma(u.balance, shareOf(i) - inner, u.z * lse);
    dLogits[to + i] = fma(p, pull, dLogits[to + i]);
  }`,
}));

export function routerLossesBackward(
  { commands }: GpuParts,
  logits: Tensor,
  offsets: Tensor,
  balance: number,
  z: number,
  dLogits: Tensor,
): void {
  const [tokens, experts] = [heightOf(logits), widthOf(logits)];
  const numbers = [experts, (balance * experts) / tokens, (2 * z) / tokens];
  for (const { bound, rows } of byRows(commands.bindingLimit, [logits, dLogits])) {
    commands.run(ROUTER_BACKWARD, [...bound, offsets as GpuTensor], [rows, ...numbers], rows);
  }
}
