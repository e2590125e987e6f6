/** The inverted hinge loss and its way back: against PyTorch's autograd, published values and the slope of the loss; ties; what is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Device, STAT_NUMBERS, STAT_PLACES, type Tensor } from '../../src/device/device.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import { code } from '../errors.ts';
import { fixture } from '../model/shared-files.ts';
import { put, putInts, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { disposeAll, families, floats, sameBits, sharing, slopeError } from './gradients.ts';
import { randomF32, worstError } from './reference.ts';

const oracle = (await fixture('prune-ops.json')).losses;
const { rows, width } = oracle as { rows: number; width: number };
const all = await trainDevices();
const alike = await families();
const worst = new Worst();

/** What `logitStats` gives. */
function statsOf(device: Device, logits: Tensor, targets: Tensor): { numbers: Tensor; places: Tensor } {
  const n = logits.shape[0]!;
  const [numbers, places] = [device.tensor('f32', [n, STAT_NUMBERS]), device.tensor('i32', [n, STAT_PLACES])];
  device.logitStats(logits, targets, 1, numbers, places);
  return { numbers, places };
}

/** Losses of rows, and their gradient by logits. */
async function hinge(
  device: TrainDevice,
  values: ArrayLike<number>,
  targets: readonly number[],
  weights: readonly number[] = targets.map(() => 1),
) {
  const t = targets.length;
  const [logits, list] = [put(device, [t, values.length / t], values), putInts(device, [t], targets)];
  const [factors, losses] = [put(device, [t], weights), device.tensor('f32', [t])];
  const { numbers, places } = statsOf(device, logits, list);
  device.hingeLoss(numbers, places, list, losses);
  device.hingeBackward(logits, numbers, places, list, factors, logits);
  const got = { losses: [...(await floats(device, losses))], gradient: [...(await floats(device, logits))] };
  disposeAll(logits, list, factors, losses, numbers, places);
  return got;
}

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const read = (t: Tensor) => floats(device, t);
  const inputs = () => ({
    logits: put(device, [rows, width], oracle.logits),
    weights: put(device, [rows], oracle.weights),
    targets: putInts(device, [rows], oracle.targets),
  });

  on('loss and gradient equal autograd, beside the logits and in their place', async () => {
    const { logits, weights, targets } = inputs();
    const { numbers, places } = statsOf(device, logits, targets);
    const losses = put(device, [rows], oracle.weights); // is replaced
    device.hingeLoss(numbers, places, targets, losses);
    const errorLosses = worstError(await read(losses), oracle.hinge);
    assert.ok(worst.within('hingeLoss', errorLosses, 1e-6), `${errorLosses}`);
    const dLogits = put(device, [rows, width], oracle.logits); // is replaced
    device.hingeBackward(logits, numbers, places, targets, weights, dLogits);
    assert.equal([...(await read(logits))], [...Float32Array.from(oracle.logits)], 'logits stay');
    const got = await read(dLogits);
    const error = worstError(got, oracle.d_hinge);
    assert.ok(worst.within('hingeBackward', error, 1e-6), `${error}`);
    // a row without a target, and one that weighs nothing
    for (const row of [2, 3]) assert.ok(got.slice(row * width, (row + 1) * width).every((v) => v === 0));
    device.hingeBackward(logits, numbers, places, targets, weights, logits);
    assert.equal(await read(logits), got, 'dLogits may be logits');
    disposeAll(logits, weights, targets, numbers, places, losses, dLogits);
  });

  on('published values', async () => {
    const { losses, gradient } = await hinge(device, [2, 1, 0.5, -1], [0]);
    const error = Math.abs(losses[0]! - 1.38525222);
    assert.ok(worst.within('hinge loss of (2, 1, .5, -1)', error, 2e-7), `${error}`);
    const slope = worstError(gradient, [0.37466421, -0.31058438, -0.05239003, -0.0116898]);
    assert.ok(worst.within('its slopes', slope, 5e-7), `${slope}`);
  });

  on('the lowest of equals is the runner-up; one token has none', async () => {
    // P = Q = ⅓ each: the target rises, the runner-up falls
    const third = Math.fround(1 / 3);
    for (const [target, other] of [
      [0, 1],
      [1, 0],
      [2, 0],
    ] as const) {
      const { losses, gradient } = await hinge(device, [5, 5, 5, -40], [target]);
      assert.ok(Math.abs(losses[0]! - 1) < 2e-7);
      const want = [0, 0, 0, 0];
      want[target] = third;
      want[other] = -third;
      assert.ok(worst.within('slopes at a tie', worstError(gradient, want), 1e-6), `${target}: ${gradient}`);
    }
    const none = Number.NEGATIVE_INFINITY;
    for (const [logits, target] of [
      [[3], 0],
      [[none, 3, none], 1],
    ] as const) {
      const { losses, gradient } = await hinge(device, logits, [target]);
      assert.equal(losses, [2]);
      assert.equal(
        gradient.map(Math.abs),
        logits.map(() => 0),
        'certain, with nothing to take its place',
      );
    }
    const impossible = await hinge(device, [none, 3, none], [0]);
    assert.equal(impossible.losses, [0]);
    assert.ok(impossible.gradient.every((v) => Math.abs(v) < 1e-6));
  });

  on('the gradient is the slope of the loss', async () => {
    const at = Float32Array.from(oracle.logits as number[]);
    // where two others are alike the largest has a corner
    const smooth = (oracle.weights as number[]).map((w, row) => (row >= 5 ? 0 : w));
    const loss = async (x: Float32Array) => {
      const { losses } = await hinge(device, x, oracle.targets, smooth);
      return losses.reduce((sum, value, row) => sum + smooth[row]! * value, 0);
    };
    const { gradient } = await hinge(device, at, oracle.targets, smooth);
    const error = await slopeError(loss, at, gradient);
    assert.ok(worst.within('slope of the hinge loss, step 1e-2', error, 2e-3), `${error}`);
  });

  on('what does not fit is refused', async () => {
    const { logits, weights, targets } = inputs();
    const { numbers, places } = statsOf(device, logits, targets);
    const f = (...shape: number[]) => device.tensor('f32', shape);
    const [dLogits, losses, few, gone] = [f(rows, width), f(rows), f(rows - 1, width), f(rows, width)];
    const [thin, one, room] = [f(rows, 1), f(rows), f(rows + 1, width)];
    const short = device.rows(few, 0, 1);
    gone.dispose();
    const back = (x: Tensor, n: Tensor, p: Tensor, t: Tensor, w: Tensor, d: Tensor) => () =>
      device.hingeBackward(x, n, p, t, w, d);
    const shapes: [string, () => void][] = [
      ['losses of other rows', () => device.hingeLoss(numbers, places, targets, short)],
      ['numbers that are none', () => device.hingeLoss(losses, places, targets, losses)],
      ['places that are none', () => device.hingeLoss(numbers, targets, targets, losses)],
      ['targets as numbers', () => device.hingeLoss(numbers, places, weights, losses)],
      ['dLogits of other rows', back(logits, numbers, places, targets, weights, few)],
      ['logits of other rows', back(few, numbers, places, targets, weights, dLogits)],
      ['weights of other rows', back(logits, numbers, places, targets, short, dLogits)],
      ['targets of other rows', back(logits, numbers, places, places, weights, dLogits)],
      ['places as numbers', back(logits, numbers, numbers, targets, weights, dLogits)],
    ];
    for (const [what, run] of shapes) {
      const fits = (error: Error & { code?: string }) => error.code === 'E_SHAPE' && !error.message.includes('shares');
      assert.throws(run, fits, what);
    }
    const shared: [string, () => void][] = [
      ['dLogits and weights', back(thin, numbers, places, targets, one, one)],
      [
        'dLogits and a part of logits',
        back(device.rows(room, 0, rows), numbers, places, targets, weights, device.rows(room, 1, rows)),
      ],
    ];
    for (const [what, run] of shared) assert.throws(run, sharing, what);
    assert.throws(() => device.hingeLoss(gone, places, targets, losses), code('E_DISPOSED'));
    assert.throws(back(gone, numbers, places, targets, weights, dLogits), code('E_DISPOSED'));
    disposeAll(logits, weights, targets, numbers, places, dLogits, losses, few, thin, one, room);
  });
}

