/** What a dense checkpoint is grown into: every option, resolved, and what is told of the result. */

import type { OutputType } from '../checkpoint/write/shards.ts';
import type { TargetName } from './targets/names.ts';

export type { OutputType } from '../checkpoint/write/shards.ts';
export type { TargetName } from './targets/names.ts';

export type Projection = 'gate' | 'up' | 'down';
export const PROJECTIONS: readonly Projection[] = ['gate', 'up', 'down'];

export const METHODS = [
  'spri',
  'naive',
  'noise',
  'drop',
  'virtual-group',
  'split',
  'scaled-copy',
  'zero-delta',
] as const;
export type Method = (typeof METHODS)[number];

export const PARTITIONS = ['contiguous', 'equal-energy', 'strided', 'random', 'random-orthogonal', 'none'] as const;
export type Partition = (typeof PARTITIONS)[number] | { readonly tailDrop: number } | { readonly headKeep: number };

export type LayerChoice =
  | { readonly interval: number }
  | { readonly first: number }
  | { readonly last: number }
  | readonly number[];

export type Noise =
  | { readonly kind: 'relative'; readonly ratio: number }
  | { readonly kind: 'absolute'; readonly sigma: number }
  | { readonly kind: 'none' };

export type RouterInit =
  | { readonly kind: 'normal' | 'uniform'; readonly std: number }
  | { readonly kind: 'kaiming-uniform' | 'standard-normal' | 'inverse-sqrt-uniform' | 'orthogonal' };

export interface TrainPlan {
  /** Share of the steps in which the routed projections that were not changed stay frozen. */
  readonly tau: number;
  readonly lambdaLoadBalance: number;
  readonly lambdaZ: number;
  readonly learningRate: number;
  readonly warmup: number;
  readonly schedule: 'linear';
}

/** Options with their defaults filled in. See `GrowRecipe` for what each means. */
export interface GrowPlan {
  readonly method: Method;
  readonly preserve: 'as-published' | 'function-preserving' | 'scaled';
  readonly experts: number;
  readonly topK: number;
  /** k = 1 with weights that sum to 1: the only weight is the constant 1, and the router learns from balance losses alone. */
  readonly allowConstantGate: boolean;
  readonly groupSize: number;
  /** `auto`: all of them, the best quality in the paper and what stock layouts hold. */
  readonly layers: LayerChoice | 'auto';
  readonly partition: Partition;
  /** Blocks go to groups in a random order of each layer instead of the largest first: a control. */
  readonly shuffle: boolean;
  readonly placement: readonly Projection[];
  readonly anchor: 'shared' | 'folded' | 'routed' | 'none';
  readonly rho: number;
  readonly delta: number;
  readonly normalise: 'group' | 'global' | 'spectral' | 'none';
  readonly noise: Noise;
  /** Noise in groups of one expert too, as the paper writes it. */
  readonly noiseAll: boolean;
  readonly router: RouterInit;
  /** An integer from 0 to 2^53 - 1. */
  readonly seed: number;
  /** `auto`: the type of the source's feed-forward weights, or what the anchor needs to be exact. */
  readonly dtype: 'auto' | OutputType;
  readonly target: TargetName | 'auto';
  readonly trainPlan: TrainPlan;
  /** noise, drop: share of the neurons that change. */
  readonly ratio: number;
  /** noise: standard deviation. */
  readonly sigma: number;
  /** drop, noise: neurons of each expert in another order, as the released code has it. */
  readonly permute: boolean;
  /** virtual-group, split: shards that a feed-forward is cut into. */
  readonly granularity: number;
}

/** What is known of one grown layer: part of the receipt. */
export interface LayerRecord {
  readonly layer: number;
  readonly projections: readonly ProjectionRecord[];
  /**
   * 1 - mean cosine of pairs of routed experts as written, over rows spread over the matrices. Of the paper (appendix A.1), which looks at down;
   * the mean over the projections where several have corrections. 0: no two differ.
   */
  readonly diversity: number;
  /** The same of what the experts compute for 64 normal inputs: not changed by another order of their neurons. */
  readonly outputDiversity: number;
  /**
   * What both are of: the `corrections`, without the dense weights that they are folded into (in the projections that have them, and in the
   * outputs), or `down`, whole experts.
   */
  readonly diversityOf: 'corrections' | 'down';
  /** See `Branch`: measured on the layer as written, with 64 normal inputs. */
  readonly branchSize: number;
  readonly change: number;
}

/** Of one projection that was changed by a correction. Empty lists and nulls where the method has no spectrum. */
export interface ProjectionRecord {
  readonly projection: Projection;
  /** Largest and smallest singular value. */
  readonly largest: number | null;
  readonly smallest: number | null;
  /** How they were found: `svd` where squaring them in a Gram matrix would have lost the small ones. */
  readonly decomposition: 'gram' | 'svd' | null;
  /** ||W||, the Frobenius norm of the dense matrix. */
  readonly norm: number;
  /** Share of the squared Frobenius norm in each group's block. */
  readonly blockEnergies: readonly number[];
  readonly alphas: readonly number[];
  /** (s_b - s_b+1) / s_1 at each boundary: below 1e-9 the partition is not unique. */
  readonly boundaryGaps: readonly number[];
  /** sigma sqrt(entries) / ||alpha R||, the largest of the groups: the expected ||noise|| / ||alpha R||. */
  readonly noiseRatio: number;
  /** Of the Gram matrix and the slices, where a GPU was asked for them; null: the CPU computed all. */
  readonly gpu: GpuRecord | null;
}

/** What a GPU computed of a projection. Errors are of products with a random vector, checked on the CPU in f64. */
export interface GpuRecord {
  readonly adapter: string;
  /** Of the Gram matrix, of the product; null without one. Above 1e-12 the CPU computed it again. */
  readonly gramError: number | null;
  /** The largest of the slices that were made, of the product with all of W. One above 1e-5 the CPU computed again. */
  readonly sliceError: number | null;
  /** What the CPU computed again, and what was used: the Gram matrix, slices by the number of their group, from 0. */
  readonly recomputed: readonly ('gram' | number)[];
}
