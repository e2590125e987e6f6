/** Unlearning by the losses of other methods: that each step is what its formula says, and what becomes of a small model. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { SequenceEncoder } from '../../src/datasets/training/encode.ts';
import type { TrainingExample, TrainingSequence } from '../../src/datasets/training/types.ts';
import { openLocal } from '../../src/open-local.ts';
import { otherAnswers } from '../../src/prune/data/other-answers.ts';
import {
  UNLEARNING_METHODS,
  type UnlearningMethod,
  type UnlearningOptions,
  unlearningSettings,
} from '../../src/prune/edit/unlearn-options.ts';
import { forgetSide, measureSequences, retainSide } from '../../src/prune/edit/unlearn-steps.ts';
import { Unlearning, type UnlearningExamples, type UnlearningHooks } from '../../src/prune/edit/unlearning.ts';
import { bytesSource } from '../../src/runtime/files/model-files.ts';
import { DecoderReference } from '../../src/train/decoder-reference.ts';
import type { DecoderTrainable, DecoderTrainableOptions } from '../../src/train/decoder-trainable.ts';
import { LoraFactors } from '../../src/train/lora-factors.ts';
import { AdamW } from '../../src/train/optimiser.ts';
import { packStep } from '../../src/train/packing.ts';
import { testNothingLeft, trainDevices, Worst } from '../device/devices.ts';
import { noise } from '../device/reference.ts';
import { code, rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { tinyDecoder } from '../model/tiny.ts';
import { gradientsOf, tinyTrainable } from '../train/decoders.ts';

const MODEL = 'llama-gqa';
const worst = new Worst();
const all = await trainDevices();
const { device } = all[0]!;
const probe = await tinyTrainable(MODEL, device);
const { vocabSize } = probe.config;
probe.dispose();

/** Ten tokens, of which the last five are the answer. */
const sequences = (count: number, seed: number): TrainingSequence[] => {
  const next = noise(seed);
  return Array.from({ length: count }, () => ({
    ids: Int32Array.from({ length: 10 }, () => Math.floor(((next() + 1) / 2) * 0.999 * vocabSize)),
    learned: Uint8Array.from({ length: 10 }, (_, t) => (t >= 5 ? 1 : 0)),
  }));
};
const [forget, retain] = [sequences(6, 1), sequences(12, 3)];
/** Two other answers, the same for all, of three tokens. */
const idk = forget.map(({ ids }) =>
  [
    [7, 8, 9],
    [11, 12, 13],
  ].map((answer) => ({
    ids: Int32Array.of(...ids.subarray(0, 5), ...answer),
    learned: Uint8Array.of(0, 0, 0, 0, 0, 1, 1, 1),
  })),
);
const examples: UnlearningExamples = { forget, retain, idk };

/** Weights of a model that has learned everything by heart. */
async function learned(): Promise<Map<string, Float32Array>> {
  const trainable = await tinyTrainable(MODEL, device);
  trainable.train(() => true);
  const optimiser = new AdamW(trainable, { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, clip: 1 });
  const { batches } = packStep([...forget, ...retain], 256);
  for (let step = 0; step < 50; step++) {
    trainable.zeroGradients();
    for (const batch of batches) await trainable.step(batch, {});
    optimiser.step(4e-3, await optimiser.norm());
  }
  optimiser.dispose();
  const weights = await bits(trainable);
  trainable.dispose();
  return weights;
}

async function bits(trainable: DecoderTrainable): Promise<Map<string, Float32Array>> {
  const list = new Map<string, Float32Array>();
  for (const { name, value } of trainable.parameters)
    list.set(name, (await trainable.device.read(value)) as Float32Array);
  return list;
}

