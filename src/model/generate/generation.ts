import { exclusive } from '../../device/exclusive.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import type { Decoder, ForwardOptions } from '../decoder.ts';
import type { KvCache } from '../kv-cache.ts';
import { StopStrings } from '../text/stop-strings.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { type GenerateOptions, generationOptions } from './options.ts';
import type { PromptCache } from './prompt-cache.ts';
import { Sampler } from './sampler.ts';
import { Steps } from './steps.ts';

export interface GeneratedToken {
  readonly id: number;
  /** The text that this token lets out; all of them joined are the text. Empty while a character or stop string is open. */
  readonly text: string;
  /** Natural log of its probability under the model (temperature 1, no filters). */
  readonly logprob: number;
  /** Shannon entropy, in nats, of the distribution that it was drawn from (temperature 1, no filters). */
  readonly entropy: number;
}

export interface Timings {
  readonly promptTokens: number;
  /** Of these, tokens at the beginning that were not computed, since a recent prompt began with them (`promptCache`). */
  readonly reused: number;
  readonly generatedTokens: number;
  readonly prefillMilliseconds: number;
  readonly decodeMilliseconds: number;
  /** Of the tokens of the prompt that were computed. */
  readonly prefillTokensPerSecond: number;
  /** Of the tokens after the first, which comes with the prompt. */
  readonly decodeTokensPerSecond: number;
}

export interface GenerationResult {
  readonly text: string;
  readonly tokens: readonly GeneratedToken[];
  /** `length`: maxTokens or the context was used up. */
  readonly finishReason: 'eos' | 'stop' | 'length';
  readonly timings: Timings;
}

/** What a generation needs of its model. */
export interface GenerationContext {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly eosIds: ReadonlySet<number>;
  /** Text that stands before the prompt, already computed; default: none. */
  readonly behind?: TextBehind | undefined;
  /** Recent prompts of the decoder; default: none is looked for or kept. Not together with `behind`. */
  readonly prompts?: PromptCache | null;
  /** Whether a prompt is likely that goes on behind what is written, as in a conversation. Default false. */
  readonly continues?: boolean;
}

/** What a generation goes on from. */
export interface TextBehind {
  /** Rows are appended to it. */
  readonly cache: KvCache;
  /** Position of the first token of the prompt. */
  readonly position: number;
  /** Positions that there are; default: those of the model. */
  readonly limit?: number;
  /** Positions and masks of so many tokens, of which the first is the `done`-th behind the text. */
  options(done: number, count: number): Pick<ForwardOptions, 'positions' | 'mask' | 'split'>;
}

/**
 * One running generation: iterate it for tokens as they come, or await `result()`. It starts when first asked and runs once.
 */
export class Generation implements AsyncIterable<GeneratedToken> {
  readonly #run: AsyncGenerator<GeneratedToken, Omit<GenerationResult, 'tokens' | 'text'>>;
  readonly #tokens: GeneratedToken[] = [];
  #result: Promise<GenerationResult> | null = null;
  #finish: Omit<GenerationResult, 'tokens' | 'text'> | null = null;
  #iterated = false;

  /** @throws E_ARGUMENT for an option outside its range, E_CONTEXT_LENGTH when the prompt leaves no room */
  constructor(context: GenerationContext, prompt: readonly number[], given: GenerateOptions) {
    const options = filled(generationOptions, checked<GenerateOptions>(generationOptions, given, 'generate'));
    const { stop = [], maxTokens } = options;
    const { maxPositions } = context.decoder.config;
    if (prompt.length === 0) {
      throw new EspalierError(
        'E_ARGUMENT',
        'The prompt has no tokens.',
        'Give a text, or let a begin-of-text token be added.',
      );
    }
    context.decoder.checkHead();
    const room = (context.behind?.limit ?? maxPositions) - (context.behind?.position ?? 0);
    if (prompt.length >= room) {
      throw new EspalierError(
        'E_CONTEXT_LENGTH',
        `The prompt has ${prompt.length} tokens and the context ${room}.`,
        'Shorten the prompt.',
      );
    }
    const sampler = new Sampler(options);
    const stops = new StopStrings(typeof stop === 'string' ? [stop] : stop);
    const most = Math.min(maxTokens, room - prompt.length);
    this.#run = run(context, prompt, most, sampler, stops, options);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void> {
    if (this.#iterated) {
      throw new EspalierError('E_ARGUMENT', 'A generation can be iterated once.', 'Call generate() again.');
    }
    this.#iterated = true;
    try {
      for (;;) {
        const step = await this.#run.next();
        if (step.done) {
          this.#finish = step.value;
          return;
        }
        this.#tokens.push(step.value);
        yield step.value;
      }
    } finally {
      // breaking out of the loop frees the cache
      await this.#run.return(undefined as never);
    }
  }

