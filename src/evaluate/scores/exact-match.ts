import { checked, filled } from '../../options/check.ts';
import { type References, segmentsOf } from './corpus.ts';
import { type ExactMatchOptions, exactMatchOptions } from './options.ts';
import { trimmed } from './words.ts';

/**
 * Share of the hypotheses, in percent, that are one of their references, but for white space at their ends.
 * @throws E_ARGUMENT
 */
export function exactMatch(
  hypotheses: readonly string[],
  references: References,
  options: ExactMatchOptions = {},
): { readonly name: string; readonly score: number; readonly matches: number; readonly count: number } {
  const given = checked<ExactMatchOptions>(exactMatchOptions, options, 'exactMatch()');
  const { lowercase } = filled(exactMatchOptions, given);
  const form = (text: string) => trimmed(lowercase ? text.toLowerCase() : text);
  const segments = segmentsOf(hypotheses, references);
  const matches = segments.filter((one) => one.references.some((text) => form(text) === form(one.hypothesis))).length;
  return { name: 'exact match', score: (100 * matches) / segments.length, matches, count: segments.length };
}
