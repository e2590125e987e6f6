import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { LocalModel } from '../../model/model.ts';
import { checked } from '../../options/check.ts';
import { checkedModel, checkedShots } from '../checks.ts';
import { shotBytes } from '../pool/stored.ts';
import { prefixIds } from '../pool/units.ts';
import { Work } from '../pool/work.ts';
import { Bm25 } from '../rank/bm25.ts';
import { wordsFor } from '../rank/rank.ts';
import type { Ranked, Shot } from '../types.ts';
import { Chain, checkIds } from './chain.ts';
import { clusterTexts } from './clusters.ts';
import { type ChainsOptions, chainsOptions } from './options.ts';

/** Of a ranking, so many of the best shots have a say in which chain is taken. */
const DECIDING = 8;

/**
 * A chain for each cluster of shots, clustered by the words they share; a query is answered behind the chain that most of its best ranked
 * shots are in. Exact for causal attention as any chain is, and nothing is placed for a query. Each chain holds its own keys and values in
 * f32: all together they take what the shots' tokens take in a cache.
 */
export class Chains {
  readonly model: LocalModel;
  readonly chains: readonly Chain[];
  readonly #words = new Bm25();
  /** Index of the chain by shot. */
  readonly #chainOf = new Map<string, number>();
  readonly #shots = new Map<string, Shot>();

  private constructor(model: LocalModel, chains: readonly Chain[]) {
    this.model = model;
    this.chains = chains;
    for (const [i, { placed }] of chains.entries()) {
      for (const shot of placed) {
        this.#words.add(shot.id, wordsFor(shot));
        this.#chainOf.set(shot.id, i);
        this.#shots.set(shot.id, shot);
      }
    }
  }

  /**
   * @throws E_ARGUMENT for no shots, an id that stands twice, or more shots than can be clustered (8192); E_CONTEXT_LENGTH when a chain does
   *   not fit, E_OUT_OF_MEMORY, E_ABORTED, E_DISPOSED
   */
  static async create(model: LocalModel, shots: readonly Shot[], options: ChainsOptions = {}): Promise<Chains> {
    const given = checked<ChainsOptions>(chainsOptions, options, 'Chains.create()');
    const { clusters = 16, most = Number.POSITIVE_INFINITY, onProgress, onEstimate, ...rest } = given;
    throwIfAborted(rest.signal);
    checkedModel(model).checkOpen();
    if (checkedShots(shots).length === 0) {
      throw new EspalierError('E_ARGUMENT', 'There are no shots.', 'Give one or more.');
    }
    checkIds(shots);
    const groups = clusterTexts(shots.map(wordsFor), clusters).map((group) => group.slice(0, most));
    const prefix = prefixIds(model, rest.instruction).length;
    const lengths = shots.map(({ text }) => model.encode(text, { addBos: false }).length);
    const sizes = groups.map((group) => prefix + group.reduce((sum, index) => sum + lengths[index]!, 0));
    const tokens = sizes.reduce((sum, size) => sum + size, 0);
    const total = { shots: groups.flat().length, tokens, bytes: shotBytes(model.config, tokens, 'f32') };
    const work = new Work(total, onEstimate, () => {});
    const chains: Chain[] = [];
    try {
      for (const [i, group] of groups.entries()) {
        const members = group.map((index) => shots[index]!);
        const share = (done: number, all: number) => onProgress?.(i + done / all, groups.length);
        const started = performance.now();
        chains.push(await Chain.create(model, members, { ...rest, ...(onProgress && { onProgress: share }) }));
        work.done(sizes[i]!, performance.now() - started);
      }
      return new Chains(model, chains);
    } catch (error) {
      for (const chain of chains) chain.close();
      throw error;
    }
  }

  /** All shots in chains, the best first, by words. */
  rank(input: string): readonly Ranked[] {
    return this.#words.rank(input);
  }

  /** @throws E_ARGUMENT */
  shot(id: string): Shot {
    const shot = this.#shots.get(id);
    if (shot) return shot;
    throw new EspalierError(
      'E_ARGUMENT',
      `There is no shot "${id.slice(0, 60)}" in these chains.`,
      'Name one of them.',
    );
  }

  /** The chain that the first 8 of a ranking speak for most, the r-th with 1 / r. @throws E_ARGUMENT */
  choose(ranking: readonly string[]): Chain {
    const says = new Float64Array(this.chains.length);
    for (const [i, id] of ranking.slice(0, DECIDING).entries()) {
      const { id: known } = this.shot(id);
      says[this.#chainOf.get(known)!]! += 1 / (i + 1);
    }
    return this.chains[says.indexOf(Math.max(...says))]!;
  }

  /** Device bytes of all chains. */
  get byteLength(): number {
    return this.chains.reduce((sum, chain) => sum + chain.byteLength, 0);
  }

  close(): void {
    for (const chain of this.chains) chain.close();
  }
}
