/** Ranking by words, held against another library's scores, and the vote of neighbours. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Bm25, byScore, vote, wordsOf } from '../../src/show/rank/bm25.ts';
import { Worst } from '../device/devices.ts';
import { code } from '../errors.ts';
import { readJson } from '../files.ts';

const { bm25 } = await readJson('test/fixtures/evaluate.json');
const worst = new Worst();

function index(texts: readonly string[], options?: { k1: number; b: number }): Bm25 {
  const made = new Bm25(options);
  texts.forEach((text, i) => {
    made.add(`shot-${i}`, text);
  });
  return made;
}

test('scores are those of bm25s in its form of Lucene', () => {
  for (const { k1, b, scores } of bm25.cases) {
    const texts = index(bm25.texts, { k1, b });
    for (const [q, query] of bm25.queries.entries()) {
      const got = new Map(texts.rank(query).map(({ id, score }) => [id, score]));
      assert.is(got.size, bm25.texts.length);
      for (const [i, want] of scores[q].entries()) {
        assert.ok(worst.within('BM25 score', Math.abs(got.get(`shot-${i}`)! - want), 1e-12), `${k1} ${query} ${i}`);
      }
    }
  }
});

test('the defaults are k1 1.2 and b 0.75', () => {
  const [{ scores }] = bm25.cases;
  const got = index(bm25.texts).rank(bm25.queries[0]);
  assert.ok(Math.abs(got[0]!.score - Math.max(...scores[0])) < 1e-12);
});

test('the best comes first, and equal ones by their ids', () => {
  const list = index(bm25.texts).rank('Who was Galileo');
  assert.equal(
    list.slice(0, 3).map(({ id }) => id),
    ['shot-2', 'shot-9', 'shot-7'],
  );
  assert.ok(list.every(({ score }, i) => i === 0 || score <= list[i - 1]!.score));
  assert.equal(
    index(['a', 'b', 'a', 'c'])
      .rank('nothing')
      .map(({ id }) => id),
    ['shot-0', 'shot-1', 'shot-2', 'shot-3'],
  );
  assert.equal(
    byScore(
      new Map([
        ['z', 1],
        ['b', 2],
        ['a', 1],
      ]),
    ),
    [
      { id: 'b', score: 2 },
      { id: 'a', score: 1 },
      { id: 'z', score: 1 },
    ],
  );
});

test('what is added, replaced and removed leaves the index as if it had been built so', () => {
  const changed = index(['Who was Galileo ?', 'an old text', 'How far is Denver ?']);
  changed.add('shot-1', 'Who was it ?');
  changed.add('more', 'far away');
  assert.ok(changed.remove('more'));
  assert.not(changed.remove('more'));
  assert.is(changed.size, 3);
  const fresh = index(['Who was Galileo ?', 'Who was it ?', 'How far is Denver ?']);
  for (const query of ['who was old far', 'away', 'Denver']) assert.equal(changed.rank(query), fresh.rank(query));
});

test('an empty index, and texts without words', () => {
  assert.equal(new Bm25().rank('anything'), []);
  assert.equal(index(['?', '!']).rank('?'), [
    { id: 'shot-0', score: 0 },
    { id: 'shot-1', score: 0 },
  ]);
});

test('words of any script, in one case and form', () => {
  assert.equal(wordsOf('It’s 3.5 km – ÉCOLE E\u0301cole, ﬁne'), ['it', 's', '3', '5', 'km', 'école', 'école', 'fine']);
  assert.equal(wordsOf('Где музей? 東京 नमस्ते'), ['где', 'музей', '東京', 'नमस्ते']);
  assert.equal(wordsOf(' \n?!'), []);
});

test('options outside their range are refused', () => {
  for (const options of [{ k1: -1 }, { b: 1.1 }, { k1: Number.NaN }]) {
    assert.throws(() => new Bm25(options), code('E_ARGUMENT'));
  }
});

test('neighbours vote with their scores', () => {
  const of = (...list: [string, number][]) => vote(list.map(([label, score]) => ({ label, score })));
  assert.equal(of(['a', 3], ['b', 2], ['b', 2]), [
    { label: 'b', share: 4 / 7 },
    { label: 'a', share: 3 / 7 },
  ]);
  assert.is(of(['a', 2], ['b', 1], ['b', 1])[0]!.label, 'b'); // equal scores: more votes
  assert.is(of(['b', 1], ['a', 1])[0]!.label, 'b'); // and then the nearer one
  assert.equal(of(['a', 0], ['b', 0], ['b', 0]), [
    { label: 'b', share: 2 / 3 },
    { label: 'a', share: 1 / 3 },
  ]);
  assert.throws(() => vote([]), code('E_ARGUMENT'));
});

test.after(() => worst.print());
test.run();
