// device: webgpu — holds what a GPU shows against the CPU
/** Shots on a GPU: encoded there by a pool or by workers, found in a store by either device, placed and answered without the cache leaving it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open-device.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import type { Answer, PoolProgress, StorageType } from '../../src/show/types.ts';
import {
  encodeShots,
  memoryShotStore,
  openShotStore,
  ShotContext,
  ShotPool,
  type ShotStore,
  Show,
} from '../../src/show.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
import { temporaryStore } from './stores.ts';

const worst = new Worst();
/** Bounds here are a GPU's own, to be taken as they are. */
const within = (name: string, error: number, bound: number) => worst.within(name, error, bound / 4);
/** Of the largest: what the tests of showing hold the CPU to is 1e-5. */
const FLOATS = 4e-5;
const files = await withYesAndNo(await tinyFiles());
const devices = { wasm: await openDevice('wasm'), webgpu: await openDevice('webgpu') };
const on = async (kind: keyof typeof devices): Promise<LocalModel> =>
  openLocal(files, { device: devices[kind], precision: 'exact' });
const models = { wasm: await on('wasm'), webgpu: await on('webgpu') };
const KINDS = ['wasm', 'webgpu'] as const;
const other = { wasm: 'webgpu', webgpu: 'wasm' } as const;

/** The question behind free answers is for these. */
async function withYesAndNo(all: Record<string, Uint8Array>): Promise<Record<string, Uint8Array>> {
  const tokenizer = JSON.parse(new TextDecoder().decode(all['tokenizer.json']));
  const next = Object.keys(tokenizer.model.vocab).length;
  const words = ['yes', 'no'].map((content, i) => ({ id: next + i, content, special: false }));
  tokenizer.added_tokens.push(...words);
  return { ...all, 'tokenizer.json': new TextEncoder().encode(JSON.stringify(tokenizer)) };
}

const LABELS = ['ab', 'ac', 'd'];
const shots = Array.from({ length: 6 }, (_, i) => ({
  id: `${i}`,
  text: `${'xyzuvw'[i]}${i}:${LABELS[i % 3]};`,
  label: LABELS[i % 3]!,
}));
const ids = shots.map(({ id }) => id);

async function poolOn(model: LocalModel, store: ShotStore | null, storage: StorageType = 'f32') {
  let told: PoolProgress | null = null;
  const pool = await ShotPool.build(model, shots, {
    ...{ storage, store, instruction: 'Say:', grow: { initial: 0 } },
    onProgress: (progress) => {
      told = progress;
    },
  });
  await pool.prepare();
  return { pool, loaded: told!.loaded };
}

/** The tensors of stored shots as numbers, a list each. */
async function contentOf(pool: ShotPool, device: Device): Promise<number[][]> {
  const lists: number[][] = [];
  for (const { stored } of await pool.encode(ids)) {
    for (const tensor of stored.tensors) {
      if (tensor.type === 'i8') lists.push([...new Int8Array((await device.readBytes(tensor)).buffer)]);
      else lists.push([...(await asFloats(device, tensor))]);
    }
  }
  return lists;
}

const worstOf = (got: number[][], want: number[][]): number =>
  Math.max(...want.map((list, i) => worstError(got[i]!, list)));

async function asFloats(device: Device, t: Tensor): Promise<Float32Array> {
  const to = device.tensor('f32', t.shape);
  device.cast(t, to);
  const values = (await device.read(to)) as Float32Array;
  to.dispose();
  return values;
}

test('what one device has encoded the other finds in the store, and it is the same', async () => {
  for (const storage of ['f32', 'f16', 'int8', 'int4'] as const) {
    for (const first of KINDS) {
      if (first === 'wasm' && storage !== 'f16') continue;
      const store = await memoryShotStore();
      const made = await poolOn(models[first], store, storage);
      assert.is(made.loaded, 0);
      const found = await poolOn(models[other[first]], store, storage);
      assert.is(found.loaded, shots.length);
      // to the bit what was stored
      assert.equal(await contentOf(found.pool, devices[other[first]]), await contentOf(made.pool, devices[first]));
      const own = await poolOn(models[other[first]], null, storage);
      const [want, got] = [
        await contentOf(own.pool, devices[other[first]]),
        await contentOf(found.pool, devices[other[first]]),
      ];
      // a code of int8 may be the next one, a number of f16 too
      if (storage === 'int4') {
        // two codes a byte: the next one of either is another byte
        const [a, b] = [got.flat(), want.flat()];
        const others = a.filter((byte, i) => byte !== b[i]).length / a.length;
        assert.ok(within('stored int4 beside the other device’s, share of bytes', others, 1e-2), `${others}`);
      } else {
        const bound = { f32: FLOATS, f16: 1e-3, int8: 1 / 100 }[storage];
        const error = worstOf(got, want);
        assert.ok(within(`stored ${storage} beside the other device’s, of the largest`, error, bound), `${error}`);
      }
      const [query, again] = [await found.pool.encodeQuery('x0:'), await own.pool.encodeQuery('x0:')];
      assert.ok(within('vector of a query', worstError(query.vector!, again.vector!), FLOATS));
      assert.equal(
        found.pool
          .rank(query, 'keys-z')
          .map(({ id }) => id)
          .sort(),
        ids,
      );
      for (const { pool } of [made, found, own]) pool.close();
    }
  }
});

