/** Cross-entropy and divergence: gradients against PyTorch's autograd and the losses themselves, and for any number of lanes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { STAT, STAT_NUMBERS, STAT_PLACES, type Tensor } from '../../src/device/device.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import { code } from '../errors.ts';
import { fixture } from '../model/shared-files.ts';
import { put, putInts, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { disposeAll, families, floats, sameBits, sharing, slopeError } from './gradients.ts';
import { randomF32, worstError } from './reference.ts';

const oracle = (await fixture('train-ops.json')).losses;
const { rows, width } = oracle as { rows: number; width: number };
const all = await trainDevices();
const alike = await families();
const worst = new Worst();

/** The numbers of `logitStats`. */
function statsOf(device: TrainDevice, logits: Tensor, targets: Tensor | null = null): Tensor {
  const n = logits.shape[0]!;
  const [numbers, places] = [device.tensor('f32', [n, STAT_NUMBERS]), device.tensor('i32', [n, STAT_PLACES])];
  device.logitStats(logits, targets, 1, numbers, places);
  places.dispose();
  return numbers;
}

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const read = (t: Tensor) => floats(device, t);
  const inputs = () => ({
    logits: put(device, [rows, width], oracle.logits),
    reference: put(device, [rows, width], oracle.reference),
    weights: put(device, [rows], oracle.weights),
    targets: putInts(device, [rows], oracle.targets),
  });

  on('crossEntropyBackward equals autograd, beside the logits and in their place', async () => {
    const { logits, reference, weights, targets } = inputs();
    const numbers = statsOf(device, logits, targets);
    const dLogits = put(device, [rows, width], oracle.reference); // is replaced
    device.crossEntropyBackward(logits, numbers, targets, weights, dLogits);
    assert.equal([...(await read(logits))], [...Float32Array.from(oracle.logits)], 'logits stay');
    const got = await read(dLogits);
    const error = worstError(got, oracle.crossEntropy);
    assert.ok(worst.within('crossEntropyBackward', error, 1e-6), `${error}`);
    // a row without a target, and one that weighs nothing
    for (const row of [2, 3]) assert.ok(got.slice(row * width, (row + 1) * width).every((v) => v === 0));
    device.crossEntropyBackward(logits, numbers, targets, weights, logits);
    assert.equal(await read(logits), got, 'dLogits may be logits');
    disposeAll(logits, reference, weights, targets, numbers, dLogits);
  });

  on('divergenceBackward equals autograd, and adds', async () => {
    const { logits, reference, weights, targets } = inputs();
    const [numbers, others] = [statsOf(device, logits), statsOf(device, reference)];
    const before = randomF32(rows * width, 1);
    const [dLogits, losses] = [put(device, [rows, width], before), device.tensor('f32', [rows])];
    device.divergenceBackward(reference, others, logits, numbers, weights, dLogits, losses);
    const want = oracle.divergence.map((v: number, i: number) => v + before[i]!);
    const error = worstError(await read(dLogits), want);
    assert.ok(worst.within('divergenceBackward', error, 1e-6), `${error}`);
    const divergences = oracle.divergences.map((v: number, row: number) => (oracle.weights[row] === 0 ? 0 : v));
    const errorLosses = worstError(await read(losses), divergences);
    assert.ok(worst.within('divergenceBackward, losses', errorLosses, 1e-6), `${errorLosses}`);
    // a model that is its own reference: nothing to lose, nothing to change
    device.write(dLogits, before);
    device.divergenceBackward(logits, numbers, logits, numbers, weights, dLogits, losses);
    assert.equal(await read(dLogits), before);
    assert.ok((await read(losses)).every((v) => v === 0));
    disposeAll(logits, reference, weights, targets, numbers, others, dLogits, losses);
  });

  on('both are the slopes of the losses', async () => {
    const { logits, reference, weights, targets } = inputs();
    const [others, dLogits, losses] = [
      statsOf(device, reference),
      device.tensor('f32', [rows, width]),
      device.tensor('f32', [rows]),
    ];
    const at = Float32Array.from(oracle.logits);
    const numbers = statsOf(device, logits, targets);
    device.crossEntropyBackward(logits, numbers, targets, weights, dLogits);
    const cross = async (x: Float32Array) => {
      device.write(logits, x);
      const t = statsOf(device, logits, targets);
      const stats = await read(t);
      t.dispose();
      const of = (row: number) => -stats[row * STAT_NUMBERS + STAT.targetLogProbability]!;
      return oracle.weights.reduce((sum: number, w: number, row: number) => sum + w * of(row), 0);
    };
    const error = await slopeError(cross, at, await read(dLogits));
    assert.ok(worst.within('slope of cross-entropy, step 1e-2', error, 1e-3), `${error}`);
    const divergence = async (x: Float32Array) => {
      device.write(logits, x);
      const t = statsOf(device, logits);
      device.fill(dLogits, 0);
      device.divergenceBackward(reference, others, logits, t, weights, dLogits, losses);
      t.dispose();
      const each = await read(losses);
      return oracle.weights.reduce((sum: number, w: number, row: number) => sum + w * each[row]!, 0);
    };
    await divergence(at);
    const errorOther = await slopeError(divergence, at, await read(dLogits));
    assert.ok(worst.within('slope of the divergence, step 1e-2', errorOther, 1e-3), `${errorOther}`);
    disposeAll(logits, reference, weights, targets, numbers, others, dLogits, losses);
  });

  on('what does not fit is refused', async () => {
    const { logits, reference, weights, targets } = inputs();
    const [numbers, dLogits, losses] = [
      statsOf(device, logits),
      device.tensor('f32', [rows, width]),
      device.tensor('f32', [rows]),
    ];
    const [few, gone] = [device.tensor('f32', [rows - 1, width]), device.tensor('f32', [rows, width])];
    gone.dispose();
    const short = device.rows(few, 0, rows - 2);
    const shapes: [string, () => void][] = [
      ['dLogits of other rows', () => device.crossEntropyBackward(logits, numbers, targets, weights, few)],
      ['logits of other rows', () => device.crossEntropyBackward(few, numbers, targets, weights, dLogits)],
      ['targets as numbers', () => device.crossEntropyBackward(logits, numbers, weights, weights, dLogits)],
      ['weights of other rows', () => device.crossEntropyBackward(logits, numbers, targets, short, dLogits)],
      [
        'a reference of other rows',
        () => device.divergenceBackward(few, numbers, logits, numbers, weights, dLogits, losses),
      ],
      [
        'losses of other rows',
        () => device.divergenceBackward(reference, numbers, logits, numbers, weights, dLogits, short),
      ],
      [
        'numbers that are none',
        () => device.divergenceBackward(reference, losses, logits, numbers, weights, dLogits, losses),
      ],
    ];
    for (const [what, run] of shapes) {
      const fits = (error: Error & { code?: string }) => error.code === 'E_SHAPE' && !error.message.includes('shares');
      assert.throws(run, fits, what);
    }
    const shared: [string, () => void][] = [
      [
        'dLogits and logits',
        () => device.divergenceBackward(reference, numbers, logits, numbers, weights, logits, losses),
      ],
      [
        'dLogits and reference',
        () => device.divergenceBackward(reference, numbers, logits, numbers, weights, reference, losses),
      ],
      [
        'losses and weights',
        () => device.divergenceBackward(reference, numbers, logits, numbers, weights, dLogits, weights),
      ],
    ];
    for (const [what, run] of shared) assert.throws(run, sharing, what);
    assert.throws(() => device.crossEntropyBackward(gone, numbers, targets, weights, dLogits), code('E_DISPOSED'));
    assert.throws(() => device.crossEntropyBackward(logits, numbers, targets, weights, gone), code('E_DISPOSED'));
    assert.throws(
      () => device.divergenceBackward(gone, numbers, logits, numbers, weights, dLogits, losses),
      code('E_DISPOSED'),
    );
    disposeAll(logits, reference, weights, targets, numbers, dLogits, losses, few);
  });
}

