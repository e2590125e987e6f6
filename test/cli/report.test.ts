// hosts: node, deno — paths of the file system
// long — makes a model forget, and evaluates it in engines
/** `espalier report`: the page of a pruning with measures that `eval tofu` wrote of it, and samples. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { plainFigure } from '../../src/page/html.ts';
import { PRUNE_FILE } from '../../src/prune.ts';
import { FORGET, knowingFiles, lines, RETAIN, run, strangerFiles } from '../prune/jobs.ts';
import { inProcess } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'espalier-report-'));
test.after(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
async function write(name: string, files: Record<string, Blob | Uint8Array>): Promise<void> {
  mkdirSync(at(name));
  for (const [file, content] of Object.entries(files)) {
    writeFileSync(
      join(at(name), file),
      content instanceof Blob ? new Uint8Array(await content.arrayBuffer()) : content,
    );
  }
}
await write('model', await knowingFiles());
await write('stranger', await strangerFiles());
const { receipt, files } = await run({ reference: await strangerFiles() });
await write('forgets', files);
writeFileSync(at('forget.jsonl'), lines(FORGET));
writeFileSync(at('retain.jsonl'), lines(RETAIN));
mkdirSync(at('tofu'));
const rows = FORGET.map(({ prompt, answer }) => ({
  question: prompt,
  answer: answer.trim(),
  perturbed_answer: ['A.', 'B.'],
}));
writeFileSync(join(at('tofu'), 'forget10_perturbed.json'), rows.map((row) => JSON.stringify(row)).join('\n'));

const text = (page: string): string =>
  page
    .replace(/<(style|script).*?<\/\1>/gs, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');
const EVAL = ['--data', at('tofu'), '--prompt', '{question} ', '--lanes', '1', '--no-rouge', '--set'];
async function measured(model: string, log: string, ...more: string[]) {
  const args = ['eval', 'tofu', at(model), ...EVAL, 'forget10_perturbed', '--log', at(log), ...more];
  const { code, out, err } = await inProcess(args);
  assert.is(code, 0, out + err);
  return JSON.parse(readFileSync(at(log), 'utf8')).sets.forget10_perturbed;
}
const report = (...args: string[]) => inProcess(['report', at('model'), '--adapter', at('forgets'), ...args]);

test('measures of the receipt stand beside what they should come to', async () => {
  const { code, out, err } = await report('--html', at('plain.html'));
  assert.is(code, 0, err);
  assert.is(out, `The report is in ${at('plain.html')}.\n`);
  const said = text(readFileSync(at('plain.html'), 'utf8'));
  const row = (name: string, ...list: number[]) => `${name} ${list.map((x) => plainFigure(x)).join(' ')}`;
  const { before, after, target, distance } = receipt;
  const some = [row('answers to be kept', before.retain, after.retain, before.retain)];
  some.push(row('distance from answers never learned, in nats', distance.before, distance.after, 0));
  for (const part of some) assert.ok(said.includes(part), part);
  assert.ok(before.forget > 0.9 && target.probability < after.forget * 100);
  assert.ok(distance.after < 0.5 * distance.before, JSON.stringify(distance));
});

test('with those of files, and samples', async () => {
  const [before, after] = [
    await measured('model', 'before.json'),
    await measured('model', 'after.json', '--adapter', at('forgets')),
  ];
  const aim = await measured('stranger', 'aim.json');
  const given = ['--before', at('before.json'), '--after', at('after.json'), '--aim', at('aim.json')];
  const sides = ['--forget', at('forget.jsonl'), '--retain', at('retain.jsonl'), '--max-tokens', '48'];
  const { code, out, err } = await report('--html', at('all.html'), ...given, ...sides);
  assert.is(code, 0, out + err);
  const page = readFileSync(at('all.html'), 'utf8');
  const said = text(page).replace(/ · 10 −(\d+)/g, 'e-$1');
  for (const [name, figure] of [
    ['probability', 'probability'],
    ['exactMemorisation', 'exact memorisation'],
    ['extractionStrength', 'extraction strength'],
  ] as const) {
    assert.ok(before[name] > after[name], name);
    const cells = [before, after, aim].map((own) => plainFigure(own[name]));
    assert.ok(said.includes(`forget10_perturbed: ${figure} ${cells.join(' ')}`), `${name} ${cells}`);
  }
  assert.match(said, /Of what was forgotten .* Of what was kept/);
});

test('what is wrong has a code, and nothing is written', async () => {
  const html = ['--html', at('wrong.html')];
  const fails = async (code: string, says: RegExp, ...args: string[]) => {
    const { err, code: exit } = await inProcess(args);
    assert.ok(exit !== 0);
    assert.match(err, new RegExp(`^${code}: `));
    assert.match(err, says);
    assert.not(existsSync(at('wrong.html')));
  };
  const own = ['report', at('model'), '--adapter', at('forgets'), ...html];
  await fails('E_ARGUMENT', /both sides/, ...own, '--forget', at('forget.jsonl'));
  await fails('E_DATA_INVALID', /no figure of an evaluation/, ...own, '--before', join(at('forgets'), PRUNE_FILE));
  await fails('E_FILE_NOT_FOUND', /none\.json/, ...own, '--after', at('none.json'));
  await fails('E_FILE_NOT_FOUND', /espalier-prune\.json/, 'report', at('model'), '--adapter', at('model'), ...html);
  const beside = ['report', at('model'), '--adapter', at('stranger'), ...html];
  const written = (text: string) => writeFileSync(join(at('stranger'), PRUNE_FILE), text);
  written('{"receipt": "other"}');
  await fails('E_DATA_INVALID', /no receipt of a pruning/, ...beside);
  // by hand: any part may be missing, or something else
  for (const key of ['source', 'data', 'before', 'after', 'distance', 'options', 'request', 'earlier', 'target']) {
    written(JSON.stringify({ ...receipt, [key]: undefined }));
    if (key !== 'target') await fails('E_DATA_INVALID', new RegExp(`${PRUNE_FILE}: ${key} is undefined`), ...beside);
    written(JSON.stringify({ ...receipt, [key]: 7 }));
    await fails('E_DATA_INVALID', new RegExp(`${PRUNE_FILE}: ${key} is 7`), ...beside);
  }
  for (const [key, value] of Object.entries({
    looks: [1],
    domains: [{}],
    gate: {},
    isolation: { roles: [] },
    entropies: {},
  })) {
    written(JSON.stringify({ ...receipt, [key]: value }));
    await fails('E_DATA_INVALID', new RegExp(`: ${key}[.[]`), ...beside);
  }
  await fails('E_FILE_WRITE', /is a folder\. Give another name/, ...own.slice(0, -1), at('model'));
});

test.run();
