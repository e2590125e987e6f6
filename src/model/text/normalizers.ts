import { toByteLevel } from './byte-level.ts';
import { asArray, asFlag, asObject, asText, invalidTokenizer, type Json } from './checks.ts';
import { readPattern } from './patterns.ts';
import { charsmap } from './precompiled.ts';
import { isControl, isMark, isNonspacingMark, isSpace, lowerCase, normalForm } from './unicode.ts';

/**
 * A text on its way to the model. `leading` of its UTF-16 units come from the first character of the caller's text, which is
 * what Metaspace's `first` asks for; below 0 for a part that does not begin where that text does.
 */
export interface Piece {
  readonly text: string;
  readonly leading: number;
}

export type Normalizer = (piece: Piece) => Piece;

/** A text may grow to this many times its length, and 65,536 units: no published normalizer comes near. */
const GROWTH = 32;
const GROWTH_OFFSET = 65_536;
const MAX_PARTS = 256;

/** Refuses a text that normalizers have blown up. `length` is that of the text before all of them. */
export function checkGrowth(result: number, length: number): void {
  if (result <= GROWTH * length + GROWTH_OFFSET) return;
  throw invalidTokenizer(
    `The tokenizer's normalizer makes a text of ${length} characters longer than ${GROWTH} times that.`,
  );
}

/** @throws E_TOKENIZER_INVALID for a normalizer that is malformed or not computed exactly */
export function readNormalizer(node: unknown): Normalizer | null {
  if (node === null || node === undefined) return null;
  const steps: Normalizer[] = [];
  collect(node, steps);
  return (piece) => {
    const { length } = piece.text;
    for (const step of steps) {
      piece = step(piece);
      checkGrowth(piece.text.length, length);
      if (piece.text === '') break;
    }
    return piece;
  };
}

function collect(node: unknown, steps: Normalizer[]): void {
  const options = asObject(node, 'The normalizer');
  if (steps.length >= MAX_PARTS) throw invalidTokenizer(`The tokenizer has more than ${MAX_PARTS} normalizers.`);
  if (options['type'] === 'Sequence') {
    for (const inner of asArray(options['normalizers'], 'The list of normalizers')) collect(inner, steps);
  } else steps.push(readStep(options));
}

function readStep(options: Json): Normalizer {
  const { type } = options;
  switch (type) {
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return mapped((text) => normalForm(text, type));
    case 'Lowercase':
      return mapped(lowerCase);
    case 'StripAccents':
      return mapped((text) => filtered(text, (code) => !isMark(code)));
    case 'Nmt':
      return mapped(nmt);
    case 'ByteLevel':
      return mapped(toByteLevel);
    case 'BertNormalizer':
      return bert(options);
    case 'Precompiled':
      return mapped(charsmap(asText(options['precompiled_charsmap'], 'The table of a normalizer')));
    case 'Strip':
      return strip(asFlag(options['strip_left'], 'strip_left'), asFlag(options['strip_right'], 'strip_right'));
    case 'Prepend': {
      const prefix = asText(options['prepend'], 'What a normalizer prepends');
      return ({ text, leading }) =>
        text === '' || prefix === ''
          ? { text, leading }
          : { text: prefix + text, leading: leading <= 0 ? leading : leading + prefix.length };
    }
    case 'Replace':
      return replace(options);
    default:
      throw invalidTokenizer(`The normalizer ${String(type)} is not supported.`);
  }
}

/** A change of single characters, or of characters with the marks after them. */
function mapped(change: (text: string) => string): Normalizer {
  return ({ text, leading }) => {
    const result = change(text);
    return { text: result, leading: leading <= 0 || result === text ? leading : change(text.slice(0, leading)).length };
  };
}

function filtered(text: string, keep: (code: number) => boolean): string {
  let result = '';
  for (const character of text) if (keep(character.codePointAt(0)!)) result += character;
  return result;
}

function strip(left: boolean, right: boolean): Normalizer {
  return ({ text, leading }) => {
    let start = 0;
    let end = text.length;
    while (left && start < end && isSpace(text.charCodeAt(start))) start++; // no space is a surrogate pair
    while (right && end > start && isSpace(text.charCodeAt(end - 1))) end--;
    return { text: text.slice(start, end), leading: leading < 0 ? leading : Math.max(0, leading - start) };
  };
}

function replace(options: Json): Normalizer {
  const pattern = readPattern(options['pattern'], 'The pattern of a normalizer');
  const content = asText(options['content'], 'The content of a normalizer');
  return ({ text, leading }) => {
    let result = '';
    let done = 0;
    let matches = 0;
    let first = 0; // of the result's units, those that come from the leading ones
    pattern.each(text, (start, end) => {
      checkGrowth(++matches * content.length, text.length);
      result += text.slice(done, start) + content;
      if (done < leading) first += Math.min(start, leading) - done;
      if (end <= leading) first += content.length; // what replaces several characters belongs to the last of them
      done = end;
    });
    if (matches === 0) return { text, leading };
    return { text: result + text.slice(done), leading: leading < 0 ? leading : first + Math.max(0, leading - done) };
  };
}

function nmt(text: string): string {
  const kept = filtered(
    text,
    (c) => !((c >= 1 && c <= 8) || c === 0xb || (c >= 0xe && c <= 0x1f) || c === 0x7f || c === 0x8f || c === 0x9f),
  );
  return kept.replace(/[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g, ' ');
}

function bert(options: Json): Normalizer {
  const clean = asFlag(options['clean_text'], 'clean_text');
  const chinese = asFlag(options['handle_chinese_chars'], 'handle_chinese_chars');
  const lower = asFlag(options['lowercase'], 'lowercase');
  const accents = asFlag(options['strip_accents'], 'strip_accents', lower);
  return mapped((text) => {
    let result = text;
    if (clean) {
      result = filtered(result, (code) => code !== 0 && code !== 0xfffd && !isControl(code));
      result = result.replace(/\p{White_Space}/gu, ' ');
    }
    if (chinese) result = result.replace(IDEOGRAPH, ' $& ');
    if (accents) result = filtered(normalForm(result, 'NFD'), (code) => !isNonspacingMark(code));
    return lower ? lowerCase(result) : result;
  });
}

const IDEOGRAPH =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;
