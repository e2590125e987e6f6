import { EspalierError } from '../../errors.ts';
import type { Batch, RunAhead } from './run-ahead.ts';

/** A call that is being answered. */
interface Running {
  readonly owners: readonly number[];
  readonly abort: AbortController;
  /** Never rejects. */
  readonly done: Promise<unknown>;
}

/** Things of one kind, by number. */
export interface Shelf<T> {
  readonly all: readonly T[];
  /** @param owners what it stands on, and must not outlive */
  put(number: number, value: T, owners: readonly number[]): void;
  /** @throws what the shelf says of what is closed */
  get(number: number): T;
}

interface Thing {
  readonly shelf: object;
  readonly value: { close(): void };
  readonly owners: readonly number[];
  readonly gone: () => EspalierError;
}

/**
 * What a worker does and holds for its caller: calls that run, streams, and things that stay until they are closed. Each has the number of
 * the call that made it, and knows the numbers of what it stands on: what is closed takes along what stands on it.
 */
export class Holdings {
  readonly running = new Map<number, Running>();
  readonly #streams = new Map<number, { readonly stream: RunAhead<unknown>; readonly owners: readonly number[] }>();
  readonly #things = new Map<number, Thing>();

  /** Streams that are not at their end. */
  get streams(): number {
    return this.#streams.size;
  }

  /** @param gone the error of who asks for what is closed */
  shelf<T extends { close(): void }>(gone: () => EspalierError): Shelf<T> {
    const things = this.#things;
    const shelf: Shelf<T> = {
      get all() {
        return [...things.values()].flatMap((thing) => (thing.shelf === shelf ? [thing.value as T] : []));
      },
      put: (number, value, owners) => void things.set(number, { shelf, value, owners, gone }),
      get: (number) => {
        const thing = things.get(number);
        if (thing?.shelf !== shelf) throw gone();
        return thing.value as T;
      },
    };
    return shelf;
  }

  /** The next tokens of a stream, which `begin` makes where it is given. */
  async next<F>(number: number, owners: readonly number[], begin: (() => RunAhead<F>) | null): Promise<Batch<F>> {
    if (begin) this.#streams.set(number, { stream: begin(), owners });
    const found = this.#streams.get(number);
    if (!found) throw new EspalierError('E_DISPOSED', 'The stream was ended.', 'Start it again.');
    const batch = (await found.stream.take()) as Batch<F>;
    if (batch.finish !== undefined || batch.error) this.#streams.delete(number);
    return batch;
  }

  /** Ends a stream; resolves when its memory is free. */
  async stop(number: number): Promise<void> {
    const found = this.#streams.get(number);
    this.#streams.delete(number);
    await found?.stream.stop();
  }

  /** Aborts a call or a stream. */
  abort(number: number): void {
    this.running.get(number)?.abort.abort();
    this.#streams.get(number)?.stream.abort();
  }

  /**
   * Closes a thing and all that stands on it, when the calls and streams on it have ended, as they are told to. Of one that is not there:
   * nothing.
   */
  async close(number: number): Promise<void> {
    const thing = this.#things.get(number);
    if (!thing) return;
    const on = ([, { owners }]: readonly [number, { readonly owners: readonly number[] }]) => owners.includes(number);
    // from now on nobody finds it
    this.#things.delete(number);
    const calls = [...this.running].filter(on);
    const streams = [...this.#streams].filter(on);
    for (const [, { abort }] of calls) abort.abort(thing.gone());
    for (const [id, { stream }] of streams) {
      this.#streams.delete(id);
      stream.abort(thing.gone());
    }
    await Promise.all([...calls.map(([, { done }]) => done), ...streams.map(([, { stream }]) => stream.done)]);
    // also what such a call has made in spite of that; what stands on another came after it
    const parts = [...this.#things].filter(on).sort(([a], [b]) => b - a);
    for (const [id, { value }] of parts) {
      this.#things.delete(id);
      value.close();
    }
    thing.value.close();
  }
}
