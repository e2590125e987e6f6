/** Models opened with an adapter whose experts act by position: in this thread and in a worker, beside plain ones, and what is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GATE_KINDS } from '../../src/checkpoint/adapter/gate-kinds.ts';
import { exportRouted, routedFiles } from '../../src/checkpoint/adapter/routed-write.ts';
import type { ModelConfig } from '../../src/checkpoint/types.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { Engine, ShotPool as EnginePool } from '../../src/index.ts';
import type { AdapterChoice } from '../../src/model/adapter-options.ts';
import type { RoutedDecoder } from '../../src/model/routed/decoder.ts';
import { openLocal } from '../../src/open-local.ts';
import { Chain, Chains, ShotPool } from '../../src/show.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { constant, filesOf, routedAdapter } from '../model/routed-fixture.ts';
import { tinyFiles } from './tiny-model.ts';

const TEXT = 'Once upon a time, there was';
const device = await WasmDevice.create();
const lora = await modelTarget('test/fixtures/lora/llama-regex');
let config: ModelConfig;

async function opened(adapters: readonly AdapterChoice[], name?: string) {
  const model = await openLocal(await tinyFiles(name), { device, precision: 'exact', adapters });
  config = model.config;
  return model;
}

async function scored(adapters: readonly AdapterChoice[], name?: string) {
  const model = await opened(adapters, name);
  const logprobs = (await model.score(TEXT)).slice(1).map(({ logprob }) => logprob!);
  const { identity, notes, adapters: facts } = model;
  model.close();
  return { logprobs, identity, notes, facts };
}

const plain = await scored([]);
const made = routedAdapter(config!);
const routed = filesOf(routedFiles(made));
const far = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), a.length === b.length ? 0 : Number.NaN);

test('it changes what is computed, and the identity; weight multiplies its strength', async () => {
  const got = await scored([{ from: routed }]);
  assert.ok(far(got.logprobs, plain.logprobs) > 1e-3);
  assert.not.equal(got.identity, plain.identity);
  assert.equal(got.facts, [
    {
      ...got.facts[0]!,
      name: 'adapter',
      weight: 1,
      rank: 3,
      modules: 4 * config.nLayers,
      experts: ['people-1', 'people-2'],
    },
  ]);
  assert.equal(await scored([{ from: routed }]), got);
  const half = await scored([{ from: routed, weight: 0.5 }]);
  assert.ok(far(half.logprobs, got.logprobs) > 1e-4);
  assert.not.equal(half.identity, got.identity);
  const rule = { ...made.rule, strength: 0.5 };
  const weaker = await scored([{ from: filesOf(routedFiles({ ...made, rule })) }]);
  assert.equal([weaker.logprobs, weaker.identity], [half.logprobs, half.identity]);
  // experts of no strength leave what is kept
  const kept = exportRouted(made, [0, 0]).get('retain')!;
  const none = await scored([{ from: routed, weight: 0 }]);
  assert.ok(far(none.logprobs, (await scored([{ from: filesOf(kept) }])).logprobs) < 1e-5);
  // one number of the gate, or another rule
  if (made.gate.kind !== 'global') throw new Error('another gate');
  const gate = { ...made.gate, outBias: made.gate.outBias.map((value) => value + 1e-3) };
  assert.not.equal((await scored([{ from: filesOf(routedFiles({ ...made, gate })) }])).identity, got.identity);
  const other = await scored([{ from: filesOf(routedFiles({ ...made, rule: { ...made.rule, temperature: 0.9 } })) }]);
  assert.not.equal(other.identity, got.identity);
});

for (const name of ['llama-bf16', 'moe-granite', 'moe-qwen2', 'gemma3']) {
  test(`${name}: static/ computes what constant coefficients do`, async () => {
    await scored([], name);
    const coefficients = [0.3, 0.55];
    const fixed = constant(routedAdapter(config, { parts: ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] }), coefficients);
    const want = await scored([{ from: filesOf(routedFiles(fixed)) }], name);
    const folders = exportRouted(fixed, coefficients);
    assert.equal([...folders.keys()], ['retain', 'forget-1', 'forget-2', 'static']);
    const got = await scored([{ from: filesOf(folders.get('static')!) }], name);
    assert.ok(far(got.logprobs, want.logprobs) < 1e-5, `${far(got.logprobs, want.logprobs)}`);
    assert.ok(far(got.logprobs, (await scored([], name)).logprobs) > 1e-3);
    // apart they add up to the same
    const apart = ['retain', 'forget-1', 'forget-2'].map((folder, i) => {
      return { from: filesOf(folders.get(folder)!), weight: [1, ...coefficients][i]! };
    });
    assert.ok(far((await scored(apart, name)).logprobs, want.logprobs) < 1e-4);
  });
}

test('every kind of gate opens, chooses for itself, and scores many texts as one', async () => {
  const seen: number[][] = [];
  for (const kind of GATE_KINDS) {
    const model = await opened([{ from: filesOf(routedFiles(routedAdapter(made.config, { kind }))) }]);
    const alone = await model.score(TEXT);
    assert.equal(await model.scoreBatch([TEXT, 'abc']), [alone, await model.score('abc')], kind);
    seen.push(alone.slice(1).map(({ logprob }) => logprob!));
    const [one] = await model.generateBatch([TEXT, 'abc'], { maxTokens: 6 }).results();
    const again = await model.generate(TEXT, { maxTokens: 6 }).result();
    assert.equal(one && 'text' in one && one.text, again.text, kind);
    assert.is(again.timings.reused, 0, 'more than keys and values stands before a token');
    model.close();
  }
  for (const [i, a] of seen.entries()) {
    for (const b of seen.slice(i + 1)) assert.ok(far(a, b) > 1e-4, 'two gates choose alike');
  }
});

test('plain adapters act beside it, on what the gate reads too', async () => {
  const coefficients = [0.2, 0.4];
  const fixed = constant(made, coefficients);
  const merged = exportRouted(fixed, coefficients).get('static')!;
  const want = await scored([{ from: lora, weight: 0.5 }, { from: filesOf(merged) }]);
  const choices = [{ from: lora, weight: 0.5 }, { from: filesOf(routedFiles(fixed)) }];
  const got = await scored(choices);
  assert.ok(far(got.logprobs, want.logprobs) < 1e-5);
  assert.equal(
    got.facts.map(({ weight, experts }) => [weight, experts?.length]),
    [
      [0.5, undefined],
      [1, 2],
    ],
  );
  const turned = await scored([...choices].reverse());
  assert.equal(
    turned.facts.map(({ experts }) => experts?.length),
    [2, undefined],
  );
  const model = await opened([{ from: routed }, { from: lora, weight: 0.5 }]);
  const base = (model.decoder as RoutedDecoder).base;
  const alone = await opened([{ from: lora, weight: 0.5 }]);
  const layers = [base, alone.decoder].map((decoder) => decoder.weights.layers.get(0));
  assert.equal(
    layers.map((layer) => (layer as { lora?: { q?: unknown[] } }).lora?.q?.length),
    [1, 1],
  );
  model.close();
  alone.close();
});

test('all that a model does', async () => {
  const model = await opened([{ from: routed }]);
  const options = { maxTokens: 8, temperature: 0 };
  const write = async (prompt: string): Promise<string> => {
    let text = '';
    for await (const { text: piece } of model.generate(prompt, options)) text += piece;
    return text;
  };
  const alone = [await write('abc'), await write('Once upon')];
  const together = await model.generateBatch(['abc', 'Once upon'], options).results();
  assert.equal(
    together.map((result) => (result.error ? result.error.code : result.text)),
    alone,
  );
  const [one] = await model.scoreBatch([TEXT, 'abc']);
  assert.equal(one, await model.score(TEXT));
  const [vector] = await model.embed(TEXT);
  assert.ok(vector!.every(Number.isFinite));
  model.close();
});

test('in a worker the same', async () => {
  const want = await scored([{ from: routed, weight: 0.75 }]);
  const engine = await Engine.create({ lanes: 1, show: true });
  const model = await engine.open(await tinyFiles(), {
    precision: 'exact',
    adapters: [{ from: routed, weight: 0.75 }],
  });
  const got = (await model.score(TEXT)).slice(1).map(({ logprob }) => logprob!);
  assert.ok(far(got, want.logprobs) < 1e-4);
  assert.equal(model.adapters, want.facts);
  await rejects('E_ADAPTER', () => EnginePool.build(model, [{ id: 'a', text: 'abc' }]));
  await model.close();
  await engine.close();
});

test('examples are not shown to it', async () => {
  const model = await opened([{ from: routed }]);
  const before = device.stats().tensors;
  const shots = [{ id: 'a', text: 'abc' }];
  for (const work of [
    () => ShotPool.build(model, shots),
    () => Chain.create(model, shots),
    () => Chains.create(model, shots),
  ]) {
    const error = await rejects('E_ADAPTER', work);
    assert.match(error.hint, /static\//);
  }
  assert.is(device.stats().tensors, before);
  model.close();
});

test('what does not fit is refused, and leaves nothing', async () => {
  const before = device.stats().tensors;
  const loading: number[] = [];
  const refused = (adapters: readonly AdapterChoice[], signal?: AbortSignal) => async () =>
    openLocal(await tinyFiles(), {
      device,
      adapters,
      ...(signal && { signal }),
      onProgress: (loaded) => void loading.push(loaded),
    });
  const two = await rejects('E_ADAPTER', refused([{ from: routed }, { from: lora }, { from: routed }]));
  assert.match(two.message, /chosen by position/);
  await rejects('E_ADAPTER', refused([{ from: routed, weight: 1e300 }]));
  await rejects('E_ADAPTER', refused([{ from: { 'alter.json': routed['alter.json']! } }]));
  await rejects('E_ADAPTER', () => openLocal(routed));
  assert.equal(loading, [], 'before any weight is read');
  const broken = routed['alter.safetensors']!.slice();
  broken.fill(255, broken.length - 4);
  await rejects('E_TENSOR_VALUE', refused([{ from: lora }, { from: { ...routed, 'alter.safetensors': broken } }]));
  const controller = new AbortController();
  const aborting = async () =>
    openLocal(await tinyFiles(), {
      device,
      adapters: [{ from: routed }],
      signal: controller.signal,
      onProgress: (loaded, total) => void (loaded === total && controller.abort()),
    });
  await rejects('E_ABORTED', aborting);
  assert.is(device.stats().tensors, before);
});

test('no tensor is left', () => {
  assert.is(device.stats().tensors, 0);
  device.close();
});

test.run();
