// hosts: node — reads the memory of the process
// long — opens and closes models many times, and measures
/** What an engine leaves of memory when it is closed, without waiting for the garbage collector of the caller's thread. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { Engine, grow, open, planGrow, ShotPool, Show } from '../../src/index.ts';
import { openLocal } from '../../src/open-local.ts';
import { host, setHost } from '../../src/runtime/host/host.ts';
import type { Host } from '../../src/runtime/host/types.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { tinyFiles } from './tiny-model.ts';

const MB = 1e6;
const nano = await modelTarget('models/nano-base');
const files = await tinyFiles();
const resident = () => process.memoryUsage().rss / MB;

/** A pool over a model, and an answer over that. */
async function shown(lanes: number): Promise<void> {
  const engine = await Engine.create({ lanes, show: true });
  const model = await engine.open(files);
  const pool = await ShotPool.build(model, [{ id: 'a', text: 'a cat.' }]);
  await (await Show.create(pool, { preset: 'label', labels: ['cat', 'dog'], room: 24 })).ask('b:');
  await engine.close();
}

/** Megabytes more after four rounds than after one. */
async function growth(name: string, round: () => Promise<unknown>): Promise<number> {
  await round();
  const before = resident();
  for (let i = 0; i < 3; i++) await round();
  const more = resident() - before;
  console.log(`  worst growth of memory in three rounds, ${name}: ${more.toFixed(0)} MB`);
  return more;
}

test('two lanes: the memory of closed engines is gone', async () => {
  // more than nano-base: three of them would be 200 MB
  const more = await growth('two lanes', async () => {
    const model = await open(nano, { lanes: 2 });
    await model.score('word '.repeat(40));
    await model.close();
  });
  assert.ok(more < 60, `${more} MB`);
});

test('so is that of engines that did not start, of aborted and failed opens, of pools and of jobs', async () => {
  const more = await growth('failures', async () => {
    const controller = new AbortController();
    const opening = open(nano, { lanes: 2, signal: controller.signal, onProgress: () => controller.abort() });
    await rejects('E_ABORTED', () => opening);
    await rejects('E_OUT_OF_MEMORY', () => open(nano, { lanes: 2, memoryLimit: 4 << 20 }));
    await shown(2);
    await planGrow(files, { experts: 4, lanes: 2 });
  });
  assert.ok(more < 60, `${more} MB`);
});

test('a closed model that somebody keeps does not keep its memory, nor an open one the bytes of its file', async () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  /** What a weak reference leads to is kept until the event loop has had a turn. */
  const collected = async (ref: WeakRef<object>): Promise<boolean> => {
    for (let i = 0; i < 20 && ref.deref() !== undefined; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      gc();
    }
    return ref.deref() === undefined;
  };
  const device = await WasmDevice.create();
  const opened = async () => {
    const given = await tinyFiles();
    const model = await openLocal(given, { device });
    return { model, bytes: new WeakRef(given['model.safetensors']!) };
  };
  const { model, bytes } = await opened();
  await model.score([1, 2, 3]);
  assert.ok(await collected(bytes), 'the bytes of the file are kept');
  const memory = new WeakRef(device.parts().memory.memory);
  assert.not.ok(await collected(memory));
  model.close();
  device.close();
  assert.ok(await collected(memory), 'the memory is kept');
  // both are still there
  await rejects('E_DISPOSED', () => model.score([1, 2, 3]));
  await rejects('E_DISPOSED', async () => device.parts());
  assert.is(device.stats().tensors, 0);
});

test('no message to the caller’s thread carries the memory', async () => {
  const real = await host();
  let messages = 0;
  const found: string[] = [];
  const look = (value: unknown, path: string, depth = 0): void => {
    if (value instanceof WebAssembly.Memory) found.push(path);
    else if (value instanceof SharedArrayBuffer && value.byteLength > MB) found.push(path);
    else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) && depth < 8) {
      for (const [name, member] of Object.entries(value)) look(member, `${path}.${name}`, depth + 1);
    }
  };
  const spied: Host = {
    ...real,
    spawn: (kind, location) => {
      const handle = real.spawn(kind, location);
      handle.endpoint.addEventListener('message', (event) => {
        messages++;
        look((event as MessageEvent).data, kind);
      });
      return handle;
    },
  };
  setHost(spied);
  try {
    const engine = await Engine.create({ lanes: 2 });
    const model = await engine.open(files);
    await model.score('abc');
    await engine.close();
    await shown(2);
    await grow(files, { experts: 4, lanes: 2, verify: false });
  } finally {
    setHost(real);
  }
  assert.ok(messages > 8);
  assert.equal(found, []);
});

test.run();
