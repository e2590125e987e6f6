import type { Device, Tensor } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';
import { type StatsBuffers, statsBuffers } from './logit-stats.ts';

/** Rows of the text behind one another that have a loss. */
export interface LossRun {
  readonly first: number;
  readonly count: number;
}

/** What is asked of the R rows that have a loss, and what comes out; scratch. What is null is not asked. */
export interface LossRows {
  readonly runs: readonly LossRun[];
  readonly targets: Tensor; // [R, 1] i32, below 0: none
  /** Of the Tsallis entropy in `numbers`. */
  readonly order: number;
  readonly numbers: StatsBuffers; // [R, …] as `logitStats` gives them: the cross-entropy is less the log-probability of the target
  readonly crossEntropy: Tensor | null; // [R, 1]: weights
  readonly hinge: RowLosses | null;
  readonly invariance: Invariance | null;
  readonly reference: LossReference | null;
}

/** A loss that each row has, of its own weight. */
export interface RowLosses {
  readonly weights: Tensor; // [R, 1]
  readonly losses: Tensor; // [R, 1]: gets the loss of each row
}

/** Σ weights · (S_q − base)², or Σ weights · S_q. */
export interface Invariance {
  readonly weights: Tensor; // [R, 1]
  readonly base: Tensor | null; // [R, 1]
}

/** What is measured from another model's logits. */
export interface LossReference {
  /** Logits [count, vocab] of rows first .. of the R: whoever calls may change them, and they need not outlive the next call; may be scratch. */
  logits(first: number, count: number): Tensor;
  /** Σ weights · KL(reference ‖ model), in nats. */
  readonly divergence: RowLosses | null;
  readonly distillation: Distillation | null;
}

/** Σ weights · cross-entropy against softmax(z − penalty · onehot(target)), z the reference's logits. */
export interface Distillation extends RowLosses {
  // `losses`: the divergence from that target distribution, whose entropy is what is left of the cross-entropy
  /** [R] of the text, on the host; below 0: nothing is taken from that row. */
  readonly targets: Int32Array;
  readonly penalty: number;
  readonly numbers: Tensor; // [R, …]: gets `logitStats` of that distribution
}

/** The losses of rows first .. that do not come out of `logitStats`, whose numbers of these rows stand. */
export function lossValues(device: TrainDevice, rows: LossRows, logits: Tensor, first: number, count: number): void {
  hingeLosses(device, rows, first, count);
  if (!rows.reference) return;
  // the losses come with the gradient, which is nobody's here
  addReferenceGradient(device, rows, rows.reference, logits, first, count, device.scratch('f32', logits.shape));
}

/** `lossValues` and its way back. @returns the gradient by the logits of all that is asked: these themselves, or scratch */
export function lossGradient(
  device: TrainDevice,
  rows: LossRows,
  logits: Tensor,
  first: number,
  count: number,
): Tensor {
  const part = (t: Tensor) => device.rows(t, first, count);
  const { crossEntropy, hinge, invariance, reference, order } = rows;
  const [numbers, places, targets] = [part(rows.numbers.numbers), part(rows.numbers.places), part(rows.targets)];
  const isAlone = !invariance && !reference && !(crossEntropy && hinge);
  const dLogits = isAlone ? logits : device.scratch('f32', logits.shape);
  hingeLosses(device, rows, first, count);
  if (crossEntropy) device.crossEntropyBackward(logits, numbers, targets, part(crossEntropy), dLogits);
  else if (!hinge) device.fill(dLogits, 0);
  if (hinge) {
    const own = crossEntropy ? device.scratch('f32', logits.shape) : dLogits;
    device.hingeBackward(logits, numbers, places, targets, part(hinge.weights), own);
    if (own !== dLogits) device.add(own, dLogits);
  }
  if (invariance) {
    const { base, weights } = invariance;
    device.entropyBackward(logits, numbers, order, base && part(base), part(weights), dLogits);
  }
  if (reference) addReferenceGradient(device, rows, reference, logits, first, count, dLogits);
  return dLogits;
}

function hingeLosses(device: TrainDevice, { hinge, numbers, targets }: LossRows, first: number, count: number): void {
  if (!hinge) return;
  const part = (t: Tensor) => device.rows(t, first, count);
  device.hingeLoss(part(numbers.numbers), part(numbers.places), part(targets), part(hinge.losses));
}

/** dLogits += that of what is measured from the reference; the losses of these rows. */
function addReferenceGradient(
  device: TrainDevice,
  rows: LossRows,
  reference: LossReference,
  logits: Tensor,
  first: number,
  count: number,
  dLogits: Tensor,
): void {
  const part = (t: Tensor) => device.rows(t, first, count);
  const numbers = part(rows.numbers.numbers);
  const wanted = reference.logits(first, count);
  const { divergence, distillation } = reference;
  const stats = statsBuffers(device, count);
  const add = (wantedNumbers: Tensor, { weights, losses }: RowLosses): void => {
    device.logitStats(wanted, null, 1, wantedNumbers, stats.places);
    device.divergenceBackward(wanted, wantedNumbers, logits, numbers, part(weights), dLogits, part(losses));
  };
  if (divergence) add(stats.numbers, divergence);
  if (!distillation) return;
  penalise(device, distillation, wanted, first, count);
  add(part(distillation.numbers), distillation);
}

/** wanted [count, vocab] −= penalty at the targets of rows first ... */
function penalise(
  device: TrainDevice,
  { targets, penalty }: Distillation,
  wanted: Tensor,
  first: number,
  count: number,
): void {
  if (penalty === 0) return;
  const vocab = wanted.shape[1]!;
  const own = targets.subarray(first, first + count);
  const [places, steps] = [device.scratch('i32', [count, 1]), device.scratch('f32', [count, 1])];
  device.write(
    places,
    own.map((target, row) => row * vocab + Math.max(target, 0)),
  );
  device.write(
    steps,
    Float32Array.from(own, (target) => (target < 0 ? 0 : -penalty)),
  );
  // scattered as rows of one number
  const change = device.scratch('f32', [count * vocab, 1]);
  device.fill(change, 0);
  device.embedBackward(places, steps, change);
  device.add(change, wanted);
}

/** Scratch for a loss of each of so many rows. */
export function rowLosses(device: Device, weights: Tensor, rows: number): RowLosses {
  return { weights, losses: device.scratch('f32', [rows, 1]) };
}
