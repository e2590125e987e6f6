// device: webgpu — matrix units are a GPU's
/**
 * Products on matrix units where a GPU has them (Dawn is told to show them; Mesa's llvmpipe plays them from 25.2 on), and where there are none that nothing of
 * it is noticed. Sums of f16 products, so that what is held is the rounding of x, of which the bound is known, and that nothing else is lost.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { floatToHalf, halfTable } from '../../src/checkpoint/quantised/half.ts';
import type { Tensor } from '../../src/device/device.ts';
import { kernel } from '../../src/device/webgpu/kernel.ts';
import { multiply } from '../../src/device/webgpu/matrix-product.ts';
import { prove } from '../../src/device/webgpu/matrix-proof.ts';
import { type MatrixUnits, type MatrixWay, matrixUnitsOf } from '../../src/device/webgpu/matrix-units.ts';
import { operandOf } from '../../src/device/webgpu/operand.ts';
import type { WebGpuDeviceOptions } from '../../src/device/webgpu/options.ts';
import type { GpuTensor } from '../../src/device/webgpu/tensor.ts';
import type { GpuParts } from '../../src/device/webgpu/tensor-store.ts';
import { WebGpuDevice } from '../../src/device/webgpu/webgpu-device.ts';
import { put, testNothingLeft, testsOn, Worst } from './devices.ts';
import { product, randomF32, worstError } from './reference.ts';
import { stored } from './sources.ts';

const env = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env;
if (env) env['ESPALIER_MATRIX_UNITS'] = '1'; // before the first adapter

class Opened extends WebGpuDevice {
  static override async create(given: WebGpuDeviceOptions = {}): Promise<Opened> {
    return WebGpuDevice.start(given, (...start) => new Opened(...start));
  }
  get inner(): GpuParts {
    return this.parts();
  }
}

const whole = await Opened.create({ debug: true });
/** Binds 8 KiB at a time. */
const inPieces = await Opened.create({ debug: true, bindingLimit: 8192 });
const units = matrixUnitsOf(whole.inner.context);
const there = units?.proved === true;
if (!there) console.log(`  skipped: ${whole.description['matrixUnits'] ?? 'no matrix units'}`);

const worst = new Worst();
const floats = async (t: Tensor) => (await whole.read(t)) as Float32Array;
const on = testsOn('webgpu', whole);

function dispose(...tensors: Tensor[]): void {
  for (const t of tensors) t.dispose();
}

/** A weight and its numbers, which f16 holds. */
async function weightOf(device: WebGpuDevice, n: number, k: number, seed: number) {
  const values = Float64Array.from(randomF32(n * k, seed), (v) => halfTable()[floatToHalf(v)]!);
  return { weight: await device.loadMatrix(stored('f16', n, k, seed)), values };
}

/** What a row becomes: times a power of two, the nearest f16, and back. */
function rounded(x: Float32Array, k: number): Float64Array {
  return Float64Array.from(x, (v, i) => {
    const row = x.subarray(i - (i % k), i - (i % k) + k);
    const most = row.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    if (most === 0) return 0;
    const factor = 2 ** (14 - Math.floor(Math.log2(most)));
    return halfTable()[floatToHalf(v * factor)]! / factor;
  });
}

on('where there are none, and at other precisions, nothing changes', async () => {
  const [rows, n, k] = [100, 44, 72];
  const { weight, values } = await weightOf(whole, n, k, 1);
  const given = randomF32(rows * k, 2);
  const [x, out] = [put(whole, [rows, k], given), whole.tensor('f32', [rows, n])];
  whole.linear(x, [weight], [out], 'exact');
  const exact = await floats(out);
  const error = worstError(exact, product(rows, n, k, given, values, { transposeB: true }));
  assert.ok(worst.within('exact', error, 1e-6), `${error}`);
  whole.linear(x, [weight], [out], 'int16');
  assert.equal(await floats(out), exact);
  whole.linear(x, [weight], [out], 'int8');
  if (there) assert.not.equal(await floats(out), exact, 'matrix units round');
  else assert.equal(await floats(out), exact);
  const few = whole.tensor('f32', [3, n]);
  const firsts: Float32Array[] = [];
  for (const precision of ['exact', 'int8'] as const) {
    whole.linear(whole.rows(x, 0, 3), [weight], [few], precision);
    firsts.push(await floats(few));
  }
  assert.equal(firsts[0], firsts[1], 'few rows stay f32');
  dispose(weight, x, out, few);
});

