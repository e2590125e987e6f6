/** Adapters on a model: what peft computes with the same folders (test/oracles/lora.py). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device } from '../../src/device/device.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { loadAdapters, openAdapters, withAdapters } from '../../src/model/adapters.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { Worst } from '../device/devices.ts';
import { list, modelTarget, readText } from '../files.ts';
import { readArrays } from './arrays.ts';
import { logitsOf, tinyDecoder } from './tiny.ts';

const FOLDER = 'test/fixtures/lora';
const device: Device = await WasmDevice.create();
const worst = new Worst();
const names = (await list(FOLDER)).filter((name) => !name.endsWith('-second'));
assert.ok(names.length >= 13, names.join());

async function reference(name: string) {
  const arrays = await readArrays(`${FOLDER}/${name}/reference.safetensors`);
  const ids = [...(arrays.get('ids')!.data as Int32Array)];
  return {
    ids,
    logits: arrays.get('logits')!.data as Float32Array,
    base: (await readText(`${FOLDER}/${name}/base.txt`)).trim(),
  };
}

/** The base with adapters, each with a weight. */
async function adapted(base: string, adapters: readonly (readonly [name: string, weight: number])[]): Promise<Decoder> {
  const plain = await tinyDecoder(base, device, 'exact');
  const choices = [];
  for (const [name, weight] of adapters) choices.push({ from: await modelTarget(`${FOLDER}/${name}`), weight });
  const { weighed, close } = await openAdapters(choices, { name: base, config: plain.config }, {});
  const loaded = await loadAdapters(device, weighed, { withIdentity: false });
  await close();
  const weights = withAdapters(plain.weights, loaded);
  plain.ropes.dispose();
  return new Decoder(device, plain.config, weights, 'exact');
}

function farthest(a: Float32Array, b: Float32Array): number {
  assert.is(a.length, b.length);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
}

for (const name of names) {
  test(`${name}: logits as peft's`, async () => {
    const { ids, logits, base } = await reference(name);
    const decoder = await adapted(
      base,
      name === 'two'
        ? [
            ['two', 1],
            ['two-second', -0.5],
          ]
        : [[name, 1]],
    );
    const cache = decoder.cache();
    const got = await logitsOf(decoder, cache, ids);
    assert.ok(worst.within('logits', farthest(got, logits), 1e-4), `${farthest(got, logits)}`);
    // token by token, as in generation
    cache.truncate(0);
    const { vocabSize } = decoder.config;
    for (const [i, id] of ids.entries()) {
      const row = await logitsOf(decoder, cache, [id]);
      const error = farthest(row, logits.subarray(i * vocabSize, (i + 1) * vocabSize));
      assert.ok(worst.within('token by token', error, 1e-4), `${i}: ${error}`);
    }
    cache.dispose();
    decoder.dispose();
    // without it they are others
    const plain = await tinyDecoder(base, device, 'exact');
    const plainCache = plain.cache();
    assert.ok(farthest(await logitsOf(plain, plainCache, ids), logits) > 1);
    plainCache.dispose();
    plain.dispose();
  });
}

test('no tensor is left', () => {
  assert.is(device.stats().tensors, 0);
  device.close();
  worst.print();
});

test.run();
