// hosts: node, deno — starts the command as a process
// long — starts an engine for each command
/** The commands as a shell runs them: output, JSON, exit codes, and that they say what the library says. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { inspectModel } from '../../src/inspect.ts';
import { openLocal } from '../../src/open-local.ts';
import { inProcess, program, project as root, start, startProgram } from './run.ts';

const nano = join(root, 'models/nano-base');
const temporary = mkdtempSync(join(tmpdir(), 'espalier-cli-'));
const PROMPT = 'Once upon a time';

const cli = (args: readonly string[], given?: Parameters<typeof inProcess>[1]) => inProcess(args, given);

/** Runs with --json: one line, one object, nothing on stderr. */
async function json(...args: string[]) {
  // on a busy machine a second lane waits for the first
  const lanes = /^(?:generate|score)$/.test(args[0]!) && !args.includes('--lanes') ? ['--lanes', '1'] : [];
  const { code, out, err } = await cli([...args, ...lanes, '--json']);
  assert.is(code, 0, out + err);
  assert.is(err, '');
  assert.is(out.trimEnd().split('\n').length, 1);
  return JSON.parse(out);
}

async function fails(want: string, ...args: string[]): Promise<void> {
  const [plain, asJson] = await Promise.all([cli(args), cli([...args, '--json'])]);
  const wanted = want === 'E_ARGUMENT' ? 2 : 1;
  assert.is(plain.code, wanted, `${args.join(' ')}: ${plain.out}${plain.err}`);
  assert.match(plain.err, new RegExp(`^${want}: .+\\n$`), plain.err); // one line: code, sentence, advice
  assert.not.match(plain.out, want);
  assert.is(asJson.code, wanted);
  assert.is(asJson.err, '');
  const { error } = JSON.parse(asJson.out);
  assert.equal(Object.keys(error), ['code', 'message', 'hint']);
  assert.is(error.code, want);
  for (const text of Object.values(error)) assert.ok(typeof text === 'string' && text.length > 3);
}

const model = await openLocal(nano);

interface Token {
  readonly id: number;
  readonly text: string;
  readonly logprob: number | null;
  readonly entropy: number;
}
/** Two processes may have timed different kernels as the fastest, which round differently. */
function sameTokens(got: readonly Token[], want: readonly Token[]): void {
  const near = (a: number | null, b: number | null) => a === b || Math.abs(a! - b!) < 1e-4;
  assert.equal(
    got.map(({ id, text }) => [id, text]),
    want.map(({ id, text }) => [id, text]),
  );
  for (const [i, token] of got.entries()) {
    assert.equal(Object.keys(token).sort(), ['entropy', 'id', 'logprob', 'text']);
    assert.is(token.logprob === null, want[i]!.logprob === null);
    assert.ok(near(token.logprob, want[i]!.logprob), `${i}: ${token.logprob} ${want[i]!.logprob}`);
    assert.ok(near(token.entropy, want[i]!.entropy), `${i}: ${token.entropy} ${want[i]!.entropy}`);
  }
}

test('generate --json prints one object that says what the library says', async () => {
  const got = await json(
    'generate',
    'models/nano-base',
    '--prompt',
    PROMPT,
    '--max-tokens',
    '12',
    '--temperature',
    '0',
  );
  const want = await model.generate(PROMPT, { maxTokens: 12 }).result();
  assert.equal(Object.keys(got), ['text', 'tokens', 'finishReason', 'timings']);
  assert.is(got.text, want.text);
  sameTokens(got.tokens, want.tokens);
  assert.is(got.tokens.length, 12);
  assert.is(got.finishReason, 'length');
  assert.is(got.timings.promptTokens, want.timings.promptTokens);
  assert.is(got.timings.generatedTokens, 12);
  for (const name of [
    'loadMilliseconds',
    'prefillMilliseconds',
    'decodeMilliseconds',
    'prefillTokensPerSecond',
    'decodeTokensPerSecond',
  ])
    assert.ok(got.timings[name] > 0, name);
});

