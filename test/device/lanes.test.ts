// device: wasm — lanes are the CPU’s
/** Lanes: the same results as one thread, at sizes that are shared out; parking, stopping, and lanes that die. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { floatToHalf } from '../../src/checkpoint/quantised/half.ts';
import type { Device, ElementType, Precision, Tensor } from '../../src/device/device.ts';
import { markLaneLost } from '../../src/device/wasm/control.ts';
import { DOT, MICRO } from '../../src/device/wasm/kernels.ts';
import { evenly, type LaneSeat } from '../../src/device/wasm/lanes.ts';
import { hasRelaxedSimd } from '../../src/device/wasm/load-kernels.ts';
import { spawnLane } from '../../src/device/wasm/spawn-lane.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { code, rejects } from '../errors.ts';
import { Worst } from './devices.ts';
import { noise, randomF32, worstError } from './reference.ts';

/** A page's main thread may not wait for lanes; there the engine's tests cover them. */
const possible = typeof SharedArrayBuffer === 'function' && !('document' in globalThis);
if (!possible) console.log('  skipped: this thread cannot have lanes');

const worst = new Worst();
const variants: { name: string; relaxed: boolean; micro: number; dot: number }[] = [
  { name: 'plain', relaxed: false, micro: MICRO.splat5, dot: DOT.wide },
];
if (hasRelaxedSimd()) {
  variants.push(
    { name: 'relaxed, 16-bit dot', relaxed: true, micro: MICRO.splat6Fused, dot: DOT.relaxed16 },
    { name: 'relaxed, 32-bit dot', relaxed: true, micro: MICRO.lane4Fused, dot: DOT.relaxed32 },
  );
}

function create(variant: (typeof variants)[number], lanes: number): Promise<WasmDevice> {
  const { relaxed, micro, dot } = variant;
  return WasmDevice.create({ relaxed, lanes, tuning: { micro, dot } });
}

/** The same kernels on one lane and on several, of each variant. */
const devices = new Map<(typeof variants)[number], WasmDevice[]>();
if (possible) {
  for (const variant of variants) {
    const counts = variant === variants[0] ? [1, 2, 3, 7, 16] : [1, 2, 3];
    const list: WasmDevice[] = [];
    for (const lanes of counts) list.push(await create(variant, lanes));
    devices.set(variant, list);
  }
}

/** What `compute` gives on one lane and on several must agree. */
async function same(name: string, bound: number, compute: (device: Device) => Promise<Float32Array>): Promise<void> {
  for (const [variant, [one, ...several]] of devices) {
    const want = await compute(one!);
    assert.ok(want.every(Number.isFinite) && want.some((v) => v !== 0));
    for (const device of several) {
      const error = worstError(await compute(device), want);
      assert.ok(worst.within(name, error, bound), `${variant.name}, ${device.lanes} lanes: ${error}`);
    }
  }
}

function put(device: Device, data: Float32Array, ...shape: number[]): Tensor {
  const t = device.tensor('f32', shape);
  device.write(t, data);
  return t;
}

const read = async (device: Device, t: Tensor) => (await device.read(t)) as Float32Array;

const when = possible ? test : test.skip;

when('matmul: shapes, transposes, accumulation', async () => {
  for (const [m, n, k] of [
    [300, 257, 129],
    [7, 1000, 300],
    [1000, 5, 300],
    [1, 1501, 203],
  ] as const) {
    for (const [transposeA, transposeB] of [
      [false, false],
      [true, true],
      [false, true],
    ] as const) {
      await same('matmul', 0, async (device) => {
        const a = put(device, randomF32(m * k, 1), ...(transposeA ? [k, m] : [m, k]));
        const b = put(device, randomF32(k * n, 2), ...(transposeB ? [n, k] : [k, n]));
        const c = put(device, randomF32(m * n, 3), m, n);
        device.matmul(a, b, c, { transposeA, transposeB, alpha: 0.5, accumulate: true });
        return read(device, c);
      });
    }
  }
});

