import type { EspalierError } from '../../errors.ts';
import type { ConfigKeys } from '../config/keys.ts';

export const f32 = Math.fround;

/** What turns: the base, and how many leading dimensions of a head. */
export interface Rotation {
  readonly theta: number;
  readonly rotaryDims: number;
}

/** Angles per position of each rotated pair [rotaryDims/2], and the factor on cos and sin. */
export interface Frequencies {
  readonly inverseFrequencies: Float64Array;
  readonly attentionFactor: number;
}

/** Where config.json tells of a scaling. */
export interface ScalingKeys {
  /** Of `rope_scaling`, or of `rope_parameters`. */
  readonly inner: ConfigKeys;
  readonly maxPositions: number;
  /** A number that must be there. @throws E_CONFIG_INVALID */
  need(key: string): number;
  /** `original_max_position_embeddings`: outside before inside, else the model's positions. */
  original(): number;
}

/** Where a GGUF file tells of one. */
export interface GgufScaling {
  readonly factor: number;
  readonly maxPositions: number;
  /** What llama.cpp multiplies its own attention factor by. */
  readonly extraFactor: number;
  number(key: string): number | undefined;
  whole(key: string): number | undefined;
  unsupported(what: string): EspalierError;
}

/** How a scaling's numbers are held against what they must be. */
export interface ScalingCheck {
  readonly rotaryDims: number;
  /** @throws E_CONFIG_INVALID unless it is a positive number; `key` names it as config.json does */
  positive(key: string, value: number): void;
  invalid(what: string): EspalierError;
}

/** One way of changing RoPE's frequencies, whole: how it is read, checked, computed and written. `scalings.ts` lists all. */
export interface ScalingKind<S extends { readonly type: string }> {
  /** @throws E_CONFIG_INVALID */
  fromJson(keys: ScalingKeys): S;
  /** Null: llama.cpp has none by this name. @throws E_ARCHITECTURE_UNSUPPORTED, E_CONFIG_INVALID */
  readonly fromGguf: ((keys: GgufScaling) => S) | null;
  /** As `rope_scaling` of config.json says it. */
  toJson(scaling: S): Readonly<Record<string, unknown>> | null;
  /** @throws E_CONFIG_INVALID */
  check(scaling: S, check: ScalingCheck): void;
  /**
   * After `transformers/modeling_rope_utils.py` of Hugging Face, which works on f32 tensors: each step is rounded to f32 as it is there, because
   * models were trained and are compared with those very frequencies.
   */
  frequencies(scaling: S, rotation: Rotation): Frequencies;
  /** For models whose context may be longer than they say: how long at most, and the scaling for such a length. Null: none. */
  readonly longer: { most(scaling: S): number; at(scaling: S, length: number): S } | null;
}

/** Of plain RoPE: theta^(-2j/r). */
export function plainFrequencies({ theta, rotaryDims }: Rotation): Float64Array {
  const frequencies = new Float64Array(rotaryDims / 2);
  for (let j = 0; j < frequencies.length; j++) frequencies[j] = f32(1 / f32(theta ** f32((2 * j) / rotaryDims)));
  return frequencies;
}
