/**
 * Products on a GPU's matrix units beside its f32 tiles: tiles are looked for at one size, by one of their properties after the other, and the best are
 * measured at all. Each is checked against sums in f64 and against the bits of the others.
 */
import { floatToHalf, halfTable } from '../src/checkpoint/quantised/half.ts';
import type { Tensor } from '../src/device/device.ts';
import type { MatrixTile } from '../src/device/webgpu/matrix-kernel.ts';
import { halfBytes, halvesOf, meet, multiply } from '../src/device/webgpu/matrix-product.ts';
import { type MatrixWay, wayOf } from '../src/device/webgpu/matrix-units.ts';
import { operandOf } from '../src/device/webgpu/operand.ts';
import type { WebGpuDeviceOptions } from '../src/device/webgpu/options.ts';
import type { GpuTensor } from '../src/device/webgpu/tensor.ts';
import type { GpuParts } from '../src/device/webgpu/tensor-store.ts';
import { WebGpuDevice } from '../src/device/webgpu/webgpu-device.ts';
import { table } from './harness.ts';
import { type Context, numbers } from './suite.ts';

export class MatrixBench extends WebGpuDevice {
  static override async create(given: WebGpuDeviceOptions = {}): Promise<MatrixBench> {
    process.env['ESPALIER_MATRIX_UNITS'] ??= '1'; // that is what is asked for here
    return WebGpuDevice.start(given, (...start) => new MatrixBench(...start));
  }

  get inner(): GpuParts {
    return this.parts();
  }
}

