/** Texts as Python sees them, which sacreBLEU is written in: strings are code points, and white space is what `str.isspace` says. */

/** Unlike \s of JavaScript it has the separators U+001C to U+001F and U+0085, and not U+FEFF. */
const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const SPACES = new RegExp(`[${SPACE}]+`);
const LEADING = new RegExp(`^[${SPACE}]+`);
const IS_SPACE = new RegExp(`^[${SPACE}]$`);

/** `str.split()`: words between white space. */
export function words(text: string): string[] {
  const list = text.split(SPACES);
  const first = list[0] === '' ? 1 : 0;
  return list.slice(first, list.at(-1) === '' && list.length > first ? -1 : undefined);
}

/** `str.rstrip()`. Not by a pattern, which would try at every space in the text and take the square of its length. */
export function trimmedEnd(text: string): string {
  let end = text.length;
  while (end > 0 && IS_SPACE.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** `str.strip()` */
export const trimmed = (text: string): string => trimmedEnd(text).replace(LEADING, '');
