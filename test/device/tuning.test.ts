// device: wasm — the CPU’s kernels are timed
/** What is timed at start decides how fast a device computes, and no bit of what it computes. */
import { test } from 'uvu';
import type { ElementType, Precision, Tensor } from '../../src/device/device.ts';
import { hasRelaxedSimd } from '../../src/device/wasm/load-kernels.ts';
import { CANDIDATES } from '../../src/device/wasm/tune.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import { put } from './devices.ts';
import { sameBits } from './gradients.ts';
import { randomF32 } from './reference.ts';
import { stored } from './sources.ts';

/** Rows, inputs and outputs: one row, tails of every tile, and more than a group of rows that agree on channels. */
const SHAPES = [
  [1, 704, 304],
  [2, 64, 8],
  [3, 1120, 8],
  [17, 1056, 136],
  [64, 576, 96],
  [525, 128, 32],
] as const;
const KINDS = [
  ['f32', 'exact'],
  ['bf16', 'exact'],
  ['q8_0', 'int8'],
  ['q4_0', 'int8'],
  ['q4_0', 'int16'],
  ['q4_1', 'int8'],
  ['q4_1', 'exact'],
] as const satisfies readonly (readonly [ElementType, Precision])[];

/** Devices that are alike but for what is timed. */
const families = await Promise.all(
  (['plain', 'relaxed'] as const)
    .filter((simd) => simd === 'plain' || hasRelaxedSimd())
    .map((simd) => {
      const { micros, dots } = CANDIDATES[simd];
      const tunings = micros.flatMap((micro) => dots.map((dot) => ({ micro, dot })));
      return Promise.all(tunings.map((tuning) => WasmTrainDevice.create({ relaxed: simd === 'relaxed', tuning })));
    }),
);

const floats = async (device: WasmTrainDevice, t: Tensor) => (await device.read(t)) as Float32Array;
const made = (device: WasmTrainDevice, rows: number, columns: number, seed: number) =>
  put(device, [rows, columns], randomF32(rows * columns, seed));

for (const [type, precision] of KINDS) {
  test(`linear of ${type}, ${precision}`, () =>
    sameBits(families, async (device) => {
      const results: Float32Array[] = [];
      for (const [rows, k, n] of SHAPES) {
        const x = made(device, rows, k, rows);
        const w = await device.loadMatrix(stored(type, n, k, 3));
        const out = device.tensor('f32', [rows, n]);
        device.linear(x, [w], [out], precision);
        results.push(await floats(device, out));
        device.linearBackward(out, w, x);
        results.push(await floats(device, x));
        for (const t of [x, w, out]) t.dispose();
      }
      return results;
    }));
}

test('matmul, each way', () =>
  sameBits(families, async (device) => {
    const results: Float32Array[] = [];
    for (const [m, k, n] of SHAPES) {
      for (const [transposeA, transposeB] of [
        [false, false],
        [false, true],
        [true, false],
      ] as const) {
        const a = transposeA ? made(device, k, m, 1) : made(device, m, k, 1);
        const b = transposeB ? made(device, n, k, 2) : made(device, k, n, 2);
        const c = device.tensor('f32', [m, n]);
        device.matmul(a, b, c, { transposeA, transposeB });
        results.push(await floats(device, c));
        for (const t of [a, b, c]) t.dispose();
      }
    }
    return results;
  }));

test('attention and its way back', () =>
  sameBits(families, async (device) => {
    const [nHeads, nKvHeads, headDim, rows] = [4, 2, 16, 83];
    const [q, dOut] = [made(device, rows, nHeads * headDim, 1), made(device, rows, nHeads * headDim, 2)];
    const [keys, values] = [made(device, rows, nKvHeads * headDim, 3), made(device, rows, nKvHeads * headDim, 4)];
    const [out, dQ] = [device.tensor('f32', q.shape), device.tensor('f32', q.shape)];
    const [dKeys, dValues] = [device.tensor('f32', keys.shape), device.tensor('f32', keys.shape)];
    const logSumExp = device.tensor('f32', [rows, nHeads]);
    const shape = { nHeads, nKvHeads, headDim, scale: 0.25, window: 0, mask: null, base: 0 };
    device.attention({ ...shape, q, keys, values, out, logSumExp });
    device.attentionBackward({ ...shape, q, keys, values, out, logSumExp, dOut, dQ, dKeys, dValues });
    const results: Float32Array[] = [];
    for (const t of [out, logSumExp, dQ, dKeys, dValues]) results.push(await floats(device, t));
    for (const t of [q, dOut, keys, values, out, dQ, dKeys, dValues, logSumExp]) t.dispose();
    return results;
  }));

test.run();
