/** Every public call refuses wrong options, prompts and targets with E_ARGUMENT, before it does any work. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { grow as growHere, planGrow as planHere } from '../../src/grow.ts';
import { Engine, type Model, open, openCache } from '../../src/index.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import {
  clusterTexts,
  namedTemplate,
  openShotStore,
  parseArms,
  poolOptionsOf,
  readTask,
  reportArms,
  ShotPool,
  templateOf,
  vote,
} from '../../src/show.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';

/** An options object is wrong, whatever function takes it. */
const WRONG: readonly unknown[] = [null, 5, 'x', [], { nothing_like_it_here: 1 }, { signal: new AbortController() }];

async function refuses(call: (options: never) => unknown, wrong: readonly unknown[] = WRONG): Promise<void> {
  for (const options of wrong) await rejects('E_ARGUMENT', () => call(options as never));
}

let engine: Engine;
let model: Model;
let local: LocalModel;
let device: WasmDevice;
const both = (): readonly [Model, LocalModel] => [model, local];

test.before(async () => {
  engine = await Engine.create({ lanes: 1 });
  device = await WasmDevice.create();
  model = await engine.open(await tinyFiles());
  local = await openLocal(await tinyFiles(), { device });
});

test('opening: options are looked at before the model', async () => {
  // a target that does not exist would be another error
  const nowhere = { 'config.json': new Uint8Array() };
  const wrong: [object, RegExp][] = [
    [{ precison: 'int8' }, /no option precison; did you mean precision\?/],
    [{ precision: 'int4' }, /precision is "int4"/],
    [{ precision: 42 }, /precision is 42/],
    [{ contextLength: '2048' }, /contextLength is "2048"/],
    [{ nCtx: 2048 }, /did you mean contextLength\?/],
    [{ hub: { retries: -1 } }, /hub\.retries is -1/],
    [{ hub: 'token' }, /hub is "token"/],
    [{ cache: 5 }, /cache is 5/],
    [{ onProgress: true }, /onProgress is true/],
  ];
  for (const [options, says] of wrong) {
    for (const call of [open, openLocal, engine.open.bind(engine)]) {
      assert.match((await rejects('E_ARGUMENT', () => call(nowhere, options as never))).message, says);
    }
  }
  await refuses((options) => open(nowhere, options));
  await refuses((options) => openLocal(nowhere, options));
  await refuses((options) => openCheckpoint(nowhere, options), [...WRONG, { contextLength: 5 }, { cache: {} }]);
  await refuses((options) => engine.open(nowhere, options));
  await refuses((options) => open(nowhere, options), [{ memoryLimit: Number.NaN }, { lanes: 'two' }, { engine: {} }]);
  for (const target of [undefined, null, 5, '', [], true, new Map(), { 'config.json': 'text' }])
    for (const call of [open, openLocal, engine.open.bind(engine)])
      await rejects('E_ARGUMENT', () => call(target as never));
});

test('engines and devices', async () => {
  const numbers = [Number.NaN, 'x', 2 ** 33, 0, -1].map((memoryLimit) => ({ memoryLimit }));
  const lanes = [0, 1.5, 'two', 1e9].map((count) => ({ lanes: count }));
  await refuses((options) => Engine.create(options), [...WRONG, ...numbers, ...lanes, { relaxed: 1 }, { show: 1 }]);
  await refuses((options) => WasmDevice.create(options), [...WRONG, ...numbers, ...lanes, { wasmLocation: 'here' }]);
});

test('addresses: of the kernels, workers and hubs, and the path or file URL of a folder', async () => {
  // in a page such an address is one beside it
  const page = 'document' in globalThis;
  for (const location of page ? ['http://'] : ['somewhere', './here', 'x'.repeat(1e5)]) {
    for (const name of ['wasmLocation', 'workerLocation']) {
      const error = await rejects('E_ARGUMENT', () => Engine.create({ [name]: location }));
      assert.ok(error.message.length < 200);
    }
  }
  const nowhere = { 'config.json': new Uint8Array() };
  const hubs = [{ endpoint: 'word' }, { endpoint: '' }, { endpoint: 'ftp://x/' }, { token: 'ä' }, { token: 'a b' }];
  const times = [{ timeout: 2 ** 31 }, { timeout: 0 }, { retryDelay: 1e10 }, { timeout: Number.POSITIVE_INFINITY }];
  for (const hub of [...hubs, ...times]) {
    const error = await rejects('E_ARGUMENT', () => openLocal(nowhere, { hub }));
    assert.match(error.message, /^hub\.\w+ is /);
    assert.not.match(error.message, 'ä');
  }
  if (page) return; // which has no folders
  for (const place of ['https://example.com/x', 'file://host/x', 'file:///a%2Fb']) {
    for (const given of [place, new URL(place)]) {
      for (const grow of [growHere, planHere]) {
        const error = await rejects('E_ARGUMENT', () => grow('models/nano-base', { out: given }));
        assert.match(error.message, /^out is |no address of a file/);
      }
      await rejects('E_ARGUMENT', () => readTask('trec', { path: given }));
      if (/^file/.test(place)) await rejects('E_ARGUMENT', () => openLocal(given));
    }
    await rejects('E_ARGUMENT', () => openShotStore(place));
    await rejects('E_ARGUMENT', () => openCache(place));
  }
});

