/** One lane against two (or more): a matrix product, beside onnxruntime-web with as many threads, and SmolLM2. */
import { exists } from './browser/files.ts';
import { roundTrip } from './browser/round-trip.ts';
import { type Contender, compare, goal, header, machine, ratios } from './harness.ts';
import * as ours from './ours.ts';
import * as ort from './peers/ort-web.ts';
import { prefillAndDecode, promptIds, SMOLLM2, sameText } from './smollm2.ts';
import { type Context, numbers, type Suite } from './suite.ts';

async function product({ print }: Context, n: number, lanes: number, rounds: number) {
  const a = Float32Array.from({ length: n * n }, (_, i) => Math.sin(i * 0.7));
  const b = Float32Array.from({ length: n * n }, (_, i) => Math.cos(i * 0.3));
  const many = await ours.gemm(a, b, n, lanes);
  const one = await ours.gemm(a, b, n, 1);
  const [x, y] = [await many.result(), await one.result()];
  if (x.some((value, i) => value !== y[i])) throw new Error('lanes compute another product');
  const entries: [string, { run(): Promise<void> | void; dispose(): Promise<void> | void }][] = [
    [`${lanes} lanes`, many],
    ['1 lane', one],
  ];
  ort.setThreads(lanes);
  const missing = await ort.available();
  if (missing) print(`left out: ${missing}`);
  else entries.push([`ort-web, ${lanes} threads`, await ort.matmul(a, b, n, false)]);
  const unitsPerRun = (2 * n ** 3) / 1e9;
  const timings = await compare(
    entries.map(([name, p]): Contender => ({ name, unit: 'GFLOP', unitsPerRun, run: () => p.run() })),
    { rounds, warmup: 3 },
  );
  for (const [, p] of entries) await p.dispose();
  print(`matrix product, n = ${n}\n${ratios(timings)}\n`);
  return { timings, version: missing ? null : await ort.version() };
}

async function smollm2(context: Context, lanes: number) {
  const { print } = context;
  if (!(await exists(SMOLLM2))) {
    print(`SmolLM2 left out: ${SMOLLM2} is not there`);
    return null;
  }
  const [tokens = 512] = numbers(context, 'tokens', [512]);
  const [decoded = 64] = numbers(context, 'decode', [64]);
  const [rounds = 8] = numbers(context, 'rounds', [8]);
  const open = (count: number) =>
    ours.openModel(SMOLLM2, { activations: 'int8', context: tokens + decoded, lanes: count });
  const models: [string, ours.BenchModel][] = [
    [`${lanes} lanes`, await open(lanes)],
    ['1 lane', await open(1)],
  ];
  const each = { rounds, warmup: 1 };
  const measured = await prefillAndDecode(models, await promptIds(tokens), decoded, { prefill: each, decode: each });
  for (const [, model] of models) model.dispose();
  const same = sameText(measured);
  print(`SmolLM2-135M, prefill of ${tokens} tokens\n${ratios(measured.prefill)}\n`);
  print(`decode of ${decoded} tokens after it${same ? '' : ': TEXTS DIFFER'}\n${ratios(measured.decode)}\n`);
  return { prefill: measured.prefill, decode: measured.decode, sameText: same };
}

const suite: Suite = {
  about: 'one lane against several, beside onnxruntime-web with threads  (--lanes 2 --n 1024 --rounds 8)',
  async run(context) {
    const { print } = context;
    const [lanes = 2] = numbers(context, 'lanes', [2]);
    const [n = 1024] = numbers(context, 'n', [1024]);
    const [rounds = 12] = numbers(context, 'rounds', [12]);
    const gemm = await product(context, n, lanes, rounds);
    const model = await smollm2(context, lanes);
    const overhead = { barrier: await ours.barrier(lanes), roundTrip: (await roundTrip()).best };
    const info = machine([ours.version, gemm.version]);
    print(header(info));
    print(`one command to ${lanes} lanes: ${overhead.barrier.toFixed(1)} µs`);
    print(`one call to the engine worker and back: ${overhead.roundTrip.toFixed(0)} µs\n`);
    const goals = [goal(`product, ${lanes} lanes against one`, gemm.timings[1]!.ratio, 1.9)];
    const rival = gemm.timings[2];
    if (rival) goals.push(goal('product against ort-web with as many threads', rival.ratio, 2));
    if (model) {
      goals.push(goal(`prefill, ${lanes} lanes against one`, model.prefill[1]!.ratio, 1.8));
      goals.push(goal(`decode, ${lanes} lanes against one`, model.decode[1]!.ratio, 1.4));
    }
    print(goals.join('\n'));
    return { machine: info, gemm: gemm.timings, model, overhead, goals };
  },
};
export default suite;
