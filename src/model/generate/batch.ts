import { EspalierError, onAbort, throwIfAborted } from '../../errors.ts';
import { checked, readable } from '../../options/check.ts';
import { callback, defaulting, isOptions, type Schema, whole } from '../../options/rules.ts';
import { shown } from '../../options/shown.ts';
import type { PromptOptions } from '../options.ts';
import type { Prompt } from '../prompt.ts';
import type { GeneratedToken, GenerationResult, Timings } from './generation.ts';
import { type GenerateOptions, generateOptions } from './options.ts';

/** What became of one prompt of a batch. */
export interface BatchResult {
  /** Of the prompt. */
  readonly index: number;
  /** All of it, or what was written until it failed. */
  readonly text: string;
  readonly tokens: readonly GeneratedToken[];
  /** As of a generation; `error`: it failed. */
  readonly finishReason: GenerationResult['finishReason'] | 'error';
  /** Null where it failed. */
  readonly timings: Timings | null;
  /** Null where it did not fail. */
  readonly error: EspalierError | null;
}

/** A generation of either face: in this thread, or behind the worker. */
export interface Running extends AsyncIterable<GeneratedToken> {
  result(): Promise<GenerationResult>;
}

/** A prompt with options of its own, which go before those of the batch. */
export interface BatchItem extends GenerateOptions, PromptOptions {
  readonly prompt: Prompt;
}

export interface BatchOptions extends GenerateOptions, PromptOptions {
  /**
   * Most prompts that are continued at once; where memory is short, fewer are. Their tokens share passes over the weights, so that more at
   * once are faster in all, and each alone slower. From 1 to 64; default 8.
   */
  readonly batch?: number;
  /** Called with each token as it comes. What it throws ends the batch. */
  readonly onToken?: (index: number, token: GeneratedToken) => void;
}

export const batchOptions = {
  ...generateOptions,
  batch: defaulting(whole(1, 64), 8),
  onToken: callback,
} as const satisfies Schema<BatchOptions>;

interface BatchRun {
  readonly items: readonly unknown[];
  readonly options: BatchOptions;
  readonly generate: (prompt: Prompt, options: GenerateOptions & PromptOptions) => Running;
}

/**
 * Several prompts that are continued at once: iterate it for results as they end, or await `results()` or `texts()`. It starts when first
 * asked and runs once. What fails with one prompt is in its result, and disturbs no other. Breaking out of the loop ends all of them.
 */
export class GenerationBatch implements AsyncIterable<BatchResult> {
  readonly #begun: BatchRun;
  #iterated = false;
  #results: Promise<BatchResult[]> | null = null;

  /**
   * Made by `model.generateBatch`.
   * @param generate continues one @throws E_ARGUMENT for what is no list, and for options
   */
  constructor(prompts: unknown, given: unknown, generate: BatchRun['generate']) {
    const options = checked<BatchOptions>(batchOptions, given, 'generateBatch');
    const items = readable('The prompts', () => {
      if (Array.isArray(prompts) && typeof prompts[0] !== 'number' && !isMessage(prompts[0])) return [...prompts];
      const hint = 'Give a list of prompts; one prompt alone is for generate().';
      throw new EspalierError('E_ARGUMENT', `The prompts are ${shown(prompts)}.`, hint);
    });
    this.#begun = { items, options, generate };
  }

  /**
   * Results in the order in which they end.
   * @throws E_ARGUMENT when it is iterated twice; E_ABORTED; what ends all of them, such as E_WORKER_LOST; what `onToken` throws
   */
  [Symbol.asyncIterator](): AsyncGenerator<BatchResult, void> {
    if (this.#iterated) {
      throw new EspalierError('E_ARGUMENT', 'A batch can be iterated once.', 'Call generateBatch() again.');
    }
    this.#iterated = true;
    return run(this.#begun);
  }

  /** All of them, in the order of the prompts. @throws as iteration */
  results(): Promise<BatchResult[]> {
    this.#results ??= (async () => {
      const all: BatchResult[] = [];
      for await (const result of this) all[result.index] = result;
      return all;
    })();
    return this.#results;
  }

  /** Their texts. @throws as iteration; what the first of the prompts that failed failed with */
  async texts(): Promise<string[]> {
    return (await this.results()).map(({ text, error }) => {
      if (error) throw error;
      return text;
    });
  }
}

/** Codes of what no other prompt would survive. */
const FATAL: ReadonlySet<string> = new Set(['E_DISPOSED', 'E_WORKER_LOST', 'E_DEVICE_LOST']);

async function* run(batch: BatchRun): AsyncGenerator<BatchResult, void> {
  const { items, options } = batch;
  const { signal } = options;
  // a list, since hosts warn of a signal that many listen to
  const stops = new Set<AbortController>();
  const end = (reason?: unknown): void => {
    for (const stop of stops) stop.abort(reason);
  };
  const unlink = onAbort(signal, end);
  const running = new Map<number, Promise<BatchResult>>();
  /** Those that found no memory beside others. */
  const again: number[] = [];
  let most = options.batch ?? batchOptions.batch.default;
  let next = 0;
  try {
    for (;;) {
      throwIfAborted(signal);
      while (running.size < most && (again.length > 0 || next < items.length)) {
        const index = again.shift() ?? next++;
        running.set(index, one(batch, index, stops));
      }
      if (running.size === 0) return;
      const result = await Promise.race(running.values());
      running.delete(result.index);
      throwIfAborted(signal);
      const { error } = result;
      if (error?.code === 'E_OUT_OF_MEMORY' && result.tokens.length === 0 && running.size > 0) {
        // fewer at once, from now on
        most = running.size;
        again.push(result.index);
        continue;
      }
      if (error && FATAL.has(error.code)) throw error;
      yield result;
    }
  } finally {
    unlink();
    end();
    await Promise.allSettled(running.values());
  }
}

/** @param stops has what ends it, while it runs @throws what is no failure of the prompt */
async function one(
  { items, options, generate }: BatchRun,
  index: number,
  stops: Set<AbortController>,
): Promise<BatchResult> {
  const { batch, onToken, signal, ...common } = options;
  const tokens: GeneratedToken[] = [];
  const stop = new AbortController();
  stops.add(stop);
  let unlink = (): void => {};
  let told: { readonly error: unknown } | null = null;
  try {
    const { prompt, ...own } = itemOf(items[index]);
    unlink = onAbort(own.signal, (reason) => stop.abort(reason));
    const generation = generate(prompt, { ...common, ...own, signal: stop.signal });
    for await (const token of generation) {
      tokens.push(token);
      try {
        onToken?.(index, token);
      } catch (error) {
        told = { error };
        throw error;
      }
    }
    return { index, ...(await generation.result()), error: null };
  } catch (error) {
    if (told || !(error instanceof EspalierError)) throw error;
    const text = tokens.map((token) => token.text).join('');
    return { index, text, tokens, finishReason: 'error', timings: null, error };
  } finally {
    unlink();
    stops.delete(stop);
  }
}

/** A prompt and its own options; what it is worth is checked where it is continued. */
function itemOf(item: unknown): BatchItem {
  return isOptions(item) && 'prompt' in item ? (item as unknown as BatchItem) : { prompt: item as Prompt };
}

function isMessage(value: unknown): boolean {
  return isOptions(value) && 'role' in value;
}
