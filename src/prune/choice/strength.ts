/** What is left of the probability of what is forgotten, with experts of some strength. */
export interface StrengthTried {
  readonly strength: number;
  readonly forget: number;
}

/** The first is that of the look that was chosen. */
const TRIES = 8;
/** Where nothing is found on the other side by then, the end of the range is tried. */
const PATIENCE = 4;
/** What has forgotten and has left so much of what it may have is not worth another try. */
const NEAR = 0.97;
/** A little below what is aimed at, so that the next is on the right side of it. */
const AIM = 0.99;
/** Beyond the strongest that looks try. */
const BEYOND = 1.25;
/** d ln(probability) / d strength, near where answers are forgotten, as long as nothing is known of it: TOFU's looks have -4 to -7. */
const SLOPE = -5;

/**
 * Why experts act as strongly as they do. `look`: as at the look, where nothing else is looked for; `gate`: by what is left of all that is forgotten, through the gate;
 * `retain`: as at the look, since with what is left in mind they would be stronger, and keep too little.
 */
export const STRENGTH_REASONS = ['look', 'gate', 'retain'] as const;
export type StrengthReason = (typeof STRENGTH_REASONS)[number];

/** Weakest and strongest that may be left. @param strengths that looks try; 1 always is */
export function strengthRange(strengths: readonly number[]): readonly [least: number, most: number] {
  return [Math.min(1, ...strengths), BEYOND * Math.max(1, ...strengths)];
}

/**
 * Looks for the weakest strength with which enough is forgotten, to 3 % of what may be left. The logarithm of what is left is nearly linear in the strength there, so each try is
 * where a line through two others, one of either side where there are such, meets what is aimed at.
 * @param first what was tried already @param most what may be left: `mostLeft`
 * @returns all that was tried, in order
 */
export async function weakestStrength(
  first: StrengthTried,
  most: number,
  [least, largest]: readonly [least: number, most: number],
  measure: (strength: number) => Promise<number>,
): Promise<readonly StrengthTried[]> {
  const tried = [first];
  const near = ({ forget }: StrengthTried): boolean => forget <= most && forget >= NEAR * most;
  while (!near(tried.at(-1)!) && tried.length < TRIES) {
    const strength = Math.min(largest, Math.max(least, nextStrength(tried, most, [least, largest])));
    if (tried.some((one) => one.strength === strength)) break;
    tried.push({ strength, forget: await measure(strength) });
  }
  return tried;
}

function nextStrength(
  tried: readonly StrengthTried[],
  most: number,
  [least, largest]: readonly [least: number, most: number],
): number {
  const enough = tried.filter(({ forget }) => forget <= most).sort((a, b) => a.strength - b.strength)[0];
  const short = tried.filter(({ forget }) => forget > most).sort((a, b) => b.strength - a.strength)[0];
  const aim = Math.log(AIM * most);
  const log = ({ forget }: StrengthTried): number => Math.log(Math.max(forget, Number.MIN_VALUE));
  const last = tried.at(-1)!;
  const before = tried.at(-2);
  const [a, b] = enough && short ? [short, enough] : [before, last];
  const measured = a && (log(b!) - log(a)) / (b!.strength - a.strength);
  // a line that goes up leads nowhere
  const slope = measured !== undefined && measured < 0 ? measured : SLOPE;
  const next = b!.strength + (aim - log(b!)) / slope;
  if (!enough && tried.length >= PATIENCE) return largest;
  if (!short && tried.length >= PATIENCE) return least;
  if (!enough || !short) return thousandth(next);
  // within both, and not at either for ever
  const [low, high] = [short.strength, enough.strength].sort((x, y) => x - y) as [number, number];
  const inside = 0.1 * (high - low);
  return thousandth(Math.min(high - inside, Math.max(low + inside, next)));
}

/** Strengths are told and written with three digits behind the point. */
function thousandth(strength: number): number {
  return Math.round(1000 * strength) / 1000;
}

/** The one that is left: the weakest that is enough, or the one that leaves least. @param tried not empty @param most as of `weakestStrength` */
export function settledOf(tried: readonly StrengthTried[], most: number): StrengthTried {
  const better = (one: StrengthTried, than: StrengthTried): boolean => {
    const [a, b] = [one, than].map(({ forget }) => forget <= most);
    if (a !== b) return a!;
    return a ? one.strength < than.strength : one.forget < than.forget;
  };
  return tried.reduce((best, one) => (better(one, best) ? one : best));
}
