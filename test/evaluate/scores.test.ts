/** BLEU and chrF against sacreBLEU (test/oracles/scores.py); exact match and perplexity against their formulas. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bleu, bleuMetric, sentenceBleu } from '../../src/evaluate/scores/bleu.ts';
import { chrf, chrfMetric, sentenceChrf } from '../../src/evaluate/scores/chrf.ts';
import { compareScores, scoreInterval } from '../../src/evaluate/scores/compare.ts';
import { exactMatch } from '../../src/evaluate/scores/exact-match.ts';
import type {
  BleuOptions,
  ChrfOptions,
  ExactMatchOptions,
  SamplingOptions,
} from '../../src/evaluate/scores/options.ts';
import { perplexity } from '../../src/evaluate/scores/perplexity.ts';
import { BLEU_TOKENIZERS, tokenize } from '../../src/evaluate/scores/tokenizers.ts';
import { trimmedEnd, words } from '../../src/evaluate/scores/words.ts';
import { code, rejects } from '../errors.ts';
import { readJson } from '../files.ts';

/** Figures up to 100, of some sums, one logarithm and one exponential: 7.1e-14 is the worst that was seen. */
const TOLERANCE = 1e-11;

interface Corpus {
  readonly systems: readonly (readonly string[])[];
  readonly references: readonly (readonly (string | null)[])[];
}
interface Row {
  readonly references: number;
  readonly corpus: {
    name: string;
    score: number;
    counts: number[];
    totals: number[];
    precisions: number[];
    bp: number;
    lengths: number[];
  };
  readonly signature: string;
  readonly sentences?: readonly number[];
}
interface Suite {
  readonly options: Readonly<Record<string, unknown>>;
  readonly corpora: Readonly<Record<string, readonly Row[]>>;
}

const fixture = await readJson('test/fixtures/scores.json.gz');
const corpora = fixture.corpora as Readonly<Record<string, Corpus>>;

/** Names of sacreBLEU's options, as ours. */
const NAMES: Readonly<Record<string, string>> = {
  tokenize: 'tokenize',
  lowercase: 'lowercase',
  smooth_method: 'smoothing',
  smooth_value: 'smoothingValue',
  max_ngram_order: 'maxOrder',
  effective_order: 'effectiveOrder',
  char_order: 'charOrder',
  word_order: 'wordOrder',
  beta: 'beta',
  whitespace: 'whitespace',
  eps_smoothing: 'epsSmoothing',
};
const ours = (options: Suite['options']) =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [NAMES[name]!, value]));

/** The largest difference that was seen, by what it is of. */
class Worst {
  #found = 0;
  add(got: number, want: number, where: string): void {
    const error = Math.abs(got - want);
    assert.ok(error <= TOLERANCE, `${where}: ${got}, sacreBLEU has ${want}`);
    this.#found = Math.max(this.#found, error);
  }
  print(what: string): void {
    console.log(`  worst difference of ${what}: ${this.#found.toExponential(1)} of ${TOLERANCE}`);
  }
}

/** Every corpus and every setting of a suite. */
function each(suites: readonly Suite[], run: (suite: Suite, corpus: Corpus, row: Row, where: string) => void): number {
  let count = 0;
  for (const suite of suites) {
    for (const [name, rows] of Object.entries(suite.corpora)) {
      for (const row of rows) {
        run(suite, corpora[name]!, row, `${JSON.stringify(suite.options)}, ${name}, ${row.references} references`);
        count++;
      }
    }
  }
  return count;
}

const referencesOf = (references: Corpus['references'], i: number) =>
  references.map((list) => list[i]!).filter((text) => text !== null);

