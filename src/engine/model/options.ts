/** Options of calls of a model behind a worker, where a signal can fire meanwhile. */
import { type EncodePromptOptions, encodePromptOptions } from '../../model/options.ts';
import { type ChatOptions, chatOptions, type DecodeOptions, decodeOptions } from '../../model/text/options.ts';
import { type Schema, signal } from '../../options/rules.ts';

/** Of calls that have no other options of their own than those of the function behind them. */
export interface SignalOption {
  /**
   * Rejects the call with E_ABORTED, within a second. An engine whose worker is so busy that it does not answer is ended: other calls and
   * models on it get E_WORKER_LOST then.
   */
  readonly signal?: AbortSignal;
}

// the same of a model behind a worker, where a signal can fire meanwhile
export const encodeCallOptions = { ...encodePromptOptions, signal } as const satisfies Schema<
  EncodePromptOptions & SignalOption
>;

export const decodeCallOptions = { ...decodeOptions, signal } as const satisfies Schema<DecodeOptions & SignalOption>;

export const chatCallOptions = { ...chatOptions, signal } as const satisfies Schema<ChatOptions & SignalOption>;
