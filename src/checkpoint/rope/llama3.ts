import { f32, plainFrequencies, type ScalingKind } from './scaling.ts';

/** Long waves are stretched by the factor, short ones kept, those between blended. */
export interface Llama3Scaling {
  readonly type: 'llama3';
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxPositions: number;
}

export const llama3: ScalingKind<Llama3Scaling> = {
  fromJson: ({ need, original }) => ({
    type: 'llama3',
    factor: need('factor'),
    lowFreqFactor: need('low_freq_factor'),
    highFreqFactor: need('high_freq_factor'),
    originalMaxPositions: original(),
  }),
  // its converter bakes the frequencies into `rope_freqs.weight`
  fromGguf: null,
  toJson: ({ factor, lowFreqFactor, highFreqFactor, originalMaxPositions }) => ({
    rope_type: 'llama3',
    factor,
    low_freq_factor: lowFreqFactor,
    high_freq_factor: highFreqFactor,
    original_max_position_embeddings: originalMaxPositions,
  }),
  check: ({ factor, lowFreqFactor, highFreqFactor, originalMaxPositions }, { positive, invalid }) => {
    positive('factor', factor);
    positive('low_freq_factor', lowFreqFactor);
    positive('high_freq_factor', highFreqFactor);
    positive('original_max_position_embeddings', originalMaxPositions);
    if (highFreqFactor <= lowFreqFactor) {
      throw invalid('the RoPE scaling’s high_freq_factor is not above its low_freq_factor');
    }
  },
  /** `_compute_llama3_parameters`. */
  frequencies: (scaling, rotation) => {
    const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositions: original } = scaling;
    const longest = original / low;
    const shortest = original / high;
    const inverseFrequencies = plainFrequencies(rotation).map((frequency) => {
      const wavelength = f32(f32(2 * Math.PI) / frequency);
      if (wavelength > longest) return f32(frequency / f32(factor));
      if (!(wavelength >= shortest)) return frequency;
      const smooth = f32(f32(f32(original / wavelength) - f32(low)) / f32(high - low));
      const stretched = f32(f32(f32(1 - smooth) * frequency) / f32(factor));
      return f32(stretched + f32(smooth * frequency));
    });
    return { inverseFrequencies, attentionFactor: 1 };
  },
  longer: null,
};
