import { SequenceEncoder } from '../../datasets/training/encode.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import type { TrainDevice } from '../../device/train-device.ts';
import { EspalierError } from '../../errors.ts';
import type { LocalModel } from '../../model/model.ts';
import { named } from '../../named-errors.ts';
import { defined } from '../../options/defined.ts';
import { uniform } from '../../random.ts';
import { type ChoiceTarget, distanceOf } from '../choice/choice.ts';
import { domainsOfColumn, embedExamples } from '../domains/embed-examples.ts';
import { type SubDomains, subDomains, subDomainsOf } from '../domains/sub-domains.ts';
import type { PruneSequence } from '../edit/batches.ts';
import { batchCount, structureCount, structureDraws } from '../edit/draws.ts';
import { distributionOf, type EntropyDistribution } from '../entropy/distribution.ts';
import { type EntropySplit, splitEntropies } from '../entropy/split.ts';
import { answerLogProbabilities, meanProbability } from '../measure/answers.ts';
import { sequenceEntropies } from '../measure/sequence-entropies.ts';
import { withModel } from '../measure/with-model.ts';
import type { PreparedPrune } from './prepare.ts';

/** What is known before anything is trained. */
export interface Measured {
  /** By sub-domain. */
  readonly forget: readonly (readonly PruneSequence[])[];
  readonly retain: readonly PruneSequence[];
  readonly domains: SubDomains;
  readonly split: EntropySplit;
  readonly distribution: EntropyDistribution;
  /** What looks measure: sequences of either side, and the sub-domain of each of the first; and of the first those that are measured before and behind all. */
  readonly sample: {
    readonly forget: readonly TrainingSequence[];
    readonly checked: readonly TrainingSequence[];
    readonly domains: readonly number[];
    readonly retain: readonly TrainingSequence[];
  };
  /** Mean probabilities of answers, `checked` and `retain`, without the adapter. */
  readonly before: { readonly forget: number; readonly retain: number };
  /** Of the first from the target, in nats. */
  readonly distance: number;
  readonly target: ChoiceTarget;
}

export interface MeasureOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (done: number, total: number) => void;
}

/** Tells draws of one seed apart. */
const STREAM = { forget: 151, retain: 152 } as const;
/** Most examples of what is forgotten that the model with its adapter is measured by: what is said of all should be of all. */
const CHECKED = 1000;
/** Where nobody says how likely answers are that were never learned. */
const ENOUGH = 0.006;

/**
 * Entropies, sub-domains and answers, by the models as they are.
 * @throws E_DATA_INVALID where the model does not know what it shall forget; what opening models and computing throws
 */
export async function measure(job: PreparedPrune, device: TrainDevice, options: MeasureOptions): Promise<Measured> {
  const { signal } = options;
  const { plan, forget } = job;
  const answers = (model: LocalModel, list: readonly TrainingSequence[]) =>
    answerLogProbabilities(model, list, options);
  const sample = sampleOf(job);
  const own = await withModel(job.target, { device, signal }, async (model) => {
    const before = { forget: await answers(model, sample.checked), retain: await answers(model, sample.retain) };
    const unseen = job.unseen && (await answers(model, job.unseen.sequences.slice(0, plan.measured)));
    return { before, unseen, domains: await domainsOf(job, model, options) };
  });
  const ofReference =
    job.reference &&
    (await named(
      'reference',
      withModel(job.reference.target, { device, signal }, (model) => answers(model, sample.forget)),
    ));
  const ofBase = await withModel(job.base?.target ?? job.target, { device, signal }, async (model) => ({
    answers: job.base && (await answers(model, sample.forget)),
    ...(await entropiesOf(job, own.domains, model, options)),
  }));
  const target = targetOf(ofReference, own.unseen, ofBase.answers, plan.enough);
  const before = {
    forget: meanProbability(own.before.forget),
    retain: meanProbability(own.before.retain),
  };
  checkKnown(before.forget, target);
  // what is given in place of the answers must not be the answers
  if (plan.objective === 'base' && ofBase.answers) {
    checkKnown(before.forget, { source: 'base', answers: ofBase.answers });
  }
  const domainOf = domainsByExample(job, own.domains);
  const { indices, ...sequences } = sample;
  return {
    forget: ofBase.forget,
    retain: ofBase.retain,
    domains: own.domains,
    split: ofBase.split,
    distribution: ofBase.distribution,
    sample: { ...sequences, domains: indices.map((i) => domainOf(forget.examples[i]!)) },
    before,
    distance: distanceOf(own.before.forget, target),
    target,
  };
}

