/** Which outputs may be inputs: those give the same bits as with memory of their own, and all others are refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { code } from '../errors.ts';
import { devices, exactDevices, onGpu, put, testsOn } from './devices.ts';
import { randomF32 } from './reference.ts';
import { stored } from './sources.ts';

const exact = onGpu ? [] : await exactDevices();
const all = onGpu ? await devices() : exact;
const T = 300; // enough for several lanes
const D = 72;

const sharing = ({ code, message }: EspalierError) => code === 'E_SHAPE' && message.includes('shares memory');

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const f = (seed: number, rows = T, width = D) => put(device, [rows, width], randomF32(rows * width, seed, 3));
  const floats = async (t: Tensor) => (await device.read(t)) as Float32Array;

  on('an output that may be an input gives the same bits', async () => {
    const weight = f(9, 1, D);
    const head = f(9, 1, 24);
    const up = f(8);
    const coefficients = f(7, T, 3);
    const cases: Record<string, (x: Tensor, out: Tensor) => void> = {
      rmsNorm: (x, out) => device.rmsNorm(x, weight, out, 1e-5),
      'rmsNorm by heads': (x, out) => device.rmsNorm(x, head, out, 1e-5),
      scaleRows: (x, out) => device.scaleRows(x, coefficients, 1, out),
      gatedActivation: (x, out) => device.gatedActivation('silu', x, up, out),
    };
    for (const { device: own } of exact) {
      if (own !== device) continue;
      cases['perturb'] = (x, out) =>
        own.perturb({ to: out, from: x, scale: 0.7, anchor: up, std: 0.1, seed: 3, stream: [1, 2] });
    }
    for (const [operation, run] of Object.entries(cases)) {
      const [x, out, same, viewed] = [f(1), f(2), f(1), f(1)];
      run(x, out);
      run(same, same);
      // two views of the same bytes are the same tensor
      run(device.rows(viewed, 0, T), device.rows(viewed, 0, T));
      const want = await floats(out);
      assert.equal(await floats(same), want, operation);
      assert.equal(await floats(viewed), want, `${operation}, views`);
      assert.equal(await floats(x), randomF32(T * D, 1, 3), `${operation} leaves its input`);
      for (const t of [x, out, same, viewed]) t.dispose();
    }
    for (const t of [weight, head, up, coefficients]) t.dispose();
  });

  on('rows are copied within a tensor where they do not overlap', async () => {
    const x = f(1);
    const want = randomF32(T * D, 1, 3);
    device.copyRows(device.rows(x, 0, 5), x, 5);
    want.copyWithin(5 * D, 0, 5 * D);
    assert.equal(await floats(x), want);
    device.copyRows(device.rows(x, 30, 7), device.rows(x, 10, 10), 3);
    want.copyWithin(13 * D, 30 * D, 37 * D);
    assert.equal(await floats(x), want);
    for (const toRow of [0, 1, 4]) {
      assert.throws(() => device.copyRows(device.rows(x, 0, 5), x, toRow), code('E_SHAPE'), `${toRow}`);
    }
    assert.equal(await floats(x), want);
    x.dispose();
  });

  on('what is written is nothing else that the operation is given', async () => {
    const made: Tensor[] = [];
    const keep = (t: Tensor) => {
      made.push(t);
      return t;
    };
    const big = keep(f(1, 2 * T, D));
    const [a, b, c, d] = [keep(f(2)), keep(f(3)), keep(f(4)), keep(f(5))];
    const [half, other] = [device.rows(big, 0, T), device.rows(big, 1, T)]; // they overlap in all but a row
    const row = keep(f(6, 1, D));
    const table = keep(f(7, T, D));
    const i32 = (...shape: number[]) => keep(device.tensor('i32', shape));
    const w = keep(await device.loadMatrix(stored('f32', D, D, 1)));
    const stack = keep(await device.loadMatrices([stored('f32', D, D, 1), stored('f32', D, D, 2)]));
    const [offsets, order, places] = [i32(3), i32(T), i32(T, 1)];
    const [logits, shares, numbers, statPlaces] = [keep(f(1, T, 2)), keep(f(1, T, 1)), keep(f(1, T, 6)), i32(T, 2)];
    const rope = { heads: 1, headDim: D, rotaryDims: D, layout: 'half' } as const;
    const heads = { base: 0, nHeads: 1, nKvHeads: 1, headDim: D, scale: 1, window: 0, mask: null };
    const rule = {
      ...({ score: 'softmax', renormalise: true, scale: 1 } as const),
      ...({ groups: 1, topGroups: 1, groupScore: 'max' } as const),
    };
    const [square, second] = [keep(f(1, D, D)), keep(f(2, D, D))];
    const routed = keep(f(1, T, 1));
    const words = (t: Tensor, ...shape: number[]) => ({ ...view(t), type: 'i32' as const, shape });
    const bytes = keep(device.tensor('i8', [T, D]));
    const list = (t: Tensor, n = T) => ({ ...view(t), type: 'f32' as const, shape: [n] });
    const codes = (t: Tensor) => ({ ...view(t), type: 'i8' as const, shape: [T, 1] });
    const view = (t: Tensor) => ({
      type: t.type,
      shape: t.shape,
      layout: t.layout,
      storage: t.storage,
      offset: t.offset,
      byteLength: t.byteLength,
      disposed: false,
      dispose: () => {},
    });
    const refused: Record<string, () => void> = {
      'linear, out and x': () => device.linear(a, [w], [a], 'exact'),
      'linear, out and a part of x': () => device.linear(half, [w], [other], 'exact'),
      'linear, two outs': () => device.linear(a, [w, w], [b, b], 'exact'),
      'linear, two outs in part': () => device.linear(a, [w, w], [half, other], 'exact'),
      'matmul, c and a': () => device.matmul(square, second, square),
      'matmul, c and b': () => device.matmul(square, second, second),
      'linearGrouped, out and x': () => device.linearGrouped(a, offsets, [stack], [a], 'exact'),
      'linearGrouped, two outs': () => device.linearGrouped(a, offsets, [stack, stack], [half, other], 'exact'),
      'linearGrouped, out and offsets': () => device.linearGrouped(a, words(b, 3), [stack], [b], 'exact'),
      'embed, out and ids': () => device.embed(words(device.rows(a, 0, 1), T), w, a),
      'rmsNorm, out and a part of x': () => device.rmsNorm(half, row, other, 1),
      'rmsNorm, out and weight': () => device.rmsNorm(row, device.rows(a, 0, 1), device.rows(a, 0, 1), 1),
      'addRmsNorm, residual and x': () => device.addRmsNorm(a, a, row, b, 1),
      'addRmsNorm, residual and weight': () => device.addRmsNorm(a, b, list(b, D), c, 1),
      'addRmsNorm, out and weight': () => device.addRmsNorm(a, b, list(c, D), c, 1),
      'addRmsNorm, out and x': () => device.addRmsNorm(a, b, row, a, 1),
      'addRmsNorm, out and residual': () => device.addRmsNorm(a, b, row, b, 1),
      'rope, x and table': () => device.rope(table, table, 0, rope),
      'rope, x and positions': () => device.rope(a, table, words(device.rows(a, 0, 1), T), rope),
      'attention, out and q': () => device.attention({ q: a, keys: b, values: c, out: a, ...heads }),
      'attention, out and keys': () => device.attention({ q: a, keys: b, values: c, out: b, ...heads }),
      'attention, out and values': () => device.attention({ q: a, keys: b, values: half, out: other, ...heads }),
      'attention, out and mask': () =>
        device.attention({ q: a, keys: c, values: d, out: b, ...heads, mask: words(b, T, 3) }),
      'attention, out and the mask of a split': () =>
        device.attention({
          ...{ q: a, keys: c, values: d, out: b, ...heads, mask: words(half, T, 3) },
          split: { mask: words(b, T, 3), factor: 1 },
        }),
      'storeRows, to and from': () => device.storeRows(half, { data: other, scales: null }, 0, 1),
      'storeRows, scales and from': () => device.storeRows(a, { data: bytes, scales: codes(a) }, 0, 1),
      'storeRows, scales and data': () => device.storeRows(a, { data: bytes, scales: codes(bytes) }, 0, 1),
      'placeRows, to and from': () =>
        device.placeRows({
          ...{ from: { data: half, scales: null }, to: other, layers: 1, toRow: 0, factor: 1, layout: rope },
          tables: null,
        }),
      'placeRows, to and scales': () =>
        device.placeRows({
          ...{ from: { data: bytes, scales: codes(a) }, to: a, layers: 1, toRow: 0, factor: 1, layout: rope },
          tables: null,
        }),
      'placeRows, to and a table': () =>
        device.placeRows({
          ...{ from: { data: a, scales: null }, to: table, layers: 1, toRow: 0, factor: 1, layout: rope },
          tables: [table],
        }),
      'gatedActivation, out and up': () => device.gatedActivation('silu', a, b, b),
      'gatedActivation, out and a part of gate': () => device.gatedActivation('silu', half, a, other),
      'add, y and x': () => device.add(a, a),
      'add, y and a part of x': () => device.add(half, other),
      'addBias, y and bias': () => device.addBias(device.rows(a, 1, 1), a),
      'scaleRows, out and coefficients': () => device.scaleRows(a, b, 0, b),
      'scaleRows, out and a part of x': () => device.scaleRows(half, shares, 0, other),
      'cast, to and from': () => device.cast(a, a),
      'route, weights and logits': () => device.route(shares, null, rule, places, shares),
      'route, places and weights': () => device.route(shares, null, rule, words(routed, T, 1), routed),
      'route, places and logits': () => device.route(shares, null, rule, words(shares, T, 1), routed),
      'route, places and bias': () => device.route(shares, list(places, 1), rule, places, routed),
      'route, weights and bias': () => device.route(shares, list(routed, 1), rule, places, routed),
      'dispatch, order and places': () => device.dispatch(order, order, offsets),
      'dispatch, offsets and order': () => device.dispatch(places, words(device.rows(a, 0, 1), T), words(a, 3)),
      'dispatch, offsets and places': () => device.dispatch(places, order, words(places, 3)),
      'gatherRows, out and x': () => device.gatherRows(a, order, a),
      'gatherRows, out and order': () => device.gatherRows(a, words(b, T), b),
      'combine, out and y': () => device.combine(a, order, shares, a),
      'combine, out and order': () => device.combine(a, words(b, T), shares, b),
      'combine, out and weights': () => device.combine(a, order, list(b), b),
      'sigmoidScale, x and gate': () => device.sigmoidScale(shares, shares),
      'logitStats, numbers and logits': () => device.logitStats(numbers, null, 1, numbers, statPlaces),
      'logitStats, places and logits': () => device.logitStats(logits, null, 1, numbers, words(logits, T, 2)),
      'logitStats, numbers and targets': () => device.logitStats(logits, words(numbers, T), 1, numbers, statPlaces),
      'logitStats, places and targets': () => device.logitStats(logits, words(statPlaces, T), 1, numbers, statPlaces),
      'logitStats, places and numbers': () => device.logitStats(logits, null, 1, numbers, words(numbers, T, 2)),
      'topK, values and logits': () => device.topK(row, D, row, words(d, D)),
      'topK, places and logits': () => device.topK(row, 4, list(d, 4), words(row, 4)),
      'topK, places and values': () => device.topK(row, 4, list(a, 4), words(a, 4)),
    };
    for (const { device: own } of exact) {
      if (own !== device) continue;
      refused['perturb, to and anchor'] = () => own.perturb({ to: a, from: null, anchor: a });
      refused['perturb, to and a part of from'] = () => own.perturb({ to: half, from: other });
    }
    const before = await Promise.all(made.filter((t) => t.layout === 'rows').map((t) => device.readBytes(t)));
    for (const [what, run] of Object.entries(refused)) assert.throws(run, sharing, what);
    const after = await Promise.all(made.filter((t) => t.layout === 'rows').map((t) => device.readBytes(t)));
    assert.equal(after, before, 'something was computed');
    // and with memory of their own they compute
    device.linear(a, [w], [b], 'exact');
    device.add(a, b);
    device.addRmsNorm(a, b, row, c, 1);
    device.attention({ q: a, keys: b, values: c, out: d, ...heads });
    for (const t of made) t.dispose();
  });
}

test.after(() => {
  for (const { device } of all) device.close();
});
test.run();
