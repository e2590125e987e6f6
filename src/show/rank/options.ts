/** How shots may be ranked. */
import { object } from '../../options/check.ts';
import { callback, either, isOptions, oneOf, type Rule, whole } from '../../options/rules.ts';
import { RANK_NAMES, type RankMethod } from './rankings.ts';

const seeded = object<{ readonly random: number }>({ random: whole(0) }, 'rank', ['random']);

type RankFunction = Extract<RankMethod, (...args: never[]) => unknown>;

const ranking = either(oneOf(...RANK_NAMES), callback as Rule<unknown> as Rule<RankFunction>);

export const rank: Rule<RankMethod> = {
  takes: `${ranking.takes}, or { random: seed }`,
  check: (value, name) => {
    return isOptions(value) ? seeded.check(value, name) : ranking.check(value, name);
  },
};
