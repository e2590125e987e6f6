import type { ShotPool } from '../pool/pool.ts';
import { byScore } from '../rank/bm25.ts';
import { LabelRidge } from '../rank/ridge/label-ridge.ts';
import { standardise } from '../rank/scores.ts';
import type { EncodedQuery } from '../types.ts';

/** Likeliest labels whose shots stand in turn. */
const CONTRASTED = 4;

/** Shots that are left out of a fit query by query; of more another one is fitted. */
const MOST_LEFT_OUT = 64;

/** What the pool says of a query before any shot is shown. */
export interface EvidenceReading {
  /** By label, in their order, summing to 1. */
  readonly shares: Float64Array;
  /** Ids of shots: the nearest of each of the likeliest labels in turn, then all others. */
  contrast(): readonly string[];
}

/** Shots that a regression is of, as they were then: the pool may have others by now. */
interface Members {
  readonly ids: readonly string[];
  readonly features: readonly Float32Array[];
  /** Index of each one's label; -1: none, or it does not count. */
  readonly classes: readonly number[];
}

interface Regression extends Members {
  readonly ridge: LabelRidge;
}

/** Ridge regression of a pool's labels, fitted when it is first asked, and again when the pool has other shots. */
export class Evidence {
  readonly #pool: ShotPool;
  readonly #labels: readonly string[];
  #whole: Regression | null = null;
  /** Of the last time when many were left out. */
  #part: Regression | null = null;

  constructor(pool: ShotPool, labels: readonly string[]) {
    this.#pool = pool;
    this.#labels = labels;
  }

  /** Null where shots say nothing of each other's labels; the excluded ones do not count. @throws E_OUT_OF_MEMORY, E_ABORTED */
  async read(
    query: EncodedQuery,
    excluded: ReadonlySet<string>,
    signal: AbortSignal | undefined,
  ): Promise<EvidenceReading | null> {
    const members = this.#members();
    const out = members.ids.flatMap((id, i) => (excluded.has(id) && members.classes[i]! >= 0 ? [i] : []));
    const many = out.length > MOST_LEFT_OUT;
    const regression = many
      ? await this.#fittedPart(members, new Set(out), signal)
      : await this.#fittedWhole(members, signal);
    if (!regression?.ridge.says) return null;
    const { shares, weights } = regression.ridge.read(query.features!, many ? [] : out);
    const fair = withUnseen(shares, regression.classes);
    return { shares: fair, contrast: () => this.#contrast(query, regression, fair, weights()) };
  }

  /** Shots that were encoded. */
  #members(): Members {
    const [ids, features, classes]: [string[], Float32Array[], number[]] = [[], [], []];
    for (const { id, label } of this.#pool.shots) {
      const own = this.#pool.features(id);
      if (!own) continue;
      ids.push(id);
      features.push(own);
      classes.push(label === undefined ? -1 : this.#labels.indexOf(label));
    }
    return { ids, features, classes };
  }

  async #fittedWhole(members: Members, signal: AbortSignal | undefined): Promise<Regression | null> {
    if (!this.#whole || !isSame(this.#whole, members)) this.#whole = await this.#fit(members, signal);
    return this.#whole;
  }

  async #fittedPart(
    members: Members,
    out: ReadonlySet<number>,
    signal: AbortSignal | undefined,
  ): Promise<Regression | null> {
    const part = { ...members, classes: members.classes.map((label, i) => (out.has(i) ? -1 : label)) };
    if (!this.#part || !isSame(this.#part, part)) this.#part = await this.#fit(part, signal);
    return this.#part;
  }

  async #fit(members: Members, signal: AbortSignal | undefined): Promise<Regression | null> {
    const { features, classes } = members;
    if (classes.filter((label) => label >= 0).length < 2) return null;
    const { device, config } = this.#pool.model;
    const width = config.nKvHeads * config.headDim;
    const ridge = await LabelRidge.fit(device, features, classes, this.#labels.length, { width, signal });
    return { ...members, ridge };
  }

  #contrast(
    query: EncodedQuery,
    { ids, classes }: Regression,
    shares: Float64Array,
    weights: Float64Array,
  ): readonly string[] {
    const place = new Map(ids.map((id, i) => [id, i]));
    const words = this.#pool.rank(query, 'bm25').filter(({ id }) => place.has(id));
    const columns = words.map(({ id, score }) => Float64Array.of(score, weights[place.get(id)!]!));
    standardise(columns, 2);
    const nearest = byScore(words.map(({ id }, i) => [id, columns[i]![0]! + columns[i]![1]!] as const));
    const likely = Array.from(shares.keys()).sort((a, b) => shares[b]! - shares[a]!);
    const lists = likely
      .slice(0, CONTRASTED)
      .map((label) => nearest.filter(({ id }) => classes[place.get(id)!] === label));
    const turns = Array.from({ length: Math.max(...lists.map(({ length }) => length)) }, (_, turn) => turn);
    const inTurn = turns.flatMap((turn) => lists.flatMap((list) => list.slice(turn, turn + 1)));
    return [...new Set([...inTurn, ...nearest].map(({ id }) => id))];
  }
}

function isSame(a: Members, b: Members): boolean {
  return (
    a.ids.length === b.ids.length &&
    a.ids.every((id, i) => id === b.ids[i] && a.features[i] === b.features[i] && a.classes[i] === b.classes[i])
  );
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
