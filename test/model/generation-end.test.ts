/** How a generation ends before its time: aborts, loops that are left, what cannot be, and closed models. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { GenerateOptions } from '../../src/model/generate/options.ts';
import type { KvCache } from '../../src/model/kv-cache.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { isFirefox } from '../engine/tiny-model.ts';
import { code, rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

const nano = await modelTarget('models/nano-base');
const worst = new Worst();
const device = await WasmDevice.create({ debug: true });
const model = await openLocal(nano, { device });
const PROMPT = 'Once upon a time';
/** The weights, and the RoPE table, which is made by the first run. */
await model.score(PROMPT);
const resting = device.stats().tensors;
/** Layers begun so far; a last layer that gives out no row, as those of a prompt's first chunks, does not count. */
let layers = 0;
const attention = device.attention.bind(device);
device.attention = (args) => {
  layers++;
  attention(args);
};

/**
 * Runs it behind what waits already. Where a page is young, Firefox lets its timers wait for everything else, whatever its prefs say: there it is a
 * message, which takes its turn as a click does.
 */
function soon(then: () => void): void {
  if (!isFirefox()) setTimeout(then, 0);
  else {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      then();
    };
    port2.postMessage(null);
  }
}

const ids = (tokens: readonly { id: number }[]) => tokens.map((t) => t.id);
const full = (prompt: string, options: GenerateOptions = {}) => model.generate(prompt, options).result();
const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    const mark = device.mark();
    await run();
    assert.is(device.stats().tensors, resting, `tensors left:\n${device.liveTensors().slice(resting).join('\n')}`);
    assert.equal(device.mark(), mark, 'scratch left');
  });

on('a signal that has fired aborts before anything is done', async () => {
  const controller = new AbortController();
  controller.abort(new Error('no'));
  const { peakBytes } = device.stats();
  await rejects('E_ABORTED', () => model.generate(PROMPT, { signal: controller.signal }).result());
  await rejects('E_ABORTED', () => model.score(PROMPT, { signal: controller.signal }));
  await rejects('E_ABORTED', async () => {
    for await (const _ of model.generate(PROMPT, { signal: controller.signal })) assert.unreachable();
  });
  assert.is(device.stats().peakBytes, peakBytes);
});

on('what waits for its turn aborts in the middle of a text: the event loop gets its turns', async () => {
  const controller = new AbortController();
  let count = 0;
  let fired = 0;
  await rejects('E_ABORTED', async () => {
    for await (const _ of model.generate(PROMPT, { maxTokens: 1500, stopAtEos: false, signal: controller.signal })) {
      if (++count > 1) continue;
      soon(() => {
        fired = count;
        controller.abort();
      });
    }
  });
  assert.ok(fired > 0 && count <= fired + 1, `fired after ${fired} tokens, ended after ${count}`);
  console.log(`  aborted after ${fired} tokens`);
});

on('what waits for its turn aborts in the middle of a long prompt, within a layer', async () => {
  const prompt = Array.from({ length: 2000 }, (_, i) => 100 + ((i * 37) % 5000));
  const runs: [string, (signal: AbortSignal) => Promise<unknown>][] = [
    ['generate', (signal) => model.generate(prompt, { maxTokens: 3, signal }).result()],
    ['score', (signal) => model.score(prompt, { signal })],
    ['embed', (signal) => model.embed(prompt, { signal })],
  ];
  for (const [name, run] of runs) {
    const controller = new AbortController();
    const before = layers;
    let fired = 0;
    soon(() => {
      fired = layers - before;
      controller.abort();
    });
    await rejects('E_ABORTED', () => run(controller.signal));
    const begun = layers - before;
    // four chunks of rows
    assert.ok(fired > 0 && fired < 3 * model.config.nLayers, `${name}: fired after ${fired} layers`);
    assert.ok(begun <= fired + 1, `${name}: fired after ${fired} layers, ended after ${begun}`);
    console.log(`  ${name}: aborted after ${fired} layers`);
  }
});

