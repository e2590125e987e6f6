// hosts: node, deno — reads and writes files
/** `espalier audit`: what it prints is what the library says. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { routedFiles } from '../../src/checkpoint/adapter/routed-write.ts';
import { openLocal } from '../../src/open-local.ts';
import { auditEntropy } from '../../src/prune/entropy/audit.ts';
import { splitStatement } from '../../src/prune/entropy/statement.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { constant, routedAdapter } from '../model/routed-fixture.ts';
import { inProcess, project } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'espalier-audit-'));
test.after(() => rmSync(folder, { recursive: true }));
const nano = join(project, 'models/nano-base');
const TEXT = 'Tom has a dog. However, it is not happy.';
const common = ['audit', nano, '--lanes', '1'];

test('a text: JSON, marks, colours, the page', async () => {
  const model = await openLocal(nano);
  const { split, texts } = await auditEntropy(model, TEXT, { q: 1.2, percentile: 60 });
  model.close();
  const flags = ['-p', TEXT, '--q', '1.2', '--percentile', '60'];
  const { code, out, err } = await inProcess([...common, ...flags, '--top', '2', '--json']);
  assert.is(code, 0, out + err);
  assert.is(err, '');
  const found = JSON.parse(out);
  // two processes may have timed different kernels as the fastest, which round differently
  assert.ok(Math.abs(found.split.cut - split.cut) < 1e-4);
  assert.equal([found.split.rule, found.split.percentile, found.split.high], [split.rule, 60, split.high]);
  const kinds = (list: typeof texts) => list[0]!.tokens.map(({ text, high, counts }) => [text, high, counts]);
  assert.equal(kinds(found.texts), kinds(texts));
  assert.is(found.texts[0].tokens[1].top.length, 2);

  const page = join(folder, 'page.html');
  const marked = await inProcess([...common, ...flags, '--html', page]);
  assert.match(marked.out, splitStatement(split));
  assert.match(marked.out, /⟦high⟧ {2}low\n/);
  assert.is(
    marked.out.split('\n').slice(0, 1).join('').replace(/[⟦⟧]/g, ''),
    texts[0]!.tokens.map(({ text }) => text).join(''),
  );
  assert.not.match(marked.out, '\u001b');
  assert.match(marked.err, page);
  assert.match(readFileSync(page, 'utf8'), /^<!doctype html>/);

  const coloured = await inProcess([...common, ...flags], { colours: true });
  assert.not.match(coloured.out, '⟦');
  const plain = ['\u001b[30;43m', '\u001b[2m', '\u001b[0m'].reduce(
    (text, one) => text.replaceAll(one, ''),
    coloured.out,
  );
  assert.is(plain.split('\n')[0], texts[0]!.tokens.map(({ text }) => text).join(''));
  assert.match(coloured.out, '\u001b[30;43m');
});

test('special tokens of the text, and of a message', async () => {
  const ids = async (...flags: string[]) => {
    const { code, out } = await inProcess([...common, '-p', 'A dog.<|endoftext|>', ...flags, '--json']);
    assert.is(code, 0, out);
    return JSON.parse(out).texts[0].tokens.map(({ id }: { id: number }) => id) as number[];
  };
  const model = await openLocal(nano);
  const { eosId } = model.tokenizer;
  model.close();
  assert.is((await ids()).at(-1), eosId);
  assert.is.not((await ids('--no-special-tokens')).at(-1), eosId);
  assert.is.not((await ids('--bos', 'no')).at(0), (await ids()).at(0));
});

test('examples: answers count, and a conversation is written by the template', async () => {
  const data = join(folder, 'a.jsonl');
  const row = { q: 'What is it?', a: ' It is a dog.' };
  writeFileSync(data, `${JSON.stringify(row)}\n${JSON.stringify({ ...row, q: 'Who?' })}\n${JSON.stringify(row)}\n`);
  const flags = ['--data', data, '--column', 'prompt=q', '--column', 'answer=a'];
  const { code, out } = await inProcess([...common, ...flags, '--prompt', 'Q: {q}\\nA:', '--examples', '2', '--json']);
  assert.is(code, 0, out);
  const { texts, split } = JSON.parse(out);
  assert.equal(
    texts.map(({ name }: { name: string }) => name),
    [`${data}, line 1`, `${data}, line 2`],
  );
  type Token = { text: string; counts: boolean };
  const told = (counts: boolean) => texts[0].tokens.filter((t: Token) => t.counts === counts).map((t: Token) => t.text);
  assert.match(told(false).join(''), 'Q: What is it?\nA:');
  assert.match(told(true).join(''), / It is a dog\./);
  assert.is(split.tokens, 2 * told(true).length);
});

test('experts of an adapter: marks, colours, JSON, the page', async () => {
  const base = join(folder, 'base');
  const forgets = join(folder, 'forgets');
  for (const path of [base, forgets]) mkdirSync(path);
  for (const [name, bytes] of Object.entries(await tinyFiles())) writeFileSync(join(base, name), bytes);
  const model = await openLocal(base);
  const made = routedAdapter(model.config);
  model.close();
  // the first acts everywhere, and no other
  const always = { ...constant(made, [0.5, 0.25]), rule: { ...made.rule, cut: null } };
  for (const [name, bytes] of routedFiles(always)) writeFileSync(join(forgets, name), bytes);
  const page = join(folder, 'experts.html');
  const flags = ['audit', base, '--adapter', forgets, '-p', 'the end', '--bos', 'no', '--cut', '0', '--no-fallback'];
  const marked = await inProcess([...flags, '--lanes', '1', '--html', page]);
  assert.is(marked.code, 0, marked.out + marked.err);
  assert.match(marked.out, /^t⟨¹⟦he end⟧⟩\n\n⟦high⟧ {2}low {2}⟨¹people-1⟩ {2}⟨²people-2⟩ {2}⁺ with others\n/);
  assert.match(marked.out, 'Of 6 predicted tokens experts act at 6: people-1 at 6, people-2 at 0.');
  assert.match(readFileSync(page, 'utf8'), /data-e="1".*\["people-1","people-2"\]/s);
  const coloured = await inProcess([...flags, '--lanes', '1'], { colours: true });
  assert.match(coloured.out, '\u001b[36m⟨¹\u001b[0m\u001b[30;43mhe end\u001b[0m\u001b[36m⟩\u001b[0m');
  // a name out of a file does not move the cursor, nor what stands behind it
  const named = always.experts.map((own) => ({ ...own, name: `\u001b[2J\n\u202e${own.name}` }));
  for (const [name, bytes] of routedFiles({ ...always, experts: named })) writeFileSync(join(forgets, name), bytes);
  const hostile = await inProcess([...flags, '--lanes', '1']);
  assert.match(hostile.out, /⟨¹\ufffd\[2J\ufffd\ufffdpeople-1⟩/);
  assert.not.ok(hostile.out.includes('\u001b') || hostile.out.includes('\u202e'));
  for (const [name, bytes] of routedFiles(always)) writeFileSync(join(forgets, name), bytes);
  const { out } = await inProcess([...flags, '--lanes', '1', '--json']);
  const { experts, texts } = JSON.parse(out);
  assert.equal(experts, ['people-1', 'people-2']);
  const { expert, coefficients, probabilities, entropy, high } = texts[0].tokens[1].routing;
  assert.equal([expert, coefficients, entropy, high], [0, [1, 0], null, false]);
  for (const [i, p] of [0.25, 0.5, 0.25].entries()) assert.ok(Math.abs(probabilities[i] - p) < 1e-6);
});

test('an abort ends it', async () => {
  const { code, out } = await inProcess([...common, '-p', TEXT, '--json'], { signal: AbortSignal.abort() });
  assert.is(code, 1);
  assert.is(JSON.parse(out).error.code, 'E_ABORTED');
});

test('what cannot be audited is refused', async () => {
  const failed = async (...flags: string[]) => {
    const { code, out } = await inProcess(['audit', nano, ...flags, '--json']);
    assert.ok(code !== 0);
    return JSON.parse(out).error as { code: string; message: string };
  };
  assert.match((await failed()).message, 'either --prompt or --data');
  assert.match((await failed('-p', TEXT, '--examples', '3')).message, '--data');
  assert.match((await failed('-p', TEXT, '--no-end')).message, '--end is given without --data');
  assert.match((await failed('-p', TEXT, '--held-out', '0.1')).message, '--held-out is given without --data');
  assert.match((await failed('-p', TEXT, '--chat', '--bos', 'no')).message, '--bos');
  assert.is((await failed('-p', TEXT, '--q', '0')).code, 'E_ARGUMENT');
  assert.match((await failed('-p', TEXT, '--q', '2', '--lanes', '1')).message, 'the highest is 0.999');
  assert.match((await failed('-p', TEXT, '--cut', '1', '--percentile', '5', '--lanes', '1')).message, '--cut');
  assert.is((await failed('--data', join(folder, 'none.jsonl'), '--lanes', '1')).code, 'E_FILE_NOT_FOUND');
  // before a model is opened, and nothing is left
  for (const html of [join(folder, 'no/folder.html'), folder]) {
    const { out } = await inProcess(['audit', join(folder, 'no-model'), '-p', TEXT, '--html', html, '--json']);
    assert.is(JSON.parse(out).error.code, 'E_FILE_WRITE');
  }
  const unwritten = join(folder, 'unwritten.html');
  assert.is((await failed('-p', TEXT, '--q', '2', '--lanes', '1', '--html', unwritten)).code, 'E_ARGUMENT');
  assert.not(readdirSync(folder).some((name) => name.startsWith('unwritten')));
});

test.run();
