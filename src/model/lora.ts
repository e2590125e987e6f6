import type { Device, Tensor } from '../device/device.ts';
import type { TrainDevice } from '../device/train-device.ts';

/**
 * A low-rank term of a linear layer [N, K]: y += scale · (x Aᵀ) Bᵀ (Hu et al. 2021, arXiv 2106.09685). Terms behind one another may share A, as
 * those of experts do (HydraLoRA, arXiv 2404.19245): x Aᵀ is computed once for them.
 */
export interface LoraTerm {
  readonly a: Tensor; // [r, K], f32 rows
  readonly b: Tensor; // [N, r], f32 rows
  /** alpha / r, or alpha / √r with rsLoRA (Kalajdzievski 2023), times the weight of the adapter. */
  readonly scale: number;
  /** Column of the routing of a pass whose coefficients multiply the term row by row; a term without one always counts in full. */
  readonly expert?: number;
}

/** Terms of the matrices of a block, by their names in its weights; a matrix may have those of several adapters. */
export type LoraTerms<Part extends string> = { readonly [P in Part]?: readonly LoraTerm[] };

/** Gradients by the factors of a term, of their shapes; null: frozen. */
export interface LoraGradient {
  readonly a: Tensor | null; // [r, K]
  readonly b: Tensor | null; // [N, r]
}

/** The routing of a pass on its way back. */
export interface RoutingPair {
  /** By row and expert, as `addLora` had them. */
  readonly coefficients: Tensor; // [T, E]
  /** What their gradient is added to; null: nobody asks for it. */
  readonly gradient: Tensor | null; // [T, E]
}

/**
 * out [T, N] += Σ over terms of scale · (coefficient ∘) (x Aᵀ) Bᵀ, x [T, K]. Rows are read as they stand: nothing is packed, so that factors may
 * be trained, and the matrix that they correct may have any type. A coefficient of 1 gives the bits of a term without an expert, 0 those of
 * none.
 * @param routing coefficients by row and expert [T, E]; null: all 0, which costs nothing
 * @param alone as in `Device.linear`
 * @throws E_SHAPE where an expert has no column
 */
export function addLora(
  device: Device,
  terms: readonly LoraTerm[] | undefined,
  routing: Tensor | null,
  x: Tensor,
  out: Tensor,
  alone: boolean,
): void {
  if (!terms) return;
  const mark = device.mark();
  let inner: Tensor | null = null;
  let of: Tensor | null = null;
  for (const { a, b, scale, expert } of terms) {
    if (expert !== undefined && !routing) continue;
    if (!inner || !isSame(a, of)) {
      device.reset(mark);
      inner = innerOf(device, a, x, alone);
      of = a;
    }
    const inside = device.mark();
    const weighed = weighedOf(device, inner, routing, expert);
    device.matmul(weighed, b, out, { transposeB: true, alpha: scale, accumulate: true, alone });
    device.reset(inside);
  }
  device.reset(mark);
}

/**
 * Of `addLora`: dB += scale · dOutᵀ (c ∘ x Aᵀ), and with D = Σ over terms that share A of scale · c ∘ (dOut B), dA += Dᵀ x, dX += D A,
 * and of an expert's coefficients dc += scale · Σ_r (x Aᵀ) ∘ (dOut B). x Aᵀ is computed again: it costs r / N of the layer.
 *
 * @param gradients of each term, null where it is frozen
 * @param dX null where nobody asks for it
 */
export function addLoraBackward(
  device: TrainDevice,
  terms: readonly LoraTerm[] | undefined,
  gradients: readonly (LoraGradient | null)[] | undefined,
  routing: RoutingPair | null,
  x: Tensor,
  dOut: Tensor,
  dX: Tensor | null,
): void {
  if (!terms) return;
  const steps = terms.flatMap((term, i): Step[] => {
    const { a = null, b = null } = gradients?.[i] ?? {};
    return term.expert === undefined || routing ? [{ term, dA: a, dB: b }] : [];
  });
  for (let first = 0, end = 0; first < steps.length; first = end) {
    const { term, dA } = steps[first]!;
    while (end < steps.length && isSame(steps[end]!.term.a, term.a) && isSame(steps[end]!.dA, dA)) end++;
    sharedBackward(device, steps.slice(first, end), dA, routing, x, dOut, dX);
  }
}

/** A term on the way back, and what its gradients are added to. */
interface Step {
  readonly term: LoraTerm;
  readonly dA: Tensor | null;
  readonly dB: Tensor | null;
}

/** Of terms that share A, and its gradient. */
function sharedBackward(
  device: TrainDevice,
  steps: readonly Step[],
  dA: Tensor | null,
  routing: RoutingPair | null,
  x: Tensor,
  dOut: Tensor,
  dX: Tensor | null,
): void {
  const { a } = steps[0]!.term;
  const mark = device.mark();
  const { coefficients = null, gradient = null } = routing ?? {};
  const asks = ({ dB, term }: Step): boolean => dB !== null || (gradient !== null && term.expert !== undefined);
  const inner = steps.some(asks) ? innerOf(device, a, x, false) : null;
  const dInner = dA || dX ? device.scratch('f32', [x.shape[0]!, a.shape[0]!]) : null;
  for (const [i, { term, dB }] of steps.entries()) {
    const { b, scale, expert } = term;
    const inside = device.mark();
    if (dB) {
      const weighed = weighedOf(device, inner!, coefficients, expert);
      device.matmul(dOut, weighed, dB, { transposeA: true, alpha: scale, accumulate: true });
    }
    if (expert === undefined) {
      if (dInner) device.matmul(dOut, b, dInner, { alpha: scale, accumulate: i > 0 });
    } else if (dInner || gradient) {
      const own = dInner && i === 0 ? dInner : device.scratch('f32', [x.shape[0]!, a.shape[0]!]);
      device.matmul(dOut, b, own, { alpha: scale });
      if (gradient) device.scaleRowsBackward(inner!, coefficients!, expert, own, null, gradient);
      if (dInner) {
        device.scaleRows(own, coefficients!, expert, own);
        if (own !== dInner) device.add(own, dInner);
      }
    }
    device.reset(inside);
  }
  if (dInner && dA) device.matmul(dInner, x, dA, { transposeA: true, accumulate: true });
  if (dInner && dX) device.matmul(dInner, a, dX, { accumulate: true });
  device.reset(mark);
}

/** x Aᵀ [T, r], scratch. */
function innerOf(device: Device, a: Tensor, x: Tensor, alone: boolean): Tensor {
  const inner = device.scratch('f32', [x.shape[0]!, a.shape[0]!]);
  device.matmul(x, a, inner, { transposeB: true, alone });
  return inner;
}

/** Its rows by the coefficients of an expert, scratch; of a term without one as they are. */
function weighedOf(device: Device, inner: Tensor, routing: Tensor | null, expert: number | undefined): Tensor {
  if (expert === undefined) return inner;
  const weighed = device.scratch('f32', inner.shape);
  device.scaleRows(inner, routing!, expert, weighed);
  return weighed;
}

/** Whether two are one: factors and gradients may be views, made for each term. */
function isSame(a: Tensor | null, b: Tensor | null): boolean {
  return a === b || (a !== null && b !== null && a.storage === b.storage && a.offset === b.offset);
}

/** Whether an expert has one of these terms. */
export function hasExperts<Part extends string>(terms: LoraTerms<Part> | undefined): boolean {
  const lists = Object.values(terms ?? {}) as readonly (readonly LoraTerm[])[];
  return lists.some((list) => list.some(({ expert }) => expert !== undefined));
}
