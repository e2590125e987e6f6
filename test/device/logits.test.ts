/** Statistics and the largest of rows of logits, of every size that kernels tell apart, against the formulas in f64. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Device, STAT, STAT_NUMBERS, STAT_PLACE, STAT_PLACES, type Tensor } from '../../src/device/device.ts';
import { WebGpuTrainDevice } from '../../src/device/webgpu/webgpu-train-device.ts';
import { devices, onGpu, put, putInts, testNothingLeft, testsOn, Worst } from './devices.ts';
import { disposeAll } from './gradients.ts';
import { noise, randomF32 } from './reference.ts';

const all = await devices();
const worst = new Worst();
const none = Number.NEGATIVE_INFINITY;

/** Of f32 sums, beside the number itself or 1, whichever is larger; powers have an order that is rounded to f32, too. */
const STATISTIC = 5e-7;
/** Powers of an order far below 1 are nearly equal, and those of a row of few levels are: the wasm kernel adds 1024 of them one after another. */
const POWERS = onGpu ? 1e-6 : 1e-5;
/** Vocabularies: the least, those of models, and what no kernel takes at once; beyond pieces of 8192. */
const WIDTHS = [1, 2, 3, 255, 1028, 8192, 8193, 49_152, 151_936];

interface Stats {
  readonly numbers: Float32Array;
  readonly places: Int32Array;
}

async function statsOf(device: Device, logits: Tensor, targets: Tensor | null, order: number): Promise<Stats> {
  const rows = logits.shape[0]!;
  const [numbers, places] = [device.tensor('f32', [rows, STAT_NUMBERS]), device.tensor('i32', [rows, STAT_PLACES])];
  device.logitStats(logits, targets, order, numbers, places);
  const [a, b] = await device.read([numbers, places]);
  disposeAll(numbers, places);
  return { numbers: a as Float32Array, places: b as Int32Array };
}

/** The formulas, term by term. */
function reference(x: Float32Array, target: number, q: number) {
  const order = [...x.keys()].filter((i) => x[i]! > none).sort((a, b) => x[b]! - x[a]! || a - b);
  const [best = -1, second = -1] = order;
  const max = x[best]!;
  let rest = 0;
  for (const i of order) if (i !== best) rest += Math.exp(x[i]! - max);
  const logZ = Math.log1p(rest);
  let [shannon, powers] = [0, 0];
  for (const i of order) {
    const p = Math.exp(x[i]! - max - logZ);
    if (p > 0) shannon -= p * (x[i]! - max - logZ);
    powers += p ** q;
  }
  const tsallis = q === 1 ? shannon : (1 - powers) / (q - 1);
  const own = target < 0 ? 0 : x[target]! - max - logZ;
  return { numbers: [max, max + logZ, shannon, tsallis, own, second < 0 ? none : x[second]!], places: [best, second] };
}

const NAMES = Object.entries(STAT).sort(([, a], [, b]) => a - b);

