/** Texts that are written at once: each to the bit what it becomes alone, whatever joins, leaves, is aborted or fails beside it. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROUTING_RULE } from '../../src/checkpoint/adapter/routing.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import type { Decoder } from '../../src/model/decoder.ts';
import { type BatchItem, GenerationBatch } from '../../src/model/generate/batch.ts';
import { type GeneratedToken, Generation, type GenerationResult } from '../../src/model/generate/generation.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { adapted, loraReference, loraTarget } from './lora-fixtures.ts';
import { routedModels } from './routed-models.ts';
import { tinyDecoder, withPositions } from './tiny.ts';

const device = await WasmDevice.create({ debug: true });
const nano = await openLocal(await modelTarget('models/nano-base'), { device });

type Writer = Pick<LocalModel, 'decoder' | 'generate' | 'generateBatch'>;

/** A model of random weights, whose ids stand for tokens of another. */
function writerOf(decoder: Decoder): Writer {
  const context = { decoder, tokenizer: nano.tokenizer, eosIds: new Set(decoder.config.eosIds) };
  const generate: Writer['generate'] = (ids, options = {}) => new Generation(context, ids as number[], options);
  return {
    decoder,
    generate,
    generateBatch: (prompts, options = {}) => new GenerationBatch(prompts, options, generate),
  };
}

const models = new Map<string, Writer>([['nano-base', nano]]);
for (const name of [
  'llama-gqa',
  'gemma3',
  'smollm3-window',
  'mistral-window',
  'moe-mixtral',
  'moe-qwen2',
  'gguf-llama-q4_1',
]) {
  models.set(name, writerOf(await tinyDecoder(name, device, 'exact')));
}
for (const name of ['two', 'granite', 'qwen2-moe', 'gguf-q4_0']) {
  const { base } = await loraReference(name);
  const second = name === 'two' ? [{ from: await loraTarget('two-second'), weight: -0.5 }] : [];
  const decoder = await adapted(base, device, [{ from: await loraTarget(name) }, ...second]);
  models.set(`${base} with adapters`, writerOf(decoder));
}
// of a length that is cut
const long = withPositions(1024);
for (const [name, precision] of [
  ['gguf-llama-q4_1', 'int8'],
  ['gguf-llama-q8_0', 'int8'],
  ['gguf-llama-q8_0', 'int16'],
  ['moe-qwen3', 'int8'],
] as const) {
  models.set(`${name}, ${precision}`, writerOf(await tinyDecoder(name, device, precision, long)));
}
// a gate that reads means of what came before, and one that reads entropies
const choosing = await Promise.all(
  (['global', 'both'] as const).map((kind) => {
    return routedModels(device, 'llama-gqa', { rule: { ...ROUTING_RULE, cut: 1.5 }, kind, maxPositions: 1024 });
  }),
);
for (const [i, { routed }] of choosing.entries()) {
  routed.base.ropes.forward(1024);
  models.set(`experts chosen by position, ${i}`, writerOf(routed));
}
for (const { decoder } of models.values()) decoder.ropes.forward(decoder.config.maxPositions);
const resting = device.stats().tensors;

/** How many tokens the passes gave, by pass. */
let passes: number[] = [];
/** And how many rows it had. */
let rows: number[] = [];
for (const { decoder } of models.values()) {
  const each = decoder.forwardEach.bind(decoder);
  decoder.forwardEach = (parts, options) => {
    passes.push(parts.length);
    rows.push(parts.reduce((sum, { ids }) => sum + ids.length, 0));
    return each(parts, options);
  };
}

const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    passes = [];
    const mark = device.mark();
    await run();
    assert.is(device.stats().tensors, resting, `tensors left:\n${device.liveTensors().slice(resting).join('\n')}`);
    assert.equal(device.mark(), mark, 'scratch left');
  });

/** All that does not depend on the clock. */
const facts = ({ text, tokens, finishReason }: GenerationResult) => ({ text, tokens, finishReason });

/** Ids in place of a text. */
const idsOf = ({ decoder: { config } }: Writer, count: number, seed: number) =>
  Array.from({ length: count }, (_, i) => 1 + ((i * 7919 + seed * 104729) % (config.vocabSize - 1)));

