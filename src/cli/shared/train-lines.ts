import { EspalierError } from '../../errors.ts';
import type { TrainProgress } from '../../train/options.ts';
import { formatCount, formatDuration } from './format.ts';

/** What a training says line by line, beside its bar: a log, where there is no terminal, has nothing else for hours. */
export class TrainLines {
  #isLook = false;
  #tenths: number | null = null;
  #kept: { readonly step: number; readonly steps: number } | null = null;

  /** A line for each look at what is held out, without one for each tenth of the steps, and one where it goes on; null: nothing to say. */
  next({ stage, done, total, secondsLeft, loss, heldOut, tokensPerSecond }: TrainProgress): string | null {
    switch (stage) {
      case 'evaluating':
        this.#isLook = true;
        return null;
      case 'saving':
        this.#kept = { step: done, steps: total };
        return null;
      case 'reading':
      case 'loading':
      case 'writing':
        return null;
      case 'training':
        break;
      default:
        stage satisfies never;
    }
    const tenths = Math.floor((10 * done) / total);
    if (this.#tenths === null) {
      this.#tenths = tenths;
      return done === 0 ? null : `goes on from step ${done} of ${total}`;
    }
    const isDue = heldOut === null ? tenths > this.#tenths : this.#isLook;
    if (!isDue) return null;
    this.#isLook = false;
    this.#tenths = tenths;
    return [
      `step ${String(done).padStart(String(total).length)} of ${total}`,
      ...(done === 0 || loss === null ? [] : [`loss ${loss.toFixed(3)}`]),
      ...(heldOut === null ? [] : [`held out ${heldOut.toFixed(3)}`]),
      ...(tokensPerSecond === null ? [] : [`${formatCount(Math.round(tokensPerSecond))} tokens/s`]),
      ...(secondsLeft === null || done === total ? [] : [`${formatDuration(secondsLeft)} left`]),
    ].join('  ');
  }

  /** The error, and where it is an abort after which a state is there, how to go on. */
  stopped(error: unknown): unknown {
    if (!(error instanceof EspalierError) || error.code !== 'E_ABORTED' || this.#kept === null) return error;
    const { step, steps } = this.#kept;
    const what = `Training was stopped, and ${step} of ${steps} steps are kept.`;
    return new EspalierError('E_ABORTED', what, 'Run the same command to go on from there.', { cause: error });
  }
}
