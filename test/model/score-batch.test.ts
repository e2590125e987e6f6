/** Scores of several texts at once: each to the bit what it is alone. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { scoreTokens } from '../../src/model/score.ts';
import { scoreEach } from '../../src/model/score-each.ts';
import { runOf } from '../../src/model/text-runs.ts';
import { openLocal } from '../../src/open-local.ts';
import { stored } from '../device/sources.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { tinyDecoder } from './tiny.ts';

const device = await WasmDevice.create({ debug: true });
const nano = await openLocal(await modelTarget('models/nano-base'), { device });
const decoders = new Map([['nano-base', nano.decoder]]);
for (const name of ['gemma3', 'mistral-window', 'moe-mixtral', 'gguf-llama-q4_1']) {
  decoders.set(name, await tinyDecoder(name, device, 'exact'));
}
decoders.set('gguf-llama-q4_1, int8', await tinyDecoder('gguf-llama-q4_1', device, 'int8'));
// codes in nothing but the output matrix
const head = await device.loadMatrix(stored('q4_1', nano.config.vocabSize, nano.config.hiddenSize, 1));
const weights = { ...nano.decoder.weights, head, dispose: () => head.dispose() };
decoders.set('nano-base with a head of q4_1, int8', new Decoder(device, nano.config, weights, 'int8'));
for (const { ropes, config } of decoders.values()) ropes.forward(config.maxPositions);
const resting = device.stats().tensors;

/** One row left over of 32, one token alone, more than a pass takes, and what just fits. */
const LENGTHS = [5, 2, 33, 1, 65, 7, 31, 32, 64, 300, 140, 90, 513, 3, 700, 2, 2, 97];

for (const [name, decoder] of decoders) {
  test(`each text has the scores that it has alone: ${name}`, async () => {
    const { vocabSize, maxPositions } = decoder.config;
    const texts = LENGTHS.filter((length) => length <= maxPositions).map((length, t) =>
      Array.from({ length }, (_, i) => (i * 7919 + t * 31) % vocabSize),
    );
    let passes = 0;
    const each = decoder.forwardEach.bind(decoder);
    decoder.forwardEach = (...args) => {
      passes++;
      return each(...args);
    };
    const most = texts.filter(({ length }) => length < 300);
    for (const [list, options] of [
      [most, {}],
      [texts, { tsallisOrder: 2, top: 3 }],
    ] as const) {
      const told: number[] = [];
      const got = await scoreEach(decoder, list, { ...options, onProgress: (done) => told.push(done) });
      for (const [i, ids] of list.entries()) {
        assert.equal(got[i], await scoreTokens(decoder, ids, options), `${ids.length} tokens`);
      }
      assert.is(told.at(-1), list.length);
    }
    assert.is(passes > 0, decoder.rowsIndependent, 'passes are shared');
    assert.is(device.stats().tensors, resting);
    decoder.forwardEach = each;
  });
}

/** Questions with several answers, which begin alike; some alone, of one token, and longer than a pass. */
function families(vocabSize: number, maxPositions: number): number[][] {
  const id = (seed: number) => (i: number) => ((i + 3) * 7919 * (seed + 1) + seed) % vocabSize;
  const list = (length: number, seed: number) => Array.from({ length }, (_, i) => id(seed)(i));
  const question = (length: number, answers: readonly number[], seed: number) =>
    answers.map((answer, i) => [...list(length, seed), ...list(answer, seed + i + 1)]);
  const all = [
    ...question(20, [12, 3, 33, 2, 45, 12, 7], 1),
    ...question(9, [23, 24, 4], 20),
    [5],
    // the end of a prefix at every place of a slice of rows, answers of one token
    ...question(33, [1, 30, 1, 32], 30),
    ...question(8, [2, 2], 40),
    ...question(7, [30, 31], 50),
    // more than a pass takes, behind the beginning and in it
    ...question(60, [180, 170, 200], 60),
    ...question(515, [3, 3], 70),
    ...question(40, [60, 60], 90).map((ids) => ids.slice(0, 60)),
    ...[list(30, 95), list(30, 95)],
  ];
  return all.filter(({ length }) => length <= maxPositions);
}

