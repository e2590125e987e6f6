import type { Checkpoint, ModelConfig, TokenizerSpec } from '../checkpoint/types.ts';
import type { EncodePromptOptions } from './options.ts';
import { type ChatMessage, renderChatSegments } from './text/chat.ts';
import type { ChatOptions } from './text/options.ts';
import type { Tokenizer } from './text/tokenizer.ts';

/** What makes token ids of texts and conversations for a model: all of it but its weights. Arguments are taken as they are given. */
export class ModelText {
  readonly name: string;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  /** Tokens that end a text: the configuration's and the tokenizer's. */
  readonly eosIds: readonly number[];
  readonly #spec: TokenizerSpec;

  constructor({ name, config }: Pick<Checkpoint, 'name' | 'config'>, spec: TokenizerSpec, tokenizer: Tokenizer) {
    this.name = name;
    this.config = config;
    this.tokenizer = tokenizer;
    this.eosIds = [...new Set([...config.eosIds, ...(tokenizer.eosId === null ? [] : [tokenizer.eosId])])];
    this.#spec = spec;
  }

  /** @param limit most ids, a begin-of-text token not counted: what is longer is refused as soon as that is certain */
  encode(text: string, options: EncodePromptOptions = {}, limit = Number.POSITIVE_INFINITY): number[] {
    const { bosId } = this.tokenizer;
    const { specialTokens = true } = options;
    const ids = this.tokenizer.encode(text, { addSpecialTokens: options.addBos !== false, specialTokens }, limit);
    if (options.addBos === false) return ids;
    const config = this.#spec.tokenizerConfig as { add_bos_token?: unknown; tokenizer_class?: unknown };
    const says = config.add_bos_token;
    const silent =
      says === undefined && config.tokenizer_class === 'PreTrainedTokenizerFast' && bosId === this.config.bosId;
    const wanted = options.addBos === true || says === true || silent;
    return wanted && bosId !== null && ids[0] !== bosId ? [bosId, ...ids] : ids;
  }

  /** @throws E_TEMPLATE_INVALID */
  encodeChat(messages: readonly ChatMessage[], options: ChatOptions = {}, limit = Number.POSITIVE_INFINITY): number[] {
    const segments = renderChatSegments(this.#spec, messages, options);
    return this.tokenizer.encodeSegments(
      segments.map(({ text, fromCaller }) => ({ text, plain: fromCaller })),
      { addSpecialTokens: false, inChat: true },
      limit,
    );
  }
}