on(
  'a long prompt in several chunks: one that fails takes back those before, and the whole equals its parts',
  async () => {
    const { decoder } = model;
    const prompt = Array.from({ length: 1300 }, (_, i) => 100 + ((i * 37) % 5000));
    const last = async (cache: KvCache, part: readonly number[]) => {
      let hidden = new Float32Array(0);
      await decoder.forward(part, cache, {
        onChunk: async (t) => {
          hidden = ((await device.read(t)) as Float32Array<ArrayBuffer>).slice(-model.config.hiddenSize);
        },
      });
      return hidden;
    };
    const cache = decoder.cache();
    await last(cache, prompt.slice(0, 100));
    let chunks = 0;
    try {
      await decoder.forward(prompt.slice(100), cache, {
        onChunk: () => {
          if (++chunks === 2) throw new Error('mine');
        },
      });
      assert.unreachable();
    } catch (error) {
      assert.is((error as Error).message, 'mine');
    }
    assert.is(chunks, 2);
    assert.is(cache.length, 100);
    const progress: [number, number][] = [];
    await decoder.forward(prompt.slice(100, 1200), cache, {
      onProgress: (done, total) => progress.push([done, total]),
    });
    assert.equal(progress, [
      [512, 1100],
      [1024, 1100],
      [1100, 1100],
    ]);
    const parts = await last(cache, prompt.slice(1200));
    cache.truncate(0);
    const whole = await last(cache, prompt);
    const error = worstError(parts, whole);
    assert.ok(
      worst.within('1300 tokens in parts against at once: last hidden state, of the largest', error, 1e-4),
      `${error}`,
    );
    cache.dispose();
  },
);

on('leaving the loop frees the cache at once', async () => {
  const generation = model.generate(PROMPT, { maxTokens: 100, stopAtEos: false });
  let count = 0;
  for await (const _ of generation) {
    // one of keys and one of values
    if (count === 0) assert.is(device.stats().tensors, resting + 2);
    if (++count === 4) break;
  }
  assert.is(device.stats().tensors, resting);
  await rejects('E_ARGUMENT', () => generation.result());
  // an error in the loop's body frees it too
  try {
    for await (const _ of model.generate(PROMPT)) throw new Error('mine');
    assert.unreachable();
  } catch (error) {
    assert.is((error as Error).message, 'mine');
  }
  // one that is never asked for allocates nothing
  model.generate(PROMPT);
});

