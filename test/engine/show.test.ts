/** Pools and answers in a worker: the same bits as in the calling thread, and what cannot cross is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { linkOf } from '../../src/engine/engine.ts';
import { identityOf } from '../../src/engine/show/evaluate.ts';
import { Chain, Chains, Engine, EspalierError, evaluate, type Model, open, ShotPool, Show } from '../../src/index.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import { host } from '../../src/runtime/host/host.ts';
import * as here from '../../src/show.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { temporaryStore } from '../show/stores.ts';
import { timeless } from './timeless.ts';
import { tinyFiles } from './tiny-model.ts';

const nano = await modelTarget('models/nano-base');
const { sharedMemory } = await host();
const LABELS = ['cat', 'dog', 'cow'];
const shots = Array.from({ length: 8 }, (_, i) => ({
  id: `s${i}`,
  text: `${'abcdefgh'[i]} ${LABELS[i % 3]}.`,
  label: LABELS[i % 3]!,
  input: 'abcdefgh'[i]!,
}));
const LABELLED = { preset: 'label', labels: LABELS, prompt: ':', room: 24 } as const;
const FREE = { preset: 'generate', maxTokens: 6, grid: [1, 2] } as const;

/** Plain SIMD, which gives the same bits whatever a device has timed as the fastest. */
async function twins(lanes: number): Promise<{ there: Model; local: LocalModel; close(): Promise<void> }> {
  const device = await WasmDevice.create({ relaxed: false, lanes });
  const local = await openLocal(nano, { device });
  const there = await open(nano, { relaxed: false, lanes, show: true });
  const close = async () => {
    await there.close();
    local.close();
    device.close();
  };
  return { there, local, close };
}

for (const lanes of sharedMemory && !('document' in globalThis) ? [1, 2] : [1]) {
  test(`answers, streams, calibrations and receipts have the same bits as here [${lanes} lanes]`, async () => {
    const { there, local, close } = await twins(lanes);
    const modes = ['bare', 'prefixed', { repair: 1 }] as const;
    for (const prefix of modes.slice(lanes - 1)) {
      const options = { prefix, instruction: 'xyz. ', storage: 'int8', grow: { initial: 2 } } as const;
      const [pool, own] = [
        await ShotPool.build(there, shots, options),
        await here.ShotPool.build(local, shots, options),
      ];
      assert.equal([pool.prefix, pool.storage, pool.isKept], [own.prefix, own.storage, false]);
      // rankings by keys encode all of the pool
      const [show, ownShow] = [await Show.create(pool, LABELLED), await here.Show.create(own, LABELLED)];
      assert.equal(show.settings, ownShow.settings);
      for (const query of ['c :', 'zz :']) {
        const asked = { input: query, compare: true, exclude: ['s1'] };
        assert.equal(timeless(await show.ask(query, asked)), timeless(await ownShow.ask(query, asked)));
      }
      const dev = ['a', 'd', 'x'].map((input, i) => ({ query: `${input} :`, input, label: LABELS[i]! }));
      assert.equal(await show.calibrate(dev), await ownShow.calibrate(dev));
      assert.equal([show.settings, show.threshold], [ownShow.settings, ownShow.threshold]);
      assert.equal(timeless(await show.ask('q :')), timeless(await ownShow.ask('q :')));
      [show.threshold, ownShow.threshold] = [1e-3, 1e-3];
      const sure = timeless(await show.ask('q :'));
      assert.equal(sure, timeless(await ownShow.ask('q :')));
      assert.is(sure.receipt.threshold, 1e-3);

      const [free, ownFree] = [await Show.create(pool, FREE), await here.Show.create(own, FREE)];
      const [stream, ownStream] = [free.stream('b'), ownFree.stream('b')];
      const [tokens, ownTokens] = [[] as unknown[], [] as unknown[]];
      for await (const token of stream) tokens.push(token);
      for await (const token of ownStream) ownTokens.push(token);
      assert.ok(tokens.length > 0);
      assert.equal(tokens, ownTokens);
      assert.equal(timeless(await stream.answer()), timeless(await ownStream.answer()));
      assert.equal(timeless(await free.ask('d')), timeless(await ownFree.ask('d')));

      const { size, resident, pooled, bytes, store, warnings } = await pool.stats();
      assert.equal([size, resident, pooled, bytes], [own.size, own.resident, own.pooled, own.bytes]);
      assert.equal([store, warnings], [null, []]);
      own.close();
      await pool.close();
    }
    const chained = { ...LABELLED, grid: [1, 3] };
    for (const [Kind, Own, more] of [
      [Chain, here.Chain, {}],
      [Chains, here.Chains, { clusters: 2 }],
    ] as const) {
      const some = shots.slice(0, 5);
      const [chain, own] = [await Kind.create(there, some, more), await Own.create(local, some, more)];
      const [show, ownShow] = [await Show.create(chain, chained), await here.Show.create(own, chained)];
      assert.equal(timeless(await show.ask('c :')), timeless(await ownShow.ask('c :')));
      own.close();
      await chain.close();
      await rejects('E_DISPOSED', () => show.ask('c :'));
    }
    assert.equal(await identityOf(there), { weights: local.identity, tokenizer: await local.tokenizerIdentity() });
    await close();
  });
}

