/** Numbers in texts of many languages, as arithmetic is answered with one (GSM8K, MGSM). */

/** What announces an answer in GSM8K. */
const MARK = '####';

/** Zeros of other scripts; the digits of each follow it. */
const ZEROS = [0x660, 0x6f0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xff10];
const OTHER_DIGITS = new RegExp(
  `[${ZEROS.map((zero) => `${String.fromCodePoint(zero)}-${String.fromCodePoint(zero + 9)}`).join('')}]`,
  'g',
);

/** Apostrophes, and spaces that break no line: what stands between thousands and nowhere else. */
const APART = "'\u2019\u00a0\u202f\u2009";

/**
 * A sign, with a currency before or behind it, and digits with separators between. A sign behind a digit, a letter or a bracket is a minus between two
 * numbers. Thousands behind plain spaces are taken in, and read both ways.
 */
const NUMBER = new RegExp(
  `(?<sign>(?<![\\p{L}\\p{N})\\]])[-\u2212\u2013+])?\\p{Sc}?(?<spaced>\\d{1,3}(?: \\d{3})+(?![\\d${APART}]))|` +
    `(?<sign2>(?<![\\p{L}\\p{N})\\]])[-\u2212\u2013+]\\p{Sc}?|(?<![\\p{L}\\p{N})\\]])\\p{Sc}[-\u2212\u2013])?(?<joined>\\d+(?:[.,${APART}]\\d+)*)`,
  'gu',
);

/**
 * What the last number of a text may be: behind the last `####` on its line, or else anywhere. Of `80.000` a point or comma before three digits may part
 * thousands or begin a fraction, by language; both are given then, likewise both of `3 400`.
 *
 * @returns decimals without signs of plus, zeros that say nothing and separators (`-1234.5`), the likelier first; none where there is no number
 */
export function lastNumber(text: string): readonly string[] {
  const at = text.lastIndexOf(MARK);
  const marked = at < 0 ? [] : readings(text.slice(at + MARK.length).split('\n')[0]!);
  return marked.length > 0 ? marked : readings(text);
}

function readings(given: string): readonly string[] {
  const text = given.replace(OTHER_DIGITS, (digit) => {
    const code = digit.codePointAt(0)!;
    return String(code - ZEROS.findLast((zero) => zero <= code)!);
  });
  const last = [...text.matchAll(NUMBER)].at(-1)?.groups;
  if (!last) return [];
  const { sign, spaced, sign2, joined } = last;
  const minus = /[-\u2212\u2013]/.test(sign ?? sign2 ?? '') ? '-' : '';
  if (spaced !== undefined) {
    const parts = spaced.split(' ');
    return unique([canonical(minus, parts.join(''), ''), canonical('', parts.at(-1)!, '')]);
  }
  return unique(readingsOf(joined!).map(([whole, fraction]) => canonical(minus, whole, fraction)));
}

/** Whole and fraction of digits with separators between. */
function readingsOf(joined: string): readonly (readonly [whole: string, fraction: string])[] {
  const parts = joined.split(/\D/);
  const separators = joined.replace(/\d/g, '');
  const whole = parts.join('');
  const last = separators.at(-1);
  if (last === undefined) return [[whole, '']];
  const asFraction = [parts.slice(0, -1).join(''), parts.at(-1)!] as const;
  const others = separators.slice(0, -1);
  const isDecimal = last === '.' || last === ',';
  // several of one kind part thousands; after another kind the last one begins a fraction
  if (!isDecimal || others.includes(last)) return [[whole, '']];
  if (others !== '') return [asFraction];
  const thousands = parts[1]!.length === 3 && parts[0]!.length <= 3 && !parts[0]!.startsWith('0');
  if (!thousands) return [asFraction];
  return last === ',' ? [[whole, ''], asFraction] : [asFraction, [whole, '']];
}

function canonical(minus: string, whole: string, fraction: string): string {
  const before = whole.replace(/^0+(?=\d)/, '');
  const behind = fraction.replace(/0+$/, '');
  const number = behind === '' ? before : `${before}.${behind}`;
  return number === '0' ? number : `${minus}${number}`;
}

const unique = (list: readonly string[]): readonly string[] => [...new Set(list)];