/** Bytes of random weights of a type, rows of k. */
function weights(type: 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q8_1' | 'q4_0' | 'q4_1', n: number, k: number): Uint8Array {
  const values = randomF32(n * k, 9);
  if (type === 'f32') return new Uint8Array(values.buffer);
  if (type === 'f16') return new Uint8Array(Uint16Array.from(values, floatToHalf).buffer);
  if (type === 'bf16') return new Uint8Array(Uint16Array.from(new Uint32Array(values.buffer), (v) => v >>> 16).buffer);
  const size = { q8_0: 34, q8_1: 36, q4_0: 18, q4_1: 20 }[type];
  const bytes = new Uint8Array(((n * k) / 32) * size);
  const next = noise(11);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += size) {
    for (let i = 2; i < size; i++) bytes[at + i] = (next() + 1) * 128;
    view.setUint16(at, floatToHalf(0.01 * (1.5 + next())), true);
    if (type.endsWith('_1')) view.setUint16(at + 2, floatToHalf(-0.07 * (1.5 + next())), true);
  }
  return bytes;
}

async function load(
  device: Device,
  type: Parameters<typeof weights>[0],
  n: number,
  k: number,
  bytes: Uint8Array,
): Promise<Tensor> {
  const size = bytes.length / n;
  return device.loadMatrix({
    name: 'w',
    type,
    rows: n,
    columns: k,
    order: null,
    orderGroup: 1,
    read: async (first, target) => target.set(bytes.subarray(first * size, first * size + target.length)),
  });
}

for (const type of ['f32', 'f16', 'bf16', 'q8_0', 'q8_1', 'q4_0', 'q4_1'] as const) {
  when(`linear, ${type}: one row and many, several weights`, async () => {
    const quantised = type.startsWith('q');
    const bytes = [weights(type, 332, 576), weights(type, 72, 576)] as const;
    for (const precision of (quantised ? ['exact', 'int16', 'int8'] : ['exact']) as Precision[]) {
      for (const m of [1, 67, 530]) {
        await same(`linear ${type}, ${precision}`, 0, async (device) => {
          const [n1, n2, k] = [332, 72, 576];
          const x = put(device, randomF32(m * k, 4), m, k);
          const w = [await load(device, type, n1, k, bytes[0]), await load(device, type, n2, k, bytes[1])];
          const outs = [device.tensor('f32', [m, n1]), device.tensor('f32', [m, n2])];
          device.linear(x, w, outs, precision);
          const both = new Float32Array(m * (n1 + n2));
          both.set(await read(device, outs[0]!));
          both.set(await read(device, outs[1]!), m * n1);
          for (const t of [x, ...w, ...outs]) t.dispose();
          return both;
        });
      }
    }
  });
}

when('attention: prefill with base, window and mask, and decoding', async () => {
  const [nHeads, nKvHeads, headDim] = [9, 3, 64];
  for (const { rows, base, window, masked } of [
    { rows: 331, base: 0, window: 0, masked: false },
    { rows: 200, base: 90, window: 0, masked: false },
    { rows: 200, base: 90, window: 70, masked: false },
    { rows: 260, base: 40, window: 0, masked: true },
    { rows: 12, base: 300, window: 0, masked: false },
    { rows: 1, base: 400, window: 0, masked: false },
    { rows: 1, base: 400, window: 100, masked: false },
  ]) {
    await same('attention', 0, async (device) => {
      const keys = base + rows;
      const [width, kv] = [nHeads * headDim, nKvHeads * headDim];
      const out = device.tensor('f32', [rows, width]);
      let mask: Tensor | null = null;
      if (masked) {
        mask = device.tensor('i32', [rows, 3]);
        const list = Int32Array.from({ length: rows * 3 }, (_, i) => {
          const row = Math.floor(i / 3);
          return [row % 7, 20 + (row % 11), base + row - (row % 5)][i % 3]!;
        });
        device.write(mask, list);
      }
      const q = put(device, randomF32(rows * width, 5), rows, width);
      const k = put(device, randomF32(keys * kv, 6), keys, kv);
      const v = put(device, randomF32(keys * kv, 7), keys, kv);
      device.attention({
        ...{ q, keys: k, values: v, out, base, nHeads, nKvHeads, headDim, window, mask },
        scale: 1 / Math.sqrt(headDim),
      });
      return read(device, out);
    });
  }
});

