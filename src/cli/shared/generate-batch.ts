import type { Model } from '../../engine/model/model.ts';
import type { BatchItem, BatchOptions, BatchResult } from '../../model/generate/batch.ts';
import { counted } from './format.ts';
import type { Io } from './io.ts';
import type { LinePrompt } from './prompts.ts';

/** Whose prompts, how they are continued, and where it is said. */
interface Parts {
  readonly model: Model;
  readonly prompts: readonly LinePrompt[];
  readonly options: BatchOptions;
  readonly json: boolean;
  readonly io: Io;
}

/**
 * Continues prompts at once, and prints each in the order of the file as soon as it and all before it are done: with `json` a line of JSON
 * each, else prompt and text. What fails is said where it stands.
 * @returns whether all came out
 */
export async function generateBatch({ model, prompts, options, json, io }: Parts): Promise<boolean> {
  const started = performance.now();
  const done: BatchResult[] = [];
  let [printed, written, failed] = [0, 0, 0];
  for await (const result of model.generateBatch(
    prompts.map(({ item }) => item),
    options,
  )) {
    done[result.index] = result;
    written += result.tokens.length;
    if (result.error) failed++;
    for (let next = done[printed]; next; next = done[++printed]) {
      const { line, item } = prompts[printed]!;
      io.out(json ? `${JSON.stringify({ line, ...lineOf(next) })}\n` : `${headOf(item)}${next.text}\n`);
      if (next.error && !json) io.err(`line ${line}: ${next.error}\n`);
      delete done[printed];
    }
  }
  const seconds = (performance.now() - started) / 1000;
  if (!json) {
    const speed = `${counted(written, 'token')} written of ${counted(prompts.length, 'prompt')} at ${(written / seconds).toFixed(1)} tokens/s`;
    io.err(`\n${speed} (${Object.values(model.description).join(', ')})\n`);
  }
  return failed === 0;
}

function lineOf({ index, text, tokens, finishReason, timings, error }: BatchResult) {
  const failure = error && { code: error.code, message: error.message, hint: error.hint };
  return { index, text, tokens, finishReason, timings, error: failure };
}

/** What is printed before the text: a prompt that is a text. */
function headOf({ prompt }: BatchItem): string {
  return typeof prompt === 'string' ? prompt : '';
}
