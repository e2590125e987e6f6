import { oneOf, type Rule } from '../../options/rules.ts';

/** The types that values can be rounded to. Names alone: whoever checks an option need not load what rounds. */
export const QUANTISED_TYPES = ['q8_0', 'q4_0'] as const;

export type QuantisedType = (typeof QUANTISED_TYPES)[number];

export const quantisedType: Rule<QuantisedType> = oneOf(...QUANTISED_TYPES);
