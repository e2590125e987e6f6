/** How experts are scored, and what a group of them is worth. */
export const SCORES = ['softmax', 'selected-softmax', 'sigmoid'] as const;
export const GROUP_SCORES = ['max', 'top2'] as const;

/** How a token's experts are chosen and weighted. Scores are f32; ties go to the lower number. */
export interface RouterRule {
  /**
   * `softmax`: over all experts, then the topK largest. `selected-softmax`: the topK largest logits, then softmax over these.
   * `sigmoid`: of each logit by itself.
   */
  readonly score: (typeof SCORES)[number];
  /** Whether the weights of the chosen are divided by their sum. */
  readonly renormalise: boolean;
  /** The weights are multiplied by this in the end. */
  readonly scale: number;
  /** Experts stand in this many groups, of which the best topGroups are looked into; 1: no groups. */
  readonly groups: number;
  readonly topGroups: number;
  /** What a group is worth: its largest score, or the sum of its two largest. */
  readonly groupScore: (typeof GROUP_SCORES)[number];
  /** A vector that is added to scores for choosing, not for weighting (`…mlp.gate.e_score_correction_bias`). */
  readonly selectionBias: boolean;
}

/** The mixture of experts of some layers. */
export interface MoeConfig {
  /** Layers that have experts instead of a dense feed-forward, ascending. */
  readonly layers: readonly number[];
  readonly experts: number;
  readonly topK: number;
  /** Inner size of a routed expert. */
  readonly expertSize: number;
  /** Inner size of the expert that every token passes; 0: there is none. */
  readonly sharedSize: number;
  /** Whether the shared expert's output is multiplied by sigmoid(x · gate). */
  readonly sharedGate: boolean;
  readonly router: RouterRule;
}
