/**
 * SPRI's experiment on text: a dense model is fine-tuned to translate, and so are the mixtures of experts that it is grown into by SPRI, by
 * its baselines, and by the controls that the paper lacks. One table with intervals, one plot.
 *
 * A run is an arm and a seed (of routers and noise, and of the order of the examples). Runs that are done stand in `runs-*.json` of the output
 * folder and are not done again: the experiment may be stopped, and several processes may share its arms or seeds (`--part`).
 *
 * usage: node --import tsx examples/spri-translation/main.ts MODEL --train FILE --held-out FILE --out DIR
 *   [--arms dense,spri,…] [--seeds 0,1,2] [--steps N | --budget MINUTES] [--learning-rate X] [--batch N] [--max-tokens N]
 *   [--layers N] [--lanes N] [--device wasm|webgpu] [--translate N] [--part NAME] [--report]
 */
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ARMS, type Arm } from './arms.ts';
import { plot, type Run, summaries, table } from './report.ts';
import { DEVICES, runArm, type Setting } from './run.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    train: { type: 'string' },
    'held-out': { type: 'string' },
    out: { type: 'string' },
    arms: { type: 'string', default: ARMS.map(({ name }) => name).join(',') },
    seeds: { type: 'string', default: '0,1,2' },
    steps: { type: 'string' },
    budget: { type: 'string' },
    'learning-rate': { type: 'string', default: '1e-3' },
    batch: { type: 'string', default: '32' },
    'max-tokens': { type: 'string', default: '256' },
    layers: { type: 'string', default: '4' },
    lanes: { type: 'string' },
    device: { type: 'string', default: 'wasm' },
    translate: { type: 'string', default: '0' },
    part: { type: 'string', default: 'all' },
    report: { type: 'boolean', default: false },
  },
});

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

function number(
  name: 'steps' | 'budget' | 'learning-rate' | 'batch' | 'max-tokens' | 'layers' | 'translate' | 'lanes',
): number {
  const value = Number(values[name]);
  if (!(value >= 0)) fail(`--${name} takes a number.`);
  return value;
}

const [model] = positionals;
const { out } = values;
if (out === undefined) fail('Give --out DIR.');
const device = DEVICES.find((kind) => kind === values.device) ?? fail(`--device takes ${DEVICES.join(' or ')}.`);
const arms = values.arms
  .split(',')
  .map((name) => ARMS.find((arm) => arm.name === name) ?? fail(`There is no arm ${name}.`));
const seeds = values.seeds.split(',').map(Number);
if (seeds.some((seed) => !Number.isSafeInteger(seed) || seed < 0)) fail('--seeds takes integers from 0 on.');

await mkdir(out, { recursive: true });
if (!values.report) await runAll(out);
const runs = await allRuns(out);
const list = summaries(runs);
const { steps } = JSON.parse(await readFile(join(out, 'setting.json'), 'utf8')) as Setting;
await writeFile(join(out, 'table.md'), `${table(list)}\n`);
await writeFile(join(out, 'plot.svg'), plot(list, `Held-out loss after ${steps} steps`));
console.log(table(list));

async function runAll(folder: string): Promise<void> {
  const { train, 'held-out': heldOut } = values;
  if (model === undefined || train === undefined || heldOut === undefined) fail('Give MODEL, --train and --held-out.');
  const common = {
    model,
    train,
    heldOut,
    batch: number('batch'),
    learningRate: number('learning-rate'),
    interval: number('layers'),
    lanes: values.lanes === undefined ? ('auto' as const) : number('lanes'),
    device,
    translate: number('translate'),
    maxTokens: number('max-tokens'),
  };
  const earlier = await readFile(join(folder, 'setting.json'), 'utf8').then(
    (text) => JSON.parse(text) as Setting,
    () => null,
  );
  const setting: Setting = { ...common, steps: earlier?.steps ?? (await stepsOf(common, folder)) };
  if (earlier && !sameSetting(earlier, setting))
    fail(`${folder} holds runs with other settings: ${JSON.stringify(earlier)}.`);
  await save(join(folder, 'setting.json'), setting);
  const file = join(folder, `runs-${values.part}.json`);
  const mine: Run[] = JSON.parse(await readFile(file, 'utf8').catch(() => '[]'));
  for (const seed of seeds) {
    for (const arm of arms) {
      if ((await allRuns(folder)).some((run) => run.arm === arm.name && run.seed === seed)) continue;
      const started = performance.now();
      const run = await runArm(arm, seed, setting, join(folder, `training-${values.part}`));
      mine.push(run);
      await save(file, mine);
      const seconds = ((performance.now() - started) / 1000).toFixed(0);
      console.log(`${arm.name}, seed ${seed}: ${run.lossBefore.toFixed(4)} to ${run.loss.toFixed(4)} in ${seconds} s`);
    }
  }
}

/** What is asked for, or as many as a budget for all runs allows: two steps of the dense and of a grown model are timed for that. */
async function stepsOf(setting: Omit<Setting, 'steps'>, folder: string): Promise<number> {
  if (values.steps !== undefined) return number('steps');
  if (values.budget === undefined) fail('Give --steps, or --budget in minutes.');
  const time = async (arm: Arm): Promise<{ step: number; beside: number }> => {
    const run = async (steps: number): Promise<{ all: number; training: number }> => {
      const started = performance.now();
      const { seconds } = await runArm(arm, 0, { ...setting, steps }, join(folder, 'timing'));
      return { all: (performance.now() - started) / 1000, training: seconds };
    };
    const [short, long] = [await run(1), await run(4)];
    const step = Math.max(1e-3, (long.training - short.training) / 3);
    return { step, beside: Math.max(0, short.all - step) };
  };
  const dense = await time(ARMS[0]!);
  const mixture = await time(ARMS.find(({ name }) => name === 'spri')!);
  const isDense = (arm: Arm): boolean => arm.grow === null;
  const sum = (of: 'step' | 'beside'): number =>
    seeds.length * arms.reduce((all, arm) => all + (isDense(arm) ? dense : mixture)[of], 0);
  return Math.max(1, Math.floor((60 * number('budget') - sum('beside')) / sum('step')));
}

function sameSetting(a: Setting, b: Setting): boolean {
  // lanes do not change what comes out; what was begun before there was a choice of devices was on the CPU
  const [own, other] = [a, b].map((one: Partial<Setting>) => JSON.stringify({ device: 'wasm', ...one, lanes: null }));
  return own === other;
}

async function allRuns(folder: string): Promise<Run[]> {
  const files = (await readdir(folder)).filter((name) => /^runs-.*\.json$/u.test(name)).sort();
  const lists = await Promise.all(
    files.map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8')) as Run[]),
  );
  return lists.flat();
}

async function save(path: string, value: unknown): Promise<void> {
  const temporary = `${path}.${values.part}.new`; // others may write the same at once
  await writeFile(temporary, `${JSON.stringify(value, null, 1)}\n`);
  await rename(temporary, path);
}
