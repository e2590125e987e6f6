/** Tensors that live and die, and calls that do not fit. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, ElementType, Tensor, WeightSource } from '../../src/device/device.ts';
import { code, rejects } from '../errors.ts';
import { create, type Operation, onGpu } from './devices.ts';

// ---- tensors

const device: Device = await create({ debug: true });
const tensor = (type: ElementType, ...shape: number[]) => device.tensor(type, shape);
const f = (...shape: number[]) => tensor('f32', ...shape);

function source(type: WeightSource['type'], rows: number, columns: number, bytes: Uint8Array): WeightSource {
  const read = async (first: number, target: Uint8Array) => {
    const size = bytes.byteLength / rows;
    target.set(bytes.subarray(first * size, first * size + target.byteLength));
  };
  return { name: 'test', type, rows, columns, order: null, orderGroup: 1, read };
}
const matrix = (rows: number, columns: number) =>
  device.loadMatrix(source('f32', rows, columns, new Uint8Array(4 * rows * columns)));

test('a tensor is zeroed, counted, and freed once', async () => {
  const before = device.stats();
  const dirty = f(100);
  device.write(dirty, new Float32Array(100).fill(9));
  dirty.dispose();
  const t = f(10, 10);
  assert.ok((await device.read(t)).every((x) => x === 0));
  assert.is(device.stats().tensors, before.tensors + 1);
  assert.is(device.stats().bytes, before.bytes + 400);
  assert.is(t.byteLength, 400);
  const view = device.rows(t, 3, 2);
  assert.equal(view.shape, [2, 10]);
  device.write(view, Float32Array.of(5), 10);
  assert.is((await device.read(t))[40], 5);
  assert.not.ok(view.disposed);
  assert.is(device.stats().tensors, before.tensors + 1, 'a view owns nothing');
  view.dispose();
  assert.not.ok(t.disposed);
  const other = device.rows(t, 0, 1);
  t.dispose();
  t.dispose();
  assert.ok(t.disposed && other.disposed);
  assert.equal(device.stats().tensors, before.tensors);
  assert.is(device.stats().bytes, before.bytes);
  await rejects('E_DISPOSED', () => device.read(t));
  await rejects('E_DISPOSED', () => device.read(other));
  await rejects('E_DISPOSED', () => device.read(view));
  assert.throws(() => device.rows(t, 0, 1), code('E_DISPOSED'));
  assert.throws(() => device.write(t, new Float32Array(1)), code('E_DISPOSED'));
});

test('what has no shape, or blocks without panels, is refused', () => {
  for (const shape of [[-1], [1.5], [2, Number.NaN]]) assert.throws(() => f(...shape), code('E_SHAPE'));
  for (const type of ['q8_0', 'q8_1', 'q4_0', 'q4_1'] as const) assert.throws(() => tensor(type, 32), code('E_SHAPE'));
  const empty = f(0, 5);
  assert.is(empty.byteLength, 0);
  empty.dispose();
});

const attention = (change: Record<string, unknown>) => {
  const [q, keys, values, out] = [f(2, 8), f(4, 4), f(4, 4), f(2, 8)] as const;
  const args = { q, keys, values, out, base: 1, nHeads: 2, nKvHeads: 1, headDim: 4, scale: 1, window: 0, mask: null };
  try {
    device.attention({ ...args, ...change });
  } finally {
    for (const t of [q, keys, values, out, ...Object.values(change)]) (t as Partial<Tensor> | null)?.dispose?.();
  }
};
const rope = { heads: 2, headDim: 4, rotaryDims: 4, layout: 'half' } as const;
const w = await matrix(6, 4);

/** A call that fits, and calls of the same operation that do not: made anew for each run. */
const calls: Readonly<Record<Operation, { fits: () => void; wrong: (() => void)[] }>> = {
  write: {
    fits: () => device.write(f(4), new Float32Array(2), 2),
    wrong: [
      () => device.write(f(4), new Float32Array(5)),
      () => device.write(f(4), new Float32Array(2), 3),
      () => device.write(f(4), new Float32Array(2), -1),
      () => device.write(f(4), new Uint16Array(2)),
    ],
  },
  rows: {
    fits: () => device.rows(f(4, 2), 1, 3),
    wrong: [() => device.rows(f(4, 2), 2, 3), () => device.rows(f(4, 2), -1, 2), () => device.rows(f(4, 2), 1, -1)],
  },
  linear: {
    fits: () => device.linear(f(3, 4), [w], [f(3, 6)], 'exact'),
    wrong: [
      () => device.linear(f(3, 5), [w], [f(3, 6)], 'exact'),
      () => device.linear(f(3, 4), [w], [f(3, 5)], 'exact'),
      () => device.linear(f(3, 4), [w], [f(2, 6)], 'exact'),
      () => device.linear(f(3, 4), [w, w], [f(3, 6), f(3, 7)], 'exact'),
      () => device.linear(f(3, 4), [f(6, 4)], [f(3, 6)], 'exact'),
      () => device.linear(w, [w], [f(3, 6)], 'exact'),
      () => device.linear(tensor('i32', 3, 4), [w], [f(3, 6)], 'exact'),
    ],
  },
  matmul: {
    fits: () => device.matmul(f(2, 3), f(3, 4), f(2, 4)),
    wrong: [
      () => device.matmul(f(2, 3), f(4, 3), f(2, 4)),
      () => device.matmul(f(2, 3), f(3, 4), f(4, 2)),
      () => device.matmul(f(2, 3), f(3, 4), f(2, 4), { transposeA: true }),
      () => device.matmul(f(2, 3), f(3, 4), f(2, 4), { transposeB: true }),
      () => device.matmul(f(2, 3), f(3, 4), tensor('i32', 2, 4)),
    ],
  },
  embed: {
    fits: () => device.embed(tensor('i32', 2), w, f(2, 4)),
    wrong: [
      () => device.embed(tensor('i32', 2), w, f(2, 5)),
      () => device.embed(tensor('i32', 3), w, f(2, 4)),
      () => device.embed(f(2), w, f(2, 4)),
      () => device.embed(tensor('i32', 2), f(6, 4), f(2, 4)),
      // a device that cannot look at its memory does not look at ids
      ...(onGpu ? [] : [-1, 6]).map((id) => () => {
        const ids = tensor('i32', 2);
        device.write(ids, Int32Array.of(0, id));
        device.embed(ids, w, f(2, 4));
      }),
    ],
  },
  rmsNorm: {
    fits: () => device.rmsNorm(f(2, 8), f(4), f(2, 8), 1e-5),
    wrong: [
      () => device.rmsNorm(f(2, 8), f(5), f(2, 8), 1e-5),
      () => device.rmsNorm(f(2, 8), f(8), f(2, 4), 1e-5),
      () => device.rmsNorm(f(2, 8), tensor('i32', 8), f(2, 8), 1e-5),
    ],
  },
  addRmsNorm: {
    fits: () => device.addRmsNorm(f(2, 8), f(2, 8), f(8), f(2, 8), 1e-5),
    wrong: [
      () => device.addRmsNorm(f(2, 8), f(1, 8), f(8), f(2, 8), 1e-5),
      () => device.addRmsNorm(f(2, 8), f(2, 8), f(4), f(2, 8), 1e-5),
      () => device.addRmsNorm(f(2, 8), f(2, 8), f(8), f(3, 8), 1e-5),
    ],
  },
  rope: {
    fits: () => device.rope(f(3, 8), f(5, 2, 2), tensor('i32', 3), rope),
    wrong: [
      () => device.rope(f(3, 9), f(5, 2, 2), tensor('i32', 3), rope),
      () => device.rope(f(3, 8), f(5, 2, 2), tensor('i32', 2), rope),
      () => device.rope(f(3, 8), f(5, 2, 2), 5, rope),
      () => device.rope(f(3, 8), f(5, 2, 2), -1, rope),
      () => device.rope(f(3, 8), f(5, 2, 3), tensor('i32', 3), { ...rope, rotaryDims: 6 }),
      () => device.rope(f(3, 8), f(5, 2, 2), tensor('i32', 3), { ...rope, rotaryDims: 3 }),
      () => device.rope(f(3, 8), f(5, 2, 2), f(3), rope),
    ],
  },
  column: {
    fits: () => device.column(f(3, 4), 3, f(3)),
    wrong: [
      ...[4, -1].map((column) => () => device.column(f(3, 4), column, f(3))),
      ...[() => f(4), () => tensor('i32', 3)].map((out) => () => device.column(f(3, 4), 1, out())),
      () => device.column(tensor('f16', 3, 4), 1, tensor('f16', 3)),
    ],
  },
  attention: {
    fits: () => attention({}),
    wrong: [
      () => attention({ q: f(2, 4) }),
      () => attention({ out: f(2, 4) }),
      () => attention({ out: f(1, 8) }),
      () => attention({ keys: f(4, 8) }),
      () => attention({ values: f(2, 4) }),
      () => attention({ values: f(4, 8) }),
      () => attention({ base: 3 }),
      () =>
        attention({ nHeads: 3, headDim: 4, q: f(2, 12), out: f(2, 12), keys: f(4, 8), values: f(4, 8), nKvHeads: 2 }),
      () => attention({ mask: tensor('i32', 2, 2) }),
      () => attention({ mask: f(2, 3) }),
    ],
  },
  gatedActivation: {
    fits: () => device.gatedActivation('silu', f(2, 3), f(2, 3), f(2, 3)),
    wrong: [
      () => device.gatedActivation('silu', f(2, 3), f(2, 4), f(2, 3)),
      () => device.gatedActivation('gelu-tanh', f(2, 3), f(2, 3), f(1, 3)),
    ],
  },
  add: { fits: () => device.add(f(2, 3), f(2, 3)), wrong: [() => device.add(f(2, 3), f(2, 2))] },
  addBias: {
    fits: () => device.addBias(f(3), f(2, 3)),
    wrong: [() => device.addBias(f(2), f(2, 3)), () => device.addBias(tensor('i32', 3), f(2, 3))],
  },
  scale: { fits: () => device.scale(f(3), 2), wrong: [() => device.scale(tensor('i32', 3), 2)] },
  scaleRows: {
    fits: () => device.scaleRows(f(2, 3), f(2, 4), 3, f(2, 3)),
    wrong: [
      () => device.scaleRows(f(2, 3), f(2, 4), 4, f(2, 3)),
      () => device.scaleRows(f(2, 3), f(2, 4), -1, f(2, 3)),
      () => device.scaleRows(f(2, 3), f(2, 4), 0.5, f(2, 3)),
      () => device.scaleRows(f(2, 3), f(3, 4), 0, f(2, 3)),
      () => device.scaleRows(f(2, 3), f(2, 4), 0, f(3, 2)),
      () => device.scaleRows(f(2, 3), tensor('i32', 2, 4), 0, f(2, 3)),
    ],
  },
  softmax: { fits: () => device.softmax(f(2, 3)), wrong: [() => device.softmax(tensor('i32', 2, 3))] },
  copyRows: {
    fits: () => device.copyRows(f(2, 3), f(4, 3), 2),
    wrong: [
      () => device.copyRows(f(2, 3), f(4, 3), 3),
      () => device.copyRows(f(2, 3), f(4, 3), -1),
      () => device.copyRows(f(2, 3), f(4, 4), 0),
      () => device.copyRows(f(2, 3), tensor('i32', 4, 3), 0),
    ],
  },
  cast: {
    fits: () => device.cast(f(4), tensor('f16', 4)),
    wrong: [
      () => device.cast(f(4), tensor('f16', 5)),
      () => device.cast(tensor('bf16', 4), tensor('f16', 4)),
      () => device.cast(f(4), tensor('i32', 4)),
    ],
  },
  logitStats: {
    fits: () => device.logitStats(f(2, 5), tensor('i32', 2), 1, f(2, 6), tensor('i32', 2, 2)),
    wrong: [
      () => device.logitStats(f(2, 5), null, 1, f(1, 6), tensor('i32', 2, 2)),
      () => device.logitStats(f(2, 5), null, 1, f(2, 6), tensor('i32', 2, 1)),
      () => device.logitStats(f(2, 5), null, 1, f(2, 6), f(2, 2)),
      () => device.logitStats(f(2, 5), tensor('i32', 3), 1, f(2, 6), tensor('i32', 2, 2)),
      () => device.logitStats(f(2, 5), f(2), 1, f(2, 6), tensor('i32', 2, 2)),
      () => device.logitStats(f(2, 5), null, 0, f(2, 6), tensor('i32', 2, 2)),
      () => device.logitStats(f(2, 5), null, Number.NaN, f(2, 6), tensor('i32', 2, 2)),
    ],
  },
  topK: {
    fits: () => device.topK(f(5), 2, f(2), tensor('i32', 2)),
    wrong: [
      () => device.topK(f(5), 6, f(6), tensor('i32', 6)),
      () => device.topK(f(5), 0, f(0), tensor('i32', 0)),
      () => device.topK(f(5), 2, f(3), tensor('i32', 2)),
      () => device.topK(f(5), 2, f(2), tensor('i32', 3)),
      () => device.topK(f(5), 2, f(2), f(2)),
    ],
  },
};

