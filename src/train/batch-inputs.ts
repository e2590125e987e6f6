import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import { EspalierError } from '../errors.ts';
import type { ChunkInputs } from '../model/layer-buffers.ts';
import type { MicroBatch } from './trainable.ts';

/** A batch on the device; scratch. */
export interface BatchInputs extends ChunkInputs {
  readonly ids: Tensor; // [T] i32
  /** One more than the largest position. */
  readonly positionCount: number;
}

/** @throws E_ARGUMENT, E_CONTEXT_LENGTH for a batch that the model cannot compute */
export function checkBatch(batch: MicroBatch, config: ModelConfig): void {
  const { ids, positions, starts, targets, weights, routing } = batch;
  const refuse: (what: string) => never = (what) => {
    throw new EspalierError('E_ARGUMENT', `The batch has ${what}.`, 'Make it of token ids of this model.');
  };
  const t = ids.length;
  if (t === 0) refuse('no token');
  const lists = { positions, starts, targets, weights };
  for (const [name, { length }] of Object.entries(lists)) if (length !== t) refuse(`${length} ${name} for ${t} tokens`);
  checkAsked(batch, config, refuse);
  if (routing && (routing.length === 0 || routing.length % t !== 0))
    refuse(`${routing.length} coefficients for ${t} tokens`);
  if (routing && !routing.every(Number.isFinite)) refuse('a coefficient that is not finite');
  const { vocabSize, maxPositions } = config;
  for (let i = 0; i < t; i++) {
    const [id, position, start, target] = [ids[i]!, positions[i]!, starts[i]!, targets[i]!];
    if (id < 0 || id >= vocabSize || target >= vocabSize) refuse(`token ${Math.max(id, target)} of ${vocabSize}`);
    if (start < 0 || start > i) refuse(`row ${i} in a sequence that begins at row ${start}`);
    if (position < 0) refuse(`position ${position}`);
    if (!Number.isFinite(weights[i]!)) refuse(`weight ${weights[i]}`);
    if (position < maxPositions) continue;
    throw new EspalierError(
      'E_CONTEXT_LENGTH',
      `Position ${position} lies beyond the ${maxPositions} of the model.`,
      'Cut texts shorter.',
    );
  }
}

/** What is asked beside the cross-entropy. @param refuse throws */
function checkAsked(
  { ids, hinge, invariance, distillation, steering }: MicroBatch,
  { nLayers, hiddenSize }: ModelConfig,
  refuse: (what: string) => never,
): void {
  for (const [name, own] of Object.entries({ invariance, distillation, steering })) {
    if (own && own.weights === undefined) refuse(`${name} without weights`);
  }
  const lists = {
    'weights of the hinge loss': hinge,
    'weights of the invariance': invariance?.weights,
    'entropies of the base': invariance?.base,
    'weights of the distillation': distillation?.weights,
    'weights of the steering': steering?.weights,
  };
  for (const [name, list] of Object.entries(lists)) {
    if (!list) continue;
    if (list.length !== ids.length) refuse(`${list.length} ${name} for ${ids.length} tokens`);
    // a row that is not asked may lack an entropy
    const isAsked = (row: number) =>
      invariance === undefined || list !== invariance.base || invariance.weights[row] !== 0;
    const wrong = list.findIndex((value, row) => isAsked(row) && !Number.isFinite(value));
    if (wrong >= 0) refuse(`${list[wrong]} among its ${name}`);
  }
  if (invariance && invariance.base === undefined) refuse('an invariance without a base, which may be null');
  if (invariance && !(invariance.order > 0 && Number.isFinite(invariance.order))) {
    refuse(`an entropy of order ${invariance.order}`);
  }
  if (distillation && !Number.isFinite(distillation.penalty)) refuse(`a penalty of ${distillation.penalty}`);
  if (!steering) return;
  const { layer, target } = steering;
  if (target === undefined) refuse('steering without a target, which null says to be the states of the reference');
  if (!(Number.isInteger(layer) && layer >= 0 && layer < nLayers))
    refuse(`steering behind layer ${layer} of ${nLayers}`);
  if (target && target.length !== hiddenSize) refuse(`a target of ${target.length} numbers for ${hiddenSize}`);
  if (target && !target.every(Number.isFinite)) refuse('a target of steering that is not finite');
}

/** Positions, masks and routing: row t sees rows starts[t] .. t, in layers with a window the last of them. */
export function batchInputs(device: Device, config: ModelConfig, batch: MicroBatch): BatchInputs {
  const t = batch.ids.length;
  const upload = (data: Int32Array, width: number) => {
    const tensor = device.scratch('i32', [t, width]);
    device.write(tensor, data);
    return tensor;
  };
  const mask = (window: number) => {
    const numbers = new Int32Array(3 * t);
    for (let i = 0; i < t; i++) numbers[3 * i + 2] = Math.max(batch.starts[i]!, i + 1 - window);
    return upload(numbers, 3);
  };
  const routing = batch.routing ? device.scratch('f32', [t, batch.routing.length / t]) : null;
  if (routing) device.write(routing, batch.routing!);
  let last = 0;
  for (const position of batch.positions) last = Math.max(last, position);
  return {
    ids: upload(batch.ids, 1),
    positions: upload(batch.positions, 1),
    positionCount: last + 1,
    mask: mask(t),
    windowMask: config.slidingWindow === null ? null : mask(config.slidingWindow),
    split: null,
    routing,
  };
}
