import { complete, object } from '../../options/check.ts';
import { anything, either, listOf, nothing, type Rule, real, type Schema, truth, whole } from '../../options/rules.ts';
import type { CurveData } from '../curve.ts';
import type { LayerRouting } from '../router-statistics.ts';
import type { HeldOutLoss, TrainingProgress } from '../trainer.ts';

const number = real(-Number.MAX_VALUE);
const count = whole(0);

const curve = {
  every: whole(1),
  points: listOf(number),
  sum: number,
  count,
} as const satisfies Schema<CurveData>;

const layer = {
  layer: count,
  counts: listOf(count),
  shares: listOf(number),
  entropy: number,
  evenness: number,
  smallestShare: number,
  largestShare: number,
  unused: listOf(count),
  routed: number,
  shared: either(number, nothing),
  logitNorm: number,
  diversity: either(number, nothing),
} as const satisfies Schema<LayerRouting>;

const heldOut = object<HeldOutLoss>(
  {
    step: count,
    loss: number,
    divergence: number,
    routing: listOf(complete<LayerRouting>(layer, 'routing')),
  } satisfies Schema<HeldOutLoss>,
  'heldOut',
  ['step', 'loss'],
);

const fields = {
  step: count,
  tokens: count,
  targets: count,
  seconds: real(0),
  firstLoss: either(number, nothing),
  lastLoss: either(number, nothing),
  curve: complete<CurveData>(curve, 'curve'),
  heldOut: listOf(heldOut),
  best: either(heldOut, nothing),
  stopped: truth,
  // the source of the steps looks at it
  position: anything,
} as const satisfies Schema<TrainingProgress>;

/** What the state of a training says of it. */
export const trainingProgress: Rule<TrainingProgress> = complete<TrainingProgress>(fields, 'progress');
