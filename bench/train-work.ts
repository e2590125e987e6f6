/** One model in training, as a contender: the library's own parts, on lanes of this process. */
import { openCheckpoint } from '../src/checkpoint/open.ts';
import { type ChosenDevice, openTrainDevice } from '../src/device/open-device.ts';
import type { ModelTarget } from '../src/runtime/files/model-files.ts';
import { DecoderTrainable } from '../src/train/decoder-trainable.ts';
import { LoraFactors } from '../src/train/lora-factors.ts';
import { AdamW } from '../src/train/optimiser.ts';
import type { MicroBatch } from '../src/train/trainable.ts';

export interface TrainingOptions {
  /** Default: the CPU. */
  readonly device?: ChosenDevice;
  readonly lanes: number;
  /** Rank of LoRA on all linear layers but the output's; 0: all parameters are trained. */
  readonly lora: number;
  readonly rate: number;
  readonly recompute: boolean;
}

export interface Training {
  readonly parameters: number;
  readonly trained: number;
  /** One step of AdamW on sequences of one length, all tokens but the first as targets; the loss. */
  step(ids: readonly (readonly number[])[]): Promise<number>;
  /** Bytes on the device, at most so far. */
  peak(): number;
  dispose(): void;
}

/** Token ids that anyone can draw again (Lehmer's generator), from 2 on. */
export function sequences(count: number, length: number, below: number): number[][] {
  let state = 1;
  const next = (): number => {
    state = (state * 48_271) % 2_147_483_647;
    return 2 + (state % (below - 2));
  };
  return Array.from({ length: count }, () => Array.from({ length }, next));
}

/** Sequences behind one another, as the trainer packs them. */
export function packed(sequences: readonly (readonly number[])[]): MicroBatch {
  const flat = <T>(of: (sequence: readonly number[], start: number) => readonly T[]): T[] => {
    let start = 0;
    return sequences.flatMap((sequence) => {
      const list = of(sequence, start);
      start += sequence.length;
      return list;
    });
  };
  const targets = Int32Array.from(flat((s) => s.map((_, i) => s[i + 1] ?? -1)));
  const count = targets.reduce((n, target) => n + (target >= 0 ? 1 : 0), 0);
  return {
    ids: Int32Array.from(flat((s) => s)),
    positions: Int32Array.from(flat((s) => s.map((_, i) => i))),
    starts: Int32Array.from(flat((s, start) => s.map(() => start))),
    targets,
    weights: Float32Array.from(targets, (target) => (target >= 0 ? 1 / count : 0)),
  };
}

const loraSpec = (rank: number) => ({ rank, alpha: 2 * rank, rslora: false, targets: null, seed: 0 });

export async function openTraining(path: ModelTarget, options: TrainingOptions): Promise<Training> {
  const device = await openTrainDevice({ device: options.device ?? 'wasm', lanes: options.lanes });
  const checkpoint = await openCheckpoint(path);
  const adapter = options.lora > 0 ? new LoraFactors(device, checkpoint.config, loraSpec(options.lora)) : undefined;
  const trainable = await DecoderTrainable.load(device, checkpoint, adapter ? { trainable: () => false, adapter } : {});
  await checkpoint.close();
  trainable.train(() => true);
  const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 };
  const optimiser = new AdamW(trainable, settings);
  const count = (shapes: readonly { readonly shape: readonly number[] }[]): number =>
    shapes.reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0);
  const all = [...checkpoint.tensors.values()];
  return {
    parameters: count(all),
    trained: count(trainable.parameters),
    step: async (ids) => {
      trainable.zeroGradients();
      const { crossEntropy } = await trainable.step(packed(ids), { recompute: options.recompute });
      optimiser.step(options.rate, await optimiser.norm());
      return crossEntropy;
    },
    peak: () => device.stats().peakBytes,
    dispose: () => {
      optimiser.dispose();
      trainable.dispose();
      device.close();
    },
  };
}
