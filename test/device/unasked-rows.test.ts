/** Rows of weight 0, or without a target, are not read: whatever stands there, numbers that are none included, changes nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { STAT_NUMBERS, STAT_PLACES, type Tensor } from '../../src/device/device.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { put, putInts, testNothingLeft, testsOn, trainDevices } from './devices.ts';
import { disposeAll, floats } from './gradients.ts';
import { randomF32 } from './reference.ts';

/** Neither is a multiple of what kernels take at once. */
const [ROWS, WIDTH] = [5, 13];
const SIZE = ROWS * WIDTH;
/** Which rows are not asked. */
const UNASKED = [1, 4];
const isAsked = (row: number) => !UNASKED.includes(row);
const all = await trainDevices();

/** The same, with something else in the rows that are not asked. */
function spoilt(values: ArrayLike<number>, width: number, by: number | null): Float32Array {
  return Float32Array.from(values, (value, i) => (by === null || isAsked(Math.floor(i / width)) ? value : by));
}

function statsOf(device: TrainDevice, logits: Tensor, targets: Tensor | null, order = 1) {
  const numbers = device.tensor('f32', [ROWS, STAT_NUMBERS]);
  const places = device.tensor('i32', [ROWS, STAT_PLACES]);
  device.logitStats(logits, targets, order, numbers, places);
  return { numbers, places };
}

/** What a loss gives: its gradient by logits, which adds to ones or replaces them, and its own value by row where it has one. */
type Loss = (
  device: TrainDevice,
  made: { readonly logits: Tensor; readonly targets: Tensor; readonly weights: Tensor; readonly by: number | null },
) => Promise<readonly Float32Array[]>;

const LOSSES: Readonly<Record<string, Loss>> = {
  crossEntropyBackward: async (device, { logits, targets, weights }) => {
    const { numbers, places } = statsOf(device, logits, targets);
    const out = put(device, [ROWS, WIDTH], new Float32Array(SIZE).fill(1));
    device.crossEntropyBackward(logits, numbers, targets, weights, out);
    const got = [await floats(device, out)];
    disposeAll(numbers, places, out);
    return got;
  },
  hinge: async (device, { logits, targets, weights, by }) => {
    const { numbers, places } = statsOf(device, logits, targets);
    const [out, losses] = [put(device, [ROWS, WIDTH], new Float32Array(SIZE).fill(1)), device.tensor('f32', [ROWS])];
    device.hingeBackward(logits, numbers, places, targets, weights, out);
    // has no weights: rows are not asked by having no target
    const none = putInts(
      device,
      [ROWS],
      Array.from({ length: ROWS }, (_, row) => (isAsked(row) ? row : -1)),
    );
    device.hingeLoss(numbers, places, none, losses);
    const got = [await floats(device, out), await floats(device, losses)];
    assert.ok(by === null || UNASKED.every((row) => got[1]![row] === 0));
    disposeAll(numbers, places, out, losses, none);
    return got;
  },
  divergenceBackward: async (device, { logits, targets, weights, by }) => {
    const wanted = put(device, [ROWS, WIDTH], spoilt(randomF32(SIZE, 4), WIDTH, by));
    const [own, other] = [statsOf(device, logits, targets), statsOf(device, wanted, null)];
    const [out, losses] = [put(device, [ROWS, WIDTH], new Float32Array(SIZE).fill(1)), device.tensor('f32', [ROWS])];
    device.divergenceBackward(wanted, other.numbers, logits, own.numbers, weights, out, losses);
    const got = [await floats(device, out), await floats(device, losses)];
    assert.ok(UNASKED.every((row) => got[1]![row] === 0));
    disposeAll(wanted, own.numbers, own.places, other.numbers, other.places, out, losses);
    return got;
  },
  entropyBackward: async (device, { logits, weights, by }) => {
    const { numbers, places } = statsOf(device, logits, null, 1.5);
    const reference = put(device, [ROWS], spoilt(new Float32Array(ROWS).fill(0.5), 1, by));
    const got: Float32Array[] = [];
    for (const base of [null, reference]) {
      const out = put(device, [ROWS, WIDTH], new Float32Array(SIZE).fill(1));
      device.entropyBackward(logits, numbers, 1.5, base, weights, out);
      got.push(await floats(device, out));
      out.dispose();
    }
    disposeAll(numbers, places, reference);
    return got;
  },
};

for (const { name, device } of all) {
  const on = testsOn(name, device);
  for (const [loss, run] of Object.entries(LOSSES)) {
    on(`${loss}: rows of weight 0 may hold anything`, async () => {
      const result = async (by: number | null) => {
        const logits = put(device, [ROWS, WIDTH], spoilt(randomF32(SIZE, 3), WIDTH, by));
        const targets = putInts(device, [ROWS], [0, 1, 2, 3, 4]);
        const weights = put(
          device,
          [ROWS],
          Array.from({ length: ROWS }, (_, row) => (isAsked(row) ? 0.5 + row : 0)),
        );
        const got = await run(device, { logits, targets, weights, by });
        disposeAll(logits, targets, weights);
        return got;
      };
      const want = await result(null);
      for (const values of want) assert.ok(values.every(Number.isFinite) && values.some((value) => value !== 1));
      for (const by of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38]) {
        const got = await result(by);
        for (const [i, values] of got.entries()) {
          const asked = (list: Float32Array) => list.filter((_, at) => isAsked(Math.floor((at * ROWS) / list.length)));
          assert.ok(values.every(Number.isFinite), `${by}: ${values}`);
          assert.equal(asked(values), asked(want[i]!), `${by}`);
        }
      }
    });
  }
}

testNothingLeft(all);

test.run();
