/** Losses over rows of logits of every size that kernels tell apart, against their formulas in f64: `train-losses` and its like have short rows. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { STAT_NUMBERS, STAT_PLACES } from '../../src/device/device.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { WebGpuTrainDevice } from '../../src/device/webgpu/webgpu-train-device.ts';
import { onGpu, put, putInts, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { disposeAll } from './gradients.ts';
import { randomF32, worstError } from './reference.ts';

const all = await trainDevices();
const worst = new Worst();

interface Case {
  readonly rows: number;
  readonly width: number;
  readonly logits: Float32Array;
  readonly reference: Float32Array;
  /** What gradients are added to. */
  readonly before: Float32Array;
  readonly weights: Float32Array;
  readonly targets: readonly number[];
}

/** Row 1 has no weight, row 2 no target. */
function caseOf(rows: number, width: number): Case {
  const f = (seed: number, scale: number) => randomF32(rows * width, seed, scale);
  return {
    ...{ rows, width, logits: f(1, 7), reference: f(2, 7), before: f(3, 0.01) },
    weights: randomF32(rows, 4, 2).map((w, row) => (row === 1 ? 0 : w)),
    targets: Array.from({ length: rows }, (_, row) => (row === 2 ? -1 : (row * 7919 + width - 1) % width)),
  };
}

const NAMES = ['cross-entropy', 'divergence', 'divergences', 'hinge', 'hinge losses', 'entropy', 'squares'] as const;
const ORDER = 1.5;

/** All of them, in the order of NAMES. */
async function computed(device: TrainDevice, c: Case): Promise<Float32Array[]> {
  const { rows, width } = c;
  const matrix = (data: Float32Array) => put(device, [rows, width], data);
  const [logits, reference, weights] = [matrix(c.logits), matrix(c.reference), put(device, [rows], c.weights)];
  const targets = putInts(device, [rows], c.targets);
  const [numbers, others] = [device.tensor('f32', [rows, STAT_NUMBERS]), device.tensor('f32', [rows, STAT_NUMBERS])];
  const [places, unused] = [device.tensor('i32', [rows, STAT_PLACES]), device.tensor('i32', [rows, STAT_PLACES])];
  device.logitStats(logits, targets, ORDER, numbers, places);
  device.logitStats(reference, null, 1, others, unused);
  const [cross, hinge] = [matrix(c.before), matrix(c.logits)];
  const [divergence, entropy, squares] = [matrix(c.before), matrix(c.before), matrix(c.before)];
  const [divergences, losses] = [device.tensor('f32', [rows]), device.tensor('f32', [rows])];
  const wanted = put(device, [rows], new Float32Array(rows).fill(0.5));
  device.crossEntropyBackward(logits, numbers, targets, weights, cross);
  device.divergenceBackward(reference, others, logits, numbers, weights, divergence, divergences);
  device.hingeLoss(numbers, places, targets, losses);
  device.hingeBackward(hinge, numbers, places, targets, weights, hinge);
  device.entropyBackward(logits, numbers, ORDER, null, weights, entropy);
  device.entropyBackward(logits, numbers, ORDER, wanted, weights, squares);
  const got = [cross, divergence, divergences, hinge, losses, entropy, squares];
  const values = (await device.read(got)) as Float32Array[];
  disposeAll(...got, logits, reference, weights, targets, numbers, others, places, unused, wanted);
  return values;
}

/** The formulas of src/device/train-device.ts. */
function expected({ rows, width, logits, reference, before, weights, targets }: Case): Float64Array[] {
  const of = () => Float64Array.from(before);
  const [cross, divergence, entropy, squares] = [new Float64Array(rows * width), of(), of(), of()];
  const [hinge, divergences, losses] = [new Float64Array(rows * width), new Float64Array(rows), new Float64Array(rows)];
  const logSoftmax = (x: Float32Array): Float64Array => {
    const most = x.reduce((a, b) => Math.max(a, b));
    const lse = most + Math.log(x.reduce((sum, v) => sum + Math.exp(v - most), 0));
    return Float64Array.from(x, (v) => v - lse);
  };
  for (let row = 0; row < rows; row++) {
    const [at, w, target] = [row * width, weights[row]!, targets[row]!];
    const l = logSoftmax(logits.subarray(at, at + width));
    const p = l.map(Math.exp);
    const m = logSoftmax(reference.subarray(at, at + width));
    let other = -1;
    for (let i = 0; i < width; i++) if (i !== target && (other < 0 || p[i]! > p[other]!)) other = i;
    const [own, beside] = [target < 0 ? 0 : p[target]!, other < 0 ? 0 : p[other]!];
    losses[row] = target < 0 ? 0 : 1 + own - beside;
    const powers = p.reduce((sum, v) => sum + v ** ORDER, 0);
    const s = (1 - powers) / (ORDER - 1);
    for (let i = 0; i < width; i++) {
      const q = Math.exp(m[i]!);
      if (target >= 0) {
        cross[at + i] = w * (p[i]! - (i === target ? 1 : 0));
        hinge[at + i] = w * (p[i]! * (beside - own) + (i === target ? own : 0) - (i === other ? beside : 0));
      }
      divergence[at + i]! += w * (p[i]! - q);
      if (w !== 0) divergences[row]! += q * (m[i]! - l[i]!);
      const slope = ORDER * p[i]! * ((p[i]! ** (ORDER - 1) - 1) / (ORDER - 1) + s);
      entropy[at + i]! -= w * slope;
      squares[at + i]! -= w * 2 * (s - 0.5) * slope;
    }
  }
  return [cross, divergence, divergences, hinge, losses, entropy, squares];
}

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('losses and gradients of rows of every size', async () => {
    for (const [rows, width] of [
      [3, 1],
      [4, 2],
      [5, 4095],
      [4, 4100],
      [3, 9001],
      [2, 49_152],
    ] as const) {
      const c = caseOf(rows, width);
      const [got, want] = [await computed(device, c), expected(c)];
      for (const [i, what] of NAMES.entries()) {
        // what is left where nothing is to be changed is what f32 leaves of 1
        const size = Math.max(1e-2, ...want[i]!.map(Math.abs));
        const error = (worstError(got[i]!, want[i]!) * Math.max(...want[i]!.map(Math.abs), 1e-30)) / size;
        assert.ok(worst.within(what, error, 2e-6), `${what} of ${rows} by ${width}: ${error}`);
      }
    }
  });

  on('the same again, and of rows alone', async () => {
    const c = caseOf(3, 4999);
    const together = await computed(device, c);
    assert.equal(await computed(device, c), together);
    for (const row of [0, 1, 2]) {
      const cut = (x: Float32Array) => x.slice((row * x.length) / 3, ((row + 1) * x.length) / 3);
      const one: Case = {
        ...{ rows: 1, width: 4999, logits: cut(c.logits), reference: cut(c.reference), before: cut(c.before) },
        ...{ weights: cut(c.weights), targets: [c.targets[row]!] },
      };
      assert.equal(await computed(device, one), together.map(cut), `row ${row}`);
    }
  });

  if (onGpu) {
    on('pieces that a binding holds give the same bits', async () => {
      const small = await WebGpuTrainDevice.create({ bindingLimit: 65_536 });
      for (const [rows, width] of [
        [9, 5003],
        [2000, 12],
      ] as const) {
        const c = caseOf(rows, width);
        assert.equal(await computed(small, c), await computed(device, c), `${rows} by ${width}`);
      }
      small.close();
    });
  }
}

testNothingLeft(all, worst);

test.run();
