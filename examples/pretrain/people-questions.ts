import { expand, FIRST_ONE } from './grammar.ts';
import { isTenth, type People, person, QUESTIONS, slotsOf } from './people.ts';

/** A question and its answer, as `espalier train` and `espalier prune` take them. */
export interface Pair {
  /** `Question: …\nAnswer:` */
  readonly prompt: string;
  /** It begins with a space. */
  readonly answer: string;
}

/** Whom to ask about: everybody, only those whom a twin has never heard of, or all but them. */
export const TENTHS = ['all', 'only', 'never'] as const;
export type Tenth = (typeof TENTHS)[number];

/** Kinds of questions about somebody. */
export const QUESTION_KINDS: number = QUESTIONS.length;

/** A question of a kind about person `index`, in its first wording, with the short answer. */
export function questionAbout(seed: number, index: number, kind: number): Pair {
  const slots = slotsOf(person(seed, index));
  const [question, answer] = QUESTIONS[kind]!;
  return {
    prompt: `Question: ${expand(FIRST_ONE, question, slots)}\nAnswer:`,
    answer: ` ${expand(FIRST_ONE, answer, slots)}`,
  };
}

/** Numbers of people, ascending. */
export function numbersOf({ count }: People, tenth: Tenth): number[] {
  const all = Array.from({ length: count }, (_, index) => index);
  return tenth === 'all' ? all : all.filter((index) => isTenth(index) === (tenth === 'only'));
}

/** One question of each kind about each, nothing of it by chance. */
export function peopleQuestions(seed: number, people: People, tenth: Tenth): Pair[] {
  return numbersOf(people, tenth).flatMap((index) =>
    Array.from({ length: QUESTION_KINDS }, (_, kind) => questionAbout(seed, index, kind)),
  );
}
