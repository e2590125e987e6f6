/** A decoder whose experts act by position: against explicit coefficients, in pieces, together, and what it refuses. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LoraPart } from '../../src/checkpoint/adapter/modules.ts';
import {
  GATE_WEIGHTS,
  gateWeightShapes,
  ROUTING_RULE,
  type RoutingRule,
} from '../../src/checkpoint/adapter/routing.ts';
import type { Tensor } from '../../src/device/device.ts';
import { withTerms } from '../../src/model/adapters.ts';
import { Decoder } from '../../src/model/decoder.ts';
import type { KvCache } from '../../src/model/kv-cache.ts';
import type { LoraTerm, LoraTerms } from '../../src/model/lora.ts';
import { RoutedDecoder } from '../../src/model/routed/decoder.ts';
import type { GateWeights } from '../../src/model/routed/gate.ts';
import { coefficientsOf } from '../../src/model/routed/rule.ts';
import { put, testNothingLeft, trainDevices, Worst } from '../device/devices.ts';
import { randomF32 } from '../device/reference.ts';
import { code } from '../errors.ts';
import { distance, runAll } from './run.ts';
import { logitsOf, tinyDecoder } from './tiny.ts';

const EXPERTS = 2;
const worst = new Worst();
const all = await trainDevices();
const { device } = all[0]!;
const rule: RoutingRule = { ...ROUTING_RULE, cut: 1.7 };

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

interface Made {
  readonly base: Decoder;
  /** Its terms for any pass; routing has to be told. */
  readonly plain: Decoder;
  readonly routed: RoutedDecoder;
  readonly gate: GateWeights;
  dispose(): void;
}

async function made(model: string, of: { readonly size?: number; readonly rule?: RoutingRule } = {}): Promise<Made> {
  const { size = 0.05 } = of;
  const base = await tinyDecoder(model, device, 'exact');
  const tensors: Tensor[] = [];
  const keep = (shape: readonly number[], data: ArrayLike<number>): Tensor => {
    const tensor = put(device, shape, data);
    tensors.push(tensor);
    return tensor;
  };
  const terms = new Map<number, LoraTerms<LoraPart>>();
  for (let i = 0; i < base.config.nLayers; i++) {
    const layer = base.weights.layers.get(i);
    if (layer instanceof Promise) throw new Error('weights that come later');
    const matrices = {
      q: layer.q,
      v: layer.v,
      ...(layer.feedForward.kind === 'dense' && { up: layer.feedForward.up }),
    };
    const parts: { [P in LoraPart]?: LoraTerm[] } = {};
    for (const [n, [part, matrix]] of Object.entries(matrices).entries()) {
      const [rows, width] = matrix.shape as [number, number];
      const a = keep([3, width], randomF32(3 * width, 100 * i + n, 1));
      const b = (expert: number) => keep([rows, 3], randomF32(3 * rows, 1000 * i + 10 * n + expert, size));
      parts[part as LoraPart] = [
        { a, b: b(0), scale: 1 },
        { a, b: b(1), scale: 1, expert: 0 },
        { a, b: b(2), scale: 1, expert: 1 },
      ];
    }
    terms.set(i, parts);
  }
  const shapes = gateWeightShapes({ hidden: base.config.hiddenSize, units: 6, slots: EXPERTS + 1 });
  const gate = Object.fromEntries(
    GATE_WEIGHTS.map((name, i) => {
      const count = shapes[name].reduce((x, y) => x * y);
      return [name, keep(shapes[name], randomF32(count, 7 + i, name === 'out' ? 2 : 1))];
    }),
  ) as unknown as GateWeights;
  const weights = withTerms(base.weights, terms);
  const router = { gate, rule: of.rule ?? rule, dispose: () => {} };
  const routed = new RoutedDecoder(device, base.config, weights, base, router, 'exact');
  const plain = new Decoder(device, base.config, weights, 'exact');
  const dispose = (): void => {
    plain.ropes.dispose();
    routed.dispose();
    for (const tensor of tensors) tensor.dispose();
  };
  return { base, plain, routed, gate, dispose };
}

const idsOf = (count: number, vocab: number, seed = 3): number[] =>
  Array.from({ length: count }, (_, i) => (i * 7 + seed) % vocab);

