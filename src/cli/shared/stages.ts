import { Progress } from './format.ts';

/** Progress bars of stages that follow each other: one that is updated ends those before it. */
export class Stages<L extends string> {
  readonly #bars: readonly (readonly [L, Progress])[];

  /** @param silent as `--json` does */
  constructor(labels: readonly L[], silent: boolean) {
    this.#bars = labels.map((label) => [label, new Progress({ label, total: 1, silent })]);
  }

  /** @param total of nothing at all, nothing is done */
  update(stage: L, done: number, total: number, note = ''): void {
    for (const [label, bar] of this.#bars) {
      if (label === stage) {
        bar.update(done / (total || 1), note);
        return;
      }
      bar.end();
    }
  }

  /** Takes the bars away until the next update, so that a line can be printed. */
  clear(): void {
    for (const [, bar] of this.#bars) bar.clear();
  }

  end(): void {
    for (const [, bar] of this.#bars) bar.end();
  }
}
