import { EspalierError } from '../../errors.ts';
import { defaulting, real, type Schema, truth } from '../../options/rules.ts';

/** When a token counts as one that the model was uncertain about. */
export interface EntropyOptions {
  /** Order of the Tsallis entropy; 1 is Shannon's, in nats. Default 1.5. */
  readonly q?: number;
  /**
   * A token is high where the entropy of what was predicted in its place is above this. Default 1.2. No entropy of order q is above
   * (1 - V^(1 - q)) / (q - 1), V tokens being in the vocabulary: a cut that cannot be reached is refused.
   */
  readonly cut?: number;
  /** In place of a cut: the percentile of the entropies that were measured, 80 for the highest fifth. */
  readonly percentile?: number;
  /** Whether the 80th percentile replaces a cut above which fewer than 5 % or more than 60 % of the tokens are. Default true. */
  readonly fallback?: boolean;
}

export const entropyOptions = {
  q: defaulting(real(0, 100, { above: true }), 1.5),
  cut: real(0),
  percentile: real(0, 100),
  fallback: defaulting(truth, true),
} as const satisfies Schema<EntropyOptions>;

export const CUT = 1.2;

/** @throws E_ARGUMENT for a cut and a percentile */
export function checkOneOf({ cut, percentile }: EntropyOptions): void {
  if (cut === undefined || percentile === undefined) return;
  throw new EspalierError('E_ARGUMENT', '`cut` and `percentile` are both given.', 'Give one of them.');
}
