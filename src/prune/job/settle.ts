import type { TrainDevice } from '../../device/train-device.ts';
import { type Candidate, distanceOf, leastKept, mostLeft } from '../choice/choice.ts';
import {
  type StrengthReason,
  type StrengthTried,
  settledOf,
  strengthRange,
  weakestStrength,
} from '../choice/strength.ts';
import { answerLogProbabilities, meanProbability } from '../measure/answers.ts';
import { withModel } from '../measure/with-model.ts';
import type { SidesMeasured } from '../write/receipt.ts';
import { jobFiles, type MadeAdapter } from './files.ts';
import type { Measured, MeasureOptions } from './measure.ts';
import type { PreparedPrune } from './prepare.ts';

/** An adapter as it is written, and what it does. */
export interface Settled {
  readonly strength: number;
  readonly by: StrengthReason;
  /** Strengths that were tried through the gate, in order. */
  readonly tried: readonly StrengthTried[];
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly after: SidesMeasured;
  /** Of what is forgotten from answers that were never learned, in nats. */
  readonly distance: number;
}

/**
 * The strength of the experts, and what they do with it, by their files and through the gate. Looks measured some of what is forgotten, without a gate, at a few strengths: where the
 * objective is to come to something (`base`), it is the weakest now with which enough of the whole is forgotten; otherwise, and where looks try no other than 1, the look's.
 * @throws what opening models and computing throws; E_ABORTED
 */
export async function settle(
  job: PreparedPrune,
  { before, target, sample }: Measured,
  device: TrainDevice,
  made: Omit<MadeAdapter, 'strength'>,
  best: Candidate,
  options: MeasureOptions,
): Promise<Settled> {
  const { objective, strengths } = job.plan;
  const filesAt = (strength: number) => jobFiles(job, { ...made, strength });
  const answers = (files: ReadonlyMap<string, Uint8Array>, list: Measured['sample']['forget']) =>
    withModel(
      job.target,
      { device, adapters: [{ from: Object.fromEntries(files) }], signal: options.signal },
      (model) => answerLogProbabilities(model, list, options),
    );
  const forgotten = new Map<number, Float64Array>();
  const forgetAt = async (strength: number): Promise<number> => {
    const found = await answers(filesAt(strength), sample.checked);
    forgotten.set(strength, found);
    return meanProbability(found);
  };
  const retainAt = async (strength: number): Promise<number> =>
    meanProbability(await answers(filesAt(strength), sample.retain));
  const most = mostLeft(before.forget, meanProbability(target.answers));
  const own = { strength: best.strength, forget: await forgetAt(best.strength) };
  const isFixed = objective === 'hinge' || strengths.every((strength) => strength === 1);
  const found = isFixed ? [own] : await weakestStrength(own, most, strengthRange(strengths), forgetAt);
  let by: StrengthReason = isFixed ? 'look' : 'gate';
  let { strength } = settledOf(found, most);
  let retain = await retainAt(strength);
  if (strength > own.strength && retain < leastKept(before.retain)) {
    by = 'retain';
    strength = own.strength;
    retain = await retainAt(strength);
  }
  const left = forgotten.get(strength)!;
  return {
    ...{ strength, by, tried: found, files: filesAt(strength) },
    after: { forget: meanProbability(left), retain },
    distance: distanceOf(left, target),
  };
}
