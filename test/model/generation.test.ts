/** Generations and scores on the embedded model: streaming, ends, seeds, and every way of sampling. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { GenerateOptions } from '../../src/model/generate/options.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
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
    const { reused, ...positive } = timings;
    assert.is(reused, 0, 'a prompt shorter than a block');
    for (const value of Object.values(positive)) assert.ok(Number.isFinite(value) && value > 0);
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

test('the worst figures', () => {
  worst.print();
  device.close();
});
test.run();
