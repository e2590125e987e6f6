/** Tsallis entropies of rows of logits against 60 digits, for orders up to and through 1, and the way back against autograd. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Device, STAT, STAT_NUMBERS, STAT_PLACES, type Tensor } from '../../src/device/device.ts';
import { code } from '../errors.ts';
import { fixture } from '../model/shared-files.ts';
import { put, putInts, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { disposeAll, families, floats, sameBits, sharing, slopeError } from './gradients.ts';
import { randomF32, worstError } from './reference.ts';

interface EntropyRow {
  readonly name: string;
  /** null: -Infinity. */
  readonly logits?: readonly (number | null)[];
  /** Made here instead: count, factor, what is added, and where the largest stands. */
  readonly long?: readonly [number, number, number, number | null];
  readonly entropies: readonly number[];
}

const oracle = await fixture('prune-ops.json');
const { orders, rows: entropyRows } = oracle.entropy as { orders: number[]; rows: EntropyRow[] };
const losses = oracle.losses;
const { rows, width } = losses as { rows: number; width: number };
const all = await trainDevices();
const alike = await families();
const worst = new Worst();

/** Of f32 sums over thousands of exponentials, beside the entropy or 1, whichever is larger. */
const STATISTIC = 5e-7;
const GRADIENT = 2e-6;

function logitsOf({ logits, long }: EntropyRow): Float32Array {
  if (!long) return Float32Array.from(logits!, (v) => v ?? Number.NEGATIVE_INFINITY);
  const [count, factor, add, largest] = long;
  return Float32Array.from({ length: count }, (_, i) => (i === largest ? 12 : ((i * 7919) % 1001) * factor + add));
}

/** The numbers of `logitStats`. */
function statsOf(device: Device, logits: Tensor, order: number): Tensor {
  const n = logits.shape[0]!;
  const [numbers, places] = [device.tensor('f32', [n, STAT_NUMBERS]), device.tensor('i32', [n, STAT_PLACES])];
  device.logitStats(logits, null, order, numbers, places);
  places.dispose();
  return numbers;
}

async function entropiesOf(device: Device, logits: Tensor, order: number): Promise<number[]> {
  const numbers = statsOf(device, logits, order);
  const stats = await floats(device, numbers);
  numbers.dispose();
  return Array.from({ length: logits.shape[0]! }, (_, row) => stats[row * STAT_NUMBERS + STAT.tsallis]!);
}

