import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dequantise } from '../../src/checkpoint/quantised/dequantise.ts';
import { floatToHalf, halfTable } from '../../src/checkpoint/quantised/half.ts';
import { quantise } from '../../src/checkpoint/quantised/quantise.ts';
import { repackRows } from '../../src/checkpoint/quantised/repack.ts';
import { storedKind } from '../../src/checkpoint/quantised/stored-types.ts';
import type { StoredType } from '../../src/checkpoint/types.ts';
import { byteLengthOf } from '../../src/element-types.ts';
import { EspalierError } from '../../src/errors.ts';
import { readBytes } from '../files.ts';
import { dequantiseComputed } from './computed.ts';

const TYPES = ['f16', 'bf16', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'q4_k', 'q5_k', 'q6_k'] as const;

async function fixture(type: StoredType): Promise<{ bytes: Uint8Array; expected: Float32Array }> {
  const file = (ending: string) => readBytes(`test/fixtures/blocks/${type}.${ending}`);
  return { bytes: await file('bin'), expected: new Float32Array((await file('f32')).buffer) };
}

/** Values whose bits differ. */
function differing(a: Float32Array, b: Float32Array): number {
  const x = new Uint32Array(a.buffer);
  const y = new Uint32Array(b.buffer);
  return x.reduce((sum, bits, i) => sum + (bits === y[i] ? 0 : 1), 0);
}

for (const type of TYPES) {
  test(`${type} reads bit for bit as the gguf package reads it`, async () => {
    const { bytes, expected } = await fixture(type);
    assert.ok(expected.length > 1000);
    assert.is(differing(dequantise(type, bytes, expected.length), expected), 0);
    console.log(`  ${type}: ${expected.length} values, 0 bits differ`);
  });
}

for (const type of ['q8_0', 'q4_0'] as const) {
  test(`${type} is rounded to bit for bit as the gguf package rounds`, async () => {
    const values = new Float32Array((await readBytes('test/fixtures/blocks/quantised.f32')).buffer);
    const expected = await readBytes(`test/fixtures/blocks/quantised-${type}.bin`);
    const got = quantise(type, values);
    assert.is(got.length, expected.length);
    assert.equal(
      got.findIndex((byte, i) => byte !== expected[i]),
      -1,
    );
    console.log(`  ${type}: ${got.length} bytes, 0 differ`);
    // what is not finite stays visible, for who loads it
    for (const wrong of [Number.NaN, -Infinity]) {
      const scale = dequantise(
        type,
        quantise(
          type,
          Float32Array.from({ length: 32 }, (_, i) => (i === 9 ? wrong : i)),
        ),
        32,
      );
      assert.ok(!scale.every(Number.isFinite), String(wrong));
    }
    assert.throws(
      () => quantise(type, new Float32Array(33)),
      (error: unknown) => error instanceof EspalierError && error.code === 'E_SHAPE',
    );
  });
}

test('every f16 survives f32, and f32 rounds to f16 as nearest, ties to even', () => {
  const table = halfTable();
  let nans = 0;
  for (let h = 0; h < 65536; h++) {
    if (Number.isNaN(table[h]!)) nans++;
    else assert.is(floatToHalf(table[h]!), h);
  }
  assert.is(nans, 2 * 1023);
  // the middle between two neighbours goes to the even one, a hair more to the upper
  for (let h = 0; h < 0x7bff; h += 7) {
    const middle = (table[h]! + table[h + 1]!) / 2; // exact in f32
    assert.is(floatToHalf(middle), h % 2 === 0 ? h : h + 1);
    assert.is(floatToHalf(Math.fround(middle * (1 + 2 ** -22))), h + 1);
    assert.is(floatToHalf(-Math.fround(middle * (1 - 2 ** -22))), h | 0x8000);
  }
  assert.is(floatToHalf(65519.99), 0x7bff);
  assert.is(floatToHalf(65520), 0x7c00);
  assert.is(floatToHalf(-Infinity), 0xfc00);
  assert.is(floatToHalf(Number.NaN) & 0x7e00, 0x7e00);
});

for (const type of ['q5_0', 'q5_1'] as const) {
  test(`${type} is repacked without a loss`, async () => {
    const { bytes, expected } = await fixture(type);
    const repacked = repackRows(type, bytes, expected.length);
    const { device } = storedKind(type);
    assert.is(repacked.length, byteLengthOf(device, expected.length));
    assert.is(differing(dequantiseComputed(device, repacked, expected.length), expected), 0);
  });
}

