import type { AddedToken } from './added-tokens.ts';
import { asArray, asObject, isObject } from './checks.ts';
import type { Vocabulary } from './vocabulary.ts';

/** A normal form puts at most so many UTF-16 units of a text into one. */
const COMPOSED = 4;

/**
 * How many tokens a text has at least, from its length alone: no token stands for more of a text than the longest one. Where
 * characters can vanish (dropped, replaced by less, unknown ones fused), nothing is known.
 */
export class LengthBound {
  /** UTF-16 units of a text that one token stands for at most, or infinite. */
  readonly #most: number;
  /** Whether added tokens take the spaces beside them, so that spaces do not count. */
  readonly #withoutSpaces: boolean;

  /** @param removes whether the pre-tokenizer takes characters away */
  constructor(vocabulary: Vocabulary, added: readonly AddedToken[], normalizer: unknown, removes: boolean) {
    const shrinking = vocabulary.complete && !removes ? mostShrinking(normalizer) : null;
    let longest = 1;
    for (const text of vocabulary.texts) if (text !== undefined) longest = Math.max(longest, text.length);
    for (const { content } of added) longest = Math.max(longest, content.length);
    this.#most = shrinking === null ? Number.POSITIVE_INFINITY : longest * shrinking;
    this.#withoutSpaces = added.some((token) => token.lstrip || token.rstrip);
  }

  leastTokens(text: string): number {
    if (this.#most === Number.POSITIVE_INFINITY) return 0;
    const { length } = this.#withoutSpaces ? text.replace(/\p{White_Space}+/gu, '') : text;
    return Math.ceil(length / this.#most);
  }
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