test('BLEU of corpora and sentences', () => {
  const worst = new Worst();
  const count = each(fixture.bleu, ({ options }, { systems, references: all }, row, where) => {
    const given = ours(options) as BleuOptions;
    const references = all.slice(0, row.references);
    const got = bleu(systems[0]!, references, given);
    worst.add(got.score, row.corpus.score, where);
    assert.equal(got.totals, row.corpus.totals, where);
    assert.equal(got.counts, row.corpus.counts, where);
    assert.equal([got.hypothesisLength, got.referenceLength], row.corpus.lengths, where);
    worst.add(got.brevityPenalty, row.corpus.bp, where);
    for (const [n, precision] of got.precisions.entries()) worst.add(precision, row.corpus.precisions[n]!, where);
    assert.is(got.signature, `${row.signature}|impl:espalier`, where);
    for (const [i, want] of (row.sentences ?? []).entries()) {
      const one = sentenceBleu(systems[0]![i]!, referencesOf(references, i), { effectiveOrder: false, ...given });
      worst.add(one.score, want, `${where}, sentence ${i + 1}`);
    }
  });
  assert.ok(count > 600, `${count}`);
  worst.print(`${count} BLEU figures`);
});

test('chrF and chrF++ of corpora and sentences', () => {
  const worst = new Worst();
  const count = each(fixture.chrf, ({ options }, { systems, references: all }, row, where) => {
    const given = ours(options) as ChrfOptions;
    const references = all.slice(0, row.references);
    const got = chrf(systems[0]!, references, given);
    worst.add(got.score, row.corpus.score, where);
    assert.is(got.name, row.corpus.name);
    assert.is(got.signature, `${row.signature}|impl:espalier`, where);
    for (const [i, want] of (row.sentences ?? []).entries()) {
      const one = sentenceChrf(systems[0]![i]!, referencesOf(references, i), given);
      worst.add(one.score, want, `${where}, sentence ${i + 1}`);
    }
  });
  assert.ok(count > 400, `${count}`);
  worst.print(`${count} chrF figures`);
});

test('words of every tokenizer, of texts in nineteen languages and of noise', () => {
  const { lines } = fixture.tokenized;
  for (const name of BLEU_TOKENIZERS) {
    for (const [i, line] of lines.entries()) {
      assert.equal(tokenize(name, trimmedEnd(line)), fixture.tokenized[name][i], `${name}: ${JSON.stringify(line)}`);
    }
  }
});

/** Code points in ranges of first and last. */
function* within(ranges: readonly number[]): Generator<number> {
  for (let i = 0; i < ranges.length; i += 2) for (let point = ranges[i]!; point <= ranges[i + 1]!; point++) yield point;
}

/** All that a text of Python may hold. */
function* points(): Generator<number> {
  for (let point = 0; point < 0x110000; point++) if (point < 0xd800 || point > 0xdfff) yield point;
}

test('categories of all code points are those of Python’s regex, but for characters that the host does not know', () => {
  const unknown = /\p{Cn}/u;
  for (const [name, expression] of [
    ['P', /\p{P}/u],
    ['S', /\p{S}/u],
    ['N', /\p{N}/u],
  ] as const) {
    const wanted = new Set(within(fixture.categories[name]));
    let [same, newer] = [0, 0];
    for (const point of points()) {
      const char = String.fromCodePoint(point);
      if (expression.test(char) === wanted.has(point)) same++;
      else if (wanted.has(point) && unknown.test(char)) newer++;
      else assert.unreachable(`\\p{${name}}: U+${point.toString(16)}`);
    }
    console.log(
      `  worst of \\p{${name}}: ${newer} of ${wanted.size} characters are newer than this host; ${same} are the same`,
    );
    assert.ok(newer < 500, `${newer} are unknown here`);
  }
});

