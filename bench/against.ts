/**
 * This checkout beside another one of the project, such as the commit before a change, in one process: matrix product, SmolLM2's prefill
 * and decode, small operations. The other one needs its `npm ci` and `node scripts/build.mjs`; it is reached by its own `bench/ours.ts`.
 */

import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { exists } from './browser/files.ts';
import { type Contender, compare, header, machine, ratios, type Timing } from './harness.ts';
import * as here from './ours.ts';
import { prefillAndDecode, promptIds, SMOLLM2, sameText } from './smollm2.ts';
import { type Context, numbers, type Suite } from './suite.ts';

type Ours = Pick<typeof here, 'gemm' | 'openModel' | 'micro'>;
/** Calls of a small operation that are timed together. */
const MANY = 200;

interface Setting {
  readonly context: Context;
  readonly sides: readonly (readonly [name: string, Ours])[];
  readonly lanes: number;
  readonly rounds: number;
}

async function product({ context, sides, lanes, rounds }: Setting, n: number): Promise<Timing[]> {
  const a = Float32Array.from({ length: n * n }, (_, i) => Math.sin(i * 0.7));
  const b = Float32Array.from({ length: n * n }, (_, i) => Math.cos(i * 0.3));
  const made = await Promise.all(sides.map(async ([name, ours]) => ({ name, one: await ours.gemm(a, b, n, lanes) })));
  const unitsPerRun = (2 * n ** 3) / 1e9;
  const timings = await compare(
    made.map(({ name, one }): Contender => ({ name, unit: 'GFLOP', unitsPerRun, run: () => one.run() })),
    { rounds, warmup: 3 },
  );
  for (const { one } of made) one.dispose();
  context.print(`matrix product, n = ${n}, ${lanes} lanes\n${ratios(timings)}\n`);
  return timings;
}

async function smollm2({ context, sides, lanes, rounds }: Setting) {
  const { print } = context;
  if (!(await exists(SMOLLM2))) {
    print(`SmolLM2 left out: ${SMOLLM2} is not there`);
    return null;
  }
  const [tokens = 512] = numbers(context, 'tokens', [512]);
  const [decoded = 64] = numbers(context, 'decode', [64]);
  const models: [string, here.BenchModel][] = [];
  for (const [name, ours] of sides) {
    const options = { activations: 'int8', context: tokens + decoded, lanes } as const;
    models.push([name, await ours.openModel(SMOLLM2, options)]);
  }
  const each = { rounds, warmup: 1 };
  const measured = await prefillAndDecode(models, await promptIds(tokens), decoded, { prefill: each, decode: each });
  for (const [, model] of models) model.dispose();
  const same = sameText(measured);
  print(`SmolLM2-135M, ${lanes} lanes, prefill of ${tokens} tokens\n${ratios(measured.prefill)}\n`);
  print(`decode of ${decoded} tokens after it${same ? '' : ': TEXTS DIFFER'}\n${ratios(measured.decode)}\n`);
  return { prefill: measured.prefill, decode: measured.decode, sameText: same };
}

/** What both have by name. */
async function micro({ context, sides, rounds }: Setting): Promise<Record<string, Timing[]>> {
  const cases = await Promise.all(sides.map(async ([name, ours]) => ({ name, list: await ours.micro() })));
  const all: Record<string, Timing[]> = {};
  for (const { name: what } of cases[0]!.list) {
    const contenders = cases.flatMap(({ name, list }): Contender[] => {
      const one = list.find((entry) => entry.name === what);
      const run = () => {
        for (let i = 0; i < MANY; i++) one!.run();
      };
      return one ? [{ name, unit: 'call', unitsPerRun: MANY, run }] : [];
    });
    if (contenders.length < sides.length) continue;
    all[what] = await compare(contenders, { rounds: 4 * rounds, warmup: 2 });
    context.print(`${what}\n${ratios(all[what])}\n`);
  }
  return all;
}

const suite: Suite = {
  about:
    'this checkout against another one, in one process  (--other FOLDER --lanes 1 --rounds 10 --n 1024 --tokens 512 --decode 64)',
  async run(context) {
    const { other } = context.flags;
    if (typeof other !== 'string') throw new Error('--other takes the folder of another checkout, built.');
    const there = (await import(pathToFileURL(resolve(other, 'bench/ours.ts')).href)) as Ours;
    const [lanes = 1] = numbers(context, 'lanes', [1]);
    const [rounds = 10] = numbers(context, 'rounds', [10]);
    const [n = 1024] = numbers(context, 'n', [1024]);
    const sides = [
      ['here', here],
      ['there', there],
    ] as const;
    const setting: Setting = { context, sides, lanes, rounds };
    const info = machine([here.version]);
    context.print(`${header(info)}\n`);
    const gemm = await product(setting, n);
    const model = await smollm2(setting);
    return { machine: info, gemm, model, micro: await micro(setting) };
  },
};
export default suite;
