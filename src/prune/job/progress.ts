import type { PruneProgress } from '../options.ts';

/** Tells what goes on, and of training the time that is left at its pace. */
export class PruneTelling {
  readonly #report: ((progress: PruneProgress) => void) | undefined;
  #began: { readonly at: number; readonly done: number } | null = null;
  #answers: number | null = null;

  constructor(report: ((progress: PruneProgress) => void) | undefined) {
    this.#report = report;
  }

  tell(stage: PruneProgress['stage'], done: number, total: number, secondsLeft: number | null = null): void {
    this.#report?.({ stage, done, total, secondsLeft, answers: this.#answers });
  }

  step(done: number, total: number, answers: number | null): void {
    this.#answers = answers;
    const now = performance.now();
    this.#began ??= { at: now, done: done - 1 };
    const each = (now - this.#began.at) / 1000 / (done - this.#began.done);
    this.tell('training', done, total, each * (total - done));
  }
}
