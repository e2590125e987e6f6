import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { RouteRule, Tensor } from '../device.ts';
import { GROUP_SCORE, type Kernels, SCORE } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import type { Arena } from './memory.ts';
import { overRows } from './over-rows.ts';
import { addressOf } from './tensor.ts';

/** Logits of routers below which rows of them are not worth a command to the lanes. */
const FEW = 1 << 11;

/** The operations of the wasm device that bring tokens to their experts and back, shared among lanes by rows. */
export class Routing {
  readonly #kernels: Kernels;
  readonly #arena: Arena;
  readonly #lanes: Lanes;

  constructor(kernels: Kernels, arena: Arena, lanes: Lanes) {
    this.#kernels = kernels;
    this.#arena = arena;
    this.#lanes = lanes;
  }

  route(logits: Tensor, bias: Tensor | null, rule: RouteRule, places: Tensor, weights: Tensor): void {
    const [rows, experts, k] = [heightOf(logits), widthOf(logits), widthOf(places)];
    const { groups, topGroups } = rule;
    const [from, biasAt, to, weightsAt] = [addressOf(logits), addressOf(bias), addressOf(places), addressOf(weights)];
    const [score, renormalise, top2] = [SCORE[rule.score], rule.renormalise ? 1 : 0, GROUP_SCORE[rule.groupScore]];
    const mark = this.#arena.mark();
    const parts = this.#lanes.parts(rows * experts, FEW);
    const scratch = Array.from({ length: parts }, () => this.#arena.allocate(this.#kernels.routeScratch(experts)));
    this.#lanes.run('route', evenly(rows, parts), (first, last, part) => [
      ...([first, last, experts, k, from, biasAt, score, renormalise, rule.scale, groups, topGroups, top2] as const),
      ...([to, weightsAt, scratch[part]!] as const),
    ]);
    this.#arena.reset(mark);
  }

  dispatch(places: Tensor, order: Tensor, offsets: Tensor): void {
    const [slots, experts] = [elements(places.shape), elements(offsets.shape) - 1];
    this.#kernels.dispatchSlots(slots, experts, addressOf(places), addressOf(order), addressOf(offsets));
  }

  gatherRows(x: Tensor, order: Tensor, out: Tensor): void {
    const [rows, slots, width] = [heightOf(x), heightOf(out), widthOf(out)];
    const [from, at, to] = [addressOf(x), addressOf(order), addressOf(out)];
    overRows(this.#lanes, 'gatherRows', slots, width, [0, 0, rows, slots / rows, width, from, at, to]);
  }

  combine(y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void {
    const [slots, tokens, width] = [heightOf(y), heightOf(out), widthOf(out)];
    const [from, weightsAt, to] = [addressOf(y), addressOf(weights), addressOf(out)];
    const mark = this.#arena.mark();
    const places = this.#arena.allocate(4 * slots);
    this.#kernels.invertOrder(slots, addressOf(order), places);
    overRows(this.#lanes, 'combine', tokens, (slots / tokens) * width, [
      0,
      0,
      slots / tokens,
      width,
      from,
      places,
      weightsAt,
      to,
    ]);
    this.#arena.reset(mark);
  }

  sigmoidScale(gate: Tensor, x: Tensor): void {
    const [rows, width] = [heightOf(x), widthOf(x)];
    const [from, to] = [addressOf(gate), addressOf(x)];
    overRows(this.#lanes, 'sigmoidScale', rows, width, [0, 0, width, from, to]);
  }
}

/** As TrainDevice.routeBackward. */
export function routeBackward(
  lanes: Lanes,
  logits: Tensor,
  rule: RouteRule,
  places: Tensor,
  dWeights: Tensor,
  dLogits: Tensor,
): void {
  const [rows, experts, k] = [heightOf(logits), widthOf(logits), widthOf(places)];
  const [from, list, d, to] = [addressOf(logits), addressOf(places), addressOf(dWeights), addressOf(dLogits)];
  const [score, renormalise] = [SCORE[rule.score], rule.renormalise ? 1 : 0];
  lanes.run('routeBackward', evenly(rows, lanes.parts(rows * experts, FEW)), (first, last) => {
    return [first, last, experts, k, from, score, renormalise, rule.scale, list, d, to];
  });
}

/** As TrainDevice.routerLosses, in one thread: sums over rows run in their order. */
export function routerLosses(kernels: Kernels, arena: Arena, logits: Tensor, offsets: Tensor, losses: Tensor): void {
  const [rows, experts] = [heightOf(logits), widthOf(logits)];
  const mark = arena.mark();
  const scratch = arena.allocate(kernels.routerLossesScratch(experts));
  kernels.routerLosses(rows, experts, addressOf(logits), addressOf(offsets), addressOf(losses), scratch);
  arena.reset(mark);
}

/** As TrainDevice.routerLossesBackward. */
export function routerLossesBackward(
  kernels: Kernels,
  arena: Arena,
  lanes: Lanes,
  logits: Tensor,
  offsets: Tensor,
  balance: number,
  z: number,
  dLogits: Tensor,
): void {
  const [rows, experts] = [heightOf(logits), widthOf(logits)];
  const [from, counts, to] = [addressOf(logits), addressOf(offsets), addressOf(dLogits)];
  const mark = arena.mark();
  const parts = lanes.parts(rows * experts, FEW);
  const scratch = Array.from({ length: parts }, () => arena.allocate(kernels.routerLossesScratch(experts)));
  lanes.run('routerLossesBackward', evenly(rows, parts), (first, last, part) => {
    return [first, last, rows, experts, balance, z, from, counts, to, scratch[part]!];
  });
  arena.reset(mark);
}

/** As TrainDevice.gatherRowsBackward. */
export function gatherRowsBackward(
  kernels: Kernels,
  arena: Arena,
  lanes: Lanes,
  dY: Tensor,
  order: Tensor,
  dX: Tensor,
): void {
  const [slots, tokens, width] = [heightOf(dY), heightOf(dX), widthOf(dX)];
  const [from, to] = [addressOf(dY), addressOf(dX)];
  const mark = arena.mark();
  const places = arena.allocate(4 * slots);
  kernels.invertOrder(slots, addressOf(order), places);
  overRows(lanes, 'gatherRowsBackward', tokens, (slots / tokens) * width, [
    0,
    0,
    slots / tokens,
    width,
    from,
    places,
    to,
  ]);
  arena.reset(mark);
}

/** As TrainDevice.combineBackward. */
export function combineBackward(
  kernels: Kernels,
  arena: Arena,
  lanes: Lanes,
  dOut: Tensor,
  y: Tensor,
  order: Tensor,
  weights: Tensor,
  dY: Tensor,
  dWeights: Tensor,
): void {
  const [slots, tokens, width] = [heightOf(y), heightOf(dOut), widthOf(dOut)];
  const [d, from, factors] = [addressOf(dOut), addressOf(y), addressOf(weights)];
  const [to, weightsTo] = [addressOf(dY), addressOf(dWeights)];
  const mark = arena.mark();
  const places = arena.allocate(4 * slots);
  kernels.invertOrder(slots, addressOf(order), places);
  overRows(lanes, 'combineBackward', tokens, (slots / tokens) * width, [
    0,
    0,
    slots / tokens,
    width,
    d,
    from,
    places,
    factors,
    to,
    weightsTo,
  ]);
  arena.reset(mark);
}

/** As TrainDevice.sigmoidScaleBackward. */
export function sigmoidScaleBackward(
  lanes: Lanes,
  gate: Tensor,
  x: Tensor,
  dOut: Tensor,
  dX: Tensor,
  dGate: Tensor,
): void {
  const [rows, width] = [heightOf(x), widthOf(x)];
  const [gates, from, d] = [addressOf(gate), addressOf(x), addressOf(dOut)];
  const [to, gatesTo] = [addressOf(dX), addressOf(dGate)];
  overRows(lanes, 'sigmoidScaleBackward', rows, width, [0, 0, width, gates, from, d, to, gatesTo]);
}
