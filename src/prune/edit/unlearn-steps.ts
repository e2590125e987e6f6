import type { TrainingSequence } from '../../datasets/training/types.ts';
import { packStep } from '../../train/packing.ts';
import type { MicroBatch, PassLosses, Trainable } from '../../train/trainable.ts';
import { diverged } from '../../train/trainer.ts';
import { idkDpo, npo, satImp, simNpo, type Weighted, weightedAscent } from '../objective/rivals.ts';
import { type SequenceSums, sequenceSums, sequenceWeights } from '../objective/sequences.ts';
import type { MethodSettings } from './unlearn-options.ts';

/** What a step asks for one side, and how its loss comes out. */
export interface AskedSide {
  readonly batches: readonly MicroBatch[];
  /** The side's term of the loss: known before, or the sum of these losses of its batches. */
  readonly loss: number | keyof PassLosses;
  /** Of the answers to be forgotten, in their order, where they were looked at first. */
  readonly answers: SequenceSums | null;
}

/** An answer to be forgotten, and "I don't know" in its place. */
export interface ForgetExample {
  readonly sequence: TrainingSequence;
  /** Null where the method has none. */
  readonly idk: TrainingSequence | null;
}

/** What a step is made with. */
export interface StepTools {
  readonly trainable: Trainable;
  /** Most rows of a batch. */
  readonly rows: number;
  /** By sequence, the sum of its cross-entropies by the model as it was; of methods that compare with it. */
  readonly reference: ReadonlyMap<TrainingSequence, number>;
  /** [hidden], of RMU: where what is to be forgotten is steered to. */
  readonly direction: Float32Array;
  /** Whether somebody wants to know the probabilities of answers. */
  readonly isTold: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Sequences as a model finds them. */
export interface Measured extends SequenceSums {
  readonly batches: readonly MicroBatch[];
  /** Of each batch, which sequences stand in it. */
  readonly members: readonly (readonly number[])[];
  /** [rows] of each batch: cross-entropies of targets, in nats. */
  readonly nll: readonly Float32Array[];
}

/** Forward alone. @throws E_DIVERGED where a sum is not finite; as `packStep` and `Trainable.evaluate` */
export async function measureSequences(
  sequences: readonly TrainingSequence[],
  { trainable, rows, signal }: Pick<StepTools, 'trainable' | 'rows' | 'signal'>,
): Promise<Measured> {
  const { batches, members } = packStep(sequences, rows);
  const nll: Float32Array[] = [];
  const [sums, tokens] = [new Float64Array(sequences.length), new Int32Array(sequences.length)];
  for (const [i, batch] of batches.entries()) {
    await trainable.evaluate(batch, { signal, onRows: (found) => nll.push(found) });
    const own = sequenceSums(batch, nll[i]!);
    for (const [j, member] of members[i]!.entries()) {
      sums[member] = own.sums[j]!;
      tokens[member] = own.tokens[j]!;
    }
  }
  const broken = sums.find((sum) => !Number.isFinite(sum));
  if (broken !== undefined) throw diverged(`Unlearning diverged: the loss of an answer is ${broken}.`, null);
  return { batches, members, nll, sums, tokens };
}

/** factor · the method's loss of what is to be forgotten. @throws as `measureSequences` */
export async function forgetSide(
  settings: MethodSettings,
  examples: readonly ForgetExample[],
  tools: StepTools,
): Promise<AskedSide> {
  const sequences = examples.map(({ sequence }) => sequence);
  const { forget } = settings;
  const referred = (list: readonly TrainingSequence[]) => list.map((own) => tools.reference.get(own)!);
  switch (settings.method) {
    case 'grad-ascent':
    case 'grad-diff':
      return meanLossOf(sequences, tools.rows, -forget);
    case 'npo': {
      const found = await measureSequences(sequences, tools);
      return bySequence(found, npo({ sums: found.sums, reference: referred(sequences) }, settings.beta), forget);
    }
    case 'simnpo': {
      const found = await measureSequences(sequences, tools);
      return bySequence(found, simNpo(found.sums, found.tokens, settings), forget);
    }
    case 'idk-dpo': {
      const idk = examples.map((example) => example.idk!);
      const found = await measureSequences([...sequences, ...idk], tools);
      const pair = [found.sums.subarray(0, idk.length), found.sums.subarray(idk.length)] as const;
      const { loss, ...weights } = idkDpo(
        { sums: pair[0], reference: referred(sequences) },
        { sums: pair[1], reference: referred(idk) },
        settings.beta,
      );
      const both = { loss, weights: Float64Array.of(...weights.forget, ...weights.idk) };
      return {
        ...bySequence(found, both, forget),
        answers: { sums: pair[0], tokens: found.tokens.subarray(0, idk.length) },
      };
    }
    case 'wga':
      return byToken(await measureSequences(sequences, tools), (nll) => weightedAscent(nll, settings.beta), forget);
    case 'satimp':
      return byToken(await measureSequences(sequences, tools), (nll) => satImp(nll, settings), forget);
    case 'undial':
      return asked(sequences, tools.rows, forget, 'distillation', (weights) => ({
        distillation: { penalty: settings.penalty, weights },
      }));
    case 'rmu': {
      const side = asked(sequences, tools.rows, forget, 'steering', (weights) => ({
        steering: { layer: settings.layer, target: tools.direction, weights },
      }));
      return { ...side, answers: tools.isTold ? await measureSequences(sequences, tools) : null };
    }
    case 'hinge':
      return asked(sequences, tools.rows, forget, 'hinge', (hinge) => ({ hinge }));
    default:
      return settings satisfies never;
  }
}

/** factor · the mean cross-entropy of what is kept; of RMU factor · the mean squared change of its hidden states. @throws as `packStep` */
export function retainSide(settings: MethodSettings, sequences: readonly TrainingSequence[], rows: number): AskedSide {
  const { method, retain } = settings;
  if (method === 'rmu') {
    return asked(sequences, rows, retain, 'steering', (weights) => ({
      steering: { layer: settings.layer, target: null, weights },
    }));
  }
  return meanLossOf(sequences, rows, retain);
}

/** factor · the mean cross-entropy of all targets. */
function meanLossOf(sequences: readonly TrainingSequence[], rows: number, factor: number): AskedSide {
  const batches = packStep(sequences, rows).batches.map((batch) => ({
    ...batch,
    weights: batch.weights.map((weight) => factor * weight),
  }));
  return { batches, loss: 'crossEntropy', answers: null };
}

/** factor · the mean over all targets of what a pass is asked in place of the cross-entropy. */
function asked(
  sequences: readonly TrainingSequence[],
  rows: number,
  factor: number,
  loss: keyof PassLosses,
  ask: (weights: Float32Array) => Partial<MicroBatch>,
): AskedSide {
  const batches = packStep(sequences, rows).batches.map((batch) => ({
    ...batch,
    weights: new Float32Array(batch.weights.length),
    ...ask(batch.weights.map((weight) => factor * weight)),
  }));
  return { batches, loss, answers: null };
}

function weighed(
  batches: readonly MicroBatch[],
  members: readonly (readonly number[])[],
  weights: Float64Array,
  factor: number,
): MicroBatch[] {
  return batches.map((batch, i) => ({
    ...batch,
    weights: sequenceWeights(
      batch,
      members[i]!.map((member) => factor * weights[member]!),
    ),
  }));
}

function bySequence(found: Measured, { loss, weights }: Weighted, factor: number): AskedSide {
  const { batches, members } = found;
  return { batches: weighed(batches, members, weights, factor), loss: factor * loss, answers: found };
}

/** A loss of the cross-entropies of all targets of the batches together. */
function byToken(found: Measured, lossOf: (nll: number[]) => Weighted, factor: number): AskedSide {
  const { batches, nll } = found;
  const rows = batches.map(({ targets }) => [...targets.keys()].filter((row) => targets[row]! >= 0));
  const { loss, weights } = lossOf(rows.flatMap((own, i) => own.map((row) => nll[i]![row]!)));
  let at = 0;
  const weighted = batches.map((batch, i) => {
    const own = new Float32Array(batch.targets.length);
    for (const row of rows[i]!) own[row] = factor * weights[at++]!;
    return { ...batch, weights: own };
  });
  return { batches: weighted, loss: factor * loss, answers: found };
}
