import { GATE_INPUTS, GATE_KINDS, type GateInput, type GateKind } from '../../checkpoint/adapter/gate-kinds.ts';
import { ROUTING_RULE, type RoutingRule } from '../../checkpoint/adapter/routing.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import type { Tensor } from '../../device/device.ts';
import { exclusive } from '../../device/exclusive.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { Decoder } from '../../model/decoder.ts';
import { passingOf, readTogether } from '../../model/read/together.ts';
import { alignedEntropy, predictionEntropies, unknownEntropy } from '../../model/routed/entropies.ts';
import { NULL_SLOT } from '../../model/routed/gate.ts';
import { checked, filled } from '../../options/check.ts';
import { callback, defaulting, oneOf, real, type Schema, signal } from '../../options/rules.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import type { GateExamples } from './train-gate.ts';

/** A sequence, and the slot of the gate that is right where it is learned: `NULL_SLOT` for what is to be kept. */
export interface LabelledSequence {
  readonly sequence: TrainingSequence;
  readonly slot: number;
}

export interface FeatureOptions {
  /** Of the gate that shall learn: what it reads is kept. Default `global`. */
  readonly kind?: GateKind;
  /** Of the entropy, where the gate reads it; as in the rule that the adapter will have. Default 1.5. */
  readonly order?: number;
  /** The same. Default `predictive`. */
  readonly alignment?: RoutingRule['alignment'];
  readonly signal?: AbortSignal | undefined;
  /** Sequences done and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export const featureOptions = {
  kind: defaulting(oneOf(...GATE_KINDS), 'global'),
  order: defaulting(real(0, 100, { above: true }), ROUTING_RULE.order),
  alignment: defaulting(oneOf('predictive', 'lagged'), ROUTING_RULE.alignment),
  signal,
  onProgress: callback,
} as const satisfies Schema<FeatureOptions>;

/**
 * What a gate learns from, of each token that goes through the model: what its kind reads, of the normalised last hidden state, the mean of those so far
 * and the entropy, and the slot that is right. An expert is right where the next token is learned, and nowhere in a question: keys and values of questions
 * that are kept would be spoilt by it. Of `global` two rows of f32 a token are kept, of `hidden` and `both` one, so give some of a large set.
 *
 * @param decoder the model without the adapter
 * @throws E_DATA_INVALID for no sequences; E_TENSOR_VALUE where the model gives numbers that are not finite; E_TENSOR_MISSING for entropies of a
 *   model without an output matrix; E_ARGUMENT for options; E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED
 */
export async function gateExamples(
  decoder: Decoder,
  list: readonly LabelledSequence[],
  options: FeatureOptions = {},
): Promise<GateExamples> {
  const given = filled(featureOptions, checked<FeatureOptions>(featureOptions, options, 'gateExamples'));
  const { kind, order, signal: abort, onProgress } = given;
  const { hiddenSize: width, vocabSize } = decoder.config;
  const rows = list.reduce((sum, { sequence }) => sum + sequence.ids.length - 1, 0);
  if (rows === 0)
    throw new EspalierError('E_DATA_INVALID', 'There is no text for the gate.', 'Give texts of both sides.');
  const widths: Readonly<Record<GateInput, number>> = { mean: width, now: width, entropy: 1 };
  const kept = (input: GateInput): Float32Array | null =>
    GATE_INPUTS[kind].includes(input) ? new Float32Array(rows * widths[input]) : null;
  const [mean, now, entropy] = [kept('mean'), kept('now'), kept('entropy')];
  if (entropy) decoder.checkHead();
  const slots = new Int32Array(rows);
  const means = mean && new RunningMeans(width);
  const pace = new Pace();
  const cache = decoder.cache();
  let at = 0;
  try {
    for (const { first, end } of passingOf(
      decoder,
      list.map(({ sequence }) => sequence.ids.length - 1),
    )) {
      throwIfAborted(abort);
      const some = list.slice(first, end);
      const texts = some.map(({ sequence }) => sequence.ids.subarray(0, -1));
      const predicted = new Float32Array(entropy ? texts.reduce((sum, ids) => sum + ids.length, 0) : 0);
      const take = async (hidden: Tensor, row: number): Promise<void> => {
        const states = (await decoder.device.read(hidden)) as Float32Array;
        checkStates(states, at + row, width);
        now?.set(states, (at + row) * width);
        if (mean) means!.add(texts, row, states, mean.subarray((at + row) * width, (at + row) * width + states.length));
        if (entropy) predicted.set(await predictionEntropies(decoder, hidden, order), row);
      };
      if (texts.length > 1) await readTogether(decoder, texts, (hidden) => take(hidden, 0), { signal: abort });
      else {
        await exclusive(decoder.device, async () => {
          cache.truncate(0);
          await decoder.forward(texts[0]!, cache, { signal: abort, onChunk: take });
        });
      }
      let own = 0;
      for (const { sequence, slot } of some) {
        const count = sequence.ids.length - 1;
        const entropies = predicted.subarray(own, own + count);
        for (let t = 0; t < count; t++) {
          slots[at + t] = sequence.learned[t + 1] === 1 ? slot : NULL_SLOT;
          if (entropy) entropy[at + t] = alignedEntropy(given, entropies, t) ?? unknownEntropy(given, vocabSize);
        }
        own += count;
        at += count;
      }
      onProgress?.(end, list.length);
      await pace.breathe();
    }
  } finally {
    cache.dispose();
  }
  return { ...(mean && { mean }), ...(now && { now }), ...(entropy && { entropy }), slots };
}

/** @throws E_TENSOR_VALUE */
function checkStates(states: Float32Array, row: number, width: number): void {
  const broken = states.findIndex((x) => !Number.isFinite(x));
  if (broken < 0) return;
  throw new EspalierError(
    'E_TENSOR_VALUE',
    `The model gives hidden states that are not finite, first in row ${row + Math.floor(broken / width)} of the texts.`,
    'It is damaged, or computes beyond its range: look at it with score.',
  );
}

/** Means of the rows of a text so far, summed in f64. */
class RunningMeans {
  readonly #sums: Float64Array;
  #count = 0;

  constructor(width: number) {
    this.#sums = new Float64Array(width);
  }

  /** Of rows from `row` on of texts behind one another, in their order, into `out`. */
  add(texts: readonly Int32Array[], row: number, rows: Float32Array, out: Float32Array): void {
    const width = this.#sums.length;
    const starts = new Set<number>();
    let start = 0;
    for (const { length } of texts) {
      starts.add(start);
      start += length;
    }
    for (let t = 0; t * width < rows.length; t++) {
      if (starts.has(row + t)) this.#restart();
      this.#count++;
      for (let i = 0; i < width; i++) {
        this.#sums[i]! += rows[t * width + i]!;
        out[t * width + i] = this.#sums[i]! / this.#count;
      }
    }
  }

  #restart(): void {
    this.#sums.fill(0);
    this.#count = 0;
  }
}
