/** Rows at rest and how they come back, masks of six numbers, and attention in two parts. Against plain f64 programs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { StoredType } from '../../src/device/checks/stored-rows.ts';
import type { Device, RopeLayout, StoredRows } from '../../src/device/device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { devices, put, putInts, testsOn, Worst } from './devices.ts';
import { randomF32, worstError } from './reference.ts';

const all = await devices();
const worst = new Worst();

/**
 * int8: half a step of 127 in each of two dimensions that a rotation mixes, of a scale that may be an eighth too large. int4: what was seen, of numbers
 * drawn evenly; its formula is looked at below.
 */
const BOUNDS = { f32: 2e-7, f16: 7e-4, int8: 6.4e-3, int4: 0.33 } as const;
const TYPES = ['f32', 'f16', 'int8', 'int4'] as const satisfies readonly StoredType[];
const LAYERS = 3;
const angle = (p: number, j: number, dims: number) => p * 50 ** ((-2 * j) / dims);

function roomFor(device: Device, type: StoredType, rows: number, heads: number, headDim: number): StoredRows {
  const isCodes = type === 'int8' || type === 'int4';
  const width = (heads * headDim) / (type === 'int4' ? 2 : 1);
  return {
    data: device.tensor(isCodes ? 'i8' : type, [rows, width]),
    scales: isCodes ? device.tensor('i8', [rows, heads]) : null,
  };
}

