/** One way to a device, and what is not one; what `auto` is; and where a job goes on. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { autoDevice, parametersIn } from '../../src/device/auto.ts';
import { looksForGpu } from '../../src/device/crossover.ts';
import {
  arithmetic,
  arithmeticOf,
  chosenDevice,
  jobDevice,
  kindOf,
  openDevice,
  openExactDevice,
  openTrainDevice,
} from '../../src/device/open-device.ts';
import { limitOn } from '../../src/device/options.ts';
import { adapterFacts, findAdapter, mayHaveGpu } from '../../src/device/webgpu/adapter.ts';
import { choose, outlook } from '../../src/device/webgpu/choice.ts';
import { rejects } from '../errors.ts';
import { onGpu } from './devices.ts';

test('auto and wasm are the CPU device, with its options', async () => {
  for (const device of [await openDevice(), await openDevice('auto'), await openDevice('wasm', { debug: true })]) {
    assert.is(device.kind, 'wasm');
    device.close();
  }
  const plain = await openDevice('auto', { relaxed: false, memoryLimit: 8 << 20 });
  assert.is(plain.description['simd'], 'plain');
  assert.throws(
    () => plain.tensor('f32', [8 << 20]),
    (error: { code: string }) => error.code === 'E_OUT_OF_MEMORY',
  );
  plain.close();
});

test('an exact device is plain SIMD and draws', async () => {
  const device = await openExactDevice();
  assert.is(device.description['simd'], 'plain');
  const t = device.tensor('f32', [64]);
  device.perturb({ to: t, from: null, std: 1, seed: 1 });
  assert.ok(((await device.read(t)) as Float32Array).every((x) => x !== 0 && Math.abs(x) < 6));
  device.close();
});

test('what is no device is told apart', async () => {
  const half = { queue: {}, createBuffer: () => ({}) };
  for (const kind of ['cuda', half, 7, null, {}, { queue: {} }, () => {}]) {
    const error = await rejects('E_ARGUMENT', () => openDevice(kind as never));
    assert.match(error.hint, '"auto", "wasm" or "webgpu", or a GPUDevice');
  }
  await rejects('E_ARGUMENT', () => openDevice('wasm', { lanes: 0 }));
});

if (onGpu) {
  test('a GPU by its name, and one of the caller’s own', async () => {
    const device = await openDevice('webgpu', { memoryLimit: 2 ** 33 });
    assert.is(device.kind, 'webgpu');
    assert.is(device.description['device'], 'webgpu');
    device.close();
    const train = await openTrainDevice({ device: 'webgpu' });
    assert.equal(arithmeticOf(train), { device: 'webgpu', adapter: train.description['adapter'] });
    assert.equal(arithmetic.check(arithmeticOf(train), 'device'), arithmeticOf(train));
    train.close();
  });
}

test('more memory than a wasm device can have is refused, and a GPU may have it', async () => {
  const error = await rejects('E_ARGUMENT', () => openDevice('wasm', { memoryLimit: 2 ** 33 }));
  assert.match(error.hint, '4 GiB');
  assert.throws(() => limitOn('wasm', 2 ** 33), /E_ARGUMENT|memoryLimit/);
  assert.is(limitOn('wasm', undefined), 2 ** 32);
  assert.is(limitOn('wasm', 2 ** 30), 2 ** 30);
  assert.is(limitOn('webgpu', 2 ** 36), 2 ** 36);
  assert.is(limitOn('webgpu', undefined), null);
});

test('auto: a real GPU, and a model of a size with which one was found to be faster', async () => {
  const crossover = { answering: 1e8, training: 1e6 };
  const real = { name: 'a card', fallback: false };
  const work = (parameters: number) => ({ task: 'answering', parameters }) as const;
  assert.is(choose(work(1e8), real, crossover).device, 'webgpu');
  assert.match(choose(work(1e8), real, crossover).why, 'a model of 100 million parameters');
  assert.is(choose({ task: 'training', parameters: 1e6 }, real, crossover).device, 'webgpu');
  for (const [one, adapter, table, why] of [
    [work(1e8 - 1), real, crossover, 'faster at answering from 100 million on'],
    [work(1e9), { ...real, fallback: true }, crossover, 'a program on the CPU'],
    [work(1e9), null, crossover, 'no GPU'],
    [work(1e9), real, { answering: null, training: 1 }, 'It is not settled yet'],
  ] as const) {
    const { device, why: told } = choose(one, adapter, table);
    assert.is(device, 'wasm');
    assert.match(told, why);
  }
  // where the size decides, no GPU is looked for; a program that plays one is never taken
  assert.is(await autoDevice(work(1), crossover), 'wasm');
  if (onGpu) assert.is(await autoDevice(work(1e9), crossover), 'wasm');
  assert.is(parametersIn([{ shape: [2, 3] }, { shape: [4] }]), 10);
  const adapter = looksForGpu() ? await findAdapter() : null;
  const isReal = adapter !== null && !adapterFacts(adapter).fallback;
  assert.is(await chosenDevice('auto', work(1e12)), isReal ? 'webgpu' : 'wasm');
});

test('auto: no look for a GPU where it can end the program, or where there is no WebGPU', () => {
  const node = { process: { versions: { node: '20.0.0' } } };
  const deno = { ...node, Deno: {}, navigator: { gpu: {} } };
  assert.is(looksForGpu(node), true);
  assert.is(looksForGpu({ navigator: { gpu: {} } }), true);
  for (const host of [deno, { navigator: {} }, {}]) assert.is(looksForGpu(host), false);
  if ('Deno' in globalThis) assert.is(looksForGpu(), false);
  const real = { fallback: false };
  const crossover = { answering: 1e8, training: null };
  assert.is(outlook('answering', real, crossover, node).gpuFrom, 1e8);
  assert.is(outlook('answering', real, crossover, deno).gpuFrom, null);
  assert.match(outlook('answering', real, crossover, deno).why, 'asked for');
  assert.match(outlook('answering', real, crossover, {}).why, 'no WebGPU');
  assert.match(outlook('answering', null, crossover, deno).why, 'no GPU');
  assert.is(outlook('training', real, crossover, node).gpuFrom, null);
});

test('a driver is asked only where there may be a GPU', async () => {
  for (const name of ['dri', 'nvidia0', 'dxg', 'kgsl-3d0', 'mali0'])
    assert.is(await mayHaveGpu(['null', name]), true, name);
  assert.is(await mayHaveGpu(['null', 'nvram', 'nvidia', 'tty', 'dri2']), false);
  const linux = (globalThis as { process?: { platform?: string } }).process?.platform === 'linux';
  if (!linux) assert.is(await mayHaveGpu(), true);
});

test('a job goes on where its state was computed', async () => {
  const work = { task: 'training', parameters: 1 } as const;
  const wasm = { simd: 'plain', micro: 0, dot: 0 };
  const gpu = { device: 'webgpu', adapter: 'a card' } as const;
  assert.is(kindOf(wasm), 'wasm');
  assert.is(kindOf(gpu), 'webgpu');
  for (const own of ['wasm', 'webgpu'] as const) {
    for (const kind of [undefined, 'auto', own] as const) assert.is(await jobDevice(kind, work, own), own);
  }
  for (const [kind, own] of [
    ['webgpu', 'wasm'],
    ['wasm', 'webgpu'],
  ] as const) {
    const error = await rejects('E_ARGUMENT', () => jobDevice(kind, work, own));
    assert.match(error.message, `device is ${kind}`);
    assert.match(error.hint, 'restart');
  }
  assert.is(await jobDevice('wasm', work, null), 'wasm');
  for (const kept of [wasm, gpu]) assert.equal(arithmetic.check(kept, 'device'), kept);
  for (const damaged of [{}, { device: 'wasm' }, { simd: 'plain' }, { device: 'cuda', adapter: '' }, null]) {
    assert.throws(() => arithmetic.check(damaged, 'device'));
  }
});

test.run();
