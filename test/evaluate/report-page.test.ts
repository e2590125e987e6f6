/** The report of an evaluation: its figures are those of the results, hostile texts stay text, nothing is loaded. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Evaluation } from '../../src/evaluate/page/evaluation.ts';
import { evaluationMarkdown } from '../../src/evaluate/page/markdown.ts';
import { evaluationPage } from '../../src/evaluate/page/page.ts';
import { isRecord } from '../../src/evaluate/record-check.ts';
import { reportArms } from '../../src/evaluate/report.ts';
import { mcnemar } from '../../src/evaluate/statistics.ts';
import { Worst } from '../device/devices.ts';
import { code } from '../errors.ts';
import { EVIL, evaluationOf } from './report-fixture.ts';

const worst = new Worst();
const refused = (run: () => unknown) => assert.throws(run, code('E_ARGUMENT'));

/** By counting: tails of n tosses of a coin in whole numbers. */
function exact(a: number, b: number): number {
  const n = BigInt(a + b);
  let [choose, tail] = [1n, 0n];
  for (let k = 0n; k <= BigInt(Math.min(a, b)); k++) {
    tail += choose;
    choose = (choose * (n - k)) / (k + 1n);
  }
  return Math.min(1, Number((2n * tail * 10n ** 30n) / 2n ** n) / 1e30);
}

test('McNemar: exact, against whole numbers', () => {
  assert.is(mcnemar(0, 0), 1);
  assert.is(mcnemar(4, 4), 1);
  assert.ok(Math.abs(mcnemar(0, 5) - 0.0625) < 1e-15);
  for (const [a, b] of [
    [1, 9],
    [12, 30],
    [21, 8],
    [0, 30],
    [700, 800],
    [1200, 1300],
  ] as const) {
    const want = exact(a, b);
    assert.ok(worst.within('McNemar p, relative', Math.abs(mcnemar(a, b) / want - 1), 1e-9), `${a} ${b}`);
    assert.is(mcnemar(a, b), mcnemar(b, a));
  }
  for (const wrong of [-1, 0.5, Number.NaN]) refused(() => mcnemar(wrong, 1));
});

const cellsOf = (row: string) =>
  [...row.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/g)].map(([, cell]) => cell!.replace(/<[^>]*>/g, ''));

test('figures on the page are those of the results', () => {
  const evaluation = evaluationOf({ against: 'vote:4' });
  const page = evaluationPage(evaluation);
  const { arms } = evaluation.options;
  const table = /<tbody>(.*?)<\/tbody>/s.exec(page)![1]!;
  const rows = table.trim().split('\n').map(cellsOf);
  const reports = reportArms(arms, evaluation.records, { seed: 0, against: 'vote:4' });
  assert.is(rows.length, arms.length);
  for (const [i, { arm, items, result }] of reports.entries()) {
    const { accuracy, meanShots } = result!;
    assert.is(rows[i]![0], `${i + 1}${arm}`);
    assert.is(rows[i]![1], `${accuracy.value.toFixed(3)} ${accuracy.low.toFixed(3)} to ${accuracy.high.toFixed(3)}`);
    assert.is(Number(rows[i]![2]), Number(meanShots.toFixed(1)));
    assert.is(rows[i]!.at(-1), `${items}`);
  }
  // label: items 0 to 8 right; vote: 4 to 11
  const shown = (id: string) => new RegExp(`id="${id}">([^<]*)<`).exec(page)![1];
  assert.equal(['name-a', 'name-b', 'both', 'only-a', 'only-b', 'none'].map(shown), [
    'label',
    'vote:4',
    '5',
    '4',
    '3',
    '0',
  ]);
  assert.is(shown('p'), mcnemar(4, 3).toFixed(3));
  const data = JSON.parse(/id="pairs">(.*?)<\/script>/s.exec(page)![1]!);
  assert.equal(data.pairs[0].slice(0, 6), [2, 1, 5, 4, 3, 0]);
  assert.is(data.pairs.length, 3);
  // behind 2 examples 12 were tried, behind 4 those that were not sure
  assert.match(page, /<b>2 examples<\/b>: 9 right, 3 wrong; 9 answered here/);
  assert.match(page, /<b>4 examples<\/b>: 0 right, 3 wrong; 3 answered here/);
  const examples = [...page.matchAll(/class="example" data-o="([^"]*)"/g)].map(([, outcome]) => outcome);
  assert.is(examples.length, 12);
  // those that one of label and vote alone has right come first
  assert.ok(examples.slice(0, 7).every((outcome) => outcome![1] !== outcome![2]));
  assert.ok(examples.slice(7).every((outcome) => outcome![1] === outcome![2]));
  assert.match(page, /What label was shown: 2 examples/);
});

