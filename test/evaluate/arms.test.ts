/** Names of arms, and what comes out of records. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Arm, COUNTS, DEFAULT_ARMS, familyOf, parseArms } from '../../src/evaluate/arms.ts';
import { reportArms } from '../../src/evaluate/report.ts';
import type { EvaluationRecord, ItemResult } from '../../src/evaluate/types.ts';
import { code } from '../errors.ts';

const names = (text: string, counts?: readonly number[]) => parseArms(text, counts).map(({ name }) => name);

test('an arm by its whole name', () => {
  assert.equal(parseArms('zero-shot, full:bm25:16,repair:random:4,chain:8,chain:label,vote:3,label,parity'), [
    { name: 'zero-shot', kind: 'zero-shot' },
    { name: 'full:bm25:16', kind: 'fixed', attention: 'full', ranking: 'bm25', shots: 16 },
    { name: 'repair:random:4', kind: 'fixed', attention: 'repair', ranking: 'random', shots: 4 },
    { name: 'chain:8', kind: 'fixed', attention: 'chain', ranking: 'random', shots: 8 },
    { name: 'chain:label', kind: 'adaptive', preset: 'chain' },
    { name: 'vote:3', kind: 'vote', shots: 3 },
    { name: 'label', kind: 'adaptive', preset: 'label' },
    { name: 'parity', kind: 'adaptive', preset: 'parity' },
  ]);
});

test('blocks of DBSA: fifty examples each, or eight blocks, and a third of them', () => {
  const sizes = (text: string) =>
    parseArms(text).map((arm) => (arm.kind === 'dbsa' ? [arm.shots, arm.block, arm.chosen] : []));
  assert.equal(parseArms('dbsa:64'), [{ name: 'dbsa:64', kind: 'dbsa', shots: 64, block: 8, chosen: 3 }]);
  assert.equal(sizes('dbsa:256,dbsa:400,dbsa:800,dbsa:1000,dbsa:1050'), [
    [256, 32, 3],
    [400, 50, 3],
    [800, 50, 5],
    [1000, 50, 7],
    [1050, 50, 7],
  ]);
  assert.equal(sizes('dbsa:1,dbsa:2,dbsa:4,dbsa:20'), [
    [1, 1, 1],
    [2, 1, 2],
    [4, 1, 2],
    [20, 3, 2],
  ]);
  assert.equal(parseArms('dbsa:256:50,dbsa:64:8:8'), [
    { name: 'dbsa:256:50', kind: 'dbsa', shots: 256, block: 50, chosen: 2 },
    { name: 'dbsa:64:8:8', kind: 'dbsa', shots: 64, block: 8, chosen: 8 },
  ]);
});

test('what is left out stands for all there are', () => {
  assert.equal(
    names('full:bm25'),
    COUNTS.map((count) => `full:bm25:${count}`),
  );
  assert.equal(names('bare', [2, 3]), ['bare:random:2', 'bare:random:3', 'bare:bm25:2', 'bare:bm25:3']);
  assert.equal(names('chain', [2]), ['chain:2', 'chain:label']);
  assert.equal(names('vote:2,vote', [2, 3]), ['vote:2', 'vote:3']); // none twice
  assert.equal(names('full:bm25,chain,oracle', [2]).slice(-2), ['oracle:full:bm25', 'oracle:chain']);
  // each of the protocol's arms: 1, 6, 4 times 12, 2, twice 7, 6, and an oracle for each of 10 families
  assert.is(names(DEFAULT_ARMS).length, 1 + 6 + 48 + 2 + 14 + 6 + 10);
  for (const arm of parseArms(DEFAULT_ARMS)) {
    if (arm.kind !== 'oracle') assert.equal(parseArms(arm.name), [arm]);
  }
  assert.equal(parseArms('full:bm25:2,chain:2,vote:2').map(familyOf), ['full:bm25', 'chain', null]);
});

test('names that are none', () => {
  for (const text of [
    '',
    'full:',
    'full:best',
    'full:bm25:0',
    'full:bm25:1.5',
    'full:bm25:x',
    'full:bm25:4:4',
    'zero-shot:1',
    'vote:bm25',
    'vote:1:1',
    'label:4',
    'chain:4:4',
    'dbsa:0',
    'dbsa:bm25',
    'dbsa:8:9',
    'dbsa:8:0',
    'dbsa:8:',
    'dbsa:8:2:5',
    'dbsa:8:2:0',
    'dbsa:8:2:4:1',
    'dbsa,oracle:dbsa',
    'oracle',
    'vote,oracle',
    'full:bm25,oracle:full:random',
    'full,,bare',
    'none',
  ]) {
    assert.throws(() => parseArms(text), code('E_ARGUMENT'), text);
  }
});

function result(arm: string, item: number, label: string, more: Partial<ItemResult> = {}): ItemResult {
  const times = { firstMilliseconds: 10, milliseconds: 20 };
  return { arm, seed: 0, item, truth: 'a', label, shots: 4, ...times, forwarded: 100, reused: 0, ...more };
}

test('figures of an arm', () => {
  const arms = parseArms('bare:bm25:4,label');
  const records = [
    result('bare:bm25:4', 0, 'a', { divergence: 0.5, agrees: true }),
    result('bare:bm25:4', 1, 'b', { divergence: 1.5, agrees: false, truth: 'b', milliseconds: 40 }),
    result('bare:bm25:4', 2, 'b', { shots: 1, reused: 60 }),
    result('label', 0, 'a', { fallback: true, probes: 6 }),
    result('label', 1, 'b', { fallback: false, probes: 6 }),
    result('another', 0, 'a'),
  ];
  const [bare, label] = reportArms(arms, records, { against: 'bare:bm25:4' });
  assert.is(bare!.items, 3);
  assert.is(bare!.skipped, null);
  const { accuracy, ...figures } = bare!.result!;
  assert.is(accuracy.value, 2 / 3);
  assert.ok(accuracy.low <= 2 / 3 && accuracy.high >= 2 / 3 && accuracy.low < accuracy.high);
  assert.equal(figures, {
    macroF1: 2 / 3, // of a 2 · 1 / 3, of b 2 · 1 / 3
    difference: null,
    meanShots: 3,
    firstMilliseconds: 10,
    milliseconds: 80 / 3,
    encodeMilliseconds: null,
    forwarded: 100,
    reused: 20,
    probes: null,
    fallbacks: null,
    divergence: { items: 2, mean: 1, median: 1, p95: 1.45, largest: 1.5 },
    agreement: 0.5,
  });
  assert.is(label!.result!.fallbacks, 0.5);
  assert.is(label!.result!.probes, 6);
  assert.equal(label!.result!.difference, { value: -0.5, low: -1, high: 0 }); // of items 0 and 1 it has one, and the other both
  assert.is(label!.result!.divergence, null);
  assert.throws(() => reportArms(arms, records, { against: 'another' }), code('E_ARGUMENT'));
});

test('an oracle takes the fewest shots that are right, of items that all arms have', () => {
  const arms = parseArms('full:bm25:4,full:bm25:8,full:bm25:16,full:random:4,oracle:full:bm25');
  const of = (shots: number, item: number, label: string) => result(`full:bm25:${shots}`, item, label, { shots });
  const records: EvaluationRecord[] = [
    ...[of(4, 0, 'a'), of(8, 0, 'a'), of(16, 0, 'b')], // 4
    ...[of(4, 1, 'b'), of(16, 1, 'a'), of(8, 1, 'b')], // 16
    ...[of(16, 2, 'b'), of(8, 2, 'b'), of(4, 2, 'b')], // wrong, 4
    ...[of(4, 3, 'a'), of(8, 3, 'a')],
    result('full:random:4', 1, 'a', { shots: 1 }),
  ];
  const oracle = (list: readonly EvaluationRecord[]) => reportArms(arms, list).at(-1)!;
  const { items, result: figures } = oracle(records);
  assert.is(items, 3);
  assert.is(figures!.accuracy.value, 2 / 3);
  assert.is(figures!.meanShots, 8);
  assert.is(figures!.milliseconds, null); // it answers nothing itself
  // an arm that does not fit is no part of the family
  const skipped = { arm: 'full:bm25:16', seed: 0, skipped: 'E_CONTEXT_LENGTH: too long.' };
  const without = oracle([...records, skipped]);
  assert.is(without.items, 4);
  assert.is(without.result!.accuracy.value, 2 / 4);
});

test('arms without items say why', () => {
  const arms: readonly Arm[] = parseArms('label,zero-shot');
  const skipped = { arm: 'label', seed: 0, skipped: 'E_CONTEXT_LENGTH: too long.' };
  assert.equal(reportArms(arms, [skipped]), [
    { arm: 'label', items: 0, skipped: 'E_CONTEXT_LENGTH: too long.', result: null },
    { arm: 'zero-shot', items: 0, skipped: null, result: null },
  ]);
});

test.run();
