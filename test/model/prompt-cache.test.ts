/** What recent prompts leave for others: the very bits that these would compute, and nothing behind a limit, an abort or an end. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError } from '../../src/errors.ts';
import type { Decoder } from '../../src/model/decoder.ts';
import { Generation } from '../../src/model/generate/generation.ts';
import { defaultBytes, nextCut, PromptCache } from '../../src/model/generate/prompt-cache.ts';
import { rejects } from '../errors.ts';
import { adapted, loraReference, loraTarget } from './lora-fixtures.ts';
import {
  contents,
  context,
  decoders,
  device,
  facts,
  generate,
  idsOf,
  nano,
  on,
  open,
  passed,
  reusable,
} from './prompt-caches.ts';
import { tinyDecoder, withPositions } from './tiny.ts';

/** Lengths of prompts, and how many of their first tokens another has begun with. */
const COMMON = [
  [340, 330],
  [60, 40],
  [81, 80], // one row alone would get other bits
  [82, 80],
  [19, 19],
  [513, 513], // but this one is alone anyway
  [512, 512],
  [700, 600],
  [1100, 1090],
] as const;

for (const [name, decoder] of decoders) {
  on(`what is reused is what would be computed, to the bit: ${name}`, async () => {
    const block = decoder.rowsIndependent ? 20 : 40;
    for (const [length, common] of COMMON) {
      const want = reusable(length, common, block);
      const prompts = new PromptCache(decoder);
      const ids = idsOf(decoder, length, 1);
      const first = [...ids.slice(0, common), ...idsOf(decoder, 25, 2)];
      const plain = await generate(decoder, null, ids);
      await generate(decoder, prompts, first);
      passed.rows = 0;
      const again = await generate(decoder, prompts, ids);
      assert.is(again.timings.reused, want, `${length} with ${common}`);
      assert.is(again.timings.promptTokens, length);
      assert.is(
        passed.rows,
        length - want + 3,
        'no more rows are computed than are new, and one for each token but the first',
      );
      assert.equal(facts(again), facts(plain), `${length} with ${common}`);

      // keys and values, also of what was computed behind what was reused
      const [fresh, placed] = [decoder.cache(), decoder.cache()];
      await decoder.forward(ids, fresh, { output: 'last' });
      const there = prompts.place(ids, placed);
      const chunk = decoder.chunk - (there % decoder.chunk);
      for (let row = there; row < length; row += row === there ? chunk : decoder.chunk) {
        await decoder.forward(ids.slice(row, row === there ? row + chunk : row + decoder.chunk), placed, {
          output: 'last',
        });
      }
      assert.equal(placed.positions, fresh.positions);
      assert.equal(await contents(decoder, placed), await contents(decoder, fresh), `${length} with ${common}`);
      fresh.dispose();
      placed.dispose();
    }
  });
}

on('the next turn of a conversation costs its new tokens', async () => {
  const model = await open();
  const plain = await open({ promptCache: 0 });
  let ids = idsOf(model.decoder, 330, 7);
  let before = 0;
  for (let turn = 0; turn < 3; turn++) {
    const options = { maxTokens: 12, stopAtEos: false };
    const [got, want] = [await model.generate(ids, options).result(), await plain.generate(ids, options).result()];
    assert.equal(facts(got), facts(want));
    assert.is(want.timings.reused, 0);
    assert.is(got.timings.reused, 20 * Math.floor(before / 20));
    before = ids.length;
    ids = [...ids, ...got.tokens.map(({ id }) => id), ...idsOf(model.decoder, 9, turn)];
  }
  model.close();
  plain.close();
});

on('where memory is missing, the cache gives up its own', async () => {
  const { decoder } = nano;
  const prompts = new PromptCache(decoder);
  const ids = idsOf(decoder, 90, 1);
  await generate(decoder, prompts, ids);
  assert.ok(prompts.byteLength > 0);
  const { cache } = decoder;
  decoder.cache = () => {
    const made = cache.call(decoder);
    made.reserve = () => {
      throw new EspalierError('E_OUT_OF_MEMORY', 'There is no more.', 'Use less.');
    };
    return made;
  };
  try {
    await rejects('E_OUT_OF_MEMORY', () => generate(decoder, prompts, ids));
  } finally {
    decoder.cache = cache;
  }
  assert.is(prompts.byteLength, 0);
});

on('several at once share it, and none writes to it', async () => {
  const { decoder } = nano;
  const prompts = new PromptCache(decoder);
  const beginning = idsOf(decoder, 200, 3);
  const list = Array.from({ length: 6 }, (_, i) => [...beginning, ...idsOf(decoder, 5 + 9 * i, 10 + i)]);
  const options = { maxTokens: 12, temperature: 1, seed: 5 };
  const want = [];
  for (const ids of list) want.push(facts(await generate(decoder, null, ids, options)));
  for (const round of [0, 1, 2]) {
    const got = await Promise.all(list.map((ids) => generate(decoder, prompts, ids, options)));
    assert.equal(got.map(facts), want);
    for (const { timings } of got) assert.is(timings.reused >= 200, round > 0, `${timings.reused} in round ${round}`);
  }
});