const entropyOf = async (device: Device, logits: readonly number[] | Float32Array, order: number) => {
  const x = put(device, [1, logits.length], logits);
  const [entropy] = await entropiesOf(device, x, order);
  x.dispose();
  return entropy!;
};

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('logitStats: entropies of any order, of rows of any kind', async () => {
    for (const row of entropyRows) {
      const logits = logitsOf(row);
      for (const [i, order] of orders.entries()) {
        const [got, want] = [await entropyOf(device, logits, order), row.entropies[i]!];
        const error = Math.abs(got - want) / Math.max(1, want);
        const within = worst.within(`entropy of order ${order}`, error, STATISTIC);
        assert.ok(within, `${row.name}, order ${order}: ${got} for ${want}`);
      }
    }
  });

  on('logitStats: of order 1 it is Shannon’s, and close to that beside it', async () => {
    const logits = put(device, [rows, width], losses.logits);
    const numbers = statsOf(device, logits, 1);
    const stats = await floats(device, numbers);
    const column = (stat: number) => Array.from({ length: rows }, (_, r) => stats[r * STAT_NUMBERS + stat]!);
    assert.equal(column(STAT.tsallis), column(STAT.shannon));
    for (const order of [1 - 1e-6, 1 + 1e-6, 1 - 1e-12, 1 + 1e-12]) {
      const beside = await entropiesOf(device, logits, order);
      // the slope by q is -½ Σ p ln² p, which is 2 or less for these
      const error = worstError(beside, column(STAT.shannon));
      assert.ok(worst.within('entropies beside order 1', error, 4e-6), `${order}: ${error}`);
    }
    disposeAll(logits, numbers);
  });

  on('logitStats: published values', async () => {
    const p = [0.5, 0.3, 0.2].map(Math.log);
    for (const [order, want] of [
      [0.5, 1.40408587],
      [1, 1.02965301],
      [1.5, 0.78537425],
      [2, 0.62],
    ] as const) {
      const error = Math.abs((await entropyOf(device, p, order)) - want);
      assert.ok(worst.within('entropy of (.5, .3, .2)', error, 2e-7), `${order}: ${error}`);
    }
    const error = Math.abs((await entropyOf(device, [2, 1, 0.5, -1], 1.5)) - 0.72521945);
    assert.ok(worst.within('entropy of (2, 1, .5, -1)', error, 2e-7), `${error}`);
  });

  on('entropyBackward equals autograd, and adds', async () => {
    const [logits, weights] = [put(device, [rows, width], losses.logits), put(device, [rows], losses.weights)];
    const before = randomF32(rows * width, 1);
    const dLogits = put(device, [rows, width], before);
    for (const { order, dLogits: gradient } of losses.d_entropy) {
      device.write(dLogits, before);
      const numbers = statsOf(device, logits, order);
      device.entropyBackward(logits, numbers, order, null, weights, dLogits);
      const got = await floats(device, dLogits);
      const error = worstError(
        got,
        gradient.map((v: number, i: number) => v + before[i]!),
      );
      assert.ok(worst.within('entropyBackward', error, GRADIENT), `${order}: ${error}`);
      assert.equal(got.slice(3 * width, 4 * width), before.slice(3 * width, 4 * width), 'a row of weight 0');
      numbers.dispose();
    }
    const [numbers, reference] = [statsOf(device, logits, 1.5), put(device, [rows], losses.reference)];
    device.fill(dLogits, 0);
    device.entropyBackward(logits, numbers, 1.5, reference, weights, dLogits);
    const error = worstError(await floats(device, dLogits), losses.d_squares);
    assert.ok(worst.within('entropyBackward from a reference', error, GRADIENT), `${error}`);
    // what is where it should be has no slope
    const own = put(device, [rows], await entropiesOf(device, logits, 1.5));
    device.fill(dLogits, 0);
    device.entropyBackward(logits, numbers, 1.5, own, weights, dLogits);
    assert.ok((await floats(device, dLogits)).every((v) => v === 0));
    disposeAll(logits, weights, dLogits, numbers, reference, own);
  });

  on('entropyBackward: published values, minus infinity, one token alone', async () => {
    const one = put(device, [1], [1]);
    const slopes = async (logits: readonly number[], order: number) => {
      const [x, dX] = [put(device, [1, logits.length], logits), device.tensor('f32', [1, logits.length])];
      const numbers = statsOf(device, x, order);
      device.entropyBackward(x, numbers, order, null, one, dX);
      const got = await floats(device, dX);
      disposeAll(x, dX, numbers);
      return [...got];
    };
    const want = [-0.26198665, 0.11023249, 0.10958947, 0.0421647];
    const error = worstError(await slopes([2, 1, 0.5, -1], 1.5), want);
    assert.ok(worst.within('slopes of (2, 1, .5, -1)', error, 1e-6), `${error}`);
    const none = Number.NEGATIVE_INFINITY;
    for (const order of [0.5, 1 - 1e-6, 1, 1 + 1e-6, 2]) {
      const [few, more] = [await slopes([2, 1, 0.5], order), await slopes([none, 2, none, 1, 0.5, none, none], order)];
      assert.equal(
        [0, 2, 5, 6].map((i) => Math.abs(more[i]!)),
        [0, 0, 0, 0],
        `${order}`,
      );
      assert.ok(worst.within('beside minus infinity', worstError([more[1]!, more[3]!, more[4]!], few), 1e-6));
      assert.ok((await slopes([3], order)).every((v) => Math.abs(v) < 1e-6));
    }
    one.dispose();
  });

  on('entropyBackward is the slope of the loss', async () => {
    const [logits, weights] = [put(device, [rows, width], losses.logits), put(device, [rows], losses.weights)];
    const [reference, dLogits] = [put(device, [rows], losses.reference), device.tensor('f32', [rows, width])];
    const at = Float32Array.from(losses.logits as number[]);
    for (const order of [0.8, 1, 1.5]) {
      const loss = async (x: Float32Array) => {
        device.write(logits, x);
        const entropies = await entropiesOf(device, logits, order);
        return entropies.reduce((sum, s, row) => sum + losses.weights[row] * (s - losses.reference[row]) ** 2, 0);
      };
      device.write(logits, at);
      const numbers = statsOf(device, logits, order);
      device.fill(dLogits, 0);
      device.entropyBackward(logits, numbers, order, reference, weights, dLogits);
      numbers.dispose();
      const error = await slopeError(loss, at, await floats(device, dLogits));
      assert.ok(worst.within('slope of the squares, step 1e-2', error, 1e-3), `${order}: ${error}`);
    }
    disposeAll(logits, weights, reference, dLogits);
  });

  on('what does not fit is refused', async () => {
    const f = (...shape: number[]) => device.tensor('f32', shape);
    const [logits, numbers, weights, dLogits] = [f(rows, width), f(rows, STAT_NUMBERS), f(rows), f(rows, width)];
    const [few, gone, places] = [f(rows - 1, width), f(rows, width), putInts(device, [rows], losses.targets)];
    const pairs = device.tensor('i32', [rows, STAT_PLACES]);
    gone.dispose();
    device.logitStats(logits, null, 1, numbers, pairs);
    const shapes: [string, () => void][] = [
      ['dLogits of other rows', () => device.entropyBackward(logits, numbers, 1, null, weights, few)],
      ['logits of other rows', () => device.entropyBackward(few, numbers, 1, null, weights, dLogits)],
      ['numbers that are none', () => device.entropyBackward(logits, weights, 1, null, weights, dLogits)],
      ['weights of other rows', () => device.entropyBackward(logits, numbers, 1, null, few, dLogits)],
      ['a reference of other rows', () => device.entropyBackward(logits, numbers, 1, few, weights, dLogits)],
      ['places as a reference', () => device.entropyBackward(logits, numbers, 1, places, weights, dLogits)],
      ...[0, -1, Number.NaN, Number.POSITIVE_INFINITY].flatMap((order): [string, () => void][] => [
        [`order ${order}`, () => device.entropyBackward(logits, numbers, order, null, weights, dLogits)],
        [`statistics of order ${order}`, () => device.logitStats(logits, null, order, numbers, pairs)],
      ]),
    ];
    for (const [what, run] of shapes) {
      assert.throws(
        run,
        (error: Error & { code?: string }) => error.code === 'E_SHAPE' && !sharing(error as never),
        what,
      );
    }
    // rows of one number each, so that a gradient may be any of them
    const [thin, thinNumbers, thinWeights] = [f(rows, 1), f(rows, STAT_NUMBERS), f(rows, 1)];
    const shared: [string, () => void][] = [
      ['dLogits and logits', () => device.entropyBackward(logits, numbers, 1, null, weights, logits)],
      ['dLogits and weights', () => device.entropyBackward(thin, thinNumbers, 1, null, thinWeights, thinWeights)],
      ['dLogits and reference', () => device.entropyBackward(thin, thinNumbers, 1, weights, thinWeights, weights)],
    ];
    for (const [what, run] of shared) assert.throws(run, sharing, what);
    disposeAll(thin, thinNumbers, thinWeights);
    assert.throws(() => device.entropyBackward(gone, numbers, 1, null, weights, dLogits), code('E_DISPOSED'));
    assert.throws(() => device.entropyBackward(logits, numbers, 1, gone, weights, dLogits), code('E_DISPOSED'));
    disposeAll(logits, numbers, weights, dLogits, few, places, pairs);
  });
}

test('any number of lanes gives the same bits', async () => {
  const [n, vocabulary] = [37, 5003];
  await sameBits(alike, async (device) => {
    const f = (seed: number) => put(device, [n, vocabulary], randomF32(n * vocabulary, seed, 5));
    const [logits, dLogits] = [f(1), f(2)];
    const [weights, reference] = [put(device, [n], randomF32(n, 4)), put(device, [n], randomF32(n, 5))];
    const numbers = statsOf(device, logits, 1.5);
    device.entropyBackward(logits, numbers, 1.5, reference, weights, dLogits);
    const results = await Promise.all([numbers, dLogits].map((t) => floats(device, t)));
    disposeAll(logits, dLogits, weights, reference, numbers);
    return results;
  });
});

testNothingLeft([...all, ...alike.flat().map((device) => ({ name: 'lanes', device }))], worst);

test.run();
