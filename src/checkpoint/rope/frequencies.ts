import { type Frequencies, f32 } from './scaling.ts';
import { scalingKind } from './scalings.ts';
import type { RopeConfig } from './types.ts';

/**
 * Angles per position of each rotated pair, [rotaryDims/2], and the factor on cos and sin. What a GGUF's `rope_freqs` tensor holds
 * divides them.
 */
export function ropeFrequencies(rope: RopeConfig): Frequencies {
  const { scaling, frequencyDivisors: divisors } = rope;
  const { inverseFrequencies, attentionFactor } = scalingKind(scaling).frequencies(scaling, rope);
  if (divisors) {
    for (let j = 0; j < inverseFrequencies.length; j++) {
      inverseFrequencies[j] = f32(inverseFrequencies[j]! / divisors[j]!);
    }
  }
  return { inverseFrequencies, attentionFactor };
}
