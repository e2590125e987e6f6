import { EspalierError } from '../errors.ts';
import { stepsOf } from './schedule.ts';

/** Parameters that are not trained, for a while or for good. */
export interface FreezeStage {
  /** Names, `*` for any characters: `*.mlp.experts.*gate_proj*`. One, or several. */
  readonly frozen: string | readonly string[];
  /** The step from which they are trained: a number of steps, or below 1 a share of all, rounded up. Default: never. */
  readonly untilStep?: number;
}

/** What is frozen when. */
export class FreezePlan {
  readonly #stages: readonly { readonly until: number; readonly matches: (name: string) => boolean }[];

  /** @param steps in all */
  constructor(stages: readonly FreezeStage[], steps: number) {
    this.#stages = stages.map(({ frozen, untilStep }) => ({
      until: untilStep === undefined ? Number.POSITIVE_INFINITY : stepsOf(untilStep, steps),
      matches: matcher(typeof frozen === 'string' ? [frozen] : frozen),
    }));
  }

  /** Whether a parameter is trained at a step, from 0 on. */
  trains(name: string, step: number): boolean {
    return !this.#stages.some(({ until, matches }) => step < until && matches(name));
  }

  /** Whether it is trained at any time. */
  everTrains(name: string): boolean {
    return this.trains(name, Number.MAX_SAFE_INTEGER);
  }

  /** The steps at which stages begin, in their order: the first, and those before the last at which something is trained from then on. */
  beginnings(steps: number): number[] {
    const all = [0, ...this.#stages.map(({ until }) => until)].filter((until) => until >= 0 && until < steps);
    return [...new Set(all)].sort((a, b) => a - b);
  }

  /** Which of the stretches between changes a step lies in, from 0 on. */
  stageAt(step: number): number {
    return new Set(this.#stages.map(({ until }) => until).filter((until) => until > 0 && until <= step)).size;
  }

  /** Patterns that no name matches: mistyped, most likely. */
  static unmatched(stages: readonly FreezeStage[], names: readonly string[]): readonly string[] {
    return stages.flatMap(({ frozen }) => frozen).filter((pattern) => !names.some((name) => matcher([pattern])(name)));
  }
}

/** @throws E_ARGUMENT where all is frozen at a step */
export function checkTrained(isTrained: boolean, step: number): void {
  if (isTrained) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `At step ${step} all parameters are frozen.`,
    'Let `freeze` leave something to train.',
  );
}

function matcher(patterns: readonly string[]): (name: string) => boolean {
  const escaped = patterns.map((pattern) => pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*'));
  const all = new RegExp(`^(?:${escaped.join('|')})$`, 's');
  return (name) => all.test(name);
}