test('one call opens a model, builds a pool and shows it', async () => {
  const show = await open(nano, { relaxed: false, lanes: 1 }).show(shots, { ...LABELLED, pool: { storage: 'int8' } });
  const { local, close } = await twins(1);
  const pool = await here.ShotPool.build(local, shots, { storage: 'int8' });
  const own = await here.Show.create(pool, LABELLED);
  const answer = await show.ask('c :');
  assert.equal(timeless(answer), timeless(await own.ask('c :')));
  const { top, probabilities } = answer;
  assert.is(top!.length, 3);
  assert.ok(Math.abs(top!.reduce((sum, { probability }) => sum + probability, 0) - 1) < 1e-12);
  assert.equal(Object.fromEntries(top!.map(({ label, probability }) => [label, probability])), probabilities);
  await show.close();
  await rejects('E_DISPOSED', () => show.ask('c :'));
  own.close();
  pool.close();
  // free text has a pool of its own kind, and what is awaited is a model as ever
  const free = await open(nano, { lanes: 1 }).show(shots, FREE);
  assert.ok((await free.ask('b')).receipt.tokens.generated > 0);
  await free.close();
  const plain = await open(nano, { lanes: 1 });
  await rejects('E_ARGUMENT', () => ShotPool.build(plain, shots));
  await plain.close();
  // on an engine that is there the model alone is closed with it
  const engine = await Engine.create({ lanes: 1, show: true });
  const joined = await open(nano, { engine }).show(shots, LABELLED);
  assert.is((await joined.ask('c :')).receipt.probes.length > 0, true);
  await joined.close();
  await rejects('E_ARGUMENT', () => open(nano, { engine }).show(shots, { ...LABELLED, labels: ['one'] }));
  await rejects('E_ARGUMENT', () => open(nano, { engine }).show(shots, undefined as never));
  assert.is((await engine.stats()).models, 0);
  await engine.close();
  await close();
});

test('what a pool tells of its work is heard in the call that works', async () => {
  const model = await open(await tinyFiles(), { lanes: 1, show: true });
  const told: string[] = [];
  const pool = await ShotPool.build(model, shots, {
    grow: { initial: 0 },
    onEstimate: ({ shots: count, seconds }) => void told.push(`${count} ${seconds === null ? 'before' : 'after'}`),
    onProgress: ({ done, total }) => void told.push(`${done}/${total}`),
  });
  assert.equal(told, []);
  const show = await Show.create(pool, LABELLED);
  await show.ask('c :');
  assert.is(told[0], '8 before');
  assert.is(told.at(-1), '8/8');
  // of its own a calibration has another callback of the same name
  await pool.add([{ id: 'new', text: 'i cow.', label: 'cow', input: 'i' }]);
  told.length = 0;
  const items: number[] = [];
  const dev = [{ query: 'c :', label: 'cow' }];
  await show.calibrate(dev, { onProgress: (done, total) => void items.push(done, total) });
  assert.equal(items, [0, 1, 1, 1]);
  assert.is(told.at(-1), '1/1');
  // what it throws comes out of the call
  await pool.replace({ id: 'new', text: 'j cow.', label: 'cow', input: 'j' });
  const enough = new Error('enough');
  const failing = await ShotPool.build(model, shots, {
    grow: { initial: 0 },
    onProgress: () => {
      throw enough;
    },
  });
  await failing.prepare().then(
    () => assert.unreachable(),
    (error) => assert.is(error, enough),
  );
  await pool.prepare();
  assert.is((await pool.stats()).pooled, 9);
  await pool.remove(['new', 's0']);
  assert.is((await pool.stats()).size, 7);
  await model.close();
});