test('bytes that were given away before', async () => {
  const bytes = new Uint8Array(8);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  for (const target of [bytes, { 'config.json': bytes }]) {
    for (const call of [open, openLocal, engine.open.bind(engine)]) {
      assert.match((await rejects('E_ARGUMENT', () => call(target))).message, 'given away before');
    }
  }
});

test('what cannot be sent to a worker', async () => {
  const getter = {
    get content(): string {
      throw new Error('thrown by a getter');
    },
  };
  const conversation = [{ role: 'user', content: 'x' }];
  const calls = [
    () => model.encodeChat(conversation, { variables: getter }),
    () => model.encodeChat(conversation, { variables: { call: () => 1 } }),
    () =>
      model.encodeChat([Object.defineProperties({ role: 'user' }, Object.getOwnPropertyDescriptors(getter))] as never),
  ];
  for (const call of calls) assert.match((await rejects('E_ARGUMENT', call)).message, 'of encodeChat cannot be sent');
  const generation = model.generate(conversation, { chat: { variables: { call: () => 1 } } });
  assert.match((await rejects('E_ARGUMENT', () => generation.text())).message, 'of generate cannot be sent');
});

test('generate: options', async () => {
  for (const on of both()) {
    const run = (options: unknown) => on.generate('abc', options as never).result();
    await refuses(run, [
      ...WRONG,
      { max_new_tokens: 2 },
      { maxTokens: 0 },
      { stop: [5] },
      { stop: '' },
      { onProgress: () => {} },
      { addBos: 'yes' },
    ]);
    assert.match((await rejects('E_ARGUMENT', () => run({ max_new_tokens: 2 }))).message, 'maxTokens?');
  }
});

test('generate throws nothing at the call on an engine: what is wrong comes out where the text would', async () => {
  const generation = model.generate('abc', { topK: -1 });
  const iterated = model.generate(5 as never);
  await rejects('E_ARGUMENT', () => generation.text());
  await rejects('E_ARGUMENT', async () => {
    for await (const _ of iterated) assert.unreachable();
  });
  await rejects('E_ARGUMENT', () => iterated.result());
});

test('a conversation takes the options of its template; another prompt does not', async () => {
  const messages = [{ role: 'user', content: 'ab<|end|>' }];
  const inText = await model.encodeChat(messages);
  const asTokens = await model.encodeChat(messages, { specialTokensInContent: true });
  assert.is.not(inText.length, asTokens.length);
  for (const on of both()) {
    const read = async (options: object) =>
      (await on.generate(messages, { maxTokens: 1, ...options }).result()).timings.promptTokens;
    assert.is(await read({}), inText.length);
    assert.is(await read({ chat: {} }), inText.length);
    assert.is(await read({ chat: { specialTokensInContent: true } }), asTokens.length);
    const wrong = [
      { tool: [] },
      { tools: {} },
      { tools: [5] },
      { documents: 'x' },
      { specialTokensInContent: 1 },
      null,
      [],
    ];
    await refuses((chat) => read({ chat }), wrong);
    assert.match((await rejects('E_ARGUMENT', () => read({ chat: { tool: [] } }))).message, 'did you mean tools?');
    for (const prompt of ['abc', [2, 3]]) await rejects('E_ARGUMENT', () => on.generate(prompt, { chat: {} }).result());
  }
});

test('a text to stop at, alone or in a list', async () => {
  for (const on of both()) {
    const plain = await on.generate('abc', { maxTokens: 12, stopAtEos: false }).result();
    const at = plain.text.slice(4, 6);
    const want = plain.text.slice(0, plain.text.indexOf(at));
    for (const stop of [at, [at], [at, 'nowhere']]) {
      const { text, finishReason } = await on.generate('abc', { maxTokens: 12, stopAtEos: false, stop }).result();
      assert.is(text, want);
      assert.is(finishReason, 'stop');
    }
  }
});

