import { type Device, STAT, STAT_NUMBERS, type Tensor } from '../device/device.ts';
import type { LossRows } from '../model/loss-terms.ts';
import { rowsOf, rowWeights } from './loss-rows.ts';
import type { Steering } from './steering.ts';
import type { MicroBatch, PassLosses, PassOptions } from './trainable.ts';

/** What a batch asks, on the device; scratch. */
export interface AskedLosses {
  /** Of the head; null where no row has a loss. */
  readonly rows: LossRows | null;
  /** [layers with experts, 2] as `routerLosses` gives them; null where there are none. */
  readonly routers: Tensor | null;
  readonly steering: Steering | null;
}

/** The losses of a batch, in one readback. @param onRows as in `PassOptions` */
export async function readLosses(
  device: Device,
  batch: MicroBatch,
  { rows, routers, steering }: AskedLosses,
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
    steered: steering?.squares ?? null,
  };
  const read = await device.read(Object.values(wanted).filter((t) => t !== null));
  const found = Object.fromEntries(
    Object.entries(wanted).map(([name, t]) => [name, t ? read.shift()! : []]),
  ) as unknown as Readonly<Record<keyof typeof wanted, ArrayLike<number>>>;
  const nll = new Float32Array(batch.ids.length);
  const sums = {
    crossEntropy: 0,
    balance: 0,
    z: 0,
    divergence: 0,
    hinge: 0,
    invariance: 0,
    distillation: 0,
    steering: 0,
  };
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
      const base = batch.invariance!.base?.[row];
      const entropy = stat(STAT.tsallis);
      sums.invariance += asked.invariance * (base === undefined ? entropy : (entropy - base) ** 2);
    }
    if (asked.distillation !== 0) {
      const entropy = found.targets[STAT_NUMBERS * i + STAT.shannon]!;
      sums.distillation += asked.distillation * (found.distillation[i]! + entropy);
    }
  }
  onRows?.(nll);
  for (const [row, square] of Array.from(found.steered).entries()) {
    const weight = batch.steering!.weights[row]!;
    if (weight !== 0) sums.steering += (weight * square) / steering!.gradient.shape[1]!;
  }
  for (let i = 0; i < found.routers.length; i += 2) {
    sums.balance += found.routers[i]!;
    sums.z += found.routers[i + 1]!;
  }
  return sums;
}
