/** Losses of other methods and the weights that stand for their gradients: against PyTorch, and through a whole model. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import {
  gradAscent,
  idkDpo,
  meanLoss,
  npo,
  satImp,
  simNpo,
  type Weighted,
  weightedAscent,
} from '../../src/prune/objective/rivals.ts';
import { type SequenceSums, sequenceSums, sequenceWeights } from '../../src/prune/objective/sequences.ts';
import type { MicroBatch } from '../../src/train/trainable.ts';
import { Worst } from '../device/devices.ts';
import { code } from '../errors.ts';
import { readJson } from '../files.ts';
import { batchOf, gradientCases, gradientsOf, tinyTrainable } from '../train/decoders.ts';

type Case = Readonly<Record<'sums' | 'reference' | 'tokens' | 'idk' | 'idkReference' | 'nll', number[]>> &
  Readonly<Record<string, unknown>>;

const worst = new Worst();
const cases = (await readJson('test/fixtures/rivals.json')) as Case[];

function near(what: string, got: number, want: number): void {
  const error = Math.abs(got - want) / (Math.abs(want) || 1);
  assert.ok(worst.within('losses and weights', error, 1e-12), `${what}: ${got}, not ${want}`);
}

test('losses and weights are those of PyTorch', () => {
  for (const one of cases) {
    const { sums, reference, tokens, nll } = one;
    const [forget, idk] = [
      { sums, reference },
      { sums: one.idk, reference: one.idkReference },
    ];
    const found: Record<string, [number, ...Float64Array[]]> = {};
    const note = (name: string, { loss, weights }: Weighted) => {
      found[name] = [loss, weights];
    };
    note('gradAscent', gradAscent(sums, tokens));
    for (const beta of [0.1, 1.5]) {
      note(`npo ${beta}`, npo(forget, beta));
      const pairs = idkDpo(forget, idk, beta);
      found[`idkDpo ${beta}`] = [pairs.loss, pairs.forget, pairs.idk];
    }
    for (const [beta, delta] of [
      [4.5, 0],
      [2, 0.7],
    ] as const) {
      note(`simNpo ${beta.toFixed(1)} ${delta.toFixed(1)}`, simNpo(sums, tokens, { beta, delta }));
    }
    for (const beta of [1, 0.5]) note(`wga ${beta.toFixed(1)}`, weightedAscent(nll, beta));
    note('satImp 5.0 1.0', satImp(nll));
    note('satImp 1.0 0.5', satImp(nll, { beta1: 1, beta2: 0.5 }));
    const { sums: _, reference: __, tokens: ___, idk: ____, idkReference: _____, nll: ______, ...wanted } = one;
    assert.equal(Object.keys(found).sort(), Object.keys(wanted).sort());
    for (const [name, want] of Object.entries(wanted) as [string, [number, ...number[][]]][]) {
      const [loss, ...lists] = found[name]!;
      near(name, loss, want[0]);
      for (const [i, list] of lists.entries()) {
        for (const [j, weight] of list.entries()) near(`${name}, ${j}`, weight, (want[i + 1] as number[])[j]!);
      }
    }
  }
});

test('golden: NPO', () => {
  const { loss, weights } = npo({ sums: [12], reference: [10] });
  assert.ok(Math.abs(loss - 11.9627774) < 5e-8, `${loss}`);
  assert.ok(Math.abs(weights[0]! + 2 / (1 + Math.exp(0.2))) < 1e-15);
  // far from the reference there is nothing to do, or everything, and no overflow
  assert.equal(npo({ sums: [1e6], reference: [0] }), { loss: 0, weights: Float64Array.of(-0) });
  assert.equal(npo({ sums: [0], reference: [1e6] }), { loss: 2e6, weights: Float64Array.of(-2) });
});

test('what is no mean of anything is refused', () => {
  const wrong = [
    () => meanLoss([], []),
    () => meanLoss([1], [1, 2]),
    () => meanLoss([1], [0]),
    () => gradAscent([1], [1.5]),
    () => gradAscent([Number.NaN], [1]),
    () => npo({ sums: [1], reference: [] }),
    () => npo({ sums: [1], reference: [Number.POSITIVE_INFINITY] }),
    () => npo({ sums: [], reference: [] }),
    () => npo({ sums: [1], reference: [1] }, 0),
    () => npo({ sums: [1], reference: [1] }, Number.NaN),
    () => simNpo([1], [1], { beta: -1, delta: 0 }),
    () => simNpo([1], [1], { beta: 1, delta: Number.NaN }),
    () => idkDpo({ sums: [1], reference: [1] }, { sums: [1, 2], reference: [1, 2] }),
    () => weightedAscent([]),
    () => weightedAscent([1], Number.NaN),
    () => satImp([Number.NaN]),
    () => sequenceSums({ starts: Int32Array.of(0), targets: Int32Array.of(1) }, [1, 2]),
    () => sequenceWeights({ starts: Int32Array.of(0, 1), targets: Int32Array.of(1, 1) }, [1]),
  ];
  for (const [i, one] of wrong.entries()) assert.throws(one, code('E_ARGUMENT'), `${i}`);
});

const device = await WasmTrainDevice.create();
const batch = batchOf((await gradientCases()).find(({ model }) => model === 'llama-gqa')!);
/** Of three sequences, as they are without training, and somewhat beside. */
const referred = (sums: Float64Array) => ({ sums, reference: [60, 10, 70] });

