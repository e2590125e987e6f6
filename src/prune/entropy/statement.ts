import type { EntropyDistribution } from './distribution.ts';
import type { EntropySplit } from './split.ts';
import { effectiveTokens } from './tsallis.ts';

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const shown = (x: number): string => String(Number(x.toFixed(3)));

/** What was counted, and by what rule, for people. */
export function splitStatement(split: EntropySplit): string {
  const { q, cut, rule, asked, percentile, tokens, high, share } = split;
  const is = high === 1 ? 'is' : 'are';
  // where q is above 1 the highest entropy belongs to no number of tokens
  const alike = effectiveTokens(cut, q);
  const about = Number.isFinite(alike) ? `, that of ${Number(alike.toPrecision(3))} equally likely tokens` : '';
  const found = `${high} of ${tokens} ${tokens === 1 ? 'token' : 'tokens'} (${percent(share)}) ${is} high: entropy ${q === 1 ? 'H (Shannon)' : `S_${q}`} above ${shown(cut)}${about}.`;
  switch (rule) {
    case 'cut':
      return found;
    case 'percentile':
      return `${found} The cut is the ${percentile}th percentile of these tokens.`;
    case 'fallback':
      return `${found} The cut ${shown(asked!.cut)} would mark ${percent(asked!.share)} as high, which separates too little: the ${percentile}th percentile of these tokens takes its place.`;
    default:
      return rule satisfies never;
  }
}

/** Whether there are two kinds, for people. */
export function bimodalityStatement({ bimodality }: EntropyDistribution): string {
  if (bimodality === null) return 'Bimodality: too few tokens to say.';
  const { coefficient, uniform } = bimodality;
  const place = coefficient > uniform ? 'above' : 'not above';
  return `Bimodality: Sarle’s coefficient is ${coefficient.toFixed(3)}, ${place} the ${uniform.toFixed(3)} of a uniform distribution (a strong skew lifts it, too).`;
}
