import { EspalierError } from '../../errors.ts';
import type { GeneratedToken, GenerationResult } from '../../model/generate/generation.ts';
import type { Owned } from '../line/owned.ts';
import { tokensOf } from '../line/token-stream.ts';
import type { EngineCalls, Finish, StreamStart } from './protocol.ts';

/**
 * One running generation: iterate it for tokens as they come, or await `result()` or `text()`. It starts when first asked and runs
 * once. Breaking out of the loop ends it and frees its memory.
 */
export class Generation implements AsyncIterable<GeneratedToken> {
  readonly #model: Owned<EngineCalls>;
  readonly #begin: () => StreamStart;
  readonly #signal: AbortSignal | undefined;
  readonly #tokens: GeneratedToken[] = [];
  #finish: Finish | null = null;
  #failure: { readonly error: unknown } | null = null;
  #iterated = false;
  #result: Promise<GenerationResult> | null = null;

  /** Made by `model.generate`. @param begin gives what starts it, or throws what is wrong with it */
  constructor(model: Owned<EngineCalls>, begin: () => StreamStart, signal: AbortSignal | undefined) {
    this.#model = model;
    this.#begin = begin;
    this.#signal = signal;
  }

  /** @throws E_ARGUMENT when it is iterated twice */
  [Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void> {
    if (this.#iterated) {
      throw new EspalierError('E_ARGUMENT', 'A generation can be iterated once.', 'Call generate() again.');
    }
    this.#iterated = true;
    const { link } = this.#model;
    return tokensOf<StreamStart, Finish>({
      link,
      on: this.#model,
      signal: this.#signal,
      begin: this.#begin,
      next: (stream, start, options) => link.call('next', [stream, start], { ...options, said: 'generate' }),
      onToken: (token) => void this.#tokens.push(token),
      onFinish: (finish) => {
        this.#finish = finish;
      },
      onFailure: (error) => {
        this.#failure = { error };
      },
    });
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
