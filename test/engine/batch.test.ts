/** Batches in the worker: what each becomes, what is told, and what is freed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Engine } from '../../src/index.ts';
import { code, rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { tinyFiles } from './tiny-model.ts';

const engine = await Engine.create({ lanes: 1 });
const model = await engine.open(await tinyFiles());
await model.score('abc'); // the RoPE table is made
const resting = (await engine.stats()).tensors;

const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    await run();
    const { tensors, generations } = await engine.stats();
    assert.is(generations, 0);
    assert.is(tensors, resting);
  });

const items = Array.from({ length: 12 }, (_, i) => ({
  prompt: 'abcdefghij'.slice(0, 1 + (i % 5)),
  maxTokens: 4 + i,
  ...(i % 2 === 0 && { temperature: 1, seed: i }),
}));

on('a batch is what its prompts become one by one', async () => {
  const want = [];
  for (const { prompt, ...options } of items) want.push(await model.generate(prompt, options).result());
  const told = new Map<number, string>();
  const onToken = (index: number, { text }: { text: string }) => told.set(index, (told.get(index) ?? '') + text);
  const results = await model.generateBatch(items, { onToken, stopAtEos: true }).results();
  for (const [i, { index, text, tokens, finishReason, error }] of results.entries()) {
    assert.is(error, null);
    assert.is(index, i);
    const { timings, ...facts } = want[i]!;
    assert.equal({ text, tokens, finishReason }, facts);
    assert.is(told.get(i) ?? '', text);
  }
  assert.equal(
    await model.generateBatch(items).texts(),
    want.map(({ text }) => text),
  );
});

on('what fails is said beside it, and leaving the loop frees all', async () => {
  const mixed = ['ab', { prompt: 'ab', temperature: -1 }, '', { prompt: 'ab', signal: AbortSignal.abort() }, 'ba'];
  const results = await model.generateBatch(mixed, { maxTokens: 5, addBos: false }).results();
  assert.equal(
    results.map(({ error }) => error?.code ?? null),
    [null, 'E_ARGUMENT', 'E_ARGUMENT', 'E_ABORTED', null],
  );
  for await (const _ of model.generateBatch(items, { maxTokens: 200, stopAtEos: false })) break;
  assert.throws(() => model.generateBatch('ab' as never), code('E_ARGUMENT'));
  await rejects('E_ABORTED', () => model.generateBatch(items, { signal: AbortSignal.abort() }).results());
});

on('a prompt that begins like a recent one computes only what is new, and says so', async () => {
  const prompt = 'abcdefghij'.repeat(5);
  const { promptBytes: before } = await engine.stats();
  const plain = await engine.open(await tinyFiles(), { promptCache: 0 });
  try {
    for (const [model_, want] of [
      [model, [0, 40]],
      [plain, [0, 0]],
    ] as const) {
      for (const reused of want) {
        const result = await model_.generate(prompt, { maxTokens: 3, addBos: false }).result();
        assert.is(result.timings.reused, reused);
        assert.is(result.timings.promptTokens, 50);
        assert.is(result.text, await plain.generate(prompt, { maxTokens: 3, addBos: false }).text());
      }
    }
    // f32 keys and values of whole blocks of the prompt, once
    const { nLayers, nKvHeads, headDim } = model.config;
    const { promptBytes } = await engine.stats();
    assert.is((promptBytes - before) / (8 * nLayers * nKvHeads * headDim), 40);
  } finally {
    await plain.close();
  }
});

test('and so it does over as many lanes as there are, to the same bits', async () => {
  const wide = await Engine.create();
  try {
    const target = await modelTarget('models/nano-base');
    const reusing = await wide.open(target);
    const plain = await wide.open(target, { promptCache: 0 });
    const ids = Array.from({ length: 230 }, (_, i) => 1 + ((i * 7919) % 500));
    await reusing.generate(ids.slice(0, 205), { maxTokens: 1 }).result();
    const got = await reusing.generate(ids, { maxTokens: 6 }).result();
    const want = await plain.generate(ids, { maxTokens: 6 }).result();
    assert.is(got.timings.reused, 200);
    assert.equal(got.tokens, want.tokens);
  } finally {
    await wide.close();
  }
});

on('scores of several texts are those of each', async () => {
  const texts = ['abc', 'ab', [1, 2, 3]];
  const want = [];
  for (const text of texts) want.push(await model.score(text));
  const told: number[] = [];
  assert.equal(await model.scoreBatch(texts, { onProgress: (done) => void told.push(done) }), want);
  assert.is(told.at(-1), 3);
  await rejects('E_ARGUMENT', () => model.scoreBatch('abc' as never));
});

test('a batch ends with its engine', async () => {
  const running = model.generateBatch(items, {
    maxTokens: 200,
    stopAtEos: false,
    onToken: () => void engine.close(),
  });
  await rejects('E_DISPOSED', () => running.results());
});

test.run();
