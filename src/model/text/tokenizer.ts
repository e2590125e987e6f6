import type { TokenizerSpec } from '../../checkpoint/types.ts';
import { EspalierError } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import { checkedText } from '../../options/texts.ts';
import { checkedAnyIds } from '../prompt.ts';
import { namedToken, readAddedTokens } from './added-tokens.ts';
import { BYTE_LEVEL_ALPHABET } from './byte-level.ts';
import { asObject, invalidTokenizer, type Json } from './checks.ts';
import { controlTokens } from './control-tokens.ts';
import { Detokenizer, type TokenStream } from './detokenizer.ts';
import { Encoder, tooLong } from './encoder.ts';
import { LengthBound } from './length-bound.ts';
import { readNormalizer } from './normalizers.ts';
import {
  type DecodeOptions,
  decodeOptions,
  type EncodeOptions,
  encodeOptions,
  type TextSegment,
  textSegments,
} from './options.ts';
import { PlainParts } from './plain-parts.ts';
import { type Frame, readPostProcessor } from './post-processor.ts';
import { readPreTokenizer } from './pre-tokenizers.ts';
import { wellFormed } from './unicode.ts';
import { readVocabulary } from './vocabulary.ts';

export type { TokenStream } from './detokenizer.ts';

const NONE: ReadonlySet<number> = new Set();

/**
 * Text to token ids and back, for byte-level BPE, SentencePiece BPE and Unigram vocabularies, with the ids of Hugging Face's
 * tokenizers (the Rust library, 0.23).
 *
 * Special tokens written in the text become their ids, as in Hugging Face. Lone surrogates are read as U+FFFD. `truncation` and
 * `padding` of a tokenizer.json are for batches and mean nothing here. Spaces before punctuation are never "cleaned up" when
 * decoding: the text is what the tokens say.
 */
export class Tokenizer {
  readonly #encoder: Encoder;
  readonly #frame: Frame;
  readonly #bound: LengthBound;
  readonly #vocabulary: ReadonlyMap<string, number>;
  readonly #added = new Map<string, number>();
  readonly #detokenizer: Detokenizer;
  readonly #special: ReadonlySet<number>;
  /** Computed when the first conversation is encoded. */
  readonly #control: () => ReadonlySet<number>;
  /** One more than the highest id. A model's own vocabulary may be padded beyond it. */
  readonly vocabSize: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly padId: number | null;
  readonly unkId: number | null;
  /** What is doubtful about it, as sentences: ids that the file contradicts, a way of cutting words that had to be guessed. */
  readonly warnings: readonly string[];

