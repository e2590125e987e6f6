/** The option `device` where a worker computes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Engine, EspalierError, grow, merge, open, planTrain, prune, relearn, train } from '../../src/index.ts';
import { openLocal } from '../../src/open-local.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

const nano = await modelTarget('models/nano-base');
/** Looks like one. */
const gpu = {
  queue: {},
  limits: {},
  lost: new Promise(() => {}),
  createBuffer: () => ({}),
  createComputePipelineAsync: () => {},
};

test('a GPUDevice is refused, with what takes one', async () => {
  const device = gpu as never;
  for (const [call, here] of [
    [() => Engine.create({ device }), 'openLocal of espalier/local'],
    [() => open(nano, { device }), 'openLocal of espalier/local'],
    [() => train(nano, { device }), 'train of espalier/train'],
    [() => planTrain(nano, { device }), 'train of espalier/train'],
    [() => prune(nano, { device }), 'prune of espalier/prune'],
    [() => relearn(nano, { device }), 'relearn of espalier/prune'],
    [() => grow(nano, { device }), 'grow of espalier/grow'],
  ] as const) {
    const error = await rejects('E_ARGUMENT', call as () => Promise<unknown>);
    assert.match(error.message, 'GPUDevice');
    assert.match(error.hint, here);
  }
});

test('so is what is none', async () => {
  for (const device of ['cuda', '', null, 7, {}] as never[]) {
    for (const call of [() => Engine.create({ device }), () => train(nano, { device })]) {
      const error = await rejects('E_ARGUMENT', call as () => Promise<unknown>);
      assert.match(error.message, /^device is /);
      assert.match(error.hint, '"auto", "wasm" or "webgpu"');
    }
  }
});

test('merging takes none: what it writes is the same bits everywhere', async () => {
  const error = await rejects('E_ARGUMENT', () => merge(nano, { device: 'webgpu' } as never));
  assert.match(error.message, 'no option device');
});

test('the engine says what computes', async () => {
  for (const device of ['auto', 'wasm'] as const) {
    const model = await open(nano, { device, lanes: 1 });
    assert.is(model.description['device'], 'wasm');
    assert.is(model.lanes, 1);
    await model.close();
  }
  const engine = await Engine.create({ device: 'wasm', lanes: 1 });
  assert.is(engine.description['device'], 'wasm');
  const error = await rejects('E_ARGUMENT', () => open(nano, { engine, device: 'wasm' }));
  assert.match(error.message, 'device is given together with an engine');
  await engine.close();
  await rejects('E_ARGUMENT', () => Engine.create({ memoryLimit: 2 ** 33 }));
});

test('webgpu is a GPU, or an error that says what is missing', async () => {
  const told = await Engine.create({ device: 'webgpu' }).then(
    async (engine) => {
      const { description, lanes } = engine;
      await engine.close();
      assert.is(lanes, 1);
      return description['device'];
    },
    (error: unknown) => {
      assert.ok(error instanceof EspalierError);
      assert.match(error.hint, 'espalier doctor');
      return error.code;
    },
  );
  assert.ok(told === 'webgpu' || told === 'E_DEVICE_UNSUPPORTED', told);
});

test('in the caller’s thread a name opens a device that ends with the model', async () => {
  const model = await openLocal(nano, { device: 'wasm' });
  assert.is(model.device.kind, 'wasm');
  model.close();
  assert.throws(() => model.device.tensor('f32', [1]), /closed|disposed/i);
  await rejects('E_ARGUMENT', () => openLocal(nano, { device: 'cuda' as never }));
});

test.run();
