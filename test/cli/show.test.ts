// hosts: node, deno — starts the command as a process
// long — starts the command some sixty times
/** `espalier show` as a shell runs it: evaluations and their files, pools, answers, and what is refused. */
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ArmReport } from '../../src/evaluate/report.ts';
import { animalsAndNumbers } from '../evaluate/examples.ts';
import { cli, type Ended, project, start } from './run.ts';

const NANO = 'models/nano-base';
const temporary = mkdtempSync(join(tmpdir(), 'espalier-show-'));
const file = (name: string) => join(temporary, name);
const train = file('train.jsonl');
writeFileSync(train, animalsAndNumbers());
const data = ['--data', 'jsonl', '--path', train];
const EVAL = ['show', 'eval', NANO, ...data, '--pool', '20', '--items', '4', '--counts', '2,4'];

async function json(...args: string[]) {
  const { code, out, err } = await cli(...args, '--json');
  assert.is(code, 0, out + err);
  assert.is(err, '');
  assert.is(out.trimEnd().split('\n').length, 1);
  return JSON.parse(out);
}

async function fails(want: string, ...args: string[]): Promise<string> {
  // one after the other: both may want the same file of results, which one alone may hold
  const plain = await cli(...args);
  const asJson = await cli(...args, '--json');
  const wanted = want === 'E_ARGUMENT' ? 2 : 1;
  assert.is(plain.code, wanted, `${args.join(' ')}: ${plain.out}${plain.err}`);
  assert.match(plain.err, new RegExp(`^${want}: .+\\n$`), plain.err);
  assert.is(asJson.code, wanted);
  assert.is(JSON.parse(asJson.out).error.code, want);
  return plain.err;
}

/** The lock of a process of this machine that lives. */
const lockOf = (pid: number) => JSON.stringify({ host: hostname(), boot: '', pid, started: '', nonce: '01234567' });

const lines = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n');
/** What a run found, without times. */
const found = (arms: readonly ArmReport[]) =>
  arms.map(({ arm, items, result }) => [arm, items, result!.accuracy, result!.macroF1, result!.meanShots]);

const ARMS = 'zero-shot,vote:2,full:bm25,bare:bm25:4,label,chain:2,oracle';

test('eval prints a table, and with --json the same figures', async () => {
  const out = file('results.jsonl');
  const got = await json(
    ...EVAL,
    '--arms',
    ARMS,
    '--fidelity',
    '2',
    '--against',
    'full:bm25:4',
    '--ridge',
    '0',
    '--out',
    out,
  );
  const arms: readonly ArmReport[] = got.arms;
  assert.equal(
    arms.map(({ arm, items }) => [arm, items]),
    [
      ...['zero-shot', 'vote:2', 'full:bm25:2', 'full:bm25:4', 'bare:bm25:4', 'label', 'chain:2'],
      ...['oracle:full:bm25', 'oracle:bare:bm25', 'oracle:chain'],
    ].map((arm) => [arm, 4]),
  );
  assert.is(got.pool, 20);
  assert.is(got.test, 4);
  for (const { arm, skipped, result } of arms) {
    assert.is(skipped, null);
    const { accuracy, divergence, difference } = result!;
    assert.ok(accuracy.low <= accuracy.value && accuracy.value <= accuracy.high);
    assert.is(divergence?.items, ['bare:bm25:4', 'label', 'chain:2'].includes(arm) ? 2 : undefined, arm);
    assert.is(difference === null, arm === 'full:bm25:4');
  }
  assert.is(arms.find(({ arm }) => arm === 'chain:2')!.result!.agreement, 1);
  assert.is(lines(out).length, 1 + 4 * 7);

  // all of it is there: only the table is made
  const before = readFileSync(out, 'utf8');
  const table = await cli(
    ...EVAL,
    '--arms',
    ARMS,
    '--fidelity',
    '2',
    '--against',
    'full:bm25:4',
    '--ridge',
    '0',
    '--out',
    out,
  );
  assert.is(table.code, 0, table.err);
  assert.is(readFileSync(out, 'utf8'), before);
  for (const { arm, result } of arms) {
    const row = table.out.split('\n').find((line) => line.startsWith(`${arm} `))!;
    assert.match(row, result!.accuracy.value.toFixed(3));
    assert.match(row, result!.macroF1.toFixed(3));
  }
  assert.match(
    table.out,
    /^arm +items +accuracy +95 % +F1 +difference +shots +first token +answer +encoding +tokens +reused/,
  );
});

