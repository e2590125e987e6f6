import type { ModelConfig } from '../checkpoint/types.ts';
import { EspalierError } from '../errors.ts';
import type { ChatMessage, ChatOptions } from '../model/chat.ts';
import type { EmbedOptions } from '../model/embed.ts';
import type { GenerateOptions } from '../model/generation.ts';
import type { EncodePromptOptions, ScoredToken } from '../model/model.ts';
import type { ScoreOptions } from '../model/score.ts';
import type { DecodeOptions } from '../model/tokenizer.ts';
import { Generation } from './generation.ts';
import type { CallOptions } from './link.ts';
import { partOptions } from './options.ts';
import type { CallArguments, CallName, CallResult } from './port.ts';
import type { EmbedInput, EngineCalls, EngineLink, ModelFacts, Prompt } from './protocol.ts';

/** What a model knows of its engine. */
interface Owner {
  readonly description: Readonly<Record<string, string>>;
  readonly lanes: number;
  close(): Promise<void>;
}

/**
 * An open model on an engine: text in, text and numbers out. Make one with `open` or `engine.open`, end it with `close`.
 *
 * Everything is computed in the engine's worker. Any call may reject with E_DISPOSED when the model or its engine is closed, and
 * with E_WORKER_LOST when a thread of the engine dies.
 */
export class Model {
  readonly name: string;
  readonly config: ModelConfig;
  /** Of the engine: what was chosen at start, for people. */
  readonly description: Readonly<Record<string, string>>;
  /** Threads that compute. */
  readonly lanes: number;
  readonly bosId: number | null;
  /** Tokens that end a text: the configuration's and the tokenizer's. */
  readonly eosIds: readonly number[];
  /** One more than the tokenizer's highest id; `config.vocabSize` may be padded beyond it. */
  readonly vocabSize: number;
  readonly #link: EngineLink;
  readonly #model: number;
  /** To be closed with the model. */
  #engine: Owner | null = null;
  #closing: Promise<void> | null = null;

  /** Made by `open`. */
  constructor(link: EngineLink, engine: Owner, facts: ModelFacts) {
    this.name = facts.name;
    this.config = facts.config;
    this.description = engine.description;
    this.lanes = engine.lanes;
    this.bosId = facts.bosId;
    this.eosIds = facts.eosIds;
    this.vocabSize = facts.vocabSize;
    this.#link = link;
    this.#model = facts.model;
  }

  /** The model, closing its engine with itself. */
  static owning(engine: Owner, model: Model): Model {
    model.#engine = engine;
    return model;
  }

  /**
   * Token ids of a text. A begin-of-text token is added where the tokenizer's post-processor or `add_bos_token` says so. Where a
   * plain `PreTrainedTokenizerFast` names one that agrees with the model's and says nothing about adding it, it is added too: such
   * a model was trained with it. `addBos` overrides both.
   */
  encode(text: string, options: EncodePromptOptions = {}): Promise<number[]> {
    return this.#call('encode', [this.#model, text, options]);
  }

  /** The text of ids; ids that the vocabulary does not have are passed over. */
  decode(ids: readonly number[], options: DecodeOptions = {}): Promise<string> {
    return this.#call('decode', [this.#model, ids, options]);
  }

  /** A conversation as the token ids that the model was trained on. @throws E_TEMPLATE_INVALID */
  encodeChat(messages: readonly ChatMessage[], options: ChatOptions = {}): Promise<number[]> {
    return this.#call('encodeChat', [this.#model, messages, options]);
  }

  /**
   * Continues a prompt: a text, token ids, or the messages of a conversation. It starts when the result is iterated or awaited, and
   * there its errors come out: E_ARGUMENT, E_CONTEXT_LENGTH, E_TEMPLATE_INVALID, E_ABORTED, E_OUT_OF_MEMORY, E_TENSOR_VALUE.
   */
  generate(prompt: Prompt, options: GenerateOptions & EncodePromptOptions = {}): Generation {
    const { data, signal } = partOptions(options);
    return new Generation(this.#link, { model: this.#model, prompt, options: data }, signal, () => this.#open());
  }

  /**
   * Log-probability and entropy at every position of a text or list of ids.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY
   */
  async score(
    text: string | readonly number[],
    options: ScoreOptions & EncodePromptOptions = {},
  ): Promise<ScoredToken[]> {
    const { data, signal, callbacks } = partOptions(options);
    return this.#call('score', [this.#model, text, data], { signal, callbacks });
  }

  /**
   * A vector for each text, from the hidden states of its tokens: of one text or list of ids, or of several. A language model was
   * not trained for this; compare vectors of one model only, by their cosine.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY
   */
  async embed(input: EmbedInput, options: EmbedOptions & EncodePromptOptions = {}): Promise<Float32Array[]> {
    const { data, signal, callbacks } = partOptions(options);
    return this.#call('embed', [this.#model, input, data], { signal, callbacks });
  }

  /**
   * Frees the weights, and ends the engine if `open` made it. What the model still computes ends with E_DISPOSED. Calling it twice
   * is allowed.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    if (this.#engine) return this.#engine.close();
    // with the engine gone, so is the memory
    if (!this.#link.ended) await this.#link.call('close', [this.#model]);
  }

  async #call<K extends CallName<EngineCalls>>(
    name: K,
    args: CallArguments<EngineCalls, K>,
    options?: CallOptions<CallResult<EngineCalls, K>>,
  ): Promise<CallResult<EngineCalls, K>> {
    this.#open();
    return this.#link.call(name, args, options);
  }

  #open(): void {
    if (this.#closing) throw new EspalierError('E_DISPOSED', 'The model is closed.', 'Open it again.');
  }
}
