import { toByteLevel } from './byte-level.ts';
import { asArray, asFlag, asObject, asText, invalidTokenizer, type Json } from './checks.ts';
import type { Piece } from './normalizers.ts';
import { characterPattern, type Pattern, readPattern, regexPattern } from './patterns.ts';
import { isNumeric, isPunctuation, isSpace, isWord } from './unicode.ts';

/** One step: gives the pieces of a piece to `next`, in order. */
export type PreTokenizer = (piece: Piece, next: (piece: Piece) => void) => void;

export interface PreTokenization {
  readonly steps: readonly PreTokenizer[];
  /** Whether the words that come out are to be written in bytes (`toByteLevel`) before the model sees them. */
  readonly bytes: boolean;
  /** Whether a step takes characters away. */
  readonly removes: boolean;
}

type Behavior = 'Removed' | 'Isolated' | 'Contiguous' | 'MergedWithPrevious' | 'MergedWithNext';
const BEHAVIORS: readonly string[] = ['Removed', 'Isolated', 'Contiguous', 'MergedWithPrevious', 'MergedWithNext'];

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const MAX_STEPS = 64;
const BYTES = Symbol('bytes');

/** @throws E_TOKENIZER_INVALID for a pre-tokenizer that is malformed or not computed exactly */
export function readPreTokenizer(node: unknown): PreTokenization {
  const steps: (PreTokenizer | typeof BYTES)[] = [];
  let removes = false;
  const collect = (inner: unknown): void => {
    const options = asObject(inner, 'The pre-tokenizer');
    if (steps.length >= MAX_STEPS) throw invalidTokenizer(`The tokenizer has more than ${MAX_STEPS} pre-tokenizers.`);
    if (options['type'] === 'Sequence') {
      for (const part of asArray(options['pretokenizers'], 'The list of pre-tokenizers')) collect(part);
      return;
    }
    removes ||= takesAway(options);
    steps.push(...readSteps(options));
  };
  if (node !== null && node !== undefined) collect(node);
  // the last change to bytes is left to the model, which then knows words by their text
  const bytes = steps.at(-1) === BYTES;
  if (bytes) steps.pop();
  return { steps: steps.map((step) => (step === BYTES ? inBytes : step)), bytes, removes };
}

function takesAway(options: Json): boolean {
  const { type } = options;
  if (type === 'Split' || type === 'Punctuation') return options['behavior'] === 'Removed';
  return (
    type === 'Whitespace' || type === 'WhitespaceSplit' || type === 'BertPreTokenizer' || type === 'CharDelimiterSplit'
  );
}

function readSteps(options: Json): (PreTokenizer | typeof BYTES)[] {
  const { type } = options;
  switch (type) {
    case 'ByteLevel': {
      const prefix = asFlag(options['add_prefix_space'], 'add_prefix_space', false);
      const cut = asFlag(options['use_regex'], 'use_regex', true);
      return [...(prefix ? [prefixSpace] : []), ...(cut ? [split(regexPattern(GPT2), 'Isolated')] : []), BYTES];
    }
    case 'Digits': {
      const single = asFlag(options['individual_digits'], 'individual_digits');
      return [split(characterPattern(isNumeric), single ? 'Isolated' : 'Contiguous')];
    }
    case 'Punctuation':
      return [split(characterPattern(isPunctuation), behaviorOf(options['behavior'] ?? 'Isolated'))];
    case 'Whitespace':
      return [words];
    case 'WhitespaceSplit':
      return [split(characterPattern(isSpace), 'Removed')];
    case 'BertPreTokenizer':
      return [split(characterPattern(isSpace), 'Removed'), split(characterPattern(isPunctuation), 'Isolated')];
    case 'CharDelimiterSplit': {
      const code = character(options['delimiter'], 'The delimiter of a pre-tokenizer').codePointAt(0)!;
      return [
        split(
          characterPattern((other) => other === code),
          'Removed',
        ),
      ];
    }
    case 'FixedLength': {
      const length = options['length'] ?? 5;
      if (typeof length !== 'number' || !Number.isInteger(length) || length < 1) {
        throw invalidTokenizer('The length of a pre-tokenizer is not a whole number above 0.');
      }
      return [fixedLength(length)];
    }
    case 'Split': {
      const pattern = readPattern(options['pattern'], 'The pattern of a pre-tokenizer');
      return [split(pattern, behaviorOf(options['behavior']), asFlag(options['invert'], 'invert', false))];
    }
    case 'Metaspace':
      return [metaspace(options)];
    default:
      throw invalidTokenizer(`The pre-tokenizer ${String(type)} is not supported.`);
  }
}

function behaviorOf(value: unknown): Behavior {
  if (typeof value === 'string' && BEHAVIORS.includes(value)) return value as Behavior;
  throw invalidTokenizer(`A pre-tokenizer splits with the behaviour ${String(value)}, which is not known.`);
}

function character(value: unknown, what: string): string {
  const text = asText(value, what);
  if (text === '' || text.length > 2 || text.codePointAt(0)! > 0xffff !== (text.length === 2)) {
    throw invalidTokenizer(`${what} is not one character.`);
  }
  return text;
}

/** A part of a piece. */
export function part({ text, leading }: Piece, start: number, end: number): Piece {
  return { text: text.slice(start, end), leading: leading > start ? Math.min(leading, end) - start : -1 };
}