/** Frees what a call's tensors have left. */
function sweep(d: Device, run: () => void): void {
  const made: Tensor[] = [];
  const original = d.tensor.bind(d);
  d.tensor = (type, shape) => {
    const t = original(type, shape);
    made.push(t);
    return t;
  };
  try {
    run();
  } finally {
    d.tensor = original;
    for (const t of made) t.dispose();
  }
}

for (const [name, { fits, wrong }] of Object.entries(calls)) {
  test(`${name} refuses what does not fit, and leaves the scratch as it was`, () => {
    const before = device.mark();
    sweep(device, fits);
    for (const run of wrong) {
      sweep(device, () => assert.throws(run, code('E_SHAPE'), `${name}: ${run}`));
    }
    assert.equal(device.mark(), before);
  });
}

test('linear computes nothing before all its arguments are found right', async () => {
  const blocks = new Uint8Array(8 * 34).fill(1);
  const q = await device.loadMatrix(source('q8_0', 8, 32, blocks));
  const [x, y, wrong, missing] = [f(3, 32), f(3, 8), f(3, 7), [] as Tensor[]];
  device.write(x, new Float32Array(96).fill(1));
  const mark = device.mark();
  for (const precision of ['exact', 'int16', 'int8'] as const) {
    assert.throws(() => device.linear(x, [q, q], [y, wrong], precision), code('E_SHAPE'));
    assert.throws(() => device.linear(x, [q, q], [y, ...missing], precision), code('E_SHAPE'));
    assert.ok((await device.read(y)).every((v) => v === 0));
    assert.equal(device.mark(), mark);
    device.linear(x, [q], [y], precision);
    assert.ok((await device.read(y)).every((v) => v > 0));
    device.write(y, new Float32Array(24));
  }
  for (const t of [q, x, y, wrong]) t.dispose();
});