for (const type of ['q6_k'] as const) {
  test(`${type} becomes q8_0 within the stated bound`, async () => {
    const { bytes, expected } = await fixture(type);
    const repacked = repackRows(type, bytes, expected.length);
    assert.is(repacked.length, byteLengthOf('q8_0', expected.length));
    const got = dequantise('q8_0', repacked, expected.length);
    const half = halfTable();
    let worst = 0;
    for (let i = 0; i < expected.length; i++) {
      const at = (i >> 5) * 34;
      const d = half[repacked[at]! | (repacked[at + 1]! << 8)]!;
      const bound = Math.max(0.5 * d, 127 * 2 ** -25);
      const error = Math.abs(got[i]! - expected[i]!);
      assert.ok(error <= bound, `${type}[${i}]: ${error} > ${bound}`);
      if (d >= 2 ** -14) worst = Math.max(worst, error / d);
    }
    console.log(`  ${type} to q8_0: worst error ${worst.toFixed(4)} d of 0.5 d allowed`);
  });
}

for (const [type, block, code] of [
  ['q4_k', 144, 15],
  ['q5_k', 176, 31],
] as const) {
  test(`${type} keeps its codes, within the stated bound`, async () => {
    const { bytes, expected } = await fixture(type);
    const { device } = storedKind(type);
    const got = dequantiseComputed(device, repackRows(type, bytes, expected.length), expected.length);
    const half = halfTable();
    let worst = 0;
    for (let i = 0; i < expected.length; i++) {
      const at = (i >> 8) * block;
      const d = Math.abs(half[bytes[at]! | (bytes[at + 1]! << 8)]!);
      const dmin = Math.abs(half[bytes[at + 2]! | (bytes[at + 3]! << 8)]!);
      const group = (i >> 5) & 7;
      const s = bytes.subarray(at + 4);
      const scale = d * (group < 4 ? s[group]! & 63 : (s[group + 4]! & 15) | ((s[group - 4]! >> 6) << 4));
      const minimum = dmin * (group < 4 ? s[group + 4]! & 63 : (s[group + 4]! >> 4) | ((s[group]! >> 6) << 4));
      const rounding = 2 ** -23 * (code * scale + minimum);
      const bound = code * Math.max(2 ** -11 * scale, 2 ** -25) + Math.max(2 ** -11 * minimum, 2 ** -25) + rounding;
      const error = Math.abs(got[i]! - expected[i]!);
      assert.ok(error <= bound, `[${i}]: ${error} > ${bound}`);
      worst = Math.max(worst, error / bound);
    }
    console.log(`  ${type} to ${device}: worst error ${worst.toFixed(3)} of the bound`);
  });
}

test('a scale that is not finite does not vanish in repacking', async () => {
  for (const type of ['q5_0', 'q5_1', 'q4_k', 'q5_k', 'q6_k'] as const) {
    const { bytes } = await fixture(type);
    const elements = type.endsWith('k') ? 256 : 32;
    const at = type === 'q6_k' ? 208 : 0;
    for (const scale of [0x7e00, 0x7c00, 0xfc00]) {
      const block = bytes.slice(0, byteLengthOf(type, elements));
      // every code but zero, every group's scale but zero
      block.fill(0x3f);
      block[at] = scale & 255;
      block[at + 1] = scale >> 8;
      const { device } = storedKind(type);
      const values = dequantiseComputed(device, repackRows(type, block, elements), elements);
      assert.ok(
        values.some((value) => !Number.isFinite(value)),
        `${type} ${scale.toString(16)}`,
      );
    }
  }
});

test('native types stay as they are; wrong lengths are refused', () => {
  for (const type of ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1'] as const) {
    assert.is(storedKind(type).repack, null);
    assert.is(storedKind(type).device, type);
  }
  const fails = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      return error instanceof EspalierError && error.code === 'E_SHAPE';
    }
    return false;
  };
  assert.ok(fails(() => dequantise('q4_0', new Uint8Array(17), 32)));
  assert.ok(fails(() => dequantise('q4_0', new Uint8Array(18), 31)));
  assert.ok(fails(() => repackRows('q6_k', new Uint8Array(209), 256)));
});

test('many rows are repacked as few', async () => {
  const elements = 256 * 4096;
  for (const type of ['q4_k', 'q6_k'] as const) {
    const { bytes, expected } = await fixture(type);
    const few = repackRows(type, bytes, expected.length);
    const many = new Uint8Array(byteLengthOf(type, elements));
    for (let at = 0; at < many.length; at += bytes.length) many.set(bytes.subarray(0, many.length - at), at);
    const start = performance.now();
    const repacked = repackRows(type, many, elements);
    const seconds = (performance.now() - start) / 1000;
    console.log(`  ${type}: ${(elements / seconds / 1e6).toFixed(0)} M weights/s`);
    assert.ok(repacked.length > few.length);
    const differs = repacked.findIndex((byte, i) => byte !== few[i % few.length]);
    assert.is(differs, -1);
  }
});

test.run();
