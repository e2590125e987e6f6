import { type Device, STAT, STAT_NUMBERS, type Tensor } from '../device/device.ts';
import { EspalierError } from '../errors.ts';
import { statsBuffers } from '../model/logit-stats.ts';
import type { LossReference, LossRows, LossRun } from '../model/loss-head.ts';
import type { MicroBatch, PassLosses, PassOptions } from './trainable.ts';

/** What the divergence is measured from: another model of the same vocabulary, on the same device. */
export interface ReferencePass {
  readonly vocabSize: number;
  /** Runs the batch forward. What it gives stands in scratch until the caller resets it. @throws E_ABORTED */
  forward(
    batch: MicroBatch,
    runs: readonly LossRun[],
    signal: AbortSignal | undefined,
  ): Promise<LossReference['logits']>;
}

/** What the head is asked of a batch, on the device; scratch. Null where no row has a loss. @throws E_ARGUMENT, E_ABORTED */
export async function lossRows(
  device: Device,
  batch: MicroBatch,
  runs: readonly LossRun[],
  { divergence = 0, signal }: PassOptions,
  reference: ReferencePass | undefined,
): Promise<LossRows | null> {
  const rows = rowsOf(runs);
  if (rows.length === 0) return null;
  const upload = (type: 'f32' | 'i32', data: Float32Array | Int32Array) => {
    const tensor = device.scratch(type, [rows.length, 1]);
    device.write(tensor, data);
    return tensor;
  };
  const weights = (factor: number) =>
    upload(
      'f32',
      Float32Array.from(rows, (row) => factor * batch.weights[row]!),
    );
  let measured: LossReference | null = null;
  if (divergence !== 0) {
    if (!reference) {
      throw new EspalierError(
        'E_ARGUMENT',
        'A divergence is asked for, and there is no reference to measure it from.',
        'Give a reference model, or leave the divergence at 0.',
      );
    }
    const losses = device.scratch('f32', [rows.length, 1]);
    const logits = await reference.forward(batch, runs, signal);
    measured = { logits, weights: weights(divergence), losses };
  }
  const targets = Int32Array.from(rows, (row) => batch.targets[row]!);
  return {
    runs,
    targets: upload('i32', targets),
    weights: weights(1),
    numbers: statsBuffers(device, rows.length),
    reference: measured,
  };
}

/** The losses of a batch, in one readback. @param routers [layers with experts, 2] as `routerLosses` gives them */
export async function readLosses(
  device: Device,
  { weights }: MicroBatch,
  rows: LossRows | null,
  routers: Tensor | null,
): Promise<PassLosses> {
  const wanted = [rows?.numbers.numbers, rows?.reference?.losses, routers].map((t) => t ?? null);
  const read = await device.read(wanted.filter((t) => t !== null));
  const [numbers, divergences, ofRouters] = wanted.map((t) => (t ? read.shift()! : []));
  let [crossEntropy, divergence, balance, z] = [0, 0, 0, 0];
  for (const [i, row] of rowsOf(rows?.runs ?? []).entries()) {
    crossEntropy -= weights[row]! * numbers![STAT_NUMBERS * i + STAT.targetLogProbability]!;
    divergence += weights[row]! * (divergences![i] ?? 0);
  }
  for (let i = 0; i < ofRouters!.length; i += 2) {
    balance += ofRouters![i]!;
    z += ofRouters![i + 1]!;
  }
  return { crossEntropy, balance, z, divergence };
}

/** The rows of runs, one by one. */
function rowsOf(runs: readonly LossRun[]): number[] {
  return runs.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
}