test('generate prints the prompt and the text, and the speed on stderr', async () => {
  const { code, out, err } = await cli(['generate', nano, '-p', PROMPT, '-n', '12']);
  const { text } = await model.generate(PROMPT, { maxTokens: 12 }).result();
  assert.is(code, 0);
  assert.is(out, `${PROMPT}${text}\n`);
  assert.match(err, /^\n\d+ tokens read at [\d.]+ tokens\/s, 12 written at [\d.]+ tokens\/s \(wasm, .+\)\n$/);
  const one = await cli(['generate', nano, '-p', PROMPT, '-n', '1']);
  assert.match(one.err, /^\n\d+ tokens read at [\d.]+ tokens\/s, 1 written \(wasm, .+\)\n$/); // no speed of 0
  assert.not.match(err, '\r'); // no progress bar off a terminal
});

test('every option reaches the sampler', async () => {
  const options = { temperature: 0.9, topK: 40, topP: 0.95, minP: 0.01, repetitionPenalty: 1.1, seed: 7 };
  const args = Object.entries(options).flatMap(([name, value]) => [
    `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`,
    String(value),
  ]);
  const want = await model.generate(PROMPT, { maxTokens: 20, ...options }).result();
  const got = await json('generate', nano, '-p', PROMPT, '-n', '20', ...args);
  assert.is(got.text, want.text);
  const other = await json('generate', nano, '-p', PROMPT, '-n', '20', ...args.slice(0, -1), '8');
  assert.is.not(other.text, want.text);
});

test('stop, ignore-eos, bos and exact', async () => {
  const plain = await model.generate(PROMPT, { maxTokens: 20 }).result();
  const stop = plain.text.slice(8, 12);
  const stopped = await json('generate', nano, '-p', PROMPT, '-n', '20', '--stop', stop);
  assert.is(stopped.text, plain.text.slice(0, plain.text.indexOf(stop)));
  assert.is(stopped.finishReason, 'stop');
  const bare = await json('generate', nano, '-p', PROMPT, '-n', '5', '--bos', 'no', '--exact');
  const want = await model.generate(PROMPT, { maxTokens: 5, addBos: false }).result();
  assert.is(bare.timings.promptTokens, model.encode(PROMPT).length - 1);
  assert.equal(
    bare.tokens.map((t: { id: number }) => t.id),
    want.tokens.map((t) => t.id),
  );
  const on = await json('generate', nano, '-p', PROMPT, '-n', '300', '--ignore-eos');
  assert.is(on.tokens.length, 300);
  assert.match(on.text, '<|endoftext|>');
});

test('any number of lanes gives the same text', async () => {
  const want = await model.generate(PROMPT, { maxTokens: 12 }).result();
  for (const lanes of ['1', '2']) {
    const got = await json('generate', nano, '-p', PROMPT, '-n', '12', '--lanes', lanes);
    sameTokens(got.tokens, want.tokens);
  }
});

test('score --json has every position', async () => {
  const text = 'The cat sat on the mat.';
  const got = await json('score', nano, '--prompt', text);
  const want = await model.score(text);
  assert.equal(Object.keys(got), ['tokens']);
  sameTokens(got.tokens, want);
  assert.is(got.tokens[0].logprob, null);
  assert.ok(got.tokens.slice(1).every((t: { logprob: number }) => t.logprob <= 0));
  assert.is(
    got.tokens
      .slice(1)
      .map((t: { text: string }) => t.text)
      .join(''),
    text,
  );
});

test('score prints a table', async () => {
  const { code, out, err } = await cli(['score', nano, '-p', 'The cat']);
  const want = await model.score('The cat');
  assert.is(code, 0);
  assert.is(err, '');
  for (const heading of ['id', 'text', 'logprob', 'entropy']) assert.match(out, heading);
  for (const { id, logprob, entropy } of want) {
    const row = out.split('\n').find((line) => new RegExp(`^\\W*${id}\\b`).test(line));
    const shown = row?.match(/-?\d+\.\d{4}/g)?.map(Number) ?? [];
    const numbers = logprob === null ? [entropy] : [logprob, entropy];
    assert.is(shown.length, numbers.length, `${id}\n${out}`);
    for (const [i, number] of numbers.entries()) assert.ok(Math.abs(shown[i]! - number) < 2e-4, `${id}\n${out}`);
  }
});