/** Coefficients from the formulas, in f64, of what the unadapted model says. */
async function coefficients({ base, gate }: Made, ids: readonly number[], own: RoutingRule): Promise<Float32Array> {
  const { normed, logits } = await runAll(base, ids);
  const { hiddenSize: d, vocabSize: v } = base.config;
  const w: Record<string, Float32Array> = {};
  for (const name of GATE_WEIGHTS) w[name] = (await device.read(gate[name])) as Float32Array;
  const units = w['bias']!.length;
  const out = new Float32Array(ids.length * EXPERTS);
  let before = Number.POSITIVE_INFINITY;
  for (let t = 0; t < ids.length; t++) {
    const mean = Array.from({ length: d }, (_, i) => {
      let sum = 0;
      for (let j = 0; j <= t; j++) sum += normed[j * d + i]!;
      return sum / (t + 1);
    });
    const active = Array.from({ length: units }, (_, u) => {
      let x = w['bias']![u]!;
      for (let i = 0; i < d; i++) x += w['mean']![u * d + i]! * mean[i]! + w['now']![u * d + i]! * normed[t * d + i]!;
      return x / (1 + Math.exp(-x));
    });
    const slots = Float32Array.from({ length: EXPERTS + 1 }, (_, s) =>
      active.reduce((x, a, u) => x + a * w['out']![s * units + u]!, w['outBias']![s]!),
    );
    const row = logits.subarray(t * v, (t + 1) * v);
    const largest = row.reduce((x, y) => Math.max(x, y));
    const e = Array.from(row, (x) => Math.exp(x - largest));
    const total = e.reduce((x, y) => x + y);
    const entropy = (1 - e.reduce((x, y) => x + (y / total) ** own.order, 0)) / (own.order - 1);
    const used = own.alignment === 'lagged' ? before : entropy;
    before = entropy;
    coefficientsOf(own, slots, used, out.subarray(t * EXPERTS, (t + 1) * EXPERTS));
  }
  return out;
}

async function whole(decoder: Decoder, ids: readonly number[], routing?: Float32Array): Promise<Float32Array> {
  const cache = decoder.cache();
  const tensor = routing && put(device, [ids.length, EXPERTS], routing);
  const { vocabSize } = decoder.config;
  const logits = new Float32Array(ids.length * vocabSize);
  await decoder.forward(ids, cache, {
    ...(tensor && { routing: tensor }),
    onChunk: async (normed, first) => {
      logits.set((await device.read(decoder.logits(normed))) as Float32Array, first * vocabSize);
    },
  });
  cache.dispose();
  tensor?.dispose();
  return logits;
}

for (const model of ['llama-gqa', 'gemma3', 'moe-qwen2']) {
  for (const alignment of ['predictive', 'lagged'] as const) {
    test(`${model}, ${alignment}: what coefficients by the formulas give`, async () => {
      const own = { ...rule, alignment };
      const models = await made(model, { rule: own });
      const ids = idsOf(40, models.base.config.vocabSize);
      const routing = await coefficients(models, ids, own);
      const kinds = new Set(
        Array.from({ length: ids.length }, (_, t) => {
          const [a, b] = [routing[2 * t]!, routing[2 * t + 1]!];
          return a + b === 0 ? 'none' : a === 1 || b === 1 ? 'one' : 'shared';
        }),
      );
      assert.ok(kinds.size >= 2, [...kinds].join());
      const error = distance(await whole(models.routed, ids), await whole(models.plain, ids, routing));
      assert.ok(worst.within('logits', error, 1e-5), `${error}`);
      assert.ok(distance(await whole(models.base, ids), await whole(models.routed, ids)) > 1e-3, 'it changes nothing');
      models.dispose();
    });
  }
}

test('factors of zeros give the bits of the model without them', async () => {
  const models = await made('llama-gqa', { size: 0 });
  const ids = idsOf(20, models.base.config.vocabSize);
  assert.equal(await whole(models.routed, ids), await whole(models.base, ids));
  models.dispose();
});

test('token by token as all at once; back, on again, and a copy give the same bits', async () => {
  const models = await made('llama-gqa');
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
  const models = await made('llama-gqa');
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
  const models = await made('llama-gqa');
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
