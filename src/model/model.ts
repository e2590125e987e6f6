import type { Checkpoint, ModelConfig, RoundedLayers, TokenizerSpec } from '../checkpoint/types.ts';
import type { Device } from '../device/device.ts';
import { EspalierError } from '../errors.ts';
import { checked } from '../options/check.ts';
import { checkedText } from '../options/texts.ts';
import { sha256 } from '../runtime/files/hash.ts';
import type { AdapterFacts } from './adapters.ts';
import type { Decoder } from './decoder.ts';
import { embedTokens } from './embed.ts';
import { type ExpertLoad, expertLoad } from './expert-load.ts';
import { type BatchItem, type BatchOptions, GenerationBatch } from './generate/batch.ts';
import { Generation } from './generate/generation.ts';
import { checkedGeneration, type GenerateOptions } from './generate/options.ts';
import type { PromptCache } from './generate/prompt-cache.ts';
import { ModelText } from './model-text.ts';
import {
  type EmbedOptions,
  type EncodePromptOptions,
  type ExpertLoadOptions,
  embedOptions,
  encodePromptOptions,
  expertLoadOptions,
  type PromptOptions,
  type ScoreOptions,
  scoreOptions,
} from './options.ts';
import { checkedList, checkedMessages, checkedTextOrIds, checkedTexts, type Prompt, type TokenIds } from './prompt.ts';
import { type LikelyToken, type ScoredPosition, scoreTokens } from './score.ts';
import { scoreEach } from './score-each.ts';
import type { ChatMessage } from './text/chat.ts';
import { type ChatOptions, chatOptions } from './text/options.ts';
import type { Tokenizer } from './text/tokenizer.ts';

export interface ScoredToken extends Omit<ScoredPosition, 'top'> {
  readonly text: string;
  /** The likeliest tokens after this one, the likeliest first; null without `top`. */
  readonly top: readonly (LikelyToken & { readonly text: string })[] | null;
}

/** An open model: text in, text and numbers out. Make one with `openLocal`, end it with `close`. */
export class LocalModel {
  readonly name: string;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  readonly decoder: Decoder;
  readonly device: Device;
  /** What was found in its files and left out or taken otherwise than it stands there, a sentence each. */
  readonly notes: readonly string[];
  /** Linear layers that were rounded, where `quantise` was given; else null. */
  readonly rounded: RoundedLayers | null;
  /** Those that it was opened with. */
  readonly adapters: readonly AdapterFacts[];
  readonly #spec: TokenizerSpec;
  readonly #ownsDevice: boolean;
  readonly #text: ModelText;
  readonly #identity: string | null;
  readonly #prompts: PromptCache | null;
  #closed = false;
  #tokenizerIdentity: Promise<string> | null = null;

  constructor(
    checkpoint: Checkpoint,
    spec: TokenizerSpec,
    tokenizer: Tokenizer,
    decoder: Decoder,
    ownsDevice: boolean,
    identity: string | null,
    adapters: readonly AdapterFacts[] = [],
    prompts: PromptCache | null = null,
  ) {
    this.#prompts = prompts;
    this.adapters = adapters;
    this.#identity = identity;
    this.name = checkpoint.name;
    this.config = checkpoint.config;
    this.notes = [...checkpoint.notes, ...tokenizer.warnings];
    this.rounded = checkpoint.rounded ?? null;
    this.tokenizer = tokenizer;
    this.decoder = decoder;
    this.device = decoder.device;
    this.#spec = spec;
    this.#ownsDevice = ownsDevice;
    this.#text = new ModelText(checkpoint, spec, tokenizer);
  }