/** Prompts of several lengths, and every way of drawing, of ending and of ending early. */
function items(model: Writer, longest: number): BatchItem[] {
  return [
    { prompt: idsOf(model, 5, 1), maxTokens: 20 },
    { prompt: idsOf(model, 1, 2), maxTokens: 13, temperature: 1, seed: 1 },
    { prompt: idsOf(model, 17, 3), maxTokens: 9, temperature: 0.8, topK: 20, seed: 2 },
    { prompt: idsOf(model, 5, 1), maxTokens: 20, temperature: 1, topP: 0.9, seed: 3 },
    { prompt: idsOf(model, 5, 1), maxTokens: 16, temperature: 1, topP: 0.9, seed: 4 },
    { prompt: idsOf(model, longest, 4), maxTokens: 5 },
    { prompt: idsOf(model, 9, 5), maxTokens: 1 },
    { prompt: idsOf(model, 8, 6), maxTokens: 18, repetitionPenalty: 1.3, minP: 0.1, temperature: 1.2, seed: 9 },
    { prompt: idsOf(model, 2, 7), maxTokens: 20, stopAtEos: false, repetitionPenalty: 1.5 },
    { prompt: idsOf(model, 3, 8), maxTokens: 25, stop: 'e' },
  ];
}

for (const [name, model] of models) {
  const limit = model.decoder.config.maxPositions;
  on(`each is what it is alone: ${name}`, async () => {
    // chunks of a prompt that end with one token, and others of which a cut may leave one
    for (const longest of [40, 131, 513, 770].filter((length) => length + 6 < limit)) {
      const list = items(model, longest);
      const want: ReturnType<typeof facts>[] = [];
      for (const { prompt, ...options } of list) want.push(facts(await model.generate(prompt, options).result()));
      for (const batch of longest === 40 ? [2, 8, 64] : [8]) {
        passes = [];
        const results = await model.generateBatch(list, { batch }).results();
        assert.equal(
          results.map(({ index }) => index),
          [...list.keys()],
        );
        for (const [i, result] of results.entries()) {
          assert.is(result.error, null);
          assert.equal(facts(result as GenerationResult), want[i], `${i} of ${batch} at once, ${longest}`);
        }
        const most = Math.max(...passes);
        assert.ok(most <= batch && most >= Math.min(batch, 6), `${most} of ${batch} at once`);
      }
    }
  });
}

on('generations that are begun one by one share passes, too, and are read at any pace', async () => {
  const list = items(nano, 40);
  const want: ReturnType<typeof facts>[] = [];
  for (const { prompt, ...options } of list) want.push(facts(await nano.generate(prompt, options).result()));
  const got = await Promise.all(
    list.map(async ({ prompt, ...options }, i) => {
      await new Promise((resolve) => setTimeout(resolve, 3 * i));
      const generation = nano.generate(prompt, options);
      for await (const _ of generation) if (i % 3 === 0) await new Promise((resolve) => setTimeout(resolve, i));
      return facts(await generation.result());
    }),
  );
  assert.equal(got, want);
  assert.ok(passes.some((count) => count > 1));
});

on('a long prompt goes through in parts, between the tokens of others', async () => {
  const written = nano.generate(idsOf(nano, 5, 1), { maxTokens: 40, stopAtEos: false });
  const tokens = written[Symbol.asyncIterator]();
  for (let i = 0; i < 3; i++) await tokens.next();
  rows = [];
  const joining = nano.generate(idsOf(nano, 700, 2), { maxTokens: 3, stopAtEos: false }).result();
  let beside = 0;
  let joined = false;
  void joining.then(() => {
    joined = true;
  });
  while (!joined && !(await tokens.next()).done) beside++;
  await joining;
  for (let more = await tokens.next(); !more.done; more = await tokens.next());
  const parts = rows.filter((count) => count > 2);
  assert.is(
    parts.reduce((sum, count) => sum + count, 0),
    700,
  );
  assert.ok(Math.max(...parts) <= 128 && parts.length >= 6, `${parts}`);
  assert.ok(beside >= parts.length, `${beside} tokens beside ${parts.length} parts`);
});

