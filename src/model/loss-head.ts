import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';
import { throwIfAborted } from '../errors.ts';
import { Pace } from '../runtime/host/yielding.ts';
import type { DecoderGradients } from './gradients.ts';
import { MOST_LOGITS, MOST_LOGITS_AHEAD } from './logit-stats.ts';
import { type LossRows, type LossRun, lossGradient, lossValues } from './loss-terms.ts';
import type { DecoderWeights } from './weights.ts';

/** Rows of logits at once, where `MOST_LOGITS` are fewer or more: enough for a product. */
const FEWEST_ROWS = 32;
const MOST_ROWS = 512;
const MOST_ROWS_AHEAD = 2048;

type Head = Pick<DecoderWeights, 'norm' | 'head'>;

/** Rows that have a loss, as stretches. */
export function lossRuns(has: readonly boolean[]): LossRun[] {
  const runs: { first: number; count: number }[] = [];
  for (const [row, own] of has.entries()) {
    if (!own) continue;
    const last = runs.at(-1);
    if (last && last.first + last.count === row) last.count++;
    else runs.push({ first: row, count: 1 });
  }
  return runs;
}

/**
 * The end of a decoder: logits = head · norm(hidden) / logitScale of the rows that have a loss, and the numbers that the loss is made of. Some
 * rows at a time, so that logits never stand as a whole, and a look at the signal before each: of a large vocabulary all of them are seconds.
 *
 * @param hidden [t, hidden]: the residual stream behind the last layer
 * @throws E_ABORTED
 */
export async function lossHead(
  device: TrainDevice,
  config: ModelConfig,
  weights: Head,
  hidden: Tensor,
  rows: LossRows,
  signal: AbortSignal | undefined,
): Promise<void> {
  const mark = device.mark();
  const { normed } = normedRows(device, config, weights.norm, hidden, rows.runs);
  await eachLogits(device, config, weights.head!, normed, rows, signal, (logits, first, count) => {
    lossValues(device, rows, logits, first, count);
  });
  device.reset(mark);
}

/**
 * `lossHead` and its way back in one, since logits are not kept: of the sum of all that is asked.
 *
 * @param dHidden [t, hidden], replaced, 0 in rows without a loss; null where nobody asks for it
 * @throws E_ABORTED; gradients then have some of what is theirs
 */
export async function lossHeadBackward(
  device: TrainDevice,
  config: ModelConfig,
  weights: Head,
  gradients: Pick<DecoderGradients, 'norm' | 'head'>,
  hidden: Tensor,
  rows: LossRows,
  dHidden: Tensor | null,
  signal: AbortSignal | undefined,
): Promise<void> {
  const mark = device.mark();
  const { x, normed } = normedRows(device, config, weights.norm, hidden, rows.runs);
  const dNormed = dHidden || gradients.norm ? device.scratch('f32', normed.shape) : null;
  await eachLogits(device, config, weights.head!, normed, rows, signal, (logits, first, count) => {
    const dLogits = lossGradient(device, rows, logits, first, count);
    if (config.logitScale !== 1) device.scale(dLogits, 1 / config.logitScale);
    if (gradients.head) {
      device.matmul(dLogits, device.rows(normed, first, count), gradients.head, { transposeA: true, accumulate: true });
    }
    if (dNormed) device.linearBackward(dLogits, weights.head!, device.rows(dNormed, first, count));
  });
  if (dHidden) device.fill(dHidden, 0);
  if (dNormed) {
    const [one] = rows.runs;
    const whole = dHidden && rows.runs.length === 1 ? device.rows(dHidden, one!.first, one!.count) : null;
    const dX = whole ?? device.scratch('f32', x.shape);
    if (!whole) device.fill(dX, 0);
    device.rmsNormBackward(x, weights.norm, dNormed, config.rmsNormEps, dX, gradients.norm);
    if (dHidden && !whole) scatter(device, dX, rows.runs, dHidden);
  }
  device.reset(mark);
}

/** Of a norm [hidden] over the rows that have a loss: what it takes and gives, [R, hidden] each. */
export function normedRows(
  device: Device,
  { hiddenSize, rmsNormEps }: ModelConfig,
  norm: Tensor,
  hidden: Tensor,
  runs: readonly LossRun[],
): { readonly x: Tensor; readonly normed: Tensor } {
  const count = runs.reduce((sum, run) => sum + run.count, 0);
  const [one] = runs;
  const x = runs.length === 1 ? device.rows(hidden, one!.first, count) : device.scratch('f32', [count, hiddenSize]);
  if (runs.length !== 1) gather(device, hidden, runs, x);
  const normed = device.scratch('f32', [count, hiddenSize]);
  device.rmsNorm(x, norm, normed, rmsNormEps);
  return { x, normed };
}

function gather(device: Device, from: Tensor, runs: readonly LossRun[], to: Tensor): void {
  let at = 0;
  for (const { first, count } of runs) {
    device.copyRows(device.rows(from, first, count), to, at);
    at += count;
  }
}

function scatter(device: Device, from: Tensor, runs: readonly LossRun[], to: Tensor): void {
  let at = 0;
  for (const { first, count } of runs) {
    device.copyRows(device.rows(from, at, count), to, first);
    at += count;
  }
}

/** Calls `take` with the logits of some rows at a time, when their numbers are there. They are scratch. */
async function eachLogits(
  device: Device,
  { vocabSize, logitScale }: ModelConfig,
  head: Tensor,
  normed: Tensor,
  rows: LossRows,
  signal: AbortSignal | undefined,
  take: (logits: Tensor, first: number, count: number) => void,
): Promise<void> {
  const pace = new Pace();
  const total = normed.shape[0]!;
  const [mostRows, mostLogits] = device.asynchronous ? [MOST_ROWS_AHEAD, MOST_LOGITS_AHEAD] : [MOST_ROWS, MOST_LOGITS];
  const most = Math.min(mostRows, Math.max(FEWEST_ROWS, Math.floor(mostLogits / vocabSize)));
  for (let first = 0; first < total; first += most) {
    throwIfAborted(signal);
    const count = Math.min(most, total - first);
    const mark = device.mark();
    const logits = device.scratch('f32', [count, vocabSize]);
    device.linear(device.rows(normed, first, count), [head], [logits], 'exact');
    if (logitScale !== 1) device.scale(logits, 1 / logitScale);
    const [targets, numbers, places] = [rows.targets, rows.numbers.numbers, rows.numbers.places].map((t) =>
      device.rows(t, first, count),
    ) as [Tensor, Tensor, Tensor];
    device.logitStats(logits, targets, rows.order, numbers, places);
    take(logits, first, count);
    device.reset(mark);
    await pace.breathe();
  }
}
