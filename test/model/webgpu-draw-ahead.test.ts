// device: webgpu — only there a pass begins before a token that was drawn is read
/** Texts that are drawn while passes run ahead: those that the program draws of the same logits, and passes that are not wanted leave nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WebGpuDevice } from '../../src/device/webgpu/webgpu-device.ts';
import type { GenerateOptions } from '../../src/model/generate/options.ts';
import { openLocal } from '../../src/open-local.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

const device = await WebGpuDevice.create({ debug: true });
const model = await openLocal(await modelTarget('models/nano-base'), { device });
const { decoder } = model;

let ahead = 0;
const behind = decoder.forwardAhead.bind(decoder);
decoder.forwardAhead = (...args) => {
  ahead++;
  return behind(...args);
};

/** The same without a pass ahead: the program draws. */
async function plainly<T>(run: () => Promise<T>): Promise<T> {
  Object.defineProperty(decoder, 'canRunAhead', { value: false, configurable: true });
  return run().finally(() => Reflect.deleteProperty(decoder, 'canRunAhead'));
}

const OPTIONS: readonly GenerateOptions[] = [
  { temperature: 1, seed: 5 },
  { temperature: 0.7, topK: 20, seed: 6 },
  { temperature: 0.9, topP: 0.9, seed: 7 },
  { temperature: 2, topP: 0.98, seed: 8 },
  { temperature: 1, minP: 0.05, seed: 9 },
  { temperature: 0 },
];

test('each kind of draw runs ahead, and gives the text of before', async () => {
  for (const options of OPTIONS) {
    ahead = 0;
    const write = () => model.generate('Once upon a time', { maxTokens: 8, stopAtEos: false, ...options }).result();
    const got = await write();
    assert.ok(ahead >= 6, `${JSON.stringify(options)}: ${ahead} passes ahead`);
    const want = await plainly(write);
    assert.is(got.text, want.text, JSON.stringify(options));
    for (const [i, { logprob, entropy }] of got.tokens.entries()) {
      assert.ok(Math.abs(logprob - want.tokens[i]!.logprob) < 1e-5);
      assert.ok(Math.abs(entropy - want.tokens[i]!.entropy) < 1e-5);
    }
  }
});

test('texts of all kinds beside each other, with one that the program must draw', async () => {
  const prompts = ['Once upon a time', 'The little dog', 'Lily and Tom', 'In the garden', 'One day a bird', 'Tom'];
  const items = prompts.map((prompt, i) => ({ prompt, maxTokens: 3 + i, ...OPTIONS[i]! }));
  const write = (list: typeof items) => model.generateBatch(list, { batch: 4 }).texts();
  ahead = 0;
  const got = await write(items);
  assert.ok(ahead > 2, `${ahead} passes ahead`);
  assert.equal(got, await plainly(() => write(items)));
  const penal = [...items, { prompt: 'A cat', maxTokens: 6, temperature: 1, repetitionPenalty: 1.3, seed: 4 }];
  assert.equal(await write(penal), await plainly(() => write(penal)));
});

test('an abort in the middle leaves nothing', async () => {
  const tensors = device.stats().tensors;
  const stop = new AbortController();
  await rejects('E_ABORTED', async () => {
    for await (const _ of model.generate('Once', { maxTokens: 40, temperature: 1, topP: 0.9, signal: stop.signal })) {
      stop.abort();
    }
  });
  assert.is(device.stats().tensors, tensors);
});

test('nothing is left', () => {
  model.close();
  assert.is(device.stats().tensors, 0, device.liveTensors().join('\n'));
  device.close();
});

test.run();