  /**
   * What tells its weights, all bytes of them, its configuration and its adapters from any other's (`TensorDigests`).
   * @throws E_ARGUMENT where it was opened without, which `openLocal` never does
   */
  get identity(): string {
    if (this.#identity !== null) return this.#identity;
    throw new EspalierError('E_ARGUMENT', `${this.name} was opened without its identity.`, 'Open it with openLocal.');
  }

  /** Bytes of keys and values of recent prompts that are kept: `promptCache`. */
  get promptBytes(): number {
    return this.#prompts?.byteLength ?? 0;
  }

  /** What tells its tokenizer from any other: a hash of its specification. */
  tokenizerIdentity(): Promise<string> {
    this.#tokenizerIdentity ??= sha256(JSON.stringify([this.#spec.tokenizerJson, this.#spec.tokenizerConfig]));
    return this.#tokenizerIdentity;
  }

  /** Tokens that end a text: the configuration's and the tokenizer's. */
  get eosIds(): readonly number[] {
    return this.#text.eosIds;
  }

  /**
   * Token ids of a text. A begin-of-text token is added where the tokenizer's post-processor or `add_bos_token` says so. Where a
   * plain `PreTrainedTokenizerFast` names a begin-of-text token, agrees with the model's and says nothing about adding it, it is
   * added too: such a model was trained with it.
   */
  encode(text: string, options: EncodePromptOptions = {}): number[] {
    const given = checked<EncodePromptOptions>(encodePromptOptions, options, 'encode');
    return this.#text.encode(checkedText(text, 'The text'), given);
  }

  /**
   * A conversation as the token ids that the model was trained on. Control tokens written in it stay text, unless
   * `specialTokensInContent` says otherwise. @throws E_TEMPLATE_INVALID
   */
  encodeChat(messages: readonly ChatMessage[], options: ChatOptions = {}): number[] {
    const given = checked<ChatOptions>(chatOptions, options, 'encodeChat');
    return this.#text.encodeChat(checkedMessages(messages, 'messages'), given);
  }

  /**
   * Continues a prompt: a text, token ids, or the messages of a conversation.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_TEMPLATE_INVALID at once; E_ABORTED, E_OUT_OF_MEMORY while iterating
   */
  generate(prompt: Prompt, options: GenerateOptions & PromptOptions = {}): Generation {
    this.#check();
    const call = checkedGeneration(prompt, options, this.config.vocabSize);
    const wanted = call.prompt;
    const { addBos, specialTokens, chat = {}, ...given } = call.options;
    const room = this.config.maxPositions - 1; // what is written needs one
    let ids: readonly number[];
    if (typeof wanted === 'string') ids = this.#text.encode(wanted, { addBos, specialTokens }, room);
    else if (isIds(wanted)) ids = wanted;
    else ids = this.#text.encodeChat(wanted, chat, room);
    return new Generation(
      {
        decoder: this.decoder,
        tokenizer: this.tokenizer,
        eosIds: new Set(this.eosIds),
        prompts: this.#prompts,
        continues: typeof wanted !== 'string' && !isIds(wanted),
      },
      ids,
      given,
    );
  }

  /**
   * Continues several prompts at once: texts, token ids, conversations, or each with options of its own. Each becomes what `generate` makes
   * of it alone, and what fails with one disturbs no other.
   * @throws E_ARGUMENT at once for what is no list, and for options
   */
  generateBatch(prompts: readonly (Prompt | BatchItem)[], options: BatchOptions = {}): GenerationBatch {
    this.#check();
    return new GenerationBatch(prompts, options, (prompt, own) => this.generate(prompt, own));
  }

  /** Log-probability and entropy at every position of a text or list of ids. */
  async score(text: string | TokenIds, options: ScoreOptions & EncodePromptOptions = {}): Promise<ScoredToken[]> {
    this.#check();
    const given = checked<ScoreOptions & EncodePromptOptions>(scoreOptions, options, 'score');
    const scored = await scoreTokens(this.decoder, this.#ids(text, given), given);
    return scored.map((position) => this.#withText(position));
  }

  /**
   * The same of several texts, each as it is alone, on a GPU within rounding; short ones share passes over the weights. `onProgress` is told of texts.
   * @throws as `score`, for the first that is wrong
   */
  async scoreBatch(
    texts: readonly (string | TokenIds)[],
    options: ScoreOptions & EncodePromptOptions = {},
  ): Promise<ScoredToken[][]> {
    this.#check();
    const given = checked<ScoreOptions & EncodePromptOptions>(scoreOptions, options, 'scoreBatch');
    const list = checkedList(texts, 'The texts', this.config.vocabSize);
    const scored = await scoreEach(
      this.decoder,
      list.map((text) => this.#ids(text, given)),
      given,
    );
    return scored.map((positions) => positions.map((position) => this.#withText(position)));
  }

  #withText(position: ScoredPosition): ScoredToken {
    const text = (id: number) => this.tokenizer.tokenText(id);
    const top = position.top?.map((token) => ({ ...token, text: text(token.id) })) ?? null;
    return { ...position, text: text(position.id), top };
  }

  /**
   * A vector for each text, from the hidden states of its tokens: of one text or list of ids, or of several. A language model was
   * not trained for this; compare vectors of one model only, by their cosine.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY
   */
  async embed(
    input: string | TokenIds | readonly (string | TokenIds)[],
    options: EmbedOptions & EncodePromptOptions = {},
  ): Promise<Float32Array[]> {
    this.#check();
    const given = checked<EmbedOptions & EncodePromptOptions>(embedOptions, options, 'embed');
    const texts = checkedTexts(input, 'The input', this.config.vocabSize);
    const ids = texts.map((text) =>
      typeof text === 'string' ? this.#text.encode(text, given, this.config.maxPositions) : text,
    );
    return embedTokens(this.decoder, ids, given);
  }

  /**
   * Which experts compute a text or list of ids, by layer, from one forward pass.
   * @throws E_ARGUMENT where the model has no experts, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY
   */
  async expertLoad(
    text: string | TokenIds,
    options: ExpertLoadOptions & EncodePromptOptions = {},
  ): Promise<ExpertLoad> {
    this.#check();
    const given = checked<ExpertLoadOptions & EncodePromptOptions>(expertLoadOptions, options, 'expertLoad');
    const { signal, onProgress } = given;
    return expertLoad(this.decoder, this.#ids(text, given), {
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
    });
  }

  #ids(text: unknown, options: EncodePromptOptions): readonly number[] {
    const given = checkedTextOrIds(text, 'The text', this.config.vocabSize);
    return typeof given === 'string' ? this.#text.encode(given, options, this.config.maxPositions) : given;
  }

  /** @throws E_DISPOSED */
  checkOpen(): void {
    this.#check();
  }

  /** Frees the weights, and the device if `open` made it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#prompts?.dispose();
    this.decoder.dispose();
    if (this.#ownsDevice) this.device.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #check(): void {
    if (this.#closed) throw new EspalierError('E_DISPOSED', 'The model is closed.', 'Open it again.');
  }
}

/** Checked prompts of both kinds hold at least one, or are a conversation. */
function isIds(prompt: readonly number[] | readonly ChatMessage[]): prompt is readonly number[] {
  return typeof prompt[0] === 'number';
}
