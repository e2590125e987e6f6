/** Losses of unlearning, with terms of experts weighed by row: against PyTorch in f64, and what they change by. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import type { LoraTerm } from '../../src/model/lora.ts';
import { DecoderReference } from '../../src/train/decoder-reference.ts';
import type { DecoderTrainable, TrainedTerms } from '../../src/train/decoder-trainable.ts';
import { type MemoryOptions, planMemory } from '../../src/train/plan/memory.ts';
import type { MicroBatch, PassLosses } from '../../src/train/trainable.ts';
import { put, testNothingLeft, trainDevices, Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { readJson } from '../files.ts';
import { tinyDecoder } from '../model/tiny.ts';
import { batchOf, type Described, distanceTo, gradientsOf, tinyTrainable } from './decoders.ts';

/** What test/oracles/objectives.py writes. */
interface Fixture {
  readonly model: string;
  readonly reference: string;
  readonly rank: number;
  readonly scale: number;
  readonly lengths: readonly number[];
  readonly ids: readonly number[];
  readonly targets: readonly number[];
  readonly routing: readonly number[];
  readonly cases: readonly Case[];
}

interface Case {
  readonly name: string;
  readonly weights: readonly number[];
  readonly hinge: readonly number[] | null;
  readonly invariance: { order: number; base: number[] | null; weights: number[] } | null;
  readonly distillation: { penalty: number; weights: number[] } | null;
  readonly steering: { layer: number; target: number[] | null; weights: number[] } | null;
  readonly divergence: number;
  readonly losses: Omit<PassLosses, 'balance' | 'z'>;
  readonly gradients: Readonly<Record<string, Described>>;
}

const LOSSES = 1e-5; // relative
const GRADIENTS = 1e-4; // relative to their norm
const worst = new Worst();
const all = await trainDevices();
const first = all[0]!.device;
const fixture = (await readJson('test/fixtures/objectives.json')) as Fixture;
const floats = (list: readonly number[]) => Float32Array.from(list);

function asked({ weights, hinge, invariance, distillation, steering }: Case): MicroBatch {
  const rows: Partial<MicroBatch> = {
    ...(hinge && { hinge: floats(hinge) }),
    ...(invariance && {
      invariance: {
        order: invariance.order,
        base: invariance.base && floats(invariance.base),
        weights: floats(invariance.weights),
      },
    }),
    ...(steering && {
      steering: {
        layer: steering.layer,
        target: steering.target && floats(steering.target),
        weights: floats(steering.weights),
      },
    }),
    ...(distillation && { distillation: { penalty: distillation.penalty, weights: floats(distillation.weights) } }),
  };
  const factors = { balance: 0, z: 0, divergence: 0 };
  return {
    ...batchOf({ ...fixture, reference: null, weights, factors }),
    ...rows,
    routing: floats(fixture.routing),
  };
}

/** The oracle's terms on q and down of both layers. */
function termsOn(device: TrainDevice, widths: { q: readonly [number, number]; down: readonly [number, number] }) {
  const factors: TrainedTerms['factors'][number][] = [];
  const factor = (name: string, rows: number, columns: number) => {
    const seed = factors.length + 1;
    const numbers = Float32Array.from(
      { length: rows * columns },
      (_, i) => 0.3 * Math.cos((1 + seed * 0.37) * (i + 1)),
    );
    const value = put(device, [rows, columns], numbers);
    factors.push({ name, shape: [rows, columns], value, packed: null });
    return value;
  };
  const { rank, scale } = fixture;
  const site = (name: string, [n, k]: readonly [number, number]): LoraTerm[] => {
    const a = factor(`${name}.a`, rank, k);
    return [
      { a, b: factor(`${name}.b`, n, rank), scale },
      { a, b: factor(`${name}.b0`, n, rank), scale, expert: 0 },
      { a, b: factor(`${name}.b1`, n, rank), scale, expert: 1 },
    ];
  };
  const terms = new Map(
    [0, 1].map((i) => [i, { q: site(`${i}.q`, widths.q), down: site(`${i}.down`, widths.down) }] as const),
  );
  const dispose = () => {
    for (const { value } of factors) value.dispose();
  };
  return { terms, factors, dispose };
}

