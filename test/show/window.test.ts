/** Models with a sliding window, in all layers or some: chains and plain text obey it, shots that were cached alone must fit it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device } from '../../src/device/device.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { scoreLabels } from '../../src/evaluate/plain.ts';
import { Generation } from '../../src/model/generate/generation.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openPlainText } from '../../src/show/answer/plain-text.ts';
import { Chain, LabelTrie, ShotContext, ShotPool, Show } from '../../src/show.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { tinyModel } from './models.ts';

const worst = new Worst();
const device: Device = await WasmDevice.create();
const LABELS = ['upon', 'upper', 'down', 'left', 'lessen'];
const shots = ['one: upon;', 'two: down;', 'three: left;', 'four: upper;'].map((text, i) => ({ id: `${i}`, text }));
const QUERY = 'five and six:';

const open = (name: string, slidingWindow: number): Promise<LocalModel> =>
  tinyModel(name, device, { bos: true, maxPositions: 160, slidingWindow });

/** Probabilities of the labels, from the model's own `score`. */
async function scored(model: LocalModel, before: readonly number[]): Promise<number[]> {
  const query = model.encode(QUERY, { addBos: false });
  const sums: number[] = [];
  for (const { ids } of LabelTrie.create(model.tokenizer, LABELS, { prompt: QUERY }).paths()) {
    const list = await model.score([...before, ...query, ...ids]);
    sums.push(list.slice(-ids.length).reduce((sum, { logprob }) => sum + logprob!, 0));
  }
  const mass = sums.reduce((sum, log) => sum + Math.exp(log), 0);
  return sums.map((log) => Math.exp(log) / mass);
}

const furthest = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((p, i) => Math.abs(p - b[i]!)));

const labelled = { preset: 'label', labels: LABELS, prompt: QUERY, rank: 'bm25', vote: null, ensemble: 'one' } as const;

for (const name of ['mistral-window', 'qwen2-window', 'gemma3']) {
  // the query alone is longer than 8; with 20 the end of the shots is seen, with 44 all but their beginning
  for (const window of [8, 20, 44]) {
    test(`${name} with a window of ${window}: behind a chain as the model scores it`, async () => {
      const model = await open(name, window);
      const unbounded = await open(name, 1000);
      const chain = await Chain.create(model, shots);
      const show = await Show.create(chain, { ...labelled, grid: [0, 1, 2, 4], threshold: 0 });
      let apart = 0;
      for (const count of [0, 1, 2, 4]) {
        const before = [...chain.prefix, ...chain.tokens(count)];
        const want = await scored(model, before);
        const { probabilities, receipt } = await show.ask(QUERY, { shots: count, compare: true });
        const got = LABELS.map((label) => probabilities![label]!);
        assert.ok(worst.within('behind a chain', furthest(got, want), 1e-5), `${count}: ${got} ${want}`);
        assert.is(receipt.exactness, 'causal');
        assert.ok(worst.within('KL to plain text', receipt.comparison!.divergence, 1e-9));
        assert.is(receipt.comparison!.sameLabel, true);
        apart = Math.max(apart, furthest(want, await scored(unbounded, before)));
      }
      assert.ok(apart > 1e-4, `the window makes a difference of ${apart}`);
      // several counts beside each other
      const { receipt } = await show.ask(QUERY);
      assert.is(receipt.probes.length, 4);
      for (const { shots: count, entropy } of receipt.probes) {
        const want = await scored(model, [...chain.prefix, ...chain.tokens(count)]);
        const nats = -want.reduce((sum, p) => sum + p * Math.log(p), 0);
        assert.ok(worst.within('entropy of a count among others', Math.abs(entropy - nats), 1e-5));
      }
      show.close();

      // the evaluation's full attention
      const cache = model.decoder.cache();
      const prefix = [...chain.prefix, ...chain.tokens(4)];
      const trie = LabelTrie.create(model.tokenizer, LABELS, { prompt: QUERY });
      await model.decoder.forward(prefix, cache);
      const plain = await scoreLabels(model.decoder, cache, model.encode(QUERY, { addBos: false }), trie);
      cache.dispose();
      assert.ok(worst.within('plain passes', furthest([...plain.probabilities], await scored(model, prefix)), 1e-5));

      // free text
      const ids = model.encode(QUERY, { addBos: false });
      const { decoder, tokenizer } = model;
      const writing = { decoder, tokenizer, eosIds: new Set<number>() };
      const options = { maxTokens: 12 };
      const want = await new Generation(writing, [...prefix, ...ids], options).result();
      const text = await openPlainText(model, prefix);
      for (const behind of [await chain.continueAt(4), text.continuation()]) {
        const got = await new Generation({ ...writing, behind }, ids, options).result();
        behind.end();
        assert.equal(
          got.tokens.map(({ id }) => id),
          want.tokens.map(({ id }) => id),
        );
      }
      text.close();
      chain.close();
      model.close();
      unbounded.close();
    });
  }
}

