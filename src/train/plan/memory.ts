import type { ModelConfig } from '../../checkpoint/types.ts';
import { measuringDevice } from '../../device/measuring-device.ts';
import type { TrainDevice } from '../../device/train-device.ts';
import { EspalierError } from '../../errors.ts';
import { FreezePlan, type FreezeStage } from '../freeze.ts';
import { AdamW } from '../optimiser.ts';
import { RouterStatistics } from '../router-statistics.ts';
import type { MicroBatch, Trainable } from '../trainable.ts';

/** The least that a wasm device takes for scratch. */
const CHUNK = 2 ** 20;

/** Bytes that a training will hold on its device. */
export interface MemoryPlan {
  /** What products read: panels of what is trained in f32, the rest as it is stored. */
  readonly weights: number;
  /** f32 rows of what is trained. */
  readonly masters: number;
  /** Of the stage that trains the most. */
  readonly gradients: number;
  /** Both moments of the optimiser. */
  readonly moments: number;
  /** What layers, losses and the ways back compute with, for the largest batch. */
  readonly activations: number;
  /** The most of all together. */
  readonly total: number;
  /** Null: nobody is told how much a GPU has. */
  readonly limit: number | null;
}

export interface MemoryOptions {
  readonly config: ModelConfig;
  /** Rows of the largest batch of a step, and tokens of the longest sequence. */
  readonly rows: number;
  readonly maxTokens: number;
  /** The same of what is looked at without learning from it, such as what is held out. Default: nothing is. */
  readonly evaluated?: { readonly rows: number; readonly maxTokens: number } | null;
  readonly steps: number;
  readonly freeze: readonly FreezeStage[];
  readonly recompute: boolean;
  /** Whether the divergence from a reference is computed. */
  readonly divergence: boolean;
  /** Asks more of a batch: other losses, routing. Default: cross-entropy alone. */
  readonly ask?: (batch: MicroBatch) => MicroBatch;
  readonly lanes: number;
  readonly limit: number | null;
}

/**
 * Goes through a step of each stage on a device that only counts, and through a look at what is held out.
 * @param load makes what is to be trained on such a device
 * @returns it, too: its weights are nowhere
 */
export async function planMemory<T extends Trainable>(
  load: (device: TrainDevice) => Promise<T>,
  {
    config,
    rows,
    maxTokens,
    evaluated = null,
    steps,
    freeze,
    recompute,
    divergence,
    ask = (batch) => batch,
    lanes,
    limit,
  }: MemoryOptions,
): Promise<{ readonly plan: MemoryPlan; readonly trainable: T }> {
  const { device, measured } = measuringDevice();
  const trainable = await load(device);
  const masters = bytesOf(trainable, () => true);
  const weights = measured().bytes - masters;
  const stages = new FreezePlan(freeze, steps);
  const settings = { beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0, clip: null };
  const optimiser = new AdamW(trainable, settings);
  let gradients = 0;
  for (const step of stages.beginnings(steps)) {
    trainable.train(({ name }) => stages.trains(name, step));
    gradients = Math.max(
      gradients,
      bytesOf(trainable, (name) => stages.trains(name, step)),
    );
    await trainable.step(ask(largestBatch(rows, maxTokens)), {
      recompute,
      balance: 1,
      z: 1,
      divergence: divergence ? 1 : 0,
    });
    optimiser.step(0, await optimiser.norm());
    if (evaluated === null) continue;
    // beside gradients and moments, but with nothing kept for a way back
    await trainable.evaluate(ask(largestBatch(evaluated.rows, evaluated.maxTokens)), {
      divergence: divergence ? 1 : 0,
      ...(config.moe && { onMixture: new RouterStatistics(device, config).watch }),
    });
  }
  const { peakBytes, scratchBytes } = measured();
  const moments = 2 * bytesOf(trainable, (name) => optimiser.moments.has(name));
  const inner = bytesInside({ config, rows, maxTokens, evaluated, lanes });
  const more = Math.max(inner, CHUNK - scratchBytes);
  const activations = scratchBytes + more;
  const plan = { weights, masters, gradients, moments, activations, total: peakBytes + more, limit };
  return { plan, trainable };
}

/** What operations take for themselves, one at a time, and what scratch grows by. */
export function bytesInside({
  config: { intermediateSize, nHeads, nKvHeads, headDim, hiddenSize },
  rows,
  maxTokens,
  evaluated,
  lanes,
}: Pick<MemoryOptions, 'config' | 'rows' | 'maxTokens' | 'evaluated' | 'lanes'>): number {
  const width = Math.max(intermediateSize, nHeads * headDim, hiddenSize);
  // all inputs, and of each lane a block of 240 rows
  const forward = 4 * (Math.max(rows, evaluated?.rows ?? 0) * width + lanes * 256 * 256);
  // of each lane slivers of 60 rows; panels 512 deep of all columns, for each of the lanes that share the rows of a square
  const down = Math.min(lanes, 2 * Math.ceil(Math.sqrt((lanes * rows) / width)));
  const backward = 4 * 512 * (72 * lanes + down * Math.min(width, 2048));
  // as many parts as there are at most
  const parts = lanes === 1 ? 1 : Math.min(2 * lanes, nKvHeads * Math.ceil(rows / maxTokens));
  const attention = parts * attentionBackwardBytes(maxTokens, headDim);
  return Math.max(forward, backward, attention) + 2 ** 18;
}

/** No less than `attentionBackwardScratch` of the kernels, which are not there while a training is planned. */
export function attentionBackwardBytes(mostKeys: number, headDim: number): number {
  const [keys, head] = [mostKeys + 8, headDim + 16];
  return 4 * (3 * keys * head + 2 * (keys + 64) * head + 66 * (7 * head + 194));
}

/** @param hint what to do. @throws E_OUT_OF_MEMORY for a plan beyond its limit */
export function checkMemory({ total, limit }: MemoryPlan, hint: string): void {
  if (limit === null || total <= limit) return;
  const unit = limit < 2 ** 30 ? 'MiB' : 'GiB';
  const said = (bytes: number) => `${(bytes / (unit === 'MiB' ? 2 ** 20 : 2 ** 30)).toFixed(2)} ${unit}`;
  throw new EspalierError(
    'E_OUT_OF_MEMORY',
    `Training would take ${said(total)} of memory on the device, and there are ${said(limit)}.`,
    hint,
  );
}

function bytesOf({ parameters }: Trainable, of: (name: string) => boolean): number {
  return parameters
    .filter(({ name }) => of(name))
    .reduce((sum, { shape }) => sum + 4 * shape.reduce((product, n) => product * n, 1), 0);
}

/** Every row with a loss: no batch takes more. */
function largestBatch(rows: number, maxTokens: number): MicroBatch {
  const position = (i: number) => i % maxTokens;
  return {
    ids: new Int32Array(rows),
    positions: Int32Array.from({ length: rows }, (_, i) => position(i)),
    starts: Int32Array.from({ length: rows }, (_, i) => i - position(i)),
    targets: new Int32Array(rows),
    weights: new Float32Array(rows).fill(1 / rows),
  };
}
