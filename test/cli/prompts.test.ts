// hosts: node, deno — starts the command as a process
/** The prompts of a file at the command line: what the library says of each, in the order of the file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLocal } from '../../src/open-local.ts';
import { inProcess as cli, project as root } from './run.ts';

const nano = join(root, 'models/nano-base');
const temporary = mkdtempSync(join(tmpdir(), 'espalier-cli-'));
const PROMPT = 'Once upon a time';
const model = await openLocal(nano);

/** Ids and texts; two processes may have timed different kernels as the fastest, which round differently. */
const facts = (tokens: readonly { readonly id: number; readonly text: string }[]) =>
  tokens.map(({ id, text }) => [id, text]);

async function fails(want: string, ...args: string[]): Promise<void> {
  const { code, err } = await cli(args);
  assert.is(code, want === 'E_ARGUMENT' ? 2 : 1, `${args.join(' ')}: ${err}`);
  assert.match(err, new RegExp(`^${want}: .+\n$`), err);
}

test('prompts of a file are continued at once and printed in its order', async () => {
  const path = join(temporary, 'prompts.jsonl');
  const lines = [
    '"Once upon a time"',
    '',
    '{ "prompt": "A dog", "maxTokens": 40, "temperature": 1, "seed": 7 }',
    '"x"',
  ];
  writeFileSync(path, lines.join('\n'));
  const ask = ['generate', nano, '--lanes', '1', '-n', '5', '--prompts'];
  const want = [
    await model.generate(PROMPT, { maxTokens: 5 }).result(),
    await model.generate('A dog', { maxTokens: 40, temperature: 1, seed: 7 }).result(),
    await model.generate('x', { maxTokens: 5 }).result(),
  ];
  const { code, out, err } = await cli([...ask, path, '--json', '--batch', '2']);
  assert.is(code, 0, err);
  assert.is(err, '');
  const got = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  for (const [i, { index, text, tokens, finishReason, error }] of got.entries()) {
    assert.is(index, i);
    assert.is(error, null);
    assert.is(text, want[i]!.text);
    assert.is(finishReason, want[i]!.finishReason);
    assert.equal(facts(tokens), facts(want[i]!.tokens));
  }
  assert.equal(
    got.map(({ line }) => line),
    [1, 3, 4],
    'lines of the file, of which one is empty',
  );
  const plain = await cli([...ask, '-'], { input: `${PROMPT}\n\nx\n` });
  assert.is(plain.out, `${PROMPT}${want[0]!.text}\nx${want[2]!.text}\n`);
  assert.match(plain.err, / tokens written of 2 prompts at /);

  // one that fails is said, and the others come out
  writeFileSync(path, `"x"\n{ "prompt": "y", "topP": 2 }\n{ "prompt": "x" }`);
  const mixed = await cli([...ask, path, '--json']);
  assert.is(mixed.code, 1);
  const results = mixed.out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(
    results.map(({ error }) => error?.code ?? null),
    [null, 'E_ARGUMENT', null],
  );
  assert.is(results[2].text, want[2]!.text);
  assert.match((await cli([...ask, path])).err, /^line 2: E_ARGUMENT: /m);
  for (const broken of ['', '\n', '{', '7', '{ "maxTokens": 3 }', '{ "prompt": "a", "messages": [] }']) {
    writeFileSync(path, broken);
    await fails('E_DATA_INVALID', ...ask, path);
  }
  await fails('E_FILE_NOT_FOUND', ...ask, join(temporary, 'none.txt'));
  for (const wrong of [
    [],
    ['-p', 'a', '--batch', '2'],
    ['-p', 'a', '--prompts', path],
    ['--prompts', path, '--batch', '0'],
  ]) {
    await fails('E_ARGUMENT', 'generate', nano, ...wrong);
  }
});

test('what was opened is closed', () => {
  model.close();
  rmSync(temporary, { recursive: true });
});

test.run();
