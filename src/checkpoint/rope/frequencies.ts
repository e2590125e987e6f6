import type { RopeConfig } from './types.ts';

type Yarn = Extract<RopeConfig['scaling'], { type: 'yarn' }>;
type Dynamic = Extract<RopeConfig['scaling'], { type: 'dynamic' }>;
type Llama3 = Extract<RopeConfig['scaling'], { type: 'llama3' }>;

const f32 = Math.fround;

/**
 * Angles per position of each rotated pair, [rotaryDims/2], and the factor on cos and sin.
 *
 * After `transformers/modeling_rope_utils.py` of Hugging Face (`_compute_linear_scaling_rope_parameters`,
 * `_compute_llama3_parameters`, `_compute_yarn_parameters`, `_compute_dynamic_ntk_parameters`), which works on f32 tensors: each step is rounded to f32 as it is
 * there, because models were trained and are compared with those very frequencies. llama.cpp's YaRN is the same formula
 * (`rope_yarn` in ggml); its `rope_freqs` tensor divides.
 */
export function ropeFrequencies(rope: RopeConfig): { inverseFrequencies: Float64Array; attentionFactor: number } {
  const { rotaryDims, scaling } = rope;
  const half = rotaryDims / 2;
  const theta = scaling.type === 'dynamic' ? dynamicBase(rope, scaling) : rope.theta;
  const frequencies = new Float64Array(half);
  for (let j = 0; j < half; j++) frequencies[j] = f32(1 / f32(theta ** f32((2 * j) / rotaryDims)));

  let attentionFactor = 1;
  switch (scaling.type) {
    case 'none':
    case 'dynamic':
      break;
    case 'linear':
      for (let j = 0; j < half; j++) frequencies[j] = f32(frequencies[j]! / f32(scaling.factor));
      break;
    case 'llama3':
      llama3(frequencies, scaling);
      break;
    case 'yarn':
      attentionFactor = scaling.attentionFactor ?? (scaling.factor <= 1 ? 1 : 0.1 * Math.log(scaling.factor) + 1);
      yarn(frequencies, rope, scaling);
      break;
    default:
      throw scaling satisfies never;
  }
  const divisors = rope.frequencyDivisors;
  if (divisors) for (let j = 0; j < half; j++) frequencies[j] = f32(frequencies[j]! / divisors[j]!);
  return { inverseFrequencies: frequencies, attentionFactor };
}

/** theta · (factor · length / original − (factor − 1))^(r / (r − 2)) beyond the original context, theta within. */
function dynamicBase({ theta, rotaryDims }: RopeConfig, { factor, originalMaxPositions, length }: Dynamic): number {
  if (length <= originalMaxPositions) return theta;
  return theta * ((factor * length) / originalMaxPositions - (factor - 1)) ** (rotaryDims / (rotaryDims - 2));
}

/** Long waves are stretched by the factor, short ones kept, those between blended. */
function llama3(frequencies: Float64Array, scaling: Llama3): void {
  const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositions: original } = scaling;
  const longest = original / low;
  const shortest = original / high;
  for (let j = 0; j < frequencies.length; j++) {
    const frequency = frequencies[j]!;
    const wavelength = f32(f32(2 * Math.PI) / frequency);
    if (wavelength > longest) frequencies[j] = f32(frequency / f32(factor));
    else if (wavelength >= shortest) {
      const smooth = f32(f32(f32(original / wavelength) - f32(low)) / f32(high - low));
      const stretched = f32(f32(f32(1 - smooth) * frequency) / f32(factor));
      frequencies[j] = f32(stretched + f32(smooth * frequency));
    }
  }
}

/** Pairs that turn often within the original context are kept, those that turn less than once interpolated. */
function yarn(frequencies: Float64Array, rope: RopeConfig, scaling: Yarn): void {
  const { rotaryDims, theta } = rope;
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
  for (let j = 0; j < frequencies.length; j++) {
    const kept = frequencies[j]!;
    const stretched = f32(1 / f32(f32(factor) * f32(theta ** f32((2 * j) / rotaryDims))));
    const ramp = Math.min(1, Math.max(0, f32(f32(j - f32(low)) / f32(high - low))));
    const keep = f32(1 - ramp);
    frequencies[j] = f32(f32(stretched * f32(1 - keep)) + f32(kept * keep));
  }
}
