/** Passes that begin before the last one's tokens are read: the same texts, and nothing is left of those that were not wanted. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { GenerateOptions } from '../../src/model/generate/options.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

const target = await modelTarget('models/nano-base');
const plain = await openLocal(target);
/** The same device, said to compute while the program goes on: what it gives is the same then. */
const device = Object.defineProperty(await WasmDevice.create({ debug: true }), 'asynchronous', { value: true });
const model = await openLocal(target, { device });

let passes = 0;
let ahead = 0;
const { decoder } = model;
const [each, behind] = [decoder.forwardEach.bind(decoder), decoder.forwardAhead.bind(decoder)];
decoder.forwardEach = (...args) => {
  passes++;
  return each(...args);
};
decoder.forwardAhead = (...args) => {
  ahead++;
  return behind(...args);
};

const write = (of: LocalModel, prompt: string, options: GenerateOptions) => of.generate(prompt, options).result();
await write(model, 'Once', { maxTokens: 2, temperature: 0 });
const resting = device.stats().tensors;

const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    [passes, ahead] = [0, 0];
    const mark = device.mark();
    await run();
    assert.is(device.stats().tensors, resting, `tensors left:\n${device.liveTensors().slice(resting).join('\n')}`);
    assert.equal(device.mark(), mark, 'scratch left');
  });

on('the likeliest text is the same, with a pass for each token and none too many', async () => {
  const options = { maxTokens: 24, temperature: 0, stopAtEos: false };
  const got = await write(model, 'Once upon a time', options);
  const want = await write(plain, 'Once upon a time', options);
  assert.is(got.text, want.text);
  assert.equal(
    got.tokens.map(({ logprob }) => logprob),
    want.tokens.map(({ logprob }) => logprob),
  );
  // the prompt, the token behind it, and the rest ahead
  assert.equal([passes, ahead], [2, 22]);
});

on('a text that is drawn does not run ahead', async () => {
  const options = { maxTokens: 12, temperature: 1, seed: 5 };
  assert.is((await write(model, 'The cat', options)).text, (await write(plain, 'The cat', options)).text);
  assert.is(ahead, 0);
});

on('an end, a stop and an abort leave nothing behind, and the next text is right', async () => {
  const long = await write(plain, 'Once upon a time', { maxTokens: 40, temperature: 0 });
  const word = long.text.split(' ').filter((w) => w !== '')[5]!;
  const stopped = await write(model, 'Once upon a time', { maxTokens: 40, temperature: 0, stop: word });
  assert.is(stopped.finishReason, 'stop');
  const stop = new AbortController();
  await rejects('E_ABORTED', async () => {
    for await (const _ of model.generate('Once upon a time', { maxTokens: 40, temperature: 0, signal: stop.signal })) {
      stop.abort();
    }
  });
  for await (const _ of model.generate('Once upon a time', { maxTokens: 40, temperature: 0 })) break;
  assert.is((await write(model, 'Once upon a time', { maxTokens: 40, temperature: 0 })).text, long.text);
});

on('texts that come and go beside each other', async () => {
  const prompts = ['Once upon a time', 'The little dog', 'Lily and Tom', 'In the garden', 'One day a bird'];
  const items = prompts.map((prompt, i) => ({
    prompt,
    maxTokens: 6 + 5 * i,
    temperature: i === 3 ? 0.8 : 0,
    seed: i,
  }));
  const texts = await model.generateBatch(items, { batch: 3 }).texts();
  const alone: string[] = [];
  for (const { prompt, ...options } of items) alone.push((await write(plain, prompt, options)).text);
  assert.equal(texts, alone);
  assert.ok(ahead > 10, `${ahead} passes ahead`);
});

on('a pass ahead that cannot be does not end the text', async () => {
  const options = { maxTokens: 12, temperature: 0, stopAtEos: false };
  const want = await write(plain, 'Once upon a time', options);
  const real = decoder.forwardAhead;
  decoder.forwardAhead = () => Promise.reject(new Error('no room'));
  const got = await write(model, 'Once upon a time', options).finally(() => {
    decoder.forwardAhead = real;
  });
  assert.is(got.text, want.text);
  assert.equal([passes, ahead], [12, 0]);
});

on('a text that ends with its context', async () => {
  const { maxPositions } = decoder.config;
  const prompt = Array.from({ length: maxPositions - 5 }, (_, i) => 300 + (i % 50));
  const run = (of: LocalModel) => of.generate(prompt, { maxTokens: 50, temperature: 0, stopAtEos: false }).result();
  const [got, want] = [await run(model), await run(plain)];
  assert.equal(
    got.tokens.map(({ id }) => id),
    want.tokens.map(({ id }) => id),
  );
  assert.is(got.finishReason, 'length');
});

test('nothing is left', () => {
  model.close();
  plain.close();
  assert.is(device.stats().tensors, 0);
  device.close();
});

test.run();
