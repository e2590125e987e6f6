/** Models in the engine worker: the answers of the same model in this thread, however it was handed over. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Engine, type Model, open } from '../../src/index.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import { host } from '../../src/runtime/host/host.ts';
import { rejects } from '../errors.ts';
import { hasFileSystem, modelTarget } from '../files.ts';
import { tinyFiles } from './tiny-model.ts';

const PROMPT = 'Once upon a time';
const target = await modelTarget('models/nano-base');
const local = await openLocal(target);
const engine = await Engine.create({ lanes: 1 });
const model = await engine.open(target);

/** Two threads may have timed different kernels as the fastest, which round differently. */
function near(a: ArrayLike<number>, b: ArrayLike<number>, bound = 1e-4): void {
  assert.is(a.length, b.length);
  for (let i = 0; i < a.length; i++) assert.ok(Math.abs(a[i]! - b[i]!) <= bound, `${i}: ${a[i]} ${b[i]}`);
}

async function sameText(got: Model, want: LocalModel, prompt: string, maxTokens: number): Promise<void> {
  const [a, b] = [
    await got.generate(prompt, { maxTokens }).result(),
    await want.generate(prompt, { maxTokens }).result(),
  ];
  assert.equal(
    a.tokens.map(({ id, text }) => [id, text]),
    b.tokens.map(({ id, text }) => [id, text]),
  );
  for (const field of ['logprob', 'entropy'] as const) {
    near(
      a.tokens.map((t) => t[field]),
      b.tokens.map((t) => t[field]),
    );
  }
  assert.is(a.text, b.text);
  assert.is(a.finishReason, b.finishReason);
  assert.is(a.timings.generatedTokens, b.timings.generatedTokens);
  assert.ok(a.timings.decodeTokensPerSecond > 0);
}

test('greedy text is that of the model in this thread', () => sameText(model, local, PROMPT, 48));

test('a model says what it is', () => {
  assert.equal(model.config, local.config);
  assert.is(model.bosId, local.tokenizer.bosId);
  assert.equal(model.eosIds, local.eosIds);
  assert.is(model.vocabSize, local.tokenizer.vocabSize);
  assert.is(model.lanes, 1);
  assert.is(model.description['device'], 'wasm');
  assert.equal(model.description, engine.description);
});

test('text and ids, both ways', async () => {
  for (const options of [{}, { addBos: false }, { addBos: true }]) {
    assert.equal(await model.encode(PROMPT, options), local.encode(PROMPT, options));
  }
  const ids = local.encode('The cat sat.');
  assert.is(await model.decode(ids), local.tokenizer.decode(ids));
  assert.is(
    await model.decode(ids, { skipSpecialTokens: false }),
    local.tokenizer.decode(ids, { skipSpecialTokens: false }),
  );
});

test('scores and embeddings', async () => {
  const text = 'The cat sat on the mat.';
  const [got, want] = [await model.score(text, { tsallisOrder: 1.5 }), await local.score(text, { tsallisOrder: 1.5 })];
  assert.equal(
    got.map(({ id, text, argmax }) => [id, text, argmax]),
    want.map(({ id, text, argmax }) => [id, text, argmax]),
  );
  for (const field of ['logprob', 'entropy', 'tsallis'] as const) {
    near(
      got.map((t) => t[field] ?? 0),
      want.map((t) => t[field] ?? 0),
    );
  }
  assert.is(got[0]!.logprob, null);
  const texts = [text, 'A dog ran.'];
  const [a, b] = [await model.embed(texts, { normalise: true }), await local.embed(texts, { normalise: true })];
  assert.is(a.length, 2);
  for (const [i, vector] of a.entries()) {
    assert.instance(vector, Float32Array);
    near(vector, b[i]!);
  }
});

test('a folder as bytes, as Blobs, and given away', async () => {
  const files = await tinyFiles();
  const sizes = Object.values(files).map((bytes) => bytes.byteLength);
  // a view into a larger buffer, as Node's small files are
  const wide = new Uint8Array(files['config.json']!.byteLength + 20);
  wide.set(files['config.json']!, 10);
  const view = wide.subarray(10, wide.byteLength - 10);
  const here = await openLocal(files);
  const wanted = (await here.generate('abc', { maxTokens: 20 }).result()).text;
  here.close();
  const text = async (given: Parameters<typeof engine.open>[0], transfer?: boolean) => {
    const opened = await engine.open(given, transfer === undefined ? {} : { transfer });
    const out = await opened.generate('abc', { maxTokens: 20 }).text();
    await opened.close();
    return out;
  };
  assert.is(await text({ ...files, 'config.json': view }), wanted);
  assert.equal(
    Object.values(files).map((bytes) => bytes.byteLength),
    sizes,
  );
  const blobs = Object.fromEntries(
    Object.entries(files).map(([name, bytes]) => [name, new Blob([bytes as Uint8Array<ArrayBuffer>])]),
  );
  assert.is(await text(blobs), wanted);
  assert.is(await text({ ...files, 'config.json': view }, true), wanted);
  assert.is(files['model.safetensors']!.byteLength, 0);
  assert.is(view.byteLength, wide.byteLength - 20, 'the rest of its buffer is not given away');
});

