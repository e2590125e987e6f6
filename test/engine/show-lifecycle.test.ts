/** Beginnings and ends of what is shown in a worker: two calls at once, aborts, closing, dying, leaking nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { linkOf } from '../../src/engine/engine.ts';
import { type Answer, Chain, Engine, type Model, ShotPool, Show } from '../../src/index.ts';
import { host, setHost } from '../../src/runtime/host/host.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { tinyFiles } from './tiny-model.ts';

const nano = await modelTarget('models/nano-base');
const LABELS = ['animal', 'colour'];
const shots = Array.from({ length: 60 }, (_, i) => ({
  id: `${i}`,
  text: `Input: this is number ${i} of them\nOutput: ${LABELS[i % 2]}\n`,
  label: LABELS[i % 2]!,
}));
const LABELLED = { preset: 'label', labels: LABELS, prompt: 'Output:' } as const;
const FREE = { preset: 'generate', maxTokens: 400, stop: 'no such text' } as const;
const QUERY = 'Input: and this ?\nOutput:';

const engine = await Engine.create({ lanes: 1, show: true });
const tensors = async () => (await engine.stats()).tensors;

/** A model that has what it makes once, such as a table of RoPE. */
async function opened(target: Parameters<Engine['open']>[0]): Promise<Model> {
  const model = await engine.open(target);
  await model.score('a');
  return model;
}

test('calls at once are answered in order; one that is aborted holds up no other', async () => {
  const model = await opened(nano);
  const pool = await ShotPool.build(model, shots, { grow: { initial: 0 } });
  const [show, free] = [await Show.create(pool, LABELLED), await Show.create(pool, FREE)];
  const alone = await show.ask(QUERY);
  const abort = new AbortController();
  const order: number[] = [];
  const asked = [0, 1, 2].map((i) =>
    show.ask(QUERY, i === 1 ? { signal: abort.signal } : {}).finally(() => void order.push(i)),
  );
  const aborted = rejects('E_ABORTED', () => asked[1]!);
  abort.abort();
  const scored = model.score('beside it');
  for (const i of [0, 2]) assert.equal((await asked[i]!).probabilities, alone.probabilities);
  await aborted;
  assert.ok(order.indexOf(0) < order.indexOf(2));
  assert.ok((await scored).length > 0);
  // a stream that is left frees its cache, and lets the next query in
  const before = await tensors();
  const stream = free.stream(QUERY);
  for await (const _ of stream) break;
  await rejects('E_ARGUMENT', () => stream.answer());
  assert.is((await engine.stats()).generations, 0);
  const stopped = new AbortController();
  await rejects('E_ABORTED', async () => {
    for await (const _ of free.stream(QUERY, { signal: stopped.signal })) stopped.abort();
  });
  await rejects('E_ABORTED', () => free.ask(QUERY, { signal: AbortSignal.abort() }));
  assert.ok((await free.ask(QUERY, { shots: 1 })).receipt.tokens.generated > 0);
  assert.ok((await tensors()) <= before);
  await model.close();
  assert.is(await tensors(), 0);
});

test('an abort ends encoding in the middle, and leaves nothing', async () => {
  const model = await opened(nano);
  const before = await tensors();
  for (const make of [
    (signal: AbortSignal, tell: () => void) =>
      ShotPool.build(model, shots, { signal, grow: { initial: 60 }, onEstimate: tell }),
    (signal: AbortSignal, tell: () => void) => Chain.create(model, shots, { signal, onEstimate: tell }),
  ]) {
    const abort = new AbortController();
    await rejects('E_ABORTED', () => make(abort.signal, () => abort.abort()));
    await rejects('E_ABORTED', () => make(AbortSignal.abort(), () => {}));
    assert.is(await tensors(), before);
  }
  const pool = await ShotPool.build(model, shots, { grow: { initial: 0 } });
  const show = await Show.create(pool, LABELLED);
  const abort = new AbortController();
  // many, so that a caller who hears late still finds it in the middle
  const dev = Array.from({ length: 200 }, (_, i) => ({ query: QUERY, label: LABELS[i % 2]! }));
  const calibrating = show.calibrate(dev, {
    signal: abort.signal,
    onProgress: (done) => done > 0 && abort.abort(),
  });
  await rejects('E_ABORTED', () => calibrating);
  const failing = show.calibrate(dev, {
    onProgress: () => {
      throw new Error('enough');
    },
  });
  await failing.then(
    () => assert.unreachable(),
    (error: Error) => assert.is(error.message, 'enough'),
  );
  assert.ok(show.settings.calibration === undefined);
  assert.ok(LABELS.includes((await show.ask(QUERY)).text));
  await model.close();
});

