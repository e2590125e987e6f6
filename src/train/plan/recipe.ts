/** What a training does: its options, with their defaults. */

import { checkedScale } from '../../checkpoint/adapter/scale.ts';
import { type DataSource, dataSource } from '../../datasets/source.ts';
import type { SequenceOptions, TrainingDataOptions } from '../../datasets/training/options.ts';
import { sequenceOptions, trainingDataOptions } from '../../datasets/training/options.ts';
import { EspalierError } from '../../errors.ts';
import { object } from '../../options/check.ts';
import { defaulting, either, listOf, oneOf, real, type Schema, truth, whole, words } from '../../options/rules.ts';
import type { FreezeStage } from '../freeze.ts';
import { rateRule, SCHEDULES, type ScheduleKind } from '../schedule.ts';

/** Low-rank factors that are trained in place of the weights (Hu et al. 2021). */
export interface LoraRecipe {
  /** Of the factors. Default 8. */
  readonly rank?: number;
  /** The product of the factors is multiplied by alpha / rank. Default 2 · rank. */
  readonly alpha?: number;
  /** By alpha / √rank instead (Kalajdzievski 2023). Default false. */
  readonly rslora?: boolean;
  /** Ends of the names of linear layers, such as `q_proj`. Default: all of attention and feed-forwards. */
  readonly targets?: readonly string[];
}

export interface TrainRecipe extends Omit<TrainingDataOptions, 'heldOut' | 'signal' | 'onProgress'>, SequenceOptions {
  /** Files of examples: paths or file URLs (Node, Deno, Bun), bytes or Blobs. */
  readonly data?: DataSource | readonly DataSource[];
  /** What is not trained on, to measure by: a share of the examples, or files of their own. Default: nothing. */
  readonly heldOut?: number | DataSource | readonly DataSource[];
  /** Trains all weights; the result is a model. Default: LoRA, whose result is an adapter. */
  readonly full?: boolean;
  /** Of the adapter: its rank, or `{ rank, alpha, rslora, targets }`. Default: rank 8, alpha twice the rank, all linear layers of attention and feed-forwards. */
  readonly lora?: number | LoraRecipe;
  /** Steps of the optimiser. Default: as many as `epochs` takes. */
  readonly steps?: number;
  /** How often all examples are seen, in place of `steps`; it may be a part of once. Default 1. */
  readonly epochs?: number;
  /** Most tokens of a sequence that go through the model. Default: as many as its context has, and at most 1024 and `rows`. */
  readonly maxTokens?: number;
  /** Sequences of a step. Default 8. */
  readonly batch?: number;
  /**
   * Most tokens that go through the model together: a step of more is several passes, with the same result. More is faster up to some
   * hundreds, and takes memory. Default 2048, or `maxTokens` where that is more.
   */
  readonly rows?: number;
  /** Of all that is drawn: what is held out, the order of the examples, factors of adapters. An integer from 0 on. Default 0. */
  readonly seed?: number;
  /** Whether each epoch has an order of its own. Default true. */
  readonly shuffle?: boolean;
  /** The highest. Default 2e-5, with LoRA 2e-4. */
  readonly learningRate?: number;
  /** How it falls behind the warm-up: in a line or as a cosine to 0, which it would be behind the last step, or not. Default linear. */
  readonly schedule?: ScheduleKind;
  /** Steps in which it rises, the first of them a little: a number of them, or below 1 a share of all, rounded up. Default 0.02. */
  readonly warmup?: number;
  /** Decoupled, of matrices alone. Default 0. */
  readonly weightDecay?: number;
  /** Of AdamW. Default 0.9. */
  readonly beta1?: number;
  /** Of AdamW. Default 0.999. */
  readonly beta2?: number;
  /** Of AdamW. Default 1e-8. */
  readonly epsilon?: number;
  /** Largest norm of the gradient, beyond which it is scaled down; 0: no limit. Default 1. */
  readonly clip?: number;
  /**
   * Parameters that stay as they are, for a while or for good: `{ frozen, untilStep }`, `frozen` a name or several, with `*` for any
   * characters, `untilStep` a number of steps or below 1 a share of all.
   */
  readonly freeze?: readonly FreezeStage[];
  /**
   * SPRI's first stage (arXiv 2606.16456): the share of the steps in which gate and up of the routed experts stay as they are, of a grown
   * mixture that is trained as a whole. Default 0; the paper has 0.1. Where another projection got the corrections, use `freeze`.
   */
  readonly tau?: number;
  /** Factor of the load balance loss, where experts are trained. Default 0.01. */
  readonly balance?: number;
  /** Factor of the router z-loss, where experts are trained. Default 0.001. */
  readonly zLoss?: number;
  /** Factor of the KL divergence from the `reference`, added to the loss. Default 0: it is measured on what is held out, and that is all. */
  readonly divergence?: number;
  /** Steps between two looks at what is held out. Default: a tenth of all, and at least 1. */
  readonly evaluateEvery?: number;
  /** Ends when so many looks in a row have found nothing better, and gives the best weights. Default: never, and the last ones. */
  readonly patience?: number;
  /** Computes layers again on the way back instead of keeping what they computed: less memory, a third slower. Default true. */
  readonly recompute?: boolean;
  /** Of the weights that are written: `auto` as they are stored in the model, of an adapter f32. Default auto. */
  readonly dtype?: 'auto' | 'f32' | 'bf16' | 'f16';
}

