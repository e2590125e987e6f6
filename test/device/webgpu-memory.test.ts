// device: webgpu — asks what only a GPU has
/** Buffers of a GPU: none is left, those that wait are used again, commands keep their order, and what goes wrong late is told. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { requestAdapter, requestDevice } from '../../src/device/webgpu/adapter.ts';
import { Commands } from '../../src/device/webgpu/commands.ts';
import { GpuContext } from '../../src/device/webgpu/context.ts';
import { kernel } from '../../src/device/webgpu/kernel.ts';
import { WebGpuDevice } from '../../src/device/webgpu/webgpu-device.ts';
import { WebGpuTrainDevice } from '../../src/device/webgpu/webgpu-train-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { code, rejects } from '../errors.ts';
import { put } from './devices.ts';
import { randomF32 } from './reference.ts';
import { stored } from './sources.ts';

/** A GPUDevice of its own, whose buffers are counted; its kernels are compiled by nobody before. */
class Counted {
  readonly real: GPUDevice;
  readonly gpu: GPUDevice;
  made = 0;
  live = 0;
  /** What error scopes give next. */
  scoped: unknown = null;

  private constructor(real: GPUDevice) {
    this.real = real;
    this.gpu = new Proxy(real, {
      get: (target, name) => {
        if (name === 'createBuffer') return (descriptor: GPUBufferDescriptor) => this.#create(descriptor);
        if (name === 'popErrorScope' && this.scoped) {
          const error = this.scoped;
          this.scoped = null;
          return () => target.popErrorScope().then(() => error);
        }
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  static async create(): Promise<Counted> {
    return new Counted(await requestDevice((await requestAdapter())!));
  }

  #create(descriptor: GPUBufferDescriptor): GPUBuffer {
    const buffer = this.real.createBuffer(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    let gone = false;
    this.made++;
    this.live++;
    buffer.destroy = () => {
      if (!gone) this.live--;
      gone = true;
      destroy();
      return undefined;
    };
    return buffer;
  }
}

const floats = async (device: WebGpuDevice, t: Tensor) => [...((await device.read(t)) as Float32Array)];
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Some of everything that takes memory; what it computed. */
async function compute(device: WebGpuTrainDevice): Promise<number> {
  const [x, y, halves] = [
    put(device, [3, 5], randomF32(15, 1)),
    device.tensor('f32', [3, 5]),
    device.tensor('f16', [3, 5]),
  ];
  const mark = device.mark();
  const s = device.scratch('f32', [3, 5]);
  device.fill(s, 1);
  device.add(x, y);
  device.add(s, y);
  device.cast(y, halves);
  device.write(device.rows(halves, 1, 1), Uint16Array.of(1, 2, 3));
  device.copyRows(device.rows(y, 0, 1), y, 2);
  device.reset(mark);
  const [out] = await device.read([y, halves]);
  const weight = await device.loadMatrix(stored('q8_0', 4, 64, 1));
  for (const t of [x, y, halves, weight]) t.dispose();
  return (out as Float32Array)[14]!;
}

test('500 rounds of a device on one GPU leave no buffer', async () => {
  const counted = await Counted.create();
  const want = randomF32(15, 1)[4]! + 1;
  for (let i = 0; i < 500; i++) {
    const device = await WebGpuTrainDevice.create({ gpu: counted.gpu });
    assert.ok(device.heldBytes > 0);
    if (i % 50 === 0) assert.ok(Math.abs((await compute(device)) - want) < 1e-6);
    else {
      // nothing of it is waited for, and nothing disposed of
      const t = put(device, [100], randomF32(100, 1));
      device.scratch('f32', [1000]);
      device.scale(t, 2);
      if (i % 7 === 0) await device.flush();
    }
    device.close();
    assert.is(device.heldBytes, 0);
    assert.is(counted.live, 0, `round ${i}`);
  }
  counted.real.destroy();
});

test('rounds of a device on a GPU of its own', async () => {
  for (let i = 0; i < 10; i++) {
    const device = await WebGpuTrainDevice.create();
    await compute(device);
    device.close();
  }
  // one is opened while the last one closes
  const first = await WebGpuTrainDevice.create();
  const opening = WebGpuTrainDevice.create();
  first.close();
  const second = await opening;
  assert.ok(Number.isFinite(await compute(second)));
  second.close();
});

test('the same buffers are used again, and are zeroed', async () => {
  const counted = await Counted.create();
  const device = await WebGpuTrainDevice.create({ gpu: counted.gpu });
  await compute(device);
  const { made } = counted;
  const held = device.heldBytes;
  for (let i = 0; i < 20; i++) await compute(device);
  assert.is(counted.made, made);
  assert.is(device.heldBytes, held);
  // whatever was in it, by writing, by a kernel or by scratch
  for (let i = 0; i < 5; i++) {
    const [a, b, mark] = [put(device, [1000], randomF32(1000, i + 1)), device.tensor('f32', [1000]), device.mark()];
    assert.ok((await floats(device, b)).every((v) => v === 0));
    device.fill(b, 7);
    device.fill(device.scratch('f32', [1000]), 8);
    device.reset(mark);
    for (const t of [a, b]) t.dispose();
  }
  const again = device.tensor('f32', [1000]);
  assert.ok((await floats(device, again)).every((v) => v === 0));
  again.dispose();
  device.close();
  counted.real.destroy();
});

test('what a step gives back whole is there for the next one', async () => {
  const counted = await Counted.create();
  const device = await WebGpuTrainDevice.create({ gpu: counted.gpu });
  const step = async () => {
    const mark = device.mark();
    for (let i = 0; i < 3; i++) device.fill(device.scratch('f32', [30 << 18]), i);
    device.reset(mark);
    await device.flush();
  };
  await step();
  const { made } = counted;
  for (let i = 0; i < 3; i++) await step();
  assert.is(counted.made, made);
  device.close();
  counted.real.destroy();
});

test('what waits for another use is given back where there is no room', async () => {
  const counted = await Counted.create();
  const device = await WebGpuTrainDevice.create({ gpu: counted.gpu, memoryLimit: 4 << 20 });
  const large = put(device, [3 << 18], randomF32(3 << 18, 1));
  device.scale(large, 2);
  large.dispose(); // behind a command that is not yet submitted
  const other = device.tensor('f32', [5 << 7, 1 << 10]);
  assert.ok((await floats(device, device.rows(other, 5, 1))).every((v) => v === 0));
  assert.ok(device.heldBytes <= 4 << 20 && device.stats().peakBytes <= 4 << 20, `${device.heldBytes}`);
  assert.throws(() => device.tensor('f32', [1 << 19]), code('E_OUT_OF_MEMORY'));
  assert.throws(() => device.scratch('f32', [1 << 19]), code('E_OUT_OF_MEMORY'));
  await device.flush();
  other.dispose();
  device.close();
  assert.is(counted.live, 0);
  counted.real.destroy();
});

test('commands that wait for a kernel keep their order, with writes, copies and zeros between them', async () => {
  for (const pause of [0, 200]) {
    const counted = await Counted.create(); // nothing is compiled
    const device = await WebGpuTrainDevice.create({ gpu: counted.gpu });
    const [x, y] = [put(device, [2], [1, 2]), put(device, [2], [10, 20])];
    device.add(x, y); // waits
    const early = device.read(y);
    device.write(x, Float32Array.of(100, 200));
    device.add(x, y);
    x.dispose(); // its buffer is used again, and zeroed behind the commands
    const z = device.tensor('f32', [2]);
    device.add(y, z);
    device.axpy(1, y, z);
    if (pause) await sleep(pause); // compiled meanwhile, and nobody asked
    device.write(y, Float32Array.of(-1, -2));
    device.scale(z, 0.5);
    assert.equal(await floats(device, z), [111, 222]);
    assert.equal(await floats(device, y), [-1, -2]);
    assert.equal([...((await early) as Float32Array)], [11, 22]);
    for (const t of [y, z]) t.dispose();
    device.close();
    assert.is(counted.live, 0);
    counted.real.destroy();
  }
});

test('what was recorded while a kernel was compiled is computed, also where nothing was asked for before', async () => {
  const counted = await Counted.create();
  const device = await WebGpuTrainDevice.create({ gpu: counted.gpu });
  const x = put(device, [2], [1, 2]);
  device.scale(x, 3);
  await sleep(300);
  assert.equal(await floats(device, x), [3, 6]);
  device.close();
  counted.real.destroy();
});

test('a write between operations is seen by later ones only', async () => {
  const device = await WebGpuTrainDevice.create();
  const [x, y, halves] = [device.tensor('f32', [1]), device.tensor('f32', [1]), device.tensor('f16', [3])];
  device.add(x, y);
  await device.flush(); // the kernel is there
  for (let i = 1; i <= 600; i++) {
    device.write(x, Float32Array.of(i));
    device.add(x, y);
  }
  assert.equal(await floats(device, y), [(600 * 601) / 2]);
  // at odd offsets, which a kernel merges
  device.write(halves, Uint16Array.of(1), 1);
  device.cast(device.rows(halves, 0, 1), put(device, [3], [0, 0, 0]));
  device.write(halves, Uint16Array.of(2, 3), 0);
  device.write(halves, Uint16Array.of(4), 2);
  assert.equal(await device.read(halves), Uint16Array.of(2, 3, 4));
  device.close();
});

test('devices on one GPU do not meet', async () => {
  const counted = await Counted.create();
  const two = await Promise.all([1, 2].map(() => WebGpuTrainDevice.create({ gpu: counted.gpu })));
  const tensors = two.map((device, i) => [put(device, [2], [1 + i, 2]), put(device, [2], [10, 20 * (i + 1)])] as const);
  for (let round = 0; round < 3; round++) {
    for (const [i, device] of two.entries()) device.add(tensors[i]![0], tensors[i]![1]);
  }
  assert.equal(await floats(two[0]!, tensors[0]![1]), [13, 26]);
  two[0]!.close();
  two[1]!.scale(tensors[1]![1], 2);
  assert.equal(await floats(two[1]!, tensors[1]![1]), [32, 92]);
  two[1]!.close();
  assert.is(counted.live, 0);
  counted.real.destroy();
});

test('closing ends what is read, and leaves nothing', async () => {
  for (const wait of [false, true]) {
    const counted = await Counted.create();
    const device = await WebGpuTrainDevice.create({ gpu: counted.gpu });
    const x = put(device, [1000], randomF32(1000, 1));
    device.scale(x, 2);
    if (wait) await device.flush();
    const reading = device.read(x);
    const flushing = device.flush();
    device.close();
    await rejects('E_DISPOSED', () => reading);
    await rejects('E_DISPOSED', () => flushing);
    assert.is(counted.live, 0);
    counted.real.destroy();
  }
});

class GPUOutOfMemoryError {
  readonly message = 'no room';
}

test('memory that the GPU lacks is told with the next read, once, to the device that wanted it', async () => {
  const counted = await Counted.create();
  const [device, other] = [
    await WebGpuDevice.create({ gpu: counted.gpu }),
    await WebGpuDevice.create({ gpu: counted.gpu }),
  ];
  const [x, own] = [put(device, [2], [1, 2]), put(other, [2], [3, 4])];
  for (const told of [() => device.read(x), () => device.flush(), () => device.loadVector(stored('f32', 1, 500, 1))]) {
    await device.flush();
    counted.scoped = new GPUOutOfMemoryError();
    const t = device.tensor('f32', [100_000]);
    assert.equal(await floats(other, own), [3, 4]);
    await rejects('E_OUT_OF_MEMORY', told);
    assert.equal(await floats(device, x), [1, 2]);
    t.dispose();
    device.scratch('f32', [1]);
    // not from the pool the next time
    const parts = device as unknown as { parts(): { commands: Commands } };
    parts.parts().commands.pool.trim();
  }
  for (const one of [device, other]) one.close();
  counted.real.destroy();
});

test('what the GPU refuses is an error of ours with the next read, for every device on it', async () => {
  const counted = await Counted.create();
  const [device, other] = [
    await WebGpuDevice.create({ gpu: counted.gpu }),
    await WebGpuDevice.create({ gpu: counted.gpu }),
  ];
  const [x, own] = [put(device, [2], [1, 2]), put(other, [2], [3, 4])];
  await device.flush();
  const wrong = counted.real.createBuffer({ size: 16, usage: 0x80 });
  counted.real.queue.writeBuffer(wrong, 0, new Uint8Array(16)); // it is no destination of copies
  const error = await rejects('E_DEVICE_UNSUPPORTED', () => device.read(x));
  assert.match(error.message, 'refuses a command');
  await rejects('E_DEVICE_UNSUPPORTED', () => other.flush());
  assert.equal(await floats(device, x), [1, 2]);
  assert.equal(await floats(other, own), [3, 4]);
  wrong.destroy();
  for (const one of [device, other]) one.close();
  counted.real.destroy();
});

test('a kernel that the compiler refuses fails whenever it is used', async () => {
  const counted = await Counted.create();
  const context = await GpuContext.open(counted.gpu);
  const commands = new Commands(context, Number.POSITIVE_INFINITY);
  context.use({ failed: (error) => commands.fail(error), lost: () => {} });
  const broken = kernel('broken', () => ({
    buffers: [['x', 'f32', 'write']],
    numbers: [],
    workgroup: 1,
    body: 'x[0] = no_such_function();',
  }));
  const memory = commands.pool.take(16);
  for (let i = 0; i < 3; i++) {
    commands.run(broken, [{ memory, offset: 0, byteLength: 16 }], [], 1);
    await rejects('E_DEVICE_UNSUPPORTED', () => commands.settle());
  }
  await commands.settle();
  commands.pool.give(memory);
  commands.close();
  assert.is(counted.live, 0);
  counted.real.destroy();
});

test('a lost GPU is told to who asks before and after, and to whoever calls', async () => {
  const counted = await Counted.create();
  const device = await WebGpuTrainDevice.create({ gpu: counted.gpu });
  const gone = await WebGpuTrainDevice.create({ gpu: counted.gpu });
  const x = put(device, [2], [1, 2]);
  const told: EspalierError[] = [];
  device.onLost((error) => told.push(error));
  gone.onLost(() => assert.unreachable('it was closed before'));
  gone.close();
  assert.throws(() => gone.onLost(() => {}), code('E_DISPOSED'));
  device.scale(x, 2);
  const reading = device.read(x);
  counted.real.destroy();
  await rejects('E_DEVICE_LOST', () => reading);
  await sleep(50);
  assert.equal(
    told.map((error) => error.code),
    ['E_DEVICE_LOST'],
  );
  device.onLost((error) => told.push(error));
  assert.is(told.length, 1, 'never within an operation');
  await sleep(0);
  assert.is(told.length, 2);
  await rejects('E_DEVICE_LOST', () => device.read(x));
  await rejects('E_DEVICE_LOST', () => device.flush());
  await rejects('E_DEVICE_LOST', () => device.loadMatrix(stored('f32', 4, 4, 1)));
  for (const run of [
    () => device.tensor('f32', [1]),
    () => device.scratch('f32', [1]),
    () => device.scale(x, 2),
    () => device.write(x, Float32Array.of(1)),
  ]) {
    assert.throws(run, code('E_DEVICE_LOST'), `${run}`);
  }
  x.dispose();
  device.close();
  assert.is(counted.live, 0);
  assert.throws(() => device.tensor('f32', [1]), code('E_DISPOSED'));
  // the next one is another GPU
  const next = await WebGpuTrainDevice.create();
  assert.ok(Number.isFinite(await compute(next)));
  next.close();
});

test('nothing is a tensor larger than a buffer may be', async () => {
  const device = await WebGpuDevice.create();
  assert.throws(() => device.tensor('f32', [2 ** 40]), code('E_OUT_OF_MEMORY'));
  assert.is(device.stats().tensors, 0);
  device.close();
});

test.run();