test('targets beyond the vocabulary: refused in debug mode, and no loss without', async () => {
  for (const debug of [true, false]) {
    const device = await WasmTrainDevice.create({ debug });
    const logits = put(device, [1, 4], [1, 2, 3, 4]);
    const [targets, weights] = [putInts(device, [1], [4]), put(device, [1], [1])];
    const numbers = statsOf(device, logits);
    const run = () => device.crossEntropyBackward(logits, numbers, targets, weights, logits);
    if (debug) assert.throws(run, code('E_SHAPE'));
    else {
      run();
      assert.equal([...(await floats(device, logits))], [0, 0, 0, 0]);
    }
    device.close();
  }
});

test('any number of lanes gives the same bits', async () => {
  const [n, vocabulary] = [37, 5003];
  await sameBits(alike, async (device) => {
    const f = (seed: number) => put(device, [n, vocabulary], randomF32(n * vocabulary, seed, 5));
    const [logits, reference, dLogits] = [f(1), f(2), f(3)];
    const [weights, losses] = [put(device, [n], randomF32(n, 4)), device.tensor('f32', [n])];
    const targets = putInts(
      device,
      [n],
      Array.from({ length: n }, (_, i) => (i * 331) % vocabulary),
    );
    const [numbers, others] = [statsOf(device, logits, targets), statsOf(device, reference)];
    device.divergenceBackward(reference, others, logits, numbers, weights, dLogits, losses);
    device.crossEntropyBackward(logits, numbers, targets, weights, logits);
    const results = await Promise.all([numbers, dLogits, losses, logits].map((t) => floats(device, t)));
    disposeAll(logits, reference, dLogits, weights, losses, targets, numbers, others);
    return results;
  });
});

testNothingLeft([...all, ...alike.flat().map((device) => ({ name: 'lanes', device }))], worst);

test.run();
