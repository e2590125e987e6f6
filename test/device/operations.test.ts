import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { STAT, STAT_NUMBERS, STAT_PLACE, STAT_PLACES, type Tensor } from '../../src/device/device.ts';
import { rejects } from '../errors.ts';
import { fixture } from '../model/shared-files.ts';
import { devices, onGpu, put, putInts, testNothingLeft, Worst } from './devices.ts';
import { noise, product, randomF32, worstError } from './reference.ts';

const oracle = await fixture('ops.json');
const all = await devices();
const worst = new Worst();

for (const { name, device } of all) {
  const on = (title: string, run: () => Promise<void>) => test(`${title} [${name}]`, run);

  on('matmul in every transposition, with alpha and accumulation', async () => {
    const sizes = [
      [1, 1, 1],
      [1, 8, 577],
      [1, 1030, 131],
      [7, 9, 5],
      [64, 64, 64],
      [13, 33, 300],
      [250, 17, 513],
    ] as const;
    for (const [m, n, k] of sizes) {
      for (const [transposeA, transposeB, accumulate] of [
        [false, false, false],
        [true, false, true],
        [false, true, true],
        [true, true, false],
      ] as const) {
        const a = randomF32(m * k, 1);
        const b = randomF32(k * n, 2);
        const before = randomF32(m * n, 3);
        const tensors = [
          put(device, transposeA ? [k, m] : [m, k], a),
          put(device, transposeB ? [n, k] : [k, n], b),
          put(device, [m, n], before),
        ] as const;
        device.matmul(...tensors, { transposeA, transposeB, alpha: 0.5, accumulate });
        const want = product(m, n, k, a, b, { transposeA, transposeB, alpha: 0.5 });
        if (accumulate) for (let i = 0; i < want.length; i++) want[i]! += before[i]!;
        const got = (await device.read(tensors[2])) as Float32Array;
        const sum = got.reduce((s, v) => s + Math.abs(v), 0);
        assert.ok(sum > 0);
        // rounding of an f32 sum taken in order grows with the root of its length
        const bound = 1e-6 * Math.sqrt(Math.max(1, k / 256));
        assert.ok(worst.within('matmul', worstError(got, want), bound), `${m} ${n} ${k}: ${worstError(got, want)}`);
        for (const t of tensors) t.dispose();
      }
    }
  });

  on('matmul of rows alone: each has the bits that it has as the only one', async () => {
    for (const [m, n, k] of [
      [2, 8, 577],
      [3, 1030, 131],
      [5, 19, 33],
      [64, 6, 7],
    ] as const) {
      const [a, b] = [put(device, [m, k], randomF32(m * k, 1)), put(device, [n, k], randomF32(n * k, 2))];
      const [together, apart] = [1, 2].map(() => put(device, [m, n], randomF32(m * n, 3))) as [Tensor, Tensor];
      const options = { transposeB: true, alpha: -0.7, accumulate: true };
      device.matmul(a, b, together, { ...options, alone: true });
      for (let i = 0; i < m; i++) device.matmul(device.rows(a, i, 1), b, device.rows(apart, i, 1), options);
      assert.equal(await device.read(together), await device.read(apart), `${m} ${n} ${k}`);
      await rejects('E_ARGUMENT', () => device.matmul(a, b, together, { alone: true }));
      for (const t of [a, b, together, apart]) t.dispose();
    }
  });

  on('linear with f32, f16 and bf16 weights, one row and many, ragged sizes', async () => {
    for (const type of ['f32', 'f16', 'bf16'] as const) {
      for (const [m, n, k] of [
        [1, 24, 64],
        [1, 13, 37],
        [5, 19, 96],
        [250, 11, 300],
      ] as const) {
        const values = randomF32(n * k, 4);
        const source = put(device, [n, k], values);
        const stored = type === 'f32' ? null : device.tensor(type, [n, k]);
        if (stored) {
          device.cast(source, stored);
          device.cast(stored, source);
        }
        const rounded = (await device.read(source)) as Float32Array;
        const raw = stored ? ((await device.read(stored)) as Uint16Array) : rounded;
        const bytes = new Uint8Array(raw.buffer);
        const size = stored ? 2 : 4;
        const weight = await device.loadMatrix({
          name: 'w',
          type,
          rows: n,
          columns: k,
          order: null,
          orderGroup: 1,
          read: async (first, target) => target.set(bytes.subarray(first * k * size, first * k * size + target.length)),
        });
        const x = randomF32(m * k, 6);
        const input = put(device, [m, k], x);
        const out = device.tensor('f32', [m, n]);
        device.linear(input, [weight], [out], 'int8');
        const error = worstError(
          (await device.read(out)) as Float32Array,
          product(m, n, k, x, rounded, { transposeB: true }),
        );
        assert.ok(worst.within(`linear ${type}`, error, 1e-6), `${type} ${m} ${n} ${k}: ${error}`);
        for (const t of [source, weight, input, out]) t.dispose();
        stored?.dispose();
      }
    }
  });

  on('rows of a weight are permuted as told', async () => {
    const [n, k, group] = [24, 8, 12];
    const values = Float32Array.from({ length: n * k }, (_, i) => Math.floor(i / k));
    const bytes = new Uint8Array(values.buffer);
    const order = (row: number) => row - (row % group) + (group - 1 - (row % group));
    const weight = await device.loadMatrix({
      name: 'w',
      type: 'f32',
      rows: n,
      columns: k,
      order,
      orderGroup: group,
      read: async (first, target) => target.set(bytes.subarray(first * k * 4, first * k * 4 + target.length)),
    });
    const ids = putInts(
      device,
      [n],
      Array.from({ length: n }, (_, i) => i),
    );
    const out = device.tensor('f32', [n, k]);
    device.embed(ids, weight, out);
    const rows = (await device.read(out)) as Float32Array;
    for (let i = 0; i < n; i++) assert.is(rows[i * k], order(i));
    for (const t of [weight, ids, out]) t.dispose();
  });

  on('rmsNorm and addRmsNorm equal PyTorch', async () => {
    const { rows, width, eps, x, weight, y } = oracle.rmsNorm;
    const input = put(device, [rows, width], x);
    const w = put(device, [width], weight);
    const out = device.tensor('f32', [rows, width]);
    device.rmsNorm(input, w, out, eps);
    assert.ok(worst.within('rmsNorm', worstError((await device.read(out)) as Float32Array, y), 1e-6));
    const half = put(
      device,
      [rows, width],
      x.map((v: number) => v / 2),
    );
    const residual = put(
      device,
      [rows, width],
      x.map((v: number) => v / 2),
    );
    device.addRmsNorm(half, residual, w, out, eps);
    assert.ok(worst.within('addRmsNorm', worstError((await device.read(out)) as Float32Array, y), 1e-6));
    assert.ok(worstError((await device.read(residual)) as Float32Array, x) < 1e-6);
    for (const t of [input, w, out, half, residual]) t.dispose();
  });

  on('gatedActivation and softmax equal PyTorch', async () => {
    const s = oracle.gatedActivation;
    const up = put(device, [s.rows, s.width], s.up);
    for (const kind of ['silu', 'gelu-tanh'] as const) {
      const gate = put(device, [s.rows, s.width], s.gate);
      device.gatedActivation(kind, gate, up, gate);
      assert.ok(worst.within(kind, worstError((await device.read(gate)) as Float32Array, s[kind]), 1e-6));
      gate.dispose();
    }
    const p = oracle.softmax;
    const x = put(device, [p.rows, p.width], p.x);
    device.softmax(x);
    assert.ok(worst.within('softmax', worstError((await device.read(x)) as Float32Array, p.y), 1e-6));
    for (const t of [up, x]) t.dispose();
  });

  on('gatedActivation is near f64 everywhere', async () => {
    const x = Float32Array.from([
      -1e30,
      -1e4,
      -0,
      1e-40,
      1e4,
      1e30,
      ...Array.from({ length: 5993 }, (_, i) => i / 100 - 30),
    ]);
    const sigmoid = (t: number) => 1 / (1 + Math.exp(-t));
    const least = onGpu ? 2 ** -126 : Number.MIN_VALUE; // a GPU may take a subnormal number for 0
    const size = (t: number) => (Math.abs(t) < least ? 1 : Math.abs(t));
    const steepness = {
      silu: (t: number) => t,
      'gelu-tanh': (t: number) => 2 * Math.sqrt(2 / Math.PI) * (t + 0.044715 * t ** 3),
    };
    const ones = put(
      device,
      [1, x.length],
      x.map(() => 1),
    );
    for (const kind of ['silu', 'gelu-tanh'] as const) {
      const gate = put(device, [1, x.length], x);
      device.gatedActivation(kind, gate, ones, gate);
      const got = (await device.read(gate)) as Float32Array;
      const apart = [...x].map((t, i) => Math.abs(got[i]! - t * sigmoid(steepness[kind](t))) / size(t));
      assert.ok(worst.within(`${kind} against f64, of its argument`, Math.max(...apart), 5e-7));
      gate.dispose();
    }
    ones.dispose();
  });

  on('logitStats equals PyTorch', async () => {
    const o = oracle.logitStats;
    const x = put(device, [o.rows, o.width], o.x);
    const targets = putInts(device, [o.rows], o.targets);
    const numbers = device.tensor('f32', [o.rows, STAT_NUMBERS]);
    const places = device.tensor('i32', [o.rows, STAT_PLACES]);
    device.logitStats(x, targets, o.order, numbers, places);
    const stats = (await device.read(numbers)) as Float32Array;
    const ints = (await device.read(places)) as Int32Array;
    const column = (stat: number) => Array.from({ length: o.rows }, (_, r) => stats[STAT_NUMBERS * r + stat]!);
    for (const [stat, key] of [
      [STAT.max, 'max'],
      [STAT.logSumExp, 'logSumExp'],
      [STAT.shannon, 'shannon'],
      [STAT.tsallis, 'tsallis'],
      [STAT.targetLogProbability, 'target'],
      [STAT.runnerUp, 'runnerUp'],
    ] as const) {
      assert.ok(worst.within(`logitStats ${key}`, worstError(column(stat), o[key]), 2e-6), key);
    }
    for (let r = 0; r < o.rows; r++) {
      assert.is(ints[STAT_PLACES * r + STAT_PLACE.argmax], o.argmax[r]);
      assert.is(ints[STAT_PLACES * r + STAT_PLACE.runnerUp], o.runnerUpAt[r]);
    }
    for (const t of [x, targets, numbers, places]) t.dispose();
  });

  on('topK: descending, ties by the lower place', async () => {
    const next = noise(11);
    for (const [n, k] of [
      [1, 1],
      [10, 10],
      [1003, 7],
      [5000, 100],
    ] as const) {
      // few distinct values, so that ties are many
      const x = Float32Array.from({ length: n }, () => Math.round(next() * 40));
      const t = put(device, [1, n], x);
      const values = device.tensor('f32', [k]);
      const places = device.tensor('i32', [k]);
      device.topK(t, k, values, places);
      const order = Array.from({ length: n }, (_, i) => i)
        .sort((a, b) => x[b]! - x[a]! || a - b)
        .slice(0, k);
      assert.equal([...((await device.read(places)) as Int32Array)], order);
      assert.equal(
        [...((await device.read(values)) as Float32Array)],
        order.map((i) => x[i]!),
      );
      for (const d of [t, values, places]) d.dispose();
    }
  });

  on('add, addBias, scale', async () => {
    const x = randomF32(21, 12);
    const y = randomF32(21, 13);
    const [a, b, bias] = [put(device, [3, 7], x), put(device, [3, 7], y), put(device, [7], x.subarray(0, 7))];
    device.add(a, b);
    device.addBias(bias, b);
    device.scale(b, -2);
    const want = Array.from(y, (v, i) => -2 * (v + x[i]! + x[i % 7]!));
    assert.ok(worst.within('add, addBias, scale', worstError((await device.read(b)) as Float32Array, want), 1e-6));
    for (const t of [a, b, bias]) t.dispose();
  });

  on('casts are bit-exact: every f16, and rounding to even into both', async () => {
    const every = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const half = device.tensor('f16', [65536]);
    const wide = device.tensor('f32', [65536]);
    device.write(half, every);
    device.cast(half, wide);
    const values = (await device.read(wide)) as Float32Array;
    for (let h = 0; h < 65536; h++) {
      const e = (h >> 10) & 31;
      const m = h & 1023;
      const size =
        e === 31 ? (m ? Number.NaN : Number.POSITIVE_INFINITY) : e ? (1 + m / 1024) * 2 ** (e - 15) : m * 2 ** -24;
      assert.ok(
        Object.is(values[h], h & 0x8000 ? -size : size) || (Number.isNaN(size) && Number.isNaN(values[h])),
        `${h}`,
      );
    }
    device.cast(wide, half);
    const back = (await device.read(half)) as Uint16Array;
    for (let h = 0; h < 65536; h++) if (!Number.isNaN(values[h])) assert.is(back[h], h);
    // between two neighbours: below, at and above the middle
    const view = new DataView(new ArrayBuffer(4));
    const narrow = device.tensor('bf16', [65536]);
    const near = Float32Array.from({ length: 65536 }, (_, i) => {
      view.setUint32(0, (Math.imul(i, 2654435761) & 0xffff8000) | ((i % 3) - 1 + 0x8000 * (i & 1)));
      return view.getFloat32(0);
    });
    device.write(wide, near);
    device.cast(wide, narrow);
    const bf16 = (await device.read(narrow)) as Uint16Array;
    for (let i = 0; i < 65536; i++) {
      if (Number.isNaN(near[i])) continue;
      view.setFloat32(0, near[i]!);
      const bits = view.getUint32(0);
      const low = bits & 0xffff;
      let want = bits >>> 16;
      if (low > 0x8000 || (low === 0x8000 && want & 1)) want++;
      assert.is(bf16[i], want & 0xffff, `${i}`);
    }
    for (const t of [half, wide, narrow]) t.dispose();
  });
}

testNothingLeft(all, worst);

test.run();
