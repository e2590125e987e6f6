import { sameInput } from '../../datasets/splits.ts';
import type { TrainingData } from '../../datasets/training/data.ts';
import { askedBy, askedKey, turnsKey } from '../../datasets/training/examples.ts';
import { hashText } from '../../datasets/training/index-table.ts';
import type { TrainingExample } from '../../datasets/training/types.ts';
import { throwIfAborted } from '../../errors.ts';
import { Pace } from '../../runtime/host/yielding.ts';

/** What makes two examples the same: what they ask, or that and the answer. */
export type SameBy = 'question' | 'answer';

/** An example that stands in both sets, by file and line. */
export interface Overlap {
  readonly forget: string;
  readonly retain: string;
  /** What is asked, as it stands in the set that is kept; its first 200 characters. */
  readonly text: string;
}

export interface Overlaps {
  /** Examples of the set that is kept that stand in the other one, too. */
  readonly count: number;
  /** The first of them. */
  readonly first: readonly Overlap[];
}

/** How many are listed. */
const LISTED = 10;

/**
 * Examples of `retain` that stand in `forget`, too: that ask the same but for case, white space and Unicode's ways to write a character, or with
 * `answer` ask and answer the same. What asks nothing is compared as a whole. In memory stay hashes; texts are read again where these agree.
 * @throws E_DATA_INVALID, E_FILE_READ, E_ABORTED
 */
export async function findOverlaps(
  forget: TrainingData,
  retain: TrainingData,
  by: SameBy,
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void } = {},
): Promise<Overlaps> {
  const pace = new Pace();
  const total = forget.count + retain.count;
  const step = async (done: number): Promise<void> => {
    await pace.breathe();
    throwIfAborted(signal);
    if (done % 256 === 0) onProgress?.(done, total);
  };
  const seen = new Map<number, number[]>();
  for (let i = 0; i < forget.count; i++) {
    await step(i);
    const hash = hashText(keyOf((await forget.read(i)).example, by));
    const others = seen.get(hash);
    if (others) others.push(i);
    else seen.set(hash, [i]);
  }
  const first: Overlap[] = [];
  let count = 0;
  for (let i = 0; i < retain.count; i++) {
    await step(forget.count + i);
    const { example, place } = await retain.read(i);
    const key = keyOf(example, by);
    for (const other of seen.get(hashText(key)) ?? []) {
      const found = await forget.read(other);
      if (keyOf(found.example, by) !== key) continue;
      count++;
      if (first.length < LISTED) first.push({ forget: found.place, retain: place, text: shown(example) });
      break;
    }
  }
  onProgress?.(total, total);
  return { count, first };
}

/** Two examples with the same key are the same. */
function keyOf(example: TrainingExample, by: SameBy): string {
  const asked = asksNothing(example) ? '' : askedKey(example);
  if (by === 'question' && asked !== '') return asked;
  return JSON.stringify([asked, answerKey(example)]);
}

function asksNothing(example: TrainingExample): boolean {
  return example.kind === 'chat' && example.messages[0]?.role === 'assistant';
}

function answerKey(example: TrainingExample): string {
  switch (example.kind) {
    case 'pair':
      return sameInput(example.answer);
    case 'text':
      return '';
    case 'chat':
      return turnsKey(example.messages);
    default:
      return example satisfies never;
  }
}

function shown(example: TrainingExample): string {
  const { kind } = example;
  const text =
    kind === 'pair'
      ? example.prompt.trim() || example.answer
      : asksNothing(example)
        ? answerKey(example)
        : askedBy(example);
  return text.trim().slice(0, 200);
}
