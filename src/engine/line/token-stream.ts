import type { GeneratedToken } from '../../model/generate/generation.ts';
import { aborted, type CallOptions, type WorkerLink } from './link.ts';
import type { Ground } from './owned.ts';
import type { Batch } from './run-ahead.ts';
import { briefly } from './watchdog.ts';
import { unpackError } from './wire-error.ts';

/** Calls by which every worker with streams ends them. */
interface StreamCalls {
  stop(stream: number): Promise<void>;
}

/** A stream of tokens, which a worker makes. */
export interface TokenSource<S, F> {
  readonly link: Pick<WorkerLink<StreamCalls>, 'number' | 'abort' | 'call' | 'ended'>;
  readonly on: Ground;
  readonly signal: AbortSignal | undefined;
  /** What starts it. @throws what is wrong with it */
  readonly begin: () => S;
  /** Asks for the next tokens; the first call starts it. */
  readonly next: (stream: number, start: S | null, options: CallOptions<Batch<F>>) => Promise<Batch<F>>;
  readonly onToken?: (token: GeneratedToken) => void;
  readonly onFinish: (finish: F) => void;
  readonly onFailure?: (error: unknown) => void;
}

/** Ends a stream whose reader was collected without a word, so that its cache does not stay. */
const forgotten = new FinalizationRegistry<() => void>((stop) => stop());

/** Its tokens, as they come. Leaving the loop ends the stream and waits until its memory is free. */
export function tokensOf<S, F>(source: TokenSource<S, F>): AsyncGenerator<GeneratedToken, void> {
  const { link, signal, on } = source;
  const stream = link.number();
  const abort = () => link.abort(stream);
  const unlisten = () => signal?.removeEventListener('abort', abort);
  const end = () => link.call('stop', [stream], { owners: on.numbers, ends: true });
  const iterator = iterate(source, stream, abort, unlisten, end);
  forgotten.register(iterator, () => {
    unlisten();
    end().catch(() => {});
  });
  return iterator;
}

async function* iterate<S, F>(
  { link, on, signal, begin, next, onToken, onFinish, onFailure }: TokenSource<S, F>,
  stream: number,
  abort: () => void,
  unlisten: () => void,
  end: () => Promise<void>,
): AsyncGenerator<GeneratedToken, void> {
  let over = true;
  signal?.addEventListener('abort', abort);
  try {
    for (let start: S | null = begin(); ; start = null) {
      on.check();
      if (signal?.aborted) throw aborted(signal);
      over = false;
      const { tokens, finish, error } = await next(stream, start, { signal, stream, owners: on.numbers });
      over = finish !== undefined || error !== undefined;
      for (const token of tokens) {
        // it may have fired while the caller was busy with the token before
        if (signal?.aborted) throw aborted(signal);
        onToken?.(token);
        yield token;
      }
      if (error) throw unpackError(error);
      if (finish !== undefined) {
        onFinish(finish);
        return;
      }
    }
  } catch (error) {
    onFailure?.(error);
    throw error;
  } finally {
    unlisten();
    // when the worker is too busy to hear of it, the memory is freed later
    if (!over && !link.ended) await briefly(end());
  }
}