interface Opened {
  readonly trainable: DecoderTrainable;
  dispose(): void;
}

async function open(device: TrainDevice, withReference: boolean): Promise<Opened> {
  const decoder = withReference ? await tinyDecoder(fixture.reference, device, 'exact') : null;
  const probe = await tinyTrainable(fixture.model, device);
  const { nHeads, headDim, hiddenSize, intermediateSize } = probe.config;
  probe.dispose();
  const trainable = await tinyTrainable(fixture.model, device, {
    adapter: termsOn(device, { q: [nHeads * headDim, hiddenSize], down: [hiddenSize, intermediateSize] }),
    reference: decoder ? new DecoderReference(decoder) : undefined,
  });
  trainable.train(() => true);
  const dispose = () => {
    trainable.dispose();
    decoder?.dispose();
  };
  return { trainable, dispose };
}

async function opened<T>(
  device: TrainDevice,
  use: (trainable: DecoderTrainable) => Promise<T>,
  withReference = true,
): Promise<T> {
  const { trainable, dispose } = await open(device, withReference);
  try {
    return await use(trainable);
  } finally {
    dispose();
  }
}

interface Found {
  readonly losses: PassLosses;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** By the kernels that computed it: lanes change no bit. */
const byKernels = new Map<string, Map<string, Found>>();

for (const { name, device } of all) {
  test(`losses and gradients are those of PyTorch [${name}]`, () =>
    opened(device, async (trainable) => {
      const kernels = name.replace(/, \d lanes/, '');
      const before = byKernels.get(kernels);
      const found = new Map<string, Found>();
      for (const one of fixture.cases) {
        const [batch, options] = [asked(one), { divergence: one.divergence }];
        trainable.zeroGradients();
        const losses = await trainable.step(batch, options);
        for (const [key, want] of Object.entries(one.losses)) {
          const got = losses[key as keyof PassLosses];
          const error = want === 0 ? Math.abs(got) : Math.abs(got / want - 1);
          assert.ok(worst.within(key, error, LOSSES), `${one.name}, ${key}: ${got}, not ${want}`);
        }
        const gradients = await gradientsOf(trainable);
        for (const [key, want] of Object.entries(one.gradients)) {
          const error = want.norm === 0 ? Math.hypot(...gradients.get(key)!) : distanceTo(gradients.get(key)!, want, 0);
          assert.ok(worst.within('gradient', error, GRADIENTS), `${one.name}, ${key}: ${error}`);
        }
        assert.equal(await trainable.evaluate(batch, options), losses, `${one.name}, forward alone`);
        found.set(one.name, { losses, gradients });
      }
      if (before) assert.equal(found, before, `the same as with one lane`);
      byKernels.set(kernels, found);
    }));
}

test('factors: gradients are what the sum of all losses changes by', () =>
  opened(first, async (trainable) => {
    for (const own of ['all', 'steered, and more']) await changes(trainable, own);
  }));

async function changes(trainable: DecoderTrainable, own: string): Promise<void> {
  const one = fixture.cases.find(({ name }) => name === own)!;
  const [batch, options] = [asked(one), { divergence: one.divergence }];
  trainable.zeroGradients();
  await trainable.step(batch, options);
  const gradients = await gradientsOf(trainable);
  for (const { name, value } of trainable.parameters) {
    if (!/^\d/.test(name)) continue;
    const before = (await first.read(value)) as Float32Array;
    const gradient = gradients.get(name)!;
    const norm = Math.hypot(...gradient);
    const at = async (by: number) => {
      first.write(
        value,
        before.map((v, i) => v + (by * gradient[i]!) / norm),
      );
      const { divergence, ...others } = await trainable.evaluate(batch, options);
      return Object.values(others).reduce((sum, loss) => sum + loss, one.divergence * divergence);
    };
    // on a hinge the likeliest other token may change on the way, where steps are long
    const step = Math.min(0.01 / norm, 0.02 * Math.hypot(...before));
    const slope = ((await at(step)) - (await at(-step))) / (2 * step);
    first.write(value, before);
    const error = Math.abs(slope / norm - 1);
    assert.ok(worst.within('finite differences', error, 4e-3), `${own}, ${name}: ${error}, ${norm}`);
  }
}

test('steering alone: layers above do nothing, whatever they hold', () =>
  opened(first, async (trainable) => {
    const batch = asked(fixture.cases.find(({ name }) => name === 'steered')!);
    const before = await trainable.step(batch, {});
    const wanted = await gradientsOf(trainable);
    for (const { name, value } of trainable.parameters) {
      if (/layers\.1\.|^1\.|model\.norm/.test(name)) first.fill(value, Number.NaN);
    }
    trainable.repack();
    for (const recompute of [false, true]) {
      trainable.zeroGradients();
      assert.equal(await trainable.step(batch, { recompute }), before);
      assert.equal(await gradientsOf(trainable), wanted);
    }
    assert.equal(await trainable.evaluate(batch, {}), before);
    // what else is asked needs them
    const both = { ...batch, weights: new Float32Array(batch.ids.length).fill(1) };
    assert.ok(Number.isNaN((await trainable.evaluate(both, {})).crossEntropy));
  }));

test('ascent is descent the other way, to the bit', () =>
  opened(first, async (trainable) => {
    const batch = asked(fixture.cases.find(({ name }) => name === 'ascent')!);
    const down = await trainable.step({ ...batch, weights: batch.weights.map((w) => -w) }, {});
    const wanted = await gradientsOf(trainable);
    trainable.zeroGradients();
    const up = await trainable.step(batch, {});
    assert.is(up.crossEntropy, -down.crossEntropy);
    assert.ok(up.crossEntropy < 0);
    for (const [name, gradient] of await gradientsOf(trainable)) {
      assert.equal(
        gradient.map((v) => 0 - v),
        wanted.get(name)!.map((v) => 0 + v),
        name,
      );
    }
  }));

test('memory: the plan of what a batch asks is no less than what a step takes', async () => {
  const [rows, maxTokens] = [960, 48];
  const ones = new Float32Array(rows).fill(1);
  const ask = (batch: MicroBatch): MicroBatch => ({
    ...batch,
    hinge: ones,
    invariance: { order: 1.5, base: ones, weights: ones },
    distillation: { penalty: 1, weights: ones },
    steering: { layer: 1, target: null, weights: ones },
    routing: new Float32Array(2 * rows).fill(1),
  });
  const options = {
    rows,
    maxTokens,
    steps: 1,
    freeze: [],
    recompute: true,
    divergence: true,
    lanes: 1,
    limit: 2 ** 32,
  };
  const plan = async (own: Partial<MemoryOptions>) => {
    const load = async (device: TrainDevice) => (await open(device, true)).trainable;
    const { config } = await opened(first, async (trainable) => trainable);
    return (await planMemory(load, { config, ...options, ...own })).plan;
  };
  const [less, more] = [await plan({}), await plan({ ask })];
  const device = await WasmTrainDevice.create({ lanes: 1 });
  await opened(device, async (trainable) => {
    const position = (i: number) => i % maxTokens;
    const batch = {
      ids: new Int32Array(rows),
      positions: Int32Array.from(ones, (_, i) => position(i)),
      starts: Int32Array.from(ones, (_, i) => i - position(i)),
      targets: new Int32Array(rows),
      weights: ones,
    };
    await trainable.step(ask(batch), { divergence: 1 });
    const { peakBytes } = device.stats();
    assert.ok(less.total < more.total, `${less.total} ${more.total}`);
    assert.ok(more.total >= peakBytes, `${peakBytes} were taken, ${more.total} planned`);
    assert.ok(
      peakBytes > less.total,
      `${peakBytes} were taken, and the plan of less says ${less.total}, of more ${more.total}`,
    );
  });
  device.close();
});

test('an entropy that is missing where none is asked for is not read', () =>
  opened(
    first,
    async (trainable) => {
      const batch = asked(fixture.cases.find(({ name }) => name === 'ascent')!);
      const rows = batch.ids.length;
      const weights = Float32Array.from({ length: rows }, (_, row) => (row % 2 === 0 ? 0.1 : 0));
      const result = async (missing: number) => {
        const base = Float32Array.from(weights, (weight) => (weight === 0 ? missing : 1));
        trainable.train(() => true);
        // every row has another loss
        const own = { ...batch, weights: new Float32Array(rows).fill(1 / rows), hinge: weights };
        const losses = await trainable.step({ ...own, invariance: { order: 1.5, base, weights } }, {});
        const gradients = await gradientsOf(trainable);
        trainable.train(() => false);
        return { losses, gradients };
      };
      const want = await result(0);
      assert.ok(want.losses.invariance > 0);
      for (const missing of [Number.NaN, Number.POSITIVE_INFINITY]) assert.equal(await result(missing), want);
    },
    false,
  ));

test('what does not fit is refused', () =>
  opened(
    first,
    async (trainable) => {
      const batch = asked(fixture.cases.find(({ name }) => name === 'ascent')!);
      const rows = batch.ids.length;
      const wide = new Float32Array(trainable.config.hiddenSize);
      const [ones, short, broken] = [
        new Float32Array(rows).fill(1),
        new Float32Array(rows - 1),
        new Float32Array(rows).fill(Number.NaN),
      ];
      const wrong: Partial<MicroBatch>[] = [
        { hinge: short },
        { hinge: broken },
        { weights: broken },
        { invariance: { order: 1, base: short, weights: ones } },
        { invariance: { order: 1, base: ones, weights: short } },
        { invariance: { order: 1, base: broken, weights: ones } },
        { invariance: { order: 0, base: ones, weights: ones } },
        { invariance: { order: Number.POSITIVE_INFINITY, base: ones, weights: ones } },
        { distillation: { penalty: Number.NaN, weights: ones } },
        { distillation: { penalty: 1, weights: short } },
        { steering: { layer: 0, target: null, weights: short } },
        { steering: { layer: 2, target: null, weights: ones } },
        { steering: { layer: 0.5, target: null, weights: ones } },
        { steering: { layer: 0, target: ones, weights: ones } },
        { steering: { layer: 0, target: wide.fill(Number.NaN), weights: ones } },
        // there is no reference
        { distillation: { penalty: 1, weights: ones } },
        { steering: { layer: 0, target: null, weights: ones } },
      ];
      // from JavaScript
      for (const name of ['invariance', 'distillation', 'steering'] as const) {
        wrong.push({ [name]: { order: 1, base: null, penalty: 1, layer: 0, target: null } } as never);
      }
      wrong.push(
        { steering: { layer: 0, weights: ones } } as never,
        { invariance: { order: 1, weights: ones } } as never,
      );
      for (const change of wrong) await rejects('E_ARGUMENT', () => trainable.step({ ...batch, ...change }, {}));
      // entropies that nobody asks for may be missing
      const none = { order: 1, base: broken, weights: new Float32Array(rows) };
      const { crossEntropy } = await trainable.step(batch, {});
      assert.is((await trainable.step({ ...batch, invariance: none }, {})).crossEntropy, crossEntropy);
    },
    false,
  ));

testNothingLeft(all, worst);

test.run();