on('two at once give what they give one after the other', async () => {
  const run = (seed: number) =>
    full(seed === 1 ? PROMPT : 'The little dog', { maxTokens: 40, temperature: 1, seed, stopAtEos: false });
  const one = await run(1);
  const two = await run(2);
  const scored = await model.score('The cat sat on the mat.');
  const together = await Promise.all([run(1), run(2), model.score('The cat sat on the mat.'), run(1)]);
  assert.equal(together[0].tokens, one.tokens);
  assert.equal(together[1].tokens, two.tokens);
  assert.equal(together[2], scored);
  assert.equal(together[3].tokens, one.tokens);
  assert.is(together[1].text, two.text);
  // by turns in one loop
  const [a, b] = [PROMPT, 'The little dog'].map((p, i) =>
    model.generate(p, { maxTokens: 40, temperature: 1, seed: i + 1, stopAtEos: false })[Symbol.asyncIterator](),
  );
  const turns: number[][] = [[], []];
  for (let i = 0; i < 40; i++) {
    turns[0]!.push((await a!.next()).value!.id);
    turns[1]!.push((await b!.next()).value!.id);
  }
  await Promise.all([a!.return(undefined), b!.return(undefined)]);
  assert.equal(turns, [ids(one.tokens), ids(two.tokens)]);
});
on('what cannot be is refused at the call', async () => {
  const { maxPositions, vocabSize } = model.config;
  assert.throws(() => model.generate(Array(maxPositions).fill(5)), code('E_CONTEXT_LENGTH'));
  assert.throws(() => model.generate('many words '.repeat(maxPositions)), code('E_CONTEXT_LENGTH'));
  const start = performance.now();
  const letters = 'qwertyuiop'.repeat(500_000);
  assert.throws(() => model.generate(letters), code('E_CONTEXT_LENGTH'));
  await rejects('E_CONTEXT_LENGTH', () => model.score(letters));
  assert.ok(performance.now() - start < 3000, 'found from its length');
  await rejects('E_CONTEXT_LENGTH', () => model.score(Array(maxPositions + 1).fill(5)));
  const bad: GenerateOptions[] = [
    { maxTokens: 0 },
    { maxTokens: 1.5 },
    { maxTokens: Number.NaN },
    { maxTokens: -1 },
    { temperature: -0.1 },
    { temperature: Number.NaN },
    { temperature: 101 },
    { topK: -1 },
    { topK: 1.5 },
    { topP: 0 },
    { topP: 1.1 },
    { minP: -0.1 },
    { minP: 1.1 },
    { repetitionPenalty: 0 },
    { seed: -1 },
    { seed: 0.5 },
    { stop: [''] },
    { stop: ['a', ''] },
    { temperature: '1' as unknown as number },
  ];
  for (const options of bad) {
    assert.throws(() => model.generate(PROMPT, options), code('E_ARGUMENT'), JSON.stringify(options));
  }
  assert.throws(() => model.generate([]), code('E_ARGUMENT'));
  assert.throws(() => model.generate('', { addBos: false }), code('E_ARGUMENT'));
  await rejects('E_ARGUMENT', () => model.score([]));
  for (const tsallisOrder of [0, -1, 101, Number.NaN]) {
    await rejects('E_ARGUMENT', () => model.score(PROMPT, { tsallisOrder }));
  }
  for (const id of [-1, vocabSize, 0.5]) {
    await rejects('E_ARGUMENT', () => model.generate([1, id]).result());
    await rejects('E_ARGUMENT', () => model.score([1, id]));
  }
  assert.throws(() => model.generate([{ role: 'user', content: 'Hello' }]), code('E_TEMPLATE_INVALID'));
  assert.throws(() => model.encodeChat([{ role: 'user', content: 'Hello' }]), code('E_TEMPLATE_INVALID'));
  // the empty text has its begin-of-text token
  assert.is((await full('', { maxTokens: 3, stopAtEos: false })).tokens.length, 3);
});
on('a long decode grows nothing beyond its cache', async () => {
  const { nLayers, nKvHeads, headDim } = model.config;
  // an earlier test may have grown the arena: a device that has seen nothing but this
  const fresh = await WasmDevice.create();
  const alone = await openLocal(nano, { device: fresh });
  const loaded = fresh.stats();
  const steady: { bytes: number; scratchBytes: number; tensors: number; peakBytes: number }[] = [];
  let count = 0;
  for await (const _ of alone.generate(PROMPT, { maxTokens: 300, stopAtEos: false })) {
    count++;
    if (count === 3 || count % 50 === 0) steady.push(fresh.stats());
  }
  assert.is(count, 300);
  assert.is(steady.length, 7);
  for (const now of steady) assert.equal(now, steady[0]);
  const rows = alone.encode(PROMPT).length + 300;
  const cache = 8 * nLayers * nKvHeads * headDim * rows;
  const table = steady[0]!.bytes - loaded.bytes - cache;
  assert.ok(table >= 0 && table <= 4 * rows * headDim * 2, `${table} bytes beside the cache`);
  assert.ok(steady[0]!.scratchBytes <= 4 << 20, `${steady[0]!.scratchBytes}`);
  alone.close();
  fresh.close();
});

test('closing frees everything, and nothing runs after it', async () => {
  const other = await openLocal(nano, { device });
  assert.ok(device.stats().tensors > resting);
  const running = other.generate(PROMPT, { maxTokens: 50, stopAtEos: false });
  await other.generate(PROMPT, { maxTokens: 2 }).result();
  other.close();
  other.close();
  assert.is(device.stats().tensors, resting);
  assert.throws(() => other.generate(PROMPT), code('E_DISPOSED'));
  await rejects('E_DISPOSED', () => other.score(PROMPT));
  await rejects('E_DISPOSED', () => running.result());
  assert.is(device.stats().tensors, resting);
  // closed while it runs: the next step fails, and its cache goes
  const third = await openLocal(nano, { device });
  await rejects('E_DISPOSED', async () => {
    for await (const _ of third.generate(PROMPT, { maxTokens: 50, stopAtEos: false })) third.close();
  });
  assert.is(device.stats().tensors, resting, device.liveTensors().slice(resting).join('\n'));
  // one that owns its device closes it
  const owner = await openLocal(nano);
  const owned = owner.device;
  owner.close();
  assert.is(owned.stats().tensors, 0);
  assert.throws(() => owned.tensor('f32', [1]), code('E_DISPOSED'));
  {
    const using = await openLocal(nano, { device });
    await using[Symbol.asyncDispose]();
    assert.is(device.stats().tensors, resting);
  }
  model.close();
  assert.is(device.stats().tensors, 0);
  assert.is(device.stats().bytes, 0);
});

test('the worst figures', () => {
  worst.print();
  device.close();
});
test.run();
