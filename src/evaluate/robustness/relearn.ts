import { checkedScale } from '../../checkpoint/adapter/scale.ts';
import { openCheckpoint } from '../../checkpoint/open.ts';
import type { Checkpoint } from '../../checkpoint/types.ts';
import { openTrainingData, type TrainingData } from '../../datasets/training/data.ts';
import { SequenceEncoder } from '../../datasets/training/encode.ts';
import { encodeAll } from '../../datasets/training/encode-all.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import { chosenDevice, nameOf, openTrainDevice } from '../../device/open-device.ts';
import { limitOn } from '../../device/options.ts';
import type { TrainDevice } from '../../device/train-device.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import { type OpenedAdapters, openAdapters } from '../../model/adapters.ts';
import { ModelText } from '../../model/model-text.ts';
import { Tokenizer } from '../../model/text/tokenizer.ts';
import { named } from '../../named-errors.ts';
import { checked, type Filled, filled } from '../../options/check.ts';
import { defined } from '../../options/defined.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { checkedTarget } from '../../runtime/files/target.ts';
import { jobLanes } from '../../runtime/host/lane-count.ts';
import type { LoraSpec } from '../../train/lora-factors.ts';
import { checkMemory, planMemory } from '../../train/plan/memory.ts';
import { trainWork } from '../../train/plan/room.ts';
import type { MicroBatch } from '../../train/trainable.ts';
import { mean } from '../statistics.ts';
import { loadAttacked, routingOf } from './attacked.ts';
import { type RelearnOptions, type RelearnProgress, relearnOptions } from './options.ts';
import { type RelearnLook, type RelearnTargets, relearning } from './relearning.ts';
import { type Division, divide, probabilitiesOf, type RoutedSequence } from './sequences.ts';

/** One side of the examples: mean length-normalised probabilities of their answers. */
export interface RelearnedSide {
  /** Sequences: answers. */
  readonly n: number;
  /** Of the model that knew, of that which is attacked, and of that in the end. */
  readonly original: number;
  readonly before: number;
  readonly after: number;
  /** What counts as back. */
  readonly target: number;
  /** Steps until a look found it back; 0: it had not gone. Null: not within `steps`. */
  readonly steps: number | null;
}

/** What relearning takes. */
export interface Relearned {
  readonly model: string;
  readonly original: string;
  readonly adapters: readonly string[];
  /** Of the data: all bytes, and what they mean. */
  readonly digest: string;
  readonly trained: RelearnedSide;
  /** Those that were not trained on; null where all were. */
  readonly held: RelearnedSide | null;
  /** Steps that were done, and the most there might have been. */
  readonly steps: number;
  readonly most: number;
  /** Parameters that were trained. */
  readonly parameters: number;
  readonly curve: readonly RelearnLook[];
  /** What computed it, as far as it decides bits. */
  readonly device: Readonly<Record<string, string>>;
}

/** Most tokens of a pass, or as many as the longest sequence has. */
const ROWS = 2048;

type Options = Filled<RelearnOptions, typeof relearnOptions>;

/**
 * How soon a model knows again what it was made to forget: a new LoRA adapter is trained on it, on top of its adapters, which stay frozen,
 * until the mean probability of the answers is back at a share of what it was. Experts of an adapter act as its gate has them act before:
 * it reads the model without the adapter, which is not what is trained.
 *
 * @throws E_ARGUMENT for options out of range, and where nothing says what the model knew; E_DATA_INVALID with file and line; E_OUT_OF_MEMORY before
 *   work begins, and later; E_TENSOR_VALUE; E_DIVERGED; what opening the models and adapters throws; E_ABORTED
 */
