/** Scores of labels from one pass, held against each label scored by itself. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { renderQuery, renderShot, TEMPLATES } from '../../src/datasets/templates.ts';
import { scoreLabels } from '../../src/evaluate/plain.ts';
import { indexOfLargest } from '../../src/model/divergence.ts';
import { openLocal } from '../../src/open-local.ts';
import { LabelTrie } from '../../src/show/probe/labels.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

const worst = new Worst();
const model = await openLocal(await modelTarget('models/nano-base'), { precision: 'exact' });
const { decoder, tokenizer } = model;
const plain = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });

const template = TEMPLATES.trec;
const shots = [
  { input: 'Who was Galileo ?', output: 'human' },
  { input: 'How far is it ?', output: 'numeric' },
];
const prefix = model.encode(shots.map((shot) => renderShot(template, shot)).join(''));
const query = plain(renderQuery(template, 'What county is Modesto in ?'));
const SETS = [
  ['abbreviation', 'entity', 'description', 'human', 'location', 'numeric'],
  ['card', 'card arrival', 'card arrival late', 'top up', 'top up failed'],
  // more rows than one forward pass with a mask takes
  Array.from({ length: 90 }, (_, i) =>
    `number ${i} of a long list of words that differ at their end`.split(' ').reverse().join(' '),
  ),
];

for (const [i, labels] of SETS.entries()) {
  test(`labels of set ${i} have the scores that each has by itself`, async () => {
    const trie = LabelTrie.create(tokenizer, labels, { prompt: template.output });
    const cache = decoder.cache();
    try {
      await decoder.forward(prefix, cache);
      const scores = await scoreLabels(decoder, cache, query, trie);
      assert.is(cache.length, prefix.length);
      for (const { label, ids } of trie.paths()) {
        if (label % Math.ceil(labels.length / 12) > 0) continue; // a dozen of many
        const scored = await model.score([...prefix, ...query, ...ids]);
        const want = scored.slice(-ids.length).reduce((sum, { logprob }) => sum + logprob!, 0);
        assert.ok(worst.within('log-probability of a label', Math.abs(scores.sums[label]! - want), 2e-4));
      }
      assert.ok(Math.abs(scores.probabilities.reduce((sum, p) => sum + p, 0) - 1) < 1e-12);
      assert.ok(scores.entropy > 0 && scores.entropy <= Math.log(labels.length));
      const inner = trie.branches().reduce((sum, { ids }) => sum + ids.length, 0);
      assert.is(scores.forwarded, query.length + inner);
      if (i === 2) assert.ok(inner > 512);
      // all in one pass, without a cache, is the same
      const empty = decoder.cache();
      const again = await scoreLabels(decoder, empty, [...prefix, ...query], trie);
      empty.dispose();
      assert.is(indexOfLargest(again.sums), indexOfLargest(scores.sums));
      assert.is(again.greedy, scores.greedy);
      for (const [k, sum] of again.sums.entries()) {
        assert.ok(worst.within('with and without a cache', Math.abs(sum - scores.sums[k]!), 2e-4));
      }
    } finally {
      cache.dispose();
    }
  });
}

test('the greedy label is what the model writes where it may write labels only', async () => {
  const labels = SETS[1]!;
  const trie = LabelTrie.create(tokenizer, labels, { prompt: template.output });
  const cache = decoder.cache();
  const { greedy } = await scoreLabels(decoder, cache, query, trie);
  cache.dispose();
  let ids: number[] = [];
  let open = trie.paths();
  while (open.length > 1) {
    const next = [...new Set(open.map((path) => path.ids[ids.length]!))];
    const scored = await Promise.all(next.map((id) => model.score([...query, ...ids, id])));
    const best = indexOfLargest(scored.map((list) => list.at(-1)!.logprob!));
    ids = [...ids, next[best]!];
    open = open.filter((path) => path.ids[ids.length - 1] === next[best]);
  }
  assert.is(greedy, open[0]!.label);
});

test('an abort leaves the cache as it was', async () => {
  const trie = LabelTrie.create(tokenizer, SETS[0]!, { prompt: template.output });
  const cache = decoder.cache();
  await decoder.forward(prefix, cache);
  await rejects('E_ABORTED', () => scoreLabels(decoder, cache, query, trie, AbortSignal.abort()));
  assert.is(cache.length, prefix.length);
  cache.dispose();
});

test.after(() => {
  worst.print();
  model.close();
});
test.run();
