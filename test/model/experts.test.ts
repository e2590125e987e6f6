/** Mixtures of experts, as tiny models with random weights, against Hugging Face transformers (test/oracles/tiny_moe.py). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { Decoder } from '../../src/model/decoder.ts';
import { ExpertLoad, expertLoad } from '../../src/model/expert-load.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { rejects } from '../errors.ts';
import { readBytes, readJson } from '../files.ts';
import { distance, runAll } from './run.ts';
import { logitsOf, moeNames, tinyDecoder, tinyReference } from './tiny.ts';

const worst = new Worst();
const devices = [
  ['default', await WasmDevice.create()],
  ['plain SIMD', await WasmDevice.create({ relaxed: false })],
] as const;
const [, device] = devices[0];

const LOGITS = 2e-4; // of the largest
const HIDDEN = 1e-3; // relative
const SAME = 1e-5; // decode against prefill, one row against all

test('all 13 models are there', () => assert.is(moeNames.length, 13));

for (const [where, on] of devices) {
  for (const name of moeNames) {
    test(`${name} equals transformers [${where}]`, async () => {
      const want = await tinyReference(name);
      assert.ok(want.ids.length >= 16 && want.hidden.length >= 3);
      const before = on.stats().tensors;
      const decoder = await tinyDecoder(name, on, 'exact');
      assert.is(want.hidden.length, decoder.config.nLayers + 1);
      const got = await runAll(decoder, want.ids);
      const error = worstError(got.logits, want.logits);
      assert.ok(worst.within('logits, of the largest', error, LOGITS), `${error}`);
      for (const [i, state] of want.hidden.entries()) {
        const away = distance(got.hidden[i]!, state);
        assert.ok(worst.within('hidden states, relative', away, HIDDEN), `${i}: ${away}`);
      }
      const cache = decoder.cache();
      const rows: number[] = [];
      for (const id of want.ids) rows.push(...(await logitsOf(decoder, cache, [id])));
      const apart = worstError(rows, got.logits);
      assert.ok(worst.within('decode token by token against prefill, of the largest', apart, SAME), `${apart}`);
      cache.dispose();
      decoder.dispose();
      assert.is(on.stats().tensors, before);
    });
  }
}

/** The same weights under our own config.json. */
async function own(name: string, changes: object): Promise<Checkpoint> {
  const folder = `test/fixtures/tiny/${name}`;
  const stock = await readJson(`${folder}/config.json`);
  const config = { ...stock, model_type: 'espalier_moe', ...changes };
  return openCheckpoint({
    'config.json': new TextEncoder().encode(JSON.stringify(config)),
    'model.safetensors': await readBytes(`${folder}/model.safetensors`),
  });
}

test('espalier_moe says what the stock architectures say', async () => {
  const shared = { shared_expert_intermediate_size: 24 };
  for (const [name, changes] of [
    [
      'moe-mixtral',
      {
        base_model_type: 'mistral',
        moe_layers: [0, 1],
        num_experts: 8,
        moe_intermediate_size: 16,
        norm_topk_prob: true,
      },
    ],
    ['moe-qwen2', { base_model_type: 'qwen2', moe_layers: [1], shared_expert_gate: true }],
    ['moe-qwen3', { base_model_type: 'qwen3', moe_layers: [0, 1] }],
    [
      'moe-granite-bf16', // whose factors are 1
      {
        ...{ base_model_type: 'llama', moe_layers: [0, 1], num_experts: 8, moe_intermediate_size: 16, ...shared },
        scoring_func: 'selected-softmax',
      },
    ],
  ] as const) {
    const { ids } = await tinyReference(name);
    const stock = await tinyDecoder(name, device, 'exact');
    const twin = await tinyDecoder(name, device, 'exact', () => own(name, changes));
    assert.is(twin.config.architecture, 'espalier_moe');
    assert.equal((await runAll(twin, ids)).logits, (await runAll(stock, ids)).logits, name);
    stock.dispose();
    twin.dispose();
  }
  // and it matters: without renormalising, or without the gate of the shared expert, it is another model
  for (const [name, changes] of [
    ['moe-mixtral', { base_model_type: 'mistral', moe_layers: [0, 1], num_experts: 8, moe_intermediate_size: 16 }],
    ['moe-qwen3', { base_model_type: 'qwen3', moe_layers: [0, 1], routed_scaling_factor: 1.1 }],
  ] as const) {
    const want = await tinyReference(name);
    const other = await tinyDecoder(name, device, 'exact', () => own(name, changes));
    assert.ok(worstError((await runAll(other, want.ids)).logits, want.logits) > 1e-2, name);
    other.dispose();
  }
});

