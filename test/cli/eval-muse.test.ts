// hosts: node, deno — reads files
/** `espalier eval muse` and `eval choice`: files in folders, references, and what is refused. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { measureChoice, readChoices } from '../../src/evaluate/unlearning/choice.ts';
import { leakOf, measureMuse } from '../../src/evaluate/unlearning/muse.ts';
import { readMuseFolder } from '../../src/evaluate/unlearning/muse-folder.ts';
import { openLocal } from '../../src/open-local.ts';
import { rejects } from '../errors.ts';
import { inProcess, project } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'espalier-muse-'));
test.after(() => rmSync(folder, { recursive: true }));

function files(name: string, contents: Readonly<Record<string, unknown>>): string {
  const path = join(folder, name);
  for (const [file, content] of Object.entries(contents)) {
    mkdirSync(dirname(join(path, file)), { recursive: true });
    writeFileSync(join(path, file), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return path;
}

const QA = [{ question: 'Who ran?', answer: ['the dog', 'a dog'] }];
const SHOTS = [{ question: 'Who sat?', answer: 'the cat' }];
const PARTS = {
  'verbmem.jsonl': '{"prompt":"Once upon a time","gt":"there was a girl."}\r\n',
  'forget_qa.json': QA,
  'forget_qa_icl.json': SHOTS,
  'retain_qa.json': QA,
  'privleak_forget.json': ['One day, a girl went out.', 'The sun is warm.'],
  'privleak_holdout.jsonl': '{"text":"Zwölf Boxkämpfer."}\n"xyz"\n',
};
const named = Object.fromEntries(Object.entries(PARTS).map(([name, content]) => [`news.${name}`, content]));
const plain = files('plain', PARTS);
const news = files('news-files', named);

const tiny = (what: string) => ['eval', what, 'espalier:tiny', '--lanes', '1', '--data'];
async function json(...args: string[]) {
  const { code, out, err } = await inProcess([...args, '--json']);
  assert.is(code, 0, out + err);
  return JSON.parse(out);
}
async function failure(...args: string[]): Promise<{ code: string; message: string }> {
  const { code, out } = await inProcess([...args, '--json']);
  assert.ok(code !== 0, out);
  return JSON.parse(out).error;
}

test('muse: figures of the library, and an earlier run or a model as the reference', async () => {
  const log = join(folder, 'log.json');
  const found = await json(...tiny('muse'), plain, '--log', log);
  const model = await openLocal(join(project, 'models/nano-base'));
  const { items, ...want } = await measureMuse(model, await readMuseFolder(plain));
  model.close();
  const about = { model: found.model, adapters: [], reference: null };
  assert.equal(found, { ...want, ...about });
  assert.equal(JSON.parse(readFileSync(log, 'utf8')), { ...want, ...about, items });
  const other = await failure(...tiny('muse'), plain, '--reference', log, '--share', '0.2');
  assert.equal([other.code, /share of 0\.4, and here it is 0\.2/.test(other.message)], ['E_DATA_INVALID', true]);
  for (const reference of [log, 'espalier:tiny']) {
    const again = await json(...tiny('muse'), news, '--corpus', 'news', '--reference', reference);
    assert.is(again.privLeak, leakOf(want.auc, want.auc).privLeak);
    assert.is(again.referenceAuc, want.auc);
  }
  const { out } = await inProcess([...tiny('muse'), files('one', { 'forget_qa.json': QA })]);
  assert.match(out, /VerbMem +0 +–/);
  assert.match(out, /KnowMem, forget +1 +\d/);
});

test('muse: files as the repository has them, and by corpus', async () => {
  const contents = (data: object) => JSON.stringify(data).replaceAll(/"place":"[^"]*"/g, '');
  const want = contents(await readMuseFolder(plain));
  const nested = {
    'verbmem/forget.jsonl': PARTS['verbmem.jsonl'],
    'knowmem/forget_qa.json': QA,
    'knowmem/forget_qa_icl.json': SHOTS,
    'knowmem/retain_qa.json': QA,
    'privleak/forget.json': PARTS['privleak_forget.json'],
    'privleak/holdout.jsonl': PARTS['privleak_holdout.jsonl'],
  };
  assert.is(contents(await readMuseFolder(files('nested', nested))), want);
  assert.is(contents(await readMuseFolder(news)), want);
  assert.is(contents(await readMuseFolder(news, { corpus: 'news' })), want);
  const inFolders = Object.fromEntries(Object.entries(nested).map(([name, content]) => [`books/${name}`, content]));
  assert.is(contents(await readMuseFolder(files('folders', inFolders), { corpus: 'books' })), want);
  const links = files('links', {});
  mkdirSync(links);
  symlinkSync(join(folder, 'folders/books'), join(links, 'books'), 'junction');
  assert.is(contents(await readMuseFolder(links, { corpus: 'books' })), want);
  const both = files('both', { ...named, 'books.forget_qa.json': QA });
  assert.match((await rejects('E_ARGUMENT', () => readMuseFolder(both))).message, /books, news/);
  await rejects('E_ARGUMENT', () => readMuseFolder(both, { corpora: 'x' } as never));
  await rejects('E_FILE_NOT_FOUND', () => readMuseFolder(both, { corpus: 'x' }));
  await rejects('E_FILE_NOT_FOUND', () => readMuseFolder(files('empty', { 'a.json': [] })));
});

test('muse: what is wrong is said before a model is opened', async () => {
  const of = (name: string, contents: Readonly<Record<string, unknown>>) => files(name, { ...PARTS, ...contents });
  const cases: readonly (readonly [code: string, message: RegExp, ...args: string[]])[] = [
    ['E_FILE_NOT_FOUND', /privleak_holdout/, files('half', { 'privleak_forget.json': ['a'] })],
    [
      'E_DATA_INVALID',
      /verbmem\.jsonl, line 2: there is no gt/,
      of('a', { 'verbmem.jsonl': '{"prompt":"a","gt":"b"}\n{"prompt":"a"}' }),
    ],
    [
      'E_DATA_INVALID',
      /forget_qa\.json, row 1: there is no answer/,
      of('b', { 'forget_qa.json': [{ question: 'a' }] }),
    ],
    [
      'E_DATA_INVALID',
      /forget_qa_icl\.json, row 1: there is no question/,
      of('c', { 'forget_qa_icl.json': [{ answer: 'a' }] }),
    ],
    ['E_DATA_INVALID', /privleak_forget\.json, row 2: this is 5/, of('d', { 'privleak_forget.json': ['a', 5] })],
    [
      'E_DATA_INVALID',
      /other texts/,
      plain,
      '--reference',
      join(files('log', { 'x.json': { auc: 0.5, sha256: 'y', share: 0.4 } }), 'x.json'),
    ],
    ['E_DATA_INVALID', /not what an earlier run wrote/, plain, '--reference', join(plain, 'forget_qa.json')],
    ['E_FILE_NOT_FOUND', /no-reference/, plain, '--reference', join(folder, 'no-reference')],
    ['E_ARGUMENT', /no texts of PrivLeak/, files('few', { 'forget_qa.json': QA }), '--reference', 'x'],
    ['E_ARGUMENT', /--share/, plain, '--share', '2'],
    ['E_FILE_NOT_FOUND', /There is no/, join(folder, 'none')],
  ];
  for (const [code, message, ...rest] of cases) {
    const error = await failure('eval', 'muse', join(folder, 'no-model'), '--data', ...rest);
    assert.is(error.code, code, JSON.stringify(error));
    assert.match(error.message, message);
  }
});

test('choice: accuracy of several files', async () => {
  const rows = [
    { question: 'What is 2+2?', choices: ['3', '4', '5', '22'], answer: 1, subject: 'numbers' },
    { question: 'Who?', choices: ['a', 'b'], answer: 'B' },
  ];
  const path = files('choice', { 'one.json': rows, 'two.jsonl': rows.map((row) => JSON.stringify(row)).join('\n') });
  const [one, two] = [join(path, 'one.json'), join(path, 'two.jsonl')];
  const log = join(folder, 'choices.json');
  const given = ['--subject', 'x', '--description', 'About {subject}.\\n', '--log', log];
  const found = await json(...tiny('choice'), one, '--data', two, ...given);
  const model = await openLocal(join(project, 'models/nano-base'));
  const options = { subject: 'x', description: 'About {subject}.\n' };
  const { items, ...want } = await measureChoice(model, await readChoices(one), options);
  model.close();
  assert.equal(found.sets, { one: want, two: want });
  assert.equal([found.n, found.accuracy], [4, want.accuracy]);
  assert.equal(JSON.parse(readFileSync(log, 'utf8')).sets.two.items, items);
  const { out } = await inProcess([...tiny('choice'), one, '--data', two]);
  assert.match(out, /one +2 .*\n {2}numbers +1 .*\nall +4 /s);
  assert.is((await failure(...tiny('choice'), one, '--data', one)).code, 'E_ARGUMENT');
  assert.is((await failure(...tiny('choice'), join(folder, 'none.json'))).code, 'E_FILE_NOT_FOUND');
});

test.run();
