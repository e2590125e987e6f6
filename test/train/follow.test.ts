// long — trains nano-base for 200 steps
/** Whole models through the trainer, step by step beside PyTorch's AdamW (test/oracles/training.py). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import { packStep } from '../../src/train/packing.ts';
import { Trainer } from '../../src/train/trainer.ts';
import { Worst } from '../device/devices.ts';
import { readJson } from '../files.ts';
import { ListedSteps } from './bigram.ts';
import { tinyTrainable } from './decoders.ts';

interface TrainingCase {
  readonly model: string;
  readonly settings: {
    readonly rate: number;
    readonly beta1: number;
    readonly beta2: number;
    readonly epsilon: number;
    readonly weightDecay: number;
    readonly clip: number;
  };
  readonly factors: { readonly balance: number; readonly z: number };
  readonly lengths: readonly number[];
  readonly seed: number;
  readonly losses: readonly number[];
}

/** Texts of each step, the oracle's: the likely tokens behind each are few. */
function chains(vocabulary: number, { seed, lengths, losses }: TrainingCase): number[][][] {
  let state = seed;
  const draw = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 16;
  };
  const chain = (length: number) => {
    const ids = [2 + (draw() % (vocabulary - 2))];
    while (ids.length < length) {
      ids.push(2 + ((ids.at(-1)! * [3, 5, 7, 7][draw() % 4]! + 11) % Math.min(vocabulary - 2, 97)));
    }
    return ids;
  };
  return losses.map(() => lengths.map(chain));
}

const worst = new Worst();
const device = await WasmTrainDevice.create();
const FIRST = 1e-3; // of the first 20 losses, relative
const LAST = 5e-3; // of the mean of the last 10

for (const one of (await readJson('test/fixtures/training.json')) as TrainingCase[]) {
  test(`${one.model}: losses are PyTorch's`, async () => {
    const { rate, ...settings } = one.settings;
    const trainable = await tinyTrainable(one.model, device);
    const steps = one.losses.length;
    const texts = chains(trainable.config.vocabSize, one);
    const source = new ListedSteps((step) => {
      const sequences = texts[step]!.map((ids) => ({
        ids: Int32Array.from(ids),
        learned: Uint8Array.from(ids, (_, i) => (i > 0 ? 1 : 0)),
      }));
      return [...packStep(sequences, 96).batches];
    });
    const losses: number[] = [];
    const trainer = new Trainer(
      trainable,
      source,
      null,
      {
        ...settings,
        ...one.factors,
        schedule: { kind: 'constant', peak: rate, warmup: 0, steps },
        ...{ freeze: [], divergence: 0, recompute: true, evaluateEvery: 0, patience: null, saveEvery: 0 },
      },
      { onStep: ({ losses: own }) => losses.push(own.crossEntropy) },
    );
    await trainer.run();
    for (const [step, loss] of losses.slice(0, 20).entries()) {
      const error = Math.abs(loss - one.losses[step]!) / one.losses[step]!;
      assert.ok(worst.within('first 20 losses', error, FIRST), `step ${step}: ${loss}, not ${one.losses[step]}`);
    }
    const last = (list: readonly number[]) => list.slice(-10).reduce((sum, loss) => sum + loss, 0) / 10;
    const error = Math.abs(last(losses) - last(one.losses)) / last(one.losses);
    assert.ok(worst.within('last of 200 losses', error, LAST), `${last(losses)}, not ${last(one.losses)}`);
    assert.ok(last(losses) < 0.8 * losses[0]!, 'it learns');
    trainer.optimiser.dispose();
    trainable.dispose();
  });
}

test('nothing is left', () => {
  assert.is(device.stats().tensors, 0, device.liveTensors().join('\n'));
  device.close();
  worst.print();
});

test.run();
