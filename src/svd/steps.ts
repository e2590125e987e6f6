import { throwIfAborted } from '../errors.ts';
import { Pace } from '../runtime/host/yielding.ts';

export interface StepOptions {
  /** Looked at between panels and merges. */
  readonly signal?: AbortSignal;
  /** Called with the share of the work that is done, 0 to 1 and never falling, between panels and merges. */
  readonly onProgress?: (fraction: number) => void;
}

/** Turns of the event loop, aborts and progress of one computation. */
export class Steps {
  readonly #pace = new Pace();
  readonly #options: StepOptions;
  #from = 0;
  #to = 1;
  #reached = 0;

  /** @throws E_ABORTED */
  constructor(options: StepOptions) {
    this.#options = options;
    throwIfAborted(options.signal);
  }

  /** What follows runs from share `from` to share `to` of the whole. */
  span(from: number, to: number): void {
    this.#from = from;
    this.#to = to;
  }

  /** For a computation inside this one, from share `from` to share `to` of it. */
  part(from: number, to: number): Steps {
    this.span(from, to);
    const { signal } = this.#options;
    return new Steps({ ...(signal && { signal }), onProgress: (fraction) => this.#report(fraction) });
  }

  /** @param fraction of the span. @throws E_ABORTED */
  async step(fraction: number): Promise<void> {
    throwIfAborted(this.#options.signal);
    this.#report(fraction);
    await this.#pace.breathe();
    throwIfAborted(this.#options.signal);
  }

  #report(fraction: number): void {
    this.#reached = Math.max(this.#reached, this.#from + (this.#to - this.#from) * Math.min(1, fraction));
    this.#options.onProgress?.(this.#reached);
  }
}
