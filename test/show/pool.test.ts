/** The pool: lazily encoded, evicted by use, changed shot by shot. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type PoolProgress, ShotPool } from '../../src/show.ts';
import { rejects } from '../errors.ts';
import { device, ids, logitsBehind, on, shots, TEXTS } from './pools.ts';

on('shots are encoded when they are needed, and the one used longest ago goes', async (model) => {
  const pool = await ShotPool.build(model, shots, { grow: { initial: 2, step: 2, most: 3 } });
  assert.equal([pool.size, pool.resident, pool.pooled], [6, 2, 2]);
  assert.ok(pool.bytes > 0);
  const first = await pool.encode(ids(3));
  assert.is(first[0]!.stored.length, 5);
  assert.equal([pool.resident, pool.pooled], [3, 3]);
  await pool.encode(ids(0)); // used again: 1 is now the oldest
  await pool.encode(ids(4));
  assert.is(pool.resident, 3);
  assert.is(pool.pooled, 4, 'pooled keys stay');
  const kept = await pool.encode(ids(0, 3, 4));
  assert.ok(kept[1]!.stored === first[0]!.stored, 'those used lately stayed');
  // more at once than may be held: all of them until the next call
  const all = await pool.encode(ids(5, 4, 3, 2, 1, 0));
  assert.equal(
    all.map(({ entries }) => entries[0]!.shot.id),
    ids(5, 4, 3, 2, 1, 0),
  );
  assert.ok(all.every(({ stored }) => stored.tensors.every((t) => !t.disposed)));
  await pool.encode(ids(2));
  assert.is(pool.resident, 3);
  await pool.prepare();
  assert.equal([pool.resident, pool.pooled], [3, 6]);
  pool.close();
});

on('bytes are limited too, and a pool larger than that still answers alike', async (model) => {
  const large = await ShotPool.build(model, shots);
  const want = await logitsBehind(large, ids(4, 0, 2));
  const each = large.bytes / TEXTS.join('').length;
  const small = await ShotPool.build(model, shots, { byteLimit: Math.ceil(each * 12), grow: { step: 1 } });
  assert.ok(small.bytes <= each * 12 && small.resident >= 1 && small.resident < 3, `${small.resident}`);
  assert.equal(await logitsBehind(small, ids(4, 0, 2)), want);
  assert.ok(small.bytes <= each * 12, `${small.bytes}`);
  small.close();
  large.close();
});

on('storage sizes: f32, half of it, and a little more than a quarter and an eighth', async (model) => {
  const bytes: number[] = [];
  for (const storage of ['f32', 'f16', 'int8', 'int4'] as const) {
    const pool = await ShotPool.build(model, shots, { storage });
    bytes.push(pool.bytes);
    pool.close();
  }
  const { nLayers, nKvHeads, headDim } = model.config;
  const tokens = TEXTS.join('').length;
  assert.is(bytes[0], 8 * nLayers * nKvHeads * headDim * tokens);
  assert.is(bytes[1], bytes[0]! / 2);
  const scales = 2 * nLayers * nKvHeads * tokens;
  assert.is(bytes[2], bytes[0]! / 4 + scales);
  assert.is(bytes[3], bytes[0]! / 8 + scales);
});

on('shots come, go and change', async (model) => {
  const pool = await ShotPool.build(model, shots.slice(0, 3));
  const before = await logitsBehind(pool, ids(0, 1));
  pool.add([shots[3]!, { id: 'twin', text: TEXTS[0]! }]);
  assert.is(pool.size, 5);
  // equal texts are one entry, and give the same
  assert.equal(await logitsBehind(pool, ['twin', 's1']), before);
  assert.is(pool.resident, 3);
  pool.replace({ id: 's0', text: 'other' });
  assert.not.equal(await logitsBehind(pool, ids(0, 1)), before);
  assert.equal(await logitsBehind(pool, ['twin', 's1']), before);
  pool.remove(['s0', 's2']);
  await pool.encode(['twin']);
  assert.is(pool.resident, 2);
  assert.equal(
    pool.shots.map(({ id }) => id),
    ['s1', 's3', 'twin'],
  );
  assert.ok(pool.has('twin') && !pool.has('s0'));
  // what is wrong changes nothing
  await rejects('E_ARGUMENT', () => pool.add([{ id: 'new', text: 'a' }, shots[1]!]));
  await rejects('E_ARGUMENT', () =>
    pool.add([
      { id: 'x', text: 'a' },
      { id: 'x', text: 'b' },
    ]),
  );
  await rejects('E_ARGUMENT', () => pool.add([{ id: 'new', text: '' }]));
  await rejects('E_ARGUMENT', () => pool.add([{ id: '', text: 'a' }]));
  await rejects('E_ARGUMENT', () => pool.remove(['twin', 's0']));
  await rejects('E_ARGUMENT', () => pool.replace(shots[0]!));
  await rejects('E_ARGUMENT', () => pool.encode(['s0']));
  await rejects('E_CONTEXT_LENGTH', () => pool.add([{ id: 'long', text: 'a'.repeat(63) }]));
  pool.add([{ id: 'just', text: 'a'.repeat(62) }]); // begin of text, 62 and one more
  await rejects('E_CONTEXT_LENGTH', () => logitsBehind(pool, ['just']));
  assert.is(pool.size, 4);
  pool.close();
});

on('an empty pool, and options that cannot be', async (model) => {
  const pool = await ShotPool.build(model, []);
  assert.equal([pool.size, pool.resident, pool.bytes], [0, 0, 0]);
  assert.is((await logitsBehind(pool, [])).length, 3 * model.config.vocabSize);
  assert.equal(pool.rank(await pool.encodeQuery('abc'), 'keys-z'), []);
  pool.close();
  await rejects('E_DISPOSED', () => pool.encode([]));
  await rejects('E_DISPOSED', () => pool.add(shots));
  pool.close();
  const build = (options: object) => () => ShotPool.build(model, shots, options);
  await rejects('E_ARGUMENT', build({ storage: 'f8' }));
  await rejects('E_ARGUMENT', build({ prefix: 'other' }));
  await rejects('E_ARGUMENT', build({ prefix: { blocks: 0 } }));
  await rejects('E_ARGUMENT', build({ prefix: { repair: -1 } }));
  await rejects('E_ARGUMENT', build({ grow: { most: 0 } }));
  await rejects('E_ARGUMENT', build({ byteLimit: Number.NaN }));
  await rejects('E_CONTEXT_LENGTH', build({ instruction: 'a'.repeat(63) }));
  await rejects('E_CONTEXT_LENGTH', build({ prefix: { blocks: 6 }, instruction: 'a'.repeat(40) }));
  await rejects('E_ABORTED', build({ signal: AbortSignal.abort() }));
  const controller = new AbortController();
  const stops = {
    signal: controller.signal,
    grow: { step: 1 },
    onProgress: ({ done }: PoolProgress) => void (done > 0 && controller.abort()),
  };
  await rejects('E_ABORTED', build(stops));
  const other = await ShotPool.build(model, shots);
  model.close();
  await rejects('E_DISPOSED', () => other.encode(ids(0)));
  await rejects('E_DISPOSED', () => ShotPool.build(model, shots));
  other.close();
});

on('calls at once keep out of each other’s way', async (model) => {
  const pool = await ShotPool.build(model, shots, { grow: { initial: 0, most: 1, step: 1 } });
  const lists = [ids(0, 1), ids(2, 3), ids(4, 5), ids(1, 0)];
  const alone: Float32Array[] = [];
  for (const list of lists) alone.push(await logitsBehind(pool, list));
  assert.equal(await Promise.all(lists.map((list) => logitsBehind(pool, list))), alone);
  pool.close();
});

test.after(() => device.close());
test.run();