test('every operation refuses a disposed tensor', async () => {
  const gone = f(2, 8);
  const goneIds = tensor('i32', 2);
  const goneWeight = await matrix(6, 4);
  for (const t of [gone, goneIds, goneWeight]) t.dispose();
  const runs: Record<string, () => void> = {
    linear: () => device.linear(f(2, 4), [goneWeight], [f(2, 6)], 'exact'),
    'linear x': () => device.linear(gone, [w], [f(2, 6)], 'exact'),
    matmul: () => device.matmul(gone, f(8, 2), f(2, 2)),
    embed: () => device.embed(goneIds, w, f(2, 4)),
    'embed weight': () => device.embed(tensor('i32', 2), goneWeight, f(2, 4)),
    rmsNorm: () => device.rmsNorm(gone, f(8), f(2, 8), 1),
    addRmsNorm: () => device.addRmsNorm(f(2, 8), gone, f(8), f(2, 8), 1),
    rope: () => device.rope(gone, f(5, 2, 2), 0, rope),
    attention: () => attention({ q: gone }),
    gatedActivation: () => device.gatedActivation('silu', f(2, 8), gone, f(2, 8)),
    add: () => device.add(gone, f(2, 8)),
    addBias: () => device.addBias(f(8), gone),
    scale: () => device.scale(gone, 1),
    scaleRows: () => device.scaleRows(f(2, 3), gone, 0, f(2, 3)),
    'scaleRows x': () => device.scaleRows(gone, f(2, 1), 0, f(2, 8)),
    softmax: () => device.softmax(gone),
    copyRows: () => device.copyRows(gone, f(2, 8), 0),
    'copyRows to': () => device.copyRows(f(2, 8), gone, 0),
    column: () => device.column(gone, 0, f(2)),
    cast: () => device.cast(gone, tensor('f16', 2, 8)),
    logitStats: () => device.logitStats(gone, null, 1, f(2, 6), tensor('i32', 2, 2)),
    topK: () => device.topK(gone, 2, f(2), tensor('i32', 2)),
  };
  const mark = device.mark();
  for (const [name, run] of Object.entries(runs)) {
    sweep(device, () => assert.throws(run, code('E_DISPOSED'), name));
  }
  assert.equal(device.mark(), mark);
});

