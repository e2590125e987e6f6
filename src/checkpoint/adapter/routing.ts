/** How experts of an adapter are chosen by position: the rule, and which of its cuts can be reached. */

/**
 * Which experts act at a position, by its entropy and what the gate says. `pn`: where the entropy is high the best experts share the position,
 * elsewhere the best alone acts, or none. `tr`: experts act where the entropy is high alone. (Public notes on ALTER, arXiv 2603.01792, differ.)
 */
export interface RoutingRule {
  readonly path: 'pn' | 'tr';
  /** Tsallis entropy of the unadapted model above which a position is high; null: none is. */
  readonly cut: number | null;
  /** q of that entropy. */
  readonly order: number;
  /** `predictive`: of the distribution that predicts the next token; `lagged`: of the one that the token itself came from. */
  readonly alignment: 'predictive' | 'lagged';
  /** What logits are divided by where the entropy is high. Where it is low the largest takes all. */
  readonly temperature: number;
  /** Experts that may share a position. */
  readonly most: number;
  /** What all coefficients are multiplied by. */
  readonly strength: number;
}

export const ROUTING_RULE: RoutingRule = {
  path: 'pn',
  cut: 1.2,
  order: 1.5,
  alignment: 'predictive',
  temperature: 0.8,
  most: 3,
  strength: 1,
};

/** Of a uniform distribution over so many tokens, more than which no entropy of order q is: (1 - V^(1 - q)) / (q - 1), or ln V. */
export function highestEntropy(q: number, vocabSize: number): number {
  return q === 1 ? Math.log(vocabSize) : -Math.expm1((1 - q) * Math.log(vocabSize)) / (q - 1);
}
