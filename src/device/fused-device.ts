import type { Device, GatedActivation, StepArguments, Tensor } from './device.ts';

/** How `expertShares` chooses: of the rule of an adapter (src/checkpoint/adapter/routing.ts). */
export interface ShareRule {
  /** Entropy above which experts share a position; null: none is. */
  readonly cut: number | null;
  readonly temperature: number;
  readonly most: number;
  readonly strength: number;
  /** Whether an expert acts where the entropy is not above the cut. */
  readonly actsLow: boolean;
}

export interface DrawArguments {
  /** f32 [T, V]. */
  readonly logits: Tensor;
  /** What `logitStats` gave of them. */
  readonly numbers: Tensor;
  readonly places: Tensor;
  /** f32 [T, fields]: `DRAW_RULE` of src/device/webgpu/draw-rule.ts. */
  readonly rules: Tensor;
  /** What `topK` gave of each row, likeliest first: f32 and i32 [T, K], K up to `MOST_LISTED`; null where no row is drawn of some. */
  readonly listed: { readonly values: Tensor; readonly places: Tensor } | null;
  /** i32 [T]: the token of each row, -1 where those that are listed do not prove it. */
  readonly ids: Tensor;
  /** f32 [T]: its logit. */
  readonly drawn: Tensor;
}

/**
 * A device on which a command costs more than what it computes for few rows: it has operations that are several of `Device` at once. Each row gets the bits that
 * these give it alone. Whoever finds none of it calls the others.
 */
export interface FusedDevice extends Device {
  readonly fused: true;
  /** outs[i] [T, Ni] = norm(x) · weights[i] [Ni, K]ᵀ: `rmsNorm` of the rows of x [T, K], and `linear` alone. */
  normLinear(x: Tensor, norm: Tensor, eps: number, weights: readonly Tensor[], outs: readonly Tensor[]): void;
  /** out [T, N] = act(n · gateᵀ) · (n · upᵀ), n = norm(x): `normLinear` and `gatedActivation`; gate and up [N, K]. */
  normGated(kind: GatedActivation, x: Tensor, norm: Tensor, eps: number, gate: Tensor, up: Tensor, out: Tensor): void;
  /** residual [T, N] += x [T, K] · weight [N, K]ᵀ: `linear` alone and `add`. */
  addLinear(x: Tensor, weight: Tensor, residual: Tensor): void;
  /** residual [S, N] += attended · weight [N, nHeads · headDim]ᵀ: `attendEach` and `addLinear`. What is in args.out is undefined behind. */
  attendLinear(args: StepArguments, weight: Tensor, residual: Tensor): void;
  /**
   * What the terms of experts are multiplied by, out [T, E], of the logits [T, E + 1] of a gate, that of no expert first, and entropies [T], which are null where there
   * is no cut: `coefficientsOf` of src/model/routed/rule.ts, but that the choice stays on the device. Of what is no number, NaN.
   */
  expertShares(logits: Tensor, entropies: Tensor | null, rule: ShareRule, out: Tensor): void;
  /**
   * A token of each row, as `Sampler` (src/model/generate/sampler.ts) draws it with that number of [0, 1), but that its sums are f32: where the number is closer than
   * some 1e-6 to the border between two tokens it may be the other one, and where top-p is that close to the mass of some tokens, one more or less of them counts.
   */
  drawRows(args: DrawArguments): void;
}

export function fusedOf(device: Device): FusedDevice | null {
  return 'fused' in device ? (device as FusedDevice) : null;
}