export async function relearn(source: ModelTarget, given: RelearnOptions): Promise<Relearned> {
  const options = filled(relearnOptions, checked<RelearnOptions>(relearnOptions, given, 'relearn'));
  checkedTarget(source);
  const { signal, hub, cache, onDownload, adapters = [] } = options;
  if (options.data === undefined) throw new EspalierError('E_ARGUMENT', 'There are no data.', 'Give `data`.');
  if (options.original === undefined && adapters.length === 0) {
    throw new EspalierError(
      'E_ARGUMENT',
      'Nothing says how much the model knew before it forgot.',
      'Give `original`, the model that it was made of.',
    );
  }
  checkedScale(loraOf(options));
  throwIfAborted(signal);
  const opened: { close(): Promise<void> }[] = [];
  try {
    const files = { signal, onDownload, hub, cache };
    const checkpoint = await openCheckpoint(source, files);
    opened.push(checkpoint);
    const original =
      options.original === undefined ? checkpoint : await originalOf(options.original, checkpoint, options);
    if (original !== checkpoint) opened.push(original);
    const own = await openAdapters(adapters, checkpoint, files);
    opened.push(own);
    const data = await dataOf(options);
    opened.push(data);
    const spec = await checkpoint.tokenizer();
    const { maxTokens, long, end, specialTokens } = options;
    const encoder = new SequenceEncoder(new ModelText(checkpoint, spec, Tokenizer.create(spec)), {
      ...defined({ maxTokens, long, specialTokens }),
      ...(given.end !== undefined && { end }),
    });
    const telling = new Telling(options.onProgress);
    const { sequences } = await encodeAll(data, encoder, { signal, onProgress: telling.of('reading') });
    const division = divide(sequences, options.share, options.seed);
    const attack = { checkpoint, original, adapters: own, sequences, division, options, telling };
    const rows = Math.max(ROWS, ...sequences.map(({ ids }) => ids.length - 1));
    await checkRoom(attack, rows);
    return { ...(await attacked(attack, rows)), digest: data.digest };
  } finally {
    await Promise.all(opened.map((one) => one.close()));
  }
}

interface Attack {
  readonly checkpoint: Checkpoint;
  /** The same where it is the model without adapters. */
  readonly original: Checkpoint;
  readonly adapters: OpenedAdapters;
  readonly sequences: readonly TrainingSequence[];
  readonly division: Division;
  readonly options: Options;
  readonly telling: Telling;
}

async function attacked(attack: Attack, rows: number): Promise<Omit<Relearned, 'digest'>> {
  const { checkpoint, original, adapters, sequences, division, options, telling } = attack;
  const { signal, memoryLimit, wasmLocation, fraction } = options;
  const run = { signal, onLoading: telling.of('loading'), onProgress: telling.of('routing') };
  const device = await openTrainDevice({
    device: await chosenDevice(options.device, trainWork(attack)),
    lanes: await jobLanes(options.lanes),
    ...defined({ memoryLimit }),
    ...(wasmLocation !== undefined && { wasmLocation: new URL(wasmLocation) }),
  });
  try {
    const known = await knownBy(device, original, sequences, rows, attack);
    const sides = { trained: side(known, division.trained), held: side(known, division.held) };
    const targets: RelearnTargets = {
      trained: fraction * sides.trained!,
      held: sides.held === null ? null : fraction * sides.held,
    };
    const routing = await routingOf(device, checkpoint, adapters, sequences, run);
    const routed = sequences.map((sequence, i): RoutedSequence => ({ ...sequence, routing: routing?.[i] ?? null }));
    const lora = loraOf(options);
    const loading = { signal, onProgress: telling.of('loading') };
    const trainable = await loadAttacked(device, checkpoint, adapters, lora, loading);
    try {
      const curve = await relearning(
        trainable,
        routed,
        division,
        targets,
        { ...options, rows },
        {
          signal,
          onStep: (done) => telling.tell('relearning', done, options.steps),
          onLooking: telling.of('measuring'),
          onLook: ({ trained, held }) => telling.look(held ?? trained),
        },
      );
      const found = (of: 'trained' | 'held'): RelearnedSide => ({
        n: division[of].length,
        original: sides[of]!,
        before: curve[0]![of]!,
        after: curve.at(-1)![of]!,
        target: targets[of]!,
        steps: curve.find((look) => look[of]! >= targets[of]!)?.step ?? null,
      });
      return {
        model: checkpoint.name,
        original: original.name,
        adapters: adapterNames(adapters),
        trained: found('trained'),
        held: division.held.length === 0 ? null : found('held'),
        steps: curve.at(-1)!.step,
        most: options.steps,
        parameters: trainable.parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
        curve,
        device: arithmeticNames(device.description),
      };
    } finally {
      trainable.dispose();
    }
  } finally {
    device.close();
  }
}

