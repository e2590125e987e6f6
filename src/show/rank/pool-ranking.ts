import type { KvCache } from '../../model/kv-cache.ts';
import type { LocalModel } from '../../model/model.ts';
import type { EncodeQueryOptions } from '../pool/options.ts';
import type { EncodedQuery, Ranked, Shot } from '../types.ts';
import { Bm25 } from './bm25.ts';
import { CentredKeys } from './centred-keys.ts';
import { meanQuery } from './query-vector.ts';
import { rankShots, wordsFor } from './rank.ts';
import type { Rankable } from './ranking.ts';
import type { RankMethod } from './rankings.ts';
import { promptFeatures } from './ridge/prompt-features.ts';

/** Texts whose mean query is the centre: more give no better ranking. */
const CENTRE = 16;

/** What a pool needs to rank its shots, made when it is first needed. */
export class PoolRanking {
  readonly #model: LocalModel;
  readonly #withPrefix: <T>(work: (cache: KvCache) => Promise<T>) => Promise<T>;
  readonly #words = new Bm25();
  #centre: Promise<Float32Array | null> | null = null;
  #centred: CentredKeys | null = null;

  constructor(model: LocalModel, withPrefix: <T>(work: (cache: KvCache) => Promise<T>) => Promise<T>) {
    this.#model = model;
    this.#withPrefix = withPrefix;
  }

  put(shot: Shot): void {
    this.#words.add(shot.id, wordsFor(shot));
    this.#centre = null;
  }

  remove(id: string): void {
    this.#words.remove(id);
    this.#centre = null;
  }

  /** Best first. Of shots with equal text only the best is in it. */
  rank(query: EncodedQuery, method: RankMethod, shots: readonly Rankable[]): readonly Ranked[] {
    const layers = this.#model.config.nLayers;
    const centred = (keys: readonly (Float32Array | null)[]): CentredKeys => {
      if (!this.#centred?.isOf(keys)) this.#centred = new CentredKeys(keys, layers);
      return this.#centred;
    };
    const texts = new Map(shots.map(({ shot }) => [shot.id, shot.text]));
    const seen = new Set<string>();
    return rankShots(query, shots, method, { layers, words: () => this.#words, centred }).filter(({ id }) => {
      const text = texts.get(id)!;
      return !seen.has(text) && seen.add(text);
    });
  }

  /**
   * What is asked for of a query's tokens.
   * @param seen rows of the prefix that shots see, and the query for its features
   * @param texts tokens of the shots
   */
  async vectorsOf(
    ids: readonly number[],
    seen: number,
    texts: () => readonly (readonly number[])[],
    { withVector = true, withCentre = true, withFeatures = false, signal }: EncodeQueryOptions,
  ): Promise<Pick<EncodedQuery, 'vector' | 'centre' | 'features'>> {
    return {
      vector: withVector ? await this.meanQuery([ids], signal) : null,
      centre: withVector && withCentre ? await this.centre(texts()) : null,
      features: withFeatures
        ? await this.#withPrefix((cache) => promptFeatures(this.#model.decoder, cache, ids, seen, signal))
        : null,
    };
  }

  /** Mean query of texts behind the prefix. */
  meanQuery(texts: readonly (readonly number[])[], signal?: AbortSignal): Promise<Float32Array> {
    return this.#withPrefix((cache) => meanQuery(this.#model.decoder, cache, texts, signal));
  }

  /** Mean query of some of these texts, from all over the pool; null where there are none. */
  centre(texts: readonly (readonly number[])[]): Promise<Float32Array | null> {
    const step = Math.max(1, Math.floor(texts.length / CENTRE));
    const some = texts.filter((_, i) => i % step === 0).slice(0, CENTRE);
    if (some.length === 0) return Promise.resolve(null);
    if (!this.#centre) {
      const made = this.meanQuery(some);
      made.catch(() => {
        if (this.#centre === made) this.#centre = null;
      });
      this.#centre = made;
    }
    return this.#centre;
  }
}