for (const [name, decoder] of decoders) {
  test(`texts that begin alike have the scores that they have alone: ${name}`, async () => {
    const { vocabSize, maxPositions } = decoder.config;
    const texts = families(vocabSize, maxPositions);
    let rows = 0;
    const each = decoder.forwardEach.bind(decoder);
    decoder.forwardEach = (parts, ...more) => {
      rows += parts.reduce((sum, { ids }) => sum + ids.length, 0);
      return each(parts, ...more);
    };
    const options = { tsallisOrder: 2, top: 3 };
    const got = await scoreEach(decoder, texts, options);
    const shared = rows;
    for (const [i, ids] of texts.entries()) {
      assert.equal(got[i], await scoreTokens(decoder, ids, options), `text ${i} of ${ids.length} tokens`);
    }
    assert.is(device.stats().tensors, resting);
    decoder.forwardEach = each;
    if (!decoder.rowsIndependent) return;
    const tokens = texts.filter(({ length }) => length <= 512).reduce((sum, { length }) => sum + length, 0);
    assert.ok(shared < 0.8 * tokens, `${shared} rows for ${tokens} tokens`);
  });
}

test('a run of texts: as many as save the most, two tokens of each behind what they share', () => {
  const from = (...lengths: readonly (readonly [number, number])[]) =>
    lengths.map(([shared, own], i) => [...Array(shared).keys(), ...Array.from({ length: own }, () => 1000 + i)]);
  const facts = (texts: number[][], room = 512) => {
    const { texts: some, prefix } = runOf(texts, 0, room);
    return [some.length, prefix];
  };
  assert.equal(facts(from([20, 5], [20, 6], [20, 7])), [3, 20]);
  assert.equal(facts(from([20, 5], [20, 6], [12, 7])), [3, 12], '24 are more than 20');
  assert.equal(facts(from([20, 5], [20, 6], [9, 7])), [2, 20], '18 are less');
  assert.equal(facts(from([7, 5], [7, 6])), [1, 0], 'too few');
  assert.equal(facts(from([20, 1], [20, 6])), [2, 19]);
  assert.equal(facts(from([20, 5], [20, 6], [20, 7]), 12), [2, 20], 'room for 11 tokens and no 18');
  assert.equal(facts(from([20, 5], [20, 6]), 0), [1, 0]);
});

test('the likeliest tokens: their order, and the log-probabilities that the tokens themselves have', async () => {
  const ids = nano.encode('Once upon a time there was a dog.');
  const plain = await nano.score(ids);
  const scored = await nano.score(ids, { top: 64 });
  for (const [t, { top, argmax, logprob }] of scored.entries()) {
    assert.is(top!.length, 64);
    assert.is(top![0]!.id, argmax);
    assert.is(top![0]!.text, nano.tokenizer.tokenText(argmax));
    for (let i = 1; i < 64; i++) assert.ok(top![i]!.logprob <= top![i - 1]!.logprob);
    const own = scored[t - 1]?.top?.find(({ id }) => id === ids[t]);
    if (own) assert.ok(Math.abs(own.logprob - logprob!) < 1e-5);
    assert.equal({ ...scored[t], top: null }, plain[t]);
  }
  assert.ok(scored.slice(1).filter((_, t) => scored[t]!.top!.some(({ id }) => id === ids[t + 1])).length > 5);
  await rejects('E_ARGUMENT', () => nano.score(ids, { top: 65 }));
});

test('the model takes texts and ids, and says which text is wrong', async () => {
  const texts = ['Once upon a time', nano.encode('there was'), 'x'];
  const want = [];
  for (const text of texts) want.push(await nano.score(text));
  assert.equal(await nano.scoreBatch(texts), want);
  assert.equal(await nano.scoreBatch([]), []);
  for (const wrong of ['text', [1, 2], null, ['a', 7], ['a', []], ['a', [nano.config.vocabSize]]]) {
    await rejects('E_ARGUMENT', () => nano.scoreBatch(wrong as never));
  }
  await rejects('E_CONTEXT_LENGTH', () => nano.scoreBatch(['a', new Array(nano.config.maxPositions + 1).fill(5)]));
  await rejects('E_ABORTED', () => nano.scoreBatch(texts, { signal: AbortSignal.abort() }));
  assert.is(device.stats().tensors, resting);
});

test('nothing is left', () => {
  for (const decoder of decoders.values()) decoder.dispose();
  nano.close();
  assert.is(device.stats().tensors, 0);
  device.close();
});

test.run();