/** Probabilities of all answers of the model that knew them. */
async function knownBy(
  device: TrainDevice,
  original: Checkpoint,
  sequences: readonly TrainingSequence[],
  rows: number,
  { options: { signal }, telling }: Attack,
): Promise<Float64Array> {
  const none = { weighed: [], routed: null };
  const model = await loadAttacked(device, original, none, null, { signal, onProgress: telling.of('loading') });
  try {
    const plain = sequences.map((sequence): RoutedSequence => ({ ...sequence, routing: null }));
    return await probabilitiesOf(model, plain, { rows, signal, onProgress: telling.of('measuring') });
  } finally {
    model.dispose();
  }
}

function side(known: Float64Array, list: readonly number[]): number | null {
  return list.length === 0 ? null : mean(list.map((i) => known[i]!));
}

function loraOf({ rank, alpha = 2 * rank, seed }: Options): LoraSpec {
  return { rank, alpha, rslora: false, targets: null, seed };
}

function adapterNames({ weighed, routed }: OpenedAdapters): string[] {
  const names = weighed.map(({ adapter }) => adapter.name);
  if (routed) names.splice(routed.place, 0, routed.adapter.name);
  return names;
}

/** @throws E_OUT_OF_MEMORY */
async function checkRoom({ checkpoint, adapters, sequences, options }: Attack, rows: number): Promise<void> {
  const lengths = sequences.map(({ ids }) => ids.length - 1);
  const longest = lengths.reduce((a, b) => Math.max(a, b));
  const { routed } = adapters;
  const experts = routed?.adapter.config.experts.length ?? 0;
  const ask = (batch: MicroBatch): MicroBatch =>
    routed ? { ...batch, routing: new Float32Array(batch.ids.length * experts) } : batch;
  const total = lengths.reduce((a, b) => a + b);
  const { plan } = await planMemory((device) => loadAttacked(device, checkpoint, adapters, loraOf(options), {}), {
    config: checkpoint.config,
    rows: Math.min(rows, options.batch * longest),
    maxTokens: longest,
    // a look goes through all of them
    evaluated: { rows: Math.min(rows, total), maxTokens: longest },
    steps: options.steps,
    freeze: [],
    recompute: true,
    divergence: false,
    ask,
    lanes: await jobLanes(options.lanes),
    limit: limitOn(nameOf(await chosenDevice(options.device, trainWork({ checkpoint }))), options.memoryLimit),
  });
  checkMemory(plan, 'Use a lower `rank`, fewer tokens (`maxTokens`), or a smaller or more strongly quantised model.');
}

/** @throws E_ARGUMENT for another vocabulary */
async function originalOf(target: ModelTarget, { name, config }: Checkpoint, options: Options): Promise<Checkpoint> {
  // revision and file are the model's
  const { revision: _, file: __, ...hub } = options.hub ?? {};
  const { signal, onDownload, cache } = options;
  const original = await named('original', openCheckpoint(target, { signal, onDownload, cache, hub }));
  if (original.config.vocabSize === config.vocabSize) return original;
  await original.close();
  throw new EspalierError(
    'E_ARGUMENT',
    `The original has a vocabulary of ${original.config.vocabSize}, and ${name} one of ${config.vocabSize}.`,
    'Give the model that it was made of.',
  );
}

function dataOf(options: Options): Promise<TrainingData> {
  const { format, columns, prompt, answer, chat, language, sourceLanguage, pieceLength, signal } = options;
  return openTrainingData(options.data!, {
    ...defined({ format, columns, prompt, answer, chat, language, sourceLanguage, pieceLength, signal }),
  });
}

/** Tells what goes on, with what the last look has found. */
class Telling {
  readonly #report: ((progress: RelearnProgress) => void) | undefined;
  #probability: number | null = null;

  constructor(report: ((progress: RelearnProgress) => void) | undefined) {
    this.#report = report;
  }

  tell(stage: RelearnProgress['stage'], done: number, total: number): void {
    this.#report?.({ stage, done, total, probability: this.#probability });
  }

  of(stage: RelearnProgress['stage']): (done: number, total: number) => void {
    return (done, total) => this.tell(stage, done, total);
  }

  look(probability: number): void {
    this.#probability = probability;
  }
}

/** What of a device decides bits: how many lanes share the work, and what memory, does not. */
function arithmeticNames(description: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const { lanes: _lanes, memory: _memory, ...names } = description;
  return names;
}
