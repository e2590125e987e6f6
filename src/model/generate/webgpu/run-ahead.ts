import type { Tensor } from '../../../device/device.ts';
import type { Decoder, SequencePart } from '../../decoder.ts';
import type { KvCache } from '../../kv-cache.ts';
import type { Draw, Outcome } from '../draw.ts';
import { drawAhead, drawsAhead } from './draw-ahead.ts';

/** A token wanted behind another, as `Step`. */
export interface NextToken extends Draw {
  /** The one before it. */
  readonly input: readonly number[];
  readonly cache: KvCache;
  /** Whether one more will be wanted, if this one does not end the text. */
  readonly more?: boolean | undefined;
}

/** A pass that is under way. */
interface Under {
  readonly caches: readonly KvCache[];
  readonly draws: readonly Draw[];
  readonly outcomes: Promise<Outcome[]>;
  /** The tokens that it gives, i32 [caches], on the device. */
  readonly ids: Tensor;
  /** The tokens that it was given; null until they are known. */
  given: readonly number[] | null;
}

/**
 * Where a device computes while the program goes on, and draws each token itself, the next pass can begin before the last one's
 * tokens are read: they are on the device. The program then prepares a pass while the device computes the one before. What runs ahead and
 * turns out not to be wanted is forgotten: caches do not know of it.
 */
export class RunAhead {
  readonly #decoder: Decoder;
  #next: Under | null = null;

  constructor(decoder: Decoder) {
    this.#decoder = decoder;
  }

  /** Whether the device draws what such a step asks for. */
  draws(step: Draw): boolean {
    return drawsAhead(this.#decoder.device, step);
  }

  /**
   * The tokens behind those of each step, whose inputs are in their caches then; when it rejects, what they held.
   * @throws as `Decoder.forwardEach`
   */
  async tokens(steps: readonly NextToken[], signal: AbortSignal): Promise<Outcome[]> {
    const before = steps.map(({ cache }) => cache.length);
    let mine: Under | null = null;
    try {
      mine = this.#taken(steps) ?? (await this.#begin(steps, signal));
      if (steps.every((step) => step.more && this.#hasRoom(step.cache))) {
        // nobody has asked for it yet: where it cannot be, such as for want of memory, it is seen to when somebody does
        this.#next = await this.#beginNext(steps, mine.ids).catch(() => null);
      }
      const outcomes = await mine.outcomes;
      if (this.#next) this.#next.given = outcomes.map((outcome) => ('drawn' in outcome ? outcome.drawn.id : -1));
      return outcomes;
    } catch (error) {
      this.drop();
      for (const [i, { cache }] of steps.entries()) if (cache.length > before[i]!) cache.truncate(before[i]!);
      throw error;
    } finally {
      mine?.ids.dispose();
    }
  }

  /** Forgets what runs ahead. */
  drop(): void {
    this.#next?.ids.dispose();
    this.#next = null;
  }

  /** What runs ahead, if it is what is asked for; else it is forgotten. */
  #taken(steps: readonly NextToken[]): Under | null {
    const next = this.#next;
    const fits =
      next?.caches.length === steps.length &&
      steps.every(({ cache, input, sampler, count }, i) => {
        const draw = next.draws[i]!;
        const isSame = draw.sampler === sampler && draw.count === count;
        return next.caches[i] === cache && next.given?.[i] === input[0] && isSame;
      });
    if (!next || !fits) {
      this.drop();
      return null;
    }
    this.#next = null;
    for (const cache of next.caches) cache.advanceAhead();
    return next;
  }

  /** A row that the cache has, at a position that the model has. */
  #hasRoom(cache: KvCache): boolean {
    return cache.length < cache.capacity && positionBehind(cache) < this.#decoder.config.maxPositions;
  }

  async #begin(steps: readonly NextToken[], signal: AbortSignal): Promise<Under> {
    const parts = steps.map(({ input, cache }): SequencePart => ({ ids: input, cache }));
    const compute = (onOutput: (hidden: Tensor) => void) =>
      this.#decoder.forwardEach(parts, { signal, output: 'last', onOutput });
    return this.#under(
      steps,
      steps.map(({ input }) => input[0]!),
      compute,
    );
  }

  async #beginNext(steps: readonly NextToken[], ids: Tensor): Promise<Under> {
    const caches = steps.map(({ cache }) => cache);
    const next = steps.map((step) => ({ ...step, count: step.count + 1 }));
    return this.#under(next, null, (onOutput) => this.#decoder.forwardAhead(caches, ids, onOutput));
  }

  async #under(
    steps: readonly NextToken[],
    given: readonly number[] | null,
    compute: (onOutput: (hidden: Tensor) => void) => Promise<void>,
  ): Promise<Under> {
    const decoder = this.#decoder;
    const ids = decoder.device.tensor('i32', [steps.length]);
    try {
      let outcomes: Promise<Outcome[]> | null = null;
      await compute((hidden) => {
        const logits = decoder.logits(hidden, decoder.precision, true);
        outcomes = drawAhead(decoder.device, logits, steps, ids);
        outcomes.catch(() => {}); // whoever wants them hears of it; nobody may
      });
      return { caches: steps.map(({ cache }) => cache), draws: steps, outcomes: outcomes!, ids, given };
    } catch (error) {
      ids.dispose();
      throw error;
    }
  }
}

function positionBehind(cache: KvCache): number {
  return (cache.positions.at(-1) ?? -1) + 1;
}
