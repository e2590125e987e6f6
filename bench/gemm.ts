/** Square f32 products in one process with tfjs-backend-wasm and onnxruntime-web, one thread each. */
import { type Contender, compare, goal, header, machine, ratios, type Timing } from './harness.ts';
import * as ours from './ours.ts';
import { higher, measurePeak } from './peak/probe.ts';
import * as ort from './peers/ort-web.ts';
import * as tfjs from './peers/tfjs.ts';
import { numbers, type Suite } from './suite.ts';

const TOLERANCE = 1e-5; // of the largest element, for sums of 2048 products in any order

interface Product {
  run(): Promise<void> | void;
  result(): Promise<Float32Array>;
  dispose(): Promise<void> | void;
}

/** Uniform in -1..1, the same everywhere. */
function random(length: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function worstDifference(a: Float32Array, b: Float32Array): number {
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    worst = Math.max(worst, Math.abs(a[i]! - b[i]!));
    largest = Math.max(largest, Math.abs(b[i]!));
  }
  return worst / largest;
}

/** A few elements of the product in f64, as a reference for all contenders: [row, column, value]. */
function check(name: string, c: Float32Array, a: Float32Array, b: Float32Array, n: number): void {
  const got = new Float32Array(64);
  const want = new Float32Array(64);
  for (let s = 0; s < 64; s++) {
    const row = (s * 7919) % n;
    const column = (s * 104729) % n;
    let sum = 0;
    for (let k = 0; k < n; k++) sum += a[row * n + k]! * b[k * n + column]!;
    got[s] = c[row * n + column]!;
    want[s] = sum;
  }
  const worst = worstDifference(got, want);
  if (!(worst < TOLERANCE)) throw new Error(`${name} computes another product: ${worst} of the largest element`);
}

async function size(n: number, rounds: number, skipped: Map<string, string>): Promise<Timing[]> {
  const a = random(n * n, 1);
  const b = random(n * n, 2);
  const products: [string, Product][] = [['espalier', await ours.gemm(a, b, n)]];
  const noTfjs = await tfjs.available();
  const noOrt = await ort.available();
  if (noTfjs) skipped.set('tfjs', noTfjs);
  else products.push(['tfjs-wasm', await tfjs.matmul(a, b, n)]);
  if (noOrt) skipped.set('ort-web', noOrt);
  else {
    products.push(['ort-web', await ort.matmul(a, b, n, false)]);
    products.push(['ort-web, constant B', await ort.matmul(a, b, n, true)]);
  }
  for (const [name, product] of products) check(name, await product.result(), a, b, n);
  const contenders = products.map(([name, product]): Contender => {
    return { name, unit: 'GFLOP', unitsPerRun: (2 * n ** 3) / 1e9, run: () => product.run() };
  });
  const timings = await compare(contenders, { rounds, warmup: 3 });
  for (const [, product] of products) await product.dispose();
  return timings;
}

const suite: Suite = {
  about: 'f32 matrix product against tfjs-backend-wasm and onnxruntime-web  (--n 512,1024 --rounds 8)',
  async run(context) {
    const { print } = context;
    const sizes = numbers(context, 'n', [512, 1024]);
    const [rounds = 8] = numbers(context, 'rounds', [8]);
    const skipped = new Map<string, string>();
    const before = await measurePeak();
    const results: Record<number, Timing[]> = {};
    for (const n of sizes) results[n] = await size(n, rounds, skipped);
    const peak = higher(before, await measurePeak());

    const versions = [ours.version];
    if (!skipped.has('tfjs')) versions.push(await tfjs.version());
    if (!skipped.has('ort-web')) versions.push(await ort.version());
    const info = machine(versions);
    const ceiling = peak.fused ?? peak.mulAdd;
    print(header(info));
    print(`128-bit peak of one core: ${ceiling.toFixed(1)} GFLOP/s ${peak.fused ? 'fused' : '(no relaxed SIMD)'}`);
    for (const reason of skipped.values()) print(`left out: ${reason}`);
    const goals: string[] = [];
    for (const n of sizes) {
      const timings = results[n]!;
      const share = timings[0]!.best / ceiling;
      print(`\nn = ${n}: ${(100 * share).toFixed(1)} % of the peak\n${ratios(timings)}`);
      if (n !== 1024) continue;
      const ratio = (name: string) => timings.find((t) => t.name === name)?.ratio ?? Number.NaN;
      goals.push(goal('1024 against tfjs', ratio('tfjs-wasm'), peak.fused ? 1.7 : 1.3));
      if (peak.fused) {
        goals.push(goal('1024 against ort-web', ratio('ort-web'), 1.9), goal('1024, share of the peak', share, 0.93));
      }
    }
    if (goals.length) print(`\n${goals.join('\n')}`);
    return { machine: info, peak, skipped: Object.fromEntries(skipped), results, goals };
  },
};
export default suite;
