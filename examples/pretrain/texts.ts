import { sha256 } from '../../src/runtime/files/hash.ts';
import { Draw } from './draw.ts';
import { phrases, question, table, translation } from './intl.ts';
import { biography, comparison, questions, sum } from './people.ts';
import { story } from './stories.ts';

const TEXTS = 200;

/** Kinds of texts, and how often each comes. */
const KINDS: readonly (readonly [weight: number, make: (draw: Draw, seed: number) => string])[] = [
  [30, story],
  [10, biography],
  [10, questions],
  [3, comparison],
  [5, sum],
  [16, several(translation)],
  [4, table],
  [6, phrases],
  [6, several(question)],
];

/** One to four of a kind behind each other. */
function several(make: (draw: Draw) => string): (draw: Draw) => string {
  return (draw) => Array.from({ length: draw.int(1, 4) }, () => make(draw)).join('\n');
}

/**
 * Text `index` of an endless stream: a pure function of the two, so that a training goes on from any place, and nothing is stored. What the
 * runtime says in other languages is as its ICU has it.
 */
export function textAt(seed: number, index: number): string {
  const draw = new Draw(seed, TEXTS, index);
  return draw.weighted(KINDS)(draw, seed);
}

/** Of the first texts: runtimes with other names for things have another one. */
export function digestOf(seed: number): Promise<string> {
  return sha256(Array.from({ length: 2000 }, (_, index) => textAt(seed, index)).join('\0'));
}
