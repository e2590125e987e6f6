import { checked, filled } from '../../options/check.ts';
import { type Metric, type References, type Score, segmentsOf, signatureOf, statisticsOf, summed } from './corpus.ts';
import { type CompareOptions, compareOptions, type SamplingOptions, samplingOptions } from './options.ts';
import { bootstrapP, drawOf, flipOf, randomisationP, resampledScores, type Spread, spreadOf } from './resampling.ts';

/** A score, and how far it would spread over other texts of this kind. */
export interface IntervalScore extends Score, Spread {
  readonly signature: string;
}

/** Two systems over the same texts. */
export interface Comparison {
  readonly baseline: Score & Spread;
  readonly system: Score & Spread;
  /** system − baseline */
  readonly difference: number;
  /** Probability of a difference as large, if the two were alike. */
  readonly p: number;
  readonly signature: string;
}

/**
 * A score with its interval by bootstrap resampling (Koehn 2004), computed as sacreBLEU does it, with draws of our own generator.
 * @param metric what `bleuMetric` or `chrfMetric` makes
 * @throws E_ARGUMENT, E_ABORTED
 */
export async function scoreInterval(
  metric: Metric<Score>,
  hypotheses: readonly string[],
  references: References,
  options: SamplingOptions = {},
): Promise<IntervalScore> {
  const given = checked<SamplingOptions>(samplingOptions, options, 'scoreInterval()');
  const { samples = 1000, seed, signal } = filled(samplingOptions, given);
  const segments = segmentsOf(hypotheses, references);
  const statistics = statisticsOf(metric, segments);
  const { name, score } = metric.score(summed(statistics));
  const spread = spreadOf(await resampledScores(metric, statistics, samples, drawOf(seed), signal));
  return { name, score, ...spread, signature: signatureOf(metric, segments, [`bs:${samples}`, `seed:${seed}`]) };
}

/**
 * Whether a system is better than a baseline on the same texts: paired bootstrap resampling (Koehn 2004) or paired approximate
 * randomisation (Riezler and Maxwell 2005), computed as sacreBLEU does it, with draws of our own generator. Intervals are of a bootstrap
 * of 1000 either way, or of `samples` of it.
 * @throws E_ARGUMENT, E_ABORTED
 */
export async function compareScores(
  metric: Metric<Score>,
  baseline: readonly string[],
  system: readonly string[],
  references: References,
  options: CompareOptions = {},
): Promise<Comparison> {
  const checkedOptions = checked<CompareOptions>(compareOptions, options, 'compareScores()');
  const { test, seed, signal, ...given } = filled(compareOptions, checkedOptions);
  const isBootstrap = test === 'bootstrap';
  const samples = given.samples ?? (isBootstrap ? 1000 : 10_000);
  const resamples = isBootstrap ? samples : 1000;
  const segments = segmentsOf(baseline, references);
  const both = [statisticsOf(metric, segments), statisticsOf(metric, segmentsOf(system, references))] as const;
  const [a, b] = both.map((statistics) => metric.score(summed(statistics))) as [Score, Score];
  const [ofA, ofB] = [
    await resampledScores(metric, both[0], resamples, drawOf(seed), signal),
    await resampledScores(metric, both[1], resamples, drawOf(seed), signal),
  ];
  const difference = Math.abs(b.score - a.score);
  const p = isBootstrap
    ? bootstrapP(ofA, ofB, difference)
    : await randomisationP(metric, ...both, difference, samples, flipOf(seed), signal);
  const drawn = isBootstrap ? [`bs:${samples}`] : [`bs:${resamples}`, `ar:${samples}`];
  return {
    baseline: { name: a.name, score: a.score, ...spreadOf(ofA) },
    system: { name: b.name, score: b.score, ...spreadOf(ofB) },
    difference: b.score - a.score,
    p,
    signature: signatureOf(metric, segments, [...drawn, `seed:${seed}`]),
  };
}
