import type { Device, Tensor } from '../device/device.ts';

/** A low-rank term of a linear layer [N, K]: y += scale · (x Aᵀ) Bᵀ (Hu et al. 2021, arXiv 2106.09685). */
export interface LoraTerm {
  readonly a: Tensor; // [r, K], f32 rows
  readonly b: Tensor; // [N, r], f32 rows
  /** alpha / r, or alpha / √r with rsLoRA (Kalajdzievski 2023), times the weight of the adapter. */
  readonly scale: number;
}

/** Terms of the matrices of a block, by their names in its weights; a matrix may have those of several adapters. */
export type LoraTerms<Part extends string> = { readonly [P in Part]?: readonly LoraTerm[] };

/** Gradients by the factors of a term, of their shapes; null: frozen. */
export interface LoraGradient {
  readonly a: Tensor | null; // [r, K]
  readonly b: Tensor | null; // [N, r]
}

/**
 * out [T, N] += Σ over terms of scale · (x Aᵀ) Bᵀ, x [T, K]. Rows are read as they stand: nothing is packed, so that factors may be
 * trained, and the matrix that they correct may have any type.
 * @param alone as in `Device.linear`
 */
export function addLora(
  device: Device,
  terms: readonly LoraTerm[] | undefined,
  x: Tensor,
  out: Tensor,
  alone: boolean,
): void {
  if (!terms) return;
  for (const { a, b, scale } of terms) {
    const mark = device.mark();
    const inner = device.scratch('f32', [x.shape[0]!, a.shape[0]!]);
    device.matmul(x, a, inner, { transposeB: true, alone });
    device.matmul(inner, b, out, { transposeB: true, alpha: scale, accumulate: true, alone });
    device.reset(mark);
  }
}

/**
 * Of `addLora`: dB += scale · dOutᵀ (x Aᵀ), dA += (scale · dOut B)ᵀ x, dX += (scale · dOut B) A. x Aᵀ is computed again: it costs r / N of
 * the layer.
 *
 * @param gradients of each term, null where it is frozen
 * @param dX null where nobody asks for it
 */
export function addLoraBackward(
  device: Device,
  terms: readonly LoraTerm[] | undefined,
  gradients: readonly (LoraGradient | null)[] | undefined,
  x: Tensor,
  dOut: Tensor,
  dX: Tensor | null,
): void {
  if (!terms) return;
  for (const [i, { a, b, scale }] of terms.entries()) {
    const gradient = gradients?.[i];
    if (!gradient && !dX) continue;
    const mark = device.mark();
    const shape = [x.shape[0]!, a.shape[0]!];
    if (gradient?.b) {
      const inner = device.scratch('f32', shape);
      device.matmul(x, a, inner, { transposeB: true });
      device.matmul(dOut, inner, gradient.b, { transposeA: true, alpha: scale, accumulate: true });
    }
    if (gradient?.a || dX) {
      const dInner = device.scratch('f32', shape);
      device.matmul(dOut, b, dInner, { alpha: scale });
      if (gradient?.a) device.matmul(dInner, x, gradient.a, { transposeA: true, accumulate: true });
      if (dX) device.matmul(dInner, a, dX, { accumulate: true });
    }
    device.reset(mark);
  }
}
