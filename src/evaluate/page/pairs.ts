import type { Arm } from '../arms.ts';
import { mcnemar } from '../statistics.ts';
import type { ItemResult } from '../types.ts';

/** One item, and what each arm made of it. */
export interface Answers {
  readonly seed: number;
  readonly item: number;
  readonly truth: string;
  /** In the order of the arms; undefined: this arm was not asked. */
  readonly of: readonly (ItemResult | undefined)[];
}

/** Two arms over the items that both answered. */
export interface Pair {
  /** Numbers of the arms in their list. */
  readonly a: number;
  readonly b: number;
  readonly both: number;
  readonly onlyA: number;
  readonly onlyB: number;
  readonly none: number;
  /** Of an exact McNemar test. */
  readonly p: number;
}

/** Results by item: seeds and items ascending. Of several of one arm the first counts. */
export function answersOf(arms: readonly Arm[], results: readonly ItemResult[]): readonly Answers[] {
  const place = new Map(arms.map(({ name }, i) => [name, i]));
  const items = new Map<string, { seed: number; item: number; truth: string; of: (ItemResult | undefined)[] }>();
  for (const result of results) {
    const { seed, item, truth } = result;
    const key = `${seed} ${item}`;
    const found = items.get(key) ?? { seed, item, truth, of: arms.map(() => undefined) };
    found.of[place.get(result.arm)!] ??= result;
    items.set(key, found);
  }
  return [...items.values()].sort((x, y) => x.seed - y.seed || x.item - y.item);
}

export const isRight = ({ label, truth }: ItemResult): boolean => label === truth;

export function pairOf(answers: readonly Answers[], a: number, b: number): Pair {
  const counts = { both: 0, onlyA: 0, onlyB: 0, none: 0 };
  for (const { of } of answers) {
    const [one, other] = [of[a], of[b]];
    if (!one || !other) continue;
    const [first, second] = [isRight(one), isRight(other)];
    counts[first ? (second ? 'both' : 'onlyA') : second ? 'onlyB' : 'none']++;
  }
  return { a, b, ...counts, p: mcnemar(counts.onlyA, counts.onlyB) };
}

/** Items of a pair. */
export const itemsOf = ({ both, onlyA, onlyB, none }: Pair): number => both + onlyA + onlyB + none;

/**
 * Every two arms that answered; the first is what a report begins with: an adaptive arm against the best vote, or else against the best other one.
 * An oracle answers nothing itself.
 */
export function pairsOf(arms: readonly Arm[], answers: readonly Answers[]): readonly Pair[] {
  const rights = arms.map((_, i) => answers.filter(({ of }) => of[i] && isRight(of[i])).length);
  const asked = arms.map((_, i) => i).filter((i) => arms[i]!.kind !== 'oracle' && answers.some(({ of }) => of[i]));
  const best = (list: readonly number[]) => list.toSorted((x, y) => rights[y]! - rights[x]!)[0];
  const ofKind = (kind: Arm['kind']) => asked.filter((i) => arms[i]!.kind === kind);
  const a = best(ofKind('adaptive')) ?? asked[0];
  const b = best(ofKind('vote').filter((i) => i !== a)) ?? best(asked.filter((i) => i !== a));
  const all = asked.flatMap((x, k) => asked.slice(k + 1).map((y) => pairOf(answers, x, y)));
  if (a === undefined || b === undefined) return all;
  return [pairOf(answers, a, b), ...all.filter((pair) => Math.min(a, b) !== pair.a || Math.max(a, b) !== pair.b)];
}
