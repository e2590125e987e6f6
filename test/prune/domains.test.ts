/** Sub-domains: inertia and silhouettes against scikit-learn, the same groups in every runtime, empty clusters, columns, embeddings. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openTrainingData } from '../../src/datasets/training/data.ts';
import { SequenceEncoder } from '../../src/datasets/training/encode.ts';
import { openLocal } from '../../src/open-local.ts';
import { domainsOfColumn, embedExamples } from '../../src/prune/domains/embed-examples.ts';
import { kMeans } from '../../src/prune/domains/k-means.ts';
import { pointsOf } from '../../src/prune/domains/points.ts';
import { Silhouettes } from '../../src/prune/domains/silhouette.ts';
import { subDomains, subDomainsOf } from '../../src/prune/domains/sub-domains.ts';
import { uniform } from '../../src/random.ts';
import { sha256 } from '../../src/runtime/files/hash.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { modelTarget, readJson } from '../files.ts';

interface PointSet {
  readonly stream: number;
  readonly count: number;
  readonly width: number;
  readonly blobs: number;
  readonly spread: number;
  readonly found: readonly { count: number; inertia: number; silhouette: number; turns: number }[];
}

const { sets } = (await readJson('test/fixtures/clusters.json')) as { sets: readonly PointSet[] };
const worst = new Worst();
test.after(() => worst.print());

const vectorsOf = ({ stream, count, width, blobs, spread }: PointSet): number[][] =>
  Array.from({ length: count }, (_, i) =>
    Array.from(
      { length: width },
      (_, k) => uniform(21, (i % blobs) * width + k, stream) + (uniform(22, i * width + k, stream) - 0.5) * spread,
    ),
  );

test('inertia and silhouettes are scikit-learn’s', async () => {
  for (const set of sets) {
    const points = pointsOf(vectorsOf(set));
    const silhouettes = await Silhouettes.of(points, 0);
    for (const { count, inertia, silhouette, turns } of set.found) {
      const found = await kMeans(points, count, { seed: 1, restarts: 1000 });
      // its best of 1000 starts
      assert.ok(
        worst.within('inertia, relative', Math.abs(found.inertia / inertia - 1), 1e-12),
        `${set.stream} ${count}`,
      );
      const byTurns = Uint32Array.from({ length: set.count }, (_, i) => i % count);
      assert.ok(worst.within('silhouette', Math.abs(silhouettes.mean(byTurns, count)! - turns), 1e-13));
      assert.ok(worst.within('silhouette', Math.abs(silhouettes.mean(found.assignments, count)! - silhouette), 1e-13));
      // means of their points, numbered by first points
      assert.equal(
        [...new Set(found.assignments)],
        Array.from({ length: count }, (_, c) => c),
      );
      assert.is(
        found.sizes.reduce((sum, size) => sum + size),
        set.count,
      );
    }
  }
});

test('the highest silhouette chooses; a number that is given is taken', async () => {
  const [four, three] = [vectorsOf(sets[0]!), vectorsOf(sets[1]!)];
  const found = await subDomains(four);
  assert.is(found.count, 4);
  assert.equal(
    [...found.assignments],
    four.map((_, i) => i % 4),
  );
  assert.equal(found.sizes, [15, 15, 15, 15]);
  assert.equal(
    found.tried.map(({ count }) => count),
    [2, 3, 4, 5, 6, 7, 8],
  );
  const mean = (k: number) => four.filter((_, i) => i % 4 === 2).reduce((sum, point) => sum + point[k]!, 0) / 15;
  assert.ok(Math.abs(found.centres![2]![1]! - mean(1)) < 1e-7);
  assert.is((await subDomains(three)).count, 3);
  assert.is((await subDomains(four, { domains: 6 })).count, 6);
  const one = await subDomains(four, { domains: 1 });
  assert.equal([one.count, one.sizes, one.tried[0]!.silhouette], [1, [60], null]);
});

test('the same groups for a seed in every runtime', async () => {
  const noise = vectorsOf(sets[2]!);
  const texts: string[] = [];
  for (const seed of [0, 1, 2 ** 40]) {
    const { assignments, tried, centres } = await subDomains(noise, { domains: 7, seed, restarts: 1 });
    texts.push(JSON.stringify([[...assignments], tried, centres!.map((centre) => [...centre])]));
  }
  assert.is(new Set(texts).size, 3);
  assert.is(await sha256(texts.join('\n')), '02c53e723242ac7d2a782e82f33705c096e7f39c79163cddce69cefb31a818b3');
});

test('points that lie on one another, empty clusters, and too few different ones', async () => {
  const twins = [...Array.from({ length: 9 }, () => [1, 0]), [0, 1], [0, 1], [5, 5]];
  const found = await subDomains(twins);
  assert.equal([found.count, found.sizes], [3, [9, 2, 1]]);
  assert.is(found.tried.at(-1)!.inertia, 0);
  assert.match((await rejects('E_ARGUMENT', () => subDomains(twins, { domains: 4 }))).message, 'There are 3 different');
  const same = await subDomains(twins.slice(0, 5));
  assert.equal([same.count, same.sizes, same.tried.length], [1, [5], 1]);
  assert.is((await subDomains([[1, 2]])).count, 1);
  assert.is((await subDomains([[1], [2]])).count, 1);
  // centres that start far from all but one point each lose it to others
  for (let seed = 0; seed < 40; seed++) {
    const line = Array.from({ length: 12 }, (_, i) => [uniform(seed, i, 5) ** 6]);
    const clusters = await kMeans(pointsOf(line), 8, { seed, restarts: 1 });
    assert.ok(clusters.sizes.every((size) => size > 0));
  }
});

test('what is no set of vectors is refused', async () => {
  for (const bad of [[], [[]], [[1], [1, 2]], [[Number.NaN]], [[1], [Number.POSITIVE_INFINITY]]]) {
    await rejects('E_ARGUMENT', () => subDomains(bad));
  }
  for (const domains of [0, 1.5, 'two']) await rejects('E_ARGUMENT', () => subDomains([[1]], { domains } as never));
  await rejects('E_ABORTED', () => subDomains(vectorsOf(sets[0]!), { signal: AbortSignal.abort() }));
  assert.throws(() => subDomainsOf(['a', '']));
  assert.throws(() => subDomainsOf([]));
});

test('of many points a sample is compared', async () => {
  const many = Array.from({ length: 2100 }, (_, i) => [(i % 2) * 10 + uniform(3, i)]);
  const silhouettes = await Silhouettes.of(pointsOf(many), 0);
  assert.is(silhouettes.points, 2000);
  assert.ok(
    silhouettes.mean(
      Uint32Array.from(many, (_, i) => i % 2),
      2,
    )! > 0.9,
  );
});

const bytes = (rows: readonly object[]) => new TextEncoder().encode(rows.map((row) => JSON.stringify(row)).join('\n'));
const rows = [
  { prompt: 'What is 2 + 3?', answer: ' 5.', of: 'sums' },
  { prompt: 'Who is Tom?', answer: ' Tom is a dog.', of: 'dogs' },
  { prompt: 'What is 4 + 4?', answer: ' 8.', of: 'sums' },
];

test('domains that a column names', async () => {
  const data = await openTrainingData(bytes(rows), { format: 'jsonl' });
  const { names, assignments, sizes, count } = await domainsOfColumn(data, 'of');
  assert.equal([names, [...assignments], sizes, count], [['sums', 'dogs'], [0, 1, 0], [2, 1], 2]);
  const wrong = await rejects('E_DATA_INVALID', () => domainsOfColumn(data, 'topic'));
  assert.match(wrong.message, /line 1: there is no topic/);
});

test('a vector for each example: the mean of its last hidden states, of length 1', async () => {
  const model = await openLocal(await modelTarget('models/nano-base'));
  try {
    const data = await openTrainingData(bytes(rows), { format: 'jsonl' });
    const told: (readonly [number, number])[] = [];
    const vectors = await embedExamples(model, data, new SequenceEncoder(model), {
      onProgress: (...counts) => told.push(counts),
    });
    // within a block of examples, too: with a large model it takes long
    const done = told.map(([count]) => count);
    assert.equal(
      done,
      done.slice().sort((a, b) => a - b),
    );
    assert.equal([done[0], done.at(-1)], [0, data.train.length]);
    assert.ok(new Set(done).size > 2, `${done}`);
    assert.ok(told.every(([, total]) => total === data.train.length));
    const ids = [...model.encode(rows[1]!.prompt + rows[1]!.answer), model.tokenizer.eosId!];
    const [want] = await model.embed(ids, { normalise: true });
    assert.ok(vectors[1]!.every((x, k) => Math.abs(x - want![k]!) < 1e-6));
    assert.is(vectors.length, 3);
    const { assignments } = await subDomains(vectors, { domains: 2 });
    assert.equal([...assignments], [0, 1, 0]);
    const short = new SequenceEncoder(model, { long: 'skip', maxTokens: 8 });
    assert.match((await rejects('E_DATA_INVALID', () => embedExamples(model, data, short))).message, /line \d/);
  } finally {
    model.close();
  }
});

test.run();