test('shots that are placed with rotation give the CPU’s logits, and the cache stays on the GPU', async () => {
  const logits: Record<string, Float32Array> = {};
  for (const kind of KINDS) {
    const device = devices[kind];
    const { pool } = await poolOn(models[kind], null);
    const reads: number[] = [];
    const read = device.read.bind(device) as unknown as (t: readonly Tensor[]) => Promise<never>;
    device.read = (t: Tensor | readonly Tensor[]): Promise<never> => {
      const list = 'length' in t ? t : [t];
      reads.push(...list.map(({ byteLength }) => byteLength));
      return read(t as readonly Tensor[]);
    };
    const context = await ShotContext.create(pool, { room: 24 });
    try {
      await context.place(['3', '0', '5', '1']);
      // in another order, so that they are rotated from where they stood
      await context.place(['2']);
      assert.equal(reads, [], 'nothing is read in order to place');
      const query = pool.model.encode('y1:', { addBos: false });
      const all: number[] = [];
      for (const count of [1, 3, 5]) {
        await context.branches([{ ids: query, shots: count }], async (hidden) => {
          all.push(...((await device.read(pool.model.decoder.logits(hidden))) as Float32Array));
        });
      }
      logits[kind] = Float32Array.from(all);
      const width = 4 * pool.model.config.vocabSize;
      assert.equal(reads, Array(3).fill(query.length * width), 'logits alone are read in order to answer');
    } finally {
      delete (device as Partial<Device>).read;
      context.close();
      pool.close();
    }
  }
  const error = worstError(logits['webgpu']!, logits['wasm']!);
  assert.ok(within('logits behind placed shots', error, FLOATS), `${error}`);
});

test('answers with labels and free ones are the CPU’s', async () => {
  const settings = { preset: 'label', labels: LABELS, rank: 'keys-z', ridge: null, threshold: 0 } as const;
  const writing = { preset: 'generate', rank: 'bm25', question: 'ok?', maxTokens: 4 } as const;
  const answers: Record<string, { label: Answer; free: Answer }> = {};
  for (const kind of KINDS) {
    const { pool } = await poolOn(models[kind], null);
    const [show, free] = [await Show.create(pool, settings), await Show.create(pool, writing)];
    answers[kind] = { label: await show.ask('z2:'), free: await free.ask('z2:') };
    for (const one of [show, free]) one.close();
    pool.close();
  }
  const [cpu, gpu] = [answers['wasm']!, answers['webgpu']!];
  const list = ({ label }: typeof cpu) => LABELS.map((name) => label.probabilities![name]!);
  assert.ok(within('probabilities of labels', worstError(list(gpu), list(cpu)), FLOATS));
  assert.is(gpu.label.label, cpu.label.label);
  assert.is(gpu.free.text, cpu.free.text);
});

test('ridge regression of labels says the CPU’s, from features of a GPU', async () => {
  const settings = { preset: 'label', labels: LABELS, threshold: 10 } as const;
  // texts of three letters, so that random weights tell them apart
  const labelled = Array.from({ length: 30 }, (_, i) => {
    const label = LABELS[i % 3]!;
    return { id: `${i}`, text: `${'xyz'[i % 3]!.repeat(3)}${i}:${label};`, label };
  });
  const said: Record<string, number[]> = {};
  const features: Record<string, number[]> = {};
  for (const kind of KINDS) {
    const pool = await ShotPool.build(models[kind], labelled, { storage: 'f32' });
    const show = await Show.create(pool, settings);
    const { label, probabilities, receipt } = await show.ask('zzz31:');
    assert.equal([label, receipt.ridge?.sure], ['d', true]);
    said[kind] = LABELS.map((name) => probabilities![name]!);
    features[kind] = labelled.flatMap(({ id }) => [...pool.features(id)!]);
    show.close();
    pool.close();
  }
  assert.ok(within('features of prompts', worstError(features['webgpu']!, features['wasm']!), FLOATS));
  // keys of random weights hardly differ, so that what differs in them is mostly rounding
  assert.ok(within('shares by ridge regression', worstError(said['webgpu']!, said['wasm']!), 1e-2));
});

test('encodeShots encodes on a GPU, in a worker, what pools on either device then load', async () => {
  const store = await temporaryStore();
  try {
    const job = { precision: 'exact', storage: 'f32', instruction: 'Say:', store: store.name } as const;
    assert.equal(await encodeShots(files, shots, { ...job, device: 'webgpu' }), { total: 6, loaded: 0 });
    assert.equal(await encodeShots(files, shots, { ...job, device: 'wasm', workers: 1 }), { total: 6, loaded: 6 });
    const kept = await openShotStore(store.name);
    for (const kind of KINDS) {
      const { pool, loaded } = await poolOn(models[kind], kept);
      assert.is(loaded, 6);
      const own = await poolOn(models.wasm, null);
      const error = worstOf(await contentOf(pool, devices[kind]), await contentOf(own.pool, devices.wasm));
      assert.ok(within('what workers stored, of the largest', error, FLOATS), `${error}`);
      assert.ok(error > 0, 'computed on the CPU');
      for (const one of [pool, own.pool]) one.close();
    }
    const gone = { device: 'gpu' as never, workers: 1 };
    await rejects('E_ARGUMENT', () => encodeShots(files, shots, { ...job, ...gone }));
  } finally {
    await store.remove();
  }
});

test('nothing is left', () => {
  for (const kind of KINDS) {
    models[kind].close();
    assert.is(devices[kind].stats().tensors, 0, kind);
    devices[kind].close();
  }
  worst.print();
});

test.run();
