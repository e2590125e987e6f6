/** Aborts and closes while the worker is busy with one long operation: within a second, whatever it does. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { linkOf } from '../../src/engine/engine.ts';
import { Engine, grow, type Model, open } from '../../src/index.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { soon } from '../soon.ts';
import { tinyFiles } from './tiny-model.ts';

const files = await tinyFiles();
const workerLocation = new URL('./busy-engine.ts', import.meta.url);
const silent = new URL('./silent-worker.ts', import.meta.url);
/** Longer than any test: what ends in time has not waited for it. */
const FOR_EVER = 60_000;

interface Busy {
  readonly engine: Engine;
  readonly block: (milliseconds: number, beat?: boolean) => void;
  /** Resolves with the next message to the worker. */
  readonly sent: () => Promise<void>;
}

async function busyEngine(): Promise<Busy> {
  const engine = await Engine.create({ lanes: 1, workerLocation });
  const { endpoint } = linkOf(engine).workers().worker;
  const post = endpoint.postMessage.bind(endpoint);
  let heard = (): void => {};
  endpoint.postMessage = (...message: Parameters<typeof post>) => {
    post(...message);
    heard();
  };
  return {
    engine,
    block: (milliseconds, beat = false) => post({ block: milliseconds, beat }),
    sent: () =>
      new Promise((resolve) => {
        heard = resolve;
      }),
  };
}

const afterMoments = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30));

/**
 * Fails unless `work` rejects so soon after its signal, which fires while the worker is busy: after `moment`, `sent` where the worker will
 * not be busy for ever, since an answer needs a task of its own and cannot come before that on any machine, however slow.
 */
async function abortsSoon(work: (signal: AbortSignal) => Promise<unknown>, moment = afterMoments): Promise<void> {
  const controller = new AbortController();
  const reason = new Error('enough');
  const now = moment();
  const call = rejects('E_ABORTED', () => work(controller.signal));
  await now;
  await soon(async () => {
    controller.abort(reason);
    assert.is((await call).cause, reason);
  });
}

const calls: Readonly<Record<string, (model: Model, signal: AbortSignal) => Promise<unknown>>> = {
  encode: (model, signal) => model.encode('abc', { signal }),
  encodeChat: (model, signal) => model.encodeChat([{ role: 'user', content: 'ab' }], { signal }),
  decode: (model, signal) => model.decode([1, 2], { signal }),
  generate: (model, signal) => model.generate('abc', { signal }).result(),
  score: (model, signal) => model.score('abc', { signal }),
  embed: (model, signal) => model.embed('abc', { signal }),
};

test('every call of a model rejects, the stuck worker is ended, and others on it hear why', async () => {
  const { engine, block } = await busyEngine();
  const [model, other] = [await engine.open(files), await engine.open(files)];
  block(FOR_EVER);
  const lost = rejects('E_WORKER_LOST', () => other.encode('abc'));
  // all at once: a call whose signal fires when the first has ended the worker already is told of that
  const moment = afterMoments();
  const together = () => moment;
  await Promise.all([
    ...Object.values(calls).map((call) => abortsSoon((signal) => call(model, signal), together)),
    abortsSoon((signal) => engine.open(files, { signal }), together),
  ]);
  await soon(() => lost);
  const error = await lost;
  assert.match(error.message, 'did not answer');
  assert.match(error.hint, 'Create another engine');
  await rejects('E_WORKER_LOST', () => engine.stats());
  await soon(() => model.close());
  await soon(() => engine.close());
});

test('a loop that is aborted in the middle', async () => {
  const { engine, block } = await busyEngine();
  const model = await engine.open(files);
  await abortsSoon(async (signal) => {
    for await (const _ of model.generate('abc', { maxTokens: 60, stopAtEos: false, signal })) block(FOR_EVER);
  });
  await engine.close();
});

test('a loop that is left does not wait for ever', async () => {
  const { engine, block } = await busyEngine();
  const model = await engine.open(files);
  await soon(async () => {
    for await (const _ of model.generate('abc', { maxTokens: 60, stopAtEos: false })) {
      block(FOR_EVER);
      break;
    }
  });
  await soon(() => engine.close());
});

test('a worker that is busy for less than the time it has goes on, with all that is on it', async () => {
  const { engine, block, sent } = await busyEngine();
  const model = await engine.open(files);
  block(300);
  const kept = model.encode('abc');
  await abortsSoon((signal) => model.score('abc', { signal }), sent);
  assert.is((await kept).length, 3);
  assert.is((await engine.stats()).models, 1);
  await engine.close();
});

test('a worker in a long kernel is not taken for stuck', async () => {
  const { engine, block, sent } = await busyEngine();
  const model = await engine.open(files);
  block(2500, true);
  const kept = model.encode('abc');
  await abortsSoon((signal) => engine.open(files, { signal }), sent);
  await abortsSoon((signal) => model.generate('abc', { signal }).result(), sent);
  assert.is((await kept).length, 3);
  const { models, generations } = await engine.stats();
  assert.equal([models, generations], [1, 0]); // what came too late is closed
  await engine.close();
});

test('kernels make themselves known', async () => {
  const { engine } = await busyEngine();
  const model = await engine.open(await modelTarget('models/nano-base'));
  let beats = 0;
  linkOf(engine)
    .workers()
    .worker.endpoint.addEventListener('message', (event) => {
      if ((event as MessageEvent).data?.heartbeat === true) beats++;
    });
  const before = performance.now();
  await model.score('word '.repeat(1500));
  const took = performance.now() - before;
  assert.ok(beats >= 1 && beats <= 2 + took / 250, `${beats} in ${took} ms`);
  await engine.close();
});

test('an open with an engine of its own: aborted while it starts, and while it loads', async () => {
  await abortsSoon((signal) => open(files, { lanes: 1, signal, workerLocation: silent }));
  const { engine, block } = await busyEngine();
  block(FOR_EVER);
  await abortsSoon((signal) => open(files, { engine, signal }));
  await engine.close();
});

test('closing is as quick', async () => {
  const { engine, block } = await busyEngine();
  const [model, other] = [await engine.open(files), await engine.open(files)];
  block(1500);
  const kept = other.encode('abc');
  // nothing of this model's own runs: it is closed afterwards
  await soon(() => model.close());
  await rejects('E_DISPOSED', () => model.encode('abc'));
  assert.is((await kept).length, 3);
  assert.is((await engine.stats()).models, 1);
  block(FOR_EVER);
  const waiting = rejects('E_DISPOSED', () => other.score('abc'));
  await soon(() => other.close());
  await soon(() => waiting);
  await rejects('E_WORKER_LOST', () => engine.stats());
  await soon(() => engine.close());
});

test('a job of growing whose worker does not answer', async () => {
  await abortsSoon((signal) => grow(files, { signal, lanes: 1, workerLocation: silent }));
});

test.run();
