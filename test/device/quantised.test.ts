/** Products with ggml's block formats, against the reference dequantisation (itself equal to the gguf package bit for bit). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { floatToHalf } from '../../src/checkpoint/quantised/half.ts';
import type { Device } from '../../src/device/device.ts';
import { dequantiseComputed as dequantise } from '../checkpoint/computed.ts';
import { devices, testNothingLeft, Worst } from './devices.ts';
import { noise, product, randomF32, worstError } from './reference.ts';

const all = await devices();
const worst = new Worst();
const BYTES = { q8_0: 34, q8_1: 36, q4_0: 18, q4_1: 20 } as const;
type Block = keyof typeof BYTES;

/** Random rows [n, k] in a block format; scales between 2^-24 (denormal) and `largest`. */
function rows(type: Block, n: number, k: number, largest: number, seed: number): Uint8Array {
  const next = noise(seed);
  const bytes = new Uint8Array(((n * k) / 32) * BYTES[type]);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += BYTES[type]) {
    for (let i = 2; i < BYTES[type]; i++) bytes[at + i] = (next() + 1) * 128;
    const kind = next();
    const scale = kind < -0.9 ? 2 ** -24 * (1 + Math.floor((next() + 1) * 500)) : largest * (1.5 + next()) * 0.4;
    view.setUint16(at, floatToHalf(Math.fround(type === 'q4_0' && next() < 0 ? -scale : scale)), true);
    if (type.endsWith('1')) view.setUint16(at + 2, floatToHalf(Math.fround(-7 * scale * (1 + 0.3 * next()))), true);
  }
  return bytes;
}

function load(device: Device, type: Block, n: number, k: number, bytes: Uint8Array) {
  const size = (k / 32) * BYTES[type];
  const read = async (first: number, target: Uint8Array) =>
    target.set(bytes.subarray(first * size, first * size + target.length));
  return device.loadMatrix({ name: 'w', type, rows: n, columns: k, order: null, orderGroup: 1, read });
}

for (const { name, device } of all) {
  for (const type of ['q8_0', 'q8_1', 'q4_0', 'q4_1'] as const) {
    for (const largest of [0.01, 3000]) {
      test(`${type}, scales up to ${largest} [${name}]`, async () => {
        for (const [m, n, k] of [
          [1, 24, 64],
          [1, 13, 1536],
          [3, 19, 96],
          [250, 21, 320],
        ] as const) {
          const bytes = rows(type, n, k, largest, 100 + m);
          const w = dequantise(type, bytes, n * k);
          const weight = await load(device, type, n, k, bytes);

          const ids = device.tensor('i32', [n]);
          device.write(
            ids,
            Int32Array.from({ length: n }, (_, i) => i),
          );
          const table = device.tensor('f32', [n, k]);
          device.embed(ids, weight, table);
          assert.equal((await device.read(table)) as Float32Array, w, 'embedding rows are the reference to the bit');

          // activations with towering channels in some blocks, as trained models have
          const x = randomF32(m * k, 7 + m);
          for (let r = 0; r < m; r++) for (let c = 3; c < k; c += 256) x[r * k + c]! *= 40;
          const [input, out] = [device.tensor('f32', [m, k]), device.tensor('f32', [m, n])];
          device.write(input, x);
          const want = product(m, n, k, x, w, { transposeB: true });

          device.linear(input, [weight], [out], 'exact');
          const exact = worstError((await device.read(out)) as Float32Array, want);
          assert.ok(worst.within('exact', exact, 2e-6), `${exact}`);

          for (const [precision, codes] of [
            ['int16', 32767],
            ['int8', 127],
          ] as const) {
            device.linear(input, [weight], [out], precision);
            const got = (await device.read(out)) as Float32Array;
            // each activation is off by half a step at most: a strict bound for every single result
            for (let i = 0; i < m; i++) {
              for (let j = 0; j < n; j++) {
                let bound = 0;
                for (let b = 0; b < k; b += 32) {
                  let most = 0;
                  let sum = 0;
                  for (let c = b; c < b + 32; c++) {
                    most = Math.max(most, Math.abs(x[i * k + c]!));
                    sum += Math.abs(w[j * k + c]!);
                  }
                  bound += (most / codes / 2) * sum * 1.0001;
                }
                const rounding = 4e-6 * largest * k * 16;
                const error = Math.abs(got[i * n + j]! - want[i * n + j]!);
                assert.ok(error <= bound + rounding, `${precision} ${m} ${i} ${j}: ${error} > ${bound} + ${rounding}`);
              }
            }
            const relative = worstError(got, want);
            assert.ok(
              worst.within(`${precision}, relative`, relative, precision === 'int8' ? 0.01 : 2e-4),
              `${relative}`,
            );
          }
          for (const t of [weight, ids, table, input, out]) t.dispose();
        }
      });
    }
  }
}

test('a matrix whose scales are all zero, and codes of -128', async () => {
  for (const { device } of all) {
    const zero = new Uint8Array(8 * 34);
    const w = await load(device, 'q8_0', 8, 32, zero);
    const bytes = rows('q8_0', 8, 32, 0.5, 5);
    for (let r = 0; r < 8; r++) bytes.fill(0x80, r * 34 + 2, r * 34 + 34);
    const least = await load(device, 'q8_0', 8, 32, bytes);
    const values = dequantise('q8_0', bytes, 256);
    const x = randomF32(64, 9);
    const [input, out] = [device.tensor('f32', [2, 32]), device.tensor('f32', [2, 8])];
    device.write(input, x);
    device.linear(input, [w], [out], 'int8');
    assert.equal([...((await device.read(out)) as Float32Array)], new Array(16).fill(0));
    device.linear(input, [least], [out], 'int8');
    const error = worstError(
      (await device.read(out)) as Float32Array,
      product(2, 8, 32, x, values, { transposeB: true }),
    );
    assert.ok(error < 1e-4, `${error}`);
    for (const t of [w, least, input, out]) t.dispose();
  }
});

test('q4_1 rows without scales: their minima alone, beside rows that have both', async () => {
  for (const { name, device } of all) {
    const [m, n, k] = [7, 12, 96];
    const bytes = rows('q4_1', n, k, 0.5, 11);
    const view = new DataView(bytes.buffer);
    for (let r = 0; r < n; r += 2) {
      for (let b = 0; b < k / 32; b++) {
        const at = (r * (k / 32) + b) * BYTES.q4_1;
        view.setUint16(at, 0, true);
        view.setUint16(at + 2, floatToHalf(r - 4.5), true);
      }
    }
    const weight = await load(device, 'q4_1', n, k, bytes);
    const x = randomF32(m * k, 12);
    const [input, out] = [device.tensor('f32', [m, k]), device.tensor('f32', [m, n])];
    device.write(input, x);
    device.linear(input, [weight], [out], 'int8');
    const want = product(m, n, k, x, dequantise('q4_1', bytes, n * k), { transposeB: true });
    const error = worstError((await device.read(out)) as Float32Array, want);
    assert.ok(worst.within('int8, rows without scales', error, 0.01), `${name}: ${error}`);
    for (const t of [weight, input, out]) t.dispose();
  }
});

testNothingLeft(all, worst);

test.run();
