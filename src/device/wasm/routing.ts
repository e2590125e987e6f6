import type { RouteRule, Tensor } from '../device.ts';
import { GROUP_SCORE, type Kernels, SCORE } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import type { Arena } from './memory.ts';
import { addressOf, elements, rowsOf, shapeError } from './tensor.ts';

/** Elements below which an operation on rows is not worth a command to the lanes. */
const FEW = 1 << 14;
/** Choices of a token that the kernel keeps in order. */
const MOST_CHOICES = 64;

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
    const { rows, width: experts } = rowsOf(logits);
    const chosen = rowsOf(places);
    const weighted = rowsOf(weights);
    const k = chosen.width;
    if (chosen.rows !== rows || weighted.rows !== rows || weighted.width !== k) {
      throw shapeError('route', `${rows} tokens into [${chosen.rows}, ${k}] and [${weighted.rows}, ${weighted.width}]`);
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
    const from = addressOf(logits, 'route', 'f32');
    const biasAt = bias ? addressOf(bias, 'route', 'f32') : 0;
    const [to, weightsAt] = [addressOf(places, 'route', 'i32'), addressOf(weights, 'route', 'f32')];
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
    const slots = elements(places.shape);
    const experts = elements(offsets.shape) - 1;
    if (elements(order.shape) !== slots || experts < 1) {
      throw shapeError('dispatch', `${slots} slots of ${experts} experts into ${elements(order.shape)}`);
    }
    const [from, to, at] = [places, order, offsets].map((t) => addressOf(t, 'dispatch', 'i32'));
    const bad = this.#kernels.dispatchSlots(slots, experts, from!, to!, at!);
    if (bad >= 0) throw shapeError('dispatch', `slot ${bad} names none of ${experts} experts`);
  }

  gatherRows(x: Tensor, order: Tensor, out: Tensor): void {
    const source = rowsOf(x);
    const target = rowsOf(out);
    const k = target.rows / source.rows;
    if (source.width !== target.width || !Number.isInteger(k) || elements(order.shape) !== target.rows) {
      throw shapeError('gatherRows', `[${source.rows}, ${source.width}] to [${target.rows}, ${target.width}]`);
    }
    const [from, to] = [addressOf(x, 'gatherRows', 'f32'), addressOf(out, 'gatherRows', 'f32')];
    const at = addressOf(order, 'gatherRows', 'i32');
    this.#lanes.run('gatherRows', this.#bounds(target.rows, target.width), (first, last) => {
      return [first, last, source.rows, k, target.width, from, at, to];
    });
  }

  combine(y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void {
    const source = rowsOf(y);
    const target = rowsOf(out);
    const slots = source.rows;
    const k = slots / target.rows;
    if (source.width !== target.width || elements(order.shape) !== slots || elements(weights.shape) !== slots) {
      throw shapeError('combine', `${slots} slots of ${source.width} into [${target.rows}, ${target.width}]`);
    }
    if (!Number.isInteger(k)) throw shapeError('combine', `${slots} slots of ${target.rows} tokens`);
    const [from, to] = [addressOf(y, 'combine', 'f32'), addressOf(out, 'combine', 'f32')];
    const [orderAt, weightsAt] = [addressOf(order, 'combine', 'i32'), addressOf(weights, 'combine', 'f32')];
    const mark = this.#arena.mark();
    const places = this.#arena.allocate(4 * slots);
    const bad = this.#kernels.invertOrder(slots, orderAt, places);
    if (bad < 0) {
      this.#lanes.run('combine', this.#bounds(target.rows, k * target.width), (first, last) => {
        return [first, last, k, target.width, from, places, weightsAt, to];
      });
    }
    this.#arena.reset(mark);
    if (bad >= 0) throw shapeError('combine', `entry ${bad} of the order is none of ${slots} slots`);
  }

  sigmoidScale(gate: Tensor, x: Tensor): void {
    const { rows, width } = rowsOf(x);
    if (elements(gate.shape) !== rows)
      throw shapeError('sigmoidScale', `${elements(gate.shape)} gates of ${rows} rows`);
    const [from, to] = [addressOf(gate, 'sigmoidScale', 'f32'), addressOf(x, 'sigmoidScale', 'f32')];
    this.#lanes.run('sigmoidScale', this.#bounds(rows, width), (first, last) => [first, last, width, from, to]);
  }

  /** Ranges of `rows` rows of `width` elements; few of them stay in this thread. */
  #bounds(rows: number, width: number): number[] {
    return evenly(rows, this.#lanes.parts(rows * width, FEW, 2));
  }
}