on('an abort, a break and a failure disturb nobody else', async () => {
  const list = items(nano, 600);
  const want = [];
  for (const { prompt, ...options } of list) want.push(facts(await nano.generate(prompt, options).result()));
  const [written, reading] = [new AbortController(), new AbortController()];
  const hostile: BatchItem[] = [
    { prompt: idsOf(nano, 4, 20), maxTokens: 500, stopAtEos: false, signal: written.signal },
    { prompt: [] },
    { prompt: idsOf(nano, nano.config.maxPositions, 21) },
    { prompt: 'text', chat: {} },
    { prompt: 'text', temperature: -1 },
    { prompt: idsOf(nano, 1500, 22), signal: reading.signal },
    { prompt: 7 as unknown as string },
    { prompt: 'text', signal: AbortSignal.abort() },
  ];
  const mixed = list.flatMap((item, i) => (hostile[i] ? [hostile[i], item] : [item]));
  let count = 0;
  const results = await nano
    .generateBatch(mixed, {
      batch: 64,
      onToken: (index) => {
        if (index === 0 && ++count === 5) written.abort();
        if (index === 1) reading.abort();
      },
    })
    .results();
  const good = results.filter((_, i) => !hostile.includes(mixed[i]!));
  assert.equal(
    good.map((result) => facts(result as GenerationResult)),
    want,
  );
  const bad = results.filter((_, i) => hostile.includes(mixed[i]!));
  assert.equal(
    bad.map(({ error }) => error?.code),
    ['E_ABORTED', 'E_ARGUMENT', 'E_CONTEXT_LENGTH', 'E_ARGUMENT', 'E_ARGUMENT', 'E_ABORTED', 'E_ARGUMENT', 'E_ABORTED'],
  );
  for (const { finishReason, timings, tokens, text } of bad) {
    assert.is(finishReason, 'error');
    assert.is(timings, null);
    assert.is(tokens.map((token: GeneratedToken) => token.text).join(''), text);
  }
  assert.is(bad[0]!.tokens.length, 5, 'what was written stays');
  await rejects('E_ABORTED', () => nano.generateBatch(mixed.slice(0, 1), {}).texts());
});

on('an abort ends the pass that several share, and the others go on in another', async () => {
  const list = [
    items(nano, 600).slice(0, 3),
    [0, 1, 2].map((i) => ({ prompt: idsOf(nano, 40, 30 + i), maxTokens: 6 })),
  ];
  const { layers } = nano.decoder.weights;
  const { get } = layers;
  for (const [kind, some] of list.entries()) {
    const want = [];
    for (const { prompt, ...options } of some) want.push(facts(await nano.generate(prompt, options).result()));
    const stop = new AbortController();
    const looked: number[] = [];
    passes = [];
    rows = [];
    Object.assign(layers, {
      get: (index: number) => {
        // a pass over prompts, or a pass of one token each
        const shared = passes.at(-1)! > 1 && rows.at(-1)! > passes.at(-1)! === (kind === 1);
        if (shared && index === 2) stop.abort('enough');
        if (stop.signal.aborted) looked.push(index);
        return get(index);
      },
    });
    try {
      const batch = [...some, { prompt: idsOf(nano, 5, 40), maxTokens: 50, stopAtEos: false, signal: stop.signal }];
      const results = await nano.generateBatch(batch).results();
      assert.is(results.at(-1)!.error?.code, 'E_ABORTED');
      assert.is(results.at(-1)!.error?.cause, 'enough');
      assert.equal(
        results.slice(0, -1).map((result) => facts(result as GenerationResult)),
        want,
      );
      assert.equal(looked.slice(0, 3), [2, 0, 1], 'no layer after it');
    } finally {
      Object.assign(layers, { get });
    }
  }
});

on('leaving the loop, an abort of all and a callback that throws end all of them', async () => {
  const many = Array.from({ length: 20 }, (_, i) => ({
    prompt: idsOf(nano, 5, i),
    stopAtEos: false,
    maxTokens: 10 * (i + 1),
  }));
  let first = -1;
  for await (const { index } of nano.generateBatch(many)) {
    first = index;
    break;
  }
  assert.is(first, 0);
  const abort = new AbortController();
  const aborted = nano.generateBatch(many, {
    signal: abort.signal,
    onToken: (index) => index === 3 && abort.abort('enough'),
  });
  const error = await rejects('E_ABORTED', () => aborted.results());
  assert.is((error as EspalierError).cause, 'enough');
  const own = new Error('mine');
  const thrown = nano.generateBatch(many, {
    onToken: () => {
      throw own;
    },
  });
  try {
    await thrown.results();
    assert.unreachable();
  } catch (caught) {
    assert.is(caught, own);
  }
  await rejects('E_ABORTED', () => nano.generateBatch(many, { signal: AbortSignal.abort() }).results());
});