/** Rows of x, and [n, k] of weights. */
interface Size {
  readonly what: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** A prompt of 2,048 tokens in SmolLM2-135M. */
const PREFILL: readonly Size[] = [
  { what: 'queries, output', m: 2048, n: 576, k: 576 },
  { what: 'keys, values', m: 2048, n: 192, k: 576 },
  { what: 'gate, up', m: 2048, n: 1536, k: 576 },
  { what: 'down', m: 2048, n: 576, k: 1536 },
];
/** Rows of a product that are checked, and how far off the largest they may be. */
const CHECKED = [0, 0.37, 0.999];
const BOUND = 2e-3;
/** Seconds of a round, at least, and milliseconds of work before the first of a size. */
const ROUND = 0.02;
const WAKING = 500;

const BASE = { depth: 2, padding: 1, double: false, vectors: true, turned: false, tall: 8 } as const;
const shapeOf = (blocksM: number, blocksN: number, subgroupsM: number, subgroupsN: number): MatrixTile => {
  return { ...BASE, blocksM, blocksN, subgroupsM, subgroupsN };
};
/** With units of 16x16: 128x128, 256x128, 128x256, 256x256, 128x128 by eight subgroups both ways, 128x64, 64x128, 64x64. */
const SHAPES: readonly MatrixTile[] = [
  ...[shapeOf(4, 4, 2, 2), shapeOf(4, 4, 4, 2), shapeOf(4, 4, 2, 4), shapeOf(4, 4, 4, 4)],
  ...[shapeOf(4, 2, 2, 4), shapeOf(2, 4, 4, 2), shapeOf(4, 2, 2, 2), shapeOf(2, 4, 2, 2), shapeOf(2, 2, 2, 2)],
];
const PLAYED: readonly MatrixTile[] = [shapeOf(2, 2, 1, 1), shapeOf(1, 2, 2, 1)];
const DEPTHS = [2, 4];
/** Of each shape: two panels, of which one is filled while the other is read, with one barrier a panel. */
const DOUBLE: readonly Partial<MatrixTile>[] = [{ double: true, depth: 1 }, { double: true }];
/** What is tried of the best shapes, each beside the rest of it. */
const CHANGES: readonly Partial<MatrixTile>[] = [
  ...[{ double: true }, { padding: 0 }, { padding: 2 }, { vectors: false }, { turned: true }],
  ...[{ tall: 1 }, { tall: 4 }, { tall: 16 }, { tall: 32 }],
];

interface Measured {
  readonly tile: MatrixTile;
  readonly way: MatrixWay;
  /** TFLOP/s, rounding of x included. */
  readonly rate: number;
}

/** A size with its operands, and what the product is to be. */
interface Problem extends Size {
  readonly x: Tensor;
  readonly f16: Tensor;
  readonly out: Tensor;
  /** Of the rows that are checked, in f64. */
  readonly want: readonly Float64Array[];
  /** What the first way gave of them. */
  bits: Uint32Array[] | null;
}

export interface MatrixReport {
  readonly search: readonly Record<string, unknown>[];
  readonly sizes: readonly Record<string, unknown>[];
  readonly best: MatrixTile | null;
}

export async function matrixUnits(context: Context, device: MatrixBench): Promise<MatrixReport> {
  const { print } = context;
  const started = performance.now();
  const [seconds = 100] = numbers(context, 'seconds', [70]);
  const [rounds = 5] = numbers(context, 'rounds', [5]);
  const left = (): boolean => performance.now() - started < 1000 * seconds;
  const squares = numbers(context, 'n', [1024, 2048, 4096, 8192]);
  const [at = 1] = numbers(context, 'at', [squares.includes(4096) ? 4096 : squares.at(-1)!]);
  const run = { device, rounds, print };
  print(`matrix units: ${device.description['matrixUnits'] ?? 'none'}\n`);
  const search: Record<string, unknown>[] = [];
  let found: Measured[] = [];
  if (device.inner.context.matrixShape) {
    const problem = await problemOf(device, square(at));
    print(`tiles at ${at}, TFLOP/s, rounding of x included:`);
    found = await looked(run, problem, search, left);
    dispose(problem);
  }
  const sizes: Record<string, unknown>[] = [];
  const best = found[0] ?? null;
  // the best of each shape, as far as there is time
  const shapes = found.filter((one, i) => found.findIndex((other) => sameShape(one, other)) === i).slice(0, 5);
  const head = ['size', 'f32', 'f16, f32 tiles', 'as chosen', 'units alone', ...shapes.map(({ way }) => short(way))];
  const lines: (string | number)[][] = [];
  for (const size of [...squares.map(square), ...PREFILL]) {
    const problem = await problemOf(device, size);
    const row = await measured(run, problem, best, shapes);
    lines.push([size.what, ...row.map((rate) => (rate === null ? '-' : figure(rate)))]);
    sizes.push({ ...size, rates: Object.fromEntries(head.slice(1).map((name, i) => [name, row[i]])) });
    dispose(problem);
  }
  print(`\nTFLOP/s\n${table(head, lines)}`);
  if (best) print(`\nbest at ${at}: ${figure(best.rate)} TFLOP/s, ${JSON.stringify(best.tile)}`);
  return { search, sizes, best: best?.tile ?? null };
}

interface Run {
  readonly device: MatrixBench;
  readonly rounds: number;
  readonly print: (text: string) => void;
}

const square = (n: number): Size => ({ what: String(n), m: n, n, k: n });

/** Shapes and depths; the best two with one property changed; and the best with all changes together that were for the better. */
async function looked(
  run: Run,
  problem: Problem,
  search: Record<string, unknown>[],
  left: () => boolean,
): Promise<Measured[]> {
  const all: Measured[] = [];
  const tried = async (tiles: readonly MatrixTile[]): Promise<Measured[]> => {
    const some = await many(run, problem, tiles, search, left);
    all.push(...some);
    all.sort((a, b) => b.rate - a.rate);
    return some;
  };
  const shapes = run.device.isFallback ? PLAYED : SHAPES;
  await tried(shapes.flatMap((shape) => DEPTHS.map((depth) => ({ ...shape, depth }))));
  await tried(shapes.flatMap((shape) => DOUBLE.map((change) => ({ ...shape, ...change }))));
  const leaders = all.slice(0, 2);
  for (const leader of leaders) {
    const changed = await tried(CHANGES.map((change) => ({ ...leader.tile, ...change })));
    const better = changed.filter(({ rate }) => rate > leader.rate).sort((a, b) => a.rate - b.rate);
    if (better.length < 2) continue;
    // of one property the best value wins: it comes last
    const joined: Record<string, unknown> = { ...leader.tile };
    for (const { tile } of better) {
      for (const [name, value] of Object.entries(tile))
        if (value !== leader.tile[name as keyof MatrixTile]) joined[name] = value;
    }
    await tried([joined as unknown as MatrixTile]);
  }
  return all;
}

/** Compiled beside each other, measured one by one. */
async function many(
  run: Run,
  problem: Problem,
  tiles: readonly MatrixTile[],
  search: Record<string, unknown>[],
  left: () => boolean,
): Promise<Measured[]> {
  const { device, print } = run;
  const { context } = device.inner;
  const found: Measured[] = [];
  const tell = (tile: MatrixTile, way: MatrixWay | null, result: string): void => {
    print(`  ${nameOf(tile, way).padEnd(64)} ${result}`);
    search.push({ ...tile, result });
  };
  const ways = tiles.map((tile) => wayOf(context.matrixShape!, { ...tile, rate: 1 }, context.traits));
  const kernelOf = (way: MatrixWay) => (problem.k % way.panel === 0 ? way.whole : way.tail);
  if (left()) for (const way of ways) if (way) context.pipeline(kernelOf(way)); // all at once
  for (const [i, tile] of tiles.entries()) {
    const way = ways[i]!;
    if (!left()) tell(tile, way, 'no time left');
    else if (!way) tell(tile, way, 'does not fit');
    else {
      const pipeline = context.pipeline(kernelOf(way));
      await pipeline.ready;
      if (pipeline.refused) {
        const cause = (pipeline.refused.cause as Error | undefined)?.message ?? pipeline.refused.message;
        tell(tile, way, `does not compile: ${cause.split('\n')[0]!.slice(0, 200)}`);
        continue;
      }
      try {
        const rate = await rateOf(run, problem, () => byWay(device, problem, way));
        const fault = await faultOf(device, problem);
        tell(tile, way, `${figure(rate).padStart(8)}${fault ? `  ${fault}` : ''}`);
        if (!fault) found.push({ tile, way, rate });
      } catch (error) {
        tell(tile, way, `failed: ${(error as Error).message.split('\n')[0]}`);
        if (context.lost) throw error;
      }
    }
  }
  return found;
}

/** f32 weights, f16 ones by f32 tiles, as `linear` chooses, the best way without the rounding of x, and the best of each shape. */
async function measured(
  run: Run,
  problem: Problem,
  best: Measured | null,
  shapes: readonly Measured[],
): Promise<(number | null)[]> {
  const { device, print } = run;
  const { x, f16, out, m, k } = problem;
  const f32 = await weights(device, problem, 'f32');
  const rates: (number | null)[] = [];
  // a GPU that had nothing to do while the operands were made goes slowly at first
  const awake = performance.now() + WAKING;
  while (performance.now() < awake) {
    device.linear(x, [f16], [out], 'exact');
    await device.flush();
  }
  const add = async (what: string, work: () => void): Promise<void> => {
    try {
      rates.push(await rateOf(run, problem, work));
      const fault = await faultOf(device, problem);
      if (fault) print(`  ${problem.what}, ${what}: ${fault}`);
    } catch (error) {
      if (device.inner.context.lost) throw error;
      print(`  ${problem.what}, ${what}: ${(error as Error).message}`);
      rates.push(null);
    }
  };
  problem.bits = null;
  await add('f32', () => device.linear(x, [f32], [out], 'exact'));
  f32.dispose();
  problem.bits = null;
  await add('f16 by f32 tiles', () => device.linear(x, [f16], [out], 'exact'));
  problem.bits = null;
  await add('as chosen', () => device.linear(x, [f16], [out], 'int8'));
  if (best) {
    const { arena } = device.inner;
    const mark = arena.mark();
    const halves = halvesOf(device.inner, operandOf(x), halfBytes(k));
    await add('units alone', () =>
      meet(device.inner, best.way, halves, m, operandOf(f16), out as GpuTensor, problem.n),
    );
    arena.reset(mark);
  } else rates.push(null);
  for (const { way } of shapes) await add(short(way), () => byWay(device, problem, way));
  return rates;
}

function byWay(device: MatrixBench, { x, f16, out }: Problem, way: MatrixWay): void {
  multiply(device.inner, operandOf(x), [{ weight: operandOf(f16), out: out as GpuTensor }], () => way);
}

/** TFLOP/s, best of some rounds of as many as take long enough. */
async function rateOf({ device, rounds }: Run, { m, n, k }: Problem, work: () => void): Promise<number> {
  const timed = async (times: number): Promise<number> => {
    const start = performance.now();
    for (let i = 0; i < times; i++) work();
    await device.flush();
    return (performance.now() - start) / 1000 / times;
  };
  await timed(1); // compiles
  const once = await timed(2);
  const times = Math.max(1, Math.min(200, Math.ceil(ROUND / once)));
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rounds; i++) least = Math.min(least, await timed(times));
  return (2 * m * n * k) / least / 1e12;
}

