/** Adapters merged into their base: the same logits, each element rounded once, the rest as it was, and nothing lost on the way. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { TensorEntry } from '../../src/checkpoint/types.ts';
import { decodedTensor } from '../../src/checkpoint/write/source-tensors.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { merge as mergeInWorker } from '../../src/index.ts';
import { merge } from '../../src/local.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { loadWeights } from '../../src/model/weights.ts';
import type { ModelTarget } from '../../src/runtime/files/model-files.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { Worst } from '../device/devices.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
import { adapted, loraNames, loraReference, loraTarget } from '../model/lora-fixtures.ts';
import { logitsOf, tinyTarget } from '../model/tiny.ts';

const device = await WasmDevice.create();
const worst = new Worst();
const same = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((byte, i) => byte === b[i]);

async function merged(base: ModelTarget, options: Omit<Parameters<typeof merge>[1], 'out'>) {
  const out = memoryOutput('merged');
  const told = await merge(base, { lanes: 1, ...options, out });
  return { told, files: out.result() };
}

async function logits(decoder: Decoder, ids: readonly number[]): Promise<Float32Array> {
  const cache = decoder.cache();
  const got = await logitsOf(decoder, cache, ids);
  cache.dispose();
  decoder.dispose();
  return got;
}

async function plain(target: ModelTarget): Promise<Decoder> {
  const checkpoint = await openCheckpoint(target);
  const decoder = new Decoder(device, checkpoint.config, await loadWeights(device, checkpoint), 'exact');
  await checkpoint.close();
  return decoder;
}

async function bytesOf({ source, offset, byteLength }: TensorEntry): Promise<Uint8Array> {
  const bytes = new Uint8Array(byteLength);
  await source.readInto(offset, bytes);
  return bytes;
}

const farthest = (a: Float32Array, b: Float32Array) =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), a.length === b.length ? 0 : Infinity);

for (const name of loraNames.filter((one) => !one.startsWith('gguf'))) {
  test(`${name}: in f32 the logits are those of base and adapter`, async () => {
    const { ids, logits: peft, base } = await loraReference(name);
    const adapters = [{ from: await loraTarget(name) }];
    const all = name === 'two' ? [...adapters, { from: await loraTarget('two-second'), weight: -0.5 }] : adapters;
    const { files } = await merged(await tinyTarget(base), { adapters: all, dtype: 'f32' });
    const got = await logits(await plain(files), ids);
    const beside = await logits(await adapted(base, device, all), ids);
    const size = peft.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    assert.ok(worst.within('of the largest', farthest(got, beside) / size, 1e-5), `${farthest(got, beside)}`);
    assert.ok(worst.within("against peft's", farthest(got, peft), 1e-4), `${farthest(got, peft)}`);
  });
}

test('each element is rounded once, and all else is as it was', async () => {
  const { base } = await loraReference('llama-regex');
  const source = await openCheckpoint(await tinyTarget(base));
  const adapter = await loraTarget('llama-regex');
  const { told, files } = await merged(await tinyTarget(base), { adapters: [{ from: adapter, weight: 2 }] });
  assert.equal([told.modules, told.adapters[0]!.weight, told.notes], [7, 2, []]);
  const result = await openCheckpoint(files);
  assert.equal(result.config, source.config);
  const { openAdapter } = await import('../../src/checkpoint/adapter/open.ts');
  const { pairs, close } = await openAdapter(adapter);
  let changed = 0;
  let ties = 0;
  let elements = 0;
  for (const [tensor, entry] of source.tensors) {
    const now = result.tensors.get(tensor)!;
    assert.equal([now.type, now.shape], [entry.type, entry.shape]);
    const pair = pairs.find(({ module }) => `${module}.weight` === tensor);
    if (!pair) {
      assert.ok(same(await bytesOf(now), await bytesOf(entry)), tensor);
      continue;
    }
    changed++;
    const options = { headDim: source.config.headDim };
    const [w, got] = [await decodedTensor(entry, options), await decodedTensor(now, options)];
    const [a, b] = [await decodedTensor(pair.a, options), await decodedTensor(pair.b, options)];
    const [n, k] = entry.shape as [number, number];
    const rank = pair.a.shape[0]!;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < k; j++) {
        let sum = w[i * k + j]!;
        for (let r = 0; r < rank; r++) sum += 2 * pair.scale * b[i * rank + r]! * a[r * k + j]!;
        // f64, so that where f32 comes to lie on the other side of a tie the other neighbour is as near
        const error = Math.abs(got[i * k + j]! - sum);
        const spacing = 2 ** (Math.floor(Math.log2(Math.abs(sum) || 1e-30)) - 7);
        elements++;
        if (error > spacing / 2) ties++;
        assert.ok(error <= spacing * 0.5001 + 1e-6, `${tensor} ${i} ${j}: ${got[i * k + j]} for ${sum}`);
      }
    }
  }
  assert.is(changed, 7);
  assert.ok(ties < elements / 1000, `${ties} of ${elements}`);
  await Promise.all([source.close(), result.close(), close()]);
});

test('shards, another type, and the same bits for any lanes', async () => {
  const { base } = await loraReference('llama-regex');
  const options = { adapters: [{ from: await loraTarget('llama-regex') }], dtype: 'f16' } as const;
  const one = await merged(await tinyTarget(base), options);
  const config = JSON.parse(await one.files['config.json']!.text());
  assert.is(config.torch_dtype, 'float16');
  const sharing = typeof SharedArrayBuffer === 'function' && !('document' in globalThis);
  const other = await merged(await tinyTarget(base), { ...options, ...(sharing && { lanes: 3 }) });
  for (const [name, content] of Object.entries(one.files)) {
    assert.ok(
      same(new Uint8Array(await content.arrayBuffer()), new Uint8Array(await other.files[name]!.arrayBuffer())),
    );
  }
  const shards = await merged(await tinyTarget(base), { ...options, maxShardBytes: 20_000 });
  assert.ok(shards.told.files.length > 3);
  const { ids } = await loraReference('llama-regex');
  assert.equal(await logits(await plain(shards.files), ids), await logits(await plain(one.files), ids));
});

test('a job that was interrupted goes on, to the same bits', async () => {
  const { base } = await loraReference('llama-regex');
  const from = await loraTarget('llama-regex');
  const whole = await merged(await tinyTarget(base), { adapters: [{ from }], lanes: 1 });
  const out = memoryOutput('again');
  const stop = new AbortController();
  const onProgress = ({ done, total }: { done: number; total: number }) => {
    if (done > 0.5 * total) stop.abort();
  };
  const options = { adapters: [{ from }], out, lanes: 1 };
  await rejects('E_ABORTED', async () =>
    merge(await tinyTarget(base), { ...options, signal: stop.signal, onProgress }),
  );
  const other = { ...options, adapters: [{ from, weight: 3 }] };
  const refused = await rejects('E_ARGUMENT', async () => merge(await tinyTarget(base), other));
  assert.match(refused.message, /half written by another job/);
  let first = -1;
  await merge(await tinyTarget(base), {
    ...options,
    onProgress: ({ done }) => {
      if (first < 0) first = done;
    },
  });
  assert.ok(first > 1000, `begins at ${first}`);
  const files = out.result();
  for (const [name, content] of Object.entries(whole.files)) {
    assert.ok(
      same(new Uint8Array(await content.arrayBuffer()), new Uint8Array(await files[name]!.arrayBuffer())),
      name,
    );
  }
});

test('in a worker the same', async () => {
  const from = await loraTarget('llama-regex');
  const [here, there] = [
    await merged(await tinyFiles(), { adapters: [{ from }] }),
    await mergeInWorker(await tinyFiles(), { adapters: [{ from }], lanes: 1 }),
  ];
  assert.equal(Object.keys(there.files).sort(), Object.keys(here.files).sort());
  assert.ok(there.files['tokenizer.json']);
  const name = 'model.safetensors';
  const bytes = async (files: Readonly<Record<string, Blob>>) => new Uint8Array(await files[name]!.arrayBuffer());
  assert.ok(same(await bytes(there.files), await bytes(here.files)));
});

test('what cannot be merged', async () => {
  const gguf = await loraTarget('gguf-f16');
  const out = memoryOutput('none');
  await rejects('E_TARGET', async () => merge(await tinyTarget('gguf-llama-f16'), { adapters: [{ from: gguf }], out }));
  await rejects('E_ADAPTER', async () => merge(await tinyTarget('llama-gqa'), { adapters: [{ from: gguf }], out }));
  await rejects('E_ARGUMENT', async () => merge(await tinyTarget('llama-gqa'), { adapters: [], out }));
  await rejects('E_ARGUMENT', async () => mergeInWorker(await tinyTarget('llama-gqa'), { adapters: [] }));
  const from = await loraTarget('llama');
  const large = { adapters: [{ from, weight: 1e9 }], dtype: 'f16' } as const;
  await rejects('E_TENSOR_VALUE', async () => merged(await tinyTarget('llama-gqa'), large));
});

test('no tensor is left', () => {
  assert.is(device.stats().tensors, 0);
  device.close();
  worst.print();
});

test.run();
