import { rounded } from '../digits.ts';

/** How much the routed experts of a layer give at the start. */
export interface Branch {
  /**
   * Size of the routed branch beside the dense feed-forward: RMS of Σ weight · expert(x) over RMS of the dense output, over normal inputs x
   * (N(0, 1) in each component) that the layer's router shares out. Where corrections are folded into the dense weights: RMS of what the
   * branch differs from the dense output by, which is theirs.
   */
  readonly branchSize: number;
  /** RMS of what the whole layer, shared expert and branch, differs from the dense output by, over RMS of that. */
  readonly change: number;
}

export interface BranchOptions {
  readonly plan: { readonly topK: number; readonly anchor: string };
  readonly experts: number;
  readonly hidden: number;
  /** [experts, hidden] */
  readonly router: Float32Array;
  readonly renormalise: boolean;
  /** [inputs, hidden] */
  readonly inputs: Float32Array;
  /** Some components of the dense output and of each expert's [components, inputs]. */
  readonly dense: Float32Array;
  readonly outputs: readonly Float32Array[];
  /** What the shared expert is multiplied by; 0: there is none. */
  readonly sharedScale: number;
}

/** @throws nothing: the outputs are finite, and the dense one is not all zeros */
export function branchOf(options: BranchOptions): Branch {
  const { plan, hidden, inputs, dense, outputs, sharedScale } = options;
  const count = inputs.length / hidden;
  const folded = plan.anchor === 'folded';
  let [branch, change, whole] = [0, 0, 0];
  for (let t = 0; t < count; t++) {
    const chosen = routed(options, inputs.subarray(t * hidden, (t + 1) * hidden));
    for (let at = t; at < dense.length; at += count) {
      const exact = dense[at]!;
      let sum = 0;
      // the weights sum to 1, and a difference of one expert loses fewer digits
      for (const [e, weight] of chosen) sum += weight * (outputs[e]![at]! - (folded ? exact : 0));
      const off = folded ? sum : sharedScale * exact + sum - exact;
      branch += sum * sum;
      change += off * off;
      whole += exact * exact;
    }
  }
  return { branchSize: rounded(Math.sqrt(branch / whole)), change: rounded(Math.sqrt(change / whole)) };
}

/** The experts of one input with their weights, by descending logit, the lower number first of equals: softmax, over the chosen or over all. */
function routed({ plan, experts, hidden, router, renormalise }: BranchOptions, x: Float32Array): [number, number][] {
  const logits = Array.from({ length: experts }, (_, e) => {
    let sum = 0;
    for (let c = 0; c < hidden; c++) sum += router[e * hidden + c]! * x[c]!;
    return sum;
  });
  const order = logits.map((_, e) => e).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const top = logits[order[0]!]!;
  const weight = (e: number) => Math.exp(logits[e]! - top);
  const chosen = order.slice(0, plan.topK);
  const total = (renormalise ? chosen : order).reduce((sum, e) => sum + weight(e), 0);
  return chosen.map((e) => [e, weight(e) / total]);
}
