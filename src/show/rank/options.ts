/** How shots may be ranked. */
import { object } from '../../options/check.ts';
import { callback, either, isOptions, oneOf, type Rule, whole } from '../../options/rules.ts';
import type { RankMethod } from '../types.ts';

const seeded = object<{ readonly random: number }>({ random: whole(0) }, 'rank', ['random']);

type RankName = Extract<RankMethod, string>;

/** What of the query each ranking needs beside its tokens; `centre`: its vector too. */
export const NEEDS: Readonly<Record<RankName, 'vector' | 'centre' | null>> = {
  keys: 'vector',
  'keys-z': 'vector',
  'keys-centred': 'centre',
  bm25: null,
  hybrid: 'centre',
  printed: null,
};

type RankFunction = Extract<RankMethod, (...args: never[]) => unknown>;

const ranking = either(oneOf(...(Object.keys(NEEDS) as RankName[])), callback as Rule<unknown> as Rule<RankFunction>);

export const rank: Rule<RankMethod> = {
  takes: `${ranking.takes}, or { random: seed }`,
  check: (value, name) => {
    return isOptions(value) ? seeded.check(value, name) : ranking.check(value, name);
  },
};