test('shots that were cached alone must fit the window with the query', async () => {
  const model = await open('mistral-window', 60);
  const unbounded = await open('mistral-window', 1000);
  for (const order of ['best-first', 'best-nearest'] as const) {
    const options = { ...labelled, order, grid: [1, 2, 4], threshold: 0, room: 24 };
    const [near, far] = await Promise.all(
      [model, unbounded].map(async (one) => {
        const pool = await ShotPool.build(one, shots);
        return { pool, show: await Show.create(pool, options) };
      }),
    );
    // what fits is what it would be without a window
    const fits = await near!.show.ask(QUERY, { shots: 2 });
    const same = await far!.show.ask(QUERY, { shots: 2 });
    for (const label of LABELS) {
      const apart = Math.abs(fits.probabilities![label]! - same.probabilities![label]!);
      assert.ok(worst.within('within the window', apart, 1e-5));
    }
    await rejects('E_CONTEXT_LENGTH', () => near!.show.ask(QUERY, { shots: 4 }));
    const { receipt } = await near!.show.ask(QUERY);
    assert.ok(
      receipt.probes.every(({ shots: count }) => count < 4),
      'counts beyond the window are not tried',
    );
    await rejects('E_CONTEXT_LENGTH', () => near!.show.ask(`${'long '.repeat(11)}${QUERY}`));
    for (const { show, pool } of [near!, far!]) {
      show.close();
      pool.close();
    }
  }
  // what is written ends with the window
  const pool = await ShotPool.build(model, shots);
  const context = await ShotContext.create(pool, { room: 24, temperature: 0.8, scale: 1 });
  await context.place(['0', '1']);
  const behind = await context.continueAt(2);
  const ids = model.encode(QUERY, { addBos: false });
  const { decoder, tokenizer } = model;
  const written = await new Generation({ decoder, tokenizer, eosIds: new Set<number>(), behind }, ids, {}).result();
  assert.is(written.tokens.length, 60 - context.prefix.length - context.tokens(2).length - ids.length);
  assert.is(written.finishReason, 'length');
  behind.end();
  // a branch by hand, and what forks from it
  const start = context.prefix.length + context.tokens(2).length;
  const branch = (count: number) => [{ ids: Array.from({ length: count }, () => 3), shots: 2 }];
  const forked = (count: number) =>
    context.branches(branch(count), (_, __, fork) => fork([{ branch: 0, ids: [3, 3] }], async () => {}));
  await context.branches(branch(60 - start), async () => {});
  await rejects('E_CONTEXT_LENGTH', () => context.branches(branch(61 - start), async () => {}));
  await forked(58 - start);
  await rejects('E_CONTEXT_LENGTH', () => forked(59 - start));
  context.close();
  await rejects('E_CONTEXT_LENGTH', () => pool.encodeQuery('long '.repeat(13)));
  pool.close();
  model.close();
  unbounded.close();
});

test('a mask that knows no window is refused beyond it', async () => {
  const model = await open('qwen2-window', 8);
  const cache = model.decoder.cache();
  const ids = Array.from({ length: 9 }, () => 3);
  const causal = (count: number) => Int32Array.from({ length: 3 * count }, () => 0);
  await model.decoder.forward(ids.slice(0, 8), cache, { mask: causal(8) });
  cache.truncate(0);
  await rejects('E_ARCHITECTURE_UNSUPPORTED', () => model.decoder.forward(ids, cache, { mask: causal(9) }));
  assert.is(cache.length, 0);
  await rejects('E_ARGUMENT', () => model.decoder.forward(ids, cache, { mask: causal(9), windowMask: causal(8) }));
  cache.dispose();
  model.close();
});

test.after(() => worst.print());
test.run();