test('a store keeps what a pool has encoded, until another engine', async () => {
  const store = await temporaryStore();
  try {
    const options = { store: store.name, grow: { initial: 0 } } as const;
    const seen: number[] = [];
    for (const before of [0, 8]) {
      const model = await open(await tinyFiles(), { lanes: 1, show: true });
      let loaded = 0;
      const pool = await ShotPool.build(model, shots, { ...options, onProgress: (p) => void (loaded = p.loaded) });
      assert.ok(pool.isKept);
      await pool.prepare();
      assert.is(loaded, before);
      const stats = await pool.stats();
      assert.ok(stats.store!.bytes > 0);
      assert.equal(stats.warnings, []);
      assert.is(
        stats.tokens,
        shots.reduce((sum, { text }) => sum + text.length, 0),
      );
      seen.push(stats.store!.bytes);
      await model.close();
    }
    assert.is(seen[1], seen[0]);
  } finally {
    await store.remove();
  }
});

if (!('document' in globalThis)) {
  test('a store that fails costs no answer: its error comes with its code', async () => {
    const store = await temporaryStore();
    const { writeFile } = await import('node:fs/promises');
    await writeFile(`${store.name}/blobs`, 'no folder');
    const model = await open(await tinyFiles(), { lanes: 1, show: true });
    try {
      const heard: EspalierError[] = [];
      const pool = await ShotPool.build(model, shots, {
        store: store.name,
        onWarning: (warning) => void heard.push(warning),
      });
      const { warnings } = await pool.stats();
      assert.is(heard.length, 1);
      for (const warning of [...heard, ...warnings]) {
        assert.instance(warning, EspalierError);
        assert.is(warning.code, 'E_FILE_WRITE');
        assert.ok(warning.hint.length > 0);
      }
      const show = await Show.create(pool, LABELLED);
      assert.match((await show.ask('c :')).receipt.warnings[0]!, 'E_FILE_WRITE');
      // here the store is all that is wanted
      await rejects('E_FILE_WRITE', () => here.encodeShots(nano, shots, { store: store.name, workers: 1 }));
    } finally {
      await model.close();
      await store.remove();
    }
  });
}

