/** Measures of free answers against values that were worked out by hand, and against the scores that they are made of. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sentenceChrf } from '../../src/evaluate/scores/chrf.ts';
import { objectIn, pairsOf } from '../../src/evaluate/scores/json-pairs.ts';
import { lastNumber } from '../../src/evaluate/scores/last-number.ts';
import { isGraded, lacking, MEASURES, scoreText } from '../../src/evaluate/scores/measures.ts';
import { sentenceRouge } from '../../src/evaluate/scores/rouge.ts';
import { code } from '../errors.ts';

test('the last number of a text', () => {
  const table: readonly (readonly [text: string, ...readings: string[]])[] = [
    ['She has 5 apples and eats 2. So 3 are left.', '3'],
    ['so 3 are left\n#### 1,234', '1234', '1.234'],
    ['#### 18\nQuestion: what is 5 ?', '18'],
    ['#### 1\n#### 2', '2'],
    ['12 of them ####', '12'],
    ['#### none\n7', '7'],
    ['it costs $12.50', '12.5'],
    ['$-5', '-5'],
    ['-$5', '-5'],
    ['\u2212 5', '5'],
    ['\u22125', '-5'],
    ['10-5', '5'],
    ['(10)-5', '5'],
    ['3 + -4', '-4'],
    ['+4', '4'],
    ['-0', '0'],
    ['72.0', '72'],
    ['72.', '72'],
    ['007', '7'],
    ['0.50', '0.5'],
    ['150 %', '150'],
    ['1,000,000 in all', '1000000'],
    ['80.000 US-Dollar', '80', '80000'],
    ['0.125', '0.125'],
    ['1.234,50 \u20ac', '1234.5'],
    ['1,234.50', '1234.5'],
    ['1.234.567', '1234567'],
    ['3,5 kg', '3.5'],
    ['12,25', '12.25'],
    ['70\u00a0000 dollars', '70000'],
    ['70\u202f000', '70000'],
    ["70'000", '70000'],
    ['3 400', '3400', '400'],
    ['page 3 40', '40'],
    ['1234,567', '1234.567'],
    ['\u09e7\u09e8\u09e9', '123'],
    ['\u0e51\u0e58', '18'],
    ['\u0c67\u0c68.\u0c6b', '12.5'],
    ['\uff11\uff18', '18'],
    ['\u7b54\u6848\u662f18\u3002', '18'],
    ['1/2', '2'],
    ['99999999999999999999', '99999999999999999999'],
    ['none'],
    [''],
  ];
  for (const [text, ...readings] of table) assert.equal(lastNumber(text), readings, text);
});

test('number is right where a reading is', () => {
  assert.is(scoreText('number', 'Er macht 70.000 Dollar Gewinn.', '70000'), 1);
  assert.is(scoreText('number', '#### 70,000', '70000'), 1);
  assert.is(scoreText('number', '70', '70000'), 0);
  assert.is(scoreText('number', '5 + 5 = 10', 'five and five\n#### 10'), 1);
  assert.is(scoreText('number', '', '10'), 0);
  assert.is(scoreText('number', '10.0 apples', '10'), 1);
  assert.is(scoreText('number', '-10', '10'), 0);
  // the truth is read one way
  assert.is(scoreText('number', '1.234', '1,234'), 1);
  assert.is(scoreText('number', '1234', '1.234'), 0);
  assert.is(lacking('number', 'none'), 'number');
  assert.is(lacking('number', '#### 4'), null);
});

test('exact looks past case and white space alone', () => {
  assert.is(scoreText('exact', ' The\n cat ', 'the cat'), 1);
  assert.is(scoreText('exact', 'cafe\u0301', 'CAF\u00c9'), 1);
  assert.is(scoreText('exact', 'the cat.', 'the cat'), 0);
  assert.is(scoreText('exact', '', ''), 1);
});

test('pairs of objects', () => {
  assert.equal(pairsOf({ a: 1, b: { c: 'X  y', d: [1, { e: null }] }, f: [], g: {} }).toSorted(), [
    '"a":1',
    '"b""c":"x y"',
    '"b""d"[]"e":null',
    '"b""d"[]:1',
    '"f":[]',
    '"g":{}',
  ]);
  // a key with signs in it is not a path
  assert.not.equal(pairsOf({ 'a.b': 1 }), pairsOf({ a: { b: 1 } }));
  assert.equal(objectIn('Sure: {"a": "}"} and {"b": 1}'), { a: '}' });
  assert.equal(objectIn('{"a": "\\"}"}'), { a: '"}' });
  for (const text of ['', 'none', '{"a": 1', '{a: 1}', '[1]', '}{', '{"a": 1,}']) assert.is(objectIn(text), null, text);
  const deep = `{"a":${'['.repeat(2e5)}${']'.repeat(2e5)}}`;
  assert.ok(scoreText('json', deep, '{"a": 1}') === 0);
});

test('json is F1 over pairs', () => {
  const truth = '{"intent": "alarm set", "time": "five am", "days": ["mon", "tue"]}';
  const table: readonly (readonly [text: string, score: number])[] = [
    [truth, 1],
    ['{"days":["TUE","mon"],"time":"Five  am","intent":"alarm set"}', 1],
    ['{"intent": "alarm set"}', 2 / 5],
    ['{"intent": "alarm set", "time": "six am"}', 2 / 6],
    ['{"intent": "alarm set", "time": "five am", "days": ["mon", "mon"]}', 6 / 8],
    ['{"intent": "alarm set", "time": "five am", "days": "mon"}', 4 / 7],
    ['{}', 0],
    ['{"intent": "alarm set"', 0],
    ['alarm set', 0],
  ];
  for (const [text, score] of table) assert.is(scoreText('json', text, truth), score, text);
  assert.is(scoreText('json', '{}', '{}'), 1);
  assert.is(scoreText('json', '{"a": 1}', '{"a": "1"}'), 0);
  assert.is(scoreText('json', '{"a": 1.0}', '{"a": 1}'), 1);
  assert.is(scoreText('json', '{"__proto__": 1}', '{"__proto__": 1}'), 1);
  assert.is(lacking('json', 'text'), 'valid object of JSON');
});

test('chrf and rouge-l are what the scores of texts give, as shares', () => {
  const [text, truth] = ['the cat sat on a mat', 'the cat is on the mat'];
  assert.is(scoreText('chrf', text, truth), sentenceChrf(text, [truth]).score / 100);
  assert.is(scoreText('rouge-l', text, truth), sentenceRouge(text, [truth]).rougeL.f1);
  // by hand: the, cat, on, mat of six each
  assert.is(scoreText('rouge-l', text, truth), 4 / 6);
  for (const measure of ['chrf', 'rouge-l'] as const) {
    assert.is(scoreText(measure, truth, truth), 1);
    assert.is(scoreText(measure, '', truth), 0);
  }
});

test('which measures say right or wrong', () => {
  assert.equal(MEASURES.filter(isGraded), ['json', 'chrf', 'rouge-l']);
  for (const measure of MEASURES) {
    assert.throws(() => scoreText(measure, 1 as never, 'a'), code('E_ARGUMENT'));
    assert.throws(() => scoreText(measure, 'a', null as never), code('E_ARGUMENT'));
  }
});

test.run();
