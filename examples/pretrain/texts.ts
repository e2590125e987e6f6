import { sha256 } from '../../src/runtime/files/hash.ts';
import { Draw } from './draw.ts';
import { phrases, question, table, translation } from './intl.ts';
import { biography, comparison, EVERYONE, type People, questions, sum } from './people.ts';
import { story } from './stories.ts';

const TEXTS = 200;

/** Texts from here on are held out: no training comes so far. */
export const HELD_OUT: number = 2 ** 40;

/** What texts are made from, beside a seed. */
export interface Mixture {
  readonly people: People;
  /** Stories that were written, each drawn as often as any other; none: all stories are by the grammar. */
  readonly stories: readonly string[];
}

export const PLAIN: Mixture = { people: EVERYONE, stories: [] };

interface Kind {
  readonly name: string;
  readonly make: (draw: Draw, seed: number, mixture: Mixture) => string;
}

/** Kinds of texts, and how often each comes. */
const KINDS: readonly (readonly [weight: number, kind: Kind])[] = [
  [30, { name: 'stories', make: story }],
  [10, { name: 'biographies', make: (draw, seed, { people }) => biography(draw, seed, people) }],
  [10, { name: 'questions about people', make: (draw, seed, { people }) => questions(draw, seed, people) }],
  [3, { name: 'comparisons', make: (draw, seed, { people }) => comparison(draw, seed, people) }],
  [5, { name: 'sums', make: sum }],
  [16, { name: 'translations', make: several(translation) }],
  [4, { name: 'tables', make: table }],
  [6, { name: 'phrases', make: phrases }],
  [6, { name: 'questions about words', make: several(question) }],
];

/** The same with written stories, most of which the grammar's give way to. */
const KINDS_WITH_STORIES: typeof KINDS = [
  ...KINDS.map(([weight, kind]) => [kind.make === story ? 6 : weight, kind] as const),
  [40, { name: 'written stories', make: (draw, _, { stories }) => draw.pick(stories) }],
];

export const KIND_NAMES: readonly string[] = KINDS.map(([, { name }]) => name);

/** One to four of a kind behind each other. */
function several(make: (draw: Draw) => string): (draw: Draw) => string {
  return (draw) => Array.from({ length: draw.int(1, 4) }, () => make(draw)).join('\n');
}

/** Text `index`, and its kind. */
export function kindAndTextAt(
  seed: number,
  index: number,
  mixture: Mixture = PLAIN,
): { readonly kind: string; readonly text: string } {
  const draw = new Draw(seed, TEXTS, index);
  const { name, make } = draw.weighted(mixture.stories.length === 0 ? KINDS : KINDS_WITH_STORIES);
  return { kind: name, text: make(draw, seed, mixture) };
}

/**
 * Text `index` of an endless stream: a pure function of the two and of the mixture, so that a training goes on from any place, and nothing is
 * stored. What the runtime says in other languages is as its ICU has it.
 */
export function textAt(seed: number, index: number, mixture: Mixture = PLAIN): string {
  return kindAndTextAt(seed, index, mixture).text;
}

/** Of the first texts: runtimes with other names for things have another one. */
export function digestOf(seed: number, mixture: Mixture = PLAIN): Promise<string> {
  return sha256(Array.from({ length: 2000 }, (_, index) => textAt(seed, index, mixture)).join('\0'));
}
