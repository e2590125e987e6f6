import type { ShotPool } from '../pool/pool.ts';
import { byScore } from '../rank/bm25.ts';
import { LabelRidge } from '../rank/ridge/label-ridge.ts';
import { standardise } from '../rank/scores.ts';
import type { EncodedQuery } from '../types.ts';

/** Likeliest labels whose shots stand in turn. */
const CONTRASTED = 4;

/** What the pool says of a query before any shot is shown. */
export interface EvidenceReading {
  /** By label, in their order, summing to 1. */
  readonly shares: Float64Array;
  /** Ids of shots: the nearest of each of the likeliest labels in turn, then all others. */
  contrast(): readonly string[];
}

/** Ridge regression of a pool's labels, fitted when it is first asked, and again when the pool has other shots. */
export class Evidence {
  readonly #pool: ShotPool;
  readonly #labels: readonly string[];
  #ids: readonly string[] = [];
  #features: readonly Float32Array[] = [];
  #classes: readonly number[] = [];
  #ridge: LabelRidge | null = null;

  constructor(pool: ShotPool, labels: readonly string[]) {
    this.#pool = pool;
    this.#labels = labels;
  }

  /** Null where fewer than two shots have a label. All shots have features; the excluded ones do not count. @throws E_OUT_OF_MEMORY, E_ABORTED */
  async read(
    query: EncodedQuery,
    excluded: ReadonlySet<string>,
    signal: AbortSignal | undefined,
  ): Promise<EvidenceReading | null> {
    const ridge = await this.#fitted(signal);
    if (!ridge) return null;
    const without = this.#ids.flatMap((id, i) => (excluded.has(id) ? [i] : []));
    const { shares, weights } = ridge.read(query.features!, without);
    const fair = withUnseen(shares, this.#classes);
    return { shares: fair, contrast: () => this.#contrast(query, fair, weights()) };
  }

  async #fitted(signal: AbortSignal | undefined): Promise<LabelRidge | null> {
    const shots = this.#pool.shots;
    const features = shots.map(({ id }) => this.#pool.features(id)!);
    const classes = shots.map(({ label }) => this.#labels.indexOf(label ?? ''));
    const same =
      features.length === this.#features.length &&
      features.every((one, i) => one === this.#features[i] && classes[i] === this.#classes[i]);
    if (!same) this.#ridge = null;
    if (this.#ridge || classes.filter((label) => label >= 0).length < 2) return this.#ridge;
    const { device, config } = this.#pool.model;
    const width = config.nKvHeads * config.headDim;
    const ridge = await LabelRidge.fit(device, features, classes, this.#labels.length, { width, signal });
    this.#ids = shots.map(({ id }) => id);
    [this.#features, this.#classes, this.#ridge] = [features, classes, ridge];
    return ridge;
  }

  #contrast(query: EncodedQuery, shares: Float64Array, weights: Float64Array): readonly string[] {
    const words = this.#pool.rank(query, 'bm25');
    const place = new Map(this.#ids.map((id, i) => [id, i]));
    const known = words.map(({ id }) => place.get(id)!);
    const columns = words.map(({ score }, i) => Float64Array.of(score, weights[known[i]!]!));
    standardise(columns, 2);
    const nearest = byScore(words.map(({ id }, i) => [id, columns[i]![0]! + columns[i]![1]!] as const));
    const likely = Array.from(shares.keys())
      .sort((a, b) => shares[b]! - shares[a]!)
      .slice(0, CONTRASTED);
    const lists = likely.map((label) => nearest.filter(({ id }) => this.#classes[place.get(id)!] === label));
    const turns = Array.from({ length: Math.max(...lists.map(({ length }) => length)) }, (_, turn) => turn);
    const inTurn = turns.flatMap((turn) => lists.flatMap((list) => list.slice(turn, turn + 1)));
    return [...new Set([...inTurn, ...nearest].map(({ id }) => id))];
  }
}

/** A label of which there is no example keeps an equal share of all: examples of others say nothing against it. */
function withUnseen(shares: Float64Array, classes: readonly number[]): Float64Array {
  const seen = new Set(classes);
  const fair = 1 / shares.length;
  const unseen = shares.filter((_, label) => !seen.has(label));
  const rest = 1 - unseen.length * fair;
  const known = 1 - unseen.reduce((sum, share) => sum + share, 0);
  return shares.map((share, label) => (seen.has(label) ? (share / known) * rest : fair));
}