test('closing ends what stands on it, and nothing else', async () => {
  const model = await opened(nano);
  const empty = await tensors();
  const [pool, other] = [await ShotPool.build(model, shots), await ShotPool.build(model, shots.slice(0, 4))];
  const [show, beside, free] = [
    await Show.create(pool, LABELLED),
    await Show.create(other, LABELLED),
    await Show.create(pool, FREE),
  ];
  // of a Show: its own queries
  const waiting = [0, 1, 2].map(() => rejects('E_DISPOSED', () => show.ask(QUERY)));
  await Promise.all([show.close(), show.close()]);
  await Promise.all(waiting);
  await rejects('E_DISPOSED', () => show.ask(QUERY));
  await rejects('E_DISPOSED', () => show.calibrate([{ query: QUERY, label: 'animal' }]));
  // of a pool: all Shows over it
  const loop = rejects('E_DISPOSED', async () => {
    for await (const _ of free.stream(QUERY)) void pool.close();
  });
  const kept = beside.ask(QUERY);
  await loop;
  await pool.close();
  await rejects('E_DISPOSED', () => free.ask(QUERY));
  await rejects('E_DISPOSED', () => pool.prepare());
  await rejects('E_DISPOSED', () => pool.stats());
  await rejects('E_DISPOSED', () => Show.create(pool, LABELLED));
  assert.ok(LABELS.includes((await kept).text));
  assert.ok((await tensors()) > empty);
  await other[Symbol.asyncDispose]();
  assert.is(await tensors(), empty);
  // of a model: pools, also one that is being built
  const last = await ShotPool.build(model, shots, { grow: { initial: 0 } });
  const building = rejects('E_DISPOSED', () => ShotPool.build(model, shots, { grow: { initial: 60 } }));
  const preparing = rejects('E_DISPOSED', () => last.prepare());
  await model.close();
  await Promise.all([building, preparing]);
  await rejects('E_DISPOSED', () => last.stats());
  await last.close();
  assert.is(await tensors(), 0);
});

test('50 rounds of building, asking and closing leave nothing', async () => {
  const model = await opened(await tinyFiles());
  const before = await tensors();
  const few = ['a cat.', 'b dog.', 'c cat.', 'd dog.'].map((text, i) => ({
    id: `${i}`,
    text,
    label: text.slice(2, 5),
  }));
  const options = { preset: 'label', labels: ['cat', 'dog'], prompt: ':', room: 24 } as const;
  let high = 0;
  for (let round = 0; round < 50; round++) {
    const pool = await ShotPool.build(model, few);
    const show = await Show.create(pool, options);
    assert.ok((await show.ask('e :')).label);
    // the Show is closed with its pool
    await (round % 2 ? pool.close() : show.close().then(() => pool.close()));
    const stats = await engine.stats();
    assert.equal([stats.tensors, stats.generations, stats.models], [before, 0, 1]);
    if (round === 10) high = stats.peakBytes;
    if (round > 10) assert.ok(stats.peakBytes <= high, `${stats.peakBytes} bytes after ${round} rounds`);
  }
  await model.close();
});

test('a worker that dies in the middle: E_WORKER_LOST', async () => {
  const lost = await Engine.create({ lanes: 1, show: true });
  const model = await lost.open(nano);
  const pool = await ShotPool.build(model, shots, { grow: { initial: 0 } });
  const show = await Show.create(pool, LABELLED);
  const asked = show.ask(QUERY);
  void linkOf(lost).workers().worker.terminate();
  const error = await rejects('E_WORKER_LOST', () => asked);
  assert.match(error.message, 'show worker');
  assert.match(error.hint, 'store');
  await rejects('E_WORKER_LOST', () => pool.prepare());
  await rejects('E_WORKER_LOST', () => show.ask(QUERY));
  await Promise.all([show.close(), pool.close(), model.close()]);
  await lost.close();
  await rejects('E_DISPOSED', () => show.ask(QUERY));
});

test('a signal that fires, or a query that is asked, when what was fitted is on its way changes nothing of it', async () => {
  const real = await host();
  const abort = new AbortController();
  let asked: Promise<Answer> | null = null;
  setHost({
    ...real,
    spawn: (kind, location) => {
      const handle = real.spawn(kind, location);
      // heard before the line hears it
      handle.endpoint.addEventListener('message', (event) => {
        const { value } = ((event as MessageEvent<{ value?: { value?: unknown } }>).data ?? {}) as { value?: unknown };
        if (JSON.stringify(value ?? null).includes('"calibration"')) {
          abort.abort();
          asked ??= show.ask(QUERY);
        }
      });
      return handle;
    },
  });
  const own = await Engine.create({ lanes: 1, show: true });
  setHost(real);
  const model = await own.open(nano);
  const show = await Show.create(await ShotPool.build(model, shots, { grow: { initial: 0 } }), LABELLED);
  show.threshold = 1e-9;
  const dev = LABELS.map((label) => ({ query: QUERY, label }));
  const { threshold } = await show.calibrate(dev, { signal: abort.signal });
  assert.ok(abort.signal.aborted && threshold !== 1e-9);
  assert.is(show.threshold, threshold);
  assert.is((await asked!).receipt.threshold, 1e-9, 'as it was set when it was asked');
  assert.is((await show.ask(QUERY)).receipt.threshold, threshold);
  await own.close();
});

test.after(() => engine.close());

test.run();
