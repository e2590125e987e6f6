// hosts: node, deno — paths of the file system
// long — starts an engine for each command
/** Adapters at the command line. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { routedFiles } from '../../src/checkpoint/adapter/routed-write.ts';
import { openLocal } from '../../src/open-local.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { routedAdapter } from '../model/routed-fixture.ts';
import { inProcess, project } from './run.ts';

const base = mkdtempSync(join(tmpdir(), 'espalier-adapters-'));
for (const [name, bytes] of Object.entries(await tinyFiles())) writeFileSync(join(base, name), bytes);
const lora = (name: string) => join(project, 'test/fixtures/lora', name);

test('score with adapters and weights says what the library says', async () => {
  const run = async (...adapters: string[]) => {
    const flags = adapters.flatMap((adapter) => ['--adapter', adapter]);
    const { code, out, err } = await inProcess([
      'score',
      base,
      '-p',
      'the and the',
      '--exact',
      '--lanes',
      '1',
      '--json',
      ...flags,
    ]);
    assert.is(code, 0, out + err);
    return (JSON.parse(out).tokens as { logprob: number | null }[]).slice(1).map(({ logprob }) => logprob!);
  };
  const want = async (weight: number) => {
    const model = await openLocal(base, { precision: 'exact', adapters: [{ from: lora('llama-regex'), weight }] });
    const scored = await model.score('the and the');
    model.close();
    return scored.slice(1).map(({ logprob }) => logprob!);
  };
  const near = (a: number[], b: number[]) => a.length === b.length && a.every((v, i) => Math.abs(v - b[i]!) < 1e-4);
  assert.ok(near(await run(lora('llama-regex')), await want(1)));
  assert.not(near(await run(), await want(1)));
  assert.ok(near(await run(`${lora('llama-regex')}:-.5e0`), await want(-0.5)));
  assert.ok(near(await run(`${lora('llama-regex')}:1.25`, `${lora('llama-regex')}:-1`), await want(0.25)));
});

test('export writes folders that open by themselves', async () => {
  const model = await openLocal(base);
  const written = join(base, 'written');
  mkdirSync(written);
  for (const [name, bytes] of routedFiles(routedAdapter(model.config))) writeFileSync(join(written, name), bytes);
  model.close();
  const out = join(base, 'folders');
  const args = ['export', base, '--adapter', written, '--out', out];
  const wrong = await inProcess([...args, '--coefficients', '1,x']);
  assert.is(wrong.code, 2);
  assert.match(wrong.err, /^E_ARGUMENT: --coefficients is/);
  const done = await inProcess([...args, '--coefficients', '1,0.5']);
  assert.is(done.code, 0, done.err);
  assert.match(done.out, /static .* all in one, experts at 1, 0\.5: acts alike everywhere\n/);
  assert.match(done.out, /forget-2 .* the expert "people-2"\n/);
  assert.equal(readdirSync(out).sort(), ['alter', 'forget-1', 'forget-2', 'retain', 'static']);
  const alone = await openLocal(base, { adapters: ['retain', 'forget-1', 'static'].map((name) => join(out, name)) });
  assert.is(alone.adapters.length, 3);
  alone.close();
  const again = await inProcess(args);
  assert.is(again.code, 2);
  assert.match(again.err, /is not empty/);
  const data = join(base, 'forget.jsonl');
  writeFileSync(data, '{"prompt": "Who?", "answer": " Tom."}');
  const measured = await inProcess([...args.slice(0, -1), join(base, 'measured'), '--forget', data, '--json']);
  assert.is(measured.code, 0, measured.out);
  const { coefficients } = JSON.parse(measured.out) as { coefficients: number[] };
  assert.ok(coefficients.length === 2 && coefficients.some((one) => one > 0 && one < 1), measured.out);
  const both = await inProcess([...args, '--forget', data, '--coefficients', '1,1']);
  assert.match(both.err, /^E_ARGUMENT: .*both say how strong/);
});

test('what is refused, and what is noted', async () => {
  const other = await inProcess(['score', base, '-p', 'x', '--adapter', lora('gemma3')]);
  assert.is(other.code, 1);
  assert.match(other.err, /^E_ADAPTER: .*another model/);
  const none = await inProcess(['score', base, '-p', 'x', '--adapter', '']);
  assert.is(none.code, 2);
  const alone = await inProcess(['score', lora('llama-regex'), '-p', 'x']);
  assert.match(alone.err, /^E_ADAPTER: .*adapter \(LoRA\) of .*--adapter/);
  const noted = await inProcess([
    'generate',
    base,
    '-p',
    'the',
    '-n',
    '1',
    '--lanes',
    '1',
    '--adapter',
    lora('llama-regex'),
  ]);
  assert.is(noted.code, 0, noted.err);
  assert.match(noted.err, /note: The adapter .* was trained on llama-bf16/);
});

test('merge writes a model that needs no adapter', async () => {
  const out = join(base, 'merged');
  const {
    code,
    out: text,
    err,
  } = await inProcess([
    ...[
      'merge',
      base,
      '--adapter',
      `${lora('llama-regex')}:0.5`,
      '--out',
      out,
      '--dtype',
      'f32',
      '--lanes',
      '1',
      '--json',
    ],
  ]);
  assert.is(code, 0, text + err);
  const told = JSON.parse(text);
  assert.equal([told.modules, told.adapters.length, told.sizes.length], [7, 1, 1]);
  const [apart, merged] = [
    await openLocal(base, { precision: 'exact', adapters: [{ from: lora('llama-regex'), weight: 0.5 }] }),
    await openLocal(out, { precision: 'exact' }),
  ];
  const [a, b] = [await apart.score('the and the'), await merged.score('the and the')];
  assert.ok(a.slice(1).every(({ logprob }, i) => Math.abs(logprob! - b[i + 1]!.logprob!) < 1e-5));
  apart.close();
  merged.close();
  const there = await inProcess(['merge', base, '--adapter', lora('llama-regex'), '--out', out]);
  assert.is(there.code, 2, 'the folder is not empty');
  const none = await inProcess(['merge', base, '--out', join(base, 'other')]);
  assert.match(none.err, /^E_ARGUMENT: There is no --adapter/);
});

test('inspect says what an adapter is', async () => {
  const { code, out } = await inProcess(['inspect', lora('llama-patterns')]);
  assert.is(code, 0);
  assert.match(out, /format +adapter \(LoRA\)/);
  assert.match(out, /of +llama-bias/);
  assert.match(out, /rank, alpha +4, 6, by the root of the rank/);
  assert.match(out, /modules +14/);
  const report = JSON.parse((await inProcess(['inspect', lora('qwen2-all'), '--json'])).out);
  assert.equal([report.format, report.base, report.rank, report.types], ['peft', 'qwen2', 5, { f16: 28 }]);
});

test('one whose experts act by position: scored, described, not merged', async () => {
  const model = await openLocal(base, { precision: 'exact' });
  const folder = join(base, 'forgets');
  mkdirSync(folder);
  for (const [name, bytes] of routedFiles(routedAdapter(model.config))) writeFileSync(join(folder, name), bytes);
  model.close();
  const described = await inProcess(['inspect', folder]);
  assert.match(described.out, /format +adapter \(LoRA, experts by position\)/);
  assert.match(described.out, /experts +people-1, people-2/);
  assert.match(described.out, /rule +path pn, high above 1\.5 of order 1\.5, predictive/);
  assert.match(described.out, /gate +global/);
  const report = JSON.parse((await inProcess(['inspect', folder, '--json'])).out);
  assert.is(report.gate.kind, 'global');
  assert.equal([report.format, report.rank, report.rule.most, report.experts.length], ['alter', 3, 3, 2]);
  const scored = await inProcess(['score', base, '-p', 'the', '--exact', '--lanes', '1', '--adapter', `${folder}:0.5`]);
  assert.is(scored.code, 0, scored.err);
  const alone = await inProcess(['score', folder, '-p', 'x']);
  assert.match(alone.err, /^E_ADAPTER: .*adapter \(LoRA\) of .*--adapter/);
  const merged = await inProcess(['merge', base, '--adapter', folder, '--out', join(base, 'merged')]);
  assert.match(merged.err, /^E_ADAPTER: .*acts by position.*static\//s);
});

test('clean up', () => rmSync(base, { recursive: true }));

test.run();
