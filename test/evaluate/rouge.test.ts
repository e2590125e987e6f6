/** ROUGE and its stemmer against rouge_score and NLTK (test/oracles/rouge.py). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { scoreInterval } from '../../src/evaluate/scores/compare.ts';
import { porterStem } from '../../src/evaluate/scores/porter.ts';
import { type RougeScore, rouge, rougeMetric, rougeTokens, sentenceRouge } from '../../src/evaluate/scores/rouge.ts';
import { code } from '../errors.ts';
import { readJson } from '../files.ts';

const TOLERANCE = 1e-12;

/** Of words, pairs and the longest subsequence: precision, recall, F1. */
type Numbers = readonly (readonly number[])[];
interface Fixture {
  readonly stems: readonly (readonly [word: string, stem: string])[];
  readonly tokens: readonly (readonly [text: string, plain: string[], stems: string[]])[];
  readonly pairs: readonly { hypothesis: string; reference: string; scores: readonly [Numbers, Numbers] }[];
  readonly several: readonly { hypothesis: string; references: string[]; scores: readonly [Numbers, Numbers] }[];
}
const fixture = (await readJson('test/fixtures/rouge.json.gz')) as Fixture;

let worst = 0;
function equal(got: RougeScore, want: Numbers, where: string): void {
  const numbers = [got.rouge1, got.rouge2, got.rougeL].map(({ precision, recall, f1 }) => [precision, recall, f1]);
  for (const [i, row] of want.entries()) {
    for (const [j, value] of row.entries()) {
      const error = Math.abs(numbers[i]![j]! - value);
      assert.ok(error <= TOLERANCE, `${where}: ${numbers[i]} against ${row}`);
      worst = Math.max(worst, error);
    }
  }
}

test('stems', () => {
  assert.ok(fixture.stems.length > 10_000);
  for (const [word, stem] of fixture.stems) assert.is(porterStem(word), stem, word);
});

test('words', () => {
  for (const [text, plain, stems] of fixture.tokens) {
    assert.equal(rougeTokens(text, false), plain, text);
    assert.equal(rougeTokens(text, true), stems, text);
  }
});

test('pairs of texts, plain and stemmed', () => {
  for (const { hypothesis, reference, scores } of fixture.pairs) {
    for (const [i, stemmer] of [false, true].entries()) {
      equal(sentenceRouge(hypothesis, [reference], { stemmer }), scores[i]!, `${hypothesis} / ${reference}`);
    }
  }
});

test('several references: of each kind the best', () => {
  for (const { hypothesis, references, scores } of fixture.several) {
    for (const [i, stemmer] of [false, true].entries()) {
      equal(sentenceRouge(hypothesis, references, { stemmer }), scores[i]!, hypothesis);
    }
  }
  console.log(`  worst difference: ${worst.toExponential(1)} of ${TOLERANCE}`);
});

test('of many texts the mean, in JavaScript’s order of arguments', () => {
  const score = rouge(['a b c', ''], ['a b d', 'x']);
  assert.equal(score.rouge1, { precision: 1 / 3, recall: 1 / 3, f1: 1 / 3 });
  assert.is(sentenceRouge('a b', ['a b c d']).rougeL.precision, 1);
  assert.is(sentenceRouge('a b', ['a b c d']).rougeL.recall, 0.5);
  assert.equal(
    rouge(['a', 'b'], [
      ['a', 'c'],
      ['x', null],
    ] as never),
    rouge(['a', 'b'], ['a', 'c']),
  );
});

test('one figure as a metric, with an interval', async () => {
  const { pairs } = fixture;
  const [hypotheses, references] = [pairs.map((pair) => pair.hypothesis), pairs.map((pair) => pair.reference)];
  for (const [k, kind] of (['1', '2', 'L'] as const).entries()) {
    for (const [j, share] of (['precision', 'recall', 'f1'] as const).entries()) {
      const want = pairs.reduce((sum, { scores }) => sum + scores[1][k]![j]!, 0) / pairs.length;
      const metric = rougeMetric({ kind, share, stemmer: true });
      const found = await scoreInterval(metric, hypotheses, references, { samples: 40 });
      assert.ok(Math.abs(found.score - 100 * want) < 1e-10, `ROUGE-${kind} ${share}`);
      assert.is(
        found.signature,
        `nrefs:1|bs:40|seed:0|share:${share}|stem:yes|version:rouge_score-0.1.2|impl:espalier`,
      );
    }
  }
  assert.throws(() => rougeMetric({ kind: 'rougeL' } as never), code('E_ARGUMENT'));
});

test('what is no text is refused', () => {
  assert.throws(() => rouge([], []), code('E_ARGUMENT'));
  assert.throws(() => rouge(['a'], ['a', 'b']), code('E_ARGUMENT'));
  assert.throws(() => sentenceRouge(5 as never, ['a']), code('E_ARGUMENT'));
  for (const references of [[], 'b', null, [null]]) {
    assert.throws(() => sentenceRouge('a', references as never), code('E_ARGUMENT'), JSON.stringify(references));
  }
  assert.throws(() => rouge(['a'], ['a'], { stem: true } as never), code('E_ARGUMENT'));
});

test.run();
