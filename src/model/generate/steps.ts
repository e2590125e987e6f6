import { exclusive } from '../../device/exclusive.ts';
import { aborted, onAbort } from '../../errors.ts';
import { nextTurn } from '../../runtime/host/yielding.ts';
import type { Decoder, ForwardOptions } from '../decoder.ts';
import type { KvCache } from '../kv-cache.ts';
import { type Drawn, drawEach, type Outcome } from './draw.ts';
import { loadAhead } from './webgpu/load.ts';
import type { NextToken, RunAhead } from './webgpu/run-ahead.ts';

/** A token wanted behind some text. */
export interface Step extends NextToken {
  /** What is not in the cache yet: a prompt, or the token drawn last. */
  readonly input: readonly number[];
  /** Tokens of the input that are in the cache all the same; default 0. */
  readonly begun?: number;
  readonly cache: KvCache;
  readonly signal?: AbortSignal | undefined;
  /** Positions and masks of its own. With a mask it shares its pass with nobody. */
  readonly own?: Pick<ForwardOptions, 'positions' | 'mask' | 'split'> | undefined;
}

interface Waiting {
  readonly step: Step;
  /** Tokens of its input that are in the cache. */
  done: number;
  resolve(drawn: Drawn): void;
  reject(error: unknown): void;
}

/** Most texts that one pass gives a token each: their logits stand in scratch memory together. */
const MOST = 64;
/** Tokens of prompts that go through the layers between two tokens of others: what these wait. */
const BETWEEN = 128;
/** Fewest of one prompt, but for its end. */
const LEAST = 4;

const all = new WeakMap<Decoder, Steps>();

/** Whether it asks for the token behind one that was drawn. */
const isNext = ({ input, own }: Step): boolean => input.length === 1 && !own;

/**
 * All texts that are being written with one model: a pass over the weights gives a token to each that waits for one (continuous batching:
 * Yu et al. 2022, Orca). Texts come and go between passes. Prompts go through the layers in chunks, between the tokens of others. What a
 * text becomes does not depend on its company, to the bit: `Decoder.forwardEach` sees to that for tokens, and prompts are cut and put
 * together only where rows do not notice it (`Decoder.piecesIndependent`).
 */
export class Steps {
  readonly #decoder: Decoder;
  readonly #waiting = new Set<Waiting>();
  /** Made when it is first needed. */
  #ahead: RunAhead | null = null;
  /** Texts that are being written; those that do not wait are about to ask, or are read slowly. */
  #open = 0;
  #running = false;

  private constructor(decoder: Decoder) {
    this.#decoder = decoder;
  }

  static of(decoder: Decoder): Steps {
    const steps = all.get(decoder) ?? new Steps(decoder);
    all.set(decoder, steps);
    return steps;
  }

