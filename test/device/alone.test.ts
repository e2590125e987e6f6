/** Rows of texts that know nothing of each other: each product to the bit as it is of the row as the only one. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, ElementType, Precision, Tensor } from '../../src/device/device.ts';
import { devices, put, putInts, testNothingLeft } from './devices.ts';
import { randomF32 } from './reference.ts';
import { stored } from './sources.ts';

const all = await devices();

const TYPES = ['f32', 'f16', 'bf16', 'q8_0', 'q8_1', 'q4_0', 'q4_1'] as const satisfies readonly ElementType[];
const PRECISIONS: readonly Precision[] = ['exact', 'int16', 'int8'];
/** Below, at and above the rows that kernels take together. */
const COUNTS = [2, 3, 4, 5, 7, 8, 13];

const floats = async (device: Device, t: Tensor) => (await device.read(t)) as Float32Array;

for (const { name, device } of all) {
  for (const type of TYPES) {
    test(`linear gives each row what it gets alone, ${type} [${name}]`, async () => {
      for (const [k, widths] of [
        [96, [24, 19]],
        [1056, [136, 8]], // more than a block of k; enough for several parts
        ...(type === 'f32' || type === 'bf16' || type === 'f16' ? ([[39, [11]]] as const) : []),
      ] as const) {
        const weights: Tensor[] = [];
        for (const [i, n] of widths.entries()) weights.push(await device.loadMatrix(stored(type, n, k, i + 1)));
        for (const rows of COUNTS) {
          const x = put(device, [rows, k], randomF32(rows * k, rows));
          const outs = widths.map((n) => device.tensor('f32', [rows, n]));
          const single = widths.map((n) => device.tensor('f32', [1, n]));
          for (const precision of PRECISIONS) {
            device.linear(x, weights, outs, precision, true);
            for (let r = 0; r < rows; r++) {
              device.linear(device.rows(x, r, 1), weights, single, precision);
              for (const [i, n] of widths.entries()) {
                const got = (await floats(device, outs[i]!)).slice(r * n, (r + 1) * n);
                assert.equal(got, await floats(device, single[i]!), `${precision}, row ${r} of ${rows}, ${k} x ${n}`);
              }
            }
          }
          for (const t of [x, ...outs, ...single]) t.dispose();
        }
        for (const w of weights) w.dispose();
      }
    });
  }

  for (const type of ['bf16', 'q4_1', 'q8_0'] as const) {
    test(`linearGrouped gives each row what it gets alone, ${type} [${name}]`, async () => {
      const [k, n] = [160, 72];
      const counts = [3, 0, 1, 6, 2];
      const bounds = [0];
      for (const count of counts) bounds.push(bounds.at(-1)! + count);
      const rows = bounds.at(-1)!;
      const stack = await device.loadMatrices(counts.map((_, e) => stored(type, n, k, e + 1)));
      const x = put(device, [rows, k], randomF32(rows * k, 5));
      const [out, single] = [device.tensor('f32', [rows, n]), device.tensor('f32', [1, n])];
      const offsets = putInts(device, [bounds.length], bounds);
      for (const precision of PRECISIONS) {
        device.linearGrouped(x, offsets, [stack], [out], precision, true);
        const got = await floats(device, out);
        for (let e = 0; e < counts.length; e++) {
          for (let r = bounds[e]!; r < bounds[e + 1]!; r++) {
            device.linear(device.rows(x, r, 1), [device.matrix(stack, e)], [single], precision);
            assert.equal(got.slice(r * n, (r + 1) * n), await floats(device, single), `${precision}, row ${r}`);
          }
        }
      }
      for (const t of [stack, x, out, single, offsets]) t.dispose();
    });
  }
}

testNothingLeft(all);

test.run();
