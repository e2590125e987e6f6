// device: wasm — only exact devices draw
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { floatToHalf } from '../../src/checkpoint/quantised/half.ts';
import type { ExactDevice, PerturbArguments } from '../../src/device/exact-device.ts';
import { philox4x32 } from '../../src/random.ts';
import { exactDevices, testNothingLeft, Worst } from './devices.ts';

const worst = new Worst();
const all = await exactDevices();
const first = all[0]!.device;

/** Number `i` of a stream in f64, from the same words. */
function reference(i: number, seed: number, stream: readonly [number, number]): number {
  const block = Math.floor(i / 4);
  const words = philox4x32(
    [block >>> 0, Math.floor(block / 2 ** 32), ...stream],
    [seed >>> 0, Math.floor(seed / 2 ** 32)],
  );
  const [radius, angle] = i % 4 < 2 ? [words[0], words[1]] : [words[2], words[3]];
  const u = Math.fround(Math.fround(radius >>> 1) * 2 ** -31 + 2 ** -32);
  const turn = 2 * Math.PI * (angle / 2 ** 32);
  return Math.sqrt(-2 * Math.log(u)) * (i % 2 === 0 ? Math.cos(turn) : Math.sin(turn));
}

type Drawn = Float32Array | Uint16Array;
async function run(
  device: ExactDevice,
  n: number,
  type: 'f32' | 'f16' | 'bf16',
  args: Omit<PerturbArguments, 'to' | 'from' | 'anchor'> & { from?: Float32Array; anchor?: Float32Array },
): Promise<Drawn> {
  const on = (x: Float32Array | undefined) => {
    if (x === undefined) return null;
    const t = device.tensor('f32', [n]);
    device.write(t, x);
    return t;
  };
  const { from, anchor, ...rest } = args;
  const [to, a, b] = [device.tensor(type, [n]), on(from), on(anchor)];
  device.perturb({ ...rest, to, from: a, anchor: b });
  const read = (await device.read(to)) as Drawn;
  for (const t of [to, a, b]) t?.dispose();
  return read;
}

test('normal numbers are those of a f64 reference on the same Philox words', async () => {
  const cases: [seed: number, stream: readonly [number, number], first: number][] = [
    [0, [0, 0], 0],
    [2 ** 53 - 1, [3 * 65536 + 7, 18], 5],
    [7, [2 ** 32 - 1, 2 ** 32 - 1], 4 * (2 ** 32 - 9) + 3], // the low word of the counter wraps
    [7, [0, 1], 2 ** 53 - 1 - 20_000],
  ];
  for (const [seed, stream, from] of cases) {
    const drawn = await run(first, 20_000, 'f32', { std: 1, seed, stream, first: from });
    let error = 0;
    drawn.forEach((x, i) => {
      error = Math.max(error, Math.abs(x - reference(from + i, seed, stream)));
    });
    assert.ok(worst.within('normal against f64', error, 1e-6), `${error}`);
  }
  // and the comparison sees another stream
  const other = await run(first, 100, 'f32', { std: 1, seed: 0, stream: [1, 0] });
  assert.ok(other.every((x, i) => Math.abs(x - reference(i, 0, [0, 0])) > 1e-6));
});

test('a million numbers have the moments and the distribution of a normal one', async () => {
  const n = 1_000_000;
  const x = (await run(first, n, 'f32', { std: 1, seed: 11, stream: [5, 18] })) as Float32Array;
  const moment = (k: number) => x.reduce((sum, v) => sum + v ** k, 0) / n;
  assert.ok(worst.within('mean', Math.abs(moment(1)), 4e-3));
  assert.ok(worst.within('variance', Math.abs(moment(2) - 1), 6e-3));
  assert.ok(worst.within('third moment', Math.abs(moment(3)), 1.6e-2));
  assert.ok(worst.within('kurtosis', Math.abs(moment(4) / moment(2) ** 2 - 3), 2e-2));
  const neighbours = x.reduce((sum, v, i) => sum + v * x[(i + 1) % n]!, 0) / n;
  assert.ok(worst.within('correlation of neighbours', Math.abs(neighbours), 4e-3));
  // Kolmogorov and Smirnov at p = 0.001
  const bound = 1.95 / Math.sqrt(n);
  assert.ok(worst.within('distance to the normal distribution', distance(x), bound));
  assert.ok(distance(x.map((v) => v + 0.01)) > bound, 'the test sees a shift of 0.01');
  assert.ok(distance(x.map((v) => v * 1.02)) > bound, 'and a factor of 1.02');
});

