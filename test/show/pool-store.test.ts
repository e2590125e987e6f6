/** Pools whose shots are kept in a store: loaded again, damaged, swapped; T11. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError } from '../../src/errors.ts';
import { memoryHost } from '../../src/runtime/cache/memory.ts';
import { hasNode } from '../../src/runtime/host/types.ts';
import { type ShotFields, shotIdentity } from '../../src/show/pool/identity.ts';
import { shotStore } from '../../src/show/pool/store.ts';
import { memoryShotStore, openShotStore, type PoolProgress, ShotPool, type ShotStore, Show } from '../../src/show.ts';
import { rejects } from '../errors.ts';
import { device, ids, logitsBehind, on, shots } from './pools.ts';

// ---- the store

const stores: { name: string; open(): Promise<ShotStore>; end(): Promise<void> }[] = [];
{
  const memory = await memoryShotStore();
  stores.push({ name: 'memory', open: async () => memory, end: async () => {} });
  if (hasNode()) {
    const { mkdtemp, rm } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const { join } = await import('node:path');
    const folder = await mkdtemp(join(tmpdir(), 'espalier-shots-'));
    stores.push({
      name: 'folder',
      open: () => openShotStore(folder),
      end: () => rm(folder, { recursive: true, force: true }),
    });
  } else {
    const open = () => openShotStore('shots-test');
    stores.push({ name: 'OPFS', open, end: async () => (await open()).clear() });
  }
}

for (const { name, open, end } of stores) {
  on(`a pool that is opened again is loaded, not computed, and gives the same [${name}]`, async (model) => {
    for (const [storage, prefix] of [
      ['f16', 'bare'],
      ['int8', 'prefixed'],
      ['f32', { blocks: 4 }],
    ] as const) {
      const options = { storage, prefix, instruction: 'wxyz.' };
      const count = prefix === 'bare' || prefix === 'prefixed' ? 3 : 4;
      const list = ids(0, 1, 2, 3).slice(0, count);
      const progress: number[] = [];
      const build = async (store: ShotStore | null) => {
        progress.length = 0;
        return ShotPool.build(model, shots, {
          ...options,
          store,
          onProgress: ({ done, loaded }) => void (done > 0 && progress.push(loaded)),
        });
      };
      const pool = await build(await open());
      assert.equal(progress, [0]);
      const want = await logitsBehind(pool, list);
      const query = await pool.encodeQuery('abc');
      const ranking = pool.rank(query, 'keys-z');
      pool.close();
      const again = await build(await open());
      assert.equal(progress, [6]);
      assert.equal([again.resident, again.pooled], [6, 6]);
      assert.equal(await logitsBehind(again, list), want);
      assert.equal(again.rank(query, 'keys-z'), ranking);
      again.close();
      // something else is not there
      for (const other of [
        { instruction: 'wxy.' },
        { storage: storage === 'f16' ? ('f32' as const) : ('f16' as const) },
      ]) {
        const fresh = await ShotPool.build(model, shots, {
          ...options,
          ...other,
          store: await open(),
          onProgress: ({ done, loaded }) => {
            if (done === 0) return;
            // bare shots do not depend on the instruction
            assert.is(loaded, prefix === 'bare' && 'instruction' in other ? 6 : 0);
          },
        });
        fresh.close();
      }
      await (await open()).clear();
      assert.is(await (await open()).bytes(), 0);
    }
    await end();
  });
}

on('a damaged entry is a miss and is written again', async (model) => {
  const host = memoryHost();
  const store = shotStore(host);
  const loads: number[] = [];
  const build = async () => {
    const onProgress = ({ done, loaded }: PoolProgress) => void (done > 0 && loads.push(loaded));
    const pool = await ShotPool.build(model, shots, { store, onProgress });
    const logits = await logitsBehind(pool, ids(0, 1, 2));
    pool.close();
    return logits;
  };
  const want = await build();
  const files = await host.files('blobs');
  assert.is(files.length, 6);
  const bytesOf = async (name: string) => {
    const source = (await host.open('blobs', name))!;
    const bytes = new Uint8Array(source.size);
    await source.readInto(0, bytes);
    return bytes;
  };
  const damages: ((bytes: Uint8Array) => Uint8Array)[] = [
    (bytes) => bytes.subarray(0, 0),
    (bytes) => bytes.subarray(0, 40),
    (bytes) => bytes.subarray(0, bytes.byteLength - 1),
    (bytes) => bytes.map((byte, i) => (i === 100 ? byte ^ 1 : byte)),
    (bytes) => bytes.map((byte, i) => (i === bytes.byteLength - 3 ? byte ^ 128 : byte)),
  ];
  for (const [i, damage] of damages.entries()) {
    const { name } = files[i]!;
    await host.replace('blobs', name, damage(await bytesOf(name)));
    assert.is(await store.read(name.slice('sha256-'.length)), null, `damage ${i}`);
  }
  // whole, and not what it should be: the entry of another shot, of another length
  const [last, other] = [files[5]!.name, files[0]!.name].map((name) => name.slice('sha256-'.length));
  loads.length = 0;
  assert.equal(await build(), want);
  assert.equal(loads, [1]);
  assert.equal(await build(), want);
  assert.equal(loads, [1, 6]);
  await store.write(last!, (await store.read(other!))!);
  for (const count of [5, 6]) {
    assert.equal(await build(), want);
    assert.is(loads.at(-1), count);
  }
  await rejects('E_ARGUMENT', () => store.read('../x'));
});

on('a store that cannot be written or read costs no answer, and says so once', async (model) => {
  const inner = await memoryShotStore();
  const full = new EspalierError('E_STORAGE_FULL', 'No space is left.', 'Free some.');
  const alone = await ShotPool.build(model, shots);
  const want = await logitsBehind(alone, ids(0, 1, 2));
  alone.close();
  const thrown = new Error('no network');
  const raise = (): never => {
    throw thrown;
  };
  for (const [store, code, writes] of [
    [{ write: () => Promise.reject(full) }, 'E_STORAGE_FULL', 3],
    [{ write: () => Promise.reject(thrown) }, 'E_FILE_WRITE', 3],
    [{ write: raise }, 'E_FILE_WRITE', 3],
    [{ read: () => Promise.reject(thrown) }, 'E_FILE_READ', 6],
    [{ read: raise }, 'E_FILE_READ', 6],
  ] as const) {
    const warnings: EspalierError[] = [];
    let written = 0;
    const pool = await ShotPool.build(model, shots, {
      store: {
        ...inner,
        ...store,
        write: (key, entry) => {
          written++;
          return ('write' in store ? store : inner).write(key, entry);
        },
      },
      onWarning: (warning) => void warnings.push(warning),
    });
    assert.equal(await logitsBehind(pool, ids(0, 1, 2)), want);
    assert.equal(
      warnings.map((warning) => warning.code),
      [code],
    );
    assert.equal(pool.warnings, warnings);
    assert.is(written, writes, 'it is not tried for ever');
    const show = await Show.create(pool, { preset: 'label', labels: ['ab', 'cd'], rank: 'bm25', vote: null });
    const { receipt } = await show.ask('what:', { shots: 1 });
    assert.equal(receipt.warnings, [String(warnings[0])]);
    show.close();
    pool.close();
  }
});

on('what a store of somebody’s own gives need be neither aligned nor bytes', async (model) => {
  const inner = await memoryShotStore();
  const first = await ShotPool.build(model, shots, { store: inner });
  const want = await logitsBehind(first, ids(0, 1, 2));
  first.close();
  const shifted = (bytes: Uint8Array) => {
    const room = new Uint8Array(bytes.byteLength + 1);
    room.set(bytes, 1);
    return room.subarray(1);
  };
  for (const [change, hits] of [
    [shifted, true],
    [() => undefined, false],
    [(bytes: Uint8Array) => bytes.buffer, false],
    [() => 'nothing', false],
  ] as const) {
    let loaded = 0;
    const read = async (key: string) => change((await inner.read(key))!) as Uint8Array<ArrayBuffer>;
    const pool = await ShotPool.build(model, shots, {
      store: { ...inner, read },
      onProgress: (progress) => void (loaded = progress.loaded),
    });
    assert.equal(await logitsBehind(pool, ids(0, 1, 2)), want);
    assert.is(loaded > 0, hits);
    assert.equal(pool.warnings, []);
    pool.close();
  }
});

on('entries that were swapped are misses', async (model) => {
  const host = memoryHost();
  // of one length, so that nothing but their keys tells them apart
  const list = ['abcd', 'efgh', 'ijkl'].map((text, i) => ({ id: `${i}`, text }));
  const build = async () => {
    let loaded = 0;
    const pool = await ShotPool.build(model, list, {
      store: shotStore(host),
      onProgress: (p) => void (loaded = p.loaded),
    });
    const logits = await logitsBehind(pool, ['0']);
    pool.close();
    return { logits, loaded };
  };
  const { logits } = await build();
  const files = await host.files('blobs');
  const read = async (name: string) => {
    const source = (await host.open('blobs', name))!;
    const bytes = new Uint8Array(source.size);
    await source.readInto(0, bytes);
    return bytes;
  };
  const contents = await Promise.all(files.map(({ name }) => read(name)));
  for (const [i, { name }] of files.entries()) await host.replace('blobs', name, contents[(i + 1) % 3]!);
  const again = await build();
  assert.is(again.loaded, 0);
  assert.equal(again.logits, logits);
  assert.is((await build()).loaded, 3);
});

test('T11: a change of any field is another key', async () => {
  const fields: ShotFields = {
    weights: 'w',
    tokenizer: 't',
    precision: 'exact',
    rope: { theta: 10000, rotaryDims: 8, layout: 'half', scaling: { type: 'none' }, frequencyDivisors: null },
    prefix: [1, 2],
    shots: [[3, 4]],
    prompts: [1],
    mode: 'prefixed',
    storage: 'f16',
  };
  const { rope } = fields;
  const yarn = {
    type: 'yarn',
    factor: 2,
    originalMaxPositions: 32,
    betaFast: 32,
    betaSlow: 1,
    attentionFactor: 1,
    truncate: true,
  } as const;
  const variants: Partial<ShotFields>[] = [
    {},
    { weights: 'v' },
    { tokenizer: 'u' },
    { precision: 'int8' },
    { rope: { ...rope, theta: 10001 } },
    { rope: { ...rope, rotaryDims: 6 } },
    { rope: { ...rope, layout: 'interleaved' } },
    { rope: { ...rope, scaling: { type: 'linear', factor: 2 } } },
    { rope: { ...rope, scaling: { type: 'linear', factor: 3 } } },
    { rope: { ...rope, scaling: yarn } },
    { rope: { ...rope, scaling: { ...yarn, attentionFactor: 1.1 } } },
    { rope: { ...rope, frequencyDivisors: new Float32Array([1, 1, 1, 1]) } },
    { rope: { ...rope, frequencyDivisors: new Float32Array([1, 1, 1, 2]) } },
    { prefix: [1] },
    { prefix: [] },
    { prefix: [1, 2, 3], shots: [[4]] },
    { shots: [[3], [4]] },
    { shots: [[3, 5]] },
    { mode: 'bare' },
    { mode: 'block' },
    { storage: 'int8' },
    { prompts: [2] },
    { version: 2 },
  ];
  const keys = await Promise.all(variants.map((variant) => shotIdentity({ ...fields, ...variant })));
  assert.is(new Set(keys).size, keys.length);
  assert.is(await shotIdentity({ ...fields, rope: { ...rope } }), keys[0]);
  assert.ok(keys.every((key) => /^[0-9a-f]{64}$/.test(key)));
});
if (!hasNode()) {
  test('a name that a browser takes for none is refused', async () => {
    for (const name of ['a/b', '..', 'a\\b']) await rejects('E_ARGUMENT', () => openShotStore(name));
  });
}
test.after(() => device.close());
test.run();
