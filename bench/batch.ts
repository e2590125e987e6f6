/**
 * Texts that are written at once against one: SmolLM2 and nano-base, with quantised and with f32 activations, in turns in one process. A
 * token's time is that of a pass with its readback; prompts are not timed.
 */
import { fileURLToPath } from 'node:url';
import { exists } from './browser/files.ts';
import { type Contender, compare, goal, header, machine, type Timing, table } from './harness.ts';
import * as ours from './ours.ts';
import { promptIds, SMOLLM2 } from './smollm2.ts';
import { type Context, numbers, type Suite } from './suite.ts';

const NANO = fileURLToPath(new URL('../models/nano-base', import.meta.url));

interface Result {
  readonly model: string;
  readonly activations: 'int8' | 'f32';
  readonly timings: readonly Timing[];
}

async function measure(context: Context, model: string, path: string, activations: Result['activations']) {
  const counts = numbers(context, 'batch', [1, 2, 4, 8, 16]);
  const [tokens = 16] = numbers(context, 'tokens', [16]);
  const [prompt = 32] = numbers(context, 'prompt', [32]);
  const [rounds = 6] = numbers(context, 'rounds', [6]);
  const [lanes = 1] = numbers(context, 'lanes', [1]);
  const ids = await promptIds(prompt);
  const batch = await ours.openBatch(path, { activations, lanes, context: prompt + tokens }, ids, Math.max(...counts));
  try {
    const contenders = counts.map(
      (count): Contender => ({
        name: `${count} at once`,
        unit: 'token',
        unitsPerRun: count * tokens,
        before: () => batch.rewind(),
        run: () => batch.decode(count, tokens),
      }),
    );
    const timings = await compare(contenders, { rounds, warmup: 1 });
    return { model, activations, timings } satisfies Result;
  } finally {
    batch.dispose();
  }
}

const suite: Suite = {
  about: 'texts that are written at once against one, one lane',
  run: async (context) => {
    const { flags, print } = context;
    const smollm2 = typeof flags['model'] === 'string' ? flags['model'] : SMOLLM2;
    const results: Result[] = [];
    for (const [model, path, kinds] of [
      ['SmolLM2', smollm2, ['int8', 'f32']],
      ['nano-base', NANO, ['f32']],
    ] as const) {
      if (!(await exists(path))) {
        print(`${model} left out: ${path} is not there (--model FILE.gguf)`);
        continue;
      }
      for (const activations of kinds) results.push(await measure(context, model, path, activations));
    }
    const found = machine([ours.version]);
    print(header(found));
    for (const { model, activations, timings } of results) {
      const rows = timings.map(({ name, best, median }) => [name, best, median, best / timings[0]!.best]);
      print(`\n${model}, ${activations} activations\n${table(['', 'tokens/s', 'median', 'times one'], rows)}`);
      const eight = timings.find(({ name }) => name === '8 at once');
      if (model === 'SmolLM2' && eight) {
        print(goal(`eight at once, ${activations}, times one`, eight.best / timings[0]!.best, 3));
      }
    }
    return { machine: found, results };
  },
};

export default suite;