  /** Says that a text begins. @returns what says that it has ended */
  enter(): () => void {
    this.#open++;
    return () => {
      this.#open--;
      if (this.#open === 0) this.#ahead?.drop();
    };
  }

  /**
   * The next token, when the pass that gives it is over. Its cache then holds the input; when it rejects, what it held, or in the middle
   * of a prompt some of it.
   * @throws as `Decoder.forward`; E_TENSOR_VALUE for logits that are not finite
   */
  take(step: Step): Promise<Drawn> {
    const result = new Promise<Drawn>((resolve, reject) => {
      this.#waiting.add({ step, done: step.begun ?? 0, resolve, reject });
    });
    if (!this.#running) void this.#run();
    return result;
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.size > 0) {
      // whoever got a token just now shall be in the next pass
      if (this.#waiting.size < this.#open) await nextTurn();
      await this.#among((waiting) => waiting.filter((one) => this.#isToken(one)).slice(0, MOST));
      let [rows, more] = [0, 0];
      do {
        more = await this.#among((waiting) => this.#prompts(waiting));
        rows += more;
      } while (more > 0 && rows < BETWEEN);
      await this.#among((waiting) => waiting.filter(({ step }) => step.own?.mask).slice(0, 1));
    }
    this.#running = false;
  }

  /** A pass of those that are chosen when the device is free. @returns its rows */
  #among(choose: (waiting: readonly Waiting[]) => readonly Waiting[]): Promise<number> {
    if (choose([...this.#waiting]).length === 0) return Promise.resolve(0);
    return exclusive(this.#decoder.device, async () => {
      this.#leave();
      const chosen = choose([...this.#waiting]);
      const left = ({ step, done }: Waiting) => step.input.length - done;
      const before = chosen.reduce((sum, one) => sum + left(one), 0);
      if (chosen.length > 0) await this.#pass(chosen);
      // what is settled had all of its rows
      return before - chosen.reduce((sum, one) => sum + (this.#waiting.has(one) ? left(one) : 0), 0);
    });
  }

  /** Whoever was aborted waits no longer. */
  #leave(): void {
    for (const one of this.#waiting) {
      const { signal } = one.step;
      if (signal?.aborted) this.#settle(one, { error: aborted(signal) });
    }
  }

  #settle(one: Waiting, outcome: Outcome): void {
    this.#waiting.delete(one);
    if ('error' in outcome) one.reject(outcome.error);
    else one.resolve(outcome.drawn);
  }

  /** Of all that is left of its input. */
  #isToken({ step, done }: Waiting): boolean {
    return !step.own?.mask && step.input.length - done === 1;
  }

  /** Those whose prompts, or parts of them, go together next. */
  #prompts(waiting: readonly Waiting[]): readonly Waiting[] {
    const prompts = waiting.filter((one) => !one.step.own?.mask && !this.#isToken(one));
    if (!this.#decoder.piecesIndependent) return prompts.slice(0, 1);
    let room = this.#room();
    return prompts.filter((one) => {
      if (room < LEAST) return false;
      room -= this.#cut(one, room);
      return true;
    });
  }

  /** Rows of prompts in a pass. */
  #room(): number {
    return this.#open > 1 ? BETWEEN : this.#decoder.chunk;
  }

  /**
   * How many tokens of a prompt go next. A prompt alone goes in chunks of `Decoder.chunk`, and a chunk of one token gets other bits than more, so a
   * cut never crosses a chunk, nor leaves one token of it.
   */
  #cut({ step, done }: Waiting, room: number): number {
    const { chunk } = this.#decoder;
    const left = Math.min(step.input.length, (Math.floor(done / chunk) + 1) * chunk) - done;
    if (left <= room || !this.#decoder.piecesIndependent) return left;
    return left - room === 1 ? room - 1 : room;
  }

  /**
   * One pass of several; where it fails, of half as many, until it is known whose failure it is. An abort of any of them ends it, since with
   * a large model it may take seconds; the others stay among those that wait.
   */
  async #pass(chosen: readonly Waiting[]): Promise<void> {
    const stop = new AbortController();
    // those that have one signal listen to it once: hosts warn of a signal that many listen to
    const signals = new Set(chosen.map(({ step }) => step.signal));
    const unlink = [...signals].map((signal) => onAbort(signal, () => stop.abort()));
    try {
      const outcomes = await this.#compute(chosen, stop.signal);
      for (const [one, outcome] of outcomes) this.#settle(one, outcome);
      return;
    } catch (error) {
      if (stop.signal.aborted) return this.#leave();
      if (chosen.length === 1) return this.#settle(chosen[0]!, { error });
    } finally {
      for (const end of unlink) end();
    }
    const half = chosen.length >> 1;
    await this.#pass(chosen.slice(0, half));
    await this.#pass(chosen.slice(half));
  }

  /** What came of those whose whole input is in their caches now. */
  async #compute(chosen: readonly Waiting[], signal: AbortSignal): Promise<Map<Waiting, Outcome>> {
    const decoder = this.#decoder;
    const [first] = chosen;
    const outcomes = new Map<Waiting, Outcome>();
    if (first!.step.own?.mask) {
      const { input, cache, own } = first!.step;
      await decoder.forward(input, cache, {
        ...own,
        signal,
        output: 'last',
        onChunk: async (hidden) => {
          const [outcome] = await drawEach(decoder.device, decoder.logits(hidden), [first!.step]);
          outcomes.set(first!, outcome!);
        },
      });
      return outcomes;
    }
    const steps = chosen.map(({ step }) => step);
    if (decoder.canRunAhead && steps.every(isNext)) this.#ahead ??= new (await loadAhead()).RunAhead(decoder);
    const ahead = steps.every((step) => isNext(step) && this.#ahead?.draws(step)) ? this.#ahead : null;
    if (ahead) {
      const drawn = await ahead.tokens(steps, signal);
      for (const [i, one] of chosen.entries()) {
        outcomes.set(one, drawn[i]!);
        one.done = one.step.input.length;
      }
      return outcomes;
    }
    let room = this.#room();
    const parts = chosen.map((one) => {
      const { input, cache, own } = one.step;
      const count = this.#isToken(one) ? 1 : this.#cut(one, room);
      room -= count;
      const end = one.done + count;
      const positions = own?.positions?.slice(one.done, end);
      return { ids: input.slice(one.done, end), cache, positions, end, wanted: end === input.length };
    });
    const whole = chosen.filter((_, i) => parts[i]!.wanted);
    await decoder.forwardEach(parts, {
      signal,
      output: 'last',
      onOutput: async (hidden) => {
        const logits = decoder.logits(hidden, decoder.precision, true);
        const drawn = await drawEach(
          decoder.device,
          logits,
          whole.map(({ step }) => step),
        );
        for (const [i, one] of whole.entries()) outcomes.set(one, drawn[i]!);
      },
    });
    for (const [i, one] of chosen.entries()) one.done = parts[i]!.end;
    return outcomes;
  }
}
