/** Terms that share a factor and are weighed by row and expert: against PyTorch, the bits of terms without routing, and through a decoder. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LoraPart } from '../../src/checkpoint/adapter/modules.ts';
import type { Device, Tensor } from '../../src/device/device.ts';
import { withTerms } from '../../src/model/adapters.ts';
import { Decoder, type ForwardOptions } from '../../src/model/decoder.ts';
import { addLora, addLoraBackward, type LoraTerm, type LoraTerms } from '../../src/model/lora.ts';
import { put, testNothingLeft, testsOn, trainDevices, Worst } from '../device/devices.ts';
import { disposeAll, floats } from '../device/gradients.ts';
import { randomF32, worstError } from '../device/reference.ts';
import { code, rejects } from '../errors.ts';
import { fixture } from './shared-files.ts';
import { tinyDecoder } from './tiny.ts';

const oracle = (await fixture('prune-ops.json')).routed;
const { rows, inputs, outputs, rank, experts } = oracle as Record<string, number>;
const SPECS = oracle.terms as { scale: number; expert?: number }[];
const all = await trainDevices();
const worst = new Worst();
const BOUND = 2e-6;

/** The terms of the fixture on a device, and what they meet. */
function made(device: Device) {
  const f = (height: number, width: number, data: ArrayLike<number>) => put(device, [height, width], data);
  const a = f(rank!, inputs!, oracle.a);
  const bs = SPECS.map((_, i) => f(outputs!, rank!, oracle.b[i]));
  const [x, dOut] = [f(rows!, inputs!, oracle.x), f(rows!, outputs!, oracle.dOut)];
  const routing = f(rows!, experts!, oracle.routing);
  const terms = SPECS.map((spec, i): LoraTerm => ({ ...spec, a, b: bs[i]! }));
  return { a, bs, x, dOut, routing, terms, tensors: [a, ...bs, x, dOut, routing] };
}