const sources = either(dataSource, listOf(dataSource, 1));

const loraRecipe = {
  rank: defaulting(whole(1, 1024), 8),
  alpha: real(0, Number.MAX_VALUE, { above: true }),
  rslora: defaulting(truth, false),
  targets: listOf(words, 1),
} as const satisfies Schema<LoraRecipe>;

export const loraRule = object<LoraRecipe>(loraRecipe, 'lora');

const freezeStage = {
  frozen: either(words, listOf(words, 1)),
  untilStep: real(0),
} as const satisfies Schema<FreezeStage>;

export const freezeRule = object<FreezeStage>(freezeStage, 'freeze', ['frozen']);

const { heldOut: _, signal: __, onProgress: ___, ...data } = trainingDataOptions;

export const trainRecipe = {
  ...data,
  ...sequenceOptions,
  data: sources,
  heldOut: either(real(0, 0.5), dataSource, listOf(dataSource, 1)),
  full: truth,
  lora: either(loraRecipe.rank, loraRule),
  steps: whole(1),
  epochs: real(0, 1e6, { above: true }),
  batch: defaulting(whole(1, 1 << 20), 8),
  rows: whole(2),
  shuffle: defaulting(truth, true),
  learningRate: rateRule,
  schedule: defaulting(oneOf(...SCHEDULES), 'linear'),
  warmup: defaulting(real(0), 0.02),
  weightDecay: defaulting(real(0), 0),
  beta1: defaulting(real(0, 1 - 2 ** -24), 0.9),
  beta2: defaulting(real(0, 1 - 2 ** -24), 0.999),
  epsilon: defaulting(real(0, 1, { above: true }), 1e-8),
  clip: defaulting(real(0), 1),
  freeze: listOf(freezeRule),
  balance: real(0),
  tau: defaulting(real(0, 1), 0),
  zLoss: real(0),
  divergence: defaulting(real(0), 0),
  evaluateEvery: whole(1),
  patience: whole(1),
  recompute: defaulting(truth, true),
  dtype: defaulting(oneOf('auto', 'f32', 'bf16', 'f16'), 'auto'),
} as const satisfies Schema<TrainRecipe>;

/** Tokens of a sequence, and of a pass, unless told otherwise: the context of a model may be far more than there is memory for. */
const MOST_TOKENS = 1024;
const ROWS = 2048;

/** The recipe with its defaults, as far as they do not depend on the data: what is told of a training, and what tells it from another. */
export interface TrainPlan {
  readonly lora: (Required<Omit<LoraRecipe, 'targets'>> & { readonly targets: readonly string[] | null }) | null;
  readonly steps: number | null;
  readonly epochs: number | null;
  readonly batch: number;
  readonly maxTokens: number;
  readonly rows: number;
  readonly long: NonNullable<SequenceOptions['long']>;
  readonly loss: NonNullable<SequenceOptions['loss']>;
  readonly end: boolean;
  readonly specialTokens: boolean;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly learningRate: number;
  readonly schedule: ScheduleKind;
  readonly warmup: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly clip: number;
  readonly freeze: readonly FreezeStage[];
  readonly balance: number;
  readonly zLoss: number;
  readonly divergence: number;
  readonly evaluateEvery: number | null;
  readonly patience: number | null;
  readonly recompute: boolean;
}

