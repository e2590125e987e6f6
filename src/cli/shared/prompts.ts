import { EspalierError } from '../../errors.ts';
import type { BatchItem } from '../../model/generate/batch.ts';
import type { Prompt } from '../../model/prompt.ts';
import { isOptions } from '../../options/rules.ts';
import type { Io } from './io.ts';
import { readLines } from './lines.ts';

/** A prompt, and the line that it stands in, from 1. */
export interface LinePrompt {
  readonly line: number;
  readonly item: BatchItem;
}

/**
 * Prompts of a file: a text a line, or in a file that ends in .jsonl a JSON string, an object { prompt, … } with options of its own, or
 * { messages, … } a line. Empty lines are passed over.
 * @throws E_FILE_NOT_FOUND, E_FILE_READ; E_DATA_INVALID with the line
 */
export async function readPrompts(path: string, io: Io, signal: AbortSignal): Promise<LinePrompt[]> {
  const lines = await readLines(path, io, signal);
  const json = /\.jsonl$/i.test(path);
  const items = lines.flatMap((line, i) => {
    if (line.trim() === '') return [];
    return [{ line: i + 1, item: json ? itemOf(line, `Line ${i + 1} of ${path}`) : { prompt: line } }];
  });
  if (items.length > 0) return items;
  throw new EspalierError('E_DATA_INVALID', `${path === '-' ? 'Standard input' : path} holds no prompt.`, HINT);
}

const HINT = 'Give a prompt a line; in a .jsonl file a string, or an object with prompt or messages.';

function itemOf(line: string, where: string): BatchItem {
  const invalid = (what: string, cause?: unknown) =>
    new EspalierError('E_DATA_INVALID', `${where} ${what}.`, HINT, { cause });
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw invalid('is no JSON', cause);
  }
  if (typeof value === 'string') return { prompt: value };
  if (!isOptions(value)) throw invalid('is neither a text nor an object');
  const { prompt, messages, ...own } = value;
  if ((prompt === undefined) === (messages === undefined)) throw invalid('has not one of prompt and messages');
  return { ...own, prompt: (prompt ?? messages) as Prompt };
}
