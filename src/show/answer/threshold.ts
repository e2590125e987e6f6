import type { CalibrationPoint, Probe } from '../types.ts';
import type { ShowSettings } from './presets.ts';
import { fallBack, firstSure } from './stopping.ts';

export interface CalibrationItem {
  readonly query: string;
  /** As in `AskOptions`. */
  readonly input?: string;
  readonly label: string;
}

/** All counts of the grid for one item. */
export interface CalibrationRow {
  readonly probes: readonly Probe[];
  /** What was known before any shot; absent or null: nothing. */
  readonly before?: { readonly entropy: number; readonly right: boolean } | null;
  readonly rounds: readonly (readonly { readonly shots: number; readonly right: boolean }[])[];
  readonly cap: number;
}

/** Thresholds that are tried: quantiles of the entropies, where there are more. */
const MOST = 128;

/** The best threshold, and all that were tried. */
export interface Fit extends CalibrationPoint {
  readonly curve: readonly CalibrationPoint[];
}

type Rules = Pick<ShowSettings, 'leastMass' | 'onlyYes' | 'fallback'>;

/** The threshold under which most answers are right; of equals the one with fewest shots, then the largest. */
export function fitThreshold(rows: readonly CalibrationRow[], settings: Rules): Fit {
  const entropies = rows.flatMap(({ probes, before }) =>
    [...(before ? [before] : []), ...probes].map(({ entropy }) => entropy),
  );
  const all = [...new Set(entropies)].sort((a, b) => a - b);
  const step = Math.max(1, (all.length - 1) / (MOST - 1));
  const candidates = new Set([0]);
  for (let i = 0; i < all.length; i += step) candidates.add(all[Math.round(i)]!);
  candidates.add(all.at(-1)!);
  const prepared = rows.map(prepare);
  const curve = [...candidates].map((threshold) => pointAt(threshold, prepared, settings));
  const best = curve.reduce((a, b) => (isBetter(a, b) ? a : b));
  return { ...best, curve };
}

/** More right answers; of equals, fewer shots. */
export function isBetter(
  a: Pick<CalibrationPoint, 'accuracy' | 'meanShots'>,
  b: Pick<CalibrationPoint, 'accuracy' | 'meanShots'>,
): boolean {
  return a.accuracy > b.accuracy || (a.accuracy === b.accuracy && a.meanShots < b.meanShots);
}

/** A row by rounds of probes, and whether each count is right, ascending. */
interface Prepared {
  readonly rounds: readonly (readonly Probe[])[];
  readonly answers: readonly { readonly shots: number; readonly right: boolean }[];
  readonly before: CalibrationRow['before'];
  readonly cap: number;
}

function prepare({ probes, before, rounds, cap }: CalibrationRow): Prepared {
  const byShots = new Map(probes.map((probe) => [probe.shots, probe]));
  return {
    rounds: rounds.map((round) => round.map(({ shots }) => byShots.get(shots)!)),
    before,
    answers: rounds.flat().sort((a, b) => a.shots - b.shots),
    cap,
  };
}

/** What the rule would have answered with a threshold. */
function pointAt(threshold: number, rows: readonly Prepared[], settings: Rules): CalibrationPoint {
  let right = 0;
  let shots = 0;
  for (const { before, rounds, answers, cap } of rows) {
    if (before && before.entropy <= threshold) {
      if (before.right) right++;
      continue;
    }
    let chosen: number | null = null;
    const tried: Probe[] = [];
    let last: readonly Probe[] = [];
    for (const round of rounds) {
      last = round;
      tried.push(...last);
      chosen = firstSure(last, threshold, settings)?.shots ?? null;
      if (chosen !== null) break;
    }
    chosen ??= fallBack(tried, last, threshold, settings, cap);
    // a fallback to a count that is not in the grid: the nearest below stands for it
    if ((answers.findLast((answer) => answer.shots <= chosen!) ?? answers[0]!).right) right++;
    shots += chosen;
  }
  return { threshold, accuracy: right / rows.length, meanShots: shots / rows.length };
}
