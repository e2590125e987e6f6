import type { SequenceEncoder } from '../../datasets/training/encode.ts';
import { NOW } from '../../datasets/training/encode-chat.ts';
import { type Part, templateParts } from '../../datasets/training/examples.ts';
import { type ScoringModel, scoringEncoder } from '../../datasets/training/scoring-encoder.ts';
import type { TrainingSequence } from '../../datasets/training/types.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import type { BatchItem, BatchOptions, GenerationBatch } from '../../model/generate/batch.ts';
import type { ScoredToken } from '../../model/model.ts';
import type { EncodePromptOptions, ScoreOptions } from '../../model/options.ts';
import type { Prompt, TokenIds } from '../../model/prompt.ts';
import { type Filled, filled } from '../../options/check.ts';
import { shown } from '../../options/shown.ts';
import { exactMemorisation, extractionStrength } from './memorisation.ts';
import { type AskingOptions, askingOptions } from './options.ts';

/** What of a model is measured: one of `open`, or of `openLocal`. */
export interface MeasuredModel extends ScoringModel {
  scoreBatch(
    texts: readonly (string | TokenIds)[],
    options?: ScoreOptions & EncodePromptOptions,
  ): Promise<readonly (readonly Pick<ScoredToken, 'id' | 'logprob' | 'argmax'>[])[]>;
  generateBatch(prompts: readonly (Prompt | BatchItem)[], options?: BatchOptions): GenerationBatch;
}

/** A question that is answered before another is asked. */
export interface Shot {
  readonly question: string;
  readonly answer: string;
}

/** An answer behind its question, and where it stands in a file. */
export interface AskedAnswer extends Shot {
  readonly place: string;
}

/** What a model makes of an answer. */
export interface ScoredAnswer {
  /** Mean negative log-probability of its tokens and of the end token, in nats. */
  readonly loss: number;
  /** Sum of the log-probabilities, and of how many tokens. */
  readonly logProbability: number;
  readonly tokens: number;
  /** Null of an empty answer; both without the end token. */
  readonly exactMemorisation: number | null;
  readonly extractionStrength: number | null;
}

/** A text to go on from. */
export interface AskedPrompt {
  readonly prompt: Prompt;
  readonly place: string;
}

interface WrittenOptions {
  readonly maxTokens: number;
  readonly stop?: readonly string[];
  readonly batch: number;
  readonly signal: AbortSignal | undefined;
  /** Answers that are there. */
  readonly onProgress: (done: number) => void;
}

/** Puts questions to a model in one form, scores answers and has them written. */
export class Asker {
  readonly #model: MeasuredModel;
  readonly #options: Filled<AskingOptions, typeof askingOptions>;
  readonly #prompt: readonly Part[];
  readonly #answer: readonly Part[];
  readonly #encoder: SequenceEncoder;
  readonly #end: boolean;

  /** @param end whether the end token counts to an answer @throws E_ARGUMENT for templates that do not name their column */
  constructor(model: MeasuredModel, options: AskingOptions, end = true) {
    this.#model = model;
    this.#options = filled(askingOptions, options);
    this.#prompt = templateOf(this.#options.prompt, 'prompt', 'question');
    this.#answer = templateOf(this.#options.answer, 'answer', 'answer');
    this.#end = end;
    this.#encoder = scoringEncoder(model, end ? {} : { end });
  }