when('operations on rows', async () => {
  const [rows, width] = [301, 576];
  await same('rows', 0, async (device) => {
    const x = put(device, randomF32(rows * width, 8), rows, width);
    const y = put(device, randomF32(rows * width, 9), rows, width);
    const norm = put(device, randomF32(width, 10), width);
    const head = put(device, randomF32(64, 11), 64);
    const out = device.tensor('f32', [rows, width]);
    device.rmsNorm(x, norm, out, 1e-5);
    device.addRmsNorm(out, y, norm, x, 1e-5);
    device.rmsNorm(x, head, x, 1e-5);
    device.gatedActivation('silu', x, y, x);
    device.gatedActivation('gelu-tanh', x, y, x);
    device.add(x, y);
    device.addBias(norm, y);
    device.scale(y, 1.25);
    const table = put(device, randomF32(rows * 64, 12), rows, 64);
    const positions = device.tensor('i32', [rows]);
    device.write(
      positions,
      Int32Array.from({ length: rows }, (_, i) => rows - 1 - i),
    );
    device.rope(y, table, positions, { heads: 9, headDim: 64, rotaryDims: 64, layout: 'half' });
    device.softmax(x);
    device.add(x, y);
    return read(device, y);
  });
});

when('the other lanes do their share', () => {
  for (const [, list] of devices) {
    for (const device of list) {
      // by now they have, unless the system had no processor for them
      const end = performance.now() + 60_000;
      while (device.lanes > 1 && device.helped === 0 && performance.now() < end) device.barrier();
      assert.is(device.helped > 0, device.lanes > 1, `${device.lanes} lanes: ${device.helped}`);
    }
  }
});

when('a number of lanes that cannot be is refused', async () => {
  await rejects('E_ARGUMENT', () => WasmDevice.create({ lanes: 0 }));
  await rejects('E_ARGUMENT', () => WasmDevice.create({ lanes: 1.5 }));
  await rejects('E_ARGUMENT', () => WasmDevice.create({ lanes: 2, shared: false }));
});

when('lanes sleep when idle and wake up', async () => {
  const device = await create(variants[0]!, 3);
  const n = 128;
  const [a, b] = [put(device, randomF32(n * n, 1), n, n), put(device, randomF32(n * n, 2), n, n)];
  const c = device.tensor('f32', [n, n]);
  device.matmul(a, b, c);
  const want = await read(device, c);
  for (let i = 0; i < 40; i++) {
    await new Promise((resolve) => setTimeout(resolve, i % 4));
    device.scale(c, 0);
    device.matmul(a, b, c);
    assert.equal(await read(device, c), want);
  }
  device.close();
});

