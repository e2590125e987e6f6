/** Beginnings and ends of engines and models: closing, dying, leaking nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { linkOf } from '../../src/engine/engine.ts';
import { Engine, EspalierError, open } from '../../src/index.ts';
import { host } from '../../src/runtime/host/host.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { isFirefox, tinyFiles } from './tiny-model.ts';

const nano = await modelTarget('models/nano-base');
const LONG = { maxTokens: 1500, stopAtEos: false };

test('a worker that dies in the middle of a generation: E_WORKER_LOST, and another engine goes on', async () => {
  const engine = await Engine.create({ lanes: 1 });
  const model = await engine.open(nano);
  const scored = model.score('word '.repeat(1000));
  const lost = await rejects('E_WORKER_LOST', async () => {
    let count = 0;
    for await (const _ of model.generate('Once', LONG)) {
      if (++count === 3) void linkOf(engine).workers().worker.terminate();
    }
  });
  assert.instance(lost, EspalierError);
  assert.instance(lost.cause, Error);
  // what waited, and what comes later
  if (scored) await scored.catch((error) => assert.is(error.code, 'E_WORKER_LOST'));
  await rejects('E_WORKER_LOST', () => model.encode('x'));
  await rejects('E_WORKER_LOST', () => model.generate('x').text());
  await rejects('E_WORKER_LOST', () => engine.open(nano));
  await rejects('E_WORKER_LOST', () => engine.stats());
  await model.close();
  await engine.close();
  const again = await open(nano, { lanes: 1 });
  assert.is((await again.generate('Once upon a time', { maxTokens: 5 }).result()).tokens.length, 5);
  await again.close();
});

if ((await host()).sharedMemory) {
  test('a lane that dies in the middle of a generation: the same', async () => {
    const engine = await Engine.create({ lanes: 2 });
    assert.is(engine.lanes, 2);
    assert.is((await engine.stats()).lanes, 2);
    const model = await engine.open(nano);
    const { lanes } = linkOf(engine).workers();
    assert.is(lanes.length, 1);
    const lost = await rejects('E_WORKER_LOST', async () => {
      let count = 0;
      for await (const _ of model.generate('Once', LONG)) if (++count === 3) void lanes[0]!.terminate();
    });
    assert.instance(lost.cause, Error);
    await rejects('E_WORKER_LOST', () => model.score('x'));
    await engine.close();
    const again = await open(nano, { lanes: 2 });
    assert.is((await again.generate('Once upon a time', { maxTokens: 5 }).result()).tokens.length, 5);
    await again.close();
  });

  test('a lane whose script is not there: the engine does not start', async () => {
    if (isFirefox()) return;
    const laneLocation = new URL('./nowhere/lane.js', import.meta.url);
    const lost = await rejects('E_WORKER_LOST', () => Engine.create({ lanes: 2, laneLocation }));
    assert.match(lost.message, 'lane');
  });
}

test('a worker that dies while a model is opened', async () => {
  const engine = await Engine.create({ lanes: 1 });
  const opening = engine.open(nano);
  void linkOf(engine).workers().worker.terminate();
  await rejects('E_WORKER_LOST', () => opening);
  await engine.close();
});

test('closing an engine ends what waits, and all of its models', async () => {
  const engine = await Engine.create({ lanes: 1 });
  const model = await engine.open(nano);
  const waiting = [
    model.generate('Once', LONG).result(),
    model.score('word '.repeat(1000)),
    engine.open(nano),
    engine.stats(),
  ];
  const ends = Promise.all(waiting.map((call) => rejects('E_DISPOSED', () => call as Promise<unknown>)));
  await engine.close();
  await ends;
  await engine.close();
  await rejects('E_DISPOSED', () => model.encode('x'));
  await rejects('E_DISPOSED', () => model.generate('x').result());
  await rejects('E_DISPOSED', () => engine.open(nano));
  await model.close();
});

test('closing a model ends what it computes, and nothing else', async () => {
  const engine = await Engine.create({ lanes: 1 });
  const [model, other] = [await engine.open(nano), await engine.open(await tinyFiles())];
  await other.score('abc');
  const { tensors } = await engine.stats();
  const stream = model.generate('Once', LONG);
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  const score = rejects('E_DISPOSED', () => model.score('word '.repeat(1000)));
  const run = rejects('E_DISPOSED', () => model.generate('Once', LONG).text());
  const loop = rejects('E_DISPOSED', async () => {
    for (let step = await iterator.next(); !step.done; step = await iterator.next());
  });
  const kept = other.generate('abc', { maxTokens: 50, stopAtEos: false }).result();
  await Promise.all([model.close(), model.close()]);
  await Promise.all([score, run, loop]);
  await rejects('E_DISPOSED', () => model.encode('x'));
  await rejects('E_DISPOSED', () => model.generate('x').result());
  assert.is((await kept).tokens.length, 50);
  const after = await engine.stats();
  assert.is(after.models, 1);
  assert.is(after.generations, 0);
  assert.ok(after.tensors < tensors);
  await other[Symbol.asyncDispose]();
  assert.is((await engine.stats()).tensors, 0);
  await engine[Symbol.asyncDispose]();
});

test('200 rounds of opening and closing leave nothing', async () => {
  const engine = await Engine.create({ lanes: 1 });
  const files = await tinyFiles();
  let high = 0;
  for (let round = 0; round < 200; round++) {
    const model = await engine.open(files);
    if (round % 10 === 0) {
      // left, or aborted
      const controller = new AbortController();
      const generation = model.generate('abc', { maxTokens: 30, stopAtEos: false, signal: controller.signal });
      const loop = async () => {
        for await (const _ of generation) {
          if (round % 20 === 0) break;
          controller.abort();
        }
      };
      await (round % 20 === 0 ? loop() : rejects('E_ABORTED', loop));
    }
    await model.close();
    const { tensors, models, generations, peakBytes } = await engine.stats();
    assert.equal([tensors, models, generations], [0, 0, 0]);
    if (round === 20) high = peakBytes;
    if (round > 20) assert.ok(peakBytes <= high, `${peakBytes} bytes after ${round} rounds, ${high} after 20`);
  }
  await engine.close();
});

test('engines one after the other', async () => {
  const files = await tinyFiles();
  const texts = new Set<string>();
  for (let round = 0; round < 5; round++) {
    const model = await open(files, { lanes: 1 });
    texts.add(await model.generate('abc', { maxTokens: 10, stopAtEos: false }).text());
    await model.close();
    await model.close();
    await rejects('E_DISPOSED', () => model.encode('x'));
  }
  assert.is(texts.size, 1);
});

test.run();
