import { TensorDigests } from '../checkpoint/identity.ts';
import { openCheckpointFiles } from '../checkpoint/open.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import type { DataSource } from '../datasets/source.ts';
import { openTrainingData, type TrainingData } from '../datasets/training/data.ts';
import { SequenceEncoder } from '../datasets/training/encode.ts';
import { checkLengths, noneShortEnough } from '../datasets/training/stream.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { ModelText } from '../model/model-text.ts';
import { Tokenizer } from '../model/text/tokenizer.ts';
import { defined } from '../options/defined.ts';
import { type ModelTarget, openModelFiles } from '../runtime/files/model-files.ts';
import type { ModelFiles } from '../runtime/files/source.ts';
import { Pace } from '../runtime/host/yielding.ts';
import { DataHeldOut, DataSteps } from './data-steps.ts';
import type { PlanTrainOptions } from './options.ts';
import { planOf, type TrainPlan } from './plan/recipe.ts';
import { stepsOf } from './schedule.ts';
import type { HeldOutSource, StepSource } from './sources.ts';
import { checkResult } from './write/result.ts';

/** A training whose files are open, whose data were looked through, and of which nothing is on a device. */
export interface Prepared {
  readonly files: ModelFiles;
  /** Whoever reads its tensors has them hashed. */
  readonly digests: TensorDigests;
  readonly checkpoint: Checkpoint;
  readonly plan: TrainPlan;
  /** Steps in all. */
  readonly steps: number;
  readonly warmup: number;
  readonly evaluateEvery: number;
  readonly facts: DataFacts;
  /** Tokens of the longest sequence that is trained on, or what no sequence is longer than; and of what is held out, where something is. */
  readonly longest: number;
  readonly heldOutTokens: { readonly longest: number; readonly total: number } | null;
  readonly reference: { readonly checkpoint: Checkpoint; readonly digests: TensorDigests } | null;
  readonly source: StepSource;
  readonly heldOut: HeldOutSource | null;
  close(): Promise<void>;
}

/** What the data are. */
export interface DataFacts {
  /** Of all bytes, and of what they mean. */
  readonly digest: string;
  readonly examples: number;
  /** Of an epoch, and the tokens of the longest that go through the model. Null where they were not counted: a number of steps asks for none. */
  readonly sequences: number | null;
  readonly longest: number | null;
  readonly heldOut: number;
}

/**
 * @param onReading bytes of the data that were looked through, and in all; examples that were encoded, and in all
 * @throws E_ARGUMENT, E_DATA_INVALID, and what opening a model throws; no file stays open then
 */
export async function prepare(
  target: ModelTarget,
  options: PlanTrainOptions,
  onReading: (done: number, total: number) => void = () => {},
): Promise<Prepared> {
  if (options.data === undefined) throw new EspalierError('E_ARGUMENT', 'There are no data.', 'Give `data`.');
  const { signal } = options;
  const open: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => void (await Promise.all(open.map((one) => one.close())));
  try {
    const files = await openModelFiles(target, options);
    const checkpoint = await openCheckpointFiles(files, { signal });
    open.push(checkpoint);
    const { config } = checkpoint;
    const plan = planOf(options, { context: config.maxPositions, mixture: config.moe !== null });
    checkResult(checkpoint, plan);
    const reference = options.reference === undefined ? null : await openReference(options.reference, options);
    if (reference) open.push(reference);
    if (plan.divergence > 0 && !reference) {
      throw new EspalierError('E_ARGUMENT', 'divergence is given, and no reference.', 'Give `reference`, too.');
    }
    const spec = await checkpoint.tokenizer();
    const { loss, long, end, specialTokens } = options;
    const text = new ModelText(checkpoint, spec, Tokenizer.create(spec));
    const { maxTokens } = plan;
    const encoder = new SequenceEncoder(text, { ...defined({ loss, long, end, specialTokens }), maxTokens });
    const data = await openData(
      options.data,
      typeof options.heldOut === 'number' ? options.heldOut : 0,
      options,
      onReading,
    );
    open.push(data);
    const own = typeof options.heldOut === 'number' ? undefined : options.heldOut;
    const other = own === undefined ? null : await openData(own, 0, options, onReading);
    if (other) open.push(other);
    const counted = plan.steps === null ? await count(data, data.train, encoder, signal, onReading) : null;
    // what is counted is encoded, and refused there
    const longest =
      counted?.longest ?? (await checkLengths(data, data.train, encoder, defined({ signal, onProgress: onReading })));
    const steps = plan.steps ?? Math.max(1, Math.ceil((plan.epochs! * counted!.sequences) / plan.batch));
    const held = other ?? data;
    const heldOut = other ? other.train : data.heldOut;
    // each look goes through all of it
    const looked = heldOut.length === 0 ? null : await count(held, heldOut, encoder, signal, onReading);
    return {
      files,
      digests: new TensorDigests(checkpoint),
      checkpoint,
      plan,
      steps,
      warmup: stepsOf(plan.warmup, steps),
      evaluateEvery: plan.evaluateEvery ?? Math.max(1, Math.round(steps / 10)),
      facts: {
        digest: other ? `${data.digest} ${other.digest}` : data.digest,
        examples: data.train.length,
        sequences: counted?.sequences ?? null,
        longest: counted?.longest ?? null,
        heldOut: heldOut.length,
      },
      longest,
      heldOutTokens: looked && { longest: looked.longest, total: looked.tokens },
      reference: reference && { checkpoint: reference, digests: new TensorDigests(reference) },
      source: new DataSteps(data, encoder, {
        sequences: plan.batch,
        rows: plan.rows,
        seed: plan.seed,
        shuffle: plan.shuffle,
      }),
      heldOut: heldOut.length === 0 ? null : new DataHeldOut(held, encoder, plan.rows, heldOut),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openReference(target: ModelTarget, options: PlanTrainOptions): Promise<Checkpoint> {
  // revision and file are the model's
  const { revision: _, file: __, ...hub } = options.hub ?? {};
  return openCheckpointFiles(await openModelFiles(target, { ...options, hub }), { signal: options.signal });
}

function openData(
  from: DataSource | readonly DataSource[],
  heldOut: number,
  options: PlanTrainOptions,
  onProgress: (done: number, total: number) => void,
): Promise<TrainingData> {
  const { format, columns, prompt, answer, chat, language, sourceLanguage, pieceLength, seed, signal } = options;
  return openTrainingData(from, {
    ...defined({ format, columns, prompt, answer, chat, language, sourceLanguage, pieceLength, seed, signal }),
    heldOut,
    onProgress,
  });
}

/** Sequences of examples, their tokens, and those of the longest. @throws E_DATA_INVALID where there are none */
async function count(
  data: TrainingData,
  examples: Uint32Array,
  encoder: SequenceEncoder,
  signal: AbortSignal | undefined,
  onProgress: (done: number, total: number) => void,
): Promise<{ readonly sequences: number; readonly tokens: number; readonly longest: number }> {
  const pace = new Pace();
  let sequences = 0;
  let tokens = 0;
  let longest = 0;
  for (const [i, index] of examples.entries()) {
    await pace.breathe();
    throwIfAborted(signal);
    if (i % 256 === 0) onProgress(i, examples.length);
    for (const { ids } of await encoder.encode(await data.read(index))) {
      sequences++;
      tokens += ids.length - 1;
      longest = Math.max(longest, ids.length - 1);
    }
  }
  if (sequences > 0) return { sequences, tokens, longest };
  throw noneShortEnough(examples.length);
}
