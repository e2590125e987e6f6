/** T9 of the specification: what storage loses; repair, and blocks of shots, on a model of each RoPE kind and layout. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeUnits } from '../../src/show/pool/encode.ts';
import type { StoredShot } from '../../src/show/pool/stored.ts';
import type { StorageType } from '../../src/show/types.ts';
import { ShotContext, ShotPool } from '../../src/show.ts';
import { worstError } from '../device/reference.ts';
import { distance } from '../model/run.ts';
import { alone } from './alone.ts';
import {
  branchLogits,
  close,
  device,
  floats,
  INSTRUCTION,
  LOGITS,
  MODELS,
  piecedLogits,
  plainLogits,
  QUERY,
  referenceOf,
  shots,
  testsOf,
  worst,
} from './conformance.ts';

for (const name of MODELS) {
  const on = testsOf(name);

  on('T9: what f16, int8 and int4 lose stays as it is, wherever keys are placed', async ({ decoder, config }) => {
    const last = config.nLayers - 1;
    const { ids } = await referenceOf(name);
    const cache = decoder.cache();
    const encode = async (storage: StorageType) =>
      (await encodeUnits(decoder, cache, [alone(ids.slice(0, 12))], { storage, seen: 0 }))[0]!.shot;
    const sides = async (shot: StoredShot, position: number) => {
      cache.truncate(0);
      cache.placeStored(shot.keys, shot.values, position);
      return [
        await floats(device.rows(cache.keys(last), 0, 12)),
        await floats(device.rows(cache.values(last), 0, 12)),
      ] as const;
    };
    const exact = await encode('f32');
    // the un-rotated column of 4.5; on a head of 8 to 16 channels the largest is farther from the rest than on 64
    for (const [storage, bound] of [
      ['f16', 2.5e-4],
      ['int8', 9.6e-3],
      // 16 steps over some three times what is usual: an eighth to a tenth
      ['int4', 0.15],
    ] as const) {
      const shot = await encode(storage);
      for (const position of [0, 50, 7]) {
        const [want, got] = [await sides(exact, position), await sides(shot, position)];
        for (const side of [0, 1] as const) {
          const error = distance(got[side], want[side]);
          assert.ok(
            worst.within(`T9 ${storage}: ${side === 0 ? 'keys' : 'values'}, relative`, error, bound),
            `${error}`,
          );
        }
      }
      shot.dispose();
    }
    exact.dispose();
    cache.dispose();
  });

  on('repair computes first tokens as a pass over everything would', async (model) => {
    const query = model.encode(QUERY, { addBos: false });
    const long = 20;
    // all tokens of every shot repaired: full attention, whether they are placed together or one by one
    for (const together of [true, false]) {
      const pool = await ShotPool.build(model, shots, {
        storage: 'f32',
        instruction: INSTRUCTION,
        prefix: { repair: long },
      });
      const context = await ShotContext.create(pool, { room: 16 });
      let repaired = 0;
      if (together) repaired = (await context.place(['0', '1', '2'])).repaired;
      else for (const id of ['0', '1', '2']) repaired += (await context.place([id])).repaired;
      assert.is(repaired, context.tokens(3).length);
      const [got] = await branchLogits(context, [{ ids: query, shots: 3 }]);
      const want = await plainLogits(model, [...pool.prefixIds, ...context.tokens(3)], query);
      close('everything repaired, against plain prefill: logits', got!, want);
      context.close();
      pool.close();
    }
    // one token each: a masked pass in which only the first token of a shot sees those before
    const pool = await ShotPool.build(model, shots, {
      storage: 'f32',
      instruction: INSTRUCTION,
      prefix: { repair: 1 },
    });
    const context = await ShotContext.create(pool, { room: 16 });
    await context.place(['0', '1', '2']);
    const [got] = await branchLogits(context, [{ ids: query, shots: 3 }]);
    const list = shots.map(({ id }) => pool.tokens(id));
    const unrepaired = await piecedLogits(model, pool.prefixIds, list, query);
    const changed = worstError(got!, unrepaired);
    assert.ok(model.config.nLayers > 1 ? changed > 1e-4 : changed < LOGITS, `repair changes it by ${changed}`);
    context.close();
    pool.close();
  });

  on('a block of shots is a causal text of its own', async (model) => {
    const query = model.encode(QUERY, { addBos: false });
    const pool = await ShotPool.build(model, shots, {
      storage: 'f32',
      instruction: INSTRUCTION,
      prefix: { blocks: 2 },
    });
    const context = await ShotContext.create(pool, { room: 16 });
    await context.place(['2', '1']); // the block of 2 alone, then that of 0 and 1
    assert.equal(
      context.placed.map(({ id }) => id),
      ['2', '0', '1'],
    );
    assert.ok(context.isCausal(1) && !context.isCausal(3));
    const blocks = [pool.tokens('2'), [...pool.tokens('0'), ...pool.tokens('1')]];
    for (const [count, units] of [
      [1, 1],
      [2, 2],
      [3, 2],
    ] as const) {
      const [got] = await branchLogits(context, [{ ids: query, shots: count }]);
      const want = await piecedLogits(model, pool.prefixIds, blocks.slice(0, units), query);
      close('blocks: logits', got!, want);
    }
    context.close();
    pool.close();
  });
}

test.after(() => {
  device.close();
  worst.print();
});
test.run();