test('a weight that cannot be read leaves nothing', async () => {
  const before = device.stats();
  const bytes = new Uint8Array(4 * 16 * 8);
  const failing: WeightSource = {
    ...source('f32', 16, 8, bytes),
    read: async () => {
      throw new Error('disk');
    },
  };
  for (const load of [() => device.loadMatrix(failing), () => device.loadVector({ ...failing, rows: 1 })]) {
    try {
      await load();
      assert.unreachable();
    } catch (error) {
      assert.is((error as Error).message, 'disk');
    }
  }
  assert.equal(device.stats(), { ...before, peakBytes: device.stats().peakBytes });
  await rejects('E_TENSOR_TYPE', () => device.loadVector(source('q8_0', 1, 32, new Uint8Array(34))));
  assert.is(device.stats().tensors, before.tensors);
});

test('out of memory leaves a device that goes on', async () => {
  const small = await create({ memoryLimit: 4 << 20 });
  const before = small.stats();
  assert.throws(() => small.tensor('f32', [2 << 20]), code('E_OUT_OF_MEMORY'));
  assert.throws(() => small.scratch('f32', [2 << 20]), code('E_OUT_OF_MEMORY'));
  assert.equal(small.stats(), before);
  const t = small.tensor('f32', [100]);
  const s = small.scratch('f32', [100]);
  small.add(t, s);
  small.close();
});

