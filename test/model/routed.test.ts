/** A decoder whose experts act by position: against explicit coefficients, in pieces, together, and what it refuses. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROUTING_RULE, type RoutingRule } from '../../src/checkpoint/adapter/routing.ts';
import type { KvCache } from '../../src/model/kv-cache.ts';
import { coefficientsOf } from '../../src/model/routed/rule.ts';
import { testNothingLeft, trainDevices, Worst } from '../device/devices.ts';
import { code } from '../errors.ts';
import { coefficients, idsOf, routedModels, whole } from './routed-models.ts';
import { distance } from './run.ts';
import { logitsOf } from './tiny.ts';

const worst = new Worst();
const all = await trainDevices();
const { device } = all[0]!;
const rule: RoutingRule = { ...ROUTING_RULE, cut: 1.5 };

test('coefficients: one expert where the entropy is low, several where it is high', () => {
  const of = (logits: number[], entropy: number, own: Partial<RoutingRule> = {}): number[] => {
    const out = new Float32Array(logits.length - 1).fill(7);
    coefficientsOf({ ...ROUTING_RULE, ...own }, Float32Array.from(logits), entropy, out);
    return [...out].map((x) => Math.round(x * 1e6) / 1e6);
  };
  assert.equal(of([0, 1, 2], 1), [0, 1]);
  assert.equal(of([3, 1, 2], 1), [0, 0], 'the null slot');
  assert.equal(of([0, 2, 2], 1), [1, 0], 'the first of equals');
  assert.equal(of([0, 1, 2], 1.2), [0, 1], 'the cut itself is low');
  // e^0, e^1, e^2 over their sum, with a temperature of 1
  assert.equal(of([0, 1, 2], 1.3, { temperature: 1 }), [0.244728, 0.665241]);
  assert.equal(of([0, 1, 2], 1.3, { temperature: 1, most: 1 }), [0, 0.880797]);
  assert.equal(of([0, 1, 2], 1.3, { temperature: 1, strength: 0.5 }), [0.122364, 0.33262]);
  assert.equal(of([0, 1, 2], 1, { path: 'tr' }), [0, 0]);
  assert.equal(of([0, 1, 2], 1.3, { path: 'tr', temperature: 1 }), [0.244728, 0.665241]);
  assert.equal(of([0, 1, 2], Number.POSITIVE_INFINITY, { cut: null }), [0, 1], 'no cut');
  assert.equal(of([0, 1e4, -1e4], 2), [1, 0], 'far logits');
  for (const broken of [
    [0, Number.NaN, 1],
    [0, Number.POSITIVE_INFINITY, 1],
  ]) {
    assert.throws(() => of(broken, 1), code('E_TENSOR_VALUE'));
  }
  assert.throws(() => of([0, 1, 2], Number.NaN), code('E_TENSOR_VALUE'));
});

for (const model of ['llama-gqa', 'gemma3', 'moe-qwen2']) {
  for (const alignment of ['predictive', 'lagged'] as const) {
    test(`${model}, ${alignment}: what coefficients by the formulas give`, async () => {
      const own = { ...rule, alignment };
      const models = await routedModels(device, model, { rule: own });
      const ids = idsOf(40, models.base.config.vocabSize);
      const routing = await coefficients(models, ids, own);
      const kinds = new Set(
        Array.from({ length: ids.length }, (_, t) => {
          const [a, b] = [routing[2 * t]!, routing[2 * t + 1]!];
          return a + b === 0 ? 'none' : a === 1 || b === 1 ? 'one' : 'shared';
        }),
      );
      assert.ok(kinds.size >= 2 && kinds.has('shared'), [...kinds].join());
      const error = distance(await whole(models.routed, ids), await whole(models.plain, ids, routing));
      assert.ok(worst.within('logits', error, 1e-5), `${error}`);
      assert.ok(distance(await whole(models.base, ids), await whole(models.routed, ids)) > 1e-3, 'it changes nothing');
      models.dispose();
    });
  }
}

test('factors of zeros give the bits of the model without them', async () => {
  const models = await routedModels(device, 'llama-gqa', { rule, size: 0 });
  const ids = idsOf(20, models.base.config.vocabSize);
  assert.equal(await whole(models.routed, ids), await whole(models.base, ids));
  models.dispose();
});

test('token by token as all at once; back, on again, and a copy give the same bits', async () => {
  const models = await routedModels(device, 'llama-gqa', { rule });
  const { routed } = models;
  const ids = idsOf(24, routed.config.vocabSize);
  const want = await whole(routed, ids);
  const { vocabSize: v } = routed.config;
  const cache = routed.cache();
  const one = async (to: KvCache, id: number): Promise<Float32Array> => logitsOf(routed, to, [id]);
  const alone: Float32Array[] = [];
  for (const id of ids) alone.push(await one(cache, id));
  for (const [t, row] of alone.entries()) {
    assert.ok(worst.within('token by token', distance(row, want.subarray(t * v, (t + 1) * v)), 1e-5));
  }
  cache.truncate(10);
  const copy = routed.cache();
  copy.copyFrom(cache, 10);
  for (let t = 10; t < ids.length; t++) {
    assert.equal(await one(cache, ids[t]!), alone[t]);
    assert.equal(await one(copy, ids[t]!), alone[t]);
  }
  assert.ok(cache.byteLength > 2 * cache.length);
  cache.dispose();
  copy.dispose();
  models.dispose();
});

test('several sequences at once get the bits that each gets alone', async () => {
  const models = await routedModels(device, 'llama-gqa', { rule });
  const { routed } = models;
  const lists = [1, 2, 3].map((seed) => idsOf(12, routed.config.vocabSize, seed));
  const alone: Float32Array[][] = [];
  for (const ids of lists) {
    const cache = routed.cache();
    const rows: Float32Array[] = [];
    for (const id of ids) rows.push(await logitsOf(routed, cache, [id]));
    alone.push(rows);
    cache.dispose();
  }
  const caches = lists.map(() => routed.cache());
  for (let t = 0; t < 12; t++) {
    await routed.forwardEach(
      lists.map((ids, i) => ({ ids: [ids[t]!], cache: caches[i]! })),
      {
        onOutput: async (hidden) => {
          const logits = (await device.read(routed.logits(hidden, 'exact', true))) as Float32Array;
          const v = routed.config.vocabSize;
          for (const [i, rows] of alone.entries())
            assert.equal(logits.slice(i * v, (i + 1) * v), rows[t], `${i}, ${t}`);
        },
      },
    );
  }
  for (const cache of caches) cache.dispose();
  models.dispose();
});

test('what broke off leaves the cache as it was; masks, pieces and other caches are refused', async () => {
  const models = await routedModels(device, 'llama-gqa', { rule });
  const { routed, base } = models;
  const ids = idsOf(8, routed.config.vocabSize);
  const cache = routed.cache();
  await routed.forward(ids, cache);
  const next = await (async () => {
    const copy = routed.cache();
    copy.copyFrom(cache, 8);
    const logits = await logitsOf(routed, copy, [5]);
    copy.dispose();
    return logits;
  })();
  const failing = routed.forward([1, 2], cache, {
    onChunk: () => {
      throw new Error('enough');
    },
  });
  await failing.then(
    () => assert.unreachable(),
    (error) => assert.is(error.message, 'enough'),
  );
  assert.equal([cache.length, cache.base.length, cache.entropies.length], [8, 8, 8]);
  const aborted = await routed.forward([1], cache, { signal: AbortSignal.abort() }).catch((error) => error.code);
  assert.is(aborted, 'E_ABORTED');
  assert.equal(await logitsOf(routed, cache, [5]), next);
  const refused = async (work: () => unknown): Promise<string> => {
    try {
      await work();
    } catch (error) {
      return (error as { code: string }).code;
    }
    return 'nothing';
  };
  assert.is(await refused(() => routed.forward([1], cache, { mask: Int32Array.from([0, 0, 0]) })), 'E_ADAPTER');
  assert.is(await refused(() => cache.extract()), 'E_ADAPTER');
  assert.is(await refused(() => cache.shift()), 'E_ADAPTER');
  await routed.forward([], cache);
  assert.is(cache.length, 9, 'no tokens');
  const other = base.cache();
  assert.is(await refused(() => routed.forward([1], other)), 'E_ARGUMENT');
  assert.is(await refused(() => cache.copyFrom(other, 0)), 'E_ADAPTER');
  assert.is(cache.length, 9);
  other.dispose();
  cache.dispose();
  models.dispose();
});

testNothingLeft(all, worst);
test.run();
