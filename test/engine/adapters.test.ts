/** Models opened with adapters: in this thread and in a worker, told apart by their identity, refused before anything is loaded. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { Engine, open } from '../../src/index.ts';
import type { AdapterChoice } from '../../src/model/adapter-options.ts';
import { openLocal } from '../../src/open-local.ts';
import { rejects } from '../errors.ts';
import { modelTarget, readBytes } from '../files.ts';
import { tinyFiles } from './tiny-model.ts';

const FOLDER = 'test/fixtures/lora';
/** Of the tiny model's base, by its path or, in a browser, its files. */
const regex = await modelTarget(`${FOLDER}/llama-regex`);
const TEXT = 'Once upon a time';
const device = await WasmDevice.create();

/** Its files, new arrays at each call. */
const files = async (change: Record<string, Uint8Array> = {}) => ({
  'adapter_config.json': await readBytes(`${FOLDER}/llama-regex/adapter_config.json`),
  'adapter_model.safetensors': await readBytes(`${FOLDER}/llama-regex/adapter_model.safetensors`),
  ...change,
});

async function scored(adapters?: readonly AdapterChoice[]) {
  const model = await openLocal(await tinyFiles(), { device, precision: 'exact', ...(adapters && { adapters }) });
  const logprobs = (await model.score(TEXT)).slice(1).map(({ logprob }) => logprob!);
  const { identity, notes, adapters: facts } = model;
  model.close();
  return { logprobs, identity, notes, facts };
}

function near(a: readonly number[], b: readonly number[], bound = 1e-4): void {
  assert.is(a.length, b.length);
  for (let i = 0; i < a.length; i++) assert.ok(Math.abs(a[i]! - b[i]!) <= bound, `${i}: ${a[i]} ${b[i]}`);
}

test('an adapter changes what is computed, and the identity', async () => {
  const plain = await scored();
  const adapted = await scored([{ from: regex }]);
  assert.ok(adapted.logprobs.some((value, i) => Math.abs(value - plain.logprobs[i]!) > 0.1));
  assert.not.equal(adapted.identity, plain.identity);
  assert.equal(await scored([{ from: await files() }]), {
    ...adapted,
    facts: [{ ...adapted.facts[0]!, name: 'adapter' }],
  });
  const { weight, rank, modules, parameters } = adapted.facts[0]!;
  assert.equal([weight, rank, modules], [1, 3, 7]);
  assert.ok(parameters > 1000);
  const none = await scored([{ from: regex, weight: 0 }]);
  near(none.logprobs, plain.logprobs);
  const half = await scored([{ from: regex, weight: 0.5 }]);
  const halves = await scored([
    { from: regex, weight: 0.5 },
    { from: regex, weight: 0.5 },
  ]);
  near(halves.logprobs, adapted.logprobs);
  const all = [plain, adapted, none, half, halves].map(({ identity }) => identity);
  assert.is(new Set(all).size, all.length);
  assert.equal((await scored([])).identity, plain.identity);
  // one number of one factor
  const { 'adapter_model.safetensors': bytes } = await files();
  bytes[bytes.length - 1]! ^= 1;
  assert.not.equal(
    (await scored([{ from: await files({ 'adapter_model.safetensors': bytes }) }])).identity,
    adapted.identity,
  );
});

test('in a worker the same, by files and by path', async () => {
  const want = await scored([{ from: regex, weight: 0.75 }]);
  const engine = await Engine.create({ lanes: 1 });
  for (const from of [regex, await files()]) {
    const model = await engine.open(await tinyFiles(), {
      precision: 'exact',
      adapters: [{ from, weight: 0.75 }],
    });
    const got = (await model.score(TEXT)).slice(1).map(({ logprob }) => logprob!);
    near(got, want.logprobs);
    assert.equal(model.adapters[0]!.weight, 0.75);
    await model.close();
  }
  const given = await files();
  const one = await engine.open(await tinyFiles(), { adapters: [{ from: given }], transfer: true });
  assert.is(given['adapter_model.safetensors'].byteLength, 0, 'given away');
  await one.close();
  await engine.close();
});

test('what does not fit is refused, and leaves nothing', async () => {
  const before = device.stats().tensors;
  const loading: number[] = [];
  const refused = (adapters: unknown) => async () =>
    openLocal(await tinyFiles(), {
      device,
      adapters: adapters as AdapterChoice[],
      onProgress: (loaded) => void loading.push(loaded),
    });
  const other = await rejects('E_ADAPTER', refused([{ from: await modelTarget(`${FOLDER}/gemma3`) }]));
  assert.match(other.message, /another model/);
  await rejects('E_ADAPTER', refused([{ from: regex }, { from: await tinyFiles() }]));
  const broken = await files({ 'adapter_config.json': new TextEncoder().encode('{') });
  await rejects('E_CONFIG_INVALID', refused([{ from: broken }]));
  const much = await rejects('E_ADAPTER', refused([{ from: regex, weight: 1e300 }]));
  assert.match(much.message, /multiplied by 1e\+300 in model\.layers\.\d.* beyond f32/);
  const { lora_alpha: _, ...config } = JSON.parse(new TextDecoder().decode((await files())['adapter_config.json']));
  const alpha = new TextEncoder().encode(JSON.stringify({ ...config, lora_alpha: -1e200 }));
  await rejects('E_ADAPTER', refused([{ from: await files({ 'adapter_config.json': alpha }) }]));
  assert.equal(loading, [], 'before any weight is read');
  const { 'adapter_model.safetensors': bytes } = await files();
  bytes.fill(255, bytes.length - 4);
  await rejects('E_TENSOR_VALUE', refused([{ from: await files({ 'adapter_model.safetensors': bytes }) }]));
  for (const wrong of [
    'x',
    3,
    [3],
    [{ weight: 1 }],
    [{ from: regex, weight: Number.NaN }],
    [{ from: regex, scale: 2 }],
    [''],
  ]) {
    await rejects('E_ARGUMENT', refused(wrong));
  }
  assert.is(device.stats().tensors, before);
  const worker = await rejects('E_ADAPTER', async () => open(await files(), { lanes: 1 }));
  assert.match(worker.message, /adapter \(LoRA\) of llama-bf16/);
  device.close();
});

test.run();