test('white space and lower case of all code points are Python’s', () => {
  const spaces = new Set<number>(fixture.spaces);
  const lower = new Map<string, string>(fixture.lower);
  const more: string[] = [];
  for (const point of points()) {
    const char = String.fromCodePoint(point);
    assert.is(words(`a${char}b`).length, spaces.has(point) ? 2 : 1, `U+${point.toString(16)}`);
    const want = lower.get(char);
    if (want !== undefined) assert.is(char.toLowerCase(), want, `U+${point.toString(16)}`);
    else if (char.toLowerCase() !== char) more.push(char);
  }
  // capitals that are younger than the Python of the fixture (Unicode 14)
  console.log(`  worst of lower case: ${more.length} letters are newer than the fixture`);
  assert.ok(
    more.every((char) => !/\p{Script=Latin}/u.test(char) || char.codePointAt(0)! >= 0xa7c0),
    more.join(),
  );
  assert.ok(more.length < 100);
});

test('intervals and paired tests, with our draws in sacreBLEU', async () => {
  const { systems, references: all } = corpora['all']!;
  const references = all.slice(0, 2);
  const worst = new Worst();
  for (const { metric: name, options, seed, resamples, trials, ...want } of fixture.tests) {
    const metric = name === 'bleu' ? bleuMetric(ours(options)) : chrfMetric(ours(options));
    const bootstrap = await compareScores(metric, systems[0]!, systems[1]!, references, { samples: resamples, seed });
    for (const [i, one] of [bootstrap.baseline, bootstrap.system].entries()) {
      worst.add(one.score, want.scores[i], name);
      worst.add(one.mean, want.intervals[i][0], `${name}, mean`);
      worst.add(one.halfWidth, want.intervals[i][1], `${name}, interval`);
    }
    worst.add(bootstrap.difference, want.scores[1] - want.scores[0], name);
    assert.is(bootstrap.p, want.bootstrap);
    const given = { test: 'randomisation', samples: trials, seed } as const;
    assert.is((await compareScores(metric, systems[0]!, systems[1]!, references, given)).p, want.randomisation);
    const alone = await scoreInterval(metric, systems[0]!, references, { samples: resamples, seed });
    assert.equal([alone.mean, alone.halfWidth], [bootstrap.baseline.mean, bootstrap.baseline.halfWidth]);
    assert.match(alone.signature, `nrefs:2|bs:${resamples}|seed:${seed}|case:mixed|`);
  }
  worst.print('intervals');
  const metric = bleuMetric();
  const same = await compareScores(metric, systems[0]!, systems[0]!, references, { samples: 100 });
  assert.is(same.p, 1 / 101, 'as sacreBLEU has it: no difference is above 0');
  const controller = new AbortController();
  controller.abort();
  await rejects('E_ABORTED', () =>
    compareScores(metric, systems[0]!, systems[1]!, references, { signal: controller.signal }),
  );
});

test('one list of references is as good as a list with it', () => {
  assert.equal(bleu(['a b c d e'], ['a b c d e']), bleu(['a b c d e'], [['a b c d e']]));
  assert.is(bleu(['a b c d e'], ['a b c d e']).score.toFixed(9), '100.000000000');
  assert.is(chrf(['x'], ['x']).score, 100);
});

test('what is no corpus is refused', () => {
  const wrong: readonly (readonly [unknown, unknown])[] = [
    [[], []],
    ['a', ['a']],
    [['a'], []],
    [['a'], ['a', 'b']],
    [['a'], [['a'], ['b', 'c']]],
    [
      ['a', 'b'],
      [
        ['a', null],
        ['b', null],
      ],
    ],
    [[null], ['a']],
    [['a'], [[5]]],
    [['a'], 'a'],
    [['a'], null],
  ];
  for (const [hypotheses, references] of wrong) {
    for (const score of [bleu, chrf, exactMatch])
      assert.throws(
        () => score(hypotheses as string[], references as string[]),
        code('E_ARGUMENT'),
        JSON.stringify(references),
      );
  }
  for (const options of [
    { tokenize: 'ja-mecab' },
    { smoothing: 'x' },
    { maxOrder: 0 },
    { lowercase: 1 },
    { smooth: 'exp' },
  ]) {
    assert.throws(() => bleu(['a'], ['a'], options as BleuOptions), code('E_ARGUMENT'), JSON.stringify(options));
  }
  assert.throws(() => chrf(['a'], ['a'], { beta: 0 }), code('E_ARGUMENT'));
  for (const references of [[], 'b', null, undefined, [null], [5], {}]) {
    for (const score of [sentenceBleu, sentenceChrf])
      assert.throws(() => score('a', references as never), code('E_ARGUMENT'), JSON.stringify(references));
  }
  for (const options of [{ lowercase: 'yes' }, { lowerCase: true }]) {
    assert.throws(() => exactMatch(['a'], ['A'], options as ExactMatchOptions), code('E_ARGUMENT'));
  }
});

