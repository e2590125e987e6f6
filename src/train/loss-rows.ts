import { type Device, STAT, STAT_NUMBERS, type Tensor } from '../device/device.ts';
import { EspalierError } from '../errors.ts';
import { statsBuffers } from '../model/logit-stats.ts';
import { type LossReference, type LossRows, type LossRun, rowLosses } from '../model/loss-terms.ts';
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

/** Weights of the losses of a row; 0: not asked for. */
interface RowWeights {
  readonly crossEntropy: number;
  readonly hinge: number;
  readonly invariance: number;
  readonly distillation: number;
}

/** What is asked of a row. Without a target there is neither cross-entropy nor hinge. */
function rowWeights({ targets, weights, hinge, invariance, distillation }: MicroBatch, row: number): RowWeights {
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
      base: upload(Float32Array.from(rows, (row) => invariance!.base[row]!)),
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

/** The losses of a batch, in one readback. @param routers [layers with experts, 2] as `routerLosses` gives them. @param onRows as in `PassOptions` */
export async function readLosses(
  device: Device,
  batch: MicroBatch,
  rows: LossRows | null,
  routers: Tensor | null,
  onRows?: PassOptions['onRows'],
): Promise<PassLosses> {
  const { divergence, distillation } = rows?.reference ?? { divergence: null, distillation: null };
  const wanted = {
    numbers: rows?.numbers.numbers ?? null,
    hinge: rows?.hinge?.losses ?? null,
    divergence: divergence?.losses ?? null,
    distillation: distillation?.losses ?? null,
    targets: distillation?.numbers ?? null,
    routers,
  };
  const read = await device.read(Object.values(wanted).filter((t) => t !== null));
  const found = Object.fromEntries(
    Object.entries(wanted).map(([name, t]) => [name, t ? read.shift()! : []]),
  ) as unknown as Readonly<Record<keyof typeof wanted, ArrayLike<number>>>;
  const nll = new Float32Array(batch.ids.length);
  const sums = { crossEntropy: 0, balance: 0, z: 0, divergence: 0, hinge: 0, invariance: 0, distillation: 0 };
  for (const [i, row] of rowsOf(rows?.runs ?? []).entries()) {
    const asked = rowWeights(batch, row);
    const stat = (column: number) => found.numbers[STAT_NUMBERS * i + column]!;
    if (batch.targets[row]! >= 0) nll[row] = -stat(STAT.targetLogProbability);
    if (asked.crossEntropy !== 0) {
      sums.crossEntropy -= asked.crossEntropy * stat(STAT.targetLogProbability);
      sums.divergence += asked.crossEntropy * (found.divergence[i] ?? 0);
    }
    if (asked.hinge !== 0) sums.hinge += asked.hinge * found.hinge[i]!;
    if (asked.invariance !== 0) {
      sums.invariance += asked.invariance * (stat(STAT.tsallis) - batch.invariance!.base[row]!) ** 2;
    }
    if (asked.distillation !== 0) {
      const entropy = found.targets[STAT_NUMBERS * i + STAT.shannon]!;
      sums.distillation += asked.distillation * (found.distillation[i]! + entropy);
    }
  }
  onRows?.(nll);
  for (let i = 0; i < found.routers.length; i += 2) {
    sums.balance += found.routers[i]!;
    sums.z += found.routers[i + 1]!;
  }
  return sums;
}

/** The rows of runs, one by one. */
function rowsOf(runs: readonly LossRun[]): number[] {
  return runs.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
}
