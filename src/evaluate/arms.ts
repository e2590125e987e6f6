import { EspalierError } from '../errors.ts';
import { listOf, whole } from '../options/rules.ts';
import { shown } from '../options/shown.ts';
import { checkedText } from '../options/texts.ts';

/**
 * Where shots come from, and what they see of each other. `full`: one plain forward pass. `chain`: cached once in a fixed order. `chains`:
 * one such chain for each cluster of the pool.
 */
export type Attention = 'full' | 'bare' | 'prefixed' | 'repair' | 'chain' | 'chains';
const RANKINGS = ['random', 'bm25'] as const;
export type FixedRanking = (typeof RANKINGS)[number];
/** What chooses the number of shots: settings of `Show`, over a pool or over chains. */
export type AdaptivePreset = 'parity' | 'label' | 'chain' | 'chains';

/** One way to answer the items. */
export type Arm =
  | { readonly name: string; readonly kind: 'zero-shot' }
  /** The neighbours by BM25 vote; no model. */
  | { readonly name: string; readonly kind: 'vote'; readonly shots: number }
  | {
      readonly name: string;
      readonly kind: 'fixed';
      readonly attention: Attention;
      readonly ranking: FixedRanking;
      readonly shots: number;
    }
  /**
   * Dynamic block-sparse attention (DBSA, arXiv 2503.08640): random shots in blocks of `block`, of which a query sees `chosen`, the first
   * block among them.
   */
  | {
      readonly name: string;
      readonly kind: 'dbsa';
      readonly shots: number;
      readonly block: number;
      readonly chosen: number;
    }
  /** The number of shots is chosen for each item. */
  | { readonly name: string; readonly kind: 'adaptive'; readonly preset: AdaptivePreset }
  /** The fewest shots of a family of fixed arms that are right, item by item: what choosing the number could give at best. */
  | { readonly name: string; readonly kind: 'oracle'; readonly family: string };

/** Numbers of shots in fixed arms (spec 7.3). */
export const COUNTS = [4, 8, 16, 32, 64, 128] as const;

const REUSED = ['bare', 'prefixed', 'repair'] as const;
const FAMILIES: readonly string[] = [
  ...['full', ...REUSED].flatMap((attention) => RANKINGS.map((ranking) => `${attention}:${ranking}`)),
  'chain',
  'chains',
];

/** Arms of the protocol, in the order in which they share pools. */
export const DEFAULT_ARMS = 'zero-shot,vote,full,bare,label,parity,prefixed,repair,chain,chains,dbsa,oracle';

/**
 * Arms by name, with commas between: `zero-shot`; `vote:16`; `full:bm25:16`, with `bare`, `prefixed` or `repair` in place of `full`, and
 * `random` in place of `bm25`; `chain:16`, `chains:16`; `dbsa:64`, `dbsa:64:16` with 16 shots a block, `dbsa:64:16:2` of which a query sees
 * two; `label`, `parity`, `chain:label` and `chains:label`; `oracle:full:bm25`. What is left out at the end stands for all there are:
 * `full:bm25` for its counts, `full` for both rankings, `oracle` for all families that are run; of `dbsa:64` for what `dbsaArm` says.
 *
 * @param counts numbers of shots that names stand for; default `COUNTS`
 * @throws E_ARGUMENT for a name that is none, or a family without a fixed arm
 */
export function parseArms(text: string, counts: readonly number[] = COUNTS): readonly Arm[] {
  checkedText(text, 'The arms');
  listOf(whole(1), 1).check(counts, 'counts');
  const arms = new Map<string, Arm>();
  const oracles: string[] = [];
  for (const name of text.split(',').map((part) => part.trim())) {
    if (name === 'oracle' || name.startsWith('oracle:')) oracles.push(name);
    else for (const arm of expand(name, counts)) arms.set(arm.name, arm);
  }
  const families = FAMILIES.filter((family) => [...arms.values()].some((arm) => familyOf(arm) === family));
  for (const name of oracles) {
    const family = name.slice('oracle:'.length);
    const wanted = name === 'oracle' ? families : families.filter((f) => f === family);
    if (wanted.length === 0) {
      throw new EspalierError(
        'E_ARGUMENT',
        `${name} needs fixed arms to choose from.`,
        'Name them too, as in full:bm25,oracle:full:bm25.',
      );
    }
    for (const f of wanted) arms.set(`oracle:${f}`, { name: `oracle:${f}`, kind: 'oracle', family: f });
  }
  return [...arms.values()];
}

