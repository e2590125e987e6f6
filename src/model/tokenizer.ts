import { Tokenizer as TextLibrary } from '@huggingface/tokenizers';
import type { TokenizerSpec } from '../checkpoint/types.ts';
import { EspalierError } from '../errors.ts';
import { checked } from '../options/check.ts';
import { checkedAnyIds, checkedText } from '../options/prompt.ts';
import { decodeOptions, encodeOptions } from '../options/text.ts';
import { Detokenizer, type TokenStream } from './detokenizer.ts';
import { asObject, type CheckedTokenizer, checkTokenizerJson, contentOf, invalidTokenizer } from './tokenizer-json.ts';

export type { TokenStream } from './detokenizer.ts';

export interface EncodeOptions {
  /** Whether what the model's post-processor adds (usually a begin-of-text token) is added. Default true. */
  readonly addSpecialTokens?: boolean;
  /**
   * Whether special tokens written in the text become their ids. Default true, as in Hugging Face. False for text that comes
   * from a user: `<|im_end|>` in it is then read as the letters it is made of. Added tokens that are not special always match.
   */
  readonly specialTokens?: boolean;
}

/** A part of a text. Special tokens are found only where they lie wholly in parts that are not plain. */
export interface TextSegment {
  readonly text: string;
  /** Whether what looks like a special token here is text. */
  readonly plain: boolean;
}

export interface DecodeOptions {
  /** Whether special tokens are left out of the text. Default true. */
  readonly skipSpecialTokens?: boolean;
  /**
   * Whether the ids go on from others, as generated ones do from a prompt. SentencePiece marks the start of a text with a
   * space, which is taken away only where the text starts. Default false.
   */
  readonly continues?: boolean;
}

const NONE: ReadonlySet<number> = new Set();

/**
 * Text to token ids and back, for byte-level BPE and SentencePiece vocabularies, with the ids of Hugging Face's tokenizers.
 *
 * Special tokens written in the text become their ids, as in Hugging Face. Lone surrogates are read as U+FFFD. Spaces
 * before punctuation are never "cleaned up" when decoding: the text is what the tokens say.
 */
export class Tokenizer {
  readonly #checked: CheckedTokenizer;
  readonly #library: TextLibrary;
  #plain: TextLibrary | null = null;
  readonly #detokenizer: Detokenizer;
  readonly #special: ReadonlySet<number>;
  /** One more than the highest id. A model's own vocabulary may be padded beyond it. */
  readonly vocabSize: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly padId: number | null;
  readonly unkId: number | null;

  private constructor(spec: TokenizerSpec) {
    const config = asObject(spec.tokenizerConfig, 'The tokenizer’s configuration');
    this.#checked = checkTokenizerJson(spec.tokenizerJson, config);
    // an empty configuration: what it would say has been read above, and its clean-up is not wanted
    this.#library = new TextLibrary(this.#checked.json, {});
    this.#detokenizer = new Detokenizer(this.#checked, (spec.tokenizerJson as { decoder?: unknown }).decoder);
    this.#special = new Set([...this.#checked.added.values()].filter((t) => t.special).map((t) => t.id));
    this.vocabSize = this.#checked.texts.length;
    const id = (key: string) => this.#checked.ids.get(contentOf(config[key]) ?? '') ?? null;
    this.bosId = id('bos_token');
    this.eosId = id('eos_token');
    this.padId = id('pad_token');
    this.unkId = id('unk_token');
  }

  /**
   * Checks the specification and builds the tokenizer (half a second for 150,000 tokens).
   *
   * @throws E_TOKENIZER_INVALID when it is malformed, or uses a part that cannot be computed exactly
   */
  static create(spec: TokenizerSpec): Tokenizer {
    try {
      return new Tokenizer(spec);
    } catch (cause) {
      if (cause instanceof EspalierError) throw cause;
      throw invalidTokenizer(`The tokenizer cannot be built: ${(cause as Error).message}.`, undefined, cause);
    }
  }

  /** Ids of all special tokens: what `skipSpecialTokens` leaves out. */
  get specialIds(): ReadonlySet<number> {
    return this.#special;
  }

  encode(text: string, given: EncodeOptions = {}): number[] {
    checkedText(text, 'The text');
    const options = checked<EncodeOptions>(encodeOptions, given, 'encode');
    const library = options.specialTokens === false ? this.#withoutSpecial() : this.#library;
    const ids = text === '' ? [] : library.encode(text, { add_special_tokens: false }).ids;
    return this.#framed(ids, options);
  }

  /**
   * The ids of all segments' texts joined together, as `encode` gives them, except that special tokens are found only in
   * segments that are not plain.
   */
  encodeSegments(segments: readonly TextSegment[], options: Pick<EncodeOptions, 'addSpecialTokens'> = {}): number[] {
    const special = [...this.#checked.added.values()].filter((token) => token.special);
    const harmless = segments.every(
      ({ text, plain }) => !plain || !special.some((token) => text.includes(token.content)),
    );
    if (harmless) return this.encode(segments.map(({ text }) => text).join(''), options);
    const ids = segments.flatMap(({ text, plain }) =>
      this.encode(text, { addSpecialTokens: false, specialTokens: !plain }),
    );
    return this.#framed(ids, options);
  }

  #withoutSpecial(): TextLibrary {
    const added = (this.#checked.json['added_tokens'] as { special?: unknown }[]).filter((t) => t.special !== true);
    this.#plain ??= new TextLibrary({ ...this.#checked.json, added_tokens: added }, {});
    return this.#plain;
  }

  #framed(ids: number[], options: EncodeOptions): number[] {
    if (options.addSpecialTokens === false) return ids;
    const { before, after } = this.#checked;
    return before.length + after.length === 0 ? ids : [...before, ...ids, ...after];
  }

  /** The text of all ids. Ids that the vocabulary does not have are passed over. */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const stream = this.stream(checked<DecodeOptions>(decodeOptions, options, 'decode'));
    let text = '';
    for (const id of checkedAnyIds(ids, 'ids')) text += stream.push(id);
    return text + stream.end();
  }

  /** Starts an incremental decoding: `push` each id, print each piece, print `end()`. */
  stream(options: DecodeOptions = {}): TokenStream {
    return this.#detokenizer.stream(options.skipSpecialTokens === false ? NONE : this.#special, options.continues);
  }

  /** The id of a token by its text in the vocabulary (`<|im_end|>`, `Ġthe`, `▁the`), or undefined. */
  idOf(token: string): number | undefined {
    return this.#checked.ids.get(token);
  }

  /** The UTF-8 bytes that one token adds to a text: not always whole characters. */
  tokenBytes(id: number): Uint8Array {
    return this.#detokenizer.bytesOf(id);
  }

  /**
   * The text that one token stands for on its own, leading space included; U+FFFD where its bytes are not whole UTF-8
   * characters; empty for an id that the vocabulary does not have.
   */
  tokenText(id: number): string {
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.tokenBytes(id));
  }
}