/** The objectives, from the cross-entropies of the rows of a pass. */
const OBJECTIVES: Record<string, (found: SequenceSums, nll: Float32Array) => { loss: number; weights: Float32Array }> =
  {
    ascent: ({ sums, tokens }) => spread(gradAscent(sums, tokens)),
    difference: ({ sums, tokens }) => {
      // the last two sequences are retained
      const [forget, retain] = [
        gradAscent(sums.subarray(0, 1), tokens.subarray(0, 1)),
        meanLoss(sums.subarray(1), tokens.subarray(1)),
      ];
      return spread({
        loss: forget.loss + retain.loss,
        weights: Float64Array.of(...forget.weights, ...retain.weights),
      });
    },
    npo: ({ sums }) => spread(npo(referred(sums))),
    // not far from the middle, where there is something to measure
    simNpo: ({ sums, tokens }) => spread(simNpo(sums, tokens, { beta: 0.5, delta: 4 })),
    idkDpo: ({ sums }) => {
      const [forget, idk] = [0, 2].map((i) => ({
        sums: sums.subarray(i, i + 1),
        reference: referred(sums).reference.slice(i, i + 1),
      }));
      const found = idkDpo(forget!, idk!);
      return spread({ loss: found.loss, weights: Float64Array.of(...found.forget, 0, ...found.idk) });
    },
  };

function spread({ loss, weights }: Weighted) {
  return { loss, weights: sequenceWeights(batch, weights) };
}

for (const [name, objective] of Object.entries(OBJECTIVES)) {
  test(`${name}: the gradient of the weighted cross-entropy is what the loss changes by`, async () => {
    const trainable = await tinyTrainable('llama-gqa', device);
    trainable.train(({ name }) => name === 'model.layers.1.self_attn.o_proj.weight' || name === 'model.norm.weight');
    const ones = { ...batch, weights: new Float32Array(batch.ids.length).fill(1) };
    const look = async () => {
      let found: Float32Array | null = null;
      const { crossEntropy } = await trainable.evaluate(ones, {
        onRows: (nll) => {
          found = nll;
        },
      });
      const sums = sequenceSums(batch, found!);
      assert.ok(Math.abs(sums.sums.reduce((a, b) => a + b) - crossEntropy) < 1e-4 * crossEntropy);
      return objective(sums, found!);
    };
    const own: MicroBatch = { ...batch, weights: (await look()).weights };
    await trainable.step(own, {});
    for (const [at, gradient] of await gradientsOf(trainable)) {
      const { value } = trainable.parameters.find((one) => one.name === at)!;
      const before = (await device.read(value)) as Float32Array;
      const norm = Math.hypot(...gradient);
      const size = Math.min(0.05 / norm, 0.03 * Math.hypot(...before));
      const loss = async (by: number) => {
        device.write(
          value,
          before.map((v, i) => v + (by * gradient[i]!) / norm),
        );
        trainable.repack();
        return (await look()).loss;
      };
      const slope = ((await loss(size)) - (await loss(-size))) / (2 * size);
      device.write(value, before);
      trainable.repack();
      const error = Math.abs(slope / norm - 1);
      assert.ok(worst.within('finite differences', error, 5e-3), `${at}: ${error}, ${norm}`);
    }
    trainable.dispose();
  });
}

test('nothing is left on the device', () => {
  assert.is(device.stats().tensors, 0);
  device.close();
  worst.print();
});

test.run();