test('eval writes a report as a page and in Markdown, with what it found', async () => {
  const [html, markdown] = [file('report.html'), file('report.md')];
  const args = [...EVAL, '--arms', 'vote:2,label', '--dev', '3', '--ridge', '0'];
  const got = await json(...args, '--html', html, '--markdown', markdown);
  const page = readFileSync(html, 'utf8');
  const text = readFileSync(markdown, 'utf8');
  for (const { arm, result } of got.arms as readonly ArmReport[]) {
    const right = result!.accuracy.value.toFixed(3);
    assert.ok(text.includes(`| ${arm} | ${right} |`), arm);
    assert.match(page, new RegExp(`${arm}</th><td data-head="right, 95 %">${right} `));
  }
  assert.match(page, /fitted on 3 others/);
  assert.match(page, /What label was shown: \d+ example/);
  assert.not.match(page, /https?:|<[a-z][^>]*\s(?:src|href)\s*=/);
  // nothing is left of one that was not made
  await fails('E_ARGUMENT', ...EVAL, '--arms', 'vote:2', '--pool', '4000', '--html', file('none.html'));
  assert.not(readdirSync(temporary).some((name) => name.startsWith('none.html')));
});

test('an evaluation that was interrupted goes on, and one whose last line was cut', async () => {
  const out = file('interrupted.jsonl');
  const args = [...EVAL, '--items', '6', '--arms', 'vote:2,full:random:4,full:bm25:4'];
  const whole = await json(...args);
  const run = start([...args, '--out', out]);
  const poll = setInterval(() => {
    try {
      if (lines(out).length < 9) return;
      run.kill('SIGINT'); // a second one would end it at once
      clearInterval(poll);
    } catch {
      // it is not there yet
    }
  }, 5);
  const ended: Ended = await run.ended;
  clearInterval(poll);
  const kept = lines(out).length;
  if (ended.code !== 0) {
    assert.is(ended.code, 130, ended.err);
    assert.match(ended.err, /^E_ABORTED: /m);
    assert.ok(kept >= 9 && kept < 19, `${kept}`);
  } else console.log('  the run ended before it was interrupted');
  const size = readFileSync(out).length;
  truncateSync(out, size - 7); // as if the machine had gone down in the middle of a line
  const again = await json(...args, '--out', out);
  assert.equal(found(again.arms), found(whole.arms));
  assert.is(lines(out).length, 19);
  for (const line of lines(out)) JSON.parse(line);
});

test('a file of results belongs to one evaluation', async () => {
  const out = file('other.jsonl');
  const args = [...EVAL, '--arms', 'vote:2', '--out', out];
  await json(...args);
  const before = readFileSync(out, 'utf8');
  assert.match(await fails('E_ARGUMENT', ...args, '--seed', '1'), 'seed');
  // other arms and more seeds are no other evaluation
  const more = await json(...EVAL, '--arms', 'vote:2,vote:4', '--seeds', '2', '--out', out);
  assert.equal(
    more.arms.map(({ items }: ArmReport) => items),
    [8, 8],
  );
  assert.ok(readFileSync(out, 'utf8').startsWith(before));
  const other = file('notes.txt');
  for (const content of ['my notes\n', 'no line end', '{"a":1}\n']) {
    writeFileSync(other, content);
    await fails('E_ARGUMENT', ...EVAL, '--arms', 'vote:2', '--out', other);
    assert.is(readFileSync(other, 'utf8'), content);
  }
  // what no run writes: lines of something else, bytes that are no text
  const whole = readFileSync(out);
  for (const bytes of ['damaged\n', '{"arm":"vote:2","seed":0}\n', Uint8Array.of(0x22, 0xff, 0x22, 0x0a)]) {
    appendFileSync(out, bytes);
    await fails('E_ARGUMENT', ...args);
    writeFileSync(out, whole);
  }
  // what stands there twice counts once
  const [, first] = lines(out);
  appendFileSync(out, `${first}\n`);
  assert.is((await json(...args)).arms[0].items, 4);
  // somebody else is writing it
  writeFileSync(`${out}.lock`, lockOf(process.ppid));
  assert.match(await fails('E_ARGUMENT', ...args), 'is writing');
  rmSync(`${out}.lock`);
  await fails('E_FILE_WRITE', ...EVAL, '--arms', 'vote:2', '--out', file('no/such/folder'));
});