const rowsChecked = (m: number): number[] => CHECKED.map((share) => Math.floor(share * m));

/** What is wrong with the product that is there; empty: nothing. */
async function faultOf(device: MatrixBench, problem: Problem): Promise<string> {
  const { out, want, m } = problem;
  const got: Float32Array[] = [];
  for (const row of rowsChecked(m)) got.push((await device.read(device.rows(out, row, 1))) as Float32Array);
  let error = 0;
  for (const [r, row] of got.entries()) {
    const largest = want[r]!.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    for (const [i, value] of row.entries()) error = Math.max(error, Math.abs(value - want[r]![i]!) / largest);
  }
  device.scale(out, 0); // so that nobody takes it for his own
  if (!(error < BOUND)) return `WRONG: ${error.toExponential(1)} of the largest`;
  const bits = got.map((row) => new Uint32Array(row.slice().buffer));
  problem.bits ??= bits;
  const same = bits.every((row, r) => row.every((word, i) => word === problem.bits![r]![i]));
  return same ? '' : `OTHER BITS, ${error.toExponential(1)} of the largest`;
}

/** Uniform in -0.5 .. 0.5, of a million numbers that come again, each time from another place. */
function uniform(count: number, seed: number): Float32Array {
  const own = Math.min(count, 1_000_003);
  const all = new Float32Array(count);
  let state = seed;
  for (let i = 0; i < own; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    all[i] = state / 4294967296 - 0.5;
  }
  for (let at = own; at < count; at += own) all.copyWithin(at, 0, Math.min(own, count - at));
  return all;
}

