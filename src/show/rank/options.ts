/** How shots may be ranked. */
import { object } from '../../options/check.ts';
import { callback, either, isOptions, oneOf, type Rule, whole } from '../../options/rules.ts';
import type { RankMethod } from '../types.ts';

const seeded = object<{ readonly random: number }>({ random: whole(0) }, 'rank', ['random']);

const RANKINGS = ['keys', 'keys-z', 'keys-centred', 'bm25', 'hybrid', 'printed'] as const;

type RankFunction = Extract<RankMethod, (...args: never[]) => unknown>;

const ranking = either(oneOf(...RANKINGS), callback as Rule<unknown> as Rule<RankFunction>);

export const rank: Rule<RankMethod> = {
  takes: `${ranking.takes}, or { random: seed }`,
  check: (value, name) => {
    return isOptions(value) ? seeded.check(value, name) : ranking.check(value, name);
  },
};
