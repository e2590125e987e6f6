export type RopeScaling =
  | { readonly type: 'none' }
  | { readonly type: 'linear'; readonly factor: number }
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
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
  | {
      /** NTK-aware scaling by length: the base grows with a text longer than the original context. */
      readonly type: 'dynamic';
      readonly factor: number;
      readonly originalMaxPositions: number;
      /** The length that frequencies are for, whatever the text's: rotations add up only while frequencies stay. */
      readonly length: number;
    };

export interface RopeConfig {
  readonly theta: number;
  /** How many leading dimensions of a head rotate; the rest are copied. */
  readonly rotaryDims: number;
  /** `half`: pairs (j, j + r/2); `interleaved`: pairs (2j, 2j + 1). */
  readonly layout: 'half' | 'interleaved';
  readonly scaling: RopeScaling;
  /** Per-frequency divisors from a GGUF's `rope_freqs.weight` (llama3 scaling baked in by the converter), or null. */
  readonly frequencyDivisors: Float32Array | null;
}

/** Which layers rotate otherwise than by the model's `rope`. */
export interface LayerRopes {
  /** The RoPE of `localRopeLayers`, of as many dimensions in the same layout; null: there is no second one. */
  readonly localRope: RopeConfig | null;
  /** Ascending; empty exactly where `localRope` is null. */
  readonly localRopeLayers: readonly number[];
  /** Layers that rotate nothing (NoPE), ascending. */
  readonly noRopeLayers: readonly number[];
}

/** All layers by the same one. */
export const ONE_ROPE: LayerRopes = { localRope: null, localRopeLayers: [], noRopeLayers: [] };

/** What RoPE depends on beside its own keys. */
export interface RopeContext {
  readonly headDim: number;
  readonly maxPositions: number;
  /** Base where no key gives one. */
  readonly theta: number;
  /** Whether a part of each head may rotate; no class of transformers here computes that, our own configuration does. */
  readonly partial: boolean;
}
