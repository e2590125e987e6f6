import type { LocalModel } from '../../src/model/model.ts';
import type { StoryFiles } from './story-files.ts';
import { PROMPT } from './teacher.ts';

/** Prompts that are given away together: at the end of each such group fewer and fewer are written at once. */
const GROUP = 2048;
const TELL_EVERY = 20_000;

export interface Sampling {
  readonly seed: number;
  /** Stories of all parts together. */
  readonly count: number;
  /** This one takes the indices that are `part` modulo `parts`. */
  readonly part: number;
  readonly parts: number;
  readonly batch: number;
  /** Of a story; one that has not ended by then is left out. */
  readonly maxTokens: number;
  readonly signal: AbortSignal;
  readonly tell: (line: string) => void;
}

/**
 * Stories at temperature 1, each with a seed of its own, so that it does not depend on which others are written beside it.
 * @returns whether all are done; false: it was ended before
 * @throws what generating and files throw
 */
export async function sampleStories(model: LocalModel, files: StoryFiles, sampling: Sampling): Promise<boolean> {
  const { seed, count, part, parts, batch, maxTokens, signal, tell } = sampling;
  const wanted: number[] = [];
  for (let index = part; index < count; index += parts) if (!files.has(index)) wanted.push(index);
  const before = Math.ceil((count - part) / parts) - wanted.length;
  if (before > 0) tell(`goes on after ${before} stories`);
  const [started, leftOut] = [performance.now(), { 'too long': 0, empty: 0 }];
  let [stories, tokens, told] = [0, 0, started];
  const report = (): void => {
    told = performance.now();
    const seconds = (told - started) / 1000;
    const rates = `${(stories / seconds).toFixed(2)} stories/s, ${Math.round(tokens / seconds)} tokens/s`;
    tell(`${stories} stories, ${leftOut['too long']} too long, ${leftOut.empty} empty; ${rates}`);
  };
  for (let first = 0; first < wanted.length && !signal.aborted; first += GROUP) {
    const group = wanted.slice(first, first + GROUP);
    const prompts = group.map((index) => ({ prompt: PROMPT, seed: seed * 2 ** 32 + index }));
    for await (const result of untilAborted(
      model.generateBatch(prompts, { temperature: 1, maxTokens, batch, signal }),
      signal,
    )) {
      if (result.error) throw result.error;
      const [index, text] = [group[result.index]!, result.text.trim()];
      tokens += result.tokens.length;
      if (text === '') leftOut.empty++;
      else if (result.finishReason === 'length') leftOut['too long']++;
      else stories++;
      if (text === '') await files.leftOut(index, 'empty');
      else if (result.finishReason === 'length') await files.leftOut(index, 'too long');
      else await files.story(index, text);
      if (performance.now() - told > TELL_EVERY) report();
    }
  }
  report();
  return stories + leftOut['too long'] + leftOut.empty === wanted.length;
}

/** What comes of it until it is aborted: what is half written then is lost, and written again. */
async function* untilAborted<T>(results: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void> {
  try {
    yield* results;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
