import type { Arm } from '../arms.ts';
import { mean } from '../statistics.ts';
import type { ItemResult } from '../types.ts';

/** Bars of a histogram. */
const BARS = 14;

/** Entropies behind one number of examples, of all items for which it was tried. */
export interface EntropiesBehind {
  readonly shots: number;
  /** Items that were answered behind it. */
  readonly chosen: number;
  /** By bar: items whose likeliest label there is the right one, and others. Where a question was asked: whose answer was right in the end. */
  readonly right: readonly number[];
  readonly wrong: readonly number[];
  /** Null: there is none. */
  readonly meanRight: number | null;
  readonly meanWrong: number | null;
}

/** What an adaptive arm saw. */
export interface ArmEntropies {
  readonly arm: string;
  /** Whether they are of distributions over labels, in nats; else of the answer to a question. */
  readonly ofLabels: boolean;
  /** Each bar is so wide; the first begins at 0. */
  readonly width: number;
  /** What was sure enough: one for each seed where it was fitted. */
  readonly thresholds: readonly number[];
  readonly behind: readonly EntropiesBehind[];
}

/** Of every adaptive arm whose results tell what was tried. */
export function entropiesOf(arms: readonly Arm[], results: readonly ItemResult[]): readonly ArmEntropies[] {
  return arms.flatMap(({ name, kind }) => {
    const own = kind === 'adaptive' ? results.filter(({ arm, tried }) => arm === name && tried?.length) : [];
    return own.length === 0 ? [] : [entropiesOfArm(name, own)];
  });
}

function entropiesOfArm(arm: string, results: readonly ItemResult[]): ArmEntropies {
  const tries = results.flatMap(({ tried = [], truth, label }) =>
    tried.map((one) => ({ shots: one.shots, entropy: one.entropy, right: (one.label ?? label) === truth })),
  );
  const most = tries.reduce((max, { entropy }) => Math.max(max, entropy), 0);
  const width = (most || 1) / BARS;
  const barsOf = (list: readonly { readonly entropy: number }[]): readonly number[] => {
    const bars = new Array<number>(BARS).fill(0);
    // rounding may put the largest one behind the last bar, and a little below 0
    for (const { entropy } of list) bars[Math.min(BARS - 1, Math.max(0, Math.floor(entropy / width)))]!++;
    return bars;
  };
  const counts = [...new Set(tries.map(({ shots }) => shots))].sort((a, b) => a - b);
  const meanOf = (list: readonly { readonly entropy: number }[]) =>
    list.length === 0 ? null : mean(list.map(({ entropy }) => entropy));
  return {
    arm,
    ofLabels: results.every(({ tried = [] }) => tried.every(({ label }) => label !== null)),
    width,
    thresholds: [...new Set(results.flatMap(({ threshold }) => threshold ?? []))].sort((a, b) => a - b),
    behind: counts.map((shots) => {
      const here = tries.filter((one) => one.shots === shots);
      const [right, wrong] = [here.filter((one) => one.right), here.filter((one) => !one.right)];
      return {
        shots,
        chosen: results.filter((result) => result.shots === shots).length,
        right: barsOf(right),
        wrong: barsOf(wrong),
        meanRight: meanOf(right),
        meanWrong: meanOf(wrong),
      };
    }),
  };
}
