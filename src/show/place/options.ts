/** Options of shots that are placed: contexts and chains. */
import { callback, defaulting, oneOf, type Schema, signal, whole } from '../../options/rules.ts';
import { factor, instruction, some } from '../rules.ts';
import type { ShotOrder, WorkEstimate } from '../types.ts';

export interface ContextOptions {
  /** Default best-first. */
  readonly order?: ShotOrder;
  /** Keys of shots are divided by this (APE, arXiv 2502.05431). Default 1. */
  readonly temperature?: number;
  /**
   * APE's scale S: the shots' share of attention is exp(S · T · lse) instead of exp(lse), T the temperature. Default 1 / T, which
   * changes nothing and costs nothing.
   */
  readonly scale?: number;
  /** Positions that stay free behind the shots, for queries and answers. Default 256, at most half of the model's. */
  readonly room?: number;
}

export const order = oneOf('best-first', 'best-nearest');

export const temperature = factor;

export const contextOptions = {
  order,
  temperature,
  scale: factor,
  room: whole(1),
} as const satisfies Schema<ContextOptions>;

export interface ChainOptions {
  /** Stands once, behind the begin-of-text token and before all shots. Default: none. */
  readonly instruction?: string;
  readonly signal?: AbortSignal;
  /** As in `PoolOptions`. */
  readonly onEstimate?: (estimate: WorkEstimate) => void;
  /** Tokens that are through, in part by layers, of all; several times a second. */
  readonly onProgress?: (done: number, total: number) => void;
}

export const chainOptions = {
  instruction,
  signal,
  onProgress: callback,
  onEstimate: callback,
} as const satisfies Schema<ChainOptions>;

export interface ChainsOptions extends Omit<ChainOptions, 'onProgress'> {
  /** How many chains, at most 256; fewer where there are fewer shots. Default 16. */
  readonly clusters?: number;
  /** Most shots of a chain, the most typical of its cluster; the others are in none. Default: all of the cluster. */
  readonly most?: number;
  /** Chains that are done, parts of one included, and all. */
  readonly onProgress?: (done: number, total: number) => void;
}

export const chainsOptions = {
  ...chainOptions,
  clusters: defaulting(whole(1, 256), 16),
  most: some,
} as const satisfies Schema<ChainsOptions>;