test('a file of results belongs to one model, wherever it lies', async () => {
  const [one, two, out] = [file('model-one'), file('model-two'), file('model.jsonl')];
  const of = (model: string) => ['show', 'eval', model, ...EVAL.slice(3), '--arms', 'vote:2', '--out', out];
  cpSync(join(project, NANO), one, { recursive: true });
  await json(...of(one));
  renameSync(one, two);
  await json(...of(two));
  assert.is(lines(out).length, 5, 'nothing was done again');
  // one weight is another, in a file of the same name and size
  const weights = readFileSync(join(two, 'model.safetensors'));
  weights[weights.length - 100]! ^= 1;
  writeFileSync(join(two, 'model.safetensors'), weights);
  assert.match(await fails('E_ARGUMENT', ...of(two)), 'weights');
});

test('several runs share the items, and their files joined are those of one', async () => {
  const args = [...EVAL, '--items', '5', '--arms', 'vote:2,full:bm25:2', '--fidelity', '1'];
  const whole = await json(...args);
  const parts = [file('part-1.jsonl'), file('part-2.jsonl')];
  const [one, two] = await Promise.all(parts.map((out, i) => json(...args, '--shard', `${i + 1}/2`, '--out', out)));
  assert.equal(
    [one, two].map(({ arms }) => arms.map(({ items }: ArmReport) => items)),
    [
      [3, 3],
      [2, 2],
    ],
  );
  const out = file('joined.jsonl');
  // what is there twice counts once; a part that is missing is computed
  const joined = await json(...args, '--out', out, ...[...parts, parts[0]!].flatMap((path) => ['--join', path]));
  assert.equal(found(joined.arms), found(whole.arms));
  assert.is(lines(out).length, 1 + 2 * 5);
  const half = file('half.jsonl');
  assert.equal(found((await json(...args, '--out', half, '--join', parts[1]!)).arms), found(whole.arms));
  await fails('E_ARGUMENT', ...args, '--join', parts[0]!);
  await fails('E_ARGUMENT', ...args, '--seed', '1', '--out', file('elsewhere.jsonl'), '--join', parts[0]!);
  await fails('E_FILE_NOT_FOUND', ...args, '--out', half, '--join', file('nothing.jsonl'));
  for (const shard of ['0/2', '3/2', '1', '1/2/3', 'x/2']) {
    await fails('E_ARGUMENT', 'show', 'eval', file('nothing'), ...data, '--shard', shard);
  }
});

test('build keeps what ask finds', async () => {
  const store = file('store');
  const pool = [...data, '--pool', '8', '--store', store];
  const first = await json('show', 'build', NANO, ...pool);
  assert.is(first.shots, 8);
  assert.is(first.loaded, 0);
  assert.ok(first.tokens > 80 && first.bytes > 0);
  const second = await json('show', 'build', NANO, ...pool);
  assert.is(second.loaded, 8);
  // a folder that cannot be one ends it at the first entry, with advice for this place
  const nowhere = await cli('show', 'build', NANO, ...data, '--pool', '8', '--store', join(train, 'x'));
  assert.is(nowhere.code, 1);
  assert.match(nowhere.err, /^E_FILE_WRITE: .+ give another place\.$/m);
  assert.is(second.bytes, first.bytes);

  const ask = ['show', 'ask', NANO, 'I see a dog', ...pool];
  const got = await json(...ask, '--compare');
  assert.ok(['animal', 'colour', 'number'].includes(got.label));
  const sum = Object.values(got.probabilities as Record<string, number>).reduce((a, b) => a + b);
  assert.ok(Math.abs(sum - 1) < 1e-6);
  assert.ok(got.receipt.probes.length > 0 && got.receipt.comparison.divergence >= 0);
  const tried = await json(...ask, '--grid', '1,3');
  assert.equal(
    tried.receipt.probes.map(({ shots }: { shots: number }) => shots),
    [1, 3],
  );
  const fixed = await json(...ask, '--shots', '3');
  assert.is(fixed.receipt.chosen, 3);
  assert.is(fixed.receipt.shots.length, 3);
  const chain = await json(...ask, '--chain', '--shots', '3', '--compare');
  assert.ok(chain.receipt.comparison.divergence < 1e-3); // int8 activations round differently in other company
  const plain = await cli(...ask);
  assert.is(plain.code, 0, plain.err);
  assert.is(plain.out, `${got.text}\n`);
  assert.match(plain.err, 'examples');
});

