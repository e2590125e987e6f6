import type { LabelScores } from '../probe/label-probe.ts';
import type { Calibration, Fallback, Probe } from '../types.ts';
import {
  type LabelBias,
  labelBias,
  membersAt,
  opinionBefore,
  pooledScores,
  type WeightedRidge,
  type WeightedVote,
} from './ensemble.ts';
import type { ShowSettings } from './presets.ts';
import { type CalibrationRow, fitThreshold, isBetter } from './threshold.ts';

/** How much of a bias is taken off, and of the vote's weight is used. */
const STRENGTHS = [0, 0.5, 1];
const WEIGHTS = [1, 0, 0.5, 2];

/** How much the model counts beside ridge regression, of what the settings say. */
const MODEL_WEIGHTS = [1, 0.5, 2];

/** All counts of the grid for one item of the development set. */
export interface Observation {
  readonly rounds: readonly (readonly number[])[];
  /** Of yes-or-no questions. */
  readonly probes: readonly Probe[];
  readonly alone: ReadonlyMap<number, LabelScores>;
  readonly vote: WeightedVote | null;
  readonly ridge: WeightedRidge | null;
  /** Index of the label. */
  readonly truth: number;
  readonly cap: number;
}

/**
 * What gives most right answers: the threshold, and with `all` how much of each label's bias is taken off, how much the nearest vote and the model count, and
 * what is done when nothing is sure. Of equals, that with fewest shots; then what the settings say.
 */
export function fitCalibration(
  observations: readonly Observation[],
  settings: ShowSettings,
  fit: 'threshold' | 'all',
): Calibration {
  const all = fit === 'all';
  const { vote, ridge } = settings;
  const voted = vote !== null && observations.some((observation) => observation.vote !== null);
  const weights = voted && all ? WEIGHTS.map((share) => share * vote.weight) : [vote?.weight ?? 0];
  const regressed = ridge !== null && observations.some((observation) => observation.ridge !== null);
  const modelWeights = regressed ? (all ? MODEL_WEIGHTS : [1]).map((share) => share * ridge.modelWeight) : [0];
  // token by token there is no distribution to take it off, and of a few labels for each query there is no average
  const whole = !regressed || ridge.candidates >= settings.labels!.length;
  const strengths = all && settings.scoring === 'sum' && whole ? STRENGTHS : [0];
  const counts = [...new Set(observations.flatMap(({ rounds }) => rounds.flat()))].sort((a, b) => a - b);
  const fallbacks: Fallback[] = [settings.fallback, ...(all ? counts.map((shots) => ({ shots })) : [])];
  let best: Omit<Calibration, 'fixed' | 'labels'> | null = null;
  for (const strength of strengths) {
    const bias =
      strength > 0
        ? labelBias(
            observations.map(({ alone }) => alone),
            strength,
          )
        : null;
    for (const weight of weights) {
      for (const modelWeight of modelWeights) {
        const rows = observations.map((observation) => rowOf(observation, settings, bias, weight, modelWeight));
        for (const fallback of fallbacks) {
          const point = fitThreshold(rows, { ...settings, fallback });
          if (best && !isBetter(point, best)) continue;
          best = {
            ...point,
            fallback,
            vote: vote && { ...vote, weight },
            ridge: ridge && (regressed ? { ...ridge, modelWeight } : ridge),
            bias: bias && Object.fromEntries(bias),
          };
        }
      }
    }
  }
  const fixed = counts.map((shots) => {
    const known = observations.filter(({ alone }) => alone.has(shots));
    const right = known.filter(({ alone, truth }) => alone.get(shots)!.best === truth);
    return { shots, accuracy: right.length / known.length };
  });
  return { ...best!, labels: settings.labels!, fixed };
}

/** What probing would have seen, and whether its answers would have been right. */
function rowOf(
  { rounds, probes, alone, vote, ridge, truth, cap }: Observation,
  { ensemble, entropy }: ShowSettings,
  bias: LabelBias | null,
  weight: number,
  modelWeight: number,
): CalibrationRow {
  const combining = {
    vote: vote && weight > 0 ? { ...vote, weight } : null,
    ridge: ridge && { ...ridge, modelWeight },
    bias,
  };
  const before = combining.ridge && opinionBefore(combining.vote, combining.ridge);
  const scores = new Map(
    rounds.flat().map((shots) => {
      const members = membersAt(shots, alone.keys(), ensemble).map((count) => alone.get(count)!);
      return [shots, pooledScores(members, combining)];
    }),
  );
  const byLabel = [...scores.values()].map(
    (score): Probe => ({ shots: score.shots, entropy: score.entropy, mass: score.mass, yes: null, label: null }),
  );
  return {
    probes: entropy === 'label' ? byLabel : probes,
    before: before && { entropy: before.entropy, right: before.best === truth },
    rounds: rounds.map((round) => round.map((shots) => ({ shots, right: scores.get(shots)!.best === truth }))),
    cap,
  };
}
