/**
 * Steps of training beside PyTorch, in alternation and with as many threads: nano-base with all parameters and with LoRA, SmolLM2 with
 * LoRA on its quantised weights (PyTorch turns them into f32 first). One step is forward, backward, the gradient's norm and AdamW.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { exists } from './browser/files.ts';
import { type Contender, compare, goal, header, machine, ratios, type Timing, table } from './harness.ts';
import * as ours from './ours.ts';
import { measurePeak } from './peak/probe.ts';
import { available, TorchTraining } from './peers/torch-train.ts';
import { SMOLLM2 } from './smollm2.ts';
import { type Context, numbers, type Suite } from './suite.ts';
import { openTraining, sequences } from './train-work.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const RATE = 1e-5;

interface Case {
  readonly name: string;
  readonly path: string;
  readonly lora: number;
  readonly count: number;
  readonly length: number;
}

const CASES: readonly Case[] = [
  { name: 'nano-base, all parameters', path: `${ROOT}models/nano-base`, lora: 0, count: 8, length: 256 },
  { name: 'nano-base, LoRA of rank 8', path: `${ROOT}models/nano-base`, lora: 8, count: 8, length: 256 },
  { name: 'SmolLM2, LoRA of rank 8', path: SMOLLM2, lora: 8, count: 4, length: 256 },
];

async function run(own: Case, context: Context, lanes: number, rounds: number, torchMissing: string | null) {
  const { print } = context;
  const { path, lora, count, length } = own;
  const ids = sequences(count, length, 8000);
  const tokens = count * length;
  const trainings = await Promise.all(
    [false, true].map(async (recompute) => ({
      name: recompute ? 'espalier, layers computed again' : 'espalier',
      training: await openTraining(path, { lanes, lora, rate: RATE, recompute }),
    })),
  );
  const torch = torchMissing === null ? await TorchTraining.open(path, { threads: lanes, lora, rate: RATE }) : null;
  const losses = new Map<string, number[]>();
  const note = (name: string, loss: number): void => {
    losses.set(name, [...(losses.get(name) ?? []), loss]);
  };
  const contenders: Contender[] = trainings.map(({ name, training }) => ({
    name,
    unitsPerRun: tokens,
    unit: 'tokens',
    run: async () => note(name, await training.step(ids)),
  }));
  if (torch) {
    const step = async (): Promise<number> => {
      const { seconds, loss } = await torch.step(ids);
      note('PyTorch', loss);
      return seconds;
    };
    contenders.push({ name: 'PyTorch', unitsPerRun: tokens, unit: 'tokens', run: step });
  }
  try {
    const timings = await compare(contenders, { rounds, warmup: 1 });
    print(`\n${own.name}, ${count} x ${length} tokens, ${lanes} lanes or threads\n${ratios(timings)}`);
    // LoRA begins at random, elsewhere steps from the same weights must lose alike
    const mine = losses.get('espalier')!;
    const others = losses.get('PyTorch');
    if (others && lora === 0) {
      const off = Math.max(...mine.map((loss, i) => Math.abs(loss - others[i]!) / others[i]!));
      print(`losses of ${mine.length} steps: ${off.toExponential(1)} from PyTorch's at most`);
    }
    const of = (name: string): Timing | undefined => timings.find((timing) => timing.name === name);
    const theirs = of('PyTorch');
    if (theirs) print(goal('steps a second, as a share of PyTorch', of('espalier')!.best / theirs.best, 1 / 1.8));
    return { name: own.name, tokens, timings, losses: Object.fromEntries(losses) };
  } finally {
    for (const { training } of trainings) training.dispose();
    await torch?.dispose();
  }
}

/** The most memory of three steps, each in a process of its own. */
async function memory(own: Case, { print }: Context, lanes: number, torchMissing: string | null) {
  const { path, lora, count, length } = own;
  const child = fileURLToPath(new URL('train-child.ts', import.meta.url));
  const rows: [string, number, number][] = [];
  for (const recompute of [false, true]) {
    const options = { path, count, length, steps: 3, lanes, lora, rate: RATE, recompute };
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...process.execArgv,
      child,
      JSON.stringify(options),
    ]);
    const peak = JSON.parse(stdout) as { process: number; device: number };
    rows.push([recompute ? 'espalier, layers computed again' : 'espalier', peak.process / 1e6, peak.device / 1e6]);
  }
  if (torchMissing === null) {
    const torch = await TorchTraining.open(path, { threads: lanes, lora, rate: RATE });
    const ids = sequences(count, length, 8000);
    for (let i = 0; i < 3; i++) await torch.step(ids);
    const peak = await torch.peak();
    rows.push(['PyTorch', peak / 1e6, (peak - torch.baseBytes) / 1e6]);
    await torch.dispose();
  }
  print(`\n${own.name}, memory\n${table(['contender', 'process, MB', 'of it for training, MB'], rows)}`);
  const [mine] = rows;
  const theirs = rows.find(([name]) => name === 'PyTorch');
  if (mine && theirs) print(goal('PyTorch, as a multiple', theirs[1] / mine[1], 1 / 1.2));
  return rows;
}

const suite: Suite = {
  about: 'steps of training beside PyTorch  (--lanes 2 --rounds 4 --case 1,2,3; ESPALIER_PYTHON)',
  async run(context) {
    const [lanes = 2] = numbers(context, 'lanes', [2]);
    const [rounds = 4] = numbers(context, 'rounds', [4]);
    const chosen = numbers(context, 'case', [1, 2, 3]).map((i) => CASES[i - 1]);
    const torchMissing = await available();
    const peak = await measurePeak();
    context.print(header(machine([ours.version])));
    context.print(`f32 128-bit peak of a core ${(peak.fused ?? peak.mulAdd).toFixed(1)} GFLOP/s`);
    if (torchMissing) context.print(`left out: ${torchMissing}`);
    const results: unknown[] = [];
    for (const own of chosen) {
      if (own === undefined || !(await exists(own.path))) {
        context.print(`left out: ${own ? `${own.name}, ${own.path} is not there` : 'a case that is not there'}`);
        continue;
      }
      const steps = await run(own, context, lanes, rounds, torchMissing);
      results.push({ ...steps, memory: await memory(own, context, lanes, torchMissing) });
    }
    return { peak, results };
  },
};
export default suite;