/** The same with what the data decide. */
export interface ResolvedPlan extends TrainPlan {
  readonly steps: number;
  readonly evaluateEvery: number;
}

/**
 * @param context positions of the model
 * @param mixture whether it has experts
 * @throws E_ARGUMENT for options that contradict each other
 */
export function planOf(given: TrainRecipe, { context, mixture }: { context: number; mixture: boolean }): TrainPlan {
  const refuse = (what: string, hint: string): never => {
    throw new EspalierError('E_ARGUMENT', what, hint);
  };
  if (given.full && given.lora !== undefined) refuse('full and lora contradict each other.', 'Give one.');
  if (given.steps !== undefined && given.epochs !== undefined) refuse('steps and epochs are both given.', 'Give one.');
  if (given.warmup !== undefined && given.warmup > 1 && !Number.isInteger(given.warmup)) {
    refuse(`warmup is ${given.warmup}.`, 'Give a whole number of steps, or a share of all below 1.');
  }
  if (given.patience !== undefined && (given.heldOut === undefined || given.heldOut === 0)) {
    refuse('patience is given, and nothing is held out to measure by.', 'Give `heldOut`.');
  }
  const lora = given.full ? null : loraOf(given.lora);
  if (lora) checkedScale(lora);
  const maxTokens = given.maxTokens ?? Math.min(context, MOST_TOKENS, given.rows ?? MOST_TOKENS);
  const rows = given.rows ?? Math.max(ROWS, maxTokens);
  if (rows < maxTokens) {
    refuse(`rows is ${rows}, and a sequence may have ${maxTokens} tokens.`, 'Give more rows, or a lower `maxTokens`.');
  }
  const experts = mixture && lora === null;
  const tau = given.tau ?? trainRecipe.tau.default;
  if (tau > 0 && !experts) {
    refuse(
      `tau is ${tau}, and no routed experts are trained.`,
      'Train a mixture of experts with `full`, or leave it out.',
    );
  }
  const set = <K extends keyof typeof trainRecipe & keyof TrainRecipe>(name: K): NonNullable<TrainRecipe[K]> =>
    given[name] ?? (trainRecipe[name] as unknown as { readonly default: NonNullable<TrainRecipe[K]> }).default;
  return {
    lora,
    steps: given.steps ?? null,
    epochs: given.steps === undefined ? (given.epochs ?? 1) : null,
    batch: set('batch'),
    maxTokens,
    rows,
    long: set('long'),
    loss: set('loss'),
    end: set('end'),
    specialTokens: set('specialTokens'),
    shuffle: set('shuffle'),
    seed: set('seed'),
    learningRate: given.learningRate ?? (lora === null ? 2e-5 : 2e-4),
    schedule: set('schedule'),
    warmup: set('warmup'),
    weightDecay: set('weightDecay'),
    beta1: set('beta1'),
    beta2: set('beta2'),
    epsilon: set('epsilon'),
    clip: set('clip'),
    freeze: [...(given.freeze ?? []), ...(tau > 0 ? [firstStage(tau)] : [])],
    balance: given.balance ?? (experts ? 1e-2 : 0),
    zLoss: given.zLoss ?? (experts ? 1e-3 : 0),
    divergence: set('divergence'),
    evaluateEvery: given.evaluateEvery ?? null,
    patience: given.patience ?? null,
    recompute: set('recompute'),
  };
}

/** A share of 1 is all of them: never. */
function firstStage(tau: number): FreezeStage {
  const frozen = ['*.mlp.experts.gate_proj.weight', '*.mlp.experts.up_proj.weight'];
  return tau === 1 ? { frozen } : { frozen, untilStep: tau };
}

function loraOf(given: TrainRecipe['lora'] = {}): NonNullable<TrainPlan['lora']> {
  const { rank = 8, alpha, rslora = false, targets = null } = typeof given === 'number' ? { rank: given } : given;
  return { rank, alpha: alpha ?? 2 * rank, rslora, targets };
}
