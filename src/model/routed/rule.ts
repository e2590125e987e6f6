import type { RoutingRule } from '../../checkpoint/adapter/routing.ts';
import type { ShareRule } from '../../device/fused-device.ts';
import { EspalierError } from '../../errors.ts';
import { NULL_SLOT } from './gate.ts';

/** How the experts of an adapter were chosen at one position. */
export interface TokenRouting {
  /** Of the gate, by slot, that of no expert first: the softmax of its logits. */
  readonly probabilities: readonly number[];
  /** What the terms of each expert are multiplied by; 0: it does not act. */
  readonly coefficients: readonly number[];
  /** Tsallis entropy of the unadapted model that rule and gate went by; null where they go by none, and where there is none yet. */
  readonly entropy: number | null;
  /** Whether that is above the cut of the rule, so that experts may share the position. */
  readonly high: boolean;
}

/** Whether an expert acts where the entropy is low. */
const ACTS_LOW: Readonly<Record<RoutingRule['path'], boolean>> = { pn: true, tr: false };

/** What a device needs of it to choose as `coefficientsOf` does. */
export function shareRule({ cut, temperature, most, strength, path }: RoutingRule): ShareRule {
  return { cut, temperature, most, strength, actsLow: ACTS_LOW[path] };
}

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

/**
 * What `coefficientsOf` decided, and from what, for people and records.
 * @param entropy that it was given; null: nobody knows, or asks
 */
export function tokenRouting(
  rule: RoutingRule,
  logits: Float32Array,
  entropy: number | null,
  coefficients: Float32Array,
): TokenRouting {
  const largest = logits.reduce((most, x) => Math.max(most, x));
  const shares = Array.from(logits, (x) => Math.exp(x - largest));
  const total = shares.reduce((sum, x) => sum + x);
  return {
    probabilities: shares.map((x) => x / total),
    coefficients: Array.from(coefficients),
    entropy,
    high: rule.cut !== null && (entropy === null || entropy > rule.cut),
  };
}