on('no host warns of a signal that all of a batch listen to', async () => {
  const { signal } = new AbortController();
  let [now, most] = [0, 0];
  const { addEventListener, removeEventListener } = EventTarget.prototype;
  const listens = new WeakMap<EventTarget, number>();
  const count = (target: EventTarget, by: number) => {
    now = (listens.get(target) ?? 0) + by;
    listens.set(target, now);
    most = Math.max(most, now);
  };
  EventTarget.prototype.addEventListener = function (...args: Parameters<typeof addEventListener>) {
    if (this instanceof AbortSignal) count(this, 1);
    return addEventListener.apply(this, args);
  };
  EventTarget.prototype.removeEventListener = function (...args: Parameters<typeof removeEventListener>) {
    if (this instanceof AbortSignal) count(this, -1);
    return removeEventListener.apply(this, args);
  };
  try {
    const many = Array.from({ length: 64 }, (_, i) => idsOf(nano, 3, i));
    await nano.generateBatch(many, { batch: 64, maxTokens: 2, signal }).results();
  } finally {
    EventTarget.prototype.addEventListener = addEventListener;
    EventTarget.prototype.removeEventListener = removeEventListener;
  }
  assert.ok(most > 0 && most <= 10, `${most} at once`); // Node's limit
  assert.is(listens.get(signal), 0);
});

on('what is no batch is refused at once', async () => {
  for (const prompts of ['text', [1, 2], [{ role: 'user', content: 'a' }], 7, null, undefined, { prompt: 'a' }]) {
    assert.throws(
      () => nano.generateBatch(prompts as never),
      (error: EspalierError) => error.code === 'E_ARGUMENT',
    );
  }
  for (const options of [{ batch: 0 }, { batch: 65 }, { batchSize: 2 }, { temperature: -1 }, { onToken: 1 }]) {
    assert.throws(
      () => nano.generateBatch(['a'], options as never),
      (error: EspalierError) => error.code === 'E_ARGUMENT',
    );
  }
  assert.equal(await nano.generateBatch([]).results(), []);
  const once = nano.generateBatch(['a'], { maxTokens: 1 });
  assert.is((await once.texts()).length, 1);
  assert.equal(await once.results(), await once.results());
  assert.throws(
    () => once[Symbol.asyncIterator](),
    (error: EspalierError) => error.code === 'E_ARGUMENT',
  );
});

on('where memory is short, fewer are written at once', async () => {
  const many = Array.from({ length: 6 }, (_, i) => ({ prompt: idsOf(nano, 5, i), maxTokens: 8 }));
  const want = [];
  for (const { prompt, ...options } of many) want.push(facts(await nano.generate(prompt, options).result()));
  const caches = { now: 0, most: 0 };
  const cache = nano.decoder.cache.bind(nano.decoder);
  nano.decoder.cache = (...args) => {
    const made = cache(...args);
    const [reserve, dispose] = [made.reserve.bind(made), made.dispose.bind(made)];
    let held = 0;
    made.reserve = (capacity) => {
      if (held === 0 && caches.now >= 2) device.tensor('f32', [2 ** 29, 4]); // more than there is
      reserve(capacity);
      caches.now += 1 - held;
      held = 1;
      caches.most = Math.max(caches.most, caches.now);
    };
    made.dispose = () => {
      dispose();
      caches.now -= held;
      held = 0;
    };
    return made;
  };
  try {
    const results = await nano.generateBatch(many, { batch: 6 }).results();
    assert.equal(
      results.map((result) => facts(result as GenerationResult)),
      want,
    );
    assert.is(caches.most, 2);
  } finally {
    nano.decoder.cache = cache;
  }
});

test('nothing is left', () => {
  for (const { decoder } of models.values()) decoder.dispose();
  for (const { dispose } of choosing) dispose();
  nano.close();
  assert.is(device.stats().tensors, 0);
  device.close();
});

test.run();