test('inspect --json is the report', async () => {
  const got = await json('inspect', nano);
  assert.equal(got, JSON.parse(JSON.stringify(await inspectModel(nano))));
  assert.equal(got.unsupported, []);
  assert.is(got.format, 'safetensors');
  assert.equal(got.types, { bf16: 74 });
  assert.is(got.config.nLayers, 8);
  assert.is(got.memory.cacheBytesPerToken, 8 * 8 * 4 * 32);
});

test('inspect prints the sizes', async () => {
  const { code, out, err } = await cli(['inspect', nano]);
  assert.is(code, 0);
  assert.is(err, '');
  for (const line of [
    /parameters +8\.4 M/,
    /architecture +llama/,
    /layers +8/,
    /context +2048/,
    /types +74 bf16/,
    /memory: weights +16\.\d MiB/,
    /^supported$/m,
  ])
    assert.match(out, line);
});

test('inspect prints experts', async () => {
  const tiny = (name: string) => join('test/fixtures/tiny', name);
  const { code, out } = await cli(['inspect', tiny('moe-espalier-dots1')]);
  assert.is(code, 0);
  for (const line of [
    /architecture +espalier_moe/,
    /experts +8 of 12, 3 a token, in layers 2, 3/,
    /shared expert +of 24/,
    /router +sigmoid, weights sum to 1, times 1\.7, 2 of 4 groups by their best two, a bias for choosing/,
    /active parameters +\d/,
  ])
    assert.match(out, line);
  assert.match((await cli(['inspect', tiny('moe-qwen2')])).out, /shared expert +of 24, gated/);
});

/** The embedded model with another config.json. */
function changed(name: string, change: object): string {
  const folder = join(temporary, name);
  mkdirSync(folder);
  for (const file of ['model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(nano, file), join(folder, file));
  const config = JSON.parse(readFileSync(join(nano, 'config.json'), 'utf8'));
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...change }));
  return folder;
}

test('inspect reports what is unsupported; generate refuses it', async () => {
  const mixture = changed('mixture', { model_type: 'olmoe', architectures: ['OlmoeForCausalLM'] });
  const report = await json('inspect', mixture);
  assert.is(report.unsupported.length, 1);
  assert.is(report.unsupported[0].code, 'E_ARCHITECTURE_UNSUPPORTED');
  assert.match(report.unsupported[0].message, 'olmoe');
  assert.is(report.config, null);
  const plain = await cli(['inspect', mixture]);
  assert.is(plain.code, 0);
  assert.match(plain.out, /^unsupported: E_ARCHITECTURE_UNSUPPORTED: .*olmoe/m);
  assert.not.match(plain.out, /^supported$/m);
  await fails('E_ARCHITECTURE_UNSUPPORTED', 'generate', mixture, '-p', 'x');
  const wrong = changed('wrong', { num_hidden_layers: 9 });
  const lacking = await json('inspect', wrong);
  assert.equal(new Set(lacking.unsupported.map((u: { code: string }) => u.code)), new Set(['E_TENSOR_MISSING']));
  assert.is(lacking.config.nLayers, 9, 'and all the rest is shown');
});

test('errors: exit code 1, the code on stderr or in the JSON', async () => {
  const missing = join(temporary, 'nowhere');
  for (const command of ['generate', 'score']) await fails('E_FILE_NOT_FOUND', command, missing, '-p', 'x');
  await fails('E_FILE_NOT_FOUND', 'inspect', missing);
  const generate = ['generate', nano, '-p', PROMPT];
  await fails('E_ARGUMENT', ...generate, '--context-length', '100000');
  await fails('E_TEMPLATE_INVALID', ...generate, '--chat');
  await fails('E_CONTEXT_LENGTH', 'score', nano, '-p', 'word '.repeat(2100));
});