test('closing disposes all, twice is allowed, and nothing works after it', async () => {
  const own = await create();
  const t = own.tensor('f32', [2, 4]);
  const view = own.rows(t, 0, 1);
  const weight = await own.loadMatrix(source('f32', 8, 4, new Uint8Array(128)));
  const vector = await own.loadVector(source('f32', 1, 4, new Uint8Array(16)));
  own.scratch('f32', [10]);
  assert.is(own.stats().tensors, 3);
  own.close();
  own.close();
  const { tensors, bytes, scratchBytes } = own.stats();
  assert.equal([tensors, bytes, scratchBytes], [0, 0, 0]);
  assert.equal(own.liveTensors(), []);
  for (const x of [t, view, weight, vector]) assert.ok(x.disposed);
  await rejects('E_DISPOSED', () => own.read(t));
  await rejects('E_DISPOSED', () => own.read(view));
  assert.throws(() => own.write(t, new Float32Array(1)), code('E_DISPOSED'));
  assert.throws(() => own.scale(t, 2), code('E_DISPOSED'));
  assert.throws(() => own.tensor('f32', [1]), code('E_DISPOSED'));
  await rejects('E_DISPOSED', () => own.loadMatrix(source('f32', 8, 4, new Uint8Array(128))));
  await rejects('E_DISPOSED', () => own.loadVector(source('f32', 1, 4, new Uint8Array(16))));
  t.dispose();
});

test('scratch of a closed device counts as disposed, and there is no new one', async () => {
  const own = await create();
  const s = own.scratch('f32', [10]);
  own.close();
  assert.ok(s.disposed);
  await rejects('E_DISPOSED', () => own.read(s));
  assert.throws(() => own.scratch('f32', [1]), code('E_DISPOSED'));
  assert.is(own.stats().scratchBytes, 0);
});

test('nothing is left', () => {
  w.dispose();
  assert.equal(device.liveTensors(), []);
  device.close();
});
test.run();
