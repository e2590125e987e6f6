/** What was written in a conversation is read for its next turn while nobody waits: to the bits of a prompt, and never in the way of others. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exclusive } from '../../src/device/exclusive.ts';
import { Generation } from '../../src/model/generate/generation.ts';
import { PromptCache } from '../../src/model/generate/prompt-cache.ts';
import { openLocal } from '../../src/open-local.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
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
  reusable,
  settled,
} from './prompt-caches.ts';
import { tinyDecoder, withPositions } from './tiny.ts';

for (const [name, decoder] of decoders) {
  on(`what was written is read again beside nobody's work, to the bits of a prompt: ${name}`, async () => {
    const resting = device.stats().tensors;
    const block = decoder.rowsIndependent ? 20 : 40;
    for (const [length, count] of [
      [75, 60],
      [1, 45],
      [39, 1],
      [500, 60], // into the next chunk
      [513, 30],
    ] as const) {
      const prompts = new PromptCache(decoder);
      const own = { ...context(decoder, prompts), continues: true };
      const options = { maxTokens: count, temperature: 1, seed: 3, stopAtEos: false };
      const ids = idsOf(decoder, length, 8);
      const { tokens } = await new Generation(own, ids, options).result();
      await settled(resting);
      const next = [...ids, ...tokens.map(({ id }) => id), ...idsOf(decoder, 9, 2)];
      const want = reusable(next.length, length + count, block);
      const [fresh, placed] = [decoder.cache(), decoder.cache()];
      await decoder.forward(next, fresh, { output: 'last' });
      assert.is(prompts.place(next, placed), want);
      fresh.truncate(want);
      assert.equal(await contents(decoder, placed), await contents(decoder, fresh), `${length} and ${count}`);
      fresh.dispose();
      placed.dispose();
      const got = await generate(decoder, prompts, next);
      assert.is(got.timings.reused, want, `${length} and ${count}`);
      assert.equal(facts(got), facts(await generate(decoder, null, next)));
    }
  });
}

on('reading again gives way, and stops where it is no longer wanted', async () => {
  const { decoder } = nano;
  const resting = device.stats().tensors;
  const options = { maxTokens: 150, stopAtEos: false, temperature: 1, seed: 1 };
  const ids = idsOf(decoder, 50, 1);
  const { forward } = decoder;
  let passes = 0;
  let during = (): void => {};
  decoder.forward = (...args) => {
    passes++;
    during();
    return forward.apply(decoder, args);
  };
  try {
    for (const [kind, most] of [
      ['nobody waits', 8],
      ['somebody comes', 3],
      ['it is closed', 3],
      ['a pass fails', 3],
    ] as const) {
      const prompts = new PromptCache(decoder);
      let beside: Promise<void> | undefined;
      passes = 0;
      during = () => {
        if (kind === 'nobody waits' || passes < 3) return;
        if (kind === 'somebody comes') {
          beside ??= exclusive(device, async () => {
            assert.is(device.stats().tensors, resting, 'its memory is there for others');
          });
        } else if (kind === 'it is closed') prompts.dispose();
        else throw new RangeError('Array buffer allocation failed');
      };
      await new Generation({ ...context(decoder, prompts), continues: true }, ids, options).result();
      await settled(resting);
      await beside;
      assert.is(passes, most, kind);
      assert.is(prompts.byteLength > 0, kind === 'nobody waits' || kind === 'somebody comes', kind);
    }
    // left, aborted, or with nothing to keep it in
    passes = 0;
    const prompts = new PromptCache(decoder);
    for await (const _ of new Generation({ ...context(decoder, prompts), continues: true }, ids, options)) break;
    await new Generation({ ...context(decoder), continues: true }, ids, options).result();
    assert.is(passes, 0);
  } finally {
    decoder.forward = forward;
  }
});

on('a model that is closed in the middle of it leaves nothing', async () => {
  const resting = device.stats().tensors;
  for (const pass of [1, 2, 3]) {
    const model = await openLocal(await tinyFiles(), { device });
    const { decoder } = model;
    const { forward } = decoder;
    let passes = 0;
    decoder.forward = (...args) => {
      const running = forward.apply(decoder, args);
      if (++passes === pass) queueMicrotask(() => model.close());
      return running;
    };
    await model.generate([{ role: 'user', content: 'abc'.repeat(5) }], { maxTokens: 48, stopAtEos: false }).result();
    await settled(resting);
    assert.is(passes, pass);
    await rejects('E_DISPOSED', async () => model.generate('abc'));
  }
  // of a text that is no conversation nobody expects another turn
  const model = await openLocal(await tinyFiles(), { device });
  model.decoder.forward = () => assert.unreachable() as never;
  await model.generate('abc'.repeat(5), { maxTokens: 48, stopAtEos: false }).result();
  model.close();
});

on('five hundred conversations leave no more than what it may hold', async () => {
  const decoder = await tinyDecoder('llama-gqa', device, 'exact', withPositions(128));
  decoder.ropes.forward(128);
  const resting = device.stats().tensors;
  const { nLayers, nKvHeads, headDim } = decoder.config;
  const most = 200 * 8 * nLayers * nKvHeads * headDim;
  const prompts = new PromptCache(decoder, most);
  for (let i = 0; i < 500; i++) {
    const own = { ...context(decoder, prompts), continues: i % 2 === 0 };
    await new Generation(own, idsOf(decoder, 20 + (i % 50), i), { maxTokens: 3 }).result();
    assert.ok(prompts.byteLength <= most);
  }
  await settled(resting);
  decoder.dispose();
});

test.run();