test('what cannot be is an error with its code, and what cannot cross names who takes it', async () => {
  const plain = await open(await tinyFiles(), { lanes: 1 });
  const wrongEngine = await rejects('E_ARGUMENT', () => ShotPool.build(plain, shots));
  assert.match(wrongEngine.hint, 'show: true');
  await plain.close();
  const device = await WasmDevice.create();
  const local = await openLocal(await tinyFiles(), { device });
  const wrongModel = await rejects('E_ARGUMENT', () => ShotPool.build(local as never, shots));
  assert.match(wrongModel.hint, 'espalier/show');
  const ownPool = await here.ShotPool.build(local, shots);
  await rejects('E_ARGUMENT', () => Show.create(ownPool as never, LABELLED));
  await rejects('E_ARGUMENT', () => Show.create(null as never, LABELLED));
  ownPool.close();
  local.close();
  device.close();

  const engine = await Engine.create({ lanes: 1, show: true });
  const model = await engine.open(await tinyFiles());
  const build = (options: object, list: unknown = shots) => ShotPool.build(model, list as never, options as never);
  const wrong: [object, RegExp][] = [
    [{ prefx: 'bare' }, /prefx; did you mean prefix\?/],
    [{ onprogress: () => {} }, /onprogress; did you mean onProgress\?/],
    [{ onProgres: () => {} }, /onProgres; did you mean onProgress\?/],
    [{ prefix: 'none' }, /prefix is "none"/],
    [{ grow: { initial: -1 } }, /grow\.initial is -1/],
    [{ onProgress: 5 }, /onProgress is 5/],
    [{ signal: new AbortController() }, /signal is /],
    [{ store: {} }, /store is .+/],
    [{ store: 5 }, /store is 5/],
    [{ get instruction() { throw new Error('thrown by a getter'); } }, /cannot be read/], // biome-ignore format: one line each
    [[], /options of ShotPool.build/],
  ];
  for (const [options, says] of wrong) {
    assert.match((await rejects('E_ARGUMENT', () => build(options))).message, says);
  }
  await rejects('E_ARGUMENT', () => build({}, [...shots, shots[0]]));
  await rejects('E_ARGUMENT', () => build({}, [{ id: 'x', text: () => 'text' }]));
  await rejects('E_ARGUMENT', () => build({}, 5));
  await rejects('E_CONTEXT_LENGTH', () => build({}, [{ id: 'long', text: 'word '.repeat(100) }]));
  const pool = await build({});
  const rank = await rejects('E_ARGUMENT', () => Show.create(pool, { ...LABELLED, rank: () => [] } as never));
  assert.match(rank.message, 'rank');
  assert.match(rank.hint, 'Show.create of espalier/show');
  // no prefix is a function there either
  const prefix = await rejects('E_ARGUMENT', () => build({ prefix: () => 'bare' }));
  assert.match(prefix.hint, 'functions, where any are taken, work with ShotPool.build of espalier/show');
  await rejects('E_ARGUMENT', () => Show.create(pool, { preset: 'label' }));
  await rejects('E_ARGUMENT', () => Show.create(pool, { ...LABELLED, sampling: { temperature: () => 1 } } as never));
  const show = await Show.create(pool, LABELLED);
  await rejects('E_ARGUMENT', () => show.ask(5 as never));
  await rejects('E_ARGUMENT', () => show.ask('c :', { shot: 2 } as never));
  await rejects('E_ARGUMENT', () => show.ask('c :', { shots: 20 }));
  // callbacks and a signal where none are taken, and what is set on a Show but no option of a call
  const strays: readonly [string, (options: never) => Promise<unknown>][] = [
    ['onProgress', (options) => show.ask('c :', options)],
    ['threshold', (options) => show.ask('c :', options)],
    ['onProgress', (options) => Show.create(pool, { ...LABELLED, ...(options as object) })],
    ['signal', (options) => Show.create(pool, { ...LABELLED, ...(options as object) })],
    ['onProgress', (options) => pool.prepare(undefined, options)],
    ['signl', (options) => pool.prepare(undefined, options)],
  ];
  const values: Readonly<Record<string, unknown>> = { signal: new AbortController().signal, threshold: 1e-9, signl: 1 };
  for (const [name, call] of strays) {
    const given = { [name]: values[name] ?? (() => {}) };
    assert.match((await rejects('E_ARGUMENT', () => call(given as never))).message, `no option ${name}`);
  }
  assert.is(show.threshold, show.settings.threshold);
  show.threshold = Number.NaN;
  assert.match((await rejects('E_ARGUMENT', () => show.ask('c :'))).message, 'threshold');
  show.threshold = show.settings.threshold;
  await rejects('E_ARGUMENT', () => pool.prepare(null as never));
  await rejects('E_CONTEXT_LENGTH', () => show.ask('c'.repeat(80)));
  await rejects('E_ARGUMENT', () => show.stream('c :').answer());
  await rejects('E_ARGUMENT', () => show.calibrate([{ query: 'c :', label: 'bird' }]));
  await rejects('E_ARGUMENT', () => pool.prepare(['s9']));
  await rejects('E_ARGUMENT', () => pool.add([shots[0]!]));
  await rejects('E_ARGUMENT', () => evaluate(model, { kind: 'labels' } as never, {} as never));
  await rejects('E_ARGUMENT', () => evaluate(model, {} as never, { store: {} } as never));
  for (const done of [5, [1]]) {
    const options = { arms: here.parseArms('zero-shot'), template: here.TEMPLATES.sst2, pool: 1, test: 1, done };
    const labelled = {
      kind: 'labels',
      labels: LABELS,
      train: [{ input: 'b', output: 'dog' }],
      dev: [],
      test: [{ input: 'a', output: 'cat' }],
    };
    assert.match(
      (await rejects('E_ARGUMENT', () => evaluate(model, labelled as never, options as never))).message,
      'done',
    );
  }
  // it goes on
  assert.ok(LABELS.includes((await show.ask('c :')).label!));
  assert.is(linkOf(engine).ended, null);
  await engine.close();
});

test.run();
