import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { RouteRule, Tensor } from '../device.ts';
import { GROUP_SCORE, type Kernels, SCORE } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import type { Arena } from './memory.ts';
import { addressOf } from './tensor.ts';

/** Elements below which an operation on rows is not worth a command to the lanes. */
const FEW = 1 << 14;

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
    const parts = this.#lanes.parts(rows * experts, FEW / 8);
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
    this.#lanes.run('gatherRows', this.#bounds(slots, width), (first, last) => {
      return [first, last, rows, slots / rows, width, from, at, to];
    });
  }

  combine(y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void {
    const [slots, tokens, width] = [heightOf(y), heightOf(out), widthOf(out)];
    const [from, weightsAt, to] = [addressOf(y), addressOf(weights), addressOf(out)];
    const mark = this.#arena.mark();
    const places = this.#arena.allocate(4 * slots);
    this.#kernels.invertOrder(slots, addressOf(order), places);
    this.#lanes.run('combine', this.#bounds(tokens, (slots / tokens) * width), (first, last) => {
      return [first, last, slots / tokens, width, from, places, weightsAt, to];
    });
    this.#arena.reset(mark);
  }

  sigmoidScale(gate: Tensor, x: Tensor): void {
    const [rows, width] = [heightOf(x), widthOf(x)];
    const [from, to] = [addressOf(gate), addressOf(x)];
    this.#lanes.run('sigmoidScale', this.#bounds(rows, width), (first, last) => [first, last, width, from, to]);
  }

  /** Ranges of `rows` rows of `width` elements; few of them stay in this thread. */
  #bounds(rows: number, width: number): number[] {
    return evenly(rows, this.#lanes.parts(rows * width, FEW, 2));
  }
}
