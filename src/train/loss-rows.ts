import type { Device, Tensor } from '../device/device.ts';
import { EspalierError } from '../errors.ts';
import { statsBuffers } from '../model/logit-stats.ts';
import { type LossReference, type LossRows, type LossRun, rowLosses } from '../model/loss-terms.ts';
import type { MicroBatch, PassOptions } from './trainable.ts';

/** What the divergence is measured from: another model of the same vocabulary, on the same device. */
export interface ReferencePass {
  readonly vocabSize: number;
  /** Runs the batch forward. What it gives stands in scratch until the caller resets it. @throws E_ABORTED */
  forward(
    batch: MicroBatch,
    runs: readonly LossRun[],
    signal: AbortSignal | undefined,
  ): Promise<LossReference['logits']>;
  /** The residual stream [T, hidden] behind a layer, from 0 on; scratch, as of `forward`. @throws E_ARGUMENT for a layer that is not there, E_ABORTED */
  hidden(batch: MicroBatch, layer: number, signal: AbortSignal | undefined): Promise<Tensor>;
}

/** Weights of the losses of a row; 0: not asked for. */
interface RowWeights {
  readonly crossEntropy: number;
  readonly hinge: number;
  readonly invariance: number;
  readonly distillation: number;
}

/** What is asked of a row. Without a target there is neither cross-entropy nor hinge. */
export function rowWeights({ targets, weights, hinge, invariance, distillation }: MicroBatch, row: number): RowWeights {
  const hasTarget = targets[row]! >= 0;
  return {
    crossEntropy: hasTarget ? weights[row]! : 0,
    hinge: hasTarget && hinge ? hinge[row]! : 0,
    invariance: invariance?.weights[row] ?? 0,
    distillation: distillation?.weights[row] ?? 0,
  };
}

/** Which rows have a loss, and, where their cross-entropies are to be told, which have a target. */
export function rowsWithLoss(batch: MicroBatch, { onRows }: PassOptions): boolean[] {
  return Array.from(
    batch.ids,
    (_, row) =>
      (onRows !== undefined && batch.targets[row]! >= 0) ||
      Object.values(rowWeights(batch, row)).some((weight) => weight !== 0),
  );
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
  const asked = rows.map((row) => rowWeights(batch, row));
  const upload = (data: Float32Array | Int32Array): Tensor => {
    const tensor = device.scratch(data instanceof Int32Array ? 'i32' : 'f32', [rows.length, 1]);
    device.write(tensor, data);
    return tensor;
  };
  const weights = (of: keyof RowWeights, factor = 1): Tensor | null => {
    const list = Float32Array.from(asked, (row) => factor * row[of]);
    return list.some((weight) => weight !== 0) ? upload(list) : null;
  };
  const losses = (own: Tensor | null) => own && rowLosses(device, own, rows.length);
  const [diverging, distilled] = [losses(weights('crossEntropy', divergence)), losses(weights('distillation'))];
  const targets = Int32Array.from(rows, (row) => batch.targets[row]!);
  const measured = diverging !== null || distilled !== null;
  if (measured && !reference) {
    throw new EspalierError(
      'E_ARGUMENT',
      `A ${diverging ? 'divergence' : 'distillation'} is asked for, and there is no reference to measure it from.`,
      'Give a reference model, or ask for none.',
    );
  }
  const { invariance, distillation } = batch;
  const steady = weights('invariance');
  return {
    runs,
    targets: upload(targets),
    order: invariance?.order ?? 1,
    numbers: statsBuffers(device, rows.length),
    crossEntropy: weights('crossEntropy'),
    hinge: losses(weights('hinge')),
    invariance: steady && {
      weights: steady,
      base: invariance!.base && upload(Float32Array.from(rows, (row) => invariance!.base![row]!)),
    },
    reference: measured
      ? {
          divergence: diverging,
          distillation: distilled && {
            ...distilled,
            targets,
            penalty: distillation!.penalty,
            numbers: statsBuffers(device, rows.length).numbers,
          },
          logits: await reference!.forward(batch, runs, signal),
        }
      : null,
  };
}

/** The rows of runs, one by one. */
export function rowsOf(runs: readonly LossRun[]): number[] {
  return runs.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
}
