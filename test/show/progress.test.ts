/** Long work says how much it is before it starts, how long it takes as soon as that is known, and where it is; and it ends when asked to. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { Work } from '../../src/show/pool/work.ts';
import { Chain, Chains, memoryShotStore, type PoolProgress, ShotPool, type WorkEstimate } from '../../src/show.ts';
import { rejects } from '../errors.ts';
import { tinyModel } from './models.ts';

const device = await WasmDevice.create();
const model = await tinyModel('llama-gqa', device, { maxPositions: 2048 });
const shots = Array.from({ length: 60 }, (_, i) => ({
  id: `${i}`,
  text: `${String.fromCharCode(97 + (i % 26)).repeat(20 + i)}: shot.`,
}));
const tokens = shots.reduce((sum, { text }) => sum + text.length, 0);

test('a pool tells shots, tokens and bytes before, and seconds after the first of them', async () => {
  const store = await memoryShotStore();
  for (const storage of ['f16', 'int8', 'int4', 'f32'] as const) {
    const told: WorkEstimate[] = [];
    const steps: PoolProgress[] = [];
    const pool = await ShotPool.build(model, shots, {
      storage,
      store,
      grow: { initial: 0, most: 100 },
      onEstimate: (estimate) => void told.push(estimate),
      onProgress: (progress) => void steps.push(progress),
    });
    assert.equal([told, steps], [[], []], 'nothing is to be encoded');
    await pool.prepare();
    assert.equal(
      told.map((estimate) => ({ ...estimate, seconds: typeof estimate.seconds })),
      ['object', 'number'].map((seconds) => ({ shots: 60, tokens, bytes: pool.bytes, seconds })),
    );
    assert.ok(told[1]!.seconds! > 0 && told[1]!.seconds! < 60);
    assert.ok(steps.every((step, i) => i === 0 || step.tokens >= steps[i - 1]!.tokens));
    assert.equal(steps.at(-1), { done: 60, total: 60, loaded: 0, tokens, totalTokens: tokens });
    // again: nothing is left to do
    told.length = 0;
    await pool.prepare();
    assert.equal(told, []);
    pool.close();
    // from the store
    const again = await ShotPool.build(model, shots, { storage, store, onEstimate: (one) => void told.push(one) });
    assert.ok(told.every(({ seconds }) => seconds === null));
    again.close();
  }
});

test('an abort ends it in the middle of a batch, and nothing is left', async () => {
  const before = device.stats().tensors;
  for (const make of [
    (signal: AbortSignal, tell: () => void) =>
      ShotPool.build(model, shots, {
        signal,
        grow: { initial: 60 },
        onEstimate: ({ seconds }) => seconds !== null && tell(),
      }),
    (signal: AbortSignal, tell: () => void) =>
      Chain.create(model, shots.slice(0, 30), { signal, onEstimate: ({ seconds }) => seconds !== null && tell() }),
    (signal: AbortSignal, tell: () => void) =>
      Chains.create(model, shots, { signal, clusters: 8, onEstimate: ({ seconds }) => seconds !== null && tell() }),
  ]) {
    const abort = new AbortController();
    await rejects('E_ABORTED', () => make(abort.signal, () => abort.abort()));
    await rejects('E_ABORTED', () => make(AbortSignal.abort(), () => {}));
  }
  assert.is(device.stats().tensors, before);
});

test('chains tell too', async () => {
  const told: WorkEstimate[] = [];
  const seen: number[] = [];
  const some = shots.slice(0, 30);
  const size = some.reduce((sum, { text }) => sum + text.length, 0);
  const chain = await Chain.create(model, some, {
    onEstimate: (estimate) => void told.push(estimate),
    onProgress: (done, total) => void seen.push(done / total),
  });
  assert.equal({ ...told[0], bytes: 0 }, { shots: 30, tokens: size, bytes: 0, seconds: null });
  assert.ok(chain.byteLength >= told[0]!.bytes && told[0]!.bytes > 0);
  assert.is(seen.at(-1), 1);
  assert.ok(told[1]!.seconds! > 0 && told.length === 2);
  chain.close();
  told.length = 0;
  const chains = await Chains.create(model, shots, { clusters: 4, onEstimate: (estimate) => void told.push(estimate) });
  assert.equal({ ...told[0], bytes: 0 }, { shots: 60, tokens, bytes: 0, seconds: null });
  assert.ok(told[1]!.seconds! > 0);
  chains.close();
});

test('progress comes between shots, several times a second and no more', async () => {
  const heard: number[] = [];
  const work = new Work({ shots: 1, tokens: 100, bytes: 1 }, undefined, (count) => void heard.push(count));
  const until = performance.now() + 500;
  for (let i = 0; performance.now() < until; i++) work.within(Math.min(99.9, i / 100));
  assert.ok(heard.length >= 1 && heard.length <= 3, `${heard.length}`);
  assert.ok(heard.every((count) => Number.isInteger(count) && count < 100));
});

test.after(() => model.close());
test.run();
