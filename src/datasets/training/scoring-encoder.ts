import { SequenceEncoder } from './encode.ts';
import type { SequenceOptions } from './options.ts';
import type { SequenceModel } from './types.ts';

/** A model whose tokens are scored: one of `open`, which has `eosId`, or of `openLocal`, whose tokenizer has it. */
export interface ScoringModel extends Omit<SequenceModel, 'tokenizer'> {
  readonly eosId?: number | null;
  readonly tokenizer?: SequenceModel['tokenizer'];
}

/**
 * Makes sequences that are scored. All their tokens go through the model, where training leaves the last one out: in a context of n positions
 * they have at most n tokens, and those of training n + 1.
 * @throws as `SequenceEncoder`
 */
export function scoringEncoder(model: ScoringModel, options: SequenceOptions = {}): SequenceEncoder {
  const { name, config, eosIds } = model;
  const { maxTokens = config.maxPositions } = options;
  return new SequenceEncoder(
    {
      name,
      config,
      eosIds,
      tokenizer: { eosId: model.eosId ?? model.tokenizer?.eosId ?? null },
      encode: (text, given) => model.encode(text, given),
      encodeChat: (messages, given) => model.encodeChat(messages, given),
    },
    { ...options, maxTokens: maxTokens === config.maxPositions ? maxTokens - 1 : maxTokens },
  );
}
