import type { PoolOptions } from '../../show/pool/options.ts';
import type { Context } from '../line/answers.ts';
import type { Callback } from '../line/parted-options.ts';

/** A call on a pool may have callbacks of its own by the same names. */
const NAMED = 'pool ';

/** A pool's callbacks as they cross with each call on it. */
export function poolCallbacks(callbacks: Readonly<Record<string, Callback>>): Readonly<Record<string, Callback>> {
  return Object.fromEntries(Object.entries(callbacks).map(([name, call]) => [NAMED + name, call]));
}

/** Those of a call that builds a pool, by their own names: one that is none of a pool's is refused there. */
export function givenCallbacks(live: Live): Readonly<Record<string, unknown>> {
  const named = Object.entries(live).filter(([name]) => name.startsWith(NAMED));
  return Object.fromEntries(named.map(([name, call]) => [name.slice(NAMED.length), call]));
}

type Live = Context['live'];
type Told = 'onEstimate' | 'onProgress' | 'onWarning';

/**
 * Who hears what a pool tells. Callbacks are messages of a call, and a pool tells of its work whenever it has to encode something: so each
 * call on it brings them along, and the one that has run longest is told.
 */
export class Hearers {
  readonly #calls: Live[] = [];
  /** For the pool. */
  readonly callbacks: Required<Pick<PoolOptions, Told>> = {
    onEstimate: (estimate) => this.#tell('onEstimate', estimate),
    onProgress: (progress) => this.#tell('onProgress', progress),
    onWarning: (warning) => this.#tell('onWarning', warning),
  };

  /** @param work takes what is the call's own */
  async during<T>(live: Live, work: (own: Live) => Promise<T>): Promise<T> {
    this.#calls.push(live);
    try {
      const { signal, ...rest } = live;
      const own = Object.entries(rest).filter(([name]) => !name.startsWith(NAMED));
      return await work({ ...Object.fromEntries(own), signal });
    } finally {
      this.#calls.splice(this.#calls.indexOf(live), 1);
    }
  }

  #tell(name: Told, value: unknown): void {
    (this.#calls[0]?.[NAMED + name] as ((value: unknown) => void) | undefined)?.(value);
  }
}