function compare(what: string, got: Stats, row: number, x: Float32Array, target: number, order: number): void {
  const want = reference(x, target, order);
  const places = [...got.places.subarray(row * STAT_PLACES, (row + 1) * STAT_PLACES)];
  assert.equal(places, want.places, what);
  for (const [name, stat] of NAMES) {
    const [a, b] = [got.numbers[row * STAT_NUMBERS + stat]!, want.numbers[stat]!];
    const error = a === b ? 0 : Math.abs(a - b) / Math.max(1, Math.abs(b));
    const bound = stat === STAT.tsallis ? POWERS : STATISTIC;
    assert.ok(worst.within(name, error, bound), `${what}, ${name}: ${a} for ${b}`);
  }
}

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('logitStats of vocabularies of every size, with and without targets, of orders 1 and 1.5', async () => {
    for (const width of WIDTHS) {
      const rows = width > 10_000 ? 2 : 5;
      for (const [order, targeted] of [
        [1, true],
        [1.5, false],
        [0.7, true],
      ] as const) {
        const x = randomF32(rows * width, width + rows, 6);
        // one that is nearly certain, whose log-probability has few digits beside 1
        x[width - 1] = 18;
        const targets = Array.from({ length: rows }, (_, row) =>
          row === 0 ? width - 1 : row === 1 ? -1 : row % width,
        );
        const [logits, list] = [put(device, [rows, width], x), targeted ? putInts(device, [rows], targets) : null];
        const got = await statsOf(device, logits, list, order);
        for (let row = 0; row < rows; row++) {
          const own = x.subarray(row * width, (row + 1) * width);
          compare(`${width}, order ${order}, row ${row}`, got, row, own, targeted ? targets[row]! : -1, order);
        }
        disposeAll(logits, list);
      }
    }
  });

  on('logitStats: ties go to the lower place, minus infinity to none', async () => {
    // where the first 4096 are minus infinity the wasm kernel gives NaN, a fault of its own
    for (const width of onGpu ? [7, 1028, 20_000] : [7, 1028]) {
      const [last, middle] = [width - 1, width >> 1];
      const rows: [string, Float32Array][] = [
        ['all alike', new Float32Array(width).fill(-3)],
        ['zeros of both signs', Float32Array.from({ length: width }, (_, i) => (i % 2 ? 0 : -0))],
        ['one alone', new Float32Array(width).fill(none).fill(2, middle, middle + 1)],
        ['the last two', new Float32Array(width).fill(-1e30).fill(4, last - 1)],
        [
          'far apart',
          Float32Array.from({ length: width }, (_, i) => (i === last ? 3e38 : i === middle ? none : -3e38)),
        ],
        ['few levels', randomF32(width, 3, 3).map(Math.round)],
        ['every other', randomF32(width, 5, 9).map((v, i) => (i % 2 ? none : v))],
      ];
      const logits = put(
        device,
        [rows.length, width],
        rows.flatMap(([, x]) => [...x]),
      );
      const targets = putInts(
        device,
        [rows.length],
        rows.map(() => middle),
      );
      for (const order of [1, 2, 0.01]) {
        const got = await statsOf(device, logits, targets, order);
        for (const [row, [what, x]] of rows.entries()) {
          compare(`${what} of ${width}, order ${order}`, got, row, x, middle, order);
        }
      }
      disposeAll(logits, targets);
    }
  });

  on('logitStats: what is no number shows, in its row alone', async () => {
    const width = 9000;
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      for (const at of [0, 8191, 8192, width - 1]) {
        const x = randomF32(3 * width, 1, 5);
        x[width + at] = bad;
        const logits = put(device, [3, width], x);
        const { numbers } = await statsOf(device, logits, null, 1.5);
        const shows = [0, 1, 2].map((row) => {
          const [lse, shannon] = [STAT.logSumExp, STAT.shannon].map((stat) => numbers[row * STAT_NUMBERS + stat]!);
          return !(Number.isFinite(lse) && Number.isFinite(shannon));
        });
        assert.equal(shows, [false, true, false], `${bad} at ${at}`);
        logits.dispose();
      }
    }
    const nothing = put(device, [1, 5], new Float32Array(5).fill(none));
    const { numbers } = await statsOf(device, nothing, null, 1);
    assert.not.ok(Number.isFinite(numbers[STAT.logSumExp]!));
    nothing.dispose();
  });

  on('logitStats: a row gets the bits that it gets as the only one, and the same again', async () => {
    for (const width of [10, 1001, 8196, 30_000]) {
      const logits = put(device, [4, width], randomF32(4 * width, 9, 7));
      const together = await statsOf(device, logits, null, 1.2);
      assert.equal(await statsOf(device, logits, null, 1.2), together);
      for (let row = 0; row < 4; row++) {
        const alone = await statsOf(device, device.rows(logits, row, 1), null, 1.2);
        assert.equal(alone.numbers, together.numbers.slice(row * STAT_NUMBERS, (row + 1) * STAT_NUMBERS));
        assert.equal(alone.places, together.places.slice(row * STAT_PLACES, (row + 1) * STAT_PLACES));
      }
      logits.dispose();
    }
  });

  on('logitStats of more rows than a dimension of workgroups', async () => {
    const rows = 65_537;
    const x = randomF32(2 * rows, 4, 5);
    const logits = put(device, [rows, 2], x);
    const got = await statsOf(device, logits, null, 1);
    for (const row of [0, 1, 40_000, 65_534, 65_535, rows - 1]) {
      compare(`row ${row}`, got, row, x.subarray(2 * row, 2 * row + 2), -1, 1);
    }
    const argmax = (row: number) => got.places[row * STAT_PLACES + STAT_PLACE.argmax];
    for (let row = 0; row < rows; row++) assert.is(argmax(row), x[2 * row]! >= x[2 * row + 1]! ? 0 : 1);
    logits.dispose();
  });

  on('topK of vocabularies of every size, with ties, minus infinity and NaN', async () => {
    const next = noise(5);
    for (const [n, k] of [
      [1, 1],
      [2, 2],
      [300, 257],
      [8193, 40],
      [49_152, 1],
      [49_152, 2000],
      [151_936, 64],
    ] as const) {
      const kinds: [string, Float32Array][] = [
        ['smooth', randomF32(n, 1, 12)],
        ['few levels', Float32Array.from({ length: n }, () => Math.round(next() * 9))],
        ['all alike', new Float32Array(n).fill(0.25)],
        ['few above minus infinity', new Float32Array(n).fill(none).fill(-7, n >> 1, (n >> 1) + 5)],
        ['close together', Float32Array.from({ length: n }, () => 1 + next() * 1e-5)],
      ];
      for (const [what, x] of kinds) {
        const t = put(device, [1, n], x);
        const [values, places] = [device.tensor('f32', [k]), device.tensor('i32', [k])];
        device.topK(t, k, values, places);
        const [a, b] = await device.read([values, places]);
        const order = [...x.keys()].sort((i, j) => (x[i] === x[j] ? i - j : x[j]! - x[i]!)).slice(0, k);
        assert.equal([...(b as Int32Array)], order, `${what}, ${k} of ${n}`);
        assert.equal(
          [...(a as Float32Array)],
          order.map((i) => x[i]!),
        );
        disposeAll(t, values, places);
      }
    }
    // a row of a matrix whose rows begin at no multiple of 16 bytes, with numbers that are none
    const x = Float32Array.from({ length: 3 * 501 }, (_, i) => (i % 7 === 3 ? Number.NaN : Math.round(next() * 30)));
    const t = put(device, [3, 501], x);
    const [values, places] = [device.tensor('f32', [60]), device.tensor('i32', [60])];
    device.topK(device.rows(t, 1, 1), 60, values, places);
    const found = (await device.read(places)) as Int32Array;
    assert.ok(found.every((at) => at >= 0 && at < 501));
    assert.is(new Set(found).size, 60);
    disposeAll(t, values, places);
  });

  if (onGpu) {
    on('pieces that a binding holds give the same bits', async () => {
      const small = await WebGpuTrainDevice.create({ bindingLimit: 65_536 });
      for (const [rows, width] of [
        [40, 3001],
        [7, 10_000],
        [30_000, 3],
      ] as const) {
        const x = randomF32(rows * width, 2, 8);
        const targets = Array.from({ length: rows }, (_, row) => (row * 31) % width);
        const results: Stats[] = [];
        for (const one of [device, small]) {
          const [logits, list] = [put(one, [rows, width], x), putInts(one, [rows], targets)];
          results.push(await statsOf(one, logits, list, 1.5));
          disposeAll(logits, list);
        }
        assert.equal(results[1], results[0], `${rows} of ${width}`);
      }
      small.close();
    });
  }
}

testNothingLeft(all, worst);

test.run();
