/**
 * Stories to pretrain on: a larger model is fine-tuned on nine tenths of a few real ones, and writes many.
 *
 *     node --import tsx examples/pretrain/teach.ts MODEL --stories FILE --out DIR [--count N] [--batch 64] [--device wasm|webgpu]
 *       [--seed 1] [--steps N] [--learning-rate X] [--tune-batch 16] [--seconds S] [--max-tokens 400] [--lanes N] [--part K/N]
 *
 * MODEL is a folder of safetensors, or a GGUF file of a Llama. DIR/teacher is what was fine-tuned, DIR/stories-K.jsonl what it wrote: story
 * `i` is a pure function of the teacher, the seed and `i` (on a GPU but for rounding). Ended, by `--seconds` or Ctrl+C, it goes on when it is
 * started again. Several processes share the work: part 0 makes the teacher, the others wait for it, and each takes the indices that are K modulo N.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { EspalierError } from '../../src/errors.ts';
import { openLocal, WasmDevice } from '../../src/local.ts';
import { type BatchOptions, batchOptions } from '../../src/model/generate/batch.ts';
import { checked } from '../../src/options/check.ts';
import { DEVICES } from './recipe.ts';
import { sampleStories } from './sample.ts';
import { StoryFiles } from './story-files.ts';
import { teacher, teacherOfAnother } from './teacher.ts';
import { readStories } from './written-stories.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    stories: { type: 'string' },
    out: { type: 'string' },
    count: { type: 'string', default: '40000' },
    batch: { type: 'string', default: '64' },
    device: { type: 'string', default: 'wasm' },
    seed: { type: 'string', default: '1' },
    steps: { type: 'string', default: '120' },
    'learning-rate': { type: 'string', default: '5e-5' },
    'tune-batch': { type: 'string', default: '16' },
    seconds: { type: 'string' },
    'max-tokens': { type: 'string', default: '400' },
    lanes: { type: 'string' },
    part: { type: 'string', default: '0/1' },
  },
});

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

function number(name: keyof typeof values, isWhole = true): number {
  const value = Number(values[name]);
  if (value > 0 && Number.isFinite(value) && (!isWhole || Number.isSafeInteger(value))) return value;
  return fail(`--${name} takes ${isWhole ? 'an integer' : 'a number'} above 0.`);
}

const model = positionals[0] ?? fail('Give MODEL.');
const folder = values.out ?? fail('Give --out DIR.');
const file = values.stories ?? fail('Give --stories FILE.');
const stories = (await readStories([file]).catch((error: Error) => fail(error.message))).texts;
const device = DEVICES.find((own) => own === values.device) ?? fail(`--device takes ${DEVICES.join(' or ')}.`);
const [part = 0, parts = 0] = /^\d+\/\d+$/u.test(values.part) ? values.part.split('/').map(Number) : [];
if (parts < 1 || part >= parts) fail('--part takes K/N, K from 0 to N - 1.');
const lanes = values.lanes === undefined ? ('auto' as const) : number('lanes');
const [seed, count, batch, maxTokens] = [number('seed'), number('count'), number('batch'), number('max-tokens')];
// what the stories' options and seeds may be is checked before the teacher is trained
if (seed >= 2 ** 21) fail('--seed takes an integer below 2^21.');
try {
  checked<BatchOptions>(batchOptions, { maxTokens, batch }, 'generateBatch');
} catch (error) {
  const { message, hint } = error as EspalierError;
  fail(`${message} ${hint}`);
}
const tuning = {
  ...{ model, stories, seed, lanes, device, maxTokens: 512 },
  ...{ steps: number('steps'), batch: number('tune-batch'), learningRate: number('learning-rate', false) },
};
const tell = (line: string): void => console.log(line);

const abort = new AbortController();
process.once('SIGINT', () => abort.abort());
if (values.seconds !== undefined) setTimeout(() => abort.abort(), 1000 * number('seconds', false)).unref();

try {
  const from =
    part === 0 ? await teacher(folder, tuning, abort.signal, tell) : await teacherOfAnother(folder, abort.signal);
  const files = await StoryFiles.open(folder, part);
  const cpu = device === 'wasm' ? await WasmDevice.create(lanes === 'auto' ? {} : { lanes }) : null;
  try {
    await using opened = await openLocal(from, { device: cpu ?? 'webgpu', precision: 'exact' });
    const done = await sampleStories(opened, files, {
      ...{ seed, count, part, parts, batch, maxTokens, tell },
      signal: abort.signal,
    });
    tell(
      done
        ? `all stories of this part are in ${join(folder, `stories-${part}.jsonl`)}`
        : 'ended; start it again to go on',
    );
  } finally {
    cpu?.close();
  }
} catch (error) {
  if (!(error instanceof EspalierError) || error.code !== 'E_ABORTED') throw error;
  tell('ended while the teacher was trained; start it again to go on');
}
