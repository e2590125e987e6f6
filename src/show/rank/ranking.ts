import type { EncodedQuery, Shot } from '../types.ts';
import type { Bm25 } from './bm25.ts';
import type { CentredKeys } from './centred-keys.ts';

/** What ranking knows of a shot. */
export interface Rankable {
  readonly shot: Shot;
  readonly tokens: number;
  /** Mean key by layer and KV head; null while the shot was never encoded. */
  readonly pooled: Float32Array | null;
}

/** What ranking by keys and words has of a pool. */
export interface RankContext {
  readonly layers: number;
  readonly words: () => Bm25;
  /** Of the shots' keys. */
  readonly centred: (keys: readonly (Float32Array | null)[]) => CentredKeys;
}

/** One way to rank shots, whole. `rankings.ts` lists all. */
export interface Ranking {
  /** What of the query it needs beside its tokens; `centre`: its vector too. */
  readonly needs: 'vector' | 'centre' | null;
  /** A control, for comparisons in programs: the command line does not offer it. */
  readonly control: boolean;
  /**
   * A number for each shot, in their order, the larger the better; -Infinity where a shot was never encoded and its keys are asked for.
   * @throws E_ARGUMENT where the query lacks what is needed
   */
  scores(query: EncodedQuery, shots: readonly Rankable[], context: RankContext): ArrayLike<number>;
}
