/** Generations and scores on the embedded model: streaming, ends, seeds, aborts, and what they leave behind. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { GenerateOptions } from '../../src/model/generate/options.ts';
import type { KvCache } from '../../src/model/kv-cache.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { code, rejects } from '../errors.ts';
import { exists, modelTarget } from '../files.ts';
import { shared } from './shared-files.ts';

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

const ids = (tokens: readonly { id: number }[]) => tokens.map((t) => t.id);
const full = (prompt: string, options: GenerateOptions = {}) => model.generate(prompt, options).result();

const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    const mark = device.mark();
    await run();
    assert.is(device.stats().tensors, resting, `tensors left:\n${device.liveTensors().slice(resting).join('\n')}`);
    assert.equal(device.mark(), mark, 'scratch left');
  });

on('the pieces of a stream joined are the text', async () => {
  for (const options of [{ maxTokens: 60 }, { maxTokens: 60, temperature: 1, seed: 3 }]) {
    const generation = model.generate(PROMPT, options);
    const pieces: string[] = [];
    const seen: number[] = [];
    for await (const token of generation) {
      pieces.push(token.text);
      seen.push(token.id);
    }
    const { text, tokens, timings } = await generation.result();
    assert.is(pieces.join(''), text);
    assert.equal(ids(tokens), seen);
    assert.ok(pieces.length > 20 && pieces.filter((p) => p !== '').length > 20, 'it streams');
    // in context the text of all ids is the prompt's and the new one
    const prompt = model.encode(PROMPT);
    assert.is(model.tokenizer.decode([...prompt, ...seen], { skipSpecialTokens: true }), PROMPT + text);
    assert.is(timings.promptTokens, prompt.length);
    assert.is(timings.generatedTokens, seen.length);
    for (const value of Object.values(timings)) assert.ok(Number.isFinite(value) && value > 0);
    // asked again it is the same promise, and it cannot be iterated again
    assert.is(await generation.result(), await generation.result());
    await rejects('E_ARGUMENT', async () => {
      for await (const _ of generation);
    });
  }
});

const stories = `${shared}models/stories260K`;
test('a text goes on where its prompt ends, leading space included (a SentencePiece vocabulary)', async () => {
  if (!(await exists(stories))) {
    console.log('  skipped: ../shared is not here (stories260K)');
    return;
  }
  const other = await openLocal(await modelTarget(stories));
  const prompt = other.encode('Once upon a time');
  const generation = other.generate(prompt, { maxTokens: 30, stopAtEos: false });
  const { text, tokens } = await generation.result();
  assert.is(other.tokenizer.decode([...prompt, ...ids(tokens)]), other.tokenizer.decode(prompt) + text);
  // a text that begins with a whole word
  const at = tokens.findIndex((t, i) => i > 0 && t.text.startsWith(' ')) + prompt.length;
  const more = await other.generate([...prompt, ...ids(tokens)].slice(0, at), { maxTokens: 1 }).result();
  assert.ok(more.text.startsWith(' '), JSON.stringify(more.text));
  other.close();
});

on('tokens come while it runs, not at the end', async () => {
  const before = layers;
  const passes: number[] = [];
  for await (const _ of model.generate(PROMPT, { maxTokens: 60, stopAtEos: false })) {
    passes.push((layers - before) / model.config.nLayers);
  }
  assert.is(passes.at(-1), 60);
  // one more where a token waits for the rest of a character
  for (const [i, count] of passes.entries()) assert.ok(count <= i + 2, `token ${i} after ${count} passes`);
});

on('a text, its ids and a text without begin-of-text', async () => {
  const byText = await full(PROMPT, { maxTokens: 12 });
  const byIds = await model.generate(model.encode(PROMPT), { maxTokens: 12 }).result();
  assert.equal(ids(byIds.tokens), ids(byText.tokens));
  assert.is(model.encode(PROMPT)[0], model.tokenizer.bosId);
  assert.is(model.encode(PROMPT, { addBos: false }).length, model.encode(PROMPT).length - 1);
});

on('stop strings end the text, across tokens too, and are no part of it', async () => {
  const { text, tokens } = await full(PROMPT, { maxTokens: 40, stopAtEos: false });
  // a string that runs from inside one token through the next into the one after
  const words = tokens.map((t) => t.text);
  const at = words.findIndex(
    (w, i) => i > 4 && i + 3 < words.length && [w, words[i + 1]!, words[i + 2]!].every((x) => x.length >= 2),
  );
  assert.ok(at > 0);
  const before = words.slice(0, at).join('');
  const stop = words[at]!.slice(1) + words[at + 1]! + words[at + 2]!.slice(0, 1);
  const cut = text.indexOf(stop);
  assert.ok(cut > 0 && cut <= before.length + 1);
  const generation = model.generate(PROMPT, { maxTokens: 40, stopAtEos: false, stop: ['never so', stop] });
  let joined = '';
  for await (const token of generation) {
    joined += token.text;
    // nothing of the stop string is shown before it is known not to be one
    assert.ok(text.slice(0, cut).startsWith(joined), JSON.stringify(joined));
  }
  const stopped = await generation.result();
  assert.is(stopped.text, text.slice(0, cut));
  assert.is(joined, stopped.text);
  assert.is(stopped.finishReason, 'stop');
  assert.ok(stopped.tokens.length < tokens.length);
  // one that does not come changes nothing
  const other = await full(PROMPT, { maxTokens: 40, stopAtEos: false, stop: [`${stop}§`] });
  assert.is(other.text, text);
  assert.is(other.finishReason, 'length');
});

on('it ends at maxTokens, at the end of the context, and at end-of-text', async () => {
  for (const maxTokens of [1, 2, 17]) {
    const { tokens, finishReason, timings } = await full(PROMPT, { maxTokens, stopAtEos: false });
    assert.is(tokens.length, maxTokens);
    assert.is(finishReason, 'length');
    assert.is(timings.generatedTokens, maxTokens);
  }
  const { maxPositions } = model.config;
  const long = Array.from({ length: maxPositions - 3 }, (_, i) => 100 + ((i * 37) % 5000));
  const end = await model.generate(long, { maxTokens: 50, stopAtEos: false }).result();
  assert.is(end.tokens.length, 3);
  assert.is(end.finishReason, 'length');
  // the model ends its stories
  const story = await full(PROMPT, { maxTokens: 1000 });
  assert.is(story.finishReason, 'eos');
  const eos = model.tokenizer.eosId!;
  assert.not.ok(ids(story.tokens).includes(eos));
  const beyond = await full(PROMPT, {
    maxTokens: story.tokens.length + 5,
    stopAtEos: false,
    showSpecialTokens: true,
  });
  assert.equal(ids(beyond.tokens.slice(0, story.tokens.length)), ids(story.tokens));
  assert.is(beyond.tokens[story.tokens.length]!.id, eos);
  assert.is(beyond.tokens.length, story.tokens.length + 5);
  assert.ok(beyond.text.startsWith(`${story.text}<|endoftext|>`));
});

on('a seed gives its text again, another seed another', async () => {
  const run = async (seed: number) => ids((await full(PROMPT, { maxTokens: 40, temperature: 1, seed })).tokens);
  const one = await run(1);
  assert.equal(await run(1), one);
  const texts = new Set<string>();
  for (const seed of [1, 2, 3, 4]) texts.add(JSON.stringify(await run(seed)));
  assert.is(texts.size, 4);
});

on('every way of sampling gives probabilities and draws what it may', async () => {
  const greedy = ids((await full(PROMPT, { maxTokens: 30 })).tokens);
  const ways: [GenerateOptions, boolean][] = [
    [{ temperature: 0.7 }, false],
    [{ temperature: 1.3, topK: 40 }, false],
    [{ temperature: 1, topP: 0.9 }, false],
    [{ temperature: 1, minP: 0.1 }, false],
    [{ temperature: 0.8, topK: 50, topP: 0.95, minP: 0.02, repetitionPenalty: 1.2 }, false],
    [{ temperature: 1, repetitionPenalty: 0.9 }, false],
    [{ repetitionPenalty: 1.3 }, false],
    // nothing is left to chance here
    [{ temperature: 1, topK: 1 }, true],
    [{ temperature: 1, topP: 1e-9 }, true],
    [{ temperature: 1, minP: 1 }, true],
    [{ temperature: 0.001 }, true],
  ];
  for (const [options, same] of ways) {
    const { tokens } = await full(PROMPT, { maxTokens: 30, seed: 5, ...options });
    assert.ok(tokens.length > 0);
    const most = Math.log(model.config.vocabSize);
    for (const { id, logprob, entropy } of tokens) {
      assert.ok(id >= 0 && id < model.config.vocabSize);
      assert.ok(logprob <= 0 && Number.isFinite(logprob), `${logprob}`);
      assert.ok(entropy >= 0 && entropy <= most, `${entropy}`);
    }
    assert.is(JSON.stringify(ids(tokens)) === JSON.stringify(greedy), same, JSON.stringify(options));
  }
});

on('log-probabilities and entropies equal those of score, greedy and drawn', async () => {
  for (const [name, options] of [
    ['greedy', {}],
    ['drawn from a full row', { temperature: 1, seed: 11 }],
    ['drawn from candidates', { temperature: 1, topK: 20, seed: 12 }],
  ] as const) {
    const prompt = model.encode(PROMPT);
    const { tokens } = await full(PROMPT, { maxTokens: 50, stopAtEos: false, ...options });
    const scored = await model.score([...prompt, ...ids(tokens)]);
    assert.is(scored.length, prompt.length + tokens.length);
    assert.is(scored[0]!.logprob, null);
    for (const [i, token] of tokens.entries()) {
      const at = prompt.length + i;
      assert.is(scored[at]!.id, token.id);
      const p = Math.abs(scored[at]!.logprob! - token.logprob);
      assert.ok(worst.within(`${name}: log-probability against score`, p, 1e-4), `${i}: ${p}`);
      const h = Math.abs(scored[at - 1]!.entropy - token.entropy);
      assert.ok(worst.within(`${name}: entropy against score`, h, 1e-4), `${i}: ${h}`);
      if (name === 'greedy') assert.is(scored[at - 1]!.argmax, token.id);
    }
  }
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

on('a timer aborts in the middle of a text: the event loop gets its turns', async () => {
  const controller = new AbortController();
  let count = 0;
  let fired = 0;
  await rejects('E_ABORTED', async () => {
    for await (const _ of model.generate(PROMPT, { maxTokens: 1500, stopAtEos: false, signal: controller.signal })) {
      if (++count > 1) continue;
      setTimeout(() => {
        fired = count;
        controller.abort();
      }, 0);
    }
  });
  assert.ok(fired > 0 && count <= fired + 1, `fired after ${fired} tokens, ended after ${count}`);
  console.log(`  a timer fired after ${fired} tokens`);
});

on('a timer aborts in the middle of a long prompt, within a layer', async () => {
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
    setTimeout(() => {
      fired = layers - before;
      controller.abort();
    }, 0);
    await rejects('E_ABORTED', () => run(controller.signal));
    const begun = layers - before;
    // four chunks of rows
    assert.ok(fired > 0 && fired < 3 * model.config.nLayers, `${name}: fired after ${fired} layers`);
    assert.ok(begun <= fired + 1, `${name}: fired after ${fired} layers, ended after ${begun}`);
    console.log(`  ${name}: a timer fired after ${fired} layers`);
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
    if (count === 0) assert.is(device.stats().tensors, resting + 2 * model.config.nLayers);
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
