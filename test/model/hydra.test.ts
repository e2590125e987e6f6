/** Adapters of HydraLoRA: numbers that compute what PyTorch computes with the same files, a plain adapter made of them, and what is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exportHydra, type HydraMatrix, readHydra } from '../../src/checkpoint/adapter/hydra.ts';
import { openAdapter } from '../../src/checkpoint/adapter/open.ts';
import { openAnyAdapter } from '../../src/checkpoint/adapter/routed.ts';
import { factorValues } from '../../src/checkpoint/adapter/values.ts';
import { tensorFile } from '../../src/checkpoint/adapter/write.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { readSafetensors } from '../../src/checkpoint/safetensors/safetensors.ts';
import { openLocal } from '../../src/open-local.ts';
import { bytesSource } from '../../src/runtime/files/model-files.ts';
import { testNothingLeft, trainDevices, Worst } from '../device/devices.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { code, rejects } from '../errors.ts';
import { readBytes, readJson } from '../files.ts';
import { readArrays } from './arrays.ts';
import { adapted } from './lora-fixtures.ts';
import { distance } from './run.ts';
import { logitsOf, tinyTarget } from './tiny.ts';

const FOLDER = 'test/fixtures/hydra';
const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const worst = new Worst();
const all = await trainDevices();
const { device } = all[0]!;
const files: Readonly<Record<string, Uint8Array>> = {
  [CONFIG]: await readBytes(`${FOLDER}/${CONFIG}`),
  [WEIGHTS]: await readBytes(`${FOLDER}/${WEIGHTS}`),
};
const json = (await readJson(`${FOLDER}/${CONFIG}`)) as Record<string, unknown>;
const reference = await readArrays(`${FOLDER}/reference.safetensors`);
const floats = (name: string): Float32Array => reference.get(name)!.data as Float32Array;
const ids = [...(reference.get('ids')!.data as Int32Array)];

async function baseOf(name: string) {
  const checkpoint = await openCheckpoint(await tinyTarget(name));
  await checkpoint.close();
  return { name, config: checkpoint.config };
}
const BASE = await baseOf('llama-gqa');
const adapter = await readHydra(files, BASE);

/** adapter_config.json with other keys; undefined takes one out. */
const saying = (change: Record<string, unknown>): Record<string, Uint8Array> => ({
  ...files,
  [CONFIG]: new TextEncoder().encode(JSON.stringify({ ...json, ...change })),
});

/** The weights with others; null takes one out. */
async function holding(change: Readonly<Record<string, readonly number[] | null>>) {
  const { tensors } = await readSafetensors(bytesSource('w', files[WEIGHTS]!));
  const kept = [...tensors].filter(([name]) => !(name in change));
  const list = [];
  for (const [name, entry] of kept) {
    list.push({ name, type: 'f32' as const, shape: entry.shape, values: (await factorValues(entry)).values });
  }
  for (const [name, shape] of Object.entries(change)) {
    if (shape)
      list.push({ name, type: 'f32' as const, shape, values: new Float32Array(shape.reduce((x, y) => x * y, 1)) });
  }
  return { ...files, [WEIGHTS]: tensorFile(list) };
}

/** What a layer adds at one position, in f64, and the coefficients of its router. */
function addedBy({ a, bs, route, rank }: HydraMatrix, x: ArrayLike<number>) {
  const dot = (w: Float32Array, row: number, v: ArrayLike<number>): number => {
    let sum = 0;
    for (let i = 0; i < v.length; i++) sum += w[row * v.length + i]! * v[i]!;
    return sum;
  };
  const logits = bs.map((_, i) => dot(route, i, x));
  const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
  const coefficients = logits.map((z) => Math.exp(z) / total);
  const inner = Array.from({ length: rank }, (_, r) => dot(a, r, x));
  const added = Array.from({ length: bs[0]!.length / rank }, (_, n) =>
    bs.reduce((sum, b, i) => sum + adapter.scale * coefficients[i]! * dot(b, n, inner), 0),
  );
  return { coefficients, added };
}

test('its numbers, by the formula, add what PyTorch adds', () => {
  assert.equal([adapter.base, adapter.rank, adapter.scale, adapter.experts], ['llama-gqa', 3, 2, 3]);
  assert.is(adapter.factors.length, 3 * BASE.config.nLayers);
  assert.equal(adapter.notes, []);
  const site = adapter.factors.find(({ layer, part }) => layer === 1 && part === 'down')!;
  const [input, coefficients, added] = [floats('input'), floats('coefficients'), floats('added')];
  const [k, n] = [input.length / ids.length, added.length / ids.length];
  for (let t = 0; t < ids.length; t++) {
    const got = addedBy(site, input.subarray(t * k, (t + 1) * k));
    const want = [coefficients.subarray(3 * t, 3 * t + 3), added.subarray(t * n, (t + 1) * n)] as const;
    assert.ok(worst.within('coefficients', distance(got.coefficients, want[0]), 1e-5));
    assert.ok(worst.within('what a layer adds', distance(got.added, want[1]), 1e-5));
  }
});

async function logitsWith(coefficients?: readonly number[]): Promise<Float32Array> {
  const from = Object.fromEntries(exportHydra(adapter, coefficients));
  const decoder = await adapted('llama-gqa', device, [{ from: from as Record<string, Uint8Array> }]);
  const cache = decoder.cache();
  const logits = await logitsOf(decoder, cache, ids);
  cache.dispose();
  decoder.dispose();
  return logits;
}