const inBytes: PreTokenizer = (piece, next) => next(bytesOf(piece));

function bytesOf({ text, leading }: Piece): Piece {
  return { text: toByteLevel(text), leading: leading <= 0 ? leading : toByteLevel(text.slice(0, leading)).length };
}

const prefixSpace: PreTokenizer = (piece, next) => next(piece.text.startsWith(' ') ? piece : prefixed(piece, ' '));

function prefixed({ text, leading }: Piece, prefix: string): Piece {
  return { text: prefix + text, leading: leading <= 0 ? leading : leading + prefix.length };
}

/** Runs of word characters, and runs of others that are no spaces. */
const words: PreTokenizer = (piece, next) => {
  const { text } = piece;
  let start = 0;
  let kind = 0; // of the run from `start`: 0 spaces, 1 word, 2 others
  for (let at = 0; at < text.length; ) {
    const code = text.codePointAt(at)!;
    const its = isWord(code) ? 1 : isSpace(code) ? 0 : 2;
    if (its !== kind) {
      if (kind !== 0) next(part(piece, start, at));
      start = at;
      kind = its;
    }
    at += code > 0xffff ? 2 : 1;
  }
  if (kind !== 0) next(part(piece, start, text.length));
};

function fixedLength(length: number): PreTokenizer {
  return (piece, next) => {
    const { text } = piece;
    for (let start = 0; start < text.length; ) {
      let end = start;
      for (let i = 0; i < length && end < text.length; i++) end += text.codePointAt(end)! > 0xffff ? 2 : 1;
      next(part(piece, start, end));
      start = end;
    }
  };
}

/** Cuts at matches, or with `invert` at what does not match; the behaviour says where the matches go. */
function split(pattern: Pattern, behavior: Behavior, invert = false): PreTokenizer {
  return (piece, next) => {
    const emit = (start: number, end: number) => {
      if (start < end) next(part(piece, start, end));
    };
    const { length } = piece.text;
    const { add, finish } = joiner(behavior, emit);
    let done = 0;
    pattern.each(piece.text, (start, end) => {
      if (done < start) add(done, start, invert);
      add(start, end, !invert);
      done = end;
    });
    if (done < length) add(done, length, invert);
    finish();
  };
}

/** Takes the cuts of a text in order, each with whether it is a match, and emits what a behaviour makes of them. */
function joiner(behavior: Behavior, emit: (start: number, end: number) => void) {
  const nothing = () => {};
  let from = 0;
  let to = -1; // of what waits to be emitted; below 0: nothing waits
  let last = false; // whether the one before was a match
  const flush = () => {
    if (to >= 0) emit(from, to);
    to = -1;
  };
  const wait = (start: number, end: number) => {
    flush();
    from = start;
    to = end;
  };
  switch (behavior) {
    case 'Isolated':
      return { add: (start: number, end: number, _: boolean) => emit(start, end), finish: nothing };
    case 'Removed':
      return {
        add: (start: number, end: number, isMatch: boolean) => {
          if (!isMatch) emit(start, end);
        },
        finish: nothing,
      };
    case 'Contiguous':
      return {
        add: (start: number, end: number, isMatch: boolean) => {
          if (isMatch === last && to >= 0) to = end;
          else wait(start, end);
          last = isMatch;
        },
        finish: flush,
      };
    case 'MergedWithPrevious':
      return {
        add: (start: number, end: number, isMatch: boolean) => {
          if (isMatch && !last && to >= 0) to = end;
          else wait(start, end);
          last = isMatch;
        },
        finish: flush,
      };
    case 'MergedWithNext':
      return {
        add: (start: number, end: number, isMatch: boolean) => {
          if (last && !isMatch && to >= 0) to = end;
          else wait(start, end);
          last = isMatch;
        },
        finish: flush,
      };
    default:
      throw behavior satisfies never;
  }
}

function metaspace(options: Json): PreTokenizer {
  const mark = character(options['replacement'], 'The mark of a pre-tokenizer');
  const space = options['add_prefix_space'] ?? null;
  const scheme = options['prepend_scheme'] ?? (space === false ? 'never' : 'always');
  if (scheme !== 'always' && scheme !== 'first' && scheme !== 'never') {
    throw invalidTokenizer(`A pre-tokenizer prepends ${String(scheme)}, which is not known.`);
  }
  if ((space !== null && typeof space !== 'boolean') || (space === false && scheme !== 'never')) {
    throw invalidTokenizer('A pre-tokenizer says two things about the space before a text.');
  }
  const cut = asFlag(options['split'], 'split', true)
    ? split(readPattern({ String: mark }, 'The mark of a pre-tokenizer'), 'MergedWithNext')
    : null;
  return (piece, next) => {
    const { leading } = piece;
    const marks = (written: string) => written.replaceAll(' ', () => mark);
    const text = marks(piece.text);
    let marked: Piece = { text, leading: leading <= 0 ? leading : marks(piece.text.slice(0, leading)).length };
    if (!text.startsWith(mark) && (scheme === 'always' || (scheme === 'first' && leading > 0))) {
      marked = prefixed(marked, mark);
    }
    if (cut === null) next(marked);
    else cut(marked, next);
  };
}