if (hasFileSystem) {
  test('a folder as a URL', async () => {
    const opened = await engine.open(new URL('../../models/nano-base', import.meta.url));
    assert.is(
      await opened.generate(PROMPT, { maxTokens: 4 }).text(),
      await model.generate(PROMPT, { maxTokens: 4 }).text(),
    );
    await opened.close();
  });
}

test('two models on one engine, at once', async () => {
  const tiny = await engine.open(await tinyFiles());
  const alone = await tiny.generate('hello', { maxTokens: 40, stopAtEos: false }).text();
  const before = await engine.stats();
  assert.is(before.models, 2);
  const [a, b, scored] = await Promise.all([
    model.generate(PROMPT, { maxTokens: 40 }).text(),
    tiny.generate('hello', { maxTokens: 40, stopAtEos: false }).text(),
    model.score(PROMPT),
  ]);
  assert.is(
    a,
    await local
      .generate(PROMPT, { maxTokens: 40 })
      .result()
      .then((r) => r.text),
  );
  assert.is(b, alone);
  assert.is(scored.length, local.encode(PROMPT).length);
  assert.is((await engine.stats()).generations, 0);
  await tiny.close();
  assert.is((await engine.stats()).models, 1);
  await sameText(model, local, PROMPT, 8);
});

if ((await host()).sharedMemory) {
  test('greedy text with two lanes is that of one', async () => {
    const two = await open(target, { lanes: 2 });
    assert.is(two.lanes, 2);
    await sameText(two, local, PROMPT, 48);
    await two.close();
  });
}

test('lanes are as many as the host has, or one', async () => {
  const { cores, sharedMemory } = await host();
  const auto = await Engine.create();
  assert.is(auto.lanes, sharedMemory ? cores : 1);
  await auto.close();
  if (!sharedMemory) await rejects('E_NO_ISOLATION', () => Engine.create({ lanes: 2 }));
});

test('two engines, at once', async () => {
  const other = await open(await tinyFiles(), { lanes: 1 });
  const [a, b] = await Promise.all([
    model.generate(PROMPT, { maxTokens: 30 }).text(),
    other.generate('hello', { maxTokens: 30 }).text(),
  ]);
  assert.ok(a.length > 0 && b.length > 0);
  await other.close();
  await sameText(model, local, PROMPT, 8);
});

test('a model opened on an engine leaves it open', async () => {
  const opened = await open(await tinyFiles(), { engine });
  const { models } = await engine.stats();
  await opened.close();
  assert.is((await engine.stats()).models, models - 1);
  await rejects('E_ARGUMENT', async () => open(await tinyFiles(), { engine, lanes: 1 }));
});

test('progress comes in order, ends with all, and never after the call', async () => {
  const seen: number[][] = [];
  let settled = false;
  const opened = await engine.open(target, {
    onProgress: (...progress) => {
      assert.not(settled);
      seen.push(progress);
    },
  });
  settled = true;
  const total = seen.at(-1)![1]!;
  assert.ok(total > 16e6);
  assert.ok(seen.every(([loaded, of], i) => of === total && loaded! > (seen[i - 1]?.[0] ?? 0)));
  assert.is(seen.at(-1)![0], total);
  const done: number[] = [];
  await opened.score(PROMPT, { onProgress: (n) => done.push(n) });
  assert.equal(done, [local.encode(PROMPT).length]);
  await opened.close();
  await model.score(PROMPT);
});

test('what a callback throws comes out of the call, and nothing stays behind', async () => {
  const before = await engine.stats();
  const mine = new Error('mine');
  try {
    await engine.open(target, {
      onProgress: () => {
        throw mine;
      },
    });
    assert.unreachable();
  } catch (error) {
    assert.is(error, mine);
  }
  const after = await engine.stats();
  assert.is(after.models, before.models);
  assert.is(after.tensors, before.tensors);
});

test.after(async () => {
  local.close();
  await engine.close();
});
test.run();
