import type { RoutingRule } from '../../checkpoint/adapter/routing.ts';
import { EspalierError } from '../../errors.ts';
import { NULL_SLOT } from './gate.ts';

/** Whether an expert acts where the entropy is low. */
const ACTS_LOW: Readonly<Record<RoutingRule['path'], boolean>> = { pn: true, tr: false };

/**
 * Coefficients of the experts at one position. The null slot takes its share and gives it to nobody.
 * @param logits of the gate [experts + 1]
 * @param entropy not read where the rule has no cut
 * @param out [experts], replaced
 * @throws E_TENSOR_VALUE where logits or entropy are no numbers
 */
export function coefficientsOf(rule: RoutingRule, logits: Float32Array, entropy: number, out: Float32Array): void {
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
  if (rule.cut === null || entropy <= rule.cut) {
    if (best !== NULL_SLOT && ACTS_LOW[rule.path]) out[best - 1] = rule.strength;
    return;
  }
  const largest = logits[best]!;
  const weight = (slot: number): number => Math.exp((logits[slot]! - largest) / rule.temperature);
  const sharing = order.filter((slot) => slot !== NULL_SLOT).slice(0, rule.most);
  const total = sharing.reduce((sum, slot) => sum + weight(slot), weight(NULL_SLOT));
  for (const slot of sharing) out[slot - 1] = (rule.strength * weight(slot)) / total;
}