test('Markdown has the same figures, in tables that hold together', () => {
  const evaluation = evaluationOf();
  const text = evaluationMarkdown(evaluation);
  for (const { arm, result } of reportArms(evaluation.options.arms, evaluation.records)) {
    const { value, low, high } = result!.accuracy;
    assert.ok(text.includes(`| ${arm} | ${value.toFixed(3)} | ${low.toFixed(3)} to ${high.toFixed(3)} |`), arm);
  }
  assert.ok(text.includes(`| label | vote:4 | 12 | 5 | 4 | 3 | 0 | ${mcnemar(4, 3).toFixed(3)} |`));
  const tables = text.split('\n\n').filter((part) => part.startsWith('|'));
  assert.is(tables.length, 3);
  for (const table of tables) {
    const counts = table.split('\n').map((line) => line.match(/(?<!\\)\|/g)!.length);
    assert.is(new Set(counts).size, 1, table);
  }
});

test('hostile texts stay text, and nothing is loaded', () => {
  const evaluation = evaluationOf(
    { model: EVIL, data: EVIL, date: EVIL, command: EVIL, device: { [EVIL]: EVIL } },
    EVIL,
  );
  const page = evaluationPage(evaluation);
  assert.is([...page.matchAll(/<script/g)].length, 2);
  assert.is([...page.matchAll(/<\/script>/g)].length, 2);
  assert.not.match(page, /<img|<b>x|<[a-z][^>]*\s(?:src|href|on\w+)\s*=|url\(|@import|https?:\/\//);
  assert.not.ok(page.includes('\u001b'));
  assert.ok([...page.matchAll(/&#60;img src=x/g)].length > 30);
  const text = evaluationMarkdown(evaluation);
  assert.not.match(text, /(?<!\\)<img|(?<!\\)\]\(/);
  assert.not.ok(text.includes('\u001b'));
});

test('what is missing is said, and what is wrong refused', () => {
  const { model, data, options } = evaluationOf();
  const empty = { model, data, options, records: [] };
  assert.match(evaluationPage(empty), /not measured/);
  assert.not.match(evaluationPage(empty), /<script/);
  assert.match(evaluationMarkdown(empty), /not measured/);
  // results of before have no details, and data need not be there
  const { task: _, ...rest } = evaluationOf();
  const bare = rest.records.map((record) => {
    if ('skipped' in record) return record;
    const { top: _, entropy: __, shown: ___, tried: ____, threshold: _____, ...old } = record;
    return old;
  });
  const page = evaluationPage({ ...rest, records: bare });
  assert.match(page, /not recorded/);
  assert.match(page, /the data were not given/);
  assert.match(page, /No adaptive arm was run, or its results do not tell/);
  const skipped = { arm: 'label', seed: 0, skipped: 'E_CONTEXT_LENGTH: too long' };
  assert.match(evaluationPage({ ...empty, records: [skipped] }), /E_CONTEXT_LENGTH: too long/);

  const full = evaluationOf();
  const [first, ...others] = full.records;
  refused(() => evaluationPage({ ...full, records: [{ ...first!, top: [{ label: 1 }] } as never, ...others] }));
  refused(() => evaluationPage({ ...full, against: 'nobody' }));
  refused(() => evaluationPage({ model, data, options } as Evaluation));
  refused(() => evaluationPage({ ...full, options: { ...options, pool: -1 } }));
  // other data: an item is not the one that was answered
  const train = full.task!.train.map((one) => ({ ...one, output: one.output === 'cat' ? 'dog' : 'cat' }));
  refused(() => evaluationPage({ ...full, task: { ...full.task!, train } }));
  const record = full.records[0]!;
  assert.ok(isRecord(record));
  for (const wrong of [
    null,
    { ...record, tried: [{}] },
    { ...record, shown: [1] },
    { ...record, label: 1 },
    { ...record, item: -1 },
  ])
    assert.not.ok(isRecord(wrong));
});

test.after(() => worst.print());
test.run();
