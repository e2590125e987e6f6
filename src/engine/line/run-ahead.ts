import { EspalierError } from '../../errors.ts';
import type { GeneratedToken } from '../../model/generate/generation.ts';
import { packError, type WireError } from './wire-error.ts';

/** All tokens that were ready, at least one; with the last ones, how it ended. */
export interface Batch<F> {
  readonly tokens: readonly GeneratedToken[];
  readonly finish?: F;
  readonly error?: WireError;
}

/** Tokens that wait for the reader at most: enough to hide a round trip, few enough to be no waste when nobody reads on. */
const AHEAD = 8;

/**
 * Runs a generation ahead of its reader. The reader takes all tokens that are ready, so that a fast model costs no round trip a
 * token; with `AHEAD` of them waiting the generation rests. `F` is what it is over with.
 */
export class RunAhead<F> {
  readonly done: Promise<void>;
  readonly #abort = new AbortController();
  readonly #queue: GeneratedToken[] = [];
  #end: Pick<Batch<F>, 'finish' | 'error'> | null = null;
  #stopped = false;
  /** Wakes the reader that waits for a token, and the generation that waits for room. */
  #onToken: () => void = () => {};
  #onRoom: () => void = () => {};

  /** @param begin makes the tokens, which `signal` ends, and says how it ended when they are all there */
  constructor(
    begin: (signal: AbortSignal) => { readonly tokens: AsyncIterable<GeneratedToken>; finish(): Promise<F> },
  ) {
    const { tokens, finish } = begin(this.#abort.signal);
    this.done = this.#run(tokens, finish);
  }

  /** The tokens that are ready, waiting for one. */
  async take(): Promise<Batch<F>> {
    while (this.#queue.length === 0 && !this.#end) {
      await new Promise<void>((wake) => {
        this.#onToken = wake;
      });
    }
    const tokens = this.#queue.splice(0);
    this.#onRoom();
    return { tokens, ...this.#end };
  }

  /** Ends with E_ABORTED, or with `error`, after one token or layer at most. */
  abort(error?: EspalierError): void {
    this.#abort.abort(error);
    this.#onRoom();
  }

  /** Ends it for good and resolves when its memory is free. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.abort();
    await this.done;
  }

  async #run(tokens: AsyncIterable<GeneratedToken>, finish: () => Promise<F>): Promise<void> {
    try {
      for await (const token of tokens) {
        if (this.#stopped) break;
        this.#queue.push(token);
        this.#onToken();
        while (this.#queue.length >= AHEAD && !this.#stopped && !this.#abort.signal.aborted) {
          await new Promise<void>((wake) => {
            this.#onRoom = wake;
          });
        }
        if (this.#stopped) break;
      }
      if (!this.#stopped) this.#end = { finish: await finish() };
    } catch (error) {
      const { reason } = this.#abort.signal;
      this.#end = { error: packError(reason instanceof EspalierError ? reason : error) };
    } finally {
      // a reader may still wait
      if (this.#stopped) this.#end = { error: packError(stopped()) };
      this.#onToken();
    }
  }
}

function stopped(): EspalierError {
  return new EspalierError('E_DISPOSED', 'The generation was ended.', 'Call generate() again.');
}