/** Sequences of either side that looks measure, the numbers of the first, and what is forgotten that is measured before and behind all, the looks' among it. */
export function sampleOf({ plan, forget, retain }: Pick<PreparedPrune, 'plan' | 'forget' | 'retain'>) {
  const { measured, seed } = plan;
  const ofForget = (most: number) => drawn(forget.sequences.length, most, seed, STREAM.forget);
  const indices = ofForget(measured);
  const kept = drawn(retain.sequences.length, measured, seed, STREAM.retain);
  return {
    indices,
    forget: indices.map((i) => forget.sequences[i]!),
    checked: ofForget(Math.max(measured, CHECKED)).map((i) => forget.sequences[i]!),
    retain: kept.map((i) => retain.sequences[i]!),
  };
}

/** Some of so many, without any of them twice, in their order. */
function drawn(count: number, most: number, seed: number, stream: number): number[] {
  const all = Array.from({ length: count }, (_, i) => i);
  if (count <= most) return all;
  // the first steps of Fisher and Yates
  for (let i = 0; i < most; i++) {
    const j = i + Math.floor(uniform(seed, i, stream) * (count - i));
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all.slice(0, most).sort((a, b) => a - b);
}

async function domainsOf(job: PreparedPrune, model: LocalModel, options: MeasureOptions): Promise<SubDomains> {
  const { plan, data } = job;
  const { domains, seed } = plan;
  const { forget } = data;
  if (typeof domains === 'object') return domainsOfColumn(forget, domains.column);
  if (domains === 1) return subDomainsOf(Array.from(forget.train, () => 'all'));
  const { maxTokens, long, specialTokens } = plan;
  const encoder = new SequenceEncoder(model, {
    ...defined({ end: job.given.end }),
    ...{ maxTokens, long, specialTokens },
  });
  const { signal, onProgress } = options;
  const vectors = await embedExamples(model, forget, encoder, { ...defined({ signal }), onProgress });
  return subDomains(vectors, { domains, seed, ...defined({ signal }) });
}

/** The sub-domain of an example of what is forgotten, by its number in the data. */
function domainsByExample({ data }: PreparedPrune, { assignments }: SubDomains): (example: number) => number {
  const found = new Map(Array.from(data.forget.train, (example, i) => [example, assignments[i]!]));
  return (example) => found.get(example)!;
}

/** What is learned from, with entropies where these are needed: of what is forgotten, and of what Phase I draws. */
async function entropiesOf(
  job: PreparedPrune,
  domains: SubDomains,
  model: LocalModel,
  options: MeasureOptions,
): Promise<Pick<Measured, 'forget' | 'retain' | 'split' | 'distribution'>> {
  const { plan, forget, retain } = job;
  const { q, cut, percentile, fallback, structureOrder } = plan;
  const entropies = (list: readonly TrainingSequence[], order: number) =>
    sequenceEntropies(model, list, order, options);
  const ofForget = await entropies(forget.sequences, q);
  const counted = forget.sequences.flatMap(({ learned }, i) => [...ofForget[i]!].filter((_, t) => learned[t] === 1));
  const rules = {
    ...{ q, fallback },
    ...(cut !== null && { cut }),
    ...(percentile !== null && { percentile }),
  };
  const split = splitEntropies(counted, model.config.vocabSize, rules);
  const high = (list: Float32Array) => Uint8Array.from(list, (value) => (value > split.cut ? 1 : 0));
  const domainOf = domainsByExample(job, domains);
  const count = forget.sequences.length;
  const order = Array.from({ length: count }, (_, i) => i);
  const place = (i: number) => domainOf(forget.examples[i]!);
  // as two phases count them: those to forget by sub-domain, then those to keep
  order.sort((a, b) => place(a) - place(b) || a - b);
  const lengths = Array.from({ length: domains.count }, (_, domain) => order.filter((i) => place(i) === domain).length);
  const structureSteps = structureCount(plan, batchCount(lengths, plan.batch));
  const drawn = structureDraws({ ...plan, structureSteps }, count + retain.sequences.length);
  const draws = new Set(drawn.flatMap((list) => [...list]));
  const drawnForget = order.filter((_, at) => draws.has(at));
  const drawnRetain = Array.from(retain.sequences.keys()).filter((i) => draws.has(count + i));
  const some = [...drawnForget.map((i) => forget.sequences[i]!), ...drawnRetain.map((i) => retain.sequences[i]!)];
  const kept = plan.invariance > 0 && plan.regulariser === 'entropy' ? await entropies(some, structureOrder) : [];
  const ofRetain = await entropies(some.slice(drawnForget.length), q);
  const at = (list: readonly number[], offset: number) => new Map(list.map((i, k) => [i, offset + k]));
  const [forgetAt, retainAt] = [at(drawnForget, 0), at(drawnRetain, drawnForget.length)];
  // who takes those that were not computed gets no numbers
  const missing = (length: number) => new Float32Array(length).fill(Number.NaN);
  const byDomain: PruneSequence[][] = Array.from({ length: domains.count }, () => []);
  for (const i of order) {
    const own = forget.sequences[i]!;
    const entropies = kept[forgetAt.get(i) ?? -1] ?? missing(own.ids.length);
    byDomain[place(i)]!.push({ ...own, entropies, high: high(ofForget[i]!) });
  }
  return {
    forget: byDomain,
    retain: retain.sequences.map((own, i) => {
      const k = retainAt.get(i);
      const entropies = kept[k ?? -1] ?? missing(own.ids.length);
      return {
        ...own,
        entropies,
        high: k === undefined ? new Uint8Array(own.ids.length) : high(ofRetain[k - drawnForget.length]!),
      };
    }),
    split,
    distribution: distributionOf(counted),
  };
}

/** The best that is known of answers that were never learned. */
function targetOf(
  reference: Float64Array | null,
  unseen: Float64Array | null,
  base: Float64Array | null,
  enough: number | null,
): ChoiceTarget {
  if (reference) return { source: 'reference', answers: reference };
  if (unseen) return { source: 'unseen', answers: unseen };
  if (base) return { source: 'base', answers: base };
  return { source: 'enough', answers: Float64Array.of(Math.log(enough ?? ENOUGH)) };
}

/** @throws E_DATA_INVALID */
function checkKnown(forget: number, target: ChoiceTarget): void {
  const unknown = Math.max(meanProbability(target.answers), ENOUGH);
  if (forget > 2 * unknown) return;
  const words: Readonly<Record<ChoiceTarget['source'], readonly [other: string, never: string]>> = {
    reference: ['the reference gives them', 'that the reference never learned them'],
    unseen: ['answers that it has never seen have', 'that it has never seen the others'],
    base: ['the base gives them', 'that the base never learned them'],
    enough: ['answers that nobody knows have', 'that it has learned them'],
  };
  const [other, never] = words[target.source];
  throw new EspalierError(
    'E_DATA_INVALID',
    `The model gives the answers to be forgotten a probability of ${forget.toPrecision(2)} a token, and ${other} about as much (${unknown.toPrecision(2)}): there is nothing to forget.`,
    `Look whether prompts and answers stand as the model has learned them (\`prompt\`, \`answer\`, \`chat\`), whether this is the model, and ${never}.`,
  );
}