on('what was unused for longest goes first, from its end', async () => {
  const { decoder } = nano;
  const { nLayers, nKvHeads, headDim } = decoder.config;
  const row = 8 * nLayers * nKvHeads * headDim;
  const prompts = new PromptCache(decoder, 100 * row);
  const [a, b] = [idsOf(decoder, 62, 1), idsOf(decoder, 45, 2)];
  const reused = async (ids: readonly number[]) =>
    (await generate(decoder, prompts, ids, { maxTokens: 1 })).timings.reused;
  assert.is(await reused(a), 0);
  assert.is(await reused(b), 0);
  assert.is(prompts.byteLength, 100 * row);
  assert.is(await reused(a), 60);
  assert.is(await reused(idsOf(decoder, 25, 3)), 0);
  assert.is(prompts.byteLength, 100 * row);
  assert.is(await reused(b), 20, 'its end has made room');
  // a prompt that is larger than all keeps its beginning
  assert.is(await reused(idsOf(decoder, 300, 4)), 0);
  assert.is(await reused(idsOf(decoder, 300, 4)), 100);
  assert.is(prompts.byteLength, 100 * row);
  prompts.dispose();
  assert.is(prompts.byteLength, 0);
  assert.is(await reused(a), 0);
  assert.is(await reused(a), 0);
  assert.is(prompts.byteLength, 0, 'nothing is kept behind its end');
  assert.is(defaultBytes() % 2 ** 20, 0);
});

on('an abort in the middle of a prompt, a break and a failure leave what is there as it was', async () => {
  const { decoder } = nano;
  const prompts = new PromptCache(decoder);
  const ids = idsOf(decoder, 900, 6);
  const want = facts(await generate(decoder, null, ids));
  await generate(decoder, prompts, ids.slice(0, 100));
  const held = prompts.byteLength;
  const stop = new AbortController();
  const running = generate(decoder, prompts, ids, { signal: stop.signal });
  const { attention } = device;
  let layers = 0;
  device.attention = (args) => {
    if (++layers === 3) stop.abort();
    attention.call(device, args);
  };
  await rejects('E_ABORTED', () => running);
  device.attention = (args) => {
    device.attention = attention;
    throw new Error(`a fault, at ${args.base}`);
  };
  let fault: unknown;
  await generate(decoder, prompts, ids).catch((error) => {
    fault = error;
  });
  assert.match(`${fault}`, 'a fault, at 100');
  assert.is(prompts.byteLength, held);
  for await (const _ of new Generation(context(decoder, prompts), ids, { maxTokens: 9 })) break;
  assert.ok(prompts.byteLength > 8 * held, 'a text that is left has read its prompt');
  const again = await generate(decoder, prompts, ids);
  assert.is(again.timings.reused, 892);
  assert.equal(facts(again), want);
  // without memory for it there is no reuse, and nothing else
  const full = new PromptCache(decoder);
  const { read } = device;
  device.read = ((tensors: never) => {
    if ((tensors as readonly unknown[]).length <= 4) return read.call(device, tensors);
    throw new RangeError('Array buffer allocation failed');
  }) as typeof read;
  try {
    assert.equal(facts(await generate(decoder, full, ids)), want);
    assert.is(full.byteLength, 0);
  } finally {
    device.read = read;
  }
});

test('each model has its own: with other adapters, keys are others', async () => {
  const { base } = await loraReference('two');
  const strengths = [1, -0.5];
  const own = await Promise.all(
    strengths.map(async (weight) => adapted(base, device, [{ from: await loraTarget('two'), weight }])),
  );
  const [one, two] = own as [Decoder, Decoder];
  const ids = idsOf(one, 50, 1);
  const caches = own.map((decoder) => new PromptCache(decoder));
  const texts = [];
  for (const [i, decoder] of own.entries()) {
    const want = facts(await generate(decoder, null, ids));
    for (const reused of [0, 40]) {
      const got = await generate(decoder, caches[i]!, ids);
      assert.is(got.timings.reused, reused);
      assert.equal(facts(got), want);
    }
    texts.push(want.tokens.map(({ logprob }) => logprob));
  }
  assert.not.equal(texts[0], texts[1]);
  for (const decoder of [one, two]) decoder.dispose();
});

test('experts take rows of a chunk together: only whole chunks are reused', async () => {
  const decoder = await tinyDecoder('moe-mixtral', device, 'exact', withPositions(1024));
  assert.equal(
    [0, 512, 1024].map((row) => nextCut(decoder, row)),
    [512, 1024, 1536],
  );
  const prompts = new PromptCache(decoder);
  const ids = idsOf(decoder, 530, 1);
  assert.is((await generate(decoder, prompts, ids.slice(0, 515))).timings.reused, 0);
  const again = await generate(decoder, prompts, ids);
  assert.is(again.timings.reused, 512);
  assert.equal(facts(again), facts(await generate(decoder, null, ids)));
  assert.is((await generate(decoder, prompts, ids.slice(0, 500))).timings.reused, 0);
  decoder.dispose();
});

test.run();
