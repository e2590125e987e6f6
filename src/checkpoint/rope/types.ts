import type { RopeScaling } from './scalings.ts';

export type { RopeScaling } from './scalings.ts';

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
