/** Which look of a method is kept, and which rate: one rule for all. */
/** log10 of forget quality, and the probability of what is kept. */
interface Looked {
  readonly log10: number;
  readonly retain: number;
}

/** Of the probability of what is kept so much has to stay. */
export const KEPT = 0.98;

/**
 * The look with the highest forget quality among those that keep 98 % of the probability of what is kept, of equal ones that which keeps more; where none
 * does, that which keeps most. It sees the test: for rivals that is as good as any rule could choose.
 * @param before of what is kept, by the model as it was
 */
export function bestLook<T extends Looked>(looks: readonly T[], before: number): T | null {
  let best: T | null = null;
  for (const look of looks) if (best === null || isBetterLook(look, best, before)) best = look;
  return best;
}

export function isBetterLook<T extends Looked>(one: T, than: T, before: number): boolean {
  const [a, b] = [one, than].map(({ retain }) => retain >= KEPT * before);
  if (a !== b) return a!;
  return a && one.log10 !== than.log10 ? one.log10 > than.log10 : one.retain > than.retain;
}
