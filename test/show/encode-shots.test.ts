// long — each of its workers opens the model anew
/** Shots encoded in workers of their own, into a store that a pool then loads from. On nano-base. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { openLocal } from '../../src/open-local.ts';
import { encodeShots, openShotStore, type PoolProgress, ShotPool } from '../../src/show.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { temporaryStore } from './stores.ts';

const worst = new Worst();
const target = await modelTarget('models/nano-base');
const shots = Array.from({ length: 12 }, (_, i) => ({
  id: `${i}`,
  text: `utterance: number ${i} of them\nintent: count\n==\n`,
  ...(i % 2 === 0 && { label: 'count' }),
}));

/** What a pool over the store found there, and the keys and values that it holds. */
async function poolOver(store: string, prefix: 'bare' | { readonly blocks: number }) {
  const device = await WasmDevice.create({ lanes: 1 });
  const model = await openLocal(target, { device, precision: 'exact' });
  let last: PoolProgress | null = null;
  const pool = await ShotPool.build(model, shots, {
    prefix,
    storage: 'f32',
    store: await openShotStore(store),
    grow: { initial: 0 },
    onProgress: (progress) => {
      last = progress;
    },
  });
  await pool.prepare();
  const units = await pool.encode(shots.map(({ id }) => id));
  const tensors = units.flatMap(({ stored }) => stored.tensors);
  const lists = (await Promise.all(tensors.map((tensor) => device.read(tensor)))) as Float32Array[];
  const values = lists.flatMap((list) => [...list]);
  pool.close();
  model.close();
  device.close();
  return { loaded: last!.loaded, values };
}

for (const prefix of ['bare', { blocks: 2 }] as const) {
  test(`workers encode what a pool then loads, the same keys and values [${JSON.stringify(prefix)}]`, async () => {
    const [apart, alone] = [await temporaryStore(), await temporaryStore()];
    try {
      const seen: PoolProgress[] = [];
      const options = { workers: 3, precision: 'exact', prefix, storage: 'f32', store: apart.name } as const;
      const first = await encodeShots(target, shots, {
        ...options,
        onProgress: (progress) => void seen.push(progress),
      });
      assert.equal(first, { total: 12, loaded: 0 });
      assert.ok(seen.every(({ total, done }) => total === 12 && done <= 12));
      assert.is(seen.at(-1)!.done, 12);
      const found = await poolOver(apart.name, prefix);
      assert.is(found.loaded, 12);
      const own = await poolOver(alone.name, prefix);
      // each worker times its kernels for itself, so bits may differ
      const error = worstError(found.values, own.values);
      assert.ok(worst.within('keys and values, of the largest', error, 1e-5), `${error}`);
      // again, by other workers: nothing is left to do
      const again = await encodeShots(target, shots, { ...options, workers: 1 });
      assert.is(again.loaded, found.loaded);
    } finally {
      await apart.remove();
      await alone.remove();
    }
  });
}

test('what cannot be is said, and workers end', async () => {
  const store = await temporaryStore();
  try {
    const options = { workers: 2, precision: 'exact', store: store.name } as const;
    await rejects('E_ARGUMENT', () => encodeShots(target, shots, { ...options, workers: 0 }));
    await rejects('E_ARGUMENT', () => encodeShots(target, shots, { ...options, prefix: { blocks: 0 } }));
    await rejects('E_ARGUMENT', () => encodeShots(target, [...shots, shots[0]!], { ...options, workers: 1 }));
    await rejects('E_ABORTED', () => encodeShots(target, shots, { ...options, signal: AbortSignal.abort() }));
    await rejects('E_CONTEXT_LENGTH', () =>
      encodeShots(target, [...shots, { id: 'long', text: 'many words '.repeat(2000) }], options),
    );
    // in the middle: what was encoded until then is there
    const many = Array.from({ length: 100 }, (_, i) => ({ id: `${i}`, text: `number ${i} of a hundred` }));
    const abort = new AbortController();
    await rejects('E_ABORTED', () =>
      encodeShots(target, many, {
        ...options,
        workers: 1,
        signal: abort.signal,
        onProgress: ({ done }) => done > 0 && abort.abort(),
      }),
    );
    const rest = await encodeShots(target, many, { ...options, workers: 1 });
    assert.ok(rest.loaded >= 32 && rest.loaded <= 100, `${rest.loaded}`);
    assert.equal(await encodeShots(target, [], options), { total: 0, loaded: 0 });
    assert.is((await encodeShots(target, shots, options)).total, 12);
  } finally {
    await store.remove();
  }
});

test.after(() => worst.print());

test.run();
