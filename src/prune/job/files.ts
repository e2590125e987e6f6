import { type RoutedMatrix, routedFiles } from '../../checkpoint/adapter/routed-write.ts';
import { sourceName } from '../../train/write/receipt.ts';
import type { GateValues } from '../gate/join-gates.ts';
import type { PreparedPrune } from './prepare.ts';

/** What both phases and the gate have made of an adapter. */
export interface MadeAdapter {
  /** Factors with all experts, those of earlier requests first. */
  readonly matrices: readonly RoutedMatrix[];
  readonly scale: number;
  /** What the coefficients of the new experts shall be multiplied by. */
  readonly strength: number;
  /** Names of the new experts. */
  readonly names: readonly string[];
  readonly gate: GateValues;
}

/** The files of the adapter of a job. @throws as `routedFiles` */
export function jobFiles(
  { plan, checkpoint, earlier }: Pick<PreparedPrune, 'plan' | 'checkpoint' | 'earlier'>,
  { matrices, scale, strength, names, gate }: MadeAdapter,
): ReadonlyMap<string, Uint8Array> {
  const { rank, rule, request } = plan;
  const first = earlier?.experts.length ?? 0;
  // the rule's strength is that of all experts
  const factor = strength / rule.strength;
  return routedFiles({
    ...{ config: checkpoint.config, base: sourceName(checkpoint), rank, scale, rule, gate },
    experts: [...(earlier?.experts ?? []), ...names.map((name) => ({ name, request }))],
    factors: matrices.map(({ forget, ...rest }) => ({
      ...rest,
      forget: forget.map((b, i) => (i < first || factor === 1 ? b : b.map((value) => value * factor))),
    })),
  });
}
