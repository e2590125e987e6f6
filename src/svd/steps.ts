import { throwIfAborted } from '../errors.ts';
import { Pace } from '../runtime/pace.ts';

export interface StepOptions {
  /** Looked at between panels and merges. */
  signal?: AbortSignal;
  /** Called with the share of the work that is done, 0 to 1, between panels and merges. */
  onProgress?: (fraction: number) => void;
}

/** Turns of the event loop, aborts and progress of one computation. */
export class Steps {
  readonly #pace = new Pace();
  readonly #options: StepOptions;
  #from = 0;
  #to = 1;

  constructor(options: StepOptions) {
    this.#options = options;
    throwIfAborted(options.signal);
  }

  /** What follows runs from share `from` to share `to` of the whole. */
  span(from: number, to: number): void {
    this.#from = from;
    this.#to = to;
  }

  /** @param fraction of the span. @throws E_ABORTED */
  async step(fraction: number): Promise<void> {
    throwIfAborted(this.#options.signal);
    this.#options.onProgress?.(this.#from + (this.#to - this.#from) * Math.min(1, fraction));
    await this.#pace.breathe();
    throwIfAborted(this.#options.signal);
  }
}
