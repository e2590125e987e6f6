/** What commands share that measure what a model was made to forget. */
import type { Model } from '../../engine/model/model.ts';
import type { OpenOptions } from '../../engine/model/open.ts';
import { EspalierError } from '../../errors.ts';
import type { AskingOptions, MeasureProgress } from '../../evaluate/unlearning/options.ts';
import { inspectModel } from '../../inspect.ts';
import { named } from '../../named-errors.ts';
import { openWithProgress } from './common.ts';
import { unescaped } from './data-flags.ts';
import { Progress } from './format.ts';
import type { Io } from './io.ts';

/** Flags of `AskingOptions` and of how a measurement runs. */
export const askingFlags = {
  prompt: { value: 'TEXT', description: 'Template of prompts, with {question} and \\n for a line end' },
  answer: { value: 'TEXT', description: 'Template of answers behind them, with {answer}' },
  chat: { description: 'Questions and answers are messages, written by the chat template' },
  batch: { value: 'N', description: 'Answers that are written at once' },
  signal: null,
  onProgress: null,
} as const;

/** Options with templates as they are meant. */
export function withTemplates<T extends AskingOptions>(options: T): T {
  const { prompt, answer } = options;
  return {
    ...options,
    ...(prompt !== undefined && { prompt: unescaped(prompt) }),
    ...(answer !== undefined && { answer: unescaped(answer) }),
  };
}

/** One bar for all that is measured, after each other. */
export class MeasureBar {
  readonly #bar: Progress;
  readonly #total: number;
  /** Rows of what is behind, and what goes on. */
  #behind = 0;
  #last: MeasureProgress | null = null;

  /** @param total rows of all measurements; one that is scored and answered counts twice */
  constructor(total: number, silent: boolean) {
    this.#total = total;
    this.#bar = new Progress({ label: 'measuring', total: 1, silent });
  }

  readonly update = (progress: MeasureProgress): void => {
    const last = this.#last;
    if (last !== null && (last.of !== progress.of || last.doing !== progress.doing || progress.done < last.done)) {
      this.#behind += last.total;
    }
    this.#last = progress;
    const { of, doing, done, total } = progress;
    this.#bar.update((this.#behind + done) / (this.#total || 1), `${doing} ${of}, ${done} of ${total}`);
  };

  clear(): void {
    this.#bar.clear();
  }

  end(): void {
    this.#bar.end();
  }
}

/** Opens a model, has it measured and closes it. */
export async function withModel<T>(
  target: string,
  options: OpenOptions,
  { json, io, bar }: { readonly json: boolean; readonly io: Io; readonly bar: MeasureBar },
  measure: (model: Model) => Promise<T>,
): Promise<T> {
  bar.clear();
  const model = await openWithProgress(target, options, json, io);
  try {
    return await measure(model);
  } finally {
    bar.clear();
    await model.close();
  }
}

/** `0.1234`, `1.23e-7` for what that would write as nothing, and `–` for what was not measured. */
export function figure(value: number | null): string {
  if (value === null) return '–';
  return value !== 0 && Math.abs(value) < 5e-4 ? value.toExponential(2) : value.toFixed(4);
}

/** Whether a reference is a file that an earlier run wrote: no model is called so. */
export const isLog = (reference: string): boolean => /\.json$/i.test(reference);

/**
 * Whether a model that is measured later can be opened: it is asked before anything is computed.
 * @param what the option that names it
 * @throws as `open`, and what keeps it from running
 */
export async function checkModel(target: string, signal: AbortSignal, what: string): Promise<void> {
  const look = async (): Promise<void> => {
    const [problem] = (await inspectModel(target, { signal })).unsupported;
    if (problem !== undefined) throw new EspalierError(problem.code, problem.message, problem.hint);
  };
  await named(what, look());
}
