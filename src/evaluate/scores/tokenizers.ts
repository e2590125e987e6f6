import { oneOf } from '../../options/rules.ts';
import { checkedText } from '../../options/texts.ts';
import { trimmed, words } from './words.ts';

/**
 * How BLEU cuts texts into words, as sacreBLEU's tokenizers of the same names do: `13a` as mteval-v13a.pl of WMT, `intl` as mteval-v14.pl
 * with `--international-tokenization`, `zh` Chinese characters apart and the rest as 13a, `char` every character, `none` as it stands.
 */
export const BLEU_TOKENIZERS = ['13a', 'intl', 'zh', 'char', 'none'] as const;
export type BleuTokenizer = (typeof BLEU_TOKENIZERS)[number];

const tokenizer = oneOf(...BLEU_TOKENIZERS);

/** Words of a text. @throws E_ARGUMENT */
export function tokenize(name: BleuTokenizer, text: string): string[] {
  tokenizer.check(name, 'The tokenizer');
  checkedText(text, 'The text');
  switch (name) {
    case '13a':
      return words(western(` ${unescaped(text)} `));
    case 'intl':
      return words(international(text));
    case 'zh':
      return words(western(chineseApart(trimmed(text))));
    case 'char':
      return words(Array.from(text).join(' '));
    case 'none':
      return words(text);
    default:
      return name satisfies never;
  }
}

function unescaped(text: string): string {
  const line = text.replaceAll('<skipped>', '').replaceAll('-\n', '').replaceAll('\n', ' ');
  if (!line.includes('&')) return line;
  // one after the other, as there: &amp;lt; becomes <
  return line.replaceAll('&quot;', '"').replaceAll('&amp;', '&').replaceAll('&lt;', '<').replaceAll('&gt;', '>');
}

/** Punctuation apart, but periods and commas between digits. The u flag: a match of [^0-9] is a whole character. */
function western(line: string): string {
  return line
    .replace(/([{-~[-` -&(-+:-@/])/gu, ' $1 ')
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])(-)/gu, '$1 $2 ');
}

/** Punctuation apart, but beside digits, and symbols apart. A character that a host's Unicode does not know yet is neither. */
function international(line: string): string {
  return line
    .replace(/(\P{N})(\p{P})/gu, '$1 $2 ')
    .replace(/(\p{P})(\P{N})/gu, ' $1 $2')
    .replace(/(\p{S})/gu, ' $1 ');
}

/**
 * Ranges that sacreBLEU takes for Chinese. Two are not what was meant: its `\u20000` is U+2000 and a zero, so that instead of extension B
 * U+2001 to U+2A6D are meant, and instead of the compatibility supplement U+2F81 to U+2FA1.
 */
const CHINESE = new RegExp(
  '[\\u2001-\\u2a6d\\u2e80-\\u2eff\\u2f00-\\u2fdf\\u2ff0-\\u2fff\\u3000-\\u303f\\u3100-\\u312f\\u31a0-\\u31bf\\u31c0-\\u31ef' +
    '\\u3200-\\u33ff\\u3400-\\u4db5\\u4e00-\\u9fbb\\uf900-\\ufa2d\\ufa30-\\ufa6a\\ufa70-\\ufad9\\ufe10-\\ufe1f\\ufe30-\\ufe4f' +
    '\\uff00-\\uffef]',
  'gu',
);

const chineseApart = (line: string): string => line.replace(CHINESE, ' $& ');