if (there) {
  for (const device of [whole, inPieces]) {
    const its = testsOn(device === whole ? 'whole' : 'in pieces', device);
    its('products of any size, within the rounding of f16', async () => {
      for (const [m, n, k] of [
        [64, 4, 1],
        [65, 36, 7],
        [70, 132, 40],
        [131, 20, 64],
        [200, 68, 100],
      ] as const) {
        const given = randomF32(m * k, 3, 10);
        // a view whose rows begin anywhere
        const owner = put(device, [m + 1, k], [...randomF32(k, 9), ...given]);
        const { weight, values } = await weightOf(device, n, k, 4);
        const out = device.tensor('f32', [m, n]);
        device.linear(device.rows(owner, 1, m), [weight], [out], 'int8');
        const got = (await device.read(out)) as Float32Array;
        const want = product(m, n, k, given, values, { transposeB: true });
        const sizes = product(m, n, k, given.map(Math.abs), values.map(Math.abs), { transposeB: true });
        // half a unit of 11 bits each, and the sum's own
        const share = want.reduce((most, v, i) => Math.max(most, Math.abs(got[i]! - v) / sizes[i]!), 0);
        assert.ok(worst.within('of the rounding of f16', share * 2048, 1.01 / 4), `${m} ${n} ${k}: ${share}`);
        const near = product(m, n, k, rounded(given, k), values, { transposeB: true });
        const error = worstError(got, near);
        assert.ok(worst.within('beside x rounded', error, 1e-6), `${m} ${n} ${k}: ${error}`);
        dispose(owner, weight, out);
      }
    });
  }

  on('rows of any size, and what is no number', async () => {
    const [m, n, k] = [70, 8, 24];
    const { weight, values } = await weightOf(whole, n, k, 1);
    const given = randomF32(m * k, 2).map((v, i) => v * 10 ** ((Math.floor(i / k) % 9) * 8 - 32));
    given.fill(0, 5 * k, 6 * k);
    given[7 * k + 3] = Number.NaN;
    given[8 * k + 1] = Number.POSITIVE_INFINITY;
    const [x, out] = [put(whole, [m, k], given), whole.tensor('f32', [m, n])];
    whole.linear(x, [weight], [out], 'int8');
    const got = await floats(out);
    const want = product(m, n, k, given, values, { transposeB: true });
    for (let r = 0; r < m; r++) {
      const [row, its] = [got.slice(r * n, (r + 1) * n), want.slice(r * n, (r + 1) * n)];
      if (r === 7 || r === 8)
        assert.ok(
          row.every((v) => !Number.isFinite(v)),
          `row ${r}: ${row}`,
        );
      else if (r === 5) assert.ok(row.every((v) => v === 0));
      else assert.ok(worstError(row, its) < 2 ** -10, `row ${r}: ${row} ${its}`);
    }
    dispose(weight, x, out);
  });

  on('every tile gives the same bits, and a row has them in any company', async () => {
    const [m, n, k] = [150, 52, 90];
    const { weight } = await weightOf(whole, n, k, 1);
    const [x, out] = [put(whole, [m, k], randomF32(m * k, 2)), whole.tensor('f32', [m, n])];
    const results: Float32Array[] = [];
    for (const way of units!.ways) {
      const meeting = { weight: operandOf(weight), out: out as GpuTensor };
      multiply(whole.inner, operandOf(x), [meeting], () => way);
      results.push(await floats(out));
    }
    for (const result of results) assert.equal(result, results[0]);
    const some = whole.tensor('f32', [64, n]);
    whole.linear(whole.rows(x, 0, 64), [weight], [some], 'int8');
    assert.equal(await floats(some), results[0]!.slice(0, 64 * n));
    dispose(weight, x, out, some);
  });

  on('several weights, some of which cannot', async () => {
    const [m, k] = [80, 48];
    const x = put(whole, [m, k], randomF32(m * k, 1));
    const widths = [12, 10, 8]; // rows of 10 are no vectors
    const weights = await Promise.all(widths.map((n, i) => whole.loadMatrix(stored(i === 2 ? 'f32' : 'f16', n, k, i))));
    const outs = widths.map((n) => whole.tensor('f32', [m, n]));
    const both: Float32Array[][] = [];
    for (const precision of ['exact', 'int8'] as const) {
      whole.linear(x, weights, outs, precision);
      both.push(await Promise.all(outs.map(floats)));
    }
    const [exact, int8] = both as [Float32Array[], Float32Array[]];
    assert.not.equal(int8[0], exact[0]);
    assert.equal(int8[1], exact[1]);
    assert.equal(int8[2], exact[2]);
    dispose(x, ...weights, ...outs);
  });

  test('what does not compile, or computes something else, is refused', async () => {
    const way = units!.ways[0]!;
    const tampered = (change: (body: string) => string): MatrixUnits => {
      const other: MatrixWay = {
        ...way,
        whole: kernel(`tampered ${change}`, (traits) => {
          const text = way.whole.text(traits);
          return { ...text, body: change(text.body) };
        }),
      };
      return { ways: [other], proved: false, refused: null } as unknown as MatrixUnits;
    };
    for (const [change, message] of [
      [(body: string) => body.replaceAll('subgroupMatrixLoad', 'noSuchFunction'), /refuses the kernel/],
      [(body: string) => body.replaceAll('row_major>(&aPanel', 'col_major>(&aPanel'), /compute something else/],
    ] as const) {
      const device = await Opened.create();
      const refused = tampered(change);
      await prove(refused, device.inner, device);
      device.close();
      assert.is(refused.proved, false);
      assert.match(refused.refused!, message);
    }
  });
}

testNothingLeft(
  [whole, inPieces].map((device) => ({ name: 'webgpu', device })),
  worst,
);
test.run();
