import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { DecoderTrainable, type DecoderTrainableOptions } from '../../src/train/decoder-trainable.ts';
import type { MicroBatch } from '../../src/train/trainable.ts';
import { modelTarget, readJson } from '../files.ts';
import { tinyTarget } from '../model/tiny.ts';

/** What PyTorch computes for a model (test/oracles/gradients.py). */
export interface GradientCase {
  readonly model: string;
  readonly reference: string | null;
  readonly lengths: readonly number[];
  readonly ids: readonly number[];
  readonly targets: readonly number[];
  readonly weights: readonly number[];
  readonly factors: { readonly balance: number; readonly z: number; readonly divergence: number };
  readonly losses: {
    readonly crossEntropy: number;
    readonly balance: number;
    readonly z: number;
    readonly divergence: number;
  };
  readonly gradients: Readonly<Record<string, Described>>;
}

/** Of a gradient. */
export interface Described {
  readonly size: number;
  readonly norm: number;
  readonly sums: readonly number[];
  readonly samples: readonly number[];
}

export async function gradientCases(): Promise<GradientCase[]> {
  return (await readJson('test/fixtures/gradients.json')) as GradientCase[];
}

/** Sequences of these lengths behind one another. */
export function batchOf({ lengths, ids, targets, weights }: Omit<GradientCase, 'gradients' | 'losses'>): MicroBatch {
  let start = 0;
  const rows = lengths.flatMap((length) => {
    const own = Array.from({ length }, (_, position) => ({ position, start }));
    start += length;
    return own;
  });
  return {
    ids: Int32Array.from(ids),
    positions: Int32Array.from(rows, ({ position }) => position),
    starts: Int32Array.from(rows, (row) => row.start),
    targets: Int32Array.from(targets),
    weights: Float32Array.from(weights),
  };
}

/** A model to train; `change` may put another checkpoint in place of the one that was read. */
export async function tinyTrainable(
  name: string,
  device: TrainDevice,
  options: DecoderTrainableOptions = {},
  change: (checkpoint: Checkpoint) => Checkpoint | Promise<Checkpoint> = (c) => c,
): Promise<DecoderTrainable> {
  const target = await (name === 'nano-base' ? modelTarget('models/nano-base') : tinyTarget(name));
  const checkpoint = await openCheckpoint(target);
  try {
    return await DecoderTrainable.load(device, await change(checkpoint), options);
  } finally {
    await checkpoint.close();
  }
}

/** All gradients by name. */
export async function gradientsOf(trainable: DecoderTrainable): Promise<Map<string, Float32Array>> {
  const all = new Map<string, Float32Array>();
  for (const { name, gradient } of trainable.parameters) {
    if (gradient) all.set(name, (await trainable.device.read(gradient)) as Float32Array);
  }
  return all;
}

/** As the oracle has it. */
const FREQUENCIES = [1, Math.SQRT2, 2.2, 0.37];

/**
 * How far a gradient is from what PyTorch says of it, relative to its norm, or to `least` where that is more: the bias of keys that are not
 * rotated has no gradient, but for rounding.
 */
export function distanceTo(g: Float32Array, { size, norm: own, sums, samples }: Described, least: number): number {
  const norm = Math.max(own, least);
  if (g.length !== size) throw new Error(`${g.length} numbers instead of ${size}`);
  let [squares, worst] = [0, 0];
  for (const x of g) squares += x * x;
  // of n errors of about the same size each sum has that of their norm by the square root of 2, and a sample a share of it
  for (const [i, sum] of sums.entries()) {
    let got = 0;
    for (let j = 0; j < size; j++) got += g[j]! * Math.cos(FREQUENCIES[i]! * (j + 1));
    worst = Math.max(worst, (Math.abs(got - sum) * Math.SQRT2) / norm);
  }
  for (const [k, sample] of samples.entries()) {
    worst = Math.max(worst, Math.abs(g[Math.floor(((2 * k + 1) * size) / 8)]! - sample) / norm);
  }
  return Math.max(worst, Math.abs(Math.sqrt(squares) - own) / norm);
}
