/** A low-rank term and its way back: the formulas in f64, and finite differences of a loss. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import { addLora, addLoraBackward } from '../../src/model/lora.ts';
import { put, testNothingLeft, testsOn, trainDevices, Worst } from '../device/devices.ts';
import { product, randomF32, worstError } from '../device/reference.ts';

const all = await trainDevices();
const worst = new Worst();
const SIZES = [
  { t: 1, k: 24, n: 40, r: 4 },
  { t: 1, k: 576, n: 192, r: 8 },
  { t: 7, k: 33, n: 19, r: 5 },
  { t: 130, k: 100, n: 257, r: 16 },
] as const;
/** Two products behind each other, sums of at most 576 numbers taken in order: `matmul` alone errs by 1.5e-6 then. */
const BOUND = 3e-6;
const read = async (device: Device, t: Tensor) => (await device.read(t)) as Float32Array;

/** Numbers of two terms of ranks r and 1, and what they meet. */
function numbers({ t, k, n, r }: (typeof SIZES)[number]) {
  const term = (rank: number, seed: number, scale: number) => ({
    rank,
    scale,
    a: randomF32(rank * k, seed),
    b: randomF32(n * rank, seed + 1),
  });
  const terms = [term(r, 1, 0.5), term(1, 3, -1.5)];
  return { terms, x: randomF32(t * k, 5), out: randomF32(t * n, 6), dOut: randomF32(t * n, 7) };
}

/** Σ scale · (x Aᵀ) Bᵀ in f64. */
function forward(size: (typeof SIZES)[number], { terms, x }: ReturnType<typeof numbers>): Float64Array {
  const { t, k, n } = size;
  const sum = new Float64Array(t * n);
  for (const { rank, scale, a, b } of terms) {
    const inner = product(t, rank, k, x, a, { transposeB: true });
    product(t, n, rank, inner, b, { transposeB: true, alpha: scale }).forEach((v, i) => {
      sum[i]! += v;
    });
  }
  return sum;
}

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('terms are added, and their gradients', async () => {
    for (const size of SIZES) {
      const { t, k, n } = size;
      const values = numbers(size);
      const x = put(device, [t, k], values.x);
      const out = put(device, [t, n], values.out);
      const terms = values.terms.map(({ rank, scale, a, b }) => {
        return { scale, a: put(device, [rank, k], a), b: put(device, [n, rank], b) };
      });
      addLora(device, terms, null, x, out, false);
      const want = forward(size, values).map((v, i) => v + values.out[i]!);
      const label = JSON.stringify(size);
      assert.ok(worst.within('forward', worstError(await read(device, out), want), BOUND), label);

      const dOut = put(device, [t, n], values.dOut);
      const dX = put(device, [t, k], values.x); // added to
      const gradients = terms.map(({ a, b }) => ({
        a: device.tensor('f32', a.shape),
        b: device.tensor('f32', b.shape),
      }));
      for (let pass = 1; pass <= 2; pass++)
        addLoraBackward(device, terms, gradients, null, x, dOut, pass === 1 ? dX : null);
      const wantX = Float64Array.from(values.x);
      for (const [i, { rank, scale, a, b }] of values.terms.entries()) {
        const inner = product(t, rank, k, values.x, a, { transposeB: true });
        const dInner = product(t, rank, n, values.dOut, b, { alpha: scale });
        product(t, k, rank, dInner, a).forEach((v, j) => {
          wantX[j]! += v;
        });
        // two passes: gradients add up
        const wantB = product(n, rank, t, values.dOut, inner, { transposeA: true, alpha: 2 * scale });
        const wantA = product(rank, k, t, dInner, values.x, { transposeA: true, alpha: 2 });
        assert.ok(worst.within('dA', worstError(await read(device, gradients[i]!.a), wantA), BOUND), `dA ${label}`);
        assert.ok(worst.within('dB', worstError(await read(device, gradients[i]!.b), wantB), BOUND), `dB ${label}`);
      }
      assert.ok(worst.within('dX', worstError(await read(device, dX), wantX), BOUND), `dX ${label}`);
      for (const tensor of [x, out, dOut, dX, ...[...terms, ...gradients].flatMap(({ a, b }) => [a, b])]) {
        tensor.dispose();
      }
    }
  });

  on('the gradients are those of the loss, by finite differences', async () => {
    // the loss Σ dOut ∘ out is linear in each single number: a wide step makes no error of its own
    const size = SIZES[2];
    const { t, k, n } = size;
    const values = numbers(size);
    const terms = values.terms.map(({ rank, scale, a, b }) => {
      return { scale, a: put(device, [rank, k], a), b: put(device, [n, rank], b) };
    });
    const gradients = terms.map(({ a, b }) => ({ a: device.tensor('f32', a.shape), b: device.tensor('f32', b.shape) }));
    const [x, dOut, dX] = [
      put(device, [t, k], values.x),
      put(device, [t, n], values.dOut),
      device.tensor('f32', [t, k]),
    ];
    addLoraBackward(device, terms, [null, gradients[1]!], null, x, dOut, null);
    assert.ok(
      (await read(device, gradients[0]!.a)).every((v) => v === 0),
      'a frozen term has no gradient',
    );
    addLoraBackward(device, terms, [gradients[0]!, null], null, x, dOut, dX);
    const loss = async () => {
      const out = device.tensor('f32', [t, n]);
      addLora(device, terms, null, x, out, false);
      const sum = (await read(device, out)).reduce((s, v, i) => s + v * values.dOut[i]!, 0);
      out.dispose();
      return sum;
    };
    const checked: [string, Tensor, Tensor][] = [['x', x, dX]];
    for (const [i, term] of terms.entries()) {
      checked.push([`a${i}`, term.a, gradients[i]!.a], [`b${i}`, term.b, gradients[i]!.b]);
    }
    for (const [what, at, gradient] of checked) {
      const [before, got] = [await read(device, at), await read(device, gradient)];
      const largest = got.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      assert.ok(largest > 0.1, what);
      for (let i = 0; i < before.length; i += 7) {
        const moved = async (by: number) => {
          device.write(at, Float32Array.of(before[i]! + by), i);
          return loss();
        };
        const slope = ((await moved(0.5)) - (await moved(-0.5))) / 1;
        device.write(at, before);
        assert.ok(worst.within('finite differences', Math.abs(slope - got[i]!) / largest, 2e-6), `${what} ${i}`);
      }
    }
    for (const tensor of [x, dOut, dX, ...[...terms, ...gradients].flatMap(({ a, b }) => [a, b])]) tensor.dispose();
  });
}