test('free answers', async () => {
  const path = file('text.jsonl');
  writeFileSync(
    path,
    ['one', 'two', 'three', 'four'].map((w) => JSON.stringify({ input: `say ${w}`, output: `${w} ${w}` })).join('\n'),
  );
  const args = [
    'show',
    'ask',
    NANO,
    'say five',
    '--data',
    'jsonl',
    '--path',
    path,
    '--max-tokens',
    '8',
    '--shots',
    '2',
  ];
  const got = await json(...args);
  assert.is(got.label, undefined);
  assert.not.match(got.text, '==');
  assert.ok(got.receipt.tokens.generated > 0 && got.receipt.tokens.generated <= 8);
  const { out, code, err } = await cli(...args);
  assert.is(code, 0, err);
  assert.is(out.trim(), got.text.trim());
  await fails(
    'E_ARGUMENT',
    'show',
    'eval',
    NANO,
    '--data',
    'jsonl',
    '--path',
    path,
    '--pool',
    '2',
    '--items',
    '1',
    '--arms',
    'vote:1',
  );
});

test('Ctrl-C ends encoding, an answer and an evaluation: E_ABORTED, and what is there stays', async () => {
  if (process.platform === 'win32') return;
  const many = file('many.jsonl');
  const words = Array.from(
    { length: 1000 },
    (_, i) => `this is number ${i} of them, and it is no larger than a thousand`,
  );
  writeFileSync(many, words.map((input, i) => JSON.stringify({ input, label: i % 2 ? 'odd' : 'even' })).join('\n'));
  const [store, out] = [file('stopped'), file('stopped.jsonl')];
  const common = ['--data', 'jsonl', '--path', many, '--store', store];
  const isKept = () =>
    existsSync(store) && readdirSync(store, { recursive: true }).some((name) => /sha256-/.test(`${name}`));
  for (const args of [
    ['show', 'build', NANO, ...common, '--pool', '1000'],
    ['show', 'ask', NANO, words[0]!, ...common, '--pool', '1000'],
    ['show', 'eval', NANO, ...common, '--pool', '900', '--items', '9', '--arms', 'label', '--out', out],
  ]) {
    rmSync(store, { recursive: true, force: true });
    const run = start(args);
    while (run.runs() && !isKept()) await new Promise((resolve) => setTimeout(resolve, 2));
    run.kill('SIGINT');
    const { code, signal, out: printed, err } = await run.ended;
    assert.is(signal, null);
    assert.is(code, 130, `${args[1]}: ${printed}${err}`);
    assert.match(err, /^E_ABORTED: /m);
    assert.is(printed, '');
    assert.ok(isKept());
  }
  assert.is(lines(out).length, 1, 'the head alone');
  assert.not.ok(existsSync(`${out}.lock`));
});

test('what is refused, before a model is loaded', async () => {
  const none = 'no/such/model';
  const args = ['show', 'eval', none, ...data];
  await fails('E_ARGUMENT', 'show', 'eval', none, '--data', 'nothing', '--path', train);
  await fails('E_ARGUMENT', ...args, '--arms', 'best');
  await fails('E_ARGUMENT', ...args, '--arms', 'vote:2', '--against', 'label');
  await fails('E_ARGUMENT', ...args, '--items', '0');
  await fails('E_ARGUMENT', ...args, '--counts', '4,x');
  await fails('E_ARGUMENT', ...args, '--grid', '1,-3');
  await fails('E_ARGUMENT', ...args, '--scoring', 'best');
  await fails('E_ARGUMENT', ...args, '--storage', 'f8');
  await fails('E_ARGUMENT', ...args, '--template', 'nothing');
  await fails('E_ARGUMENT', ...args, '--nothing', '1');
  await fails('E_ARGUMENT', 'show', 'ask', none, 'query', ...data, '--prefix', 'blocks');
  await fails('E_FILE_NOT_FOUND', 'show', 'build', none, '--data', 'trec', '--path', file('nothing'));
  assert.match(await fails('E_DATA_INVALID', 'show', 'eval', none, '--data', 'trec', '--path', train), /line 1/);
  await fails('E_FILE_NOT_FOUND', ...args, '--arms', 'vote:2');
});

test.after(() => rmSync(temporary, { recursive: true, force: true }));
test.run();
