/** Decoders with each kind of gate: what the formulas say in f64, whole, in pieces, token by token and beside other texts. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GATE_KINDS } from '../../src/checkpoint/adapter/gate-kinds.ts';
import { ROUTING_RULE, type RoutingRule } from '../../src/checkpoint/adapter/routing.ts';
import type { Decoder } from '../../src/model/decoder.ts';
import { testNothingLeft, trainDevices, Worst } from '../device/devices.ts';
import { coefficients, EXPERTS, idsOf, routedModels, whole } from './routed-models.ts';
import { distance } from './run.ts';

const worst = new Worst();
const all = await trainDevices();
const { device } = all[0]!;
const RULES: readonly RoutingRule[] = [
  { ...ROUTING_RULE, cut: 1.5 },
  { ...ROUTING_RULE, cut: 1.5, alignment: 'lagged' },
  // the gate may read an entropy that the rule does not
  { ...ROUTING_RULE, cut: null, alignment: 'lagged', order: 0.8 },
];

/** Logits of a text that goes through in pieces. */
async function inPieces(decoder: Decoder, ids: readonly number[], sizes: readonly number[]): Promise<Float32Array> {
  const cache = decoder.cache();
  const { vocabSize } = decoder.config;
  const logits = new Float32Array(ids.length * vocabSize);
  let from = 0;
  for (const size of sizes) {
    const first = from;
    await decoder.forward(ids.slice(first, first + size), cache, {
      onChunk: async (normed, row) => {
        logits.set((await device.read(decoder.logits(normed))) as Float32Array, (first + row) * vocabSize);
      },
    });
    from += size;
  }
  cache.dispose();
  return logits;
}

for (const kind of GATE_KINDS) {
  test(`${kind}: a text whole, in pieces and token by token is what coefficients by the formulas give`, async () => {
    for (const rule of RULES) {
      const models = await routedModels(device, 'llama-gqa', { rule, kind });
      const { routed, plain, base } = models;
      const ids = idsOf(26, base.config.vocabSize);
      const want = await whole(plain, ids, await coefficients(models, ids, rule));
      const got = {
        whole: await whole(routed, ids),
        pieces: await inPieces(routed, ids, [11, 1, 1, 9, 4]),
        tokens: await inPieces(routed, ids, new Array<number>(26).fill(1)),
      };
      for (const [way, logits] of Object.entries(got)) {
        const error = distance(logits, want);
        assert.ok(worst.within(`logits, ${way}`, error, 1e-5), `${JSON.stringify(rule)}, ${way}: ${error}`);
      }
      models.dispose();
    }
  });

  test(`${kind}: texts beside each other get the bits that each gets alone`, async () => {
    const rule = RULES[1]!;
    const models = await routedModels(device, 'llama-gqa', { rule, kind });
    const { routed } = models;
    const v = routed.config.vocabSize;
    const lists = [1, 2, 3].map((seed) => idsOf(9, v, seed));
    const alone: Float32Array[] = [];
    for (const ids of lists) alone.push(await inPieces(routed, ids, new Array<number>(9).fill(1)));
    const caches = lists.map(() => routed.cache());
    for (let t = 0; t < 9; t++) {
      const parts = lists.map((ids, i) => ({ ids: [ids[t]!], cache: caches[i]! }));
      await routed.forwardEach(parts, {
        onOutput: async (hidden) => {
          const logits = (await device.read(routed.logits(hidden, 'exact', true))) as Float32Array;
          for (const [i, own] of alone.entries()) {
            assert.equal(logits.slice(i * v, (i + 1) * v), own.slice(t * v, (t + 1) * v), `text ${i}, token ${t}`);
          }
        },
      });
    }
    for (const cache of caches) cache.dispose();
    models.dispose();
  });
}

test('literal: the same expert for every token where the entropy is low; without a null slot it is the softmax of notes on ALTER', async () => {
  const rule = RULES[0]!;
  const models = await routedModels(device, 'llama-gqa', { rule, kind: 'literal' });
  const ids = idsOf(40, models.base.config.vocabSize);
  const { gate } = models;
  if (gate.kind !== 'literal') throw new Error('another gate');
  // a row that is far below the others takes no share, as if there were no null slot
  const [a, b] = [0.4, 0.9];
  device.write(gate.entropy, Float32Array.of(-1e4, a, b));
  const shares = await coefficients(models, ids, rule);
  assert.ok(distance(await whole(models.routed, ids), await whole(models.plain, ids, shares)) < 1e-5);
  const seen = { low: 0, high: 0 };
  for (let t = 0; t < ids.length; t++) {
    const [one, two] = [shares[EXPERTS * t]!, shares[EXPERTS * t + 1]!];
    assert.ok(two > one && one + two > 0.999999, `the order of experts at ${t}: ${one}, ${two}`);
    if (one === 0) {
      assert.is(two, 1);
      seen.low++;
      continue;
    }
    seen.high++;
    // softmax(W S / 0.8) of two experts: the logit of the share is S (b - a) / 0.8, and S is above the cut and below ln V and 2
    const entropy = (Math.log(two / one) * rule.temperature) / (b - a);
    assert.ok(entropy > rule.cut! - 1e-4 && entropy < 2, `${entropy}`);
  }
  assert.ok(seen.low > 0 && seen.high > 0, JSON.stringify(seen));
  models.dispose();
});

test('a cache keeps means for the gate that reads them, and is smaller without', async () => {
  const sizes: number[] = [];
  for (const kind of ['global', 'hidden'] as const) {
    const models = await routedModels(device, 'llama-gqa', { rule: RULES[0]!, kind });
    const cache = models.routed.cache(64);
    await models.routed.forward(idsOf(5, models.base.config.vocabSize), cache);
    const copy = models.routed.cache();
    copy.copyFrom(cache, 5);
    assert.equal([copy.length, copy.base.length, copy.entropies], [5, 5, cache.entropies]);
    sizes.push(cache.byteLength);
    cache.dispose();
    copy.dispose();
    models.dispose();
  }
  const { config } = await (async () => {
    const models = await routedModels(device, 'llama-gqa', { rule: RULES[0]! });
    models.dispose();
    return models.base;
  })();
  assert.is(sizes[0]! - sizes[1]!, 64 * config.hiddenSize * 4);
});

testNothingLeft(all, worst);
test.run();
