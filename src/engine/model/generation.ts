import { EspalierError } from '../../errors.ts';
import type { GeneratedToken, GenerationResult } from '../../model/generate/generation.ts';
import { aborted } from '../line/link.ts';
import { briefly } from '../line/watchdog.ts';
import { unpackError } from '../line/wire-error.ts';
import type { EngineLink, Finish, StreamStart } from './protocol.ts';

/** Ends a stream whose reader was collected without a word, so that its cache does not stay. */
const forgotten = new FinalizationRegistry<() => void>((stop) => stop());

/**
 * One running generation: iterate it for tokens as they come, or await `result()` or `text()`. It starts when first asked and runs
 * once. Breaking out of the loop ends it and frees its memory.
 */
export class Generation implements AsyncIterable<GeneratedToken> {
  readonly #link: EngineLink;
  readonly #begin: () => StreamStart;
  readonly #signal: AbortSignal | undefined;
  readonly #check: () => void;
  /** The worker's number of the model. */
  readonly #owner: number;
  readonly #tokens: GeneratedToken[] = [];
  #finish: Finish | null = null;
  #failure: { readonly error: unknown } | null = null;
  #iterated = false;
  #result: Promise<GenerationResult> | null = null;

  /** Made by `model.generate`. @param begin gives what starts it, or throws what is wrong with it */
  constructor(
    link: EngineLink,
    owner: number,
    begin: () => StreamStart,
    signal: AbortSignal | undefined,
    check: () => void,
  ) {
    this.#link = link;
    this.#owner = owner;
    this.#begin = begin;
    this.#signal = signal;
    this.#check = check;
  }

  /** @throws E_ARGUMENT when it is iterated twice */
  [Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void> {
    if (this.#iterated) {
      throw new EspalierError('E_ARGUMENT', 'A generation can be iterated once.', 'Call generate() again.');
    }
    this.#iterated = true;
    const stream = this.#link.number();
    const link = this.#link;
    const signal = this.#signal;
    const abort = () => link.abort(stream);
    const unlisten = () => signal?.removeEventListener('abort', abort);
    const iterator = this.#iterate(stream, abort, unlisten);
    const owner = this.#owner;
    forgotten.register(iterator, () => {
      unlisten();
      link.call('stop', [stream], { owner, ends: true }).catch(() => {});
    });
    return iterator;
  }

  async *#iterate(stream: number, abort: () => void, unlisten: () => void): AsyncGenerator<GeneratedToken, void> {
    const link = this.#link;
    const signal = this.#signal;
    const owner = this.#owner;
    let over = true;
    signal?.addEventListener('abort', abort);
    try {
      for (let start: StreamStart | null = this.#begin(); ; start = null) {
        this.#check();
        if (signal?.aborted) throw aborted(signal);
        over = false;
        const { tokens, finish, error } = await link.call('next', [stream, start], {
          signal,
          stream,
          owner,
          said: 'generate',
        });
        over = finish !== undefined || error !== undefined;
        for (const token of tokens) {
          // it may have fired while the caller was busy with the token before
          if (signal?.aborted) throw aborted(signal);
          this.#tokens.push(token);
          yield token;
        }
        if (error) throw unpackError(error);
        if (finish) {
          this.#finish = finish;
          return;
        }
      }
    } catch (error) {
      this.#failure = { error };
      throw error;
    } finally {
      unlisten();
      // when the worker is too busy to hear of it, the memory is freed later
      if (!over && !link.ended) await briefly(link.call('stop', [stream], { owner, ends: true }));
    }
  }

  /**
   * Runs to the end; or, after a loop, says what came out of it.
   * @throws what the generation fails with; E_ARGUMENT when its loop was left before the end
   */
  result(): Promise<GenerationResult> {
    this.#result ??= this.#run();
    return this.#result;
  }

  /** The text of `result()`. */
  async text(): Promise<string> {
    return (await this.result()).text;
  }

  async #run(): Promise<GenerationResult> {
    if (!this.#iterated) for await (const _ of this);
    if (this.#failure) throw this.#failure.error;
    if (!this.#finish) {
      throw new EspalierError(
        'E_ARGUMENT',
        'The generation was not finished.',
        'Await result() after the loop, or instead of it.',
      );
    }
    return { text: this.#tokens.map((t) => t.text).join(''), tokens: this.#tokens, ...this.#finish };
  }
}
