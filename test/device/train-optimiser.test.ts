/** AdamW against PyTorch in f64 (test/oracles/optimiser.py) and the formula, and weights that go back into their panels. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { floatToHalf } from '../../src/checkpoint/quantised/half.ts';
import type { Tensor, WeightSource } from '../../src/device/device.ts';
import { readJson } from '../files.ts';
import { put, putInts, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { randomF32, worstError } from './reference.ts';

interface Fixture {
  readonly start: readonly number[];
  readonly gradients: readonly (readonly number[])[];
  readonly gradientScale: number;
  readonly cases: readonly (Rates & { readonly [K in 'theta' | 'm' | 'v']: readonly number[] })[];
}
interface Rates {
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
}

const fixture = (await readJson('test/fixtures/optimiser.json')) as Fixture;
const all = await trainDevices();
const worst = new Worst();
/** What the first device gave. */
const first: Float32Array[] = [];

function bfloatOf(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0]!;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

for (const { name, device } of all) {
  const on = testsOn(name, device);
  const floats = async (t: Tensor) => (await device.read(t)) as Float32Array;

  on('adamStep: six steps as PyTorch takes them', async () => {
    const { start, gradients, gradientScale, cases } = fixture;
    const n = start.length;
    for (const { theta, m, v, ...rates } of cases) {
      const [p, g, mean, square] = [put(device, [n], start), put(device, [n], start), ...zeros(2, n)];
      const tensors = { parameters: p, gradient: g, m: mean!, v: square! };
      gradients.forEach((gradient, i) => {
        device.write(g, Float32Array.from(gradient));
        device.adamStep({ ...tensors, ...rates, step: i + 1, gradientScale });
      });
      for (const [what, t, want] of [
        ['θ', p, theta],
        ['m', mean!, m],
        ['v', square!, v],
      ] as const) {
        const error = worstError(await floats(t), want);
        assert.ok(worst.within(`adamStep ${what} of PyTorch`, error, 1e-6), `${what}: ${error}`);
      }
      for (const t of [p, g, mean, square]) t!.dispose();
    }
  });

  on('adamStep: at sizes that are shared out, as the formula has it and with the same bits everywhere', async () => {
    const n = 70_001;
    const args = { step: 3, rate: 2e-3, beta1: 0.9, beta2: 0.98, epsilon: 1e-7, weightDecay: 0.1, gradientScale: 0.5 };
    const inputs = [1, 2, 3, 4].map((seed) => randomF32(n, seed, seed === 1 ? 1 : 0.01));
    inputs[3] = inputs[3]!.map(Math.abs);
    const [parameters, gradient, m, v] = inputs.map((data) => put(device, [n], data));
    device.adamStep({ parameters: parameters!, gradient: gradient!, m: m!, v: v!, ...args });
    const got = [];
    for (const t of [parameters, m, v]) got.push(await floats(t!));
    const want = [0, 1, 2].map(() => new Float64Array(n));
    for (let i = 0; i < n; i++) {
      const [theta, g, m0, v0] = [inputs[0]![i]!, 0.5 * inputs[1]![i]!, inputs[2]![i]!, inputs[3]![i]!];
      const m1 = 0.9 * m0 + 0.1 * g;
      const v1 = 0.98 * v0 + 0.02 * g * g;
      const step = m1 / (1 - 0.9 ** 3) / (Math.sqrt(v1 / (1 - 0.98 ** 3)) + 1e-7);
      want[0]![i] = theta - 2e-3 * (step + 0.1 * theta);
      [want[1]![i], want[2]![i]] = [m1, v1];
    }
    for (const [i, result] of got.entries()) {
      const error = worstError(result, want[i]!);
      assert.ok(worst.within('adamStep of the formula', error, 3e-7), `${error}`);
      first[i] ??= result;
      assert.equal(result, first[i]);
    }
    assert.equal(await floats(gradient!), inputs[1], 'the gradient stays');
    for (const t of [parameters, gradient, m, v]) t!.dispose();
  });

  for (const type of ['f32', 'bf16', 'f16'] as const) {
    on(`pack: rows go into panels, rounded to ${type} as a file would be`, async () => {
      for (const [n, k] of [
        [8, 8],
        [13, 37],
        [259, 96],
      ] as const) {
        const stack = await device.loadMatrices([rowsOf(type, n, k), rowsOf(type, n, k)]);
        const alone = await device.loadMatrix(rowsOf(type, n, k));
        const values = randomF32(2 * n * k, n, 3);
        values[5] = 1e-7; // a denormal of f16
        const from = put(device, [2, n, k], values);
        const master = put(device, [n, k], values.subarray(0, n * k));
        device.pack(from, stack);
        device.pack(master, alone);
        const ids = putInts(device, [n], [...Array(n).keys()]);
        const out = device.tensor('f32', [n, k]);
        const same = device.tensor('f32', [n, k]);
        for (const e of [0, 1]) {
          device.embed(ids, device.matrix(stack, e), out);
          const want = await device.loadMatrix(rowsOf(type, n, k, values.subarray(e * n * k, (e + 1) * n * k)));
          device.embed(ids, want, same);
          assert.equal(await floats(out), await floats(same), `${n}, ${k}, matrix ${e}`);
          want.dispose();
          if (e > 0) continue;
          device.embed(ids, alone, same);
          assert.equal(await floats(out), await floats(same), 'a matrix alone');
        }
        // whole panels, their missing rows included: products read these
        const x = put(device, [3, k], randomF32(3 * k, 2));
        const y = device.tensor('f32', [3, n]);
        device.linear(x, [alone], [y], 'exact');
        assert.ok((await floats(y)).every(Number.isFinite));
        for (const t of [stack, alone, from, master, ids, out, same, x, y]) t.dispose();
      }
    });
  }

  function zeros(count: number, n: number): Tensor[] {
    return Array.from({ length: count }, () => device.tensor('f32', [n]));
  }
}

/** A matrix as a file of that type holds it, each number rounded by itself. */
function rowsOf(
  type: 'f32' | 'bf16' | 'f16',
  rows: number,
  columns: number,
  values: Float32Array<ArrayBufferLike> = new Float32Array(rows * columns),
): WeightSource {
  const data = type === 'f32' ? values.slice() : Uint16Array.from(values, type === 'f16' ? floatToHalf : bfloatOf);
  const bytes = new Uint8Array(data.buffer);
  const row = bytes.length / rows;
  const read: WeightSource['read'] = async (at, target) =>
    target.set(bytes.subarray(at * row, at * row + target.length));
  return { name: 'w', type, rows, columns, order: null, orderGroup: 1, read };
}

testNothingLeft(all, worst);

test.run();
