import * as v from 'valibot';
import { configInvalid, unsupported } from './limits.ts';
import type { RopeConfig, RopeScaling } from './types.ts';

const optional = v.nullish(v.number());
/** Valibot takes an array for an object. */
const noList = v.check((value: unknown) => !Array.isArray(value), 'is a list');

/** `rope_scaling` (transformers 4) and `rope_parameters` (5), whose type stands under either of two names. */
const ScalingSchema = v.looseObject({
  type: v.nullish(v.string()),
  rope_type: v.nullish(v.string()),
  rope_theta: optional,
  partial_rotary_factor: optional,
  factor: optional,
  low_freq_factor: optional,
  high_freq_factor: optional,
  original_max_position_embeddings: optional,
  beta_fast: optional,
  beta_slow: optional,
  attention_factor: optional,
  mscale: optional,
  mscale_all_dim: optional,
  truncate: v.nullish(v.boolean()),
});
const OuterSchema = v.looseObject({
  rope_theta: optional,
  partial_rotary_factor: optional,
  original_max_position_embeddings: optional,
  rope_scaling: v.nullish(v.pipe(v.unknown(), noList, ScalingSchema)),
  rope_parameters: v.nullish(v.pipe(v.unknown(), noList, ScalingSchema)),
});
type Scaling = v.InferOutput<typeof ScalingSchema>;

/**
 * RoPE as config.json tells it. @throws E_CONFIG_INVALID, and E_ARCHITECTURE_UNSUPPORTED for longrope and unknown kinds
 */
export function ropeFromConfig(
  raw: Readonly<Record<string, unknown>>,
  headDim: number,
  maxPositions: number,
  name: string,
): RopeConfig {
  const parsed = v.safeParse(OuterSchema, raw, { abortEarly: true });
  if (!parsed.success) {
    const issue = parsed.issues[0];
    throw configInvalid(name, `${v.getDotPath(issue) ?? 'RoPE'}: ${issue.message.slice(0, 200)}`);
  }
  const outer = parsed.output;
  const inner: Scaling = outer.rope_parameters ?? outer.rope_scaling ?? {};
  if ('full_attention' in inner || 'sliding_attention' in inner) {
    throw unsupported(name, 'its layers differ in RoPE');
  }
  const share = inner.partial_rotary_factor ?? outer.partial_rotary_factor ?? 1;
  const original = outer.original_max_position_embeddings ?? inner.original_max_position_embeddings ?? maxPositions;
  return {
    theta: inner.rope_theta ?? outer.rope_theta ?? 10_000,
    rotaryDims: Math.trunc(headDim * share),
    layout: 'half',
    scaling: scalingOf(inner, original, maxPositions, name),
    frequencyDivisors: null,
  };
}

function scalingOf(inner: Scaling, original: number, maxPositions: number, name: string): RopeScaling {
  const type = inner.rope_type ?? inner.type ?? 'default';
  const need = (key: 'factor' | 'low_freq_factor' | 'high_freq_factor'): number => {
    const value = inner[key];
    if (typeof value !== 'number') throw configInvalid(name, `the RoPE scaling of type ${type} has no ${key}`);
    return value;
  };
  switch (type) {
    case 'default':
      return { type: 'none' };
    case 'linear':
      return { type: 'linear', factor: need('factor') };
    case 'llama3':
      return {
        type: 'llama3',
        factor: need('factor'),
        lowFreqFactor: need('low_freq_factor'),
        highFreqFactor: need('high_freq_factor'),
        originalMaxPositions: original,
      };
    case 'dynamic':
      // as there, the original context is the model's, until `withContext` asks for more
      return { type: 'dynamic', factor: need('factor'), originalMaxPositions: maxPositions, length: maxPositions };
    case 'yarn': {
      const factor = inner.factor ?? maxPositions / original;
      return {
        type: 'yarn',
        factor,
        originalMaxPositions: original,
        // as there: 0 counts as absent
        betaFast: inner.beta_fast || 32,
        betaSlow: inner.beta_slow || 1,
        attentionFactor: inner.attention_factor ?? quotientOfScales(inner, factor),
        truncate: inner.truncate ?? true,
      };
    }
    default:
      throw unsupported(name, `its RoPE scaling is ${type.slice(0, 100)}`);
  }
}

/** The attention factor of configurations with both `mscale` and `mscale_all_dim`; undefined leaves the default. */
function quotientOfScales(inner: Scaling, factor: number): number | undefined {
  const { mscale, mscale_all_dim: all } = inner;
  if (!mscale || !all) return undefined;
  const scale = (by: number) => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  return scale(mscale) / scale(all);
}
