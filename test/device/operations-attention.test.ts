/** Attention and RoPE against PyTorch and plain f64 programs, on every device. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fixture } from '../model/shared-files.ts';
import { devices, put, putInts, testNothingLeft, Worst } from './devices.ts';
import { randomF32, worstError } from './reference.ts';

const oracle = await fixture('ops.json');
const all = await devices();
const worst = new Worst();
for (const { name, device } of all) {
  const on = (title: string, run: () => Promise<void>) => test(`${title} [${name}]`, run);

  on('attention equals PyTorch: causal, windowed, masked, and row by row', async () => {
    const o = oracle.attention;
    const q = put(device, [o.T, o.heads * o.headDim], o.q);
    const keys = put(device, [o.base + o.T, o.kvHeads * o.headDim], o.k);
    const values = put(device, [o.base + o.T, o.kvHeads * o.headDim], o.v);
    const out = device.tensor('f32', [o.T, o.heads * o.headDim]);
    const mask = putInts(device, [o.T, 3], o.mask);
    const common = {
      keys,
      values,
      nHeads: o.heads,
      nKvHeads: o.kvHeads,
      headDim: o.headDim,
      scale: 1 / Math.sqrt(o.headDim),
    };
    for (const [kind, window, m] of [
      ['causal', 0, null],
      ['windowed', o.window, null],
      ['masked', 0, mask],
    ] as const) {
      device.attention({ ...common, q, out, base: o.base, window, mask: m });
      const error = worstError((await device.read(out)) as Float32Array, o[kind]);
      assert.ok(worst.within(`attention ${kind}`, error, 2e-6), `${kind} ${error}`);
      if (m) continue;
      for (let i = 0; i < o.T; i++) {
        device.attention({
          ...common,
          q: device.rows(q, i, 1),
          out: device.rows(out, i, 1),
          base: o.base + i,
          window,
          mask: null,
        });
      }
      const single = worstError((await device.read(out)) as Float32Array, o[kind]);
      assert.ok(worst.within(`attention ${kind}, decoding`, single, 2e-6), `${kind} ${single}`);
    }
    for (const t of [q, keys, values, out, mask]) t.dispose();
  });

  on('attention over many tiles equals a plain f64 program', async () => {
    for (const [rows, base, heads, kvHeads, headDim] of [
      [150, 70, 9, 3, 64],
      [33, 0, 4, 4, 10],
      [70, 3, 8, 1, 8],
      [1, 300, 9, 3, 64],
      [1, 77, 4, 2, 20],
    ] as const) {
      const q = randomF32(rows * heads * headDim, 7, 2);
      const k = randomF32((base + rows) * kvHeads * headDim, 8, 2);
      const v = randomF32((base + rows) * kvHeads * headDim, 9);
      const tensors = [
        put(device, [rows, heads * headDim], q),
        put(device, [base + rows, kvHeads * headDim], k),
        put(device, [base + rows, kvHeads * headDim], v),
        device.tensor('f32', [rows, heads * headDim]),
      ] as const;
      device.attention({
        q: tensors[0],
        keys: tensors[1],
        values: tensors[2],
        out: tensors[3],
        base,
        nHeads: heads,
        nKvHeads: kvHeads,
        headDim,
        scale: 1 / Math.sqrt(headDim),
        window: 0,
        mask: null,
      });
      const want = new Float64Array(rows * heads * headDim);
      for (let i = 0; i < rows; i++) {
        for (let h = 0; h < heads; h++) {
          const kv = Math.floor(h / (heads / kvHeads));
          const scores: number[] = [];
          for (let j = 0; j <= base + i; j++) {
            let s = 0;
            for (let c = 0; c < headDim; c++)
              s += q[(i * heads + h) * headDim + c]! * k[(j * kvHeads + kv) * headDim + c]!;
            scores.push(s / Math.sqrt(headDim));
          }
          const most = Math.max(...scores);
          const e = scores.map((s) => Math.exp(s - most));
          const sum = e.reduce((a, b) => a + b);
          for (let c = 0; c < headDim; c++) {
            let o = 0;
            for (let j = 0; j < e.length; j++) o += e[j]! * v[(j * kvHeads + kv) * headDim + c]!;
            want[(i * heads + h) * headDim + c] = o / sum;
          }
        }
      }
      const error = worstError((await device.read(tensors[3])) as Float32Array, want);
      assert.ok(worst.within('attention, many tiles', error, 3e-6), `${rows} ${base}: ${error}`);
      for (const t of tensors) t.dispose();
    }
  });

  on('rope: both layouts, partial, shifts compose, wrong pairing differs', async () => {
    const [rows, heads, headDim, rotaryDims] = [5, 3, 12, 8];
    const x = randomF32(rows * heads * headDim, 10);
    const angle = (p: number, j: number) => p * 100 ** (-2 * (j / rotaryDims));
    const table = (first: number, n: number) =>
      put(
        device,
        [n, 2, rotaryDims / 2],
        Array.from({ length: n }, (_, p) => [
          ...Array.from({ length: rotaryDims / 2 }, (_, j) => Math.cos(angle(first + p, j))),
          ...Array.from({ length: rotaryDims / 2 }, (_, j) => Math.sin(angle(first + p, j))),
        ]).flat(),
      );
    const rotated = (layout: 'half' | 'interleaved', at: (row: number) => number) => {
      const y = Float64Array.from(x);
      for (let r = 0; r < rows; r++) {
        for (let h = 0; h < heads; h++) {
          for (let j = 0; j < rotaryDims / 2; j++) {
            const o = (r * heads + h) * headDim;
            const [a, b] = layout === 'half' ? [o + j, o + j + rotaryDims / 2] : [o + 2 * j, o + 2 * j + 1];
            const [c, s] = [Math.cos(angle(at(r), j)), Math.sin(angle(at(r), j))];
            y[a] = x[a]! * c - x[b]! * s;
            y[b] = x[b]! * c + x[a]! * s;
          }
        }
      }
      return y;
    };
    const whole = table(0, 40);
    const delta = table(-7, 1);
    const positions = putInts(device, [rows], [9, 3, 30, 8, 7]);
    const at = (r: number) => [9, 3, 30, 8, 7][r]!;
    for (const layout of ['half', 'interleaved'] as const) {
      const t = put(device, [rows, heads * headDim], x);
      device.rope(t, whole, positions, { heads, headDim, rotaryDims, layout });
      const got = (await device.read(t)) as Float32Array;
      assert.ok(worst.within('rope', worstError(got, rotated(layout, at)), 1e-6));
      assert.ok(worstError(got, rotated(layout === 'half' ? 'interleaved' : 'half', at)) > 0.1);
      device.rope(t, delta, 0, { heads, headDim, rotaryDims, layout });
      const moved = (await device.read(t)) as Float32Array;
      assert.ok(
        worst.within(
          'rope, shifted',
          worstError(
            moved,
            rotated(layout, (r) => at(r) - 7),
          ),
          1e-6,
        ),
      );
      t.dispose();
    }
    for (const t of [whole, delta, positions]) t.dispose();
  });
}

testNothingLeft(all, worst);

test.run();
