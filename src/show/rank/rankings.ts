import type { EncodedQuery, Shot } from '../types.ts';
import type { Ranking } from './ranking.ts';
import { bm25 } from './rankings/bm25.ts';
import { hybrid } from './rankings/hybrid.ts';
import { keys } from './rankings/keys.ts';
import { keysCentred } from './rankings/keys-centred.ts';
import { keysZ } from './rankings/keys-z.ts';
import { printed } from './rankings/printed.ts';

export const RANKINGS = {
  keys,
  'keys-z': keysZ,
  'keys-centred': keysCentred,
  bm25,
  hybrid,
  printed,
} as const satisfies Readonly<Record<string, Ranking>>;

export type RankName = keyof typeof RANKINGS;

export const RANK_NAMES = Object.keys(RANKINGS) as readonly RankName[];

/**
 * How shots are ranked. `keys`: mean product of the query's and a shot's vectors before RoPE, over layers and heads (R2). `keys-z`: the
 * same, each layer standardised over the pool first (R2z). `keys-centred`: mean over layers of the cosine of the query's vector less the
 * pool's centre and the shot's less the pool's mean. `bm25`: by words. `hybrid`: the last two, standardised over the pool, in equal parts.
 * `random`: by a seed. `printed`: the formula as the paper prints it, which is 1 / tokens whatever the query: a negative control. Or a
 * function that gives a score for each shot.
 */
export type RankMethod =
  | RankName
  | { readonly random: number }
  | ((query: EncodedQuery, shots: readonly Shot[]) => readonly number[]);
