import type { EspalierError } from '../../errors.ts';
import type { CallOptions, WorkerLink } from './link.ts';
import type { CallArguments, CallName, CallResult, Calls } from './port.ts';

/** What something in a worker stands on: the caller's side of it. */
export interface Ground {
  /** Its number, and those of what it stands on itself. */
  readonly numbers: readonly number[];
  /** @throws E_DISPOSED */
  check(): void;
}

/** The caller's side of something that a worker holds under a number, until it is closed. All calls on it go through here. */
export class Owned<C extends Calls<C>> implements Ground {
  readonly link: WorkerLink<C>;
  readonly number: number;
  readonly numbers: readonly number[];
  readonly #ground: Ground | null;
  readonly #closed: () => EspalierError;
  #closing: Promise<void> | null = null;

  /** @param closed the error of calls after the end */
  constructor(link: WorkerLink<C>, number: number, ground: Ground | null, closed: () => EspalierError) {
    this.link = link;
    this.number = number;
    this.numbers = [...(ground?.numbers ?? []), number];
    this.#ground = ground;
    this.#closed = closed;
  }

  /** Something that stands on it. */
  part(number: number, closed: () => EspalierError): Owned<C> {
    return new Owned(this.link, number, this, closed);
  }

  check(): void {
    this.#ground?.check();
    if (this.#closing) throw this.#closed();
  }

  async call<K extends CallName<C>>(
    name: K,
    args: CallArguments<C, K>,
    options?: CallOptions<CallResult<C, K>>,
  ): Promise<CallResult<C, K>> {
    this.check();
    return this.link.call(name, args, { ...options, owners: this.numbers });
  }

  /**
   * Frees it, and what stands on it; what is computed on it ends with E_DISPOSED. Calling it twice is allowed.
   * @param end another way to that
   */
  close(end: () => Promise<void> = () => this.#retire()): Promise<void> {
    this.#closing ??= end();
    return this.#closing;
  }

  async #retire(): Promise<void> {
    // with the worker gone, so is the memory
    if (!this.link.ended) await this.link.retire(this.number, this.#closed());
  }
}
