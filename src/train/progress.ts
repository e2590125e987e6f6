import type { TrainProgress } from './options.ts';
import type { HeldOutLoss, StepReport, TrainingProgress } from './trainer.ts';

/** Steps that the tokens of a second are counted over. */
const RECENT = 16;

/** Tells what goes on, with the loss, the pace, and the time that is left at it. */
export class Telling {
  readonly #report: ((progress: TrainProgress) => void) | undefined;
  readonly #recent: StepReport[] = [];
  #step = 0;
  #steps = 0;
  #loss: number | null = null;
  #heldOut: number | null = null;
  /** Steps of this run, and when the first began. */
  #done = 0;
  #began = 0;

  constructor(report: ((progress: TrainProgress) => void) | undefined) {
    this.#report = report;
  }

  tell(stage: TrainProgress['stage'], done: number, total: number): void {
    const { tokensPerSecond, secondsLeft } = this.#pace();
    const [loss, heldOut] = [this.#loss, this.#heldOut];
    this.#report?.({ stage, done, total, secondsLeft, loss, heldOut, tokensPerSecond });
  }

  begin({ step, lastLoss, heldOut }: TrainingProgress, steps: number): void {
    this.#step = step;
    this.#steps = steps;
    this.#loss = lastLoss;
    this.#heldOut = heldOut.at(-1)?.loss ?? null;
    this.#began = performance.now();
    this.tell('training', step, steps);
  }

  step(report: StepReport): void {
    this.#recent.push(report);
    if (this.#recent.length > RECENT) this.#recent.shift();
    this.#done++;
    this.#step = report.step;
    this.#loss = report.losses.crossEntropy;
    this.tell('training', report.step, report.steps);
  }

  /** @param done batches of what is held out */
  evaluating(done: number): void {
    this.tell('evaluating', done, done + 1);
  }

  heldOut({ loss }: HeldOutLoss): void {
    this.#heldOut = loss;
    this.tell('training', this.#step, this.#steps);
  }

  #pace(): { tokensPerSecond: number | null; secondsLeft: number | null } {
    const sum = (of: (report: StepReport) => number) => this.#recent.reduce((all, report) => all + of(report), 0);
    const seconds = sum((report) => report.seconds);
    // looks at what is held out, and states, take their time too
    const each = (performance.now() - this.#began) / 1000 / this.#done;
    return {
      tokensPerSecond: seconds > 0 ? sum(({ tokens }) => tokens) / seconds : null,
      secondsLeft: this.#done > 0 ? each * (this.#steps - this.#step) : null,
    };
  }
}
