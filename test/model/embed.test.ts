/** Embeddings against the hidden states that they are made of, and against transformers. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { exists, modelTarget } from '../files.ts';
import { readArrays } from './arrays.ts';
import { distance, runAll } from './run.ts';
import { shared, sharedJson } from './shared-files.ts';

const device = await WasmDevice.create({ debug: true });
const model = await openLocal(await modelTarget('models/nano-base'), { device });
const { hiddenSize, nLayers } = model.config;
const worst = new Worst();
const TEXT = 'The cat sat on the mat.';
const ids = model.encode(TEXT);
const { hidden, normed } = await runAll(model.decoder, ids);
const resting = device.stats().tensors;

const row = (states: Float32Array, at: number) => states.subarray(at * hiddenSize, (at + 1) * hiddenSize);
const mean = (states: Float32Array) =>
  Float32Array.from({ length: hiddenSize }, (_, i) => {
    let sum = 0;
    for (let at = 0; at < ids.length; at++) sum += states[at * hiddenSize + i]!;
    return sum / ids.length;
  });
const same = (got: Float32Array, want: Float32Array, what: string, bound = 1e-6) => {
  const error = distance(got, want);
  assert.ok(worst.within(what, error, bound), `${what}: ${error}`);
};

test('mean, last and all of the hidden states', async () => {
  const [pooled] = await model.embed(TEXT);
  same(pooled!, mean(normed), 'mean of the normalised states');
  const [all] = await model.embed(ids, { pool: 'none' });
  same(all!, normed, 'all states');
  // the last row alone is computed by other kernels than many rows
  const [last] = await model.embed(TEXT, { pool: 'last' });
  same(last!, row(normed, ids.length - 1), 'last state', 1e-5);
});

test('any layer, before the norm', async () => {
  for (const layer of [0, 3, nLayers]) {
    same((await model.embed(TEXT, { layer }))[0]!, mean(hidden[layer]!), 'mean of a layer');
    const [last] = await model.embed(TEXT, { layer, pool: 'last' });
    same(last!, row(hidden[layer]!, ids.length - 1), 'last of a layer');
    same((await model.embed(TEXT, { layer, pool: 'none' }))[0]!, hidden[layer]!, 'all of a layer');
  }
});

test('vectors of length 1, in the same direction', async () => {
  for (const pool of ['mean', 'none'] as const) {
    const [plain] = await model.embed(TEXT, { pool });
    const [unit] = await model.embed(TEXT, { pool, normalise: true });
    for (let at = 0; at * hiddenSize < plain!.length; at++) {
      const [a, b] = [row(plain!, at), row(unit!, at)];
      const length = Math.hypot(...a);
      assert.ok(Math.abs(Math.hypot(...b) - 1) < 1e-6);
      same(
        b,
        a.map((x) => x / length),
        'normalised',
      );
    }
  }
});

test('several texts, as text or ids, each as if alone', async () => {
  const texts = [TEXT, 'A dog.', TEXT];
  const list = await model.embed(texts);
  assert.is(list.length, 3);
  assert.equal(list[2], list[0]);
  assert.equal(list[1], (await model.embed('A dog.'))[0]);
  assert.equal(await model.embed(texts.map((text) => model.encode(text))), list);
  assert.equal(await model.embed([]), []);
  const [bare] = await model.embed(TEXT, { addBos: false, pool: 'none' });
  assert.is(bare!.length, (ids.length - 1) * hiddenSize);
});

test('a text of several chunks', async () => {
  const long = Array.from({ length: 600 }, (_, i) => (i * 37) % 8000);
  const [all] = await model.embed([long], { pool: 'none' });
  assert.is(all!.length, 600 * hiddenSize);
  const done: number[][] = [];
  const [pooled] = await model.embed([long, [5, 6]], { onProgress: (...progress) => done.push(progress) });
  const sums = new Float64Array(hiddenSize);
  all!.forEach((x, i) => {
    sums[i % hiddenSize]! += x / 600;
  });
  same(pooled!, Float32Array.from(sums), 'mean of two chunks');
  assert.equal(done, [
    [512, 602],
    [600, 602],
    [602, 602],
  ]);
  const [last] = await model.embed([long], { pool: 'last', layer: 2 });
  const [states] = await model.embed([long], { pool: 'none', layer: 2 });
  assert.equal(last, row(states!, 599));
});

test('refusals, and nothing left behind', async () => {
  await rejects('E_ARGUMENT', () => model.embed(TEXT, { pool: 'max' as never }));
  await rejects('E_ARGUMENT', () => model.embed(TEXT, { layer: nLayers + 1 }));
  await rejects('E_ARGUMENT', () => model.embed(TEXT, { layer: 0.5 }));
  await rejects('E_ARGUMENT', () => model.embed([TEXT, ''], { addBos: false }));
  await rejects('E_ARGUMENT', () => model.embed([1e9]));
  await rejects('E_CONTEXT_LENGTH', () => model.embed('word '.repeat(3000)));
  await rejects('E_ABORTED', () => model.embed(TEXT, { signal: AbortSignal.abort() }));
  assert.is(device.stats().tensors, resting, device.liveTensors().slice(resting).join('\n'));
});

if (!(await exists(`${shared}golden/nano.json`))) {
  test('against transformers', () => console.log('  skipped: ../shared is not here (embeddings against transformers)'));
} else {
  test('against transformers', async () => {
    const golden = (await sharedJson('golden/nano.json')) as { models: Record<string, { ids: number[] }[]> };
    const arrays = await readArrays(`${shared}golden/nano-base.safetensors`);
    for (const [i, { ids }] of golden.models['nano-base']!.entries()) {
      const [states] = await model.embed(ids, { layer: 4, pool: 'none' });
      const want = arrays.get(`hidden.${i}`)!.data as Float32Array;
      same(states!, want, 'layer 4 against transformers, relative', 1e-3);
      const [pooled] = await model.embed(ids, { layer: 4 });
      const sums = new Float64Array(hiddenSize);
      want.forEach((x, at) => {
        sums[at % hiddenSize]! += x / ids.length;
      });
      same(pooled!, Float32Array.from(sums), 'its mean against transformers, relative', 1e-3);
    }
  });
}

test.after(() => {
  worst.print();
  model.close();
  device.close();
});
test.run();
