import { asObject, asText, invalidTokenizer } from './checks.ts';
import { Regex } from './regex/regex.ts';

/** What splits or is replaced: a plain text or a regular expression. */
export interface Pattern {
  /** Calls `found` for each match in order. */
  each(text: string, found: (start: number, end: number) => void): void;
}

/** `{ String: … }` or `{ Regex: … }`. @throws E_TOKENIZER_INVALID */
export function readPattern(node: unknown, what: string): Pattern {
  const pattern = asObject(node, what);
  if (pattern['String'] !== undefined) return plainPattern(asText(pattern['String'], what));
  if (pattern['Regex'] !== undefined) return regexPattern(asText(pattern['Regex'], what));
  throw invalidTokenizer(`${what} is neither a text nor a regular expression.`);
}

export function regexPattern(source: string): Pattern {
  const regex = new Regex(source);
  return {
    each: (text, found) => {
      if (text === '') return;
      const scanner = regex.scan(text);
      while (scanner.next()) found(scanner.start, scanner.end);
    },
  };
}

function plainPattern(wanted: string): Pattern {
  if (wanted === '') return regexPattern(''); // between all characters
  return {
    each: (text, found) => {
      for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
        found(at, at + wanted.length);
      }
    },
  };
}

/** Single characters that fulfil a test. */
export function characterPattern(test: (code: number) => boolean): Pattern {
  return {
    each: (text, found) => {
      for (let at = 0; at < text.length; ) {
        const code = text.codePointAt(at)!;
        const end = at + (code > 0xffff ? 2 : 1);
        if (test(code)) found(at, end);
        at = end;
      }
    },
  };
}