test('the same bits on every device, for any lanes, and for ranges cut anywhere', async () => {
  const n = 40_000;
  const seed = 42;
  const stream = [65539, 17] as const;
  const base = Float32Array.from({ length: n }, (_, i) => Math.sin(i));
  for (const type of ['f32', 'f16', 'bf16'] as const) {
    const args = { scale: 0.25, std: 0.5, seed, stream };
    const whole = await run(first, n, type, { ...args, from: base, anchor: base, first: 3 });
    for (const { name, device } of all) {
      assert.equal(
        await run(device, n, type, { ...args, from: base, anchor: base, first: 3 }),
        whole,
        `${name} ${type}`,
      );
      for (const [from, end] of [
        [0, 1],
        [1, 4],
        [2, 3],
        [3, 530],
        [511, 1029],
        [1029, 1043],
        [5, 20_001],
      ] as const) {
        const part = base.subarray(from, end);
        const got = await run(device, end - from, type, { ...args, from: part, anchor: part, first: 3 + from });
        assert.equal(got, whole.slice(from, end), `${name} ${type} ${from} .. ${end}`);
      }
    }
  }
});

test('every step is rounded to f32, and the sum once to the type, to nearest even', async () => {
  const n = 4099;
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  const bf16 = (x: number) => {
    float[0] = x;
    return Number.isNaN(x) ? 0x7fc0 : (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) >>> 16;
  };
  const normal = (await run(first, n, 'f32', { std: 1, seed: 1 })) as Float32Array;
  const from = Float32Array.from({ length: n }, (_, i) => Math.cos(3 * i) * 2 ** ((i % 40) - 30));
  const anchor = Float32Array.from({ length: n }, (_, i) => Math.sin(i));
  const scale = Math.fround(0.3);
  const expected = from.map((x, i) =>
    Math.fround(anchor[i]! + Math.fround(Math.fround(scale * x) + Math.fround(normal[i]! * 1))),
  );
  for (const { name, device } of all) {
    const args = { from, anchor, scale, std: 1, seed: 1 };
    assert.equal(await run(device, n, 'f32', args), expected, name);
    assert.equal(await run(device, n, 'bf16', args), Uint16Array.from(expected, bf16), name);
    assert.equal(await run(device, n, 'f16', args), Uint16Array.from(expected, floatToHalf), name);
  }
  // ties, denormals of f16, the ends of its range, zeros of either sign, NaN, where nothing is drawn
  const edges = Float32Array.of(
    ...[
      0,
      -0,
      1 + 2 ** -9,
      1 + 3 * 2 ** -9,
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      2 ** -24,
      2 ** -25,
      3 * 2 ** -26,
      -(2 ** -15),
    ],
    ...[65504, 65519.99, 65520, -65520, 1e-40, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 3e38],
  );
  for (const { name, device } of all) {
    // NaN too, and the signs of zeros
    const same = await run(device, edges.length, 'f32', { from: edges });
    assert.ok(
      same.every((x, i) => Object.is(x, edges[i])),
      name,
    );
    assert.equal(await run(device, edges.length, 'bf16', { from: edges }), Uint16Array.from(edges, bf16), name);
    assert.equal(await run(device, edges.length, 'f16', { from: edges }), Uint16Array.from(edges, floatToHalf), name);
    assert.equal(await run(device, 5, 'f32', {}), new Float32Array(5), name);
  }
});

test('shapes, types and seeds are checked before work', async () => {
  const to = first.tensor('bf16', [4]);
  const short = first.tensor('f32', [3]);
  const half = first.tensor('f16', [4]);
  const refuses = (args: PerturbArguments) => {
    assert.throws(
      () => first.perturb(args),
      (error: { code?: string }) => error.code === 'E_SHAPE',
    );
  };
  refuses({ to, from: short });
  refuses({ to, from: half });
  refuses({ to, from: null, anchor: short });
  refuses({ to, from: null, std: 1, seed: -1 });
  refuses({ to, from: null, std: 1, seed: 0.5 });
  refuses({ to, from: null, std: 1, first: 2 ** 53 });
  refuses({ to, from: null, std: 1, stream: [2 ** 32, 0] });
  for (const t of [to, short, half]) t.dispose();
});

testNothingLeft(all, worst);

/** Largest difference between the distribution of x and the normal one. */
function distance(x: Float32Array): number {
  const sorted = x.slice().sort();
  let most = 0;
  sorted.forEach((v, i) => {
    const p = normalBelow(v);
    most = Math.max(most, Math.abs(p - i / x.length), Math.abs(p - (i + 1) / x.length));
  });
  return most;
}

/** P(N(0, 1) < x), to 1.2e-7 (Numerical Recipes, erfcc). */
function normalBelow(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + z / 2);
  const c = [
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
    -1.26551223,
  ];
  const tail = t * Math.exp(c.reduce((sum, v) => sum * t + v, 0) - z * z);
  return x < 0 ? tail / 2 : 1 - tail / 2;
}

test.run();