  /** Runs to the end, or waits for it when it is being iterated elsewhere… once iteration is over. */
  result(): Promise<GenerationResult> {
    this.#result ??= (async () => {
      if (!this.#iterated) for await (const _ of this);
      if (!this.#finish) {
        throw new EspalierError(
          'E_ARGUMENT',
          'The generation was not finished.',
          'Await result() after the loop, or instead of it.',
        );
      }
      return { text: this.#tokens.map((t) => t.text).join(''), tokens: this.#tokens, ...this.#finish };
    })();
    return this.#result;
  }
}

async function* run(
  { decoder, tokenizer, eosIds, behind, prompts, continues = false }: GenerationContext,
  prompt: readonly number[],
  most: number,
  sampler: Sampler,
  stops: StopStrings,
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, Omit<GenerationResult, 'tokens' | 'text'>> {
  const { device } = decoder;
  const { signal } = options;
  const seen = new Set(prompt);
  const stream = tokenizer.stream({ skipSpecialTokens: !options.showSpecialTokens, continues: true });
  const cache = behind?.cache ?? decoder.cache();
  const steps = Steps.of(decoder);
  const leave = steps.enter();
  const pace = new Pace();
  const started = performance.now();
  let prefilled = started;
  let generated = 0;
  let reused = 0;
  let keeping: Promise<void> | undefined;
  const written: number[] = [];
  let ended = false;
  let finishReason: GenerationResult['finishReason'] = 'length';
  /** A token whose text is still open, kept back so that the end of the text can be added to it. */
  let pending: GeneratedToken | null = null;
  let open = 0;
  try {
    await exclusive(device, async () => {
      throwIfAborted(signal); // it may have fired before, or while others computed
      cache.reserve(cache.length + prompt.length + most); // most stays within the context
      decoder.ropes.forward((behind?.position ?? 0) + prompt.length + most); // so that no table grows in the middle of the text
      if (!behind) reused = prompts?.place(prompt, cache) ?? 0;
    });
    let input: readonly number[] = prompt;
    let done = 0;
    while (generated < most) {
      throwIfAborted(signal);
      const own = behind?.options(done, input.length);
      const more = generated + 1 < most;
      const begun = done === 0 ? reused : 0;
      const drawn = await steps.take({ input, begun, cache, sampler, count: generated, seen, signal, own, more });
      if (done === 0) {
        prefilled = performance.now();
        // beside the first token, which does not wait
        if (!behind) keeping = prompts?.keep(prompt, cache);
      }
      done += input.length;
      written.push(drawn.id);
      if (options.stopAtEos !== false && eosIds.has(drawn.id)) {
        finishReason = 'eos';
        break;
      }
      generated++;
      seen.add(drawn.id);
      input = [drawn.id];
      const piece = stream.push(drawn.id);
      const out = stops.push(piece);
      open = Math.max(0, open + piece.length - out.text.length);
      if (pending) yield pending;
      pending = { ...drawn, text: out.text };
      if (out.stop !== null) {
        finishReason = 'stop';
        break;
      }
      if (open === 0 && piece !== '') {
        yield pending;
        pending = null;
      }
      await pace.breathe();
    }
    if (finishReason !== 'stop') {
      const last = stops.push(stream.end());
      const rest = stops.end();
      const text = last.text + rest.text;
      if (last.stop !== null || rest.stop !== null) finishReason = 'stop';
      if (pending && text !== '') pending = { ...pending, text: pending.text + text };
    }
    if (pending) yield pending;
    ended = true;
    const prefillMilliseconds = prefilled - started;
    const decodeMilliseconds = performance.now() - prefilled;
    return {
      finishReason,
      timings: {
        promptTokens: prompt.length,
        reused,
        generatedTokens: generated,
        prefillMilliseconds,
        decodeMilliseconds,
        prefillTokensPerSecond: (1000 * (prompt.length - reused)) / prefillMilliseconds,
        decodeTokensPerSecond: generated > 1 ? (1000 * (generated - 1)) / decodeMilliseconds : 0,
      },
    };
  } catch (error) {
    // it may be theirs that is missing
    if (error instanceof EspalierError && error.code === 'E_OUT_OF_MEMORY') prompts?.clear();
    throw error;
  } finally {
    leave();
    // while somebody reads what was written
    if (ended && continues && prompts) void prompts.readAgain([...prompt, ...written], prompt.length, cache);
    else {
      await keeping;
      if (!behind) cache.dispose();
    }
  }
}