/** Rotation in f64, row r by position first + r. */
function rotated(x: Float32Array, rows: number, layout: RopeLayout, first: number, factor: number): Float64Array {
  const { heads, headDim, rotaryDims } = layout;
  const y = Float64Array.from(x, (v) => v * factor);
  for (let r = 0; r < rows; r++) {
    for (let h = 0; h < heads; h++) {
      for (let j = 0; j < rotaryDims / 2; j++) {
        const o = (r * heads + h) * headDim;
        const [a, b] = layout.layout === 'half' ? [o + j, o + j + rotaryDims / 2] : [o + 2 * j, o + 2 * j + 1];
        const [c, s] = [Math.cos(angle(first + r, j, rotaryDims)), Math.sin(angle(first + r, j, rotaryDims))];
        y[a] = factor * (x[a]! * c - x[b]! * s);
        y[b] = factor * (x[b]! * c + x[a]! * s);
      }
    }
  }
  return y;
}

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('stored rows come back, rotated or not, in both layouts', async () => {
    for (const [rows, heads, headDim, rotaryDims] of [
      [1, 1, 4, 4],
      [5, 3, 12, 8],
      [37, 3, 64, 64],
      [130, 2, 20, 10],
      [3, 2, 7, 6],
    ] as const) {
      const width = heads * headDim;
      const first = 11;
      const table = put(
        device,
        [rows, 2, rotaryDims / 2],
        Array.from({ length: rows }, (_, r) => [
          ...Array.from({ length: rotaryDims / 2 }, (_, j) => Math.cos(angle(first + r, j, rotaryDims))),
          ...Array.from({ length: rotaryDims / 2 }, (_, j) => Math.sin(angle(first + r, j, rotaryDims))),
        ]).flat(),
      );
      for (const type of TYPES) {
        if (type === 'int4' && headDim % 2 !== 0) continue;
        const stored = roomFor(device, type, LAYERS * rows, heads, headDim);
        const data = Array.from({ length: LAYERS }, (_, layer) => randomF32(rows * width, 20 + layer, 3));
        for (const [layer, x] of data.entries()) {
          // in two pieces: a shot may come in several
          const cut = Math.floor(rows / 2);
          const t = put(device, [rows, width], x);
          if (cut > 0) device.storeRows(device.rows(t, 0, cut), stored, layer * rows, heads);
          device.storeRows(device.rows(t, cut, rows - cut), stored, layer * rows + cut, heads);
          t.dispose();
        }
        const capacity = rows + 4;
        const to = put(device, [LAYERS * capacity, width], new Array(LAYERS * capacity * width).fill(9));
        for (const layout of ['half', 'interleaved'] as const) {
          const shape = { heads, headDim, rotaryDims, layout };
          for (const turning of [true, false]) {
            const args = { from: stored, to, layers: LAYERS, toRow: 2, factor: 1.25, layout: shape };
            // the second layer has no rotation
            device.placeRows({ ...args, tables: turning ? [table, null, table] : null });
            for (const [layer, x] of data.entries()) {
              const got = (await device.read(device.rows(to, layer * capacity, capacity))) as Float32Array;
              const turned = turning && layer !== 1;
              const want = turned ? rotated(x, rows, shape, first, 1.25) : Float64Array.from(x, (v) => 1.25 * v);
              const own = got.subarray(2 * width, (rows + 2) * width);
              const error = worstError(own, want);
              assert.ok(
                worst.within(`placed ${type}, of the largest`, error, BOUNDS[type]),
                `${type} ${layout}: ${error}`,
              );
              const around = [...got.subarray(0, 2 * width), ...got.subarray((rows + 2) * width)];
              assert.ok(
                around.every((v) => v === 9),
                'rows around it were written',
              );
              if (turned && rotaryDims > 2) {
                const other = { ...shape, layout: layout === 'half' ? ('interleaved' as const) : ('half' as const) };
                assert.ok(worstError(own, rotated(x, rows, other, first, 1.25)) > 0.1, 'the wrong pairing passes');
              }
            }
          }
        }
        for (const t of [stored.data, stored.scales, to]) t?.dispose();
      }
      table.dispose();
    }
  });

  on('bytes of any type go out and in; extreme numbers are kept', async () => {
    const x = [0, 1, -1, 65504, -65504, 6e-8, -6e-8, 6.1e-5, 1000.5, 1 / 3, 0, 2];
    const from = put(device, [3, 4], x);
    for (const type of TYPES) {
      const make = () => roomFor(device, type, 3, 1, 4);
      const [a, b] = [make(), make()];
      device.storeRows(from, a, 0, 1);
      device.writeBytes(b.data, await device.readBytes(a.data));
      if (a.scales) device.writeBytes(b.scales!, await device.readBytes(a.scales));
      const to = device.tensor('f32', [3, 4]);
      const layout = { heads: 1, headDim: 4, rotaryDims: 4, layout: 'half' as const };
      device.placeRows({ from: b, to, layers: 1, toRow: 0, factor: 1, layout, tables: null });
      const got = (await device.read(to)) as Float32Array;
      // one f16 step, also among denormals; half a step of the row's largest, by a scale an eighth too large; of 4 bits each of four numbers may add one
      const bound = (i: number) => {
        const largest = Math.max(...x.slice(i - (i % 4), i - (i % 4) + 4).map(Math.abs));
        if (type === 'int8') return (1.126 * largest) / 254;
        if (type === 'int4') return (4 * 1.126 * largest) / 15;
        return type === 'f32' ? 0 : Math.max(3e-8, Math.abs(x[i]!) / 2048);
      };
      for (const [i, v] of x.entries())
        assert.ok(Math.abs(got[i]! - Math.fround(v)) <= bound(i), `${type} ${v}: ${got[i]}`);
      for (const t of [a.data, a.scales, b.data, b.scales, to]) t?.dispose();
    }
    from.dispose();
  });

  on('codes of 4 bits are those of the least error after the transform', async () => {
    const scaleOf = (b: number) => (b === 0 ? 0 : 2 ** (((b + 871) >> 3) - 127) * (1 + ((b + 871) % 8) / 8));
    for (const [rows, heads, headDim] of [
      [3, 2, 64],
      [2, 1, 2],
      [5, 3, 12],
      [2, 2, 96],
      [1, 3, 10],
    ] as const) {
      const width = heads * headDim;
      const block = headDim & -headDim;
      const x = randomF32(rows * width, headDim, 3);
      // a channel that towers over the others, and a head of nothing
      for (let r = 0; r < rows; r++) x[r * width + 1]! *= 40;
      x.fill(0, 0, headDim);
      const stored = roomFor(device, 'int4', rows, heads, headDim);
      const from = put(device, [rows, width], x);
      device.storeRows(from, stored, 0, heads);
      const bytes = await device.readBytes(stored.data);
      const scales = await device.readBytes(stored.scales!);
      const to = device.tensor('f32', [rows, width]);
      const layout = { heads, headDim, rotaryDims: 2, layout: 'half' as const };
      device.placeRows({ from: stored, to, layers: 1, toRow: 0, factor: 1, layout, tables: null });
      const got = (await device.read(to)) as Float32Array;
      const transform = (own: ArrayLike<number>) =>
        Float64Array.from({ length: headDim }, (_, c) => {
          let sum = 0;
          for (let k = 0; k < block; k++) {
            const odd = [...((c % block) & k).toString(2)].filter((bit) => bit === '1').length % 2 === 1;
            sum += (odd ? -1 : 1) * own[c - (c % block) + k]!;
          }
          return sum / Math.sqrt(block);
        });
      for (let h = 0; h < rows * heads; h++) {
        const own = x.subarray(h * headDim, (h + 1) * headDim);
        const half = headDim / 2;
        const code = (c: number) => (bytes[h * half + (c % half)]! >> (c < half ? 0 : 4)) & 15;
        const scale = scaleOf(scales[h]!);
        const want = transform(Float64Array.from({ length: headDim }, (_, c) => (code(c) - 7.5) * scale));
        const error = worstError(got.subarray(h * headDim, (h + 1) * headDim), want);
        assert.ok(worst.within('codes of 4 bits, come back, of the largest', error, 1e-6), `${headDim}: ${error}`);
        if (scale === 0) {
          assert.ok(own.every((v) => v === 0));
          continue;
        }
        const turned = transform(own);
        const errorOf = (s: number, codeOf: (v: number, c: number) => number) =>
          turned.reduce((sum, v, c) => sum + ((codeOf(v, c) - 7.5) * s - v) ** 2, 0);
        const most = turned.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
        let top = 1;
        while (scaleOf(top) < (most / 7.5) * (1 - 1e-6)) top++;
        const tried = Array.from({ length: 7 }, (_, i) => scaleOf(top - i));
        const least = Math.min(
          ...tried.map((s) => errorOf(s, (v) => Math.max(0, Math.min(15, Math.floor(v / s) + 8)))),
        );
        const excess = errorOf(scale, (_, c) => code(c)) / least - 1;
        assert.ok(
          worst.within('codes of 4 bits, squared error beyond the least', excess, 1e-3),
          `${headDim}: ${excess}`,
        );
      }
      for (const t of [from, to, stored.data, stored.scales!]) t.dispose();
    }
  });

  on('what is no number, or too large for codes, comes back as no number; its neighbours as they are', async () => {
    const wrong = { 1: Number.NaN, 2: Number.POSITIVE_INFINITY, 4: 3e38 } as const;
    const x = randomF32(6 * 8, 5);
    for (const [head, value] of Object.entries(wrong)) x[8 * Number(head) + 3] = value;
    const from = put(device, [3, 16], x);
    for (const type of TYPES) {
      const stored = roomFor(device, type, 3, 2, 8);
      device.storeRows(from, stored, 0, 2);
      const to = device.tensor('f32', [3, 16]);
      const layout = { heads: 2, headDim: 8, rotaryDims: 8, layout: 'half' as const };
      device.placeRows({ from: stored, to, layers: 1, toRow: 0, factor: 1, layout, tables: null });
      const got = (await device.read(to)) as Float32Array;
      for (let head = 0; head < 6; head++) {
        const own = got.subarray(8 * head, 8 * head + 8);
        const isWrong = head in wrong && !(type === 'f32' && head === 4);
        assert.is(own.every(Number.isFinite), !isWrong, `${type}, head ${head}: ${own}`);
        if (!isWrong) assert.ok(worstError(own, x.subarray(8 * head, 8 * head + 8)) < BOUNDS[type]);
      }
      for (const t of [stored.data, stored.scales, to]) t?.dispose();
    }
    from.dispose();
  });

  on('what does not fit is refused', async () => {
    const code = (error: EspalierError) => error.code === 'E_SHAPE';
    const from = device.tensor('f32', [2, 8]);
    const stored = { data: device.tensor('f16', [4, 8]), scales: null };
    const bare = { data: device.tensor('i8', [4, 8]), scales: null };
    const to = device.tensor('f32', [3, 8]);
    const both = device.tensor('f32', [6, 8]);
    const layout = { heads: 2, headDim: 4, rotaryDims: 4, layout: 'half' as const };
    const table = device.tensor('f32', [1, 2, 2]);
    assert.throws(() => device.storeRows(from, stored, 3, 2), code);
    assert.throws(() => device.storeRows(from, bare, 0, 2), code);
    assert.throws(() => device.storeRows(from, { data: to, scales: to }, 0, 2), code);
    const [wide, packed] = [device.tensor('f32', [4, 2]), device.tensor('i8', [4, 4])];
    assert.throws(() => device.storeRows(from, { data: bare.data, scales: wide }, 0, 2), code);
    assert.throws(() => device.storeRows(from, { data: packed, scales: null }, 0, 2), code);
    assert.throws(() => device.storeRows(from, { data: packed, scales: packed }, 0, 8), code); // one number a head
    for (const t of [wide, packed]) t.dispose();
    const place = (more: object) => () =>
      device.placeRows({ from: stored, to, layers: 1, toRow: 0, factor: 1, layout, tables: null, ...more });
    assert.throws(place({}), code); // four rows into three
    assert.throws(place({ to: both, layers: 2, toRow: 2 }), code);
    assert.throws(place({ to: both, layers: 3 }), code);
    assert.throws(place({ to, layers: 2 }), code); // one and a half rows a layer
    assert.throws(place({ to: both, layers: 2, toRow: -1 }), code);
    assert.throws(place({ to: both, layers: 2, tables: [null] }), code);
    assert.throws(place({ to: both, layers: 2, tables: [null, table] }), code);
    assert.throws(place({ from: bare }), code);
    place({ to: both, layers: 2, toRow: 1 })();
    let rejected: unknown = null;
    await device.read(bare.data).catch((error) => {
      rejected = error;
    });
    assert.is((rejected as EspalierError).code, 'E_SHAPE');
    assert.throws(() => device.writeBytes(to, new Uint8Array(3)), code);
    for (const t of [from, stored.data, bare.data, to, both, table]) t.dispose();
  });

  on('masks of six numbers, and attention in two parts', async () => {
    for (const [rows, keys, heads, kvHeads, headDim] of [
      [150, 400, 9, 3, 64],
      [40, 90, 4, 2, 10],
      [1, 130, 4, 4, 16],
    ] as const) {
      const q = randomF32(rows * heads * headDim, 7, 2);
      const k = randomF32(keys * kvHeads * headDim, 8, 2);
      const v = randomF32(keys * kvHeads * headDim, 9);
      // rows stand anywhere; some see nothing of the first part
      const own = Array.from({ length: rows }, (_, i) => (i * 37 + 5) % keys);
      const to = (end: number) => Math.min(keys, end);
      const mask = own.flatMap((at, i) => [
        i % 50,
        to((i * 3) % 120),
        to(125),
        to(125 + (i % 60)),
        Math.max(0, at - (i % 9)),
        at,
      ]);
      const part = own.flatMap((at, i) => [0, i % 4 === 0 ? 0 : 20 + (i % 70), 5, 5, 0x7fffffff, at]);
      const seen = (list: readonly number[], i: number, j: number) => {
        const [a, b, c, d, e, f] = list.slice(6 * i, 6 * i + 6) as [number, number, number, number, number, number];
        return (j >= a && j < b) || (j >= c && j < d) || (j >= e && j <= f);
      };
      /** Attention and log-sum-exp of one row and head. */
      const attend = (list: readonly number[], i: number, h: number) => {
        const kv = Math.floor(h / (heads / kvHeads));
        const out = new Float64Array(headDim);
        let sum = 0;
        for (let j = 0; j < keys; j++) {
          if (!seen(list, i, j)) continue;
          let s = 0;
          for (let c = 0; c < headDim; c++)
            s += q[(i * heads + h) * headDim + c]! * k[(j * kvHeads + kv) * headDim + c]!;
          const e = Math.exp(s / Math.sqrt(headDim));
          sum += e;
          for (let c = 0; c < headDim; c++) out[c]! += e * v[(j * kvHeads + kv) * headDim + c]!;
        }
        return { out: out.map((x) => (sum > 0 ? x / sum : 0)), sum };
      };
      const tensors = [
        put(device, [rows, heads * headDim], q),
        put(device, [keys, kvHeads * headDim], k),
        put(device, [keys, kvHeads * headDim], v),
        device.tensor('f32', [rows, heads * headDim]),
        putInts(device, [rows, 6], mask),
        putInts(device, [rows, 6], part),
      ] as const;
      for (const factor of [null, 1, 0.7]) {
        device.attention({
          ...{ q: tensors[0], keys: tensors[1], values: tensors[2], out: tensors[3], mask: tensors[4] },
          ...{ base: keys - rows, nHeads: heads, nKvHeads: kvHeads, headDim, scale: 1 / Math.sqrt(headDim), window: 0 },
          split: factor === null ? null : { mask: tensors[5], factor },
        });
        const want = new Float64Array(rows * heads * headDim);
        for (let i = 0; i < rows; i++) {
          for (let h = 0; h < heads; h++) {
            const b = attend(mask, i, h);
            const a = factor === null ? { out: b.out, sum: 0 } : attend(part, i, h);
            const weight = a.sum > 0 ? a.sum ** factor! : 0;
            for (let c = 0; c < headDim; c++) {
              want[(i * heads + h) * headDim + c] = (weight * a.out[c]! + b.sum * b.out[c]!) / (weight + b.sum);
            }
          }
        }
        const title = factor === null ? 'attention, mask of six' : 'attention in two parts';
        const error = worstError((await device.read(tensors[3])) as Float32Array, want);
        assert.ok(worst.within(title, error, 4e-6), `${title} ${rows} ${factor}: ${error}`);
      }
      for (const t of tensors) t.dispose();
    }
  });
}

test.after(() => {
  for (const { device } of all) device.close();
  worst.print();
});
test.run();
