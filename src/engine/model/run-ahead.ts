import { EspalierError } from '../../errors.ts';
import type { GeneratedToken, Generation } from '../../model/generate/generation.ts';
import { packError } from '../line/wire-error.ts';
import type { Batch } from './protocol.ts';

/** Tokens that wait for the reader at most: enough to hide a round trip, few enough to be no waste when nobody reads on. */
const AHEAD = 8;

/**
 * Runs a generation ahead of its reader. The reader takes all tokens that are ready, so that a fast model costs no round trip a
 * token; with `AHEAD` of them waiting the generation rests.
 */
export class RunAhead {
  readonly done: Promise<void>;
  readonly #abort: AbortController;
  readonly #queue: GeneratedToken[] = [];
  #end: Pick<Batch, 'finish' | 'error'> | null = null;
  #stopped = false;
  /** Wakes the reader that waits for a token, and the generation that waits for room. */
  #onToken: () => void = () => {};
  #onRoom: () => void = () => {};

  constructor(generation: Generation, abort: AbortController) {
    this.#abort = abort;
    this.done = this.#run(generation);
  }

  /** The tokens that are ready, waiting for one. */
  async take(): Promise<Batch> {
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

  async #run(generation: Generation): Promise<void> {
    try {
      for await (const token of generation) {
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
      if (!this.#stopped) {
        const { finishReason, timings } = await generation.result();
        this.#end = { finish: { finishReason, timings } };
      }
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