/** A longer context, so that a text takes several chunks. */
const longer = (c: Checkpoint): Checkpoint => ({
  ...c,
  config: { ...c.config, maxPositions: 2048 },
  tokenizer: () => c.tokenizer(),
  close: () => c.close(),
});

async function lastOf(decoder: Decoder, ids: number[], output: 'all' | 'last') {
  const cache = decoder.cache();
  const { hiddenSize, nLayers } = decoder.config;
  let row = new Float32Array(0);
  await decoder.forward(ids, cache, {
    output,
    onChunk: async (hidden) => {
      row = ((await device.read(hidden)) as Float32Array<ArrayBuffer>).slice(-hiddenSize);
    },
  });
  const keys = (await device.read(device.rows(cache.keys(nLayers - 1), 0, ids.length))) as Float32Array;
  cache.dispose();
  return { row, keys };
}

test('the last row alone is that row of all, over chunks too', async () => {
  for (const name of ['moe-mixtral', 'moe-qwen2-norm', 'moe-granite', 'moe-espalier-dots1']) {
    const decoder = await tinyDecoder(name, device, 'exact', longer);
    for (const length of [1, 2, 40, 513, 700]) {
      const ids = Array.from({ length }, (_, i) => 1 + ((i * 31) % 100));
      const [all, last] = [await lastOf(decoder, ids, 'all'), await lastOf(decoder, ids, 'last')];
      const error = worstError(last.row, all.row);
      assert.ok(worst.within('last row', error, SAME), `${name}, ${length}: ${error}`);
      assert.equal(last.keys, all.keys);
    }
    decoder.dispose();
  }
});

test('who computed what is reported by layer and chunk', async () => {
  const decoder = await tinyDecoder('moe-qwen2', device, 'exact', longer);
  const ids = Array.from({ length: 600 }, (_, i) => 1 + ((i * 37) % 100));
  const sums = new Map<number, number[]>();
  const rows: number[] = [];
  const cache = decoder.cache();
  await decoder.forward(ids, cache, {
    onExperts: async (layer, counts, { places, weights, logits }) => {
      const t = places.shape[0]!;
      rows.push(t);
      assert.equal([counts.length, places.shape[1], logits.shape], [6, 3, [t, 6]]);
      const seen = new Array(6).fill(0);
      for (const place of (await device.read(places)) as Int32Array) seen[place]++;
      assert.equal([...counts], seen);
      const shares = (await device.read(weights)) as Float32Array;
      assert.ok(shares.every((w) => w > 0 && w < 1));
      const before = sums.get(layer) ?? new Array(6).fill(0);
      sums.set(
        layer,
        before.map((n, e) => n + counts[e]!),
      );
    },
  });
  cache.dispose();
  // of four layers every second may have experts, and the last is named as dense
  assert.equal([...sums.keys()], [1]);
  assert.equal(rows, [512, 88]);

  const [layer, ...others] = (await expertLoad(decoder, ids)).layers();
  assert.is(others.length, 0);
  assert.equal(layer!.counts, sums.get(1));
  assert.is(
    layer!.counts.reduce((a, b) => a + b, 0),
    1800,
  );
  assert.ok(layer!.evenness > 0.5 && layer!.evenness <= 1);
  decoder.dispose();
  const dense = await tinyDecoder('llama-gqa', device, 'exact');
  await rejects('E_ARGUMENT', () => expertLoad(dense, [1, 2]));
  dense.dispose();
});

test('load: shares, entropy and unused experts', () => {
  const moe = { layers: [2, 5], experts: 4 } as unknown as NonNullable<Checkpoint['config']['moe']>;
  const load = new ExpertLoad({ moe });
  load.add(2, [1, 1, 1, 1]);
  load.add(2, [3, 3, 3, 3]);
  load.add(5, [2, 2, 0, 0]);
  const [even, half] = load.layers();
  assert.equal(even!.counts, [4, 4, 4, 4]);
  assert.ok(Math.abs(even!.entropy - Math.log(4)) < 1e-12 && Math.abs(even!.evenness - 1) < 1e-12);
  assert.ok(Math.abs(half!.entropy - Math.log(2)) < 1e-12 && Math.abs(half!.evenness - 0.5) < 1e-12);
  assert.equal([half!.smallestShare, half!.largestShare, half!.unused, half!.layer], [0, 0.5, [2, 3], 5]);
  assert.throws(() => load.add(3, [1, 1, 1, 1]), /Layer 3/);
  assert.throws(() => load.add(2, [1, 1]), /2 experts/);
});

test('the worst figures', () => {
  worst.print();
  for (const [, on] of devices) {
    assert.is(on.stats().tensors, 0);
    on.close();
  }
});
test.run();