  /** The prompt of a question, behind examples with a blank line after each: a text, or a conversation. */
  prompt(question: string, shots: readonly Shot[] = []): Prompt {
    if (!this.#options.chat) {
      const before = shots.map((shot) => `${fill(this.#prompt, shot)}${this.answerText(shot.answer)}\n\n`);
      return before.join('') + fill(this.#prompt, { question });
    }
    const turns = shots.flatMap((shot) => [
      { role: 'user', content: shot.question },
      { role: 'assistant', content: shot.answer },
    ]);
    return [...turns, { role: 'user', content: question }];
  }

  /** An answer as it stands behind a prompt: an empty one is nothing, without the template's space. */
  answerText(answer: string): string {
    return answer === '' ? '' : fill(this.#answer, { answer });
  }

  /** @throws E_DATA_INVALID with the place of an answer that is too long; as `scoreBatch` of the model */
  async score(answers: readonly AskedAnswer[], signal?: AbortSignal): Promise<ScoredAnswer[]> {
    const sequences = await Promise.all(answers.map((answer) => this.#encode(answer)));
    throwIfAborted(signal);
    const scored = await this.#model.scoreBatch(
      sequences.map(({ ids }) => ids),
      { ...(signal && { signal }) },
    );
    return sequences.map((sequence, i) => this.#scored(sequence, scored[i]!));
  }

  async #encode({ question, answer, place }: AskedAnswer): Promise<TrainingSequence> {
    const [sequence] = await this.#encoder.encode({
      place,
      example: this.#options.chat
        ? {
            kind: 'chat',
            messages: [
              { role: 'user', content: question },
              { role: 'assistant', content: answer },
            ],
          }
        : { kind: 'pair', prompt: fill(this.#prompt, { question }), answer: this.answerText(answer) },
    });
    return sequence!;
  }

  #scored(
    { ids, learned }: TrainingSequence,
    scored: readonly Pick<ScoredToken, 'id' | 'logprob' | 'argmax'>[],
  ): ScoredAnswer {
    const all = Array.from(ids.keys()).filter((i) => learned[i] === 1);
    const text = this.#model.eosIds.includes(ids[all.at(-1)!]!) ? all.slice(0, -1) : all;
    // a chat template writes an end token whether it counts or not
    const at = this.#end ? all : text;
    const logProbability = at.reduce((sum, i) => sum + scored[i]!.logprob!, 0);
    const own = text.map((i) => ids[i]!);
    const likeliest = text.map((i) => scored[i - 1]!.argmax);
    return {
      // a sum of logarithms may be -0
      loss: Math.max(0, -logProbability / at.length),
      logProbability,
      tokens: at.length,
      exactMemorisation: exactMemorisation(own, likeliest),
      extractionStrength: extractionStrength(own, likeliest),
    };
  }

  /** Greedy answers. @throws the first error of one, with its place; E_ABORTED */
  async write(prompts: readonly AskedPrompt[], options: WrittenOptions): Promise<string[]> {
    const { maxTokens, stop, batch, signal, onProgress } = options;
    const texts = new Array<string>(prompts.length);
    let done = 0;
    const items = prompts.map(({ prompt }): BatchItem => {
      return typeof prompt === 'string' || typeof prompt[0] === 'number' ? { prompt } : { prompt, chat: { now: NOW } };
    });
    const given = { maxTokens, batch, ...(stop && { stop }), ...(signal && { signal }) };
    for await (const { index, text, error } of this.#model.generateBatch(items, given)) {
      if (error !== null) throw placed(error, prompts[index]!.place);
      texts[index] = text;
      onProgress(++done);
    }
    return texts;
  }
}

/** @throws E_ARGUMENT */
function templateOf(template: string, name: string, column: string): readonly Part[] {
  const parts = templateParts(template);
  const columns = parts.flatMap((part) => (typeof part === 'string' ? [] : [part.column]));
  if (columns.includes(column) && columns.every((one) => one === column)) return parts;
  throw new EspalierError(
    'E_ARGUMENT',
    `${name} is ${shown(template)}.`,
    `Write {${column}} where it stands, and no other column.`,
  );
}

const fill = (parts: readonly Part[], columns: Readonly<Partial<Record<'question' | 'answer', string>>>): string =>
  parts.map((part) => (typeof part === 'string' ? part : columns[part.column as 'question' | 'answer'])).join('');

/** Errors of computing keep their codes, and say which row they are of. */
function placed(error: EspalierError, place: string): EspalierError {
  if (error.code === 'E_ABORTED') return error;
  return new EspalierError(error.code, `${place}: ${error.message}`, error.hint, { cause: error });
}
