/** Data files: what is read, what is refused and where, and how examples are divided. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DATA_FORMATS, type DataFormat, type Example, parseData } from '../../src/datasets/data.ts';
import { readTask } from '../../src/datasets/files.ts';
import { shuffled, splitExamples } from '../../src/datasets/splits.ts';
import { EspalierError } from '../../src/errors.ts';
import { code, rejects } from '../errors.ts';
import { exists, hasFileSystem, modelTarget } from '../files.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const parse = (format: DataFormat, text: string, part?: 'train' | 'dev' | 'test') =>
  parseData(format, bytes(text), { name: 'file', ...(part && { part }) });

/** The message says where. */
function refused(format: DataFormat, text: string, where: RegExp): void {
  try {
    parse(format, text);
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error;
    assert.is(error.code, 'E_DATA_INVALID');
    assert.match(error.message, where);
    return;
  }
  assert.unreachable(`${format} was read: ${text}`);
}

test('TREC, coarse and fine', () => {
  const text = 'NUM:dist How far is it ?\r\nABBR:exp What does NASA mean ?\nHUM:desc Who was Galileo ?  \n\n';
  assert.equal(parse('trec', text), {
    kind: 'labels',
    list: [
      { input: 'How far is it ?', output: 'numeric' },
      { input: 'What does NASA mean ?', output: 'abbreviation' },
      { input: 'Who was Galileo ?', output: 'human' },
    ],
  });
  assert.equal(
    parse('trec-fine', text).list.map(({ output }) => output),
    ['numeric distance', 'abbreviation expansion', 'human description'],
  );
  refused('trec', 'NUM:dist How ?\nnothing', /^file, line 2: "nothing"/);
  refused('trec', 'XYZ:dist How ?', /line 1/);
  refused('trec', 'NUM:dist', /line 1/);
  refused('trec', '\n \n', /holds no example/);
});

test('TREC in Latin-1, as it was first published; others must be UTF-8', () => {
  const latin = Uint8Array.from('HUM:ind Who was Andr\u00e9 ?', (char) => char.charCodeAt(0));
  assert.is(parseData('trec', latin).list[0]!.input, 'Who was André ?');
  assert.throws(() => parseData('jsonl', latin), code('E_DATA_INVALID'));
});

test('Banking77: CSV with quotation marks', () => {
  const text = [
    'text,category',
    'Where is it?,card_arrival',
    '"It says ""pending"", why?",pending_card_payment',
    '"two\nlines, one cell",a',
    'last,b',
  ];
  for (const end of ['\n', '\r\n']) {
    assert.equal(parse('banking77', text.join(end)).list, [
      { input: 'Where is it?', output: 'card arrival' },
      { input: 'It says "pending", why?', output: 'pending card payment' },
      { input: 'two\nlines, one cell', output: 'a' },
      { input: 'last', output: 'b' },
    ]);
    assert.is(parse('banking77', `${text.join(end)}${end}`).list.length, 4);
  }
  assert.equal(parse('banking77', 'category,text\na,b').list, [{ input: 'b', output: 'a' }]);
  refused('banking77', '"text,category\na,b', /line 1.*quotation mark|no column/);
  refused('banking77', 'text,category\n"two\nlines",a\n"open,b\n', /^file, line 4: .*quotation mark/);
  refused('banking77', 'text,category\na"b,c\n', /line 2: .*quotation mark/);
  refused('banking77', 'text,category\na\n', /line 2: there are 1 cells under 2 columns/);
  refused('banking77', 'text,category\n,c\n', /line 2: text is empty/);
  refused('banking77', 'text,label\na,b\n', /no column category/);
  refused('banking77', '', /empty|no example/);
});

test('a quotation mark that is never closed in a long file is found without delay or overflow', () => {
  refused('banking77', `text,category\n"${'a ""b"", '.repeat(200_000)}`, /line 2/);
});

