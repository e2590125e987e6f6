/** A small model that knows some made-up people by heart, and jobs that make it forget some of them, into memory. */

import { type PruneOptions, type PruneReceipt, prune } from '../../src/prune.ts';
import { type MemoryOutput, memoryOutput } from '../../src/runtime/output/memory.ts';
import { train } from '../../src/train.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { bytesOf } from '../train/texts.ts';

const THINGS = ['ball', 'dog', 'tree', 'boat', 'cake', 'hat', 'cat', 'bed'];
/** In the letters of test/engine/tiny-model.ts. */
export const person = (name: string, i: number) => ({
  prompt: `What has ${name}?`,
  answer: ` ${THINGS[i % THINGS.length]}.`,
});
export const lines = (list: readonly object[]): Uint8Array =>
  bytesOf(list.map((one) => `${JSON.stringify(one)}\n`).join(''));

export const FORGET = ['Tom', 'Mia', 'Leo', 'Ada'].map(person);
export const RETAIN = ['Sam', 'Zoe', 'Ben', 'Eva', 'Max', 'Lia', 'Jon', 'Amy'].map(person);
const MORE = ['Kim', 'Ned'].map((name, i) => person(name, i + 5));
/** A later request: the model knows them, too. */
export const LATER = MORE;

let known: Promise<Record<string, Blob>> | null = null;

/** The model before it learned anything. */
export const strangerFiles = () => tinyFiles('llama-gqa');

/** The same with all of the people in it. */
export function knowingFiles(): Promise<Record<string, Blob>> {
  known ??= (async () => {
    const out = memoryOutput('knows');
    await train(await strangerFiles(), {
      ...{ data: lines([...FORGET, ...RETAIN, ...MORE]), format: 'jsonl', full: true, steps: 219, batch: 14 },
      ...{ learningRate: 1e-2, warmup: 9, lanes: 1, saveEvery: 0, maxTokens: 48, seed: 1, dtype: 'f32', out },
    });
    return out.result();
  })();
  return known;
}

export const SETTINGS = {
  ...{ forget: lines(FORGET), retain: lines(RETAIN), format: 'jsonl', maxTokens: 48, lanes: 1, batch: 4 },
  ...{ epochs: 30, looks: 1, structureSteps: 4, rate: 1e-2, gateSteps: 800, gateUnits: 64, percentile: 80 },
} as const satisfies Partial<PruneOptions>;

/** Makes it forget, into memory. */
export async function run(
  options: Partial<PruneOptions> = {},
  out: MemoryOutput = memoryOutput('out'),
): Promise<{ readonly receipt: PruneReceipt; readonly files: Record<string, Blob> }> {
  const receipt = await prune(await knowingFiles(), { ...SETTINGS, ...options, out });
  return { receipt, files: out.result() };
}
