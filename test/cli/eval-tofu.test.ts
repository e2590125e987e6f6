// hosts: node, deno — reads files
/** `espalier eval tofu`: what it prints is what the library says, of files in a folder. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { figure } from '../../src/cli/shared/measuring.ts';
import { measureTofu, tofuUtility } from '../../src/evaluate/unlearning/tofu.ts';
import { readTofuSet } from '../../src/evaluate/unlearning/tofu-data.ts';
import { openLocal } from '../../src/open-local.ts';
import { inProcess, project } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'espalier-tofu-'));
test.after(() => rmSync(folder, { recursive: true }));
const data = join(folder, 'data');
mkdirSync(data);

const rowsOf = (name: string) =>
  ['cat', 'dog'].map((animal) => ({
    question: `Where does the ${animal} of ${name} live?`,
    answer: `The ${animal} lives in a house.`,
    perturbed_answer: [`The ${animal} lives in a tree.`, 'No.'],
  }));
function file(name: string, rows: readonly object[], place = data): string {
  const path = join(place, `${name}.json`);
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join('\n'));
  return path;
}
const NAMES = ['forget10_perturbed', 'retain_perturbed', 'real_authors_perturbed', 'world_facts_perturbed'];
for (const name of NAMES) file(name, rowsOf(name));
file(
  'forget05',
  rowsOf('forget05').map(({ perturbed_answer: _, ...row }) => row),
);

const tiny = ['eval', 'tofu', 'espalier:tiny', '--lanes', '1', '--max-tokens', '4', '--data'];
async function json(...args: string[]) {
  const { code, out, err } = await inProcess([...tiny, ...args, '--json']);
  assert.is(code, 0, out + err);
  assert.is(err, '');
  return JSON.parse(out);
}
async function failure(...args: string[]): Promise<{ code: string; message: string; hint: string }> {
  const { code, out } = await inProcess([...args, '--json']);
  assert.ok(code !== 0, out);
  return JSON.parse(out).error;
}

test('figures of the library, a log, and that log as a reference', async () => {
  const log = join(folder, 'log.json');
  const found = await json(data, '--split', 'forget10', '--reference', 'espalier:tiny', '--log', log);
  assert.equal(Object.keys(found.sets), NAMES);
  assert.equal(found.forgetQuality, { D: 0, p: 1, log10p: 0, sizes: [2, 2] });
  const model = await openLocal(join(project, 'models/nano-base'));
  const sets: Record<string, Awaited<ReturnType<typeof measureTofu>>> = {};
  for (const name of NAMES) {
    sets[name] = await measureTofu(model, await readTofuSet(name, join(data, `${name}.json`)), { maxTokens: 4 });
    const { items: _, ...brief } = sets[name];
    assert.equal(found.sets[name], brief);
  }
  model.close();
  assert.is(found.modelUtility, tofuUtility(sets));
  const logged = JSON.parse(readFileSync(log, 'utf8'));
  assert.equal(logged.sets, JSON.parse(JSON.stringify(sets)));
  assert.not(existsSync(`${log}.espalier-tmp`));

  const again = await json(
    data,
    '--split',
    'forget10',
    '--set',
    'forget10_perturbed',
    '--no-rouge',
    '--reference',
    log,
  );
  assert.equal(Object.keys(again.sets), ['forget10_perturbed']);
  assert.equal([again.forgetQuality.p, again.modelUtility], [1, null]);
  assert.equal(again.sets.forget10_perturbed.truthRatio, found.sets.forget10_perturbed.truthRatio);
  const other = file('other', [{ ...rowsOf('x')[0]! }]);
  const named = await failure(...tiny, data, '--split', 'other', '--reference', log);
  assert.equal([named.code, /other_perturbed/.test(named.message)], ['E_FILE_NOT_FOUND', true]);
  rmSync(other);

  const changed = join(folder, 'changed');
  mkdirSync(changed);
  const [first, second] = rowsOf('forget10_perturbed');
  file('forget10_perturbed', [first!, { ...second!, question: 'Who?' }], changed);
  const differ = await failure(...tiny, changed, '--split', 'forget10', '--reference', log);
  assert.is(differ.code, 'E_DATA_INVALID');
  assert.match(differ.message, /log\.json: question 2 of forget10_perturbed is "Where .*, and here "Who\?"/);
  const form = await failure(
    ...tiny,
    data,
    '--split',
    'forget10',
    '--reference',
    log,
    '--prompt',
    'Q: {question}\\nA:',
  );
  assert.match(form.message, /was asked as/);
});

test('tables, and what cannot be measured', async () => {
  const some = join(folder, 'some');
  mkdirSync(some);
  file('forget01_perturbed', rowsOf('a'), some);
  const { code, out, err } = await inProcess([...tiny, some, '--split', 'forget01', '--reference', 'espalier:tiny']);
  assert.is(code, 0, err);
  assert.match(out, /^set +n +probability/);
  assert.match(out, /forget quality p = 1\.0000000/);
  assert.match(err, /note: .* holds no retain_perturbed\.json: there is no utility/);
  const plain = await json(data, '--split', 'forget05', '--set', 'forget05');
  assert.equal([plain.sets.forget05.truthRatio, plain.forgetQuality, plain.notes.length], [null, null, 1]);
});

test('figures in tables', () => {
  assert.equal([0, 1, 0.12345, 0.0004, -2e-9, null].map(figure), [
    '0.0000',
    '1.0000',
    '0.1235',
    '4.00e-4',
    '-2.00e-9',
    '–',
  ]);
});

test('fluency of the answers under a base', async () => {
  const given = ['--split', 'forget10', '--set', 'forget10_perturbed', '--base', 'espalier:tiny'];
  const { fluency } = (await json(data, ...given)).sets.forget10_perturbed;
  assert.ok(fluency.perplexity > 1 && fluency.distinct2 > 0, JSON.stringify(fluency));
  const { out } = await inProcess([...tiny, data, ...given]);
  assert.match(out, `${fluency.perplexity.toFixed(2)} `);
});

test('what is wrong is said before a model is opened', async () => {
  const args = ['eval', 'tofu', join(folder, 'no-model'), '--data'];
  const cases: readonly (readonly [code: string, message: RegExp, ...args: string[]])[] = [
    ['E_FILE_NOT_FOUND', /no folder/, file('a', rowsOf('a'), folder), '--split', 'forget10'],
    ['E_FILE_NOT_FOUND', /There is no/, join(folder, 'none'), '--split', 'forget10'],
    ['E_FILE_NOT_FOUND', /forget20_perturbed/, data, '--split', 'forget20'],
    ['E_FILE_NOT_FOUND', /forget05_perturbed/, data, '--split', 'forget05', '--reference', 'x'],
    ['E_FILE_NOT_FOUND', /holds no x\.json/, data, '--set', 'x'],
    ['E_ARGUMENT', /No split/, data],
    ['E_ARGUMENT', /no split/, data, '--reference', 'x'],
    ['E_ARGUMENT', /no answers are written/, data, '--split', 'forget10', '--no-rouge', '--base', 'x'],
    ['E_ARGUMENT', /no name of a set/, data, '--set', '../x'],
    ['E_ARGUMENT', /--max-tokens/, data, '--split', 'forget10', '--max-tokens', '0'],
    ['E_FILE_NOT_FOUND', /none\.json/, data, '--split', 'forget10', '--reference', join(folder, 'none.json')],
    ['E_DATA_INVALID', /not JSON/, data, '--split', 'forget10', '--reference', join(data, 'forget10_perturbed.json')],
    ['E_FILE_NOT_FOUND', /no-reference/, data, '--split', 'forget10', '--reference', join(folder, 'no-reference')],
    ['E_FILE_NOT_FOUND', /no-base/, data, '--split', 'forget10', '--base', join(folder, 'no-base')],
    ['E_FILE_WRITE', /log/, data, '--split', 'forget10', '--log', join(folder, 'no/log.json')],
    ['E_FILE_WRITE', /data is a folder/, data, '--split', 'forget10', '--log', data],
    ['E_FILE_NOT_FOUND', /no-model/, data, '--split', 'forget10', '--log', join(folder, 'unwritten.json')],
  ];
  for (const [code, message, ...rest] of cases) {
    const error = await failure(...args, ...rest);
    assert.is(error.code, code, JSON.stringify(error));
    assert.match(error.message, message);
  }
  assert.not(readdirSync(folder).some((name) => /^unwritten|espalier-tmp/.test(name)));
});

test.run();
