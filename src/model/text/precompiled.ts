import { invalidTokenizer } from './checks.ts';

const utf8 = new TextEncoder();

/**
 * SentencePiece's table of replacements: the length of a double-array trie over bytes, the trie, and the replacements, each
 * ended by a zero byte. As the reference reads it: whole grapheme clusters of up to five bytes first, then single characters,
 * and the shortest entry that is a prefix replaces all of it.
 *
 * @throws E_TOKENIZER_INVALID for a table that is malformed, or on a host that cannot find grapheme clusters
 */
export function charsmap(base64: string): (text: string) => string {
  const malformed = (cause?: unknown) =>
    invalidTokenizer('The table of the tokenizer’s Precompiled normalizer cannot be read.', undefined, cause);
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch (cause) {
    throw malformed(cause);
  }
  if (bytes.length < 4) throw malformed();
  const view = new DataView(bytes.buffer);
  const units = Math.floor(view.getUint32(0, true) / 4);
  if (4 + units * 4 > bytes.length || units === 0) throw malformed();
  const trie = Uint32Array.from({ length: units }, (_, i) => view.getUint32(4 + i * 4, true));
  const texts = bytes.subarray(4 + units * 4);
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  if (typeof Intl?.Segmenter !== 'function') {
    throw invalidTokenizer('This host cannot find grapheme clusters, which the tokenizer’s normalizer needs.');
  }
  const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });

  const offset = (unit: number) => (unit >>> 10) << ((unit & 512) >>> 6);
  /** Where the replacement of the shortest entry that begins `key` stands; below 0 without one. */
  const find = (key: Uint8Array): number => {
    let node = offset(trie[0]!);
    for (const byte of key) {
      if (byte === 0) return -1;
      node ^= byte;
      const unit = trie[node];
      if (unit === undefined) throw malformed();
      if (((unit & 0x800000ff) | 0) !== byte) return -1;
      node ^= offset(unit);
      if ((unit >>> 8) & 1) {
        const leaf = trie[node];
        if (leaf === undefined) throw malformed();
        return leaf & 0x7fffffff;
      }
    }
    return -1;
  };
  const known = new Map<string, string | null>();
  const replacement = (part: string): string | null => {
    let found = known.get(part);
    if (found !== undefined) return found;
    const index = find(utf8.encode(part));
    found = null;
    if (index >= 0) {
      const end = texts.indexOf(0, index);
      try {
        found = decoder.decode(texts.subarray(index, end < 0 ? texts.length : end));
      } catch (cause) {
        throw malformed(cause);
      }
    }
    if (known.size < 10_000) known.set(part, found);
    return found;
  };
  return (text) => {
    let result = '';
    for (const { segment } of segmenter.segment(text)) {
      const whole = utf8.encode(segment).length < 6 ? replacement(segment) : null;
      if (whole !== null) {
        result += whole;
        continue;
      }
      for (const character of segment) result += replacement(character) ?? character;
    }
    return result;
  };
}
