import type { TokenRouting } from '../../model/routed/rule.ts';
import { visibleName } from '../../model/text/visible.ts';

/** From this coefficient on, whatever its sign, an expert counts as acting: a softmax leaves something to everyone. */
const ACTS = 0.01;

/** How experts of an adapter were chosen where a token was predicted, one position before its own. */
export interface AuditedRouting extends TokenRouting {
  /** Which of those that act (`ACTS`) has the largest coefficient, as a place among the experts of the audit; null: none acts. */
  readonly expert: number | null;
}

export function auditedRouting(routing: TokenRouting): AuditedRouting {
  let expert: number | null = null;
  for (const [i, own] of routing.coefficients.entries()) {
    // a weight below 0 turns what an expert does around
    if (acts(own) && (expert === null || Math.abs(own) > Math.abs(routing.coefficients[expert]!))) expert = i;
  }
  return { expert, ...routing };
}

const acts = (coefficient: number): boolean => Math.abs(coefficient) >= ACTS;

/** How many experts act there. */
const actingCount = ({ coefficients }: TokenRouting): number => coefficients.filter(acts).length;

/** What an expert is called in marks: its number, from 1 on, and a plus where others act, too; null: none acts. */
export function expertMark(
  routing: AuditedRouting | null,
): { readonly number: number; readonly others: boolean } | null {
  if (routing === null || routing.expert === null) return null;
  return { number: routing.expert + 1, others: actingCount(routing) > 1 };
}

/**
 * Where experts act, for people.
 * @param routings of tokens that are predicted; null: nothing is known of it
 */
export function expertsStatement(experts: readonly string[], routings: readonly (AuditedRouting | null)[]): string {
  const known = routings.filter((own) => own !== null);
  const acting = known.filter((own) => own.expert !== null);
  const several = acting.filter((own) => actingCount(own) > 1).length;
  const by = experts.map(
    (name, i) => `${visibleName(name)} at ${acting.filter(({ coefficients }) => acts(coefficients[i]!)).length}`,
  );
  const together = several > 0 ? `; several together at ${several}` : '';
  return `Of ${known.length} predicted tokens experts act at ${acting.length}: ${by.join(', ')}${together}.`;
}