/** `full:bm25` and so on, of a fixed arm; null of the others. */
export function familyOf(arm: Arm): string | null {
  if (arm.kind !== 'fixed') return null;
  const { attention } = arm;
  return attention === 'chain' || attention === 'chains' ? attention : `${attention}:${arm.ranking}`;
}

function expand(name: string, counts: readonly number[]): Arm[] {
  const [head, second, third, ...more] = name.split(':');
  const number = (text: string): number => {
    const count = Number(text);
    if (!/^\d+$/.test(text) || count < 1) throw unknown(name);
    return count;
  };
  const numbers = (text: string | undefined): readonly number[] => (text === undefined ? counts : [number(text)]);
  if (more.length > (head === 'dbsa' ? 1 : 0)) throw unknown(name);
  switch (head) {
    case 'zero-shot':
      if (second !== undefined) break;
      return [{ name, kind: 'zero-shot' }];
    case 'label':
    case 'parity':
      if (second !== undefined) break;
      return [{ name, kind: 'adaptive', preset: head }];
    case 'vote':
      if (third !== undefined) break;
      return numbers(second).map((shots) => ({ name: `vote:${shots}`, kind: 'vote', shots }));
    case 'chain':
    case 'chains': {
      if (third !== undefined) break;
      const fixed =
        second === 'label'
          ? []
          : numbers(second).map(
              (shots): Arm => ({ name: `${head}:${shots}`, kind: 'fixed', attention: head, ranking: 'random', shots }),
            );
      const adaptive: Arm = { name: `${head}:label`, kind: 'adaptive', preset: head };
      return second === undefined || second === 'label' ? [...fixed, adaptive] : fixed;
    }
    case 'dbsa': {
      const given = [third, ...more].flatMap((text) => (text === undefined ? [] : [number(text)]));
      return numbers(second).map((shots) => dbsaArm(name, shots, given));
    }
    case 'full':
    case 'bare':
    case 'prefixed':
    case 'repair': {
      const rankings = RANKINGS.filter((ranking) => second === undefined || second === ranking);
      if (rankings.length === 0) break;
      return rankings.flatMap((ranking) =>
        numbers(third).map((shots): Arm => {
          return { name: `${head}:${ranking}:${shots}`, kind: 'fixed', attention: head, ranking, shots };
        }),
      );
    }
  }
  throw unknown(name);
}

/** Shots of a block, and blocks at least, where that is not given. */
const [DBSA_BLOCK, DBSA_BLOCKS] = [50, 8];

/**
 * Blocks as in the paper, of 50 shots of which a query sees a third; of fewer than 400 shots there would be so few blocks that next to
 * nothing is chosen, and every block sees all others, so there are eight then. A query sees the anchor and one more at least.
 */
function dbsaArm(name: string, shots: number, [size, count]: readonly number[]): Arm {
  const block = size ?? Math.min(DBSA_BLOCK, Math.ceil(shots / DBSA_BLOCKS));
  const blocks = Math.ceil(shots / block);
  const chosen = count ?? Math.min(blocks, Math.max(2, Math.round(blocks / 3)));
  if (block > shots || chosen > blocks) throw unknown(name);
  const given = [size, count].flatMap((n) => (n === undefined ? [] : [`:${n}`]));
  return { name: `dbsa:${shots}${given.join('')}`, kind: 'dbsa', shots, block, chosen };
}

function unknown(name: string): EspalierError {
  return new EspalierError(
    'E_ARGUMENT',
    `There is no arm ${shown(name)}.`,
    'Examples: zero-shot, vote:16, full:bm25:16, bare:random, chain, label, parity, oracle.',
  );
}
