import type { ConfigKeys } from '../config/keys.ts';
import { f32, plainFrequencies, type Rotation, type ScalingKind } from './scaling.ts';

/** Pairs that turn often within the original context are kept, those that turn less than once interpolated (arXiv 2309.00071). */
export interface YarnScaling {
  readonly type: 'yarn';
  readonly factor: number;
  readonly originalMaxPositions: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Multiplies cos and sin; undefined: 0.1·ln(factor) + 1. */
  readonly attentionFactor: number | undefined;
  /** Whether the correction range is rounded outwards (the default of Hugging Face and of the paper's code). */
  readonly truncate: boolean;
}

export const yarn: ScalingKind<YarnScaling> = {
  fromJson: ({ inner, need, original, maxPositions }) => {
    const originalMaxPositions = original();
    // null is what the context lengths say; without the key transformers fails
    const factor = inner.value('factor') === null ? maxPositions / originalMaxPositions : need('factor');
    return {
      type: 'yarn',
      factor,
      originalMaxPositions,
      // as there: 0 counts as absent
      betaFast: inner.optional('beta_fast') || 32,
      betaSlow: inner.optional('beta_slow') || 1,
      attentionFactor: inner.optional('attention_factor') ?? quotientOfScales(inner, factor),
      truncate: inner.value('truncate') === null ? false : inner.flag('truncate', true),
    };
  },
  fromGguf: ({ factor, maxPositions, extraFactor, number, whole, unsupported }) => {
    if ((number('rope.scaling.yarn_ext_factor') ?? 1) !== 1) throw unsupported('its YaRN extrapolates partly');
    if ((number('rope.scaling.yarn_log_multiplier') ?? 0) !== 0) {
      throw unsupported('its YaRN has a logarithmic multiplier');
    }
    return {
      type: 'yarn',
      factor,
      originalMaxPositions: whole('rope.scaling.original_context_length') ?? maxPositions,
      betaFast: number('rope.scaling.yarn_beta_fast') ?? 32,
      betaSlow: number('rope.scaling.yarn_beta_slow') ?? 1,
      // ggml multiplies its own 1 + 0.1·ln(factor) by this
      attentionFactor: extraFactor === 1 ? undefined : extraFactor * (0.1 * Math.log(factor) + 1),
      truncate: true,
    };
  },
  toJson: ({ factor, originalMaxPositions, betaFast, betaSlow, attentionFactor, truncate }) => ({
    rope_type: 'yarn',
    factor,
    original_max_position_embeddings: originalMaxPositions,
    beta_fast: betaFast,
    beta_slow: betaSlow,
    ...(attentionFactor === undefined ? {} : { attention_factor: attentionFactor }),
    truncate,
  }),
  check: ({ factor, originalMaxPositions, betaFast, betaSlow, attentionFactor }, { positive }) => {
    positive('factor', factor);
    positive('original_max_position_embeddings', originalMaxPositions);
    positive('beta_fast', betaFast);
    positive('beta_slow', betaSlow);
    if (attentionFactor !== undefined) positive('attention_factor', attentionFactor);
  },
  /** `_compute_yarn_parameters`; llama.cpp's is the same formula (`rope_yarn` in ggml). */
  frequencies: (scaling, rotation) => ({
    inverseFrequencies: interpolated(scaling, rotation),
    attentionFactor: scaling.attentionFactor ?? (scaling.factor <= 1 ? 1 : 0.1 * Math.log(scaling.factor) + 1),
  }),
  longer: null,
};

function interpolated(scaling: YarnScaling, { theta, rotaryDims }: Rotation): Float64Array {
  const { factor, originalMaxPositions, betaFast, betaSlow, truncate } = scaling;
  // the pair that turns `rotations` times within the original context
  const pairOf = (rotations: number) =>
    (rotaryDims * Math.log(originalMaxPositions / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  let low = pairOf(betaFast);
  let high = pairOf(betaSlow);
  if (truncate) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, rotaryDims - 1);
  if (low === high) high += 0.001; // as there: no division by zero
  return plainFrequencies({ theta, rotaryDims }).map((kept, j) => {
    const stretched = f32(1 / f32(f32(factor) * f32(theta ** f32((2 * j) / rotaryDims))));
    const ramp = Math.min(1, Math.max(0, f32(f32(j - f32(low)) / f32(high - low))));
    const keep = f32(1 - ramp);
    return f32(f32(stretched * f32(1 - keep)) + f32(kept * keep));
  });
}

/** The attention factor of configurations with both `mscale` and `mscale_all_dim`; undefined leaves the default. */
function quotientOfScales(inner: ConfigKeys, factor: number): number | undefined {
  const [mscale, all] = [inner.optional('mscale'), inner.optional('mscale_all_dim')];
  if (!mscale || !all) return undefined;
  const scale = (by: number) => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  return scale(mscale) / scale(all);
}
