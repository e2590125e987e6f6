import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { throwIfAborted } from '../../src/errors.ts';
import { train } from '../../src/train.ts';
import type { DEVICES } from './recipe.ts';
import { exists, trainableFolder } from './unpack.ts';

/** What stands before each story: the teacher is asked by it. */
export const PROMPT = 'Story:';

/** Most held-out stories of a look at them. */
const HELD_OUT_MOST = 300;

export interface Tuning {
  readonly model: string;
  readonly stories: readonly string[];
  readonly steps: number;
  /** Stories of a step. */
  readonly batch: number;
  readonly learningRate: number;
  /** Of a story; longer ones are cut, without an end. */
  readonly maxTokens: number;
  readonly seed: number;
  readonly lanes: number | 'auto';
  readonly device: (typeof DEVICES)[number];
}

/** Every tenth story is held out. */
const isHeldOut = (index: number): boolean => index % 10 === 9;

/**
 * The teacher's folder `DIR/teacher`: a model that was fine-tuned whole on nine tenths of the stories, unless it is there. The stories of
 * either side stand in `DIR/train.jsonl` and `DIR/held-out.jsonl`. Interrupted, it goes on when it is called again.
 * @throws what training throws; E_ABORTED
 */
export async function teacher(
  folder: string,
  tuning: Tuning,
  signal: AbortSignal,
  tell: (line: string) => void,
): Promise<string> {
  const out = join(folder, 'teacher');
  await mkdir(folder, { recursive: true });
  const [data, heldOut] = await split(folder, tuning.stories);
  if (await exists(out)) return out;
  const { steps, batch, learningRate, maxTokens, seed, lanes, device } = tuning;
  const source = await trainableFolder(tuning.model, join(folder, 'unpacked'));
  let told = performance.now();
  const receipt = await train(source, {
    data,
    heldOut: new Blob([heldOut.slice(0, HELD_OUT_MOST).join('')]),
    format: 'jsonl',
    full: true,
    steps,
    batch,
    learningRate,
    maxTokens,
    long: 'truncate',
    seed,
    lanes,
    device,
    // half of f32 to read for each token, and closer to it than bf16
    dtype: 'f16',
    // a look takes as long as several steps
    evaluateEvery: Math.max(1, Math.ceil(steps / 3)),
    // by time alone: a state is three times the model
    saveEvery: 1_000_000,
    out,
    signal,
    onProgress: ({ stage, done, total, loss, heldOut: held, tokensPerSecond }) => {
      if (performance.now() - told < 10_000 && done < total) return;
      told = performance.now();
      const figures = [
        ...(loss === null ? [] : [`loss ${loss.toFixed(3)}`]),
        ...(held === null ? [] : [`held out ${held.toFixed(4)}`]),
        ...(tokensPerSecond === null ? [] : [`${Math.round(tokensPerSecond)} tokens/s`]),
      ];
      if (stage === 'training') tell(`teacher: step ${done}/${total}  ${figures.join('  ')}`);
    },
  });
  for (const { step, loss } of receipt.heldOut)
    tell(`teacher: held-out loss after ${step} steps ${loss.toFixed(4)} nats a token of its own`);
  // the weights that it began from, four times as large as the file that they come from
  if (source !== tuning.model) await rm(source, { recursive: true });
  return out;
}

/** The same folder, once the process that makes it has done so. @throws E_ABORTED */
export async function teacherOfAnother(folder: string, signal: AbortSignal): Promise<string> {
  const out = join(folder, 'teacher');
  while (!(await exists(out))) {
    throwIfAborted(signal);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  return out;
}

/** Lines of what is trained on, as a file, and of what is not. */
async function split(folder: string, texts: readonly string[]): Promise<[data: string, heldOut: string[]]> {
  const line = (text: string): string => `${JSON.stringify({ prompt: PROMPT, answer: ` ${text}` })}\n`;
  const data = join(folder, 'train.jsonl');
  const heldOut = texts.filter((_, i) => isHeldOut(i)).map(line);
  const known = texts.filter((_, i) => !isHeldOut(i)).map(line);
  await writeOnce(data, known.join(''));
  await writeOnce(join(folder, 'held-out.jsonl'), heldOut.join(''));
  return [data, heldOut];
}

/** Not again where it stands so already: others may be reading it. @throws an Error where the folder was begun with other stories */
async function writeOnce(path: string, content: string): Promise<void> {
  const before = await readFile(path, 'utf8').catch(() => null);
  if (before === content) return;
  if (before !== null) throw new Error(`${path} is of other stories: give another --out.`);
  await writeFile(`${path}.${process.pid}.new`, content);
  await rename(`${path}.${process.pid}.new`, path);
}
