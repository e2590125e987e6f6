import { invalidTokenizer } from '../checks.ts';
import type { CharSet } from './sets.ts';
import { type Assertion, firstSets, fixedLength, type Node } from './syntax.ts';

/** Instructions; each takes four numbers: what, and up to three operands. */
export const OP = {
  /** One character of set a. */
  set: 0,
  /** Go on at a; if that fails, at b. */
  split: 1,
  jump: 2,
  /** As many characters of set a as there are, from b to c of them (c below 0: any number), then fewer. */
  loop: 3,
  assert: 4,
  /** What follows, to its `match`, alone; then go on at a. */
  atomic: 5,
  /** Whether what follows, to its `match`, matches here (c below 0) or c characters before; b: must it not. Then a. */
  look: 6,
  match: 7,
} as const;

export const ASSERTIONS: readonly Assertion[] = [
  'line-start',
  'line-end',
  'start',
  'end',
  'end-or-last-newline',
  'word-boundary',
  'no-word-boundary',
];

/** Bits of a word that say in which sets a character is; the 32nd is the reader's own. */
export const SETS_PER_WORD = 31;
const MAX_INSTRUCTIONS = 20_000;
const MAX_SETS = 248;

export interface Program {
  readonly code: Int32Array;
  /** The alternatives of the whole pattern, the preferred first: where each begins. */
  readonly entries: readonly number[];
  /** How many places of the code are instructions that choose. */
  readonly splits: number;
  /** By instruction (code index / 4): which choice it is. */
  readonly splitAt: Int32Array;
}

/** The sets of a pattern by number, and what its alternatives begin with. */
export interface Alphabet {
  readonly sets: readonly CharSet[];
  /** By alternative: numbers of the sets one of which its first character is in, or null when any character may be. */
  readonly firsts: readonly (readonly number[] | null)[];
}

/** Numbers the sets that an expression is made of. @throws E_TOKENIZER_INVALID when they are too many */
export function alphabetOf(node: Node): Alphabet & { numberOf(set: CharSet): number } {
  const numbers = new Map<string, number>();
  const sets: CharSet[] = [];
  const numberOf = (set: CharSet): number => {
    let number = numbers.get(set.key);
    if (number === undefined) {
      number = sets.length;
      numbers.set(set.key, number);
      sets.push(set);
      if (number >= MAX_SETS)
        throw invalidTokenizer(`A regular expression has more than ${MAX_SETS} kinds of character.`);
    }
    return number;
  };
  const firsts = alternatives(node).map((option) => firstSets(option)?.map(numberOf) ?? null);
  return { sets, firsts, numberOf };
}

function alternatives(node: Node): readonly Node[] {
  return node.kind === 'choice' ? node.options : [node];
}

/**
 * Compiles an expression. With `fused`, repeats of one set are one instruction: fast, but its steps cannot be remembered one by
 * one, which `Scanner` needs for expressions that backtrack much.
 */
export function compile(node: Node, numberOf: (set: CharSet) => number, fused: boolean): Program {
  const code: number[] = [];
  const emit = (op: number, a = 0, b = 0, c = 0): number => {
    if (code.length >= 4 * MAX_INSTRUCTIONS) throw invalidTokenizer('A regular expression repeats too much.');
    return code.push(op, a, b, c) - 4;
  };
  const repeat = (body: Node, least: number, most: number, greedy: boolean): void => {
    if (fused && greedy && body.kind === 'set') {
      emit(OP.loop, numberOf(body.set), least, Number.isFinite(most) ? most : -1);
      return;
    }
    for (let i = 0; i < least; i++) write(body);
    const choose = (split: number, into: number, past: number) => {
      code[split + 1] = greedy ? into : past;
      code[split + 2] = greedy ? past : into;
    };
    if (!Number.isFinite(most)) {
      const split = emit(OP.split);
      write(body);
      emit(OP.jump, split);
      choose(split, split + 4, code.length);
      return;
    }
    const splits: number[] = [];
    for (let i = least; i < most; i++) {
      splits.push(emit(OP.split));
      write(body);
    }
    for (const split of splits) choose(split, split + 4, code.length);
  };
  const alone = (op: number, body: Node, b = 0, c = 0): void => {
    const at = emit(op, 0, b, c);
    write(body);
    emit(OP.match);
    code[at + 1] = code.length;
  };
  const write = (part: Node): void => {
    switch (part.kind) {
      case 'set':
        emit(OP.set, numberOf(part.set));
        break;
      case 'sequence':
        for (const inner of part.parts) write(inner);
        break;
      case 'choice': {
        const ends: number[] = [];
        for (const option of part.options.slice(0, -1)) {
          const split = emit(OP.split);
          code[split + 1] = code.length;
          write(option);
          ends.push(emit(OP.jump));
          code[split + 2] = code.length;
        }
        write(part.options.at(-1)!);
        for (const end of ends) code[end + 1] = code.length;
        break;
      }
      case 'repeat':
        repeat(part.body, part.least, part.most, part.greedy);
        break;
      case 'atomic':
        alone(OP.atomic, part.body);
        break;
      case 'look': {
        const negative = part.negative ? 1 : 0;
        if (!part.behind) alone(OP.look, part.body, negative, -1);
        else if (negative)
          for (const option of alternatives(part.body)) alone(OP.look, option, 1, fixedLength(option)!);
        else {
          // (?<=a|bc) is (?<=a)|(?<=bc)
          const options = alternatives(part.body);
          const looks = options.map((body): Node => ({ kind: 'look', body, behind: true, negative: false }));
          if (options.length === 1) alone(OP.look, options[0]!, 0, fixedLength(options[0]!)!);
          else write({ kind: 'choice', options: looks });
        }
        break;
      }
      case 'assert':
        emit(OP.assert, ASSERTIONS.indexOf(part.what));
        break;
      default:
        throw part satisfies never;
    }
  };
  const entries = alternatives(node).map((option) => {
    const start = code.length;
    write(option);
    emit(OP.match);
    return start;
  });
  const splitAt = new Int32Array(code.length / 4).fill(-1);
  let splits = 0;
  for (let at = 0; at < code.length; at += 4) if (code[at] === OP.split) splitAt[at / 4] = splits++;
  return { code: Int32Array.from(code), entries, splits, splitAt };
}
