import { orderMarks } from './marks.ts';

/** A test for ranges of code points, written in hexadecimal: `41-5a 5f`. */
export function ranges(written: string): (code: number) => boolean {
  const bounds = written.split(' ').map((range) => {
    const [from, to = from] = range.split('-') as [string, string?];
    return [Number.parseInt(from, 16), Number.parseInt(to, 16)] as const;
  });
  return (code) => {
    let low = 0;
    let high = bounds.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const [from, to] = bounds[middle]!;
      if (code < from) high = middle - 1;
      else if (code > to) low = middle + 1;
      else return true;
    }
    return false;
  };
}

/** Code points of Unicode 17, which the regular expressions of the reference (Unicode 16) do not know. */
export const isUnknown = ranges(
  '88f c5c cdc 1acf-1add 1ae0-1aeb 20c1 2b96 a7ce-a7cf a7d2 a7d4 a7f1 fbc3-fbd2 fd90-fd91 fdc8-fdce 10940-10959 10ec5-10ec7 ' +
    '10ed0-10ed8 10efa-10efb 11b60-11b67 11db0-11ddb 11de0-11de9 16ea0-16eb8 16ebb-16ed3 16ff2-16ff6 187f8-187ff 18d09-18d1e ' +
    '18d80-18df2 1ccfa-1ccfc 1ceba-1ced0 1cee0-1cef0 1e6c0-1e6de 1e6e0-1e6f5 1e6fe-1e6ff 1f6d8 1f777-1f77a 1f8d0-1f8d8 ' +
    '1fa54-1fa57 1fa8a 1fa8e 1fac8 1facd 1faea 1faef 1fbfa 2b73a-2b73f 2cea2-2cead 323b0-33479',
);

/** A character of a word, for added tokens that match whole words and for the pre-tokenizer Whitespace. */
export function isWord(code: number): boolean {
  if (code < 0x80) return (code >= 48 && code <= 57) || code === 95 || ((code | 32) >= 97 && (code | 32) <= 122);
  return matches(/[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u, code) && !isUnknown(code);
}

// The reference's tables are of Unicode 9 here, JavaScript's of the host's version: these characters came in between. Each
// list covers characters that the property does not concern, too, where that makes it shorter.

/** Marks and decompositions that the reference's normal forms do not know: they stay as they are, and order nothing. */
const INERT =
  '7fd 897-89f 8ca-8d3 9fe c3c d3b-d3c eba 1715 1abf-1add 1ae0-1aeb 1df6-1dfa 32ff a7f1-a7f4 a82c ab69 105c9 105e4 10781-10785 ' +
  '10787-107b0 107b2-107ba 10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10efb 10efd-10eff 10f46-10f50 10f82-10f85 11070 1133b ' +
  '11383 11385 1138e 11391 113c5 113c7-113c8 113ce-113d0 1145e 11839-1183a 11938 1193d-1193e 11943 119e0 11a34 11a47 11a99 ' +
  '11d42 11d44-11d45 11d97 11f41-11f42 16121-16128 1612f 16d68-16d6a 16ff0-16ff1 1ccd6-1ccf9 1e030-1e06d 1e08f 1e130-1e136 ' +
  '1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 1e6ee-1e6ef 1e6f5 1f16c 1fbf0-1fbf9';
/** Characters that newer Unicode composes. */
const COMPOSED = '105c9 105e4 11383 11385 1138e 11391 113c5 113c7-113c8 11938 16121-16128 16d68-16d6a';

const classOf = (written: string) => `[${written.replace(/[0-9a-f]+/g, (code) => `\\u{${code}}`).replaceAll(' ', '')}]`;
const inert = new RegExp(`(${classOf(INERT)})`, 'u');
const composed = new RegExp(classOf(COMPOSED), 'gu');
const plain = /^[\0-\x7f]*$/;

/** A normal form of Unicode, as of version 9. */
export function normalForm(text: string, form: 'NFC' | 'NFD' | 'NFKC' | 'NFKD'): string {
  if (plain.test(text)) return text;
  const normal = (part: string): string => {
    const result = orderMarks(part, form === 'NFKC' || form === 'NFKD').normalize(form);
    return form === 'NFC' || form === 'NFKC' ? result.replace(composed, (c) => c.normalize('NFD')) : result;
  };
  if (!inert.test(text)) return normal(text);
  return text
    .split(inert)
    .map((part, i) => (i % 2 === 1 ? part : normal(part)))
    .join('');
}

const NO_PUNCTUATION = ranges(
  '61d 9fd-a76 c77-c84 1b4e-1b4f 1b7d-1b7f 2e43-2e5d 10d6e-10f89 113d4-1145d 11660-116b9 1183b-11fff 12ff1-12ff2 16d6d-16fe2 1e5ff-1e95f',
);
const NO_MARK = ranges(
  '7fd 897-8d3 9fe afa-aff b55 c04-c3c cf3-d00 d3b-d3c d81 eba ece 1715 180f 1abf-1aeb 1cf7 1df6-1dfa a82c a8ff 10d24-10f85 ' +
    '11070-11074 110c2 11145-11146 111c9 111ce-111cf 11241 1133b 113b8-113e2 1145e 1182c-11b67 11d31-1612f 16f4f 16f7f-16f87 ' +
    '16fe4-16ff1 1cf00-1cf46 1e08f-1e6f5',
);
const NO_NONSPACING_MARK = ranges(
  '7fd 897-8e1 9fe afa-aff b55 c04-c3c d00 d3b-d3c d81 eba ece 180f-1886 1abf-1aeb 1df6-1dfb a82c a8c5 a8ff a9bd 10d24-10f85 ' +
    '11070-11074 110c2 111c9 111cf 1123e-11241 1133b 113bb-1145e 1182f-1612f 16f4f 16fe4 1cf00-1cf46 1e000-1e6f5 1e944-1e94a',
);
const NO_CONTROL = ranges('890-8e2 110cd-1343f');

const matches = (pattern: RegExp, code: number) => pattern.test(String.fromCodePoint(code));

/** Punctuation, with all of ASCII's. */
export function isPunctuation(code: number): boolean {
  if (code < 0x80) return matches(/[!-/:-@[-`{-~]/, code);
  return code === 0x166d || code === 0x111c9 || (matches(/\p{P}/u, code) && !NO_PUNCTUATION(code));
}

/** A combining mark: what StripAccents takes away. */
export function isMark(code: number): boolean {
  return code === 0x1cf2 || code === 0x1cf3 || (code >= 0x300 && matches(/\p{M}/u, code) && !NO_MARK(code));
}

export function isNonspacingMark(code: number): boolean {
  if (code === 0x1734 || code === 0x1171e) return true;
  return code >= 0x300 && matches(/\p{Mn}/u, code) && !NO_NONSPACING_MARK(code);
}

/** Control, format and private characters, except tab and line ends. */
export function isControl(code: number): boolean {
  if (code === 9 || code === 10 || code === 13) return false;
  return matches(/[\p{Cc}\p{Cf}\p{Co}]/u, code) && !NO_CONTROL(code);
}

export function isSpace(code: number): boolean {
  if (code < 0x80) return code === 32 || (code >= 9 && code <= 13);
  return matches(/\p{White_Space}/u, code);
}

export function isNumeric(code: number): boolean {
  if (code < 0x80) return code >= 48 && code <= 57;
  return matches(/\p{N}/u, code);
}

/** Without the one rule of JavaScript that looks at neighbours (the sigma at the end of a word). */
export function lowerCase(text: string): string {
  return text.replaceAll('\u03a3', '\u03c3').toLowerCase();
}

/** The text without lone surrogates, which stand for nothing. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}
