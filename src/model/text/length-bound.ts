import type { AddedToken } from './added-tokens.ts';
import { asArray, asObject, isObject } from './checks.ts';
import { isSpace } from './unicode.ts';
import type { Vocabulary } from './vocabulary.ts';

/** A normal form puts at most so many UTF-16 units of a text into one. */
const COMPOSED = 4;

/** Characters that have a bound of their own. */
const ASCII = 128;

/**
 * How many tokens a text has at least, from its characters alone. A token of n characters stands for n of a text, each of which is in
 * no token longer than L(c) ≥ n: so the sum of 1 / L(c) over a text is at most the number of its tokens. Where characters can
 * vanish (dropped, replaced by less, unknown ones fused), nothing is known.
 */
export class LengthBound {
  /** By character of ASCII, 1 / L(c); 0 for spaces that added tokens take. */
  readonly #shares: Float64Array = new Float64Array(ASCII);
  /** For all other characters, and where a normalizer may put several into one: 1 / L of the longest token. */
  readonly #least: number;
  readonly #composes: boolean;
  readonly #withoutSpaces: boolean;

  /** @param removes whether the pre-tokenizer takes characters away */
  constructor(vocabulary: Vocabulary, added: readonly AddedToken[], normalizer: unknown, removes: boolean) {
    const shrinking = vocabulary.complete && !removes ? mostShrinking(normalizer) : null;
    this.#composes = shrinking !== null && shrinking > 1;
    this.#withoutSpaces = added.some((token) => token.lstrip || token.rstrip);
    if (shrinking === null) {
      this.#least = 0;
      return;
    }
    const longest = new Float64Array(ASCII).fill(1);
    let most = 1;
    const see = (text: string): void => {
      if (text.length > most) most = text.length;
      for (let i = 0; i < text.length; i++) {
        const unit = text.charCodeAt(i);
        if (unit < ASCII && longest[unit]! < text.length) longest[unit] = text.length;
      }
    };
    for (const text of vocabulary.texts) if (text !== undefined) see(text);
    for (const { content } of added) see(content);
    this.#least = 1 / (most * shrinking);
    const changed = replaced(normalizer);
    for (let unit = 0; unit < ASCII; unit++) {
      // only what is written as itself in tokens: not spaces and control characters
      const isItself = unit > 32 && unit < 127 && !changed.includes(String.fromCharCode(unit));
      this.#shares[unit] = isItself ? 1 / longest[unit]! : this.#least;
    }
    if (this.#withoutSpaces) for (const unit of [9, 10, 11, 12, 13, 32]) this.#shares[unit] = 0;
  }

  leastTokens(text: string): number {
    if (this.#least === 0) return 0;
    let sum = 0;
    let counted = 0;
    let isAscii = true;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= ASCII) {
        isAscii = false;
        if (this.#withoutSpaces && isSpace(unit)) continue;
      }
      const share = unit < ASCII ? this.#shares[unit]! : this.#least;
      sum += share;
      if (share > 0) counted++;
    }
    if (this.#composes && !isAscii) sum = counted * this.#least;
    return Math.ceil(sum * (1 - 1e-9)); // it was rounded some millions of times
  }
}

/** The characters of all texts that a normalizer replaces. */
function replaced(node: unknown): string {
  if (!isObject(node)) return '';
  const { pattern, normalizers } = node;
  const own = isObject(pattern) ? String(pattern['String']) : '';
  return own + (Array.isArray(normalizers) ? normalizers.map(replaced).join('') : '');
}

/**
 * How many times shorter, in UTF-16 units, the normalizer can make a text at most; null when that is not known.
 * @param node the normalizer of a tokenizer.json, checked
 */
function mostShrinking(node: unknown): number | null {
  if (node === null || node === undefined) return 1;
  const options = asObject(node, 'The normalizer');
  switch (options['type']) {
    case 'Prepend':
    case 'ByteLevel':
      return 1;
    case 'NFC':
      return COMPOSED;
    case 'Replace': {
      const wanted = isObject(options['pattern']) ? options['pattern']['String'] : undefined;
      const content = options['content'];
      const grows = typeof wanted === 'string' && typeof content === 'string' && content.length >= wanted.length;
      return grows ? 1 : null;
    }
    case 'Sequence': {
      let product = 1;
      for (const inner of asArray(options['normalizers'], 'The list of normalizers')) {
        const factor = mostShrinking(inner);
        if (factor === null) return null;
        product *= factor;
      }
      return product;
    }
    default:
      return null;
  }
}
