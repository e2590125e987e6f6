import type { Checkpoint, ModelConfig, TokenizerSpec } from '../checkpoint/types.ts';
import type { Device } from '../device/device.ts';
import { EspalierError } from '../errors.ts';
import { sha256 } from '../runtime/hash.ts';
import { type ChatMessage, type ChatOptions, renderChat } from './chat.ts';
import type { Decoder } from './decoder.ts';
import { type EmbedOptions, embedTokens } from './embed.ts';
import { type ExpertLoad, type ExpertLoadOptions, expertLoad } from './expert-load.ts';
import { type GenerateOptions, Generation } from './generation.ts';
import { type ScoredPosition, type ScoreOptions, scoreTokens } from './score.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface EncodePromptOptions {
  /** Whether a begin-of-text token stands first. Default: as the tokenizer says (see `Model.encode`). */
  readonly addBos?: boolean;
  /** Whether special tokens written in the text become their ids. Default true. False for text that comes from a user. */
  readonly specialTokens?: boolean;
}

export interface ScoredToken extends ScoredPosition {
  readonly text: string;
}

/** An open model: text in, text and numbers out. Make one with `openLocal`, end it with `close`. */
export class LocalModel {
  readonly name: string;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  readonly decoder: Decoder;
  readonly device: Device;
  /** What tells its weights and configuration from any other's (`checkpointIdentity`). */
  readonly identity: string;
  readonly #spec: TokenizerSpec;
  readonly #ownsDevice: boolean;
  readonly #eosIds: ReadonlySet<number>;
  #closed = false;
  #tokenizerIdentity: Promise<string> | null = null;

  constructor(
    checkpoint: Checkpoint,
    spec: TokenizerSpec,
    tokenizer: Tokenizer,
    decoder: Decoder,
    ownsDevice: boolean,
    identity: string,
  ) {
    this.identity = identity;
    this.name = checkpoint.name;
    this.config = checkpoint.config;
    this.tokenizer = tokenizer;
    this.decoder = decoder;
    this.device = decoder.device;
    this.#spec = spec;
    this.#ownsDevice = ownsDevice;
    this.#eosIds = new Set([...this.config.eosIds, ...(tokenizer.eosId === null ? [] : [tokenizer.eosId])]);
  }

  /** What tells its tokenizer from any other: a hash of its specification. */
  tokenizerIdentity(): Promise<string> {
    this.#tokenizerIdentity ??= sha256(JSON.stringify([this.#spec.tokenizerJson, this.#spec.tokenizerConfig]));
    return this.#tokenizerIdentity;
  }

  /** Tokens that end a text: the configuration's and the tokenizer's. */
  get eosIds(): readonly number[] {
    return [...this.#eosIds];
  }

  /**
   * Token ids of a text. A begin-of-text token is added where the tokenizer's post-processor or `add_bos_token` says so. Where a
   * plain `PreTrainedTokenizerFast` names a begin-of-text token, agrees with the model's and says nothing about adding it, it is
   * added too: such a model was trained with it.
   */
  encode(text: string, options: EncodePromptOptions = {}): number[] {
    const { bosId } = this.tokenizer;
    const { specialTokens = true } = options;
    const ids = this.tokenizer.encode(text, { addSpecialTokens: options.addBos !== false, specialTokens });
    if (options.addBos === false) return ids;
    const config = this.#spec.tokenizerConfig as { add_bos_token?: unknown; tokenizer_class?: unknown };
    const says = config.add_bos_token;
    const silent =
      says === undefined && config.tokenizer_class === 'PreTrainedTokenizerFast' && bosId === this.config.bosId;
    const wanted = options.addBos === true || says === true || silent;
    return wanted && bosId !== null && ids[0] !== bosId ? [bosId, ...ids] : ids;
  }

  /** A conversation as the token ids that the model was trained on. @throws E_TEMPLATE_INVALID */
  encodeChat(messages: readonly ChatMessage[], options: ChatOptions = {}): number[] {
    return this.tokenizer.encode(renderChat(this.#spec, messages, options), { addSpecialTokens: false });
  }

  /**
   * Continues a prompt: a text, token ids, or the messages of a conversation.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_TEMPLATE_INVALID at once; E_ABORTED, E_OUT_OF_MEMORY while iterating
   */
  generate(
    prompt: string | readonly number[] | readonly ChatMessage[],
    options: GenerateOptions & EncodePromptOptions = {},
  ): Generation {
    this.#check();
    let ids: readonly number[];
    if (typeof prompt === 'string') ids = this.encode(prompt, options);
    else if (prompt.length > 0 && typeof prompt[0] === 'object')
      ids = this.encodeChat(prompt as readonly ChatMessage[]);
    else ids = prompt as readonly number[];
    return new Generation({ decoder: this.decoder, tokenizer: this.tokenizer, eosIds: this.#eosIds }, ids, options);
  }

  /** Log-probability and entropy at every position of a text or list of ids. */
  async score(
    text: string | readonly number[],
    options: ScoreOptions & EncodePromptOptions = {},
  ): Promise<ScoredToken[]> {
    this.#check();
    const ids = typeof text === 'string' ? this.encode(text, options) : text;
    const scored = await scoreTokens(this.decoder, ids, options);
    return scored.map((position) => ({ ...position, text: this.tokenizer.tokenText(position.id) }));
  }

  /**
   * A vector for each text, from the hidden states of its tokens: of one text or list of ids, or of several. A language model was
   * not trained for this; compare vectors of one model only, by their cosine.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY
   */
  async embed(
    input: string | readonly string[] | readonly number[] | readonly (readonly number[])[],
    options: EmbedOptions & EncodePromptOptions = {},
  ): Promise<Float32Array[]> {
    this.#check();
    const list = (typeof input === 'string' || typeof input[0] === 'number' ? [input] : input) as readonly (
      | string
      | readonly number[]
    )[];
    const texts = list.map((text) => (typeof text === 'string' ? this.encode(text, options) : text));
    return embedTokens(this.decoder, texts, options);
  }

  /**
   * Which experts compute a text or list of ids, by layer, from one forward pass.
   * @throws E_ARGUMENT where the model has no experts, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY
   */
  async expertLoad(
    text: string | readonly number[],
    options: ExpertLoadOptions & EncodePromptOptions = {},
  ): Promise<ExpertLoad> {
    this.#check();
    return expertLoad(this.decoder, typeof text === 'string' ? this.encode(text, options) : text, options);
  }

  /** @throws E_DISPOSED */
  checkOpen(): void {
    this.#check();
  }

  /** Frees the weights, and the device if `open` made it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
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