test('a plain adapter computes what PyTorch does at constant coefficients, and not what its routers do', async () => {
  const mean = await logitsWith();
  const given = await logitsWith([0.2, 0.5, 0.15]);
  assert.ok(worst.within('logits, 1 / n each', distance(mean, floats('mean')), 1e-5));
  assert.ok(worst.within('logits, given', distance(given, floats('given')), 1e-5));
  assert.ok(distance(mean, given) > 0.1);
  const routed = floats('logits');
  for (const constant of [mean, given]) assert.ok(distance(constant, routed) > 0.1, 'routers make a difference');
  const plain = await openAdapter(Object.fromEntries(exportHydra(adapter)) as Record<string, Uint8Array>);
  assert.equal([plain.config.rank, plain.config.alpha, plain.pairs.length], [3, 6, adapter.factors.length]);
  await plain.close();
  for (const wrong of [[], [1, 2], [1, 2, 3, 4], [1, Number.NaN, 0]]) {
    assert.throws(() => exportHydra(adapter, wrong), code('E_ARGUMENT'));
  }
});

test('a linear layer of transformers that is two matrices here is read as both', async () => {
  const base = await baseOf('moe-granite');
  const at = 'base_model.model.model.layers.0.shared_mlp.input_linear.lora_';
  const { hiddenSize: k, moe } = base.config;
  const n = 2 * moe!.sharedSize;
  const tensor = (factor: string, ...shape: number[]) => ({
    ...{ name: `${at}${factor}.weight`, type: 'f32' as const, shape },
    values: Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => i + 1),
  });
  const weights = tensorFile([tensor('A', 3, k), tensor('B0', n, 3), tensor('B1', n, 3), tensor('route', 2, k)]);
  const read = await readHydra({ ...saying({ lora_nums: 2 }), [WEIGHTS]: weights }, base);
  assert.equal(
    read.factors.map(({ part, bs }) => [part, bs.length, bs[1]!.length, bs[1]![0]]),
    [
      ['gate', 2, (3 * n) / 2, 1],
      ['up', 2, (3 * n) / 2, (3 * n) / 2 + 1],
    ],
  );
  const plain = await openAdapter(Object.fromEntries(exportHydra(read)) as Record<string, Uint8Array>);
  assert.equal([plain.pairs.length, plain.pairs[0]!.a.shape, plain.pairs[0]!.b.shape], [1, [3, k], [n, 3]]);
  await plain.close();
});

test('opened as an adapter it is recognised and refused, before a weight is read', async () => {
  const loading: number[] = [];
  const onProgress = (loaded: number) => void loading.push(loaded);
  // by its configuration, by its tensors, and as HydraLoRA itself leaves it
  for (const from of [
    files,
    saying({ lora_nums: undefined }),
    { [CONFIG]: files[CONFIG]!, 'adapter_model.bin': files[WEIGHTS]! },
  ]) {
    const error = await rejects('E_ADAPTER', async () =>
      openLocal(await tinyFiles(), { device, adapters: [{ from }], onProgress }),
    );
    assert.match(error.message, /HydraLoRA/);
    assert.match(error.hint, /readHydra and exportHydra/);
  }
  assert.equal(loading, []);
  await rejects('E_ADAPTER', () => openAnyAdapter(files));
  const unconverted = { [CONFIG]: files[CONFIG]!, 'adapter_model.bin': files[WEIGHTS]! };
  assert.match((await rejects('E_ADAPTER', () => readHydra(unconverted, BASE))).hint, /save_file\(torch\.load/);
});

test('without lora_nums its tensors say how many there are; what is foreign or broken is refused', async () => {
  assert.is((await readHydra(saying({ lora_nums: undefined }), BASE)).experts, 3);
  const { notes } = await readHydra(saying({ base_model_name_or_path: 'owner/other', wonder: 1 }), BASE);
  assert.match(notes.join(), /nothing is made of wonder.*trained on owner\/other/s);
  const at = 'base_model.model.model.layers.0.self_attn.q_proj.lora_';
  const { hiddenSize, nHeads, headDim } = BASE.config;
  const changes: readonly Readonly<Record<string, readonly number[] | null>>[] = [
    { [`${at}A.weight`]: null },
    { [`${at}route.weight`]: null },
    { [`${at}B1.weight`]: null },
    { [`${at}B2.weight`]: null },
    { [`${at}B3.weight`]: [nHeads * headDim, 3] },
    { [`${at}B01.weight`]: [nHeads * headDim, 3] },
    { [`${at}B.weight`]: [nHeads * headDim, 3] },
    { [`${at}route.weight`]: [2, hiddenSize] },
    { [`${at}B0.weight`]: [nHeads * headDim, 4] },
    { [`${at}B0.weight`]: [nHeads * headDim - 1, 3] },
    { [`${at}A.weight`]: [3, hiddenSize, 1] },
    { stranger: [1] },
  ];
  for (const change of changes) await rejects('E_ADAPTER', async () => readHydra(await holding(change), BASE));
  for (const change of [{ lora_nums: 4 }, { r: 2 }]) await rejects('E_ADAPTER', () => readHydra(saying(change), BASE));
  for (const lora_nums of [0, 1.5, '3']) {
    await rejects('E_CONFIG_INVALID', () => readHydra(saying({ lora_nums }), BASE));
  }
  await rejects('E_ADAPTER', async () => readHydra(files, await baseOf('qwen3')));
  await rejects('E_ADAPTER', async () => {
    const plain = Object.fromEntries(exportHydra(adapter)) as Record<string, Uint8Array>;
    return readHydra(plain, BASE);
  });
  const broken = files[WEIGHTS]!.slice();
  broken.fill(255, broken.length - 4);
  await rejects('E_TENSOR_VALUE', () => readHydra({ ...files, [WEIGHTS]: broken }, BASE));
  await rejects('E_ABORTED', () => readHydra(files, BASE, { signal: AbortSignal.abort() }));
});

testNothingLeft(all, worst);
test.run();
