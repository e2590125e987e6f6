import type { ModelConfig, RoundedLayers } from '../../checkpoint/types.ts';
import { EspalierError } from '../../errors.ts';
import type { AdapterFacts } from '../../model/adapters.ts';
import { type BatchItem, type BatchOptions, GenerationBatch } from '../../model/generate/batch.ts';
import { checkedGeneration, type GenerateOptions } from '../../model/generate/options.ts';
import type { ScoredToken } from '../../model/model.ts';
import {
  type EmbedOptions,
  type EncodePromptOptions,
  embedOptions,
  type PromptOptions,
  type ScoreOptions,
  scoreOptions,
} from '../../model/options.ts';
import {
  checkedAnyIds,
  checkedList,
  checkedMessages,
  checkedTextOrIds,
  checkedTexts,
  type Prompt,
  type TokenIds,
} from '../../model/prompt.ts';
import type { ChatMessage } from '../../model/text/chat.ts';
import type { ChatOptions, DecodeOptions } from '../../model/text/options.ts';
import { checked } from '../../options/check.ts';
import { checkedText } from '../../options/texts.ts';
import { Owned } from '../line/owned.ts';
import { partOptions } from '../line/parted-options.ts';
import { Generation } from './generation.ts';
import { chatCallOptions, decodeCallOptions, encodeCallOptions, type SignalOption } from './options.ts';
import type { EmbedInput, EngineCalls, EngineLink, ModelFacts, StreamStart } from './protocol.ts';

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
  /** The tokenizer's, which ends a text that is written for the model. */
  readonly eosId: number | null;
  /** Tokens that end a text: the configuration's and the tokenizer's. */
  readonly eosIds: readonly number[];
  /** One more than the tokenizer's highest id; `config.vocabSize` may be padded beyond it. */
  readonly vocabSize: number;
  /** What was found in its files and left out or taken otherwise than it stands there, a sentence each. */
  readonly notes: readonly string[];
  /** Linear layers that were rounded, where `quantise` was given; else null. */
  readonly rounded: RoundedLayers | null;
  /** Those that it was opened with. */
  readonly adapters: readonly AdapterFacts[];
  readonly #held: Owned<EngineCalls>;
  /** To be closed with the model. */
  #engine: Owner | null = null;

  /** Made by `open`. */
  constructor(link: EngineLink, engine: Owner, facts: ModelFacts) {
    this.name = facts.name;
    this.config = facts.config;
    this.description = engine.description;
    this.lanes = engine.lanes;
    this.bosId = facts.bosId;
    this.eosId = facts.eosId;
    this.eosIds = facts.eosIds;
    this.vocabSize = facts.vocabSize;
    this.notes = facts.notes;
    this.rounded = facts.rounded;
    this.adapters = facts.adapters;
    this.#held = new Owned(link, facts.model, null, closed);
    helds.set(this, this.#held);
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
  async encode(text: string, options: EncodePromptOptions & SignalOption = {}): Promise<number[]> {
    const { signal, ...given } = checked<EncodePromptOptions & SignalOption>(encodeCallOptions, options, 'encode');
    return this.#held.call('encode', [this.#held.number, checkedText(text, 'The text'), given], { signal });
  }

  /** The text of ids; ids that the vocabulary does not have are passed over. */
  async decode(ids: TokenIds, options: DecodeOptions & SignalOption = {}): Promise<string> {
    const { signal, ...given } = checked<DecodeOptions & SignalOption>(decodeCallOptions, options, 'decode');
    return this.#held.call('decode', [this.#held.number, checkedAnyIds(ids, 'ids'), given], { signal });
  }

  /** A conversation as the token ids that the model was trained on. @throws E_TEMPLATE_INVALID */
  async encodeChat(messages: readonly ChatMessage[], options: ChatOptions & SignalOption = {}): Promise<number[]> {
    const { signal, ...given } = checked<ChatOptions & SignalOption>(chatCallOptions, options, 'encodeChat');
    return this.#held.call('encodeChat', [this.#held.number, checkedMessages(messages, 'messages'), given], { signal });
  }

  /**
   * Continues a prompt: a text, token ids, or the messages of a conversation. It starts when the result is iterated or awaited, and
   * there its errors come out: E_ARGUMENT, E_CONTEXT_LENGTH, E_TEMPLATE_INVALID, E_ABORTED, E_OUT_OF_MEMORY, E_TENSOR_VALUE.
   */
  generate(prompt: Prompt, options: GenerateOptions & PromptOptions = {}): Generation {
    let begin: () => StreamStart;
    let signal: AbortSignal | undefined;
    try {
      const call = checkedGeneration(prompt, options, this.config.vocabSize);
      const parted = partOptions(call.options);
      signal = parted.signal;
      begin = () => ({ model: this.#held.number, prompt: call.prompt, options: parted.data });
    } catch (error) {
      begin = () => {
        throw error;
      };
    }
    return new Generation(this.#held, begin, signal);
  }

  /**
   * Continues several prompts at once: texts, token ids, conversations, or each with options of its own. Each becomes what `generate` makes
   * of it alone, and what fails with one disturbs no other.
   * @throws E_ARGUMENT at once for what is no list, and for options
   */
  generateBatch(prompts: readonly (Prompt | BatchItem)[], options: BatchOptions = {}): GenerationBatch {
    return new GenerationBatch(prompts, options, (prompt, own) => this.generate(prompt, own));
  }

  /**
   * Log-probability and entropy at every position of a text or list of ids.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY
   */
  async score(text: string | TokenIds, options: ScoreOptions & EncodePromptOptions = {}): Promise<ScoredToken[]> {
    const given = checked<ScoreOptions & EncodePromptOptions>(scoreOptions, options, 'score');
    const wanted = checkedTextOrIds(text, 'The text', this.config.vocabSize);
    const { data, signal, callbacks } = partOptions(given);
    return this.#held.call('score', [this.#held.number, wanted, data], { signal, callbacks });
  }

  /**
   * The same of several texts, each as it is alone; short ones share passes over the weights. `onProgress` is told of texts.
   * @throws as `score`, for the first that is wrong
   */
  async scoreBatch(
    texts: readonly (string | TokenIds)[],
    options: ScoreOptions & EncodePromptOptions = {},
  ): Promise<ScoredToken[][]> {
    const given = checked<ScoreOptions & EncodePromptOptions>(scoreOptions, options, 'scoreBatch');
    const wanted = checkedList(texts, 'The texts', this.config.vocabSize);
    const { data, signal, callbacks } = partOptions(given);
    return this.#held.call('scoreBatch', [this.#held.number, wanted, data], { signal, callbacks });
  }

  /**
   * A vector for each text, from the hidden states of its tokens: of one text or list of ids, or of several. A language model was
   * not trained for this; compare vectors of one model only, by their cosine.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY
   */
  async embed(input: EmbedInput, options: EmbedOptions & EncodePromptOptions = {}): Promise<Float32Array[]> {
    const given = checked<EmbedOptions & EncodePromptOptions>(embedOptions, options, 'embed');
    const texts = checkedTexts(input, 'The input', this.config.vocabSize);
    const { data, signal, callbacks } = partOptions(given);
    return this.#held.call('embed', [this.#held.number, texts, data], { signal, callbacks });
  }

  /**
   * Frees the weights, and ends the engine if `open` made it. What the model still computes ends with E_DISPOSED. Calling it twice
   * is allowed. It takes no longer than a second: an engine whose worker is too busy with another model frees the weights afterwards; one
   * that is stuck in a call of this model is ended.
   */
  close(): Promise<void> {
    const engine = this.#engine;
    return this.#held.close(engine ? () => engine.close() : undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const helds = new WeakMap<object, Owned<EngineCalls>>();

/** The worker's side of a model, for what stands on it, such as pools of shots; undefined of anything else. */
export function heldOf(model: object): Owned<EngineCalls> | undefined {
  return helds.get(model);
}

function closed(): EspalierError {
  return new EspalierError('E_DISPOSED', 'The model is closed.', 'Open it again.');
}