test('CLINC150: parts of one JSON file', () => {
  const json = {
    train: [['set an alarm', 'alarm_set']],
    oos_train: [['a show on broadway', 'oos']],
    val: [['wake me', 'alarm_set']],
    oos_val: [],
    test: [['alarm at five', 'alarm_set']],
    oos_test: [['who won', 'oos']],
  };
  const text = JSON.stringify(json);
  const inputs = (part: 'train' | 'dev' | 'test') => parse('clinc150', text, part).list.map(({ input }) => input);
  assert.equal(inputs('train'), ['set an alarm', 'a show on broadway']);
  assert.equal(inputs('dev'), ['wake me']);
  assert.equal(inputs('test'), ['alarm at five', 'who won']);
  assert.is(parse('clinc150', text).list[0]!.output, 'alarm set');
  refused('clinc150', '[', /not JSON/);
  refused('clinc150', 'null', /no list train/);
  refused('clinc150', '{"train":[]}', /no list oos_train/);
  refused('clinc150', '{"train":[["a","b"],["a"]],"oos_train":[]}', /train\[1\]/);
  refused('clinc150', '{"train":[["a",3]],"oos_train":[]}', /train\[0\]/);
});

test('HWU64 and SST-2: tabs', () => {
  const hwu = 'answerid\tscenario\tintent\ttext\tannotated\n1\talarm\tset\twake me "up"\twake\n';
  assert.equal(parse('hwu64', hwu).list, [{ input: 'wake me "up"', output: 'alarm set' }]);
  refused('hwu64', `${hwu}1\talarm\tset\n`, /line 3: there are 3 cells under 5 columns/);
  refused('hwu64', 'a\tb\n1\t2\n', /no column scenario/);
  assert.equal(parse('sst2', 'sentence\tlabel\nunflinchingly bleak \t0\nfine\t1\n').list, [
    { input: 'unflinchingly bleak', output: 'negative' },
    { input: 'fine', output: 'positive' },
  ]);
  refused('sst2', 'sentence\tlabel\nfine\t2\n', /line 2: the label "2" is not 0 or 1/);
});

test('GSM8K and MGSM: questions with numbers', () => {
  const answer = 'He has 4 + 4 = <<4+4=8>>8 coins.\\n#### 8';
  assert.equal(parse('gsm8k', `{"question":" Two purses of 4 coins? ","answer":"${answer}"}\n`), {
    kind: 'text',
    list: [{ input: 'Two purses of 4 coins?', output: 'He has 4 + 4 = 8 coins.\n#### 8' }],
  });
  refused('gsm8k', '{"question":"a","answer":"#### 1"}\n{"question":"a","answer":"1"}', /line 2: answer/);
  refused('gsm8k', '{"question":"a","answer":"none ####"}', /line 1: answer/);
  refused('gsm8k', '{"question":" ","answer":"#### 1"}', /question/);
  refused('gsm8k', 'null', /question/);
  assert.equal(parse('mgsm', 'Wie viele ?\t1.234\r\n\nCombien ?\t5\n'), {
    kind: 'text',
    list: [
      { input: 'Wie viele ?', output: '1.234' },
      { input: 'Combien ?', output: '5' },
    ],
  });
  refused('mgsm', 'a\t1\nb', /line 2: there are 1 cells/);
  refused('mgsm', 'a\tb', /no number/);
  refused('mgsm', '\t1', /no question/);
});

test('JSON lines: labels or outputs', () => {
  assert.equal(parse('jsonl', '{"input":" a ","label":"b_c"}\n\n{"label":"d","input":"e","more":1}'), {
    kind: 'labels',
    list: [
      { input: 'a', output: 'b c' },
      { input: 'e', output: 'd' },
    ],
  });
  assert.equal(parse('jsonl', '{"input":"a","output":"b_c"}'), { kind: 'text', list: [{ input: 'a', output: 'b_c' }] });
  refused('jsonl', '{"input":"a","label":"b"}\n{', /line 2: this is not JSON/);
  refused('jsonl', '{"input":"a","label":"b"}\n\n{"input":"a","output":"b"}', /line 3/);
  refused('jsonl', '{"input":"a","label":"b","output":"c"}', /and not both/);
  refused('jsonl', '{"input":"a"}', /must be a label or an output/);
  refused('jsonl', '{"input":1,"label":"b"}', /input is no text/);
  refused('jsonl', '{"input":"a","label":" "}', /label is no text, or empty/);
  refused('jsonl', 'null', /input/);
});