test('an interval is of no test', async () => {
  const error = await rejects('E_ARGUMENT', () =>
    scoreInterval(bleuMetric(), ['a'], ['a'], { test: 'randomisation' } as SamplingOptions),
  );
  assert.match(error.message, /test/);
});

test('white space is not tried over and over: time grows with the length', () => {
  const spaces = `a${' '.repeat(1_000_000)}b`;
  const started = performance.now();
  assert.is(trimmedEnd(`${spaces}\u3000\t`), spaces);
  assert.ok(bleu([spaces], ['a b'], { maxOrder: 2 }).score > 99.9);
  assert.is(Math.round(chrf([spaces], ['a b']).score), 100);
  assert.ok(performance.now() - started < 5000, `${performance.now() - started} ms`);
});

test('words of what is no tokenizer and no text are refused', () => {
  for (const [name, text] of [
    ['14a', 'a'],
    [undefined, 'a'],
    ['13a', 5],
    ['none', null],
  ] as const) {
    assert.throws(() => tokenize(name as never, text as never), code('E_ARGUMENT'));
  }
  const good = { logProbability: -1, tokens: 1, text: 'a' };
  for (const wrong of [
    null,
    5,
    [null],
    [{}],
    [{ ...good, tokens: Number.POSITIVE_INFINITY }],
    [{ ...good, tokens: 1.5 }],
    [{ ...good, text: undefined }],
    [{ ...good, logProbability: '-1' }],
  ]) {
    assert.throws(() => perplexity(wrong as never), code('E_ARGUMENT'));
  }
});

test('exact match', () => {
  const hypotheses = [' Berlin', 'Paris\n', 'rome', '', 'x'];
  const first = ['Berlin', 'Lyon', 'Rome', '', 'y'];
  assert.equal(exactMatch(hypotheses, first), { name: 'exact match', score: 40, matches: 2, count: 5 });
  assert.is(exactMatch(hypotheses, [first, ['a', 'Paris', 'b', 'c', null]]).score, 60);
  assert.is(exactMatch(hypotheses, first, { lowercase: true }).score, 60);
});

test('perplexity a token, a word and a byte', () => {
  const logs = [-1, -2.5, -0.5];
  const sum = logs.reduce((total, log) => total + log, 0);
  const texts = [
    { logProbability: logs[0]! + logs[1]!, tokens: 2, text: 'Äpfel essen' },
    { logProbability: logs[2]!, tokens: 1, text: ' 😀 ' },
  ];
  const found = perplexity(texts);
  assert.equal([found.tokens, found.words, found.bytes], [3, 3, 18]);
  const worst = new Worst();
  worst.add(found.perToken, Math.exp(4 / 3), 'token');
  worst.add(found.crossEntropy, -sum / 3, 'nats');
  worst.add(found.perWord, Math.exp(-sum / 3), 'word');
  worst.add(found.perByte, Math.exp(-sum / 18), 'byte');
  worst.add(found.bitsPerByte, -sum / 18 / Math.log(2), 'bits');
  worst.print('perplexity');
  assert.throws(() => perplexity([]), code('E_ARGUMENT'));
  assert.throws(() => perplexity([{ logProbability: 1, tokens: 1, text: 'a' }]), code('E_ARGUMENT'));
  assert.throws(() => perplexity([{ logProbability: Number.NaN, tokens: 1, text: 'a' }]), code('E_ARGUMENT'));
});

test.run();
