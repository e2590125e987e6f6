import { throwIfAborted } from '../../errors.ts';
import { philox4x32, uniform } from '../../random.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import type { Metric, Score } from './corpus.ts';

/** Tells these draws from others with the same seed. */
const BOOTSTRAP = 98;
const RANDOMISATION = 99;

/** Mean and half the width of the interval that 95 % of resampled scores lie in, both as sacreBLEU has them. */
export interface Spread {
  readonly mean: number;
  readonly halfWidth: number;
}

/** Segments of resample r: as many as there are, drawn with replacement. */
export type Draw = (resample: number, into: Uint32Array) => void;
/** For each segment whether the two systems change places in trial t. */
export type Flip = (trial: number, into: Uint8Array) => void;

/** Segment i of resample r is ⌊n · u⌋ of the counter r · n + i, the same in every runtime. */
export const drawOf =
  (seed: number): Draw =>
  (resample, into) => {
    const n = into.length;
    for (let i = 0; i < n; i++) into[i] = Math.floor(n * uniform(seed, resample * n + i, BOOTSTRAP));
  };

/** Bits of Philox words: word w of trial t is that of the counter (w / 4, t). */
export const flipOf =
  (seed: number): Flip =>
  (trial, into) => {
    let block: readonly number[] = [];
    for (let i = 0; i < into.length; i++) {
      if (i % 128 === 0) {
        block = philox4x32([i / 128, trial, RANDOMISATION, 1], [seed >>> 0, Math.floor(seed / 2 ** 32)]);
      }
      into[i] = (block[(i % 128) >> 5]! >>> (i & 31)) & 1;
    }
  };

export type Counts = readonly (readonly number[])[];

/** Scores of resampled segments. @throws E_ABORTED */
export async function resampledScores(
  metric: Metric<Score>,
  statistics: Counts,
  samples: number,
  draw: Draw,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const pace = new Pace();
  const chosen = new Uint32Array(statistics.length);
  const sums = new Float64Array(statistics[0]!.length);
  const scores = new Float64Array(samples);
  for (let r = 0; r < samples; r++) {
    throwIfAborted(signal);
    draw(r, chosen);
    sums.fill(0);
    for (const i of chosen) add(sums, statistics[i]!);
    scores[r] = metric.score(sums).score;
    await pace.breathe();
  }
  return scores;
}

/** sacreBLEU's `estimate_ci`: of n sorted scores those at n / 40 from either end bound the interval. */
export function spreadOf(scores: Float64Array): Spread {
  const sorted = scores.slice().sort();
  const edge = Math.floor(sorted.length / 40);
  const halfWidth = 0.5 * (sorted[sorted.length - edge - 1]! - sorted[edge]!);
  return { mean: sorted.reduce((sum, score) => sum + score, 0) / sorted.length, halfWidth };
}

/** Probability of a difference this large by chance: by the bootstrap of differences moved to a mean of 0. */
export function bootstrapP(baseline: Float64Array, system: Float64Array, difference: number): number {
  const differences = system.map((score, r) => Math.abs(score - baseline[r]!));
  const mean = differences.reduce((sum, one) => sum + one, 0) / differences.length;
  return pValue(
    differences.map((one) => one - mean),
    difference,
  );
}

/** The same by trials in which segments of the two change places by chance. @throws E_ABORTED */
export async function randomisationP(
  metric: Metric<Score>,
  baseline: Counts,
  system: Counts,
  difference: number,
  samples: number,
  flip: Flip,
  signal?: AbortSignal,
): Promise<number> {
  const pace = new Pace();
  const flips = new Uint8Array(baseline.length);
  const differences = new Float64Array(samples);
  const width = baseline[0]!.length;
  const [a, b] = [new Float64Array(width), new Float64Array(width)];
  for (let t = 0; t < samples; t++) {
    throwIfAborted(signal);
    flip(t, flips);
    a.fill(0);
    b.fill(0);
    for (let i = 0; i < flips.length; i++) {
      add(flips[i] ? a : b, baseline[i]!);
      add(flips[i] ? b : a, system[i]!);
    }
    differences[t] = Math.abs(metric.score(a).score - metric.score(b).score);
    await pace.breathe();
  }
  return pValue(differences, difference);
}

/** One is added to both, so that a true hypothesis is not rejected too often. */
function pValue(found: Float64Array, difference: number): number {
  let above = 0;
  for (const one of found) if (one > difference) above++;
  return (above + 1) / (found.length + 1);
}

function add(sums: Float64Array, own: readonly number[]): void {
  for (let i = 0; i < sums.length; i++) sums[i]! += own[i]!;
}