/** Rows and classes, as the sources of the data state them. */
const PUBLISHED = [
  ['trec', 'trec_qc', { train: 5452, test: 500 }, 6],
  ['trec-fine', 'trec_qc', { train: 5452, test: 500 }, 50],
  ['banking77', 'banking77', { train: 10003, test: 3080 }, 77],
  ['clinc150', 'clinc150', { train: 15100, dev: 3100, test: 5500 }, 151],
  ['hwu64', 'nlu_eval_hwu64', { train: 9960, test: 1076 }, 64],
  ['sst2', 'sst2', { train: 60614, dev: 6735, test: 872 }, 2],
  ['gsm8k', 'gsm8k', { train: 7473, test: 1319 }, 0],
] as const;

for (const [format, folder, rows, classes] of PUBLISHED) {
  test(`published files of ${format}`, async () => {
    const path = `../shared/data/${folder}`;
    if (!hasFileSystem || !(await exists(path))) return console.log(`  skipped: no ${path}`);
    const task = await readTask(format, { path: (await modelTarget(path)) as string });
    const { kind, labels, train, dev, test } = task;
    assert.is(kind, classes > 0 ? 'labels' : 'text');
    assert.is(labels.length, classes);
    const counts = Object.fromEntries(
      Object.entries({ train, dev, test }).flatMap(([part, list]) => (list ? [[part, list.length]] : [])),
    );
    assert.equal(counts, rows);
    for (const { input, output } of train) {
      assert.ok(input !== '' && input === input.trim());
      if (classes > 0) assert.match(output, /^[\p{L}\p{N}][^_]*$/u);
      else assert.match(output, /^(?!.*<<).*#### -?[\d.,]+$/s);
    }
    const split = splitExamples(task, { pool: 1024, dev: 100, test: 250, balanced: true });
    checkParts(split.pool, split.dev, split.test);
  });
}

function checkParts(...parts: readonly (readonly Example[])[]): void {
  const keys = parts.flat().map(({ input }) => input.toLowerCase().replace(/\s+/g, ' '));
  assert.is(new Set(keys).size, keys.length);
}

test('a task from bytes and Blobs, files given apart, and files of two kinds', async () => {
  const train = bytes('{"input":"a","label":"x"}\n{"input":"b","label":"z"}');
  const task = await readTask('jsonl', { path: train, test: new Blob(['{"input":"c","label":"y"}']) });
  assert.equal(task.labels, ['x', 'y', 'z']);
  assert.is(task.dev, undefined);
  assert.is(task.test?.length, 1);
  const text = await readTask('jsonl', { path: bytes('{"input":"a","output":"x"}') });
  assert.is(text.kind, 'text');
  assert.equal(text.labels, []);
  await rejects('E_ARGUMENT', () => readTask('jsonl', { path: train, test: bytes('{"input":"a","output":"x"}') }));
});

test('paths that lead nowhere', async () => {
  if (!hasFileSystem) {
    await rejects('E_ARGUMENT', () => readTask('trec', { path: 'train_5500.label' }));
    return;
  }
  const folder = (await modelTarget('test/fixtures')) as string;
  await rejects('E_ARGUMENT', () => readTask('trec', { path: folder }));
  await rejects('E_FILE_NOT_FOUND', () => readTask('trec', { path: `${folder}/nothing.label` }));
  const error = await rejects('E_DATA_INVALID', () => readTask('trec', { path: `${folder}/evaluate.json` }));
  assert.match(error.message, 'evaluate.json, line 1');
});

const numbered = (count: number, label: (i: number) => string, prefix = 'item') =>
  Array.from({ length: count }, (_, i): Example => ({ input: `${prefix} ${i}`, output: label(i) }));

test('parts are drawn in the same order for a seed, and another for another', () => {
  const train = numbered(100, (i) => `label ${i % 3}`);
  const options = { pool: 40, dev: 10, test: 20, seed: 5 };
  const first = splitExamples({ train }, options);
  assert.equal(splitExamples({ train }, options), first);
  assert.is(first.leaks, 0);
  checkParts(first.pool, first.dev, first.test);
  assert.equal([first.pool.length, first.dev.length, first.test.length], [40, 10, 20]);
  const second = splitExamples({ train }, { ...options, seed: 6 });
  assert.not.equal(second.test, first.test);
  // more of one part moves no other that is drawn before it
  assert.equal(splitExamples({ train }, { ...options, pool: 50 }).pool.slice(0, 40), first.pool);
  assert.equal(splitExamples({ train }, { ...options, pool: 50 }).test, first.test);
});

test('no input of a test item is in the pool', () => {
  const test = [...numbered(5, () => 'x'), { input: 'ITEM  7', output: 'x' }, { input: 'item 7', output: 'x' }];
  const train = [...numbered(20, () => 'y'), { input: 'item 3', output: 'z' }, { input: ' Item 12', output: 'z' }];
  const split = splitExamples({ train, test }, { pool: 14, test: 6 });
  checkParts(split.pool, split.test);
  assert.is(split.leaks, 7); // items 0 to 4, 7, and 3 once more
  assert.throws(() => splitExamples({ train, test }, { pool: 15, test: 6 }), code('E_ARGUMENT'));
  assert.throws(() => splitExamples({ train, test }, { pool: 1, test: 7 }), code('E_ARGUMENT'));
});

test('a balanced pool has equally many of each label, as far as there are', () => {
  const train = numbered(90, (i) => (i < 3 ? 'rare' : i % 2 ? 'odd' : 'even'));
  const count = (list: readonly Example[], label: string) => list.filter(({ output }) => output === label).length;
  const { pool } = splitExamples({ train }, { pool: 33, test: 0, balanced: true });
  assert.equal([count(pool, 'rare'), count(pool, 'odd'), count(pool, 'even')], [3, 15, 15]);
  // and so has its beginning
  const six = pool.slice(0, 6);
  assert.equal([count(six, 'rare'), count(six, 'odd'), count(six, 'even')], [2, 2, 2]);
  const as = splitExamples({ train }, { pool: 90, test: 0 }).pool;
  assert.equal(new Set(as), new Set(train));
});

test('counts outside their range', () => {
  const train = numbered(10, () => 'x');
  for (const wrong of [{ pool: -1 }, { pool: 1.5 }, { test: -1 }, { dev: -1 }, { seed: -1 }]) {
    assert.throws(() => splitExamples({ train }, { pool: 1, test: 1, ...wrong }), code('E_ARGUMENT'));
  }
});

test('random order is a permutation, and even', () => {
  const places = new Float64Array(5);
  for (let seed = 0; seed < 2000; seed++) {
    const order = shuffled([0, 1, 2, 3, 4], seed, 7);
    assert.equal([...order].sort(), [0, 1, 2, 3, 4]);
    places[order.indexOf(0)]!++;
  }
  // chi-square with 4 degrees of freedom: beyond 23.5 once in 10^4, and the draws are the same every time
  const chi = places.reduce((sum, n) => sum + (n - 400) ** 2 / 400, 0);
  assert.ok(chi < 23.5, `${chi}`);
});

test('every format has a test above', () => {
  assert.equal(
    new Set(PUBLISHED.map(([format]) => format)),
    new Set(DATA_FORMATS.filter((f) => f !== 'jsonl' && f !== 'mgsm')),
  );
});

test.run();
