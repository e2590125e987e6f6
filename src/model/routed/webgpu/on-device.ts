import { GATE_INPUTS } from '../../../checkpoint/adapter/gate-kinds.ts';
import type { RoutingRule } from '../../../checkpoint/adapter/routing.ts';
import { type Device, type Precision, STAT, type Tensor } from '../../../device/device.ts';
import type { FusedDevice } from '../../../device/fused-device.ts';
import type { Decoder } from '../../decoder.ts';
import { statsBuffers } from '../../logit-stats.ts';
import type { RoutedCache } from '../cache.ts';
import { type GateWeights, gateForward, slotsOf } from '../gate.ts';
import { shareRule } from '../rule.ts';

/**
 * Coefficients of the experts for the next token of each of several sequences, by what the unadapted model makes of it; they stay on the device, and means are kept in
 * the caches' rows behind those that they know.
 * @param hidden [S, hidden] of the unadapted model
 * @param routing [S, experts], replaced
 */
export function chooseOnDevice(
  device: FusedDevice,
  base: Decoder,
  gate: GateWeights,
  rule: RoutingRule,
  caches: readonly RoutedCache[],
  hidden: Tensor,
  routing: Tensor,
  precision?: Precision,
): void {
  const reads = GATE_INPUTS[gate.kind];
  const mark = device.mark();
  const asksEntropy = rule.cut !== null || reads.includes('entropy');
  const entropy = asksEntropy ? entropiesOf(base, hidden, rule.order, precision) : null;
  const mean = reads.includes('mean') ? meansOf(device, caches, hidden) : null;
  const logits = device.scratch('f32', [caches.length, slotsOf(gate)]);
  gateForward(device, gate, { now: hidden, ...(mean && { mean }), ...(entropy && { entropy }) }, logits, true);
  device.expertShares(logits, rule.cut === null ? null : entropy, shareRule(rule), routing);
  device.reset(mark);
}

/** Of what is predicted, [S, 1], scratch. */
function entropiesOf(base: Decoder, hidden: Tensor, order: number, precision: Precision | undefined): Tensor {
  const { device } = base;
  const rows = hidden.shape[0]!;
  const entropies = device.scratch('f32', [rows, 1]);
  const inside = device.mark();
  const { numbers, places } = statsBuffers(device, rows);
  device.logitStats(base.logits(hidden, precision, true), null, order, numbers, places);
  device.column(numbers, STAT.tsallis, entropies);
  device.reset(inside);
  return entropies;
}

/** Means of hidden states up to the token, [S, hidden], scratch: n / (n + 1) times the last and 1 / (n + 1) times what comes, n being the rows of the cache. */
function meansOf(device: Device, caches: readonly RoutedCache[], hidden: Tensor): Tensor {
  const [rows, width] = hidden.shape as [number, number];
  const means = device.scratch('f32', [rows, width]);
  const inside = device.mark();
  const mixed = device.scratch('f32', [rows, 2]);
  device.write(mixed, Float32Array.from(caches.flatMap(({ length: n }) => [n / (n + 1), 1 / (n + 1)])));
  const states = device.scratch('f32', [2, width]);
  for (const [i, cache] of caches.entries()) {
    const n = cache.length;
    const own = cache.means(n, 1);
    const now = device.rows(hidden, i, 1);
    if (n === 0) device.copyRows(now, own, 0);
    else {
      device.copyRows(cache.means(n - 1, 1), states, 0);
      device.copyRows(now, states, 1);
      device.matmul(device.rows(mixed, i, 1), states, own);
    }
    device.copyRows(own, means, i);
  }
  device.reset(inside);
  return means;
}
