/** Growing a real model into a mixture of experts, in turn with a NumPy program that does the same arithmetic and writes the same tensors. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Contender, compare, goal, header, machine, ratios } from './harness.ts';
import { numbers, type Suite } from './suite.ts';

const run = promisify(execFile);
const root = new URL('../', import.meta.url);
const MODEL = '../shared/models/smollm2-135m-instruct';
/** Against the NumPy program's time, and bytes of memory. */
const TIME = 1.5;
const MEMORY = 1.2e9;

interface Answer {
  readonly seconds: number;
  readonly bytes: number;
  readonly peak_rss: number;
}

async function child(command: string, args: readonly string[]): Promise<Answer> {
  const { stdout } = await run(command, args, { cwd: fileURLToPath(root), maxBuffer: 1 << 24 });
  return JSON.parse(stdout.trim().split('\n').at(-1)!);
}

const suite: Suite = {
  about: 'growing SmolLM2-135M, 8 experts in every layer, against NumPy  (--model FILE --rounds 3 --threads 2)',
  async run(context) {
    const { print, flags } = context;
    const [rounds = 3] = numbers(context, 'rounds', [3]);
    const [threads = 2] = numbers(context, 'threads', [Math.min(2, availableParallelism())]);
    const model = typeof flags['model'] === 'string' ? flags['model'] : await gguf();
    const python = process.env['ESPALIER_PYTHON'] ?? 'python3';
    const folder = await mkdtemp(join(tmpdir(), 'espalier-bench-'));
    const peaks: Record<string, number> = {};
    let bytes = 0;
    const job = (name: string, unit: string, work: () => Promise<Answer>): Contender => ({
      name,
      unit,
      unitsPerRun: 1,
      before: () => rm(join(folder, 'out'), { recursive: true, force: true }),
      run: async () => {
        const answer = await work();
        peaks[name] = Math.max(peaks[name] ?? 0, answer.peak_rss);
        if (name === 'espalier') bytes = answer.bytes;
        return answer.seconds;
      },
    });
    const own = (verify: string) => () =>
      child(process.execPath, [
        ...['--import', 'tsx', 'bench/grow-child.ts', model, join(folder, 'out'), String(threads), verify],
      ]);
    try {
      const contenders = [job('espalier', 'model', own('no')), job('espalier, verified', 'model', own('yes'))];
      const numpy = await run(python, ['-c', 'import numpy, gguf']).then(
        () => true,
        () => false,
      );
      if (numpy) {
        contenders.push(
          job('numpy', 'model', async () => {
            const out = join(folder, 'numpy');
            const args = ['bench/peers/numpy_grow.py', model, out, '--threads', String(threads)];
            const answer = await child(python, args);
            for (const end of ['.data', '.header']) await rm(out + end, { force: true });
            return answer;
          }),
        );
      } else print('numpy is left out: set ESPALIER_PYTHON to a python that has numpy and gguf');
      const timings = await compare(contenders, { rounds, warmup: 1 });
      print(header(machine()));
      print(`SmolLM2-135M, 8 experts, every layer, ${threads} threads`);
      print(ratios(timings));
      for (const [name, peak] of Object.entries(peaks)) print(`peak memory, ${name}: ${(peak / 1e6).toFixed(0)} MB`);
      const goals = [goal('peak memory below 1.2 GB: 1.2 GB / ours', MEMORY / peaks['espalier']!, 1)];
      const rival = timings.find(({ name }) => name === 'numpy');
      if (rival) goals.push(goal("NumPy's time / ours", rival.ratio, 1 / TIME));
      for (const line of goals) print(line);
      return { machine: machine(), timings, peaks, bytes, goals };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

async function gguf(): Promise<string> {
  const { readdir } = await import('node:fs/promises');
  const path = fileURLToPath(new URL(MODEL, root));
  const name = (await readdir(path)).find((file) => file.endsWith('.gguf'));
  if (name === undefined) throw new Error('SmolLM2 is not beside the project: give --model FILE.gguf');
  return join(path, name);
}

export default suite;
