/** T1 to T7 of the specification: stored and placed shots against plain forward passes, on a model of each RoPE kind and layout. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { KvCache } from '../../src/model/kv-cache.ts';
import { encodeUnits } from '../../src/show/pool/encode.ts';
import { ShotContext, ShotPool } from '../../src/show.ts';
import { worstError } from '../device/reference.ts';
import { logitsOf } from '../model/tiny.ts';
import { alone } from './alone.ts';
import {
  branchLogits,
  close,
  device,
  floats,
  INSTRUCTION,
  MODELS,
  maskedLogits,
  piecedLogits,
  plainLogits,
  QUERY,
  range,
  referenceOf,
  shots,
  TEXTS,
  testsOf,
  worst,
} from './conformance.ts';

for (const name of MODELS) {
  const on = testsOf(name);

  on('T1: keys before RoPE, values and logits do not depend on where a shot stood', async ({ decoder, config }) => {
    const { ids } = await referenceOf(name);
    const at = async (first: number) => {
      const keys: Float32Array[] = [];
      const logits: Float32Array[] = [];
      const pending: Promise<void>[] = [];
      const cache = decoder.cache();
      await decoder.forward(ids.slice(0, 8), cache, {
        positions: range(first, 8),
        onKeys: (layer, k, v) => {
          const copies = [k, v].map((t) => {
            const copy = device.tensor('f32', t.shape);
            device.copyRows(t, copy, 0);
            return copy;
          });
          pending.push(
            (async () => {
              keys[2 * layer] = await floats(copies[0]!);
              keys[2 * layer + 1] = await floats(copies[1]!);
              for (const copy of copies) copy.dispose();
            })(),
          );
        },
        onChunk: async (normed) => {
          logits.push(await floats(decoder.logits(normed)));
        },
      });
      await Promise.all(pending);
      const rotated = await floats(device.rows(cache.keys(0), 0, 8));
      cache.dispose();
      return { keys, logits: logits[0]!, rotated };
    };
    const [low, high] = [await at(0), await at(41)];
    assert.is(low.keys.length, 2 * config.nLayers);
    for (const [i, list] of low.keys.entries()) close('T1 keys and values', high.keys[i]!, list);
    close('T1 logits', high.logits, low.logits);
    assert.ok(worstError(high.rotated, low.rotated) > 1e-2, 'rotated keys do depend on it');
  });

  on('T2: placed shots equal one masked forward pass', async (model) => {
    for (const prefix of ['bare', 'prefixed'] as const) {
      const pool = await ShotPool.build(model, shots, { storage: 'f32', instruction: INSTRUCTION, prefix });
      const context = await ShotContext.create(pool, { room: 16 });
      await context.place(['0', '1']);
      await context.place(['2']);
      const query = model.encode(QUERY, { addBos: false });
      for (const count of [0, 1, 2, 3]) {
        const [got] = await branchLogits(context, [{ ids: query, shots: count }]);
        const list = shots.slice(0, count).map(({ id }) => pool.tokens(id));
        const want =
          prefix === 'bare'
            ? await maskedLogits(model, pool.prefixIds, list, query)
            : await piecedLogits(model, pool.prefixIds, list, query);
        close(`T2 placed, ${prefix}: logits`, got!, want);
        const plain = await plainLogits(model, [...pool.prefixIds, ...list.flat()], query);
        assert.is(context.isCausal(count), count === 0 || (count === 1 && prefix === 'prefixed'));
        if (context.isCausal(count)) close('T2 what is exact, against plain prefill: logits', got!, plain);
        else if (model.config.nLayers > 1) assert.ok(worstError(got!, plain) > 1e-3, 'blocks are not full attention');
        // keys and values of a first layer depend on nothing before them
        else close('T2 one layer, against plain prefill: logits', got!, plain);
      }
      context.close();
      pool.close();
    }
  });

  on(
    'T3: one shot without a prefix is a plain prefill, and what transformers computes',
    async ({ decoder, config }) => {
      const { ids, logits } = await referenceOf(name);
      const cache = decoder.cache();
      const first = ids.slice(0, 9);
      const [encoded] = await encodeUnits(decoder, cache, [alone(first)], { storage: 'f32', seen: 0 });
      const { shot } = encoded!;
      cache.placeStored(shot.keys, shot.values, 0);
      const got = await logitsOf(decoder, cache, ids.slice(9));
      if (logits) close('T3 against transformers: logits', got, logits.slice(9 * config.vocabSize), 2e-4);
      cache.truncate(0);
      const plain = await logitsOf(decoder, cache, ids);
      close('T3 against plain prefill: logits', got, plain.slice(9 * config.vocabSize));

      // T8: the other pairing is a self-consistent rotation too, and wrong
      const layout = config.rope.layout === 'half' ? ('interleaved' as const) : ('half' as const);
      const wrong = new KvCache(device, { ...config, rope: { ...config.rope, layout } }, decoder.ropes);
      wrong.placeStored(shot.keys, shot.values, 0);
      const bad = await logitsOf(decoder, wrong, ids.slice(9));
      assert.ok(worstError(bad, plain.slice(9 * config.vocabSize)) > 1e-2, 'T8: the wrong pairing passes');
      for (const thing of [cache, wrong, shot]) thing.dispose();
    },
  );

  on('T4: branches beside each other equal separate probes, in both orders, and forks too', async (model) => {
    const pool = await ShotPool.build(model, shots, { storage: 'f32', instruction: INSTRUCTION });
    for (const order of ['best-first', 'best-nearest'] as const) {
      for (const scale of [1, 0.8]) {
        const context = await ShotContext.create(pool, { room: 20, order, scale });
        await context.place(['0', '1', '2']);
        const query = model.encode(QUERY, { addBos: false });
        const other = model.encode('ab:', { addBos: false });
        const list = [
          { ids: query, shots: 1 },
          { ids: other, shots: 3 },
          { ids: query, shots: 0 },
          { ids: query, shots: 2 },
        ];
        const together = await branchLogits(context, list);
        for (const [i, branch] of list.entries()) {
          const [alone] = await branchLogits(context, [branch]);
          close('T4 together against alone: logits', together[i]!, alone!);
        }
        // forks go on from their branch, and do not see each other
        const { decoder } = model;
        const tails = [model.encode('cd', { addBos: false }), model.encode('e', { addBos: false })];
        const forks = tails.map((ids, i) => ({ branch: i === 0 ? 3 : 1, ids }));
        const forked = await context.branches(list, (_, __, fork) =>
          fork([...forks, { branch: 3, ids: tails[1]! }], async (hidden, rows) => {
            const all = await floats(decoder.logits(hidden));
            const width = decoder.config.vocabSize;
            return rows.map(({ first, count }) => all.slice(first * width, (first + count) * width));
          }),
        );
        const longer = [...forks, { branch: 3, ids: tails[1]! }];
        for (const [i, { branch, ids }] of longer.entries()) {
          const stem = list[branch]!;
          const [whole] = await branchLogits(context, [{ ids: [...stem.ids, ...ids], shots: stem.shots }]);
          const tail = whole!.slice(stem.ids.length * decoder.config.vocabSize);
          close('T4 forks against whole branches: logits', forked[i]!, tail);
        }
        context.close();
      }
    }
    pool.close();
  });

  on('going on from so many shots equals a branch, in both orders, with a scale of attention too', async (model) => {
    const pool = await ShotPool.build(model, shots, { storage: 'f32', instruction: INSTRUCTION });
    const query = model.encode(QUERY, { addBos: false });
    const { decoder } = model;
    for (const order of ['best-first', 'best-nearest'] as const) {
      const plain = await ShotContext.create(pool, { room: 20, order, temperature: 0.9 });
      await plain.place(['0', '1', '2']);
      const [unscaled] = await branchLogits(plain, [{ ids: query, shots: 2 }]);
      for (const scale of [1 / 0.9, 1.0000001 / 0.9, 0.6]) {
        const context = await ShotContext.create(pool, { room: 20, order, temperature: 0.9, scale });
        await context.place(['0', '1', '2']);
        const [want] = await branchLogits(context, [{ ids: query, shots: 2 }]);
        // a factor that is hardly one goes the way of all factors, and must come out as none
        if (scale > 1) close('scale of 1 in two parts against one: logits', want!, unscaled!);
        else assert.ok(worstError(want!, unscaled!) > 1e-3, 'the scale changes something');
        const behind = await context.continueAt(2);
        const got: number[] = [];
        let done = 0;
        for (const some of [query.slice(0, 3), query.slice(3, 4), query.slice(4)]) {
          await decoder.forward(some, behind.cache, {
            ...behind.options(done, some.length),
            onChunk: async (normed) => {
              got.push(...(await floats(decoder.logits(normed))));
            },
          });
          done += some.length;
        }
        behind.end();
        close('going on against a branch: logits', got, want!, 2e-5);
        // the context is as good as before, with the shots that were kept
        assert.is(context.placed.length, 2);
        await context.place(['2']);
        const [again] = await branchLogits(context, [{ ids: query, shots: 2 }]);
        close('a branch afterwards: logits', again!, want!);
        context.close();
      }
      plain.close();
    }
    pool.close();
  });

  on('T5: shots placed leftwards from a fixed query equal normal packing', async (model) => {
    for (const prefix of ['bare', 'prefixed'] as const) {
      const pool = await ShotPool.build(model, shots, { storage: 'f32', instruction: INSTRUCTION, prefix });
      const query = model.encode(QUERY, { addBos: false });
      const anchored = await ShotContext.create(pool, { room: 12, order: 'best-nearest', temperature: 0.8 });
      for (const id of ['2', '0', '1']) await anchored.place([id]); // grown one by one
      const order = ['2', '0', '1'];
      for (const count of [0, 1, 2, 3]) {
        const packed = await ShotContext.create(pool, { room: 12, temperature: 0.8 });
        await packed.place(order.slice(0, count).reverse());
        const [want] = await branchLogits(packed, [{ ids: query, shots: count }]);
        const [got] = await branchLogits(anchored, [{ ids: query, shots: count }]);
        close('T5 anchored against packed: logits', got!, want!, 2e-5);
        assert.equal(anchored.tokens(count), packed.tokens(count));
        packed.close();
      }
      anchored.close();
      pool.close();
    }
  });

  on('T6: keys left where they were cached change logits grossly', async (model) => {
    const { decoder } = model;
    const list = TEXTS.map((text) => model.encode(text, { addBos: false }));
    const query = model.encode(QUERY, { addBos: false });
    const cache = decoder.cache();
    const encoded = await encodeUnits(decoder, cache, list.map(alone), { storage: 'f32', seen: 0 });
    const placed = async (positions: readonly number[]) => {
      cache.truncate(0);
      for (const [i, { shot }] of encoded.entries()) cache.placeStored(shot.keys, shot.values, positions[i]!);
      const total = list.flat().length;
      return logitsOf(decoder, cache, query, { positions: range(total, query.length) });
    };
    const ends = [0, list[0]!.length, list[0]!.length + list[1]!.length];
    const want = await maskedLogits(model, [], list, query);
    close('T6 moved keys: logits', await placed(ends), want);
    const error = worstError(await placed([0, 0, 0]), want);
    assert.ok(error > 1e-2, `T6: keys at local positions pass: ${error}`);
    for (const { shot } of encoded) shot.dispose();
    cache.dispose();
  });

  on('T7: the attention factor is in keys exactly once, however often they are placed', async ({ decoder, config }) => {
    const { ids } = await referenceOf(name);
    const { nKvHeads, headDim, rope } = config;
    const cache = decoder.cache();
    const [encoded] = await encodeUnits(decoder, cache, [alone(ids.slice(0, 8))], { storage: 'f32', seen: 0 });
    const { shot } = encoded!;
    const norms = (data: Float32Array) =>
      range(0, 8 * nKvHeads).map((i) => Math.hypot(...data.subarray(i * headDim, i * headDim + rope.rotaryDims)));
    const bare = norms((await floats(device.rows(shot.keys.data, 0, 8))) as Float32Array);
    for (const position of [0, 3, 50, 17]) {
      cache.truncate(0);
      cache.placeStored(shot.keys, shot.values, position);
      const turned = norms(await floats(device.rows(cache.keys(0), 0, 8)));
      close(
        'T7 lengths of keys',
        turned,
        bare.map((n) => n * decoder.ropes.main.attentionFactor),
        1e-6,
      );
    }
    assert.is(decoder.ropes.main.attentionFactor !== 1, name.includes('yarn'));
    shot.dispose();
    cache.dispose();
  });
}

test.after(() => {
  device.close();
  worst.print();
});
test.run();