test('targets and places beyond the vocabulary: refused in debug mode, and without it nothing beside is written', async () => {
  for (const debug of [true, false]) {
    const device = await WasmTrainDevice.create({ debug });
    const room = put(
      device,
      [3, 4],
      Array.from({ length: 12 }, () => 7),
    );
    const logits = device.rows(room, 1, 1);
    device.write(logits, Float32Array.of(1, 2, 3, 4));
    const [good, weights] = [putInts(device, [1], [1]), put(device, [1], [1])];
    const { numbers, places } = statsOf(device, logits, good);
    for (const [target, place] of [
      [4, 3],
      [1, 4],
      [1, 2 ** 30],
      [1, -5],
    ] as const) {
      const targets = putInts(device, [1], [target]);
      device.write(places, Int32Array.of(place, place));
      const run = () => device.hingeBackward(logits, numbers, places, targets, weights, logits);
      if (debug) assert.throws(run, code('E_SHAPE'));
      else run();
      const values = await floats(device, room);
      assert.ok(
        [...values.subarray(0, 4), ...values.subarray(8)].every((v) => v === 7),
        `${target}, ${place}`,
      );
      assert.ok(values.every(Number.isFinite));
    }
    device.close();
  }
});

test('any number of lanes gives the same bits', async () => {
  const [n, vocabulary] = [37, 5003];
  await sameBits(alike, async (device) => {
    const logits = put(device, [n, vocabulary], randomF32(n * vocabulary, 1, 5));
    const [weights, losses] = [put(device, [n], randomF32(n, 4)), device.tensor('f32', [n])];
    const targets = putInts(
      device,
      [n],
      Array.from({ length: n }, (_, i) => (i * 331) % vocabulary),
    );
    const { numbers, places } = statsOf(device, logits, targets);
    device.hingeLoss(numbers, places, targets, losses);
    device.hingeBackward(logits, numbers, places, targets, weights, logits);
    const results = await Promise.all([losses, logits].map((t) => floats(device, t)));
    disposeAll(logits, weights, losses, targets, numbers, places);
    return results;
  });
});

testNothingLeft([...all, ...alike.flat().map((device) => ({ name: 'lanes', device }))], worst);

test.run();