when('memory grows while lanes sleep', async () => {
  const device = await create(variants.at(-1)!, 2);
  const tensors: Tensor[] = [];
  for (let i = 0; i < 12; i++) {
    const n = 1 << 20;
    tensors.push(device.tensor('f32', [1 << 10, 1 << 10]));
    device.write(tensors[i]!, new Float32Array(n).fill(i));
    device.scale(tensors[i]!, 2);
    if (i > 0) device.add(tensors[i - 1]!, tensors[i]!);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const last = await read(device, tensors[11]!);
  assert.ok(last.every((v) => v === 132));
  device.close();
});

when('a lane that is lost fails the operation and every later one, and another device works', async () => {
  const seats: LaneSeat[] = [];
  const device = await WasmDevice.create({
    lanes: 2,
    spawnLane: (seat) => {
      seats.push(seat);
      return spawnLane(seat);
    },
  });
  const n = 128;
  const [a, b] = [put(device, randomF32(n * n, 1), n, n), put(device, randomF32(n * n, 2), n, n)];
  const c = device.tensor('f32', [n, n]);
  device.matmul(a, b, c);
  assert.is(seats.length, 1);
  markLaneLost(seats[0]!.control);
  for (let i = 0; i < 2; i++) {
    try {
      device.matmul(a, b, c);
      assert.unreachable('the operation went on');
    } catch (error) {
      assert.is((error as { code?: string }).code, 'E_WORKER_LOST');
    }
  }
  device.close();
  const other = await WasmDevice.create({ lanes: 2 });
  const t: [ElementType, number[]] = ['f32', [256, 256]];
  const x = other.tensor(...t);
  other.scale(x, 3);
  other.close();
});

when('who asks is told once that a lane is gone, by an operation that fails or when its end is heard of', async () => {
  for (const heard of [false, true]) {
    let seat: LaneSeat | null = null;
    let ended = () => {};
    const device = await WasmDevice.create({
      lanes: 2,
      spawnLane: (given, onEnd) => {
        seat = given;
        ended = onEnd;
        return spawnLane(given);
      },
    });
    const told: EspalierError[] = [];
    device.onLost((error) => told.push(error));
    ended(); // nothing was lost
    await Promise.resolve();
    assert.is(told.length, 0);
    markLaneLost(seat!.control);
    const x = device.tensor('f32', [512, 512]);
    if (heard) ended();
    else {
      assert.throws(() => device.scale(x, 2), code('E_WORKER_LOST'));
      assert.is(told.length, 0, 'told in the middle of the operation');
    }
    await Promise.resolve();
    assert.throws(() => device.scale(x, 2), code('E_WORKER_LOST'));
    ended();
    await Promise.resolve();
    assert.is(told.length, 1);
    assert.is(told[0]!.code, 'E_DEVICE_LOST');
    assert.is((told[0]!.cause as EspalierError).code, 'E_WORKER_LOST');
    device.onLost((error) => told.push(error)); // who asks later is told, too
    await Promise.resolve();
    assert.is(told.length, 2);
    device.close();
    assert.throws(() => device.onLost(() => {}), code('E_DISPOSED'));
  }
});

when('a device that is closed has lost nothing', async () => {
  let ended = () => {};
  const gone = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const device = await WasmDevice.create({
    lanes: 2,
    spawnLane: (seat, onEnd) =>
      spawnLane(seat, () => {
        onEnd();
        ended();
      }),
  });
  let told = 0;
  device.onLost(() => told++);
  device.close();
  const waiting = setInterval(() => {}, 1000); // a lane that ends keeps no process alive
  await gone;
  clearInterval(waiting);
  await Promise.resolve();
  assert.is(told, 0);
});

when('a lane that does not start is E_WORKER_LOST', async () => {
  try {
    await WasmDevice.create({ lanes: 2, spawnLane: () => Promise.reject(new Error('no more threads')) });
    assert.unreachable('it was created');
  } catch (error) {
    assert.is((error as { code?: string }).code, 'E_WORKER_LOST');
    assert.match(String((error as Error).cause), 'no more threads');
  }
});

test('ranges are balanced, aligned and complete', () => {
  for (const count of [0, 1, 5, 64, 513]) {
    for (const parts of [1, 2, 3, 7]) {
      for (const align of [1, 6, 16]) {
        const bounds = evenly(count, parts, align);
        assert.is(bounds.length, parts + 1);
        assert.is(bounds[0], 0);
        assert.is(bounds[parts], count);
        for (let i = 0; i < parts; i++) {
          assert.ok(bounds[i]! <= bounds[i + 1]!);
          assert.ok(bounds[i + 1]! - bounds[i]! <= Math.ceil(count / align / parts) * align);
          if (bounds[i] !== count) assert.is(bounds[i]! % align, 0);
        }
      }
    }
  }
});

test.after(() => {
  for (const list of devices.values()) for (const device of list) device.close();
  worst.print();
});
test.run();