/** A device that counts its products. */
function counting<D extends Device>(device: D): { device: D; products(): number } {
  let count = 0;
  const counted = new Proxy(device, {
    get(target, name) {
      if (name === 'matmul') count++;
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { device: counted, products: () => count };
}

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const read = (t: Tensor) => floats(device, t);
  const zeros = (t: Tensor) => device.tensor('f32', t.shape);

  on('terms by expert and their gradients equal autograd', async () => {
    const { a, bs, x, dOut, routing, terms, tensors } = made(device);
    const out = device.tensor('f32', [rows!, outputs!]);
    const forward = counting(device);
    addLora(forward.device, terms, routing, x, out, false);
    assert.is(forward.products(), 1 + terms.length, 'x Aᵀ is computed once');
    assert.ok(worst.within('out', worstError(await read(out), oracle.out), BOUND));
    const [dX, dA, dBs, dRouting] = [zeros(x), zeros(a), bs.map(zeros), zeros(routing)];
    // a view for each, as a trainable has them
    const gradients = dBs.map((b) => ({ a: device.rows(dA, 0, rank!), b }));
    const back = counting(device);
    addLoraBackward(back.device, terms, gradients, { coefficients: routing, gradient: dRouting }, x, dOut, dX);
    assert.is(back.products(), 1 + 2 * terms.length + 2, 'and its gradient goes on once');
    for (const [what, tensor, want] of [
      ['dX', dX, oracle.dX],
      ['dA', dA, oracle.dA],
      ['dRouting', dRouting, oracle.dRouting],
      ...dBs.map((b, i) => ['dB', b, oracle.dB[i]] as const),
    ] as const) {
      const error = worstError(await read(tensor), want);
      assert.ok(worst.within(what, error, BOUND), `${what}: ${error}`);
    }
    // asked for alone they are the same
    const alone = zeros(routing);
    addLoraBackward(device, terms, undefined, { coefficients: routing, gradient: alone }, x, dOut, null);
    assert.equal(await read(alone), await read(dRouting));
    disposeAll(...tensors, out, dX, dA, ...dBs, dRouting, alone);
  });

  on('1 has the bits of terms without an expert, 0 and no routing those of none', async () => {
    const { a, bs, x, dOut, tensors } = made(device);
    const copy = put(device, a.shape, oracle.a);
    const start = randomF32(rows! * outputs!, 3);
    const [first, second] = [0.5, -1.5];
    const shared = (expert: number): LoraTerm[] => [
      { a, b: bs[0]!, scale: first },
      { a, b: bs[1]!, scale: second, expert },
    ];
    const apart: LoraTerm[] = [
      { a, b: bs[0]!, scale: first },
      { a: copy, b: bs[1]!, scale: second },
    ];
    // experts 0: 1 everywhere, 1: 0 everywhere, 2: 1 in even rows
    const coefficients = Array.from({ length: rows! * 3 }, (_, i) => [1, 0, Number(i % 6 < 3)][i % 3]!);
    const routing = put(device, [rows!, 3], coefficients);
    const run = async (terms: readonly LoraTerm[], by: Tensor | null, count: number, alone: boolean) => {
      const out = put(device, [count, outputs!], start.subarray(0, count * outputs!));
      const some = (t: Tensor) => device.rows(t, 0, count);
      addLora(device, terms, by && some(by), some(x), out, alone);
      const got = await read(out);
      out.dispose();
      return got;
    };
    for (const [count, alone] of [
      [rows!, false],
      [rows!, true],
      [1, false],
    ] as const) {
      const [base, both] = [await run(apart.slice(0, 1), null, count, alone), await run(apart, null, count, alone)];
      assert.not.equal(both, base);
      assert.equal(await run(shared(0), routing, count, alone), both, 'by 1');
      assert.equal(await run(shared(1), routing, count, alone), base, 'by 0');
      assert.equal(await run(shared(0), null, count, alone), base, 'without routing');
      assert.equal(await run(shared(0).slice(1), null, count, alone), start.slice(0, count * outputs!), 'nothing');
      const mixed = await run(shared(2), routing, count, alone);
      for (let row = 0; row < count; row++) {
        const own = (values: Float32Array) => values.slice(row * outputs!, (row + 1) * outputs!);
        assert.equal(own(mixed), own(row % 2 === 0 ? both : base), `row ${row}`);
      }
    }
    // gradients: those of B to the bit, of rows by 0 nothing
    const gradients = async (terms: readonly LoraTerm[], by: Tensor | null) => {
      const [dX, dBs] = [zeros(x), bs.slice(0, 2).map(zeros)];
      addLoraBackward(
        device,
        terms,
        dBs.map((b) => ({ a: null, b })),
        by && { coefficients: by, gradient: null },
        x,
        dOut,
        dX,
      );
      const got = await Promise.all([dX, ...dBs].map(read));
      disposeAll(dX, ...dBs);
      return got as [Float32Array, Float32Array, Float32Array];
    };
    const [plain, by1, by0, without] = [
      await gradients(apart, null),
      await gradients(shared(0), routing),
      await gradients(shared(1), routing),
      await gradients(shared(1), null),
    ];
    assert.equal(by1.slice(1), plain.slice(1));
    assert.ok(worst.within('dX, shared and apart', worstError(by1[0], plain[0]), BOUND));
    const [onlyX] = await gradients(apart.slice(0, 1), null);
    assert.equal([by0[0], without[0]], [onlyX, onlyX]);
    assert.ok([by0, without].every(([, , frozen]) => frozen.every((v) => v === 0)));
    disposeAll(...tensors, copy, routing);
  });

  on('what has no column, or other rows, is refused', async () => {
    const { a, bs, x, dOut, terms, tensors } = made(device);
    const [out, dX] = [device.tensor('f32', [rows!, outputs!]), zeros(x)];
    for (const shape of [
      [rows!, 2],
      [rows! - 1, experts!],
    ]) {
      const routing = device.tensor('f32', shape);
      const mark = device.mark();
      assert.throws(() => addLora(device, terms, routing, x, out, false), code('E_SHAPE'));
      assert.throws(
        () => addLoraBackward(device, terms, undefined, { coefficients: routing, gradient: null }, x, dOut, dX),
        code('E_SHAPE'),
      );
      device.reset(mark);
      const negative: LoraTerm[] = [{ a, b: bs[0]!, scale: 1, expert: -1 }];
      assert.throws(() => addLora(device, negative, routing, x, out, false), code('E_SHAPE'));
      device.reset(mark);
      routing.dispose();
    }
    disposeAll(...tensors, out, dX);
  });
}

test('the same bits for any number of lanes', async () => {
  const [t, k, n, r] = [300, 100, 257, 16];
  const results = new Map<string, Float32Array[]>();
  for (const { name, device } of all) {
    const f = (height: number, width: number, seed: number) =>
      put(device, [height, width], randomF32(height * width, seed));
    const [a, b, second, x, out, dOut, routing] = [
      f(r, k, 1),
      f(n, r, 2),
      f(n, r, 3),
      f(t, k, 4),
      f(t, n, 5),
      f(t, n, 6),
      f(t, 3, 7),
    ];
    const terms: LoraTerm[] = [
      { a, b, scale: 0.5 },
      { a, b: second, scale: 2, expert: 2 },
    ];
    const [dX, dA, dB, dSecond] = [x, a, b, second].map((of) => device.tensor('f32', of.shape)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    addLora(device, terms, routing, x, out, false);
    const gradients = [
      { a: dA, b: dB },
      { a: dA, b: dSecond },
    ];
    const dRouting = device.tensor('f32', routing.shape);
    addLoraBackward(device, terms, gradients, { coefficients: routing, gradient: dRouting }, x, dOut, dX);
    const got = await Promise.all([out, dX, dA, dB, dSecond, dRouting].map((of) => floats(device, of)));
    disposeAll(a, b, second, x, out, dOut, routing, dX, dA, dB, dSecond, dRouting);
    const build = name.replace(/, (shared memory|\d lanes)/g, '');
    const first = results.get(build) ?? got;
    assert.equal(got, first, name);
    results.set(build, first);
  }
});

/** On every matrix a term that is always there, and two by expert; those of experts have the factors of the first, times 2 and -1. */
function termsOf(device: Device, decoder: Decoder, tensors: Tensor[]) {
  const { hiddenSize: h, nHeads, nKvHeads, headDim, nLayers, intermediateSize, moe } = decoder.config;
  const [q, kv] = [nHeads * headDim, nKvHeads * headDim];
  const shapesOf = (layer: number): Record<LoraPart, readonly [number, number]> => {
    const inner = moe?.layers.includes(layer) ? moe.sharedSize : intermediateSize;
    return {
      ...{ q: [q, h], k: [kv, h], v: [kv, h], o: [h, q] },
      ...{ gate: [inner, h], up: [inner, h], down: [h, inner] },
    };
  };
  const layers = (kinds: readonly (number | null)[]) => {
    const terms = new Map<number, LoraTerms<LoraPart>>();
    for (let layer = 0; layer < nLayers; layer++) {
      const parts = Object.entries(shapesOf(layer)).map(([part, [n, k]], at) => {
        const keep = (t: Tensor) => {
          tensors.push(t);
          return t;
        };
        const seed = 100 * layer + 10 * at + 1;
        const a = keep(put(device, [3, k], randomF32(3 * k, seed, 0.3)));
        const list = kinds.map((expert, i): LoraTerm => {
          const b = keep(put(device, [n, 3], randomF32(n * 3, seed + i + 1, 0.3)));
          return expert === null ? { a, b, scale: 0.5 } : { a, b, scale: 0.5, expert };
        });
        return [part, list];
      });
      terms.set(layer, Object.fromEntries(parts) as LoraTerms<LoraPart>);
    }
    return terms;
  };
  return { routed: layers([null, 0, 1]), plain: layers([null, null]), first: layers([null]) };
}

for (const model of ['llama-gqa', 'moe-qwen2', 'gemma3']) {
  const { device } = all[0]!;
  testsOn(model, device)('a pass weighs the terms of all matrices by its rows', async () => {
    const tensors: Tensor[] = [];
    const base = await tinyDecoder(model, device, 'exact');
    const terms = termsOf(device, base, tensors);
    const of = (by: typeof terms.routed) => new Decoder(device, base.config, withTerms(base.weights, by), 'exact');
    const [routed, plain, first] = [of(terms.routed), of(terms.plain), of(terms.first)];
    const ids = Array.from({ length: 11 }, (_, i) => (i * 7 + 3) % base.config.vocabSize);
    const table = (row: (i: number) => readonly [number, number]) => {
      const t = put(
        device,
        [ids.length, 2],
        ids.flatMap((_, i) => [...row(i)]),
      );
      tensors.push(t);
      return t;
    };
    const hidden = async (decoder: Decoder, options: ForwardOptions = {}) => {
      const cache = decoder.cache();
      let got = new Float32Array(0);
      const onChunk = async (t: Tensor) => {
        got = (await device.read(t)) as Float32Array<ArrayBuffer>;
      };
      await decoder.forward(ids, cache, { ...options, onChunk });
      cache.dispose();
      return got;
    };
    const [none, both] = [await hidden(first), await hidden(plain)];
    assert.equal(await hidden(routed), none, 'no routing');
    assert.equal(await hidden(routed, { routing: table(() => [0, 0]) }), none, 'by 0');
    const whole = table(() => [1, 0]);
    assert.equal(await hidden(routed, { routing: whole }), both, 'by 1');
    for (const shape of [[ids.length + 1, 2], [ids.length - 1, 2], [2 * ids.length]]) {
      const routing = device.tensor('f32', shape);
      await rejects('E_ARGUMENT', () => hidden(routed, { routing }));
      const cache = routed.cache();
      await rejects('E_ARGUMENT', () => routed.forwardEach([{ ids, cache }], { routing }));
      disposeAll(routing);
      cache.dispose();
    }
    // only from row 6 on: what stands before is as without
    const late = table((i) => (i < 6 ? [0, 0] : [1, 0]));
    const mixed = await hidden(routed, { routing: late });
    const width = base.config.hiddenSize;
    if (base.config.moe === null) assert.equal(mixed.slice(0, 6 * width), none.slice(0, 6 * width));
    assert.not.equal(mixed.slice(6 * width, 7 * width), none.slice(6 * width, 7 * width));
    assert.not.equal(mixed.slice(6 * width, 7 * width), both.slice(6 * width, 7 * width));
    // the last row alone, and rows of several texts, have their own coefficients
    const different = table((i) => [Math.fround(Math.sin(i)), i % 2]);
    const each = await hidden(routed, { routing: different });
    const last = await hidden(routed, { routing: different, output: 'last' });
    const near = (got: ArrayLike<number>, want: ArrayLike<number>, what: string) => {
      const error = worstError(got, want);
      assert.ok(worst.within('rows of a pass', error, 2e-5), `${what}: ${error}`);
    };
    near(last, each.slice(-width), 'last');
    const caches = [routed.cache(), routed.cache()];
    const cut = 4;
    const parts = [
      { ids: ids.slice(0, cut), cache: caches[0]! },
      { ids: ids.slice(0, ids.length), cache: caches[1]! },
    ];
    const values = (await device.read(different)) as Float32Array;
    const together = put(device, [cut + ids.length, 2], [...values.subarray(0, 2 * cut), ...values]);
    await routed.forwardEach(parts, {
      routing: together,
      output: 'last',
      onOutput: async (t) => {
        const got = (await device.read(t)) as Float32Array;
        near(got.slice(0, width), each.slice((cut - 1) * width, cut * width), 'first text');
        near(got.slice(width), each.slice(-width), 'second text');
      },
    });
    assert.equal(await device.read(together), Float32Array.of(...values.subarray(0, 2 * cut), ...values), 'it stays');
    for (const cache of caches) cache.dispose();
    disposeAll(...tensors, together);
    for (const decoder of [routed, plain, first]) decoder.ropes.dispose();
    base.dispose();
  });
}

testNothingLeft(all, worst);

test.run();