test('the prompt from standard input; several stops; line ends in a prompt', async () => {
  const ask = ['generate', nano, '-n', '12', '--json', '-p'];
  const want = await model.generate(PROMPT, { maxTokens: 12 }).result();
  for (const input of [PROMPT, `${PROMPT}\n`, `${PROMPT}\r\n`])
    assert.is(JSON.parse((await cli([...ask, '-'], { input })).out).text, want.text);
  const lines = 'One day\n\nTom';
  const two = await model.generate(`${lines}\n`, { maxTokens: 12 }).result();
  assert.is(JSON.parse((await cli([...ask, '-'], { input: `${lines}\n\n` })).out).text, two.text);
  assert.is(JSON.parse((await cli([...ask, `${lines}\n`])).out).text, two.text);
  assert.equal(
    (await json('score', nano, '-p', '-')).tokens.map(({ id }: Token) => id),
    model.encode(''),
  );
  const [first, second] = [want.text.slice(10, 13), want.text.slice(4, 7)];
  const stopped = await json('generate', nano, '-p', PROMPT, '-n', '12', '--stop', first, '--stop', second);
  assert.is(stopped.text, want.text.slice(0, want.text.indexOf(second)));
});

test('names of special tokens in a prompt are tokens, or letters', async () => {
  const prompt = 'a<|endoftext|>b';
  const ask = ['generate', nano, '-n', '1', '-p', prompt];
  const tokens = async (...more: string[]) => (await json(...ask, ...more)).timings.promptTokens;
  const [special, plain] = [true, false].map((specialTokens) => model.encode(prompt, { specialTokens }).length);
  assert.ok(plain! > special!);
  assert.is(await tokens(), special);
  assert.is(await tokens('--special-tokens'), special);
  assert.is(await tokens('--no-special-tokens'), plain);
});

test('context length and precision reach the model; a file that is no model is a failure', async () => {
  await fails('E_CONTEXT_LENGTH', 'generate', nano, '-p', PROMPT, '-c', '3');
  assert.is((await json('generate', nano, '-p', PROMPT, '-n', '4', '--precision', 'exact')).tokens.length, 4);
  await fails('E_CHECKPOINT_FORMAT', 'inspect', join(root, 'README.md'));
});

test('--version', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const shown = await cli(['--version']);
  assert.is(shown.code, 0);
  assert.is(shown.out, `${version}\n`);
});

// from here on as processes

test('a process: its output, its exit code, no colours', async () => {
  const { code, out, err } = await start(['generate', '--help']).ended;
  assert.is(code, 0);
  assert.is(err, '');
  assert.match(out, '--max-tokens');
  assert.not.match(out, '\u001b');
});

test('a full disk behind stdout is a failure with a sentence', async () => {
  if (!existsSync('/dev/full')) return;
  const words = [...program, 'inspect', 'models/nano-base'].map((word) => `'${word}'`).join(' ');
  const { code, err } = await startProgram(['/bin/sh', '-c', `${words} > /dev/full`]).ended;
  assert.is(code, 1);
  assert.match(err, /^E_STORAGE_FULL: There is no space left for stdout\. /);
});

test('a reader that goes away ends it without a word', async () => {
  const run = start(['generate', nano, '-p', PROMPT, '-n', '1900', '--ignore-eos']);
  run.onOutput(() => run.closeOutput());
  const { code, out, err } = await run.ended;
  assert.is(code, 0, err);
  assert.is(err, '');
  assert.ok(out.startsWith(PROMPT), out);
});

for (const [name, want] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${name} ends a text: E_ABORTED and exit code ${want}`, async () => {
    if (process.platform === 'win32') return;
    const once = () => {
      const run = start(['generate', nano, '-p', PROMPT, '-n', '1900', '--ignore-eos']);
      let sent = false;
      run.onOutput(() => {
        if (!sent) run.kill(name);
        sent = true;
      });
      return run.ended;
    };
    // on a busy machine the text may be over before the signal comes
    let last = await once();
    for (let tries = 1; tries < 5 && last.code === 0; tries++) last = await once();
    const { code, signal, out, err } = last;
    assert.is(signal, null);
    assert.is(code, want, err);
    assert.match(err, 'E_ABORTED');
    assert.ok(out.startsWith(PROMPT));
  });
}

test.after(() => {
  model.close();
  rmSync(temporary, { recursive: true });
});
test.run();
