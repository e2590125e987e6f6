import type { Device, GatedActivation, StepArguments, Tensor } from './device.ts';

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
}

export function fusedOf(device: Device): FusedDevice | null {
  return 'fused' in device ? (device as FusedDevice) : null;
}