test('the same bits for any number of lanes', async () => {
  const size = SIZES[3];
  const results = new Map<string, Float32Array[]>();
  for (const { name, device } of all) {
    const build = name.replace(/, (shared memory|\d lanes)/g, '');
    const values = numbers(size);
    const [x, out] = [put(device, [size.t, size.k], values.x), put(device, [size.t, size.n], values.out)];
    const [dOut, dX] = [put(device, [size.t, size.n], values.dOut), device.tensor('f32', [size.t, size.k])];
    const terms = values.terms.map(({ rank, scale, a, b }) => {
      return { scale, a: put(device, [rank, size.k], a), b: put(device, [size.n, rank], b) };
    });
    const gradients = terms.map(({ a, b }) => ({ a: device.tensor('f32', a.shape), b: device.tensor('f32', b.shape) }));
    addLora(device, terms, null, x, out, false);
    addLoraBackward(device, terms, gradients, null, x, dOut, dX);
    const tensors = [out, dX, ...gradients.flatMap(({ a, b }) => [a, b])];
    const got: Float32Array[] = [];
    for (const tensor of tensors) got.push(await read(device, tensor));
    for (const tensor of [x, dOut, ...tensors, ...terms.flatMap(({ a, b }) => [a, b])]) tensor.dispose();
    const first = results.get(build) ?? got;
    assert.equal(got, first, name);
    results.set(build, first);
  }
  assert.ok(results.size >= 3, [...results.keys()].join('; '));
});

testNothingLeft(all, worst);
test.run();
