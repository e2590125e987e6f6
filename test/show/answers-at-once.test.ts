/** Free answers to queries that are asked together: what each is by itself, written in common passes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { openLocal } from '../../src/open-local.ts';
import { type Answer, Chain, ShotPool, Show } from '../../src/show.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

const device = await WasmDevice.create();
const model = await openLocal(await modelTarget('models/nano-base'), { device });
model.decoder.ropes.forward(model.config.maxPositions);
model.decoder.ropes.inverse(model.config.maxPositions);
const resting = device.stats().tensors;

/** Texts in each pass. */
let passes: number[] = [];
const each = model.decoder.forwardEach.bind(model.decoder);
model.decoder.forwardEach = (parts, options) => {
  passes.push(parts.length);
  return each(parts, options);
};

const WORDS = ['songs', 'chess', 'something', 'the morning', 'rain'];
const shots = Array.from({ length: 20 }, (_, i) => ({
  id: String(i).padStart(2, '0'),
  text: `One day ${WORDS[i % 5]} came to ${i} girls. They said: we like ${WORDS[(i + 1) % 5]}.\n`,
}));
const QUERIES = ['Lily saw', 'Tom had a', 'The cat', 'One day rain', 'They like chess', 'A big dog', 'She said'];
const options = { preset: 'generate', maxTokens: 12, stop: ['\n'], rank: 'bm25' } as const;

/** All that does not depend on the clock, nor on how much the cache had room for. */
function facts({ text, receipt }: Answer) {
  const { milliseconds, bytes, warnings, ...same } = receipt;
  return { text, ...same };
}

const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    passes = [];
    await run();
    assert.is(device.stats().tensors, resting, 'tensors left');
  });

async function check(show: Show, shared: boolean): Promise<void> {
  const want: ReturnType<typeof facts>[] = [];
  for (const query of QUERIES) want.push(facts(await show.ask(query)));
  passes = [];
  const got = await Promise.all(QUERIES.map((query) => show.ask(query)));
  assert.equal(got.map(facts), want);
  assert.is(
    passes.some((count) => count > 2),
    shared,
    `${passes}`,
  );
  // one after the other again
  assert.equal(facts(await show.ask(QUERIES[0]!)), want[0]);
}

for (const [order, scale] of [
  ['best-first', undefined],
  ['best-nearest', undefined],
  ['best-first', 0.8],
] as const) {
  on(`over a pool, ${order}${scale ? ', with a scale' : ''}`, async () => {
    const pool = await ShotPool.build(model, shots, { storage: 'f32', prefix: 'prefixed' });
    const show = await Show.create(pool, { ...options, order, ...(scale && { scale }) });
    await check(show, scale === undefined);
    show.close();
    pool.close();
  });
}

on('over a pool that recomputes, and over a chain', async () => {
  const pool = await ShotPool.build(model, shots, { storage: 'f32', prefix: 'recompute' });
  const chain = await Chain.create(model, shots.slice(0, 12));
  for (const source of [pool, chain]) {
    const show = await Show.create(source, options);
    await check(show, true);
    show.close();
  }
  pool.close();
  chain.close();
});

on('what is aborted, left or refused disturbs nobody', async () => {
  const pool = await ShotPool.build(model, shots, { storage: 'f32', prefix: 'bare' });
  const show = await Show.create(pool, options);
  const want: string[] = [];
  for (const query of QUERIES) want.push((await show.ask(query)).text);
  const abort = new AbortController();
  const bad = [
    rejects('E_ABORTED', () => show.ask('The', { signal: AbortSignal.abort() })),
    rejects('E_CONTEXT_LENGTH', () => show.ask('word '.repeat(3000))),
    (async () => {
      for await (const _ of show.stream('Two')) break;
    })(),
    rejects('E_ABORTED', async () => {
      for await (const _ of show.stream('Two', { signal: abort.signal })) abort.abort();
    }),
  ];
  const good = QUERIES.map((query) => show.ask(query));
  await Promise.all(bad);
  assert.equal(
    (await Promise.all(good)).map(({ text }) => text),
    want,
  );
  show.close();
  pool.close();
});

on('without memory for a cache of its own an answer keeps its turn', async () => {
  const pool = await ShotPool.build(model, shots, { storage: 'f32', prefix: 'bare' });
  const show = await Show.create(pool, options);
  const want: string[] = [];
  for (const query of QUERIES) want.push((await show.ask(query)).text);
  const cache = model.decoder.cache.bind(model.decoder);
  let refused = 0;
  model.decoder.cache = (...args) => {
    const made = cache(...args);
    made.copyFrom = () => {
      refused++;
      device.tensor('f32', [2 ** 29, 4]); // more than there is
    };
    return made;
  };
  try {
    const got = await Promise.all(QUERIES.map((query) => show.ask(query)));
    assert.equal(
      got.map(({ text }) => text),
      want,
    );
    assert.ok(refused > 0);
  } finally {
    model.decoder.cache = cache;
  }
  show.close();
  pool.close();
});

test('nothing is left', () => {
  model.close();
  assert.is(device.stats().tensors, 0);
  device.close();
});

test.run();
