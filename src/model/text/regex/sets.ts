import { invalidTokenizer } from '../checks.ts';
import { isUnknown } from '../unicode.ts';

/** A set of code points. Equal keys mean equal sets. */
export interface CharSet {
  readonly key: string;
  readonly has: (code: number) => boolean;
}

/** What the host's `\p{…}` says, but for code points that the reference does not know. */
function known(key: string, pattern: RegExp): CharSet {
  return { key, has: (code) => pattern.test(String.fromCodePoint(code)) && !isUnknown(code) };
}

export function range(from: number, to: number): CharSet {
  return { key: `${from}-${to}`, has: (code) => code >= from && code <= to };
}

export function union(sets: readonly CharSet[]): CharSet {
  if (sets.length === 1) return sets[0]!;
  return { key: `[${sets.map(({ key }) => key).join(' ')}]`, has: (code) => sets.some((set) => set.has(code)) };
}

export function intersection(sets: readonly CharSet[]): CharSet {
  return { key: `[${sets.map(({ key }) => key).join('&&')}]`, has: (code) => sets.every((set) => set.has(code)) };
}

export function negated(set: CharSet): CharSet {
  return { key: `^${set.key}`, has: (code) => !set.has(code) };
}

/** ASCII letters in either case, with the two letters outside ASCII that fold to some of them. */
export function eitherCase(set: CharSet): CharSet {
  const has = (code: number): boolean => {
    if (set.has(code)) return true;
    if (code === 0x17f) return set.has(0x73) || set.has(0x53); // long s
    if (code === 0x212a) return set.has(0x6b) || set.has(0x4b); // the Kelvin sign
    const isLetter = (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
    return isLetter && set.has(code ^ 0x20);
  };
  return { key: `i${set.key}`, has };
}

export const SPACE = known('\\s', /^\p{White_Space}$/u);
export const DIGIT = known('\\d', /^\p{Nd}$/u);
/** Superscript digits and fractions of Latin-1 are word characters in Oniguruma. */
export const WORD = known('\\w', /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\xb2\xb3\xb9\xbc-\xbe]$/u);
export const HEX = known('\\h', /^[0-9A-Fa-f]$/);
export const NOT_NEWLINE = negated(range(10, 10));
export const ANY = range(0, 0x10ffff);

const BRACKETS: Readonly<Record<string, CharSet>> = {
  alpha: known('alpha', /^\p{Alphabetic}$/u),
  alnum: known('alnum', /^[\p{Alphabetic}\p{Nd}]$/u),
  blank: known('blank', /^[\p{Zs}\t]$/u),
  digit: DIGIT,
  space: SPACE,
  word: WORD,
  xdigit: HEX,
};

/** `[:name:]` inside a class. */
export function bracket(name: string): CharSet {
  const set = Object.hasOwn(BRACKETS, name) ? BRACKETS[name] : undefined;
  if (set === undefined) throw invalidTokenizer(`A regular expression uses [:${name}:], which is not supported.`);
  return set;
}

const SCRIPTS: ReadonlySet<string> = new Set(
  (
    'Arabic Armenian Bengali Bopomofo Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han Hangul Hebrew Hiragana ' +
    'Kannada Katakana Khmer Lao Latin Malayalam Mongolian Myanmar Oriya Sinhala Tamil Telugu Thaana Thai Tibetan'
  ).split(' '),
);
const CATEGORIES = /^(?:L[ultmo]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?|Cc|Cf|Co)$/;
const LONG: Readonly<Record<string, string>> = {
  Letter: 'L',
  Mark: 'M',
  Number: 'N',
  Punctuation: 'P',
  Symbol: 'S',
  Separator: 'Z',
};

/** `\p{name}`: a general category, or one of the scripts that are in use. */
export function property(name: string): CharSet {
  const category = Object.hasOwn(LONG, name) ? LONG[name]! : name;
  if (CATEGORIES.test(category)) {
    const set = known(`p${category}`, new RegExp(`^\\p{${category}}$`, 'u'));
    if (category !== 'Ll' && category !== 'Lo') return set;
    // U+0295 became an other letter in Unicode 17
    return { key: set.key, has: (code) => (code === 0x295 ? category === 'Ll' : set.has(code)) };
  }
  if (SCRIPTS.has(name)) return known(`p${name}`, new RegExp(`^\\p{Script=${name}}$`, 'u'));
  throw invalidTokenizer(`A regular expression uses \\p{${name.slice(0, 40)}}, which is not supported.`);
}