  private constructor(spec: TokenizerSpec) {
    const json = asObject(spec.tokenizerJson, 'The tokenizer');
    const config = asObject(spec.tokenizerConfig, 'The tokenizer’s configuration');
    const warnings = [...(spec.warnings ?? [])];
    if (json['version'] !== undefined && json['version'] !== '1.0') {
      throw invalidTokenizer(`The tokenizer is of the version ${String(json['version'])}; 1.0 is read.`);
    }
    const normalizer = readNormalizer(json['normalizer']);
    const { steps, bytes, removes } = readPreTokenizer(json['pre_tokenizer']);
    const inAlphabet = bytes || endsInBytes(json['normalizer']);
    const model = asObject(json['model'], 'The tokenizer’s model');
    const vocabulary = readVocabulary(model, spec.scores ?? null, bytes, inAlphabet ? BYTE_LEVEL_ALPHABET : null);
    const added = readAddedTokens(json, config, vocabulary, (warning) => warnings.push(warning));
    this.#encoder = new Encoder({ added, normalizer, steps, model: vocabulary.model });
    this.#frame = readPostProcessor(json['post_processor']);
    this.#bound = new LengthBound(vocabulary, added, json['normalizer'], removes);

    const { texts } = vocabulary;
    this.#vocabulary = vocabulary.ids;
    for (const { id, content } of added) {
      this.#added.set(content, id);
      texts[id] = this.#encoder.normalizedTexts.get(id) ?? content;
    }
    const literal = new Set(added.filter(({ id, content }) => texts[id] === content).map(({ id }) => id));
    this.#detokenizer = new Detokenizer(texts, literal, json['decoder']);
    this.#special = new Set(added.filter((token) => token.special).map((token) => token.id));
    let control: ReadonlySet<number> | null = null;
    this.#control = () => {
      const templates = [spec.chatTemplate ?? '', ...(spec.namedTemplates?.values() ?? [])];
      control ??= controlTokens(added, config, templates);
      return control;
    };
    this.vocabSize = texts.length;
    const id = (key: string) => this.idOf(namedToken(config[key], `tokenizer_config.json: ${key}`) ?? '') ?? null;
    this.bosId = id('bos_token');
    this.eosId = id('eos_token');
    this.padId = id('pad_token');
    this.unkId = id('unk_token');
    this.warnings = warnings;
  }

  /**
   * Checks the specification and builds the tokenizer (a quarter of a second for 150,000 tokens).
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

  /**
   * The ids of a text, in time that is linear in its length.
   * @param limit most ids that there is room for: a longer text is refused as soon as that is certain
   * @throws E_ARGUMENT for what is no text, and wrong options; E_TOKENIZER_INVALID when the text has a character that an incomplete vocabulary cannot write, or the tokenizer's
   *   expressions or normalizers take too many steps or too much room on it; E_CONTEXT_LENGTH beyond `limit`
   */
  encode(text: string, options: EncodeOptions = {}, limit = Number.POSITIVE_INFINITY): number[] {
    const { specialTokens, ...given } = checked<EncodeOptions>(encodeOptions, options, 'encode');
    return this.encodeSegments([{ text: checkedText(text, 'The text'), plain: specialTokens === false }], given, limit);
  }

  /**
   * The ids of all segments' texts joined together, as `encode` gives them, except that special tokens are found only where
   * they lie wholly in segments that are not plain; with `inChat` the same goes for other added tokens that frame a conversation.
   * @throws what `encode` throws
   */
  encodeSegments(
    segments: readonly TextSegment[],
    options: Pick<EncodeOptions, 'addSpecialTokens'> & { readonly inChat?: boolean } = {},
    limit = Number.POSITIVE_INFINITY,
  ): number[] {
    textSegments.check(segments, 'segments');
    // a surrogate pair that two segments share is joined first
    const text = wellFormed(segments.map((segment) => segment.text).join(''));
    const lengths = segments.map((segment) => ({ length: segment.text.length, plain: segment.plain }));
    const plain = PlainParts.of(lengths, options.inChat === true ? this.#control() : this.#special);
    const { before, after } = options.addSpecialTokens === false ? { before: [], after: [] } : this.#frame;
    const around = before.length + after.length;
    if (limit < Number.POSITIVE_INFINITY) {
      const least = this.#bound.leastTokens(text) + around;
      if (least > limit) throw tooLong(limit, least);
    }
    const ids = this.#encoder.encode(text, plain, limit - around);
    return around === 0 ? ids : before.concat(ids, after);
  }

  /** The text of all ids. Ids that the vocabulary does not have are passed over. */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const stream = this.stream(options);
    let text = '';
    for (const id of checkedAnyIds(ids, 'ids')) text += stream.push(id);
    return text + stream.end();
  }

  /** Starts an incremental decoding: `push` each id, print each piece, print `end()`. */
  stream(options: DecodeOptions = {}): TokenStream {
    const { skipSpecialTokens, continues } = checked<DecodeOptions>(decodeOptions, options, 'decode');
    return this.#detokenizer.stream(skipSpecialTokens === false ? NONE : this.#special, continues);
  }

  /** The id of a token by its text in the vocabulary (`<|im_end|>`, `Ġthe`, `▁the`), or undefined. */
  idOf(token: string): number | undefined {
    return this.#added.get(token) ?? this.#vocabulary.get(token);
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

/** Whether the last thing that a normalizer does is to write the text in bytes. */
function endsInBytes(node: unknown): boolean {
  const options = node as Json | null | undefined;
  if (options?.['type'] !== 'Sequence') return options?.['type'] === 'ByteLevel';
  return endsInBytes((options['normalizers'] as unknown[]).at(-1));
}
