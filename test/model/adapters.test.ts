/** Adapters on a model: what peft computes with the same folders (test/oracles/lora.py), and what we write computes the same. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openAdapter } from '../../src/checkpoint/adapter/open.ts';
import { adapterFiles } from '../../src/checkpoint/adapter/write.ts';
import type { Device } from '../../src/device/device.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { Worst } from '../device/devices.ts';
import { code } from '../errors.ts';
import { adapted, loraNames, loraReference, loraTarget, writtenAgain } from './lora-fixtures.ts';
import { logitsOf, tinyDecoder } from './tiny.ts';

const device: Device = await WasmDevice.create();
const worst = new Worst();
assert.ok(loraNames.length >= 13, loraNames.join());

function farthest(a: Float32Array, b: Float32Array): number {
  assert.is(a.length, b.length);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
}

async function logitsWith(base: string, ids: readonly number[], choices: Parameters<typeof adapted>[2]) {
  const decoder = await adapted(base, device, choices);
  const cache = decoder.cache();
  const logits = await logitsOf(decoder, cache, ids);
  cache.dispose();
  decoder.dispose();
  return logits;
}

for (const name of loraNames) {
  test(`${name}: logits as peft's`, async () => {
    const { ids, logits, base } = await loraReference(name);
    const choices = [{ from: await loraTarget(name) }];
    const second = name === 'two' ? [{ from: await loraTarget('two-second'), weight: -0.5 }] : [];
    const decoder = await adapted(base, device, [...choices, ...second]);
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

  test(`${name}: written again`, async () => {
    const { ids, base } = await loraReference(name);
    const before = await logitsWith(base, ids, [{ from: await loraTarget(name) }]);
    const after = await logitsWith(base, ids, [{ from: await writtenAgain(name, device, 'f32') }]);
    assert.ok(worst.within('written again', farthest(after, before), 1e-5), `${farthest(after, before)}`);
  });
}

test('what is written is as short as it can be, and rounded to its type', async () => {
  const decoder = await tinyDecoder('moe-qwen2', device, 'exact');
  const { config } = decoder;
  decoder.dispose();
  const size = { hidden: config.hiddenSize, shared: config.moe!.sharedSize };
  const sparse = config.moe!.layers[0]!;
  const q = (layer: number) => {
    const [a, b] = [
      new Float32Array(2 * size.hidden).fill(1 / 3),
      new Float32Array(2 * config.nHeads * config.headDim),
    ];
    return { layer, part: 'q' as const, rank: 2, a, b };
  };
  const gate = {
    layer: sparse,
    part: 'gate' as const,
    rank: 3,
    a: new Float32Array(3 * size.hidden),
    b: new Float32Array(3 * size.shared),
  };
  const read = (files: ReadonlyMap<string, Uint8Array>) =>
    JSON.parse(new TextDecoder().decode(files.get('adapter_config.json'))) as Record<string, unknown>;
  const common = { config, base: 'owner/name', alpha: 4, rslora: false } as const;
  const all = Array.from({ length: config.nLayers }, (_, layer) => q(layer));
  assert.equal(read(adapterFiles({ ...common, factors: all }))['target_modules'], ['q_proj']);
  const some = adapterFiles({ ...common, factors: [q(0), gate], type: 'bf16' });
  const sharedGate = `model.layers.${sparse}.mlp.shared_expert.gate_proj`;
  assert.equal(read(some)['target_modules'], ['model.layers.0.self_attn.q_proj', 'shared_expert.gate_proj']);
  assert.equal(read(some)['rank_pattern'], { [sharedGate]: 3 });
  const opened = await openAdapter(Object.fromEntries(some));
  assert.equal(
    opened.pairs.map(({ module, a, scale }) => [module, a.type, scale]),
    [
      ['model.layers.0.self_attn.q_proj', 'bf16', 2],
      [sharedGate, 'bf16', 4 / 3],
    ],
  );
  await opened.close();
  const { a, b } = q(0);
  for (const factors of [[], [q(config.nLayers)], [{ ...q(0), rank: 3 }], [{ ...q(0), a: b, b: a.subarray(1) }]]) {
    assert.throws(() => adapterFiles({ ...common, factors }), code('E_ADAPTER'));
  }
  const broken = { ...q(0), b: b.slice().fill(Number.NaN, 3, 4) };
  assert.throws(() => adapterFiles({ ...common, factors: [broken] }), code('E_TENSOR_VALUE'));
  const large = { ...q(0), a: a.slice().fill(1e5) };
  assert.throws(() => adapterFiles({ ...common, factors: [large], type: 'f16' }), code('E_TENSOR_VALUE'));
});

test('no tensor is left', () => {
  assert.is(device.stats().tensors, 0);
  device.close();
  worst.print();
});

test.run();
