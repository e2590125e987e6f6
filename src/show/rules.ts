/** Rules that the schemas of showing share. */
import { listOf, type Rule, real, text, whole, words } from '../options/rules.ts';

/** An integer, or Infinity for no limit. */
export const atMost = (least: number): Rule<number> => {
  const limited = whole(least, Number.MAX_SAFE_INTEGER, `an integer of at least ${least}, or Infinity`);
  return {
    ...limited,
    check: (value, name) => (value === Number.POSITIVE_INFINITY ? value : limited.check(value, name)),
  };
};

export const factor = real(0.01, 100);

const MOST_SHOTS = 1e6;

export const count = whole(0, MOST_SHOTS);

export const some = whole(1, MOST_SHOTS);

export const instruction = text();

export const ids = listOf(words);