const weights = await learned();
/** The checkpoint as it was learned. */
const asLearned = (checkpoint: Checkpoint): Checkpoint => ({
  ...checkpoint,
  tensors: new Map(
    [...checkpoint.tensors].map(([name, entry]) => {
      const values = weights.get(name)!;
      const source = bytesSource(name, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      return [name, { ...entry, type: 'f32', source, offset: 0, byteLength: values.byteLength }];
    }),
  ),
});
const decoder = await tinyDecoder(MODEL, device, 'exact', asLearned);
const { config } = decoder;

/** A trainable of it, with itself as the reference. */
const opened = (options: DecoderTrainableOptions = {}): Promise<DecoderTrainable> =>
  tinyTrainable(MODEL, device, { reference: new DecoderReference(decoder), ...options }, asLearned);

/** Mean probability of answers, a token. */
async function answers(trainable: DecoderTrainable, list: readonly TrainingSequence[]): Promise<number> {
  const { sums, tokens } = await measureSequences(list, { trainable, rows: 256, signal: undefined });
  return sums.reduce((sum, own, i) => sum + Math.exp(-own / tokens[i]!), 0) / list.length;
}

/** Fitting the tiny model: what its few layers and steps need. */
const BY: Readonly<Record<UnlearningMethod, UnlearningOptions>> = {
  'grad-ascent': { method: 'grad-ascent', rate: 1e-3 },
  'grad-diff': { method: 'grad-diff', rate: 1e-3 },
  npo: { method: 'npo', rate: 1e-3 },
  simnpo: { method: 'simnpo', rate: 1e-3 },
  'idk-dpo': { method: 'idk-dpo', rate: 1e-3 },
  rmu: { method: 'rmu', layer: 1, coefficient: 20, rate: 1e-3, retention: 10 },
  undial: { method: 'undial', rate: 1e-3 },
  wga: { method: 'wga', rate: 1e-3 },
  // what is known by heart has next to no weight
  satimp: { method: 'satimp', rate: 3e-3, forgetting: 1, beta1: 1, beta2: 0.1 },
  hinge: { method: 'hinge', rate: 2e-3 },
};
const COMMON = { batch: 3, rows: 64, epochs: 8, looks: 2 } as const;

async function run(
  trainable: DecoderTrainable,
  options: UnlearningOptions,
  hooks: UnlearningHooks = {},
): Promise<void> {
  const own = new Unlearning(trainable, examples, { ...COMMON, ...options }, hooks);
  try {
    await own.run();
  } finally {
    own.dispose();
  }
}

/** By method, what the two terms of the first step are, from cross-entropies alone; null: not said here. */
test('the first step: losses are those of the formulas', async () => {
  const trainable = await opened();
  const { sums, tokens, nll, batches } = await measureSequences(forget, { trainable, rows: 256, signal: undefined });
  const targets = [...batches[0]!.targets.entries()].flatMap(([row, target]) => (target < 0 ? [] : [nll[0]![row]!]));
  const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
  const wanted: Partial<Record<UnlearningMethod, number>> = {
    'grad-ascent': -mean(targets),
    'grad-diff': -mean(targets),
    // the reference is the model itself: −2/β ln σ(0)
    npo: (2 / 0.1) * Math.LN2,
    'idk-dpo': (2 / 0.1) * Math.LN2,
    simnpo: 0.125 * (2 / 4.5) * mean([...sums].map((sum, i) => Math.log1p(Math.exp((-4.5 * sum) / tokens[i]!)))),
    wga: -mean(targets.map((loss) => Math.exp(-loss) * loss)),
    satimp: -mean(targets.map((loss) => Math.exp(-loss) * (1 - Math.exp(-loss)) ** 0.1 * loss)),
  };
  for (const [method, want] of Object.entries(wanted) as [UnlearningMethod, number][]) {
    const own = await opened();
    let first: { forget: number; retain: number } | null = null;
    await run(
      own,
      { ...BY[method], batch: 6, epochs: 1 },
      {
        onStep: (told) => {
          first ??= told;
        },
      },
    );
    const error = Math.abs(first!.forget - want) / Math.abs(want);
    assert.ok(worst.within('losses of the first step', error, 1e-5), `${method}: ${first!.forget}, not ${want}`);
    assert.is(first!.retain > 0, method !== 'grad-ascent', method);
    own.dispose();
  }
  trainable.dispose();
});

/** Those whose weights are held fixed by their formula have no loss that changes so. */
const CHANGING = UNLEARNING_METHODS.filter((method) => method !== 'wga' && method !== 'satimp');
for (const method of CHANGING) {
  test(`${method}: gradients are what both terms of the loss change by`, async () => {
    const trainable = await opened();
    const { of } = unlearningSettings({ ...BY[method], forgetting: 0.7, retention: 0.4 });
    const wrong = Object.fromEntries([...forget, ...idk.flat()].map((_, i) => [i, 3 + i]));
    const reference = new Map([...forget, ...idk.flat()].map((own, i) => [own, wrong[i]!]));
    const direction = Float32Array.from({ length: config.hiddenSize }, (_, i) => Math.cos(i));
    const tools = { trainable, rows: 24, reference, direction, isTold: false, signal: undefined };
    const list = forget.map((sequence, i) => ({ sequence, idk: idk[i]![0]! }));
    trainable.train(({ name }) => name === 'model.layers.1.self_attn.o_proj.weight');
    const loss = async (steps: boolean): Promise<number> => {
      let sum = 0;
      for (const side of [await forgetSide(of, list, tools), retainSide(of, retain, 24)]) {
        assert.ok(side.batches.length > 1, 'several passes');
        for (const batch of side.batches) {
          const found = await (steps ? trainable.step(batch, {}) : trainable.evaluate(batch, {}));
          if (typeof side.loss === 'string') sum += found[side.loss];
        }
        if (typeof side.loss === 'number') sum += side.loss;
      }
      return sum;
    };
    await loss(true);
    for (const [name, gradient] of await gradientsOf(trainable)) {
      const { value } = trainable.parameters.find((own) => own.name === name)!;
      const before = (await device.read(value)) as Float32Array;
      const norm = Math.hypot(...gradient);
      const at = async (by: number): Promise<number> => {
        device.write(
          value,
          before.map((x, i) => x + (by * gradient[i]!) / norm),
        );
        trainable.repack();
        return loss(false);
      };
      const size = 0.01 * Math.hypot(...before);
      const slope = ((await at(size)) - (await at(-size))) / (2 * size);
      const error = Math.abs(slope / norm - 1);
      assert.ok(worst.within('finite differences', error, 1e-2), `${method}, ${name}: ${slope}, ${norm}`);
    }
    trainable.dispose();
  });
}

for (const method of UNLEARNING_METHODS) {
  test(`${method}: what is named is forgotten, and what is kept stays where the method keeps it`, async () => {
    const trainable = await opened();
    const before = [await answers(trainable, forget), await answers(trainable, retain)];
    assert.ok(before[0]! > 0.95 && before[1]! > 0.95, 'by heart');
    const looks: number[] = [];
    await run(trainable, BY[method], {
      onLook: ({ answer }) => {
        looks.push(answer);
        return undefined;
      },
    });
    const after = [await answers(trainable, forget), await answers(trainable, retain)];
    console.log(`  ${method}: forget ${after[0]!.toFixed(3)}, retain ${after[1]!.toFixed(3)}`);
    assert.is(looks.length, COMMON.epochs * COMMON.looks);
    assert.ok(looks[0]! > 0.9, `before its first steps: ${looks[0]}`);
    assert.ok(after[0]! < 0.5, `${after[0]}`);
    assert.ok(after[1]! > after[0]! + (method === 'grad-ascent' || method === 'undial' ? 0 : 0.3), `${after[1]}`);
    trainable.dispose();
  });
}

test('IdkDPO: other answers become likelier', async () => {
  const trainable = await opened();
  const before = await answers(trainable, idk.flat());
  await run(trainable, BY['idk-dpo']);
  const after = await answers(trainable, idk.flat());
  assert.ok(after > 1.5 * before, `${before} ${after}`);
  trainable.dispose();
});

test('RMU: what lies above its layer keeps its bits, and what is chosen alone is trained', async () => {
  const trainable = await opened();
  await run(trainable, { ...BY.rmu, layer: 0, epochs: 1 });
  for (const [name, values] of await bits(trainable)) {
    const isSame = values.every((x, i) => x === weights.get(name)![i]);
    assert.is(isSame, !/layers\.0\.|embed_tokens/.test(name), name);
  }
  trainable.dispose();
  const other = await opened();
  const trains = (name: string): boolean => /layers\.0\.mlp\.down_proj/.test(name);
  await run(other, { ...BY.rmu, layer: 0, epochs: 1, trains });
  for (const [name, values] of await bits(other)) {
    assert.is(
      values.some((x, i) => x !== weights.get(name)![i]),
      trains(name),
      name,
    );
  }
  other.dispose();
});

test('factors of an adapter: the model stays, a seed says all, and a look may end it', async () => {
  const results: Map<string, Float32Array>[] = [];
  let told = 0;
  for (const [seed, lora] of [
    [1, 5],
    [1, 5],
    [2, 5],
  ] as const) {
    const spec = { rank: 4, alpha: 8, rslora: false, targets: null, seed: lora };
    const trainable = await opened({ trainable: () => false, adapter: new LoraFactors(device, config, spec) });
    const steps: number[] = [];
    await run(
      trainable,
      { ...BY.npo, rate: 1e-2, seed },
      {
        onStep: ({ step, steps: of }) => steps.push(step / of),
        onReference: (done, of) => {
          told = done / of;
        },
        onLook: ({ epoch }) => (epoch === 6 ? 'end' : undefined),
      },
    );
    assert.is(steps.at(-1), 6 / 8);
    assert.ok((await answers(trainable, forget)) < 0.6);
    results.push(await bits(trainable));
    trainable.dispose();
  }
  assert.is(told, 1);
  assert.equal(results[1], results[0]);
  assert.not.equal(results[2], results[0]);
});

test('any number of lanes gives the same bits', async () => {
  const results: Map<string, Float32Array>[] = [];
  for (const { device: on } of all.filter(({ name }) => name.replace(/, \d lanes/, '') === all[0]!.name)) {
    const trainable = await tinyTrainable(MODEL, on, {}, asLearned);
    await run(trainable, { ...BY.hinge, epochs: 2 });
    results.push(await bits(trainable));
    trainable.dispose();
  }
  // the thread of a page may not wait for lanes
  assert.is(
    results.length > 1,
    all.some(({ name }) => name.endsWith('lanes')),
  );
  for (const own of results) assert.equal(own, results[0]);
});

test('what does not fit is refused before anything is computed', async () => {
  const trainable = await opened();
  const alone = await opened({ reference: undefined });
  const wrong: [string, UnlearningOptions, Partial<UnlearningExamples>?, DecoderTrainable?][] = [
    ['E_ARGUMENT', {} as UnlearningOptions],
    ['E_ARGUMENT', { method: 'none' } as unknown as UnlearningOptions],
    ['E_ARGUMENT', { method: 'npo', delta: 1 }],
    ['E_ARGUMENT', { method: 'hinge', beta: 1 }],
    ['E_ARGUMENT', { method: 'npo', beta: 0 }],
    ['E_ARGUMENT', { method: 'grad-diff', looks: 0 }],
    ['E_ARGUMENT', { method: 'grad-diff', rows: 8 }],
    ['E_ARGUMENT', { method: 'grad-diff', trains: () => false }],
    ['E_ARGUMENT', { method: 'rmu' }],
    ['E_ARGUMENT', { method: 'rmu', layer: 0 }, {}, alone],
    ['E_ARGUMENT', { method: 'undial' }, {}, alone],
    ['E_DATA_INVALID', { method: 'npo' }, { forget: [] }],
    ['E_DATA_INVALID', { method: 'npo' }, { retain: [] }],
    ['E_DATA_INVALID', { method: 'idk-dpo' }, { idk: idk.slice(1) }],
    ['E_DATA_INVALID', { method: 'idk-dpo' }, { idk: idk.map((list, i) => (i === 2 ? [] : list)) }],
  ];
  for (const [wanted, options, change = {}, on = trainable] of wrong) {
    const make = () => new Unlearning(on, { ...examples, ...change }, options);
    assert.throws(make, code(wanted), JSON.stringify(options));
  }
  // what a method does not ask for may be missing
  for (const method of ['grad-ascent', 'undial'] as const) {
    new Unlearning(trainable, { forget, retain: [] }, { method }).dispose();
  }
  new Unlearning(trainable, { forget, retain }, { method: 'npo' }).dispose();
  alone.dispose();
  trainable.dispose();
});

test('an abort, and a model that gives no numbers: weights keep their bits', async () => {
  const trainable = await opened();
  const own = new Unlearning(trainable, examples, { ...COMMON, ...BY.simnpo });
  await rejects('E_ABORTED', () => own.run(AbortSignal.abort()));
  const norm = trainable.parameters.find(({ name }) => name === 'model.norm.weight')!;
  device.fill(norm.value, Number.NaN);
  trainable.repack();
  await rejects('E_DIVERGED', () => own.run());
  own.dispose();
  for (const [name, values] of await bits(trainable)) {
    if (name !== 'model.norm.weight') assert.equal(values, weights.get(name), name);
  }
  trainable.dispose();
});

test('other answers: behind the white space of the answer, or as the last message', async () => {
  const model = await openLocal(await modelTarget('models/nano-base'));
  const encoder = new SequenceEncoder(model);
  const of = (example: TrainingExample) =>
    otherAnswers(encoder, { example, place: 'line 3' }, ['I am not sure.', 'No idea.']);
  const [first, second] = await of({ kind: 'pair', prompt: 'Who is it?\nAnswer:', answer: ' Ann' });
  const learnedOf = ({ ids, learned }: TrainingSequence) =>
    model.tokenizer.decode([...ids].filter((_, i) => learned[i] === 1));
  assert.equal(
    [first, second].map((own) => learnedOf(own!)),
    [' I am not sure.', ' No idea.'],
  );
  assert.is(model.tokenizer.decode([...first!.ids]), 'Who is it?\nAnswer: I am not sure.');
  const text = { kind: 'text', text: 'abc', first: true, last: true } as const;
  const user = { role: 'user', content: 'Who?' };
  const chat = { kind: 'chat', messages: [user] } as const;
  const twice = {
    kind: 'chat',
    messages: [user, { role: 'assistant', content: 'A' }, user, { role: 'assistant', content: 'B' }],
  } as const;
  for (const example of [text, chat, twice]) await rejects('E_DATA_INVALID', () => of(example));
  await rejects('E_ARGUMENT', () => otherAnswers(encoder, { example: text, place: 'line 3' }, []));
  model.close();
});

test('the reference can go', () => decoder.dispose());
testNothingLeft(all, worst);

test.run();
