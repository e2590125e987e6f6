/** Terms of experts in training: gradients are what losses change by, experts that no row has get none, and what does not fit is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import type { LoraTerm } from '../../src/model/lora.ts';
import type { TrainedTerms } from '../../src/train/decoder-trainable.ts';
import type { MicroBatch } from '../../src/train/trainable.ts';
import { put, Worst } from '../device/devices.ts';
import { randomF32 } from '../device/reference.ts';
import { rejects } from '../errors.ts';
import { batchOf, gradientCases, gradientsOf, tinyTrainable } from './decoders.ts';

const worst = new Worst();
const device = await WasmTrainDevice.create();
const cases = await gradientCases();
const EXPERTS = 2;

/** On q and down of the first two layers a term that is always there, and two by expert, with one A. */
function termsOn(hidden: number, heads: number, inner: number): TrainedTerms {
  const rank = 3;
  let seed = 0;
  const factors: TrainedTerms['factors'][number][] = [];
  const factor = (name: string, rows: number, columns: number) => {
    const value = put(device, [rows, columns], randomF32(rows * columns, ++seed, 0.3));
    factors.push({ name, shape: [rows, columns], value, packed: null });
    return value;
  };
  const terms = (name: string, n: number, k: number): LoraTerm[] => {
    const a = factor(`${name}.a`, rank, k);
    return [
      { a, b: factor(`${name}.b`, n, rank), scale: 0.7 },
      { a, b: factor(`${name}.b0`, n, rank), scale: 0.7, expert: 0 },
      { a, b: factor(`${name}.b1`, n, rank), scale: -0.4, expert: 1 },
    ];
  };
  const layer = (i: number) =>
    [i, { q: terms(`${i}.q`, heads, hidden), down: terms(`${i}.down`, hidden, inner) }] as const;
  return {
    terms: new Map([layer(0), layer(1)]),
    factors,
    dispose: () => {
      for (const { value } of factors) value.dispose();
    },
  };
}

async function routedTrainable(model: string) {
  const probe = await tinyTrainable(model, device);
  const { hiddenSize, nHeads, headDim, intermediateSize } = probe.config;
  probe.dispose();
  const adapter = termsOn(hiddenSize, nHeads * headDim, intermediateSize);
  return tinyTrainable(model, device, { adapter, trainable: () => false });
}

/** Coefficients by row. */
function routed(batch: MicroBatch, of: (row: number) => readonly [number, number]): MicroBatch {
  return { ...batch, routing: Float32Array.from([...batch.ids].flatMap((_, row) => of(row))) };
}

const DIFFERENCES = 2e-3; // relative; losses are about 5, in f32
for (const model of ['llama-gqa', 'gemma3', 'smollm3-window']) {
  const batch = batchOf(cases.find((one) => one.model === model)!);

  test(`${model}: gradients are what losses change by, kept or computed again`, async () => {
    const trainable = await routedTrainable(model);
    const own = routed(batch, (row) => [row % 3 === 0 ? 1 : 0, 0.5 - (row % 4) / 2]);
    trainable.train(() => true);
    await trainable.step(own, { recompute: false });
    const kept = await gradientsOf(trainable);
    trainable.zeroGradients();
    await trainable.step(own, {});
    const all = await gradientsOf(trainable);
    assert.is(all.size, 2 * 2 * 4);
    for (const [name, gradient] of all) assert.equal(gradient, kept.get(name), `${name}, again`);
    for (const { name, value } of trainable.parameters) {
      const before = (await device.read(value)) as Float32Array;
      const gradient = all.get(name)!;
      const norm = Math.hypot(...gradient);
      assert.ok(norm > 0, name);
      // along the gradient itself the loss changes by its length
      const at = async (by: number) => {
        device.write(
          value,
          before.map((v, i) => v + (by * gradient[i]!) / norm),
        );
        return (await trainable.evaluate(own, {})).crossEntropy;
      };
      const step = Math.min(0.004 / norm, 0.05 * Math.hypot(...before));
      const slope = ((await at(step)) - (await at(-step))) / (2 * step);
      device.write(value, before);
      const error = Math.abs(slope / norm - 1);
      assert.ok(worst.within('finite differences', error, DIFFERENCES), `${name}: ${error}, ${norm}`);
    }
    trainable.dispose();
  });

  test(`${model}: an expert that no row has gets no gradient, and changes nothing`, async () => {
    const trainable = await routedTrainable(model);
    trainable.train(() => true);
    const pass = async (own: MicroBatch) => {
      trainable.zeroGradients();
      const { crossEntropy } = await trainable.step(own, {});
      return { crossEntropy, gradients: await gradientsOf(trainable) };
    };
    const [none, zero, first] = [
      await pass(batch),
      await pass(routed(batch, () => [0, 0])),
      await pass(routed(batch, () => [1, 0])),
    ];
    assert.is(zero.crossEntropy, none.crossEntropy);
    assert.is.not(first.crossEntropy, none.crossEntropy);
    const isZero = (numbers: Float32Array) => numbers.every((v) => v === 0);
    for (const [name, gradient] of none.gradients) {
      assert.is(isZero(gradient), /\.b[01]$/.test(name), name);
      assert.equal(
        zero.gradients.get(name)!.map((v) => v + 0),
        gradient.map((v) => v + 0),
        name,
      );
      assert.is(isZero(first.gradients.get(name)!), name.endsWith('.b1'), name);
    }
    // what is frozen stays frozen
    trainable.train(({ name }) => name.endsWith('.b0'));
    await trainable.step(
      routed(batch, () => [1, 0]),
      {},
    );
    const alone = await gradientsOf(trainable);
    for (const [name, gradient] of alone) assert.equal(gradient, first.gradients.get(name), name);
    trainable.dispose();
  });
}

test('routing that does not fit is refused', async () => {
  const trainable = await routedTrainable('llama-gqa');
  const batch = batchOf(cases.find((one) => one.model === 'llama-gqa')!);
  const rows = batch.ids.length;
  const wrong = [new Float32Array(0), new Float32Array(rows + 1), new Float32Array(rows * EXPERTS).fill(Number.NaN)];
  for (const routing of wrong) await rejects('E_ARGUMENT', () => trainable.step({ ...batch, routing }, {}));
  // one expert, where terms have two
  await rejects('E_SHAPE', () => trainable.step({ ...batch, routing: new Float32Array(rows) }, {}));
  await trainable.step({ ...batch, routing: new Float32Array(rows * EXPERTS) }, {});
  trainable.dispose();
});

test('nothing is left on the device', () => {
  assert.is(device.stats().tensors, 0);
  device.close();
  worst.print();
});

test.run();
