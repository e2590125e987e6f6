/**
 * What is left to be measured of pruning, as one list of runs: ours and its rivals on TOFU, requests in sequence, SmolLM2. Each is a process; a line
 * of JSON is kept of each that ended, and with the same file it goes on where it was, however it was stopped.
 *
 * usage: node bench/campaign/main.ts run --data TOFU --models DIR --results FILE [--work DIR] [--device wasm] [--lanes 1] [--jobs 1]
 *          [--minutes N] [--end N] [--kinds …] [--splits …] [--methods …] [--seeds 0,1,2,3,4] [--written 100] [--quick] [--again] [--list]
 *        node bench/campaign/main.ts report --results FILE --out DIR
 * (Node 24, or 20 with --import tsx. --models: nano-base, nano-tofu-full, nano-tofu-retain90, SmolLM2-135M-Instruct.Q4_1.gguf; --work: what is made
 * of them; --minutes: none is started after so many; --end: none goes on after so many; --list: what would be done)
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DEVICES } from '../unlearn-measure.ts';
import { plot } from './plot.ts';
import { obstacleOf, runAll } from './pool.ts';
import { readResults } from './results.ts';
import { idOf, OURS, RIVALS, type Run, runsOf, SPLITS } from './runs.ts';
import type { Setting } from './setting.ts';
import { tables } from './tables.ts';

const KINDS = [
  'reference',
  'before',
  'sweep',
  'unlearn',
  'looks',
  'sequence',
  'smollm2',
] as const satisfies Run['kind'][];
const METHODS = [...(Object.keys(OURS) as (keyof typeof OURS)[]), ...(Object.keys(RIVALS) as (keyof typeof RIVALS)[])];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    results: { type: 'string' },
    out: { type: 'string' },
    data: { type: 'string' },
    models: { type: 'string' },
    work: { type: 'string' },
    device: { type: 'string', default: 'wasm' },
    lanes: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '1' },
    minutes: { type: 'string', default: 'Infinity' },
    end: { type: 'string', default: 'Infinity' },
    kinds: { type: 'string', default: KINDS.join(',') },
    splits: { type: 'string', default: SPLITS.join(',') },
    methods: { type: 'string', default: METHODS.join(',') },
    seeds: { type: 'string', default: '0,1,2,3,4' },
    written: { type: 'string', default: '100' },
    quick: { type: 'boolean', default: false },
    again: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

function given(name: 'results' | 'out' | 'data' | 'models'): string {
  return values[name] ?? fail(`Give --${name}.`);
}

function number(name: 'lanes' | 'jobs' | 'minutes' | 'end' | 'written'): number {
  const value = Number(values[name]);
  return value > 0 ? value : fail(`--${name} takes a number above 0.`);
}

function some<T extends string>(name: 'kinds' | 'splits' | 'methods', of: readonly T[]): T[] {
  const names = values[name].split(',');
  return names.map((own) => of.find((one) => one === own) ?? fail(`--${name} takes ${of.join(', ')}.`));
}

const results = given('results');
switch (positionals.join(' ')) {
  case 'run': {
    const seeds = values.seeds.split(',').map(Number);
    if (!seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0)) fail('--seeds takes integers from 0 on.');
    const choice = { kinds: some('kinds', KINDS), splits: some('splits', SPLITS), methods: some('methods', METHODS) };
    const runs = runsOf({ ...choice, seeds });
    if (values.list) {
      const known = await readResults(results);
      for (const run of runs) console.log(`${(obstacleOf(run, known, values.again) ?? 'next').padEnd(7)} ${idOf(run)}`);
      break;
    }
    const setting: Setting = {
      ...{ data: given('data'), models: given('models'), work: values.work ?? `${results}.work` },
      device: DEVICES.find((one) => one === values.device) ?? fail(`--device takes ${DEVICES.join(', ')}.`),
      ...{ lanes: number('lanes'), written: number('written'), quick: values.quick },
    };
    const { done, failed, left } = await runAll(runs, setting, {
      ...{ results, jobs: number('jobs'), again: values.again, say: (line) => console.log(line) },
      ...{ startFor: 60_000 * number('minutes'), endAfter: 60_000 * number('end') },
    });
    console.log(`${done} done, ${failed} failed, ${left} left`);
    break;
  }
  case 'report': {
    const [known, out] = [await readResults(results), given('out')];
    await mkdir(out, { recursive: true });
    const text = tables(known);
    await writeFile(join(out, 'tables.md'), text);
    for (const split of SPLITS) {
      const drawn = plot(known, split);
      if (drawn !== null) await writeFile(join(out, `${split}.svg`), drawn);
    }
    console.log(text);
    break;
  }
  default:
    fail('run or report?');
}
