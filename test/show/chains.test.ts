/** Clusters of texts, and a chain for each: which one is taken, and that it is exact. On nano-base. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { openLocal } from '../../src/open-local.ts';
import { clusterTexts } from '../../src/show/place/clusters.ts';
import { Chain, Chains, Show } from '../../src/show.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

const worst = new Worst();
const device = await WasmDevice.create();
const model = await openLocal(await modelTarget('models/nano-base'), { device, precision: 'exact' });
model.decoder.ropes.forward(model.config.maxPositions);
const tensors = device.stats().tensors;

const TOPICS = ['songs by the band', 'rain and snow tomorrow', 'wake me up early'];
const LABELS = ['play music', 'weather', 'set an alarm'];
const shots = Array.from({ length: 18 }, (_, i) => ({
  id: `shot ${i}`,
  input: `${TOPICS[i % 3]} number ${i}`,
  text: `utterance: ${TOPICS[i % 3]} number ${i}\nintent: ${LABELS[i % 3]}\n==\n`,
  label: LABELS[i % 3]!,
}));
const query = 'utterance: snow tomorrow\nintent:';
const input = 'snow tomorrow';
const options = { preset: 'label', labels: LABELS, prompt: 'intent:', grid: [1, 2, 4], threshold: 0.2 } as const;

test('texts that share words come together, in clusters of one size', () => {
  const texts = shots.map((shot) => shot.input);
  const groups = clusterTexts(texts, 3);
  assert.equal(
    groups.map((group) => new Set(group.map((i) => i % 3)).size),
    [1, 1, 1],
  );
  for (const count of [1, 2, 4, 5, 7, 18, 40]) {
    const some = clusterTexts(texts, count);
    assert.is(some.length, Math.min(count, 18));
    assert.ok(some.every((group) => group.length >= 1 && group.length <= Math.ceil(18 / some.length)));
    assert.equal(
      some.flat().sort((a, b) => a - b),
      [...texts.keys()],
    );
    assert.equal(some, clusterTexts(texts, count));
  }
  // the same text any number of times, texts without a word, and none at all
  assert.equal(clusterTexts(['a', 'a', 'a', '', '?'], 2).flat().sort(), [0, 1, 2, 3, 4]);
  assert.equal(clusterTexts([], 3), []);
  for (const count of [0, 1.5, Number.NaN]) {
    assert.throws(
      () => clusterTexts(texts, count),
      (error: EspalierError) => error.code === 'E_ARGUMENT',
    );
  }
  assert.throws(
    () => clusterTexts(Array.from({ length: 8193 }, String), 2),
    (error: EspalierError) => error.code === 'E_ARGUMENT',
  );
});

test('a query goes to the chain of its nearest shots, and is answered exactly', async () => {
  const shares: number[] = [];
  const chains = await Chains.create(model, shots, {
    clusters: 3,
    instruction: 'Name the intent.\n',
    onProgress: (done, total) => void shares.push(done / total),
  });
  assert.is(shares.at(-1), 1);
  assert.ok(shares.every((share, i) => i === 0 || share >= shares[i - 1]!));
  assert.equal(
    chains.chains.map(({ placed }) => placed.length),
    [6, 6, 6],
  );
  const show = await Show.create(chains, options);
  const answer = await show.ask(query, { input, compare: true });
  const mine = chains.chains.find(({ placed }) => placed[0]!.label === 'weather')!;
  assert.ok(answer.receipt.shots.every((id, i) => mine.placed[i]!.id === id));
  assert.is(answer.receipt.exactness, 'causal');
  assert.ok(worst.within('KL to full attention', answer.receipt.comparison!.divergence, 1e-6));
  assert.is(answer.receipt.tokens.rotated, 0);
  // as a chain of the same shots answers
  const chain = await Chain.create(model, mine.placed, { instruction: 'Name the intent.\n' });
  const single = await Show.create(chain, options);
  const same = await single.ask(query, { input });
  assert.equal(same.probabilities, answer.probabilities);
  single.close();
  chain.close();
  // a ranking of one's own decides, the r-th with 1 / r
  const alarm = await show.ask(query, { ranking: ['shot 2', 'shot 1'], shots: 3 });
  assert.ok(alarm.receipt.shots.every((id) => shots.find((shot) => shot.id === id)!.label === 'set an alarm'));
  await rejects('E_ARGUMENT', () => show.ask(query, { ranking: ['nobody'] }));
  await rejects('E_ARGUMENT', () => show.ask(query, { exclude: ['shot 1'] }));
  await rejects('E_ARGUMENT', () => show.ask(query, { shots: 7 }));
  show.close();
  // neighbours vote across chains
  const voting = await Show.create(chains, { ...options, vote: { neighbours: 6, weight: 100 } });
  assert.is((await voting.ask(query, { input })).label, 'weather');
  voting.close();
  assert.is(
    chains.byteLength,
    chains.chains.reduce((sum, { byteLength }) => sum + byteLength, 0),
  );
  chains.close();
  assert.is(device.stats().tensors, tensors, 'tensors left');
});

test('chains that cannot be', async () => {
  await rejects('E_ARGUMENT', () => Chains.create(model, []));
  await rejects('E_ARGUMENT', () => Chains.create(model, [shots[0]!, shots[0]!]));
  await rejects('E_ARGUMENT', () => Chains.create(model, shots, { clusters: 0 }));
  await rejects('E_ARGUMENT', () => Chains.create(model, shots, { most: 0 }));
  await rejects('E_ABORTED', () => Chains.create(model, shots, { signal: AbortSignal.abort() }));
  const long = shots.map((shot) => ({ ...shot, text: 'many words '.repeat(300) }));
  await rejects('E_CONTEXT_LENGTH', () => Chains.create(model, long, { clusters: 1 }));
  const few = await Chains.create(model, shots, { clusters: 2, most: 3 });
  assert.equal(
    few.chains.map(({ placed }) => placed.length),
    [3, 3],
  );
  few.close();
  assert.is(device.stats().tensors, tensors, 'tensors left');
});

test.after(() => {
  model.close();
  device.close();
  worst.print();
});

test.run();
