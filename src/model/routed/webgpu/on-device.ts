import { GATE_INPUTS } from '../../../checkpoint/adapter/gate-kinds.ts';
import type { RoutingRule } from '../../../checkpoint/adapter/routing.ts';
import { type Device, type Precision, STAT, type Tensor } from '../../../device/device.ts';
import type { FusedDevice } from '../../../device/fused-device.ts';
import type { Decoder } from '../../decoder.ts';
import { scoredRows, statsBuffers } from '../../logit-stats.ts';
import type { RoutedCache } from '../cache.ts';
import { type GateWeights, gateForward, slotsOf } from '../gate.ts';
import { meanShares } from '../means.ts';
import { shareRule } from '../rule.ts';

/** Rows of one sequence behind those that its cache knows. */
export interface ChosenRows {
  readonly cache: RoutedCache;
  readonly count: number;
}

/**
 * Coefficients of the experts for the next tokens of several sequences, by what the unadapted model makes of them; they stay on the device, and means are kept
 * in the caches' rows behind those that they know.
 * @param hidden [T, hidden] of the unadapted model, sequence by sequence
 * @param routing [T, experts], replaced
 */
export function chooseOnDevice(
  device: FusedDevice,
  base: Decoder,
  gate: GateWeights,
  rule: RoutingRule,
  parts: readonly ChosenRows[],
  hidden: Tensor,
  routing: Tensor,
  precision?: Precision,
): void {
  const reads = GATE_INPUTS[gate.kind];
  const mark = device.mark();
  // one row of each gets the bits that it gets as the only one
  const alone = hidden.shape[0] === parts.length;
  const asksEntropy = rule.cut !== null || reads.includes('entropy');
  const entropy = asksEntropy ? entropiesOf(base, hidden, rule.order, alone, precision) : null;
  const mean = reads.includes('mean') ? meansOf(device, parts, hidden) : null;
  const logits = device.scratch('f32', [hidden.shape[0]!, slotsOf(gate)]);
  gateForward(device, gate, { now: hidden, ...(mean && { mean }), ...(entropy && { entropy }) }, logits, alone);
  device.expertShares(logits, rule.cut === null ? null : entropy, shareRule(rule), routing);
  device.reset(mark);
}

/** Of what is predicted, [T, 1], scratch. */
function entropiesOf(
  base: Decoder,
  hidden: Tensor,
  order: number,
  alone: boolean,
  precision: Precision | undefined,
): Tensor {
  const { device, config } = base;
  const rows = hidden.shape[0]!;
  const entropies = device.scratch('f32', [rows, 1]);
  const most = scoredRows(device, config.vocabSize);
  for (let first = 0; first < rows; first += most) {
    const count = Math.min(most, rows - first);
    const inside = device.mark();
    const { numbers, places } = statsBuffers(device, count);
    const logits = base.logits(device.rows(hidden, first, count), precision, alone);
    device.logitStats(logits, null, order, numbers, places);
    device.column(numbers, STAT.tsallis, device.rows(entropies, first, count));
    device.reset(inside);
  }
  return entropies;
}

/**
 * Means of hidden states up to each token, [T, hidden], scratch: with n rows in the cache, of token i behind them n / (n + i + 1) times the last mean, and
 * 1 / (n + i + 1) times each state that came since.
 */
function meansOf(device: Device, parts: readonly ChosenRows[], hidden: Tensor): Tensor {
  const [rows, width] = hidden.shape as [number, number];
  const means = device.scratch('f32', [rows, width]);
  const inside = device.mark();
  // all are written before one is used: a write waits for the commands over its memory
  const shares = parts.map(({ cache: { length: n }, count }) => {
    const own = device.scratch('f32', [count, n > 0 ? count + 1 : count]);
    device.write(own, meanShares(n, count));
    return own;
  });
  let first = 0;
  for (const [i, { cache, count }] of parts.entries()) {
    const n = cache.length;
    const own = cache.means(n, count);
    const now = device.rows(hidden, first, count);
    if (n === 0 && count === 1) device.copyRows(now, own, 0);
    else {
      const behind = n > 0 ? 1 : 0;
      const states = device.scratch('f32', [count + behind, width]);
      if (behind > 0) device.copyRows(cache.means(n - 1, 1), states, 0);
      device.copyRows(now, states, behind);
      device.matmul(shares[i]!, states, own);
    }
    device.copyRows(own, means, first);
    first += count;
  }
  device.reset(inside);
  return means;
}
