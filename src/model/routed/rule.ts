import { EspalierError } from '../../errors.ts';
import { NULL_SLOT } from './gate.ts';

/**
 * Which experts act at a position, by its entropy and what the gate says. `pn`: where the entropy is high the best experts share the position,
 * elsewhere the best alone acts, or none. `tr`: experts act where the entropy is high alone. (Public notes on ALTER, arXiv 2603.01792, differ.)
 */
export interface RoutingRule {
  readonly path: 'pn' | 'tr';
  /** Tsallis entropy of the unadapted model above which a position is high; null: none is, and no entropy is computed. */
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

/**
 * Coefficients of the experts at one position. The null slot takes its share and gives it to nobody.
 * @param logits of the gate [experts + 1]
 * @param entropy not read where the rule has no cut
 * @param out [experts], replaced
 * @throws E_TENSOR_VALUE where logits or entropy are no numbers
 */
export function coefficientsOf(rule: RoutingRule, logits: Float32Array, entropy: number, out: Float32Array): void {
  const isHigh = rule.cut !== null && entropy > rule.cut;
  out.fill(0);
  const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const best = order[0]!;
  if (!logits.every(Number.isFinite) || (rule.cut !== null && Number.isNaN(entropy))) {
    throw new EspalierError(
      'E_TENSOR_VALUE',
      'The gate of an adapter gives numbers that are not finite.',
      'The model or the adapter is damaged.',
    );
  }
  if (!isHigh) {
    if (rule.path === 'pn' && best !== NULL_SLOT) out[best - 1] = rule.strength;
    return;
  }
  const largest = logits[best]!;
  const weight = (slot: number): number => Math.exp((logits[slot]! - largest) / rule.temperature);
  const sharing = order.filter((slot) => slot !== NULL_SLOT).slice(0, rule.most);
  const total = sharing.reduce((sum, slot) => sum + weight(slot), weight(NULL_SLOT));
  for (const slot of sharing) out[slot - 1] = (rule.strength * weight(slot)) / total;
}