/** [n, k], every number one of f16's. */
function halvesAs(n: number, k: number): { readonly values: Float32Array; readonly bits: Uint16Array } {
  const some = Uint16Array.from(uniform(Math.min(n * k, 1_000_003), 7), floatToHalf);
  const values = new Float32Array(n * k);
  const bits = new Uint16Array(n * k);
  for (let at = 0; at < n * k; at += some.length) bits.set(some.subarray(0, Math.min(some.length, n * k - at)), at);
  const all = halfTable();
  for (let i = 0; i < n * k; i++) values[i] = all[bits[i]!]!;
  return { values, bits };
}

async function weights(device: MatrixBench, { n, k }: Size, type: 'f32' | 'f16'): Promise<Tensor> {
  const { values, bits } = halvesAs(n, k);
  const data = type === 'f32' ? values : bits;
  const bytes = new Uint8Array(data.buffer);
  const row = bytes.length / n;
  return device.loadMatrix({
    ...{ name: 'weights', type, rows: n, columns: k, order: null, orderGroup: 1 },
    read: async (first, target) => target.set(bytes.subarray(first * row, first * row + target.length)),
  });
}

async function problemOf(device: MatrixBench, size: Size): Promise<Problem> {
  const { m, n, k } = size;
  const given = uniform(m * k, 1);
  const { values } = halvesAs(n, k);
  const want = rowsChecked(m).map((row) => {
    const x = given.subarray(row * k, (row + 1) * k);
    return Float64Array.from({ length: n }, (_, j) => {
      let sum = 0;
      for (let i = 0, at = j * k; i < k; i++, at++) sum += x[i]! * values[at]!;
      return sum;
    });
  });
  const [x, out] = [device.tensor('f32', [m, k]), device.tensor('f32', [m, n])];
  device.write(x, given);
  return { ...size, x, f16: await weights(device, size, 'f16'), out, want, bits: null };
}

function dispose({ x, f16, out }: Problem): void {
  for (const t of [x, f16, out]) t.dispose();
}

function sameShape({ way: a }: Measured, { way: b }: Measured): boolean {
  return a.m === b.m && a.n === b.n;
}

const figure = (rate: number): string => (rate < 10 ? rate.toPrecision(2) : rate.toFixed(1));

const short = ({ m, n, panel }: MatrixWay): string => `${m}x${n}x${panel}`;

function nameOf(tile: MatrixTile, way: MatrixWay | null): string {
  const { blocksM, blocksN, subgroupsM, subgroupsN, depth, padding, double, vectors, turned, tall } = tile;
  const blocks = `${blocksM}x${blocksN} blocks, ${subgroupsM}x${subgroupsN} subgroups`;
  const rest = `pad ${padding}, ${double ? 'two panels' : 'one'}${vectors ? '' : ', by numbers'}${turned ? ', turned' : ''}, tall ${tall}`;
  return `${way ? short(way) : `depth ${depth}`}: ${blocks}, ${rest}`;
}