test('prompts', async () => {
  const { vocabSize } = model.config;
  const ids: unknown[] = [
    [],
    [1.5],
    [-1],
    [vocabSize],
    ['1'],
    [1, null],
    [1, undefined],
    [[1]],
    [Number.NaN],
    [1, 'a'],
    [1n],
  ];
  ids.push(
    Object.assign([1], { 2: 2 }), // a hole
    new Array(3),
    new Float32Array([1]),
    new BigInt64Array([1n]),
    new Int32Array(0),
    Int32Array.of(-1),
  );
  const nothing: unknown[] = [undefined, null, 5, true, {}, () => 'abc', new Date(), new Set([1]), Object('abc'), 5n];
  for (const on of both()) {
    const run = (prompt: unknown) => on.generate(prompt as never, { maxTokens: 2 }).result();
    await refuses(run, [...nothing, ...ids, '', ['abc'], ['a', 'b']]);
    await refuses(run, [
      { role: 'user', content: 'x' },
      [{ content: 'x' }],
      [{ role: 5, content: 'x' }],
      [{ role: '' }],
    ]);
    await refuses(run, [
      [{ role: 'user', content: 'x' }, null],
      [{ role: 'user', content: 'x' }, 'y'],
      [{ role: 'user' }],
    ]);
    await refuses((text) => on.score(text), [...nothing, ...ids, '']);
    await refuses(
      (text) => on.embed(text),
      [...nothing.filter((x) => !(x instanceof Date)), [''], [5, 'a'], [null], [[]]],
    );
    await refuses((text) => on.encodeChat(text), [...nothing, 'abc', [5], [null], [{ content: 'x' }]]);
    await refuses((text) => on.encode(text), [...nothing, ['abc'], [1]]);
    assert.match((await rejects('E_ARGUMENT', () => run({ role: 'user', content: 'x' }))).hint, 'into a list');
    assert.match((await rejects('E_ARGUMENT', () => run([1, vocabSize]))).hint, `to ${vocabSize - 1}`);
  }
  await refuses((text) => local.expertLoad(text), [...nothing, ...ids]);
  await refuses((given) => model.decode(given), [undefined, null, 5, 'abc', ['1'], [1.5], [Number.NaN], [null], {}]);
  await refuses((given) => local.tokenizer.decode(given), [undefined, null, 5, 'abc', ['1'], [1.5], {}]);
  assert.is(await model.decode([2, 3, 1e6]), 'ab'); // ids that nobody has are passed over, as before
});

test('ids in typed arrays are ids', async () => {
  for (const on of both()) {
    const want = (await on.generate([2, 3, 4], { maxTokens: 4 }).result()).text;
    for (const ids of [Int32Array.of(2, 3, 4), Uint32Array.of(2, 3, 4), Uint16Array.of(2, 3, 4)]) {
      assert.is((await on.generate(ids, { maxTokens: 4 }).result()).text, want);
      assert.is((await on.score(ids)).length, 3);
      assert.equal((await on.embed([ids, [2, 3, 4]])).length, 2);
    }
  }
  assert.is(await model.decode(Int32Array.of(2, 3)), 'ab');
});

test('the other calls of a model: options', async () => {
  const messages = [{ role: 'user', content: 'ab' }];
  for (const on of both()) {
    await refuses((options) => on.score('abc', options), [...WRONG, { tsallisOrder: 0 }, { tsallis_order: 1 }]);
    await refuses((options) => on.embed('abc', options), [...WRONG, { pool: 'max' }, { layer: -1 }, { layer: 99 }]);
    await refuses((options) => on.encode('abc', options), [...WRONG, { addBos: 1 }, { add_bos: true }]);
    await refuses((options) => on.encodeChat(messages, options), [...WRONG, { variables: [] }, { now: new Date('x') }]);
  }
  await refuses((options) => model.decode([2], options), [...WRONG, { skip_special_tokens: true }]);
  await refuses((options) => local.tokenizer.encode('a', options));
  await refuses((options) => local.tokenizer.decode([2], options));
  await refuses((options) => local.expertLoad('abc', options));
});

test.after(async () => {
  await engine.close();
  local.close();
  device.close();
});
test('what stands before the options of showing', async () => {
  const pool = await ShotPool.build(local, [{ id: 'a', text: 'b' }]);
  const lists = [undefined, null, 5, 'a', {}, [5], [null], new Array(1)];
  await refuses((ids) => pool.encode(ids), lists);
  await refuses((ids) => pool.use(ids, async () => null), lists);
  await refuses((ids) => pool.prepare(ids), lists.slice(1));
  await refuses((options) => pool.prepare(['a'], options));
  await refuses(async (ids) => pool.remove(ids), lists);
  await refuses(async (shot) => pool.replace(shot), [null, 5, {}, { id: 'a' }]);
  await refuses((options) => pool.encode(['a'], options));
  pool.close();
  await refuses(async (format) => templateOf(format), ['trek', 5, null]);
  await refuses(async (preset) => poolOptionsOf(preset), ['x', 5, null]);
  await refuses(
    async (neighbours) => vote(neighbours),
    [null, 5, [null], [{ label: 'a' }], [{ label: 'a', score: Number.NaN }]],
  );
  await refuses(async (records) => reportArms(parseArms('zero-shot'), records), [null, 5, [null], ['x'], [{}]]);
  await refuses(async (texts) => clusterTexts(texts, 1), [null, 5, 'ab', [null]]);
  await refuses(
    async (segments) => local.tokenizer.encodeSegments(segments),
    [null, 'x', [null], [{ text: 5, plain: true }], [{ text: 'x' }]],
  );
  for (const call of [() => parseArms('x'.repeat(1e5)), () => namedTemplate('x'.repeat(1e5))])
    assert.ok((await rejects('E_ARGUMENT', async () => call())).message.length < 200);
});

test.run();
