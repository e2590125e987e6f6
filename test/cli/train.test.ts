// hosts: node, deno — starts the command as a process
// long — trains models in processes, of which it kills twenty at random moments
/** `espalier train` as a shell runs it: what it prints, writes and refuses, that Ctrl-C keeps a state, and that no moment to be killed is a bad one. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openPath } from '../../src/runtime/files/paths.ts';
import { TRAINING_FILE } from '../../src/train.ts';
import { numbers, sums } from '../checkpoint/jobs.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { LINES } from '../train/texts.ts';
import { cli, project, type Running, start } from './run.ts';

const KILLS = 20;
const NANO = join(project, 'models/nano-base');
const temporary = mkdtempSync(join(tmpdir(), 'espalier-train-'));
const at = (name: string): string => join(temporary, name);
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const NAMES = ['Tom', 'Mia', 'Leo', 'Ada', 'Sam', 'Zoe'];
const THINGS = ['ball', 'dog', 'tree', 'boat', 'cake'];
const pairs = NAMES.flatMap((name) =>
  THINGS.map((thing) => ({ prompt: `${name} has a ${thing}. What does ${name} have?`, answer: ` A ${thing}.` })),
);
writeFileSync(at('pairs.jsonl'), pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(''));
writeFileSync(at('broken.jsonl'), `${JSON.stringify(pairs[0])}\n{"prompt": "Tom"\n`);
writeFileSync(at('empty.jsonl'), `${JSON.stringify({ prompt: 'Tom', answer: '' })}\n`);

const DATA = ['--data', at('pairs.jsonl'), '--lanes', '1'];
const digestsOf = async (path: string): Promise<Record<string, string>> => {
  const { [TRAINING_FILE]: _, ...all } = await sums({ files: () => openPath(path) }); // holds times
  return all;
};

/** Runs with --json: one line, one object, nothing on stderr. */
async function json(...args: string[]) {
  const { code, out, err } = await cli('train', NANO, ...DATA, ...args, '--json');
  assert.is(code, 0, out + err);
  assert.is(err, '');
  assert.is(out.trimEnd().split('\n').length, 1);
  return JSON.parse(out);
}

/** One line on stderr: the code, what happened, and what to do. */
async function fails(want: string, says: RegExp, ...args: string[]): Promise<void> {
  const { code, out, err } = await cli('train', NANO, ...args);
  assert.is(code, want === 'E_ARGUMENT' ? 2 : 1, `${args.join(' ')}: ${out}${err}`);
  assert.is(out, '');
  assert.match(err, new RegExp(`^${want}: [^\\n]+[.?] [^\\n]+\\.\\n$`), err);
  assert.match(err, says);
}

test('--help lists the options', async () => {
  const { code, out } = await cli('train', '--help');
  assert.is(code, 0);
  const options =
    'data out lora full steps epochs lr batch max-tokens held-out dry-run json schedule warmup freeze rows patience';
  for (const option of options.split(' ')) assert.match(out, new RegExp(`--${option}\\b`), option);
  assert.match((await cli('--help')).out, /train/);
});

test('--dry-run says steps, parameters and memory, and writes nothing', async () => {
  const { code, out, err } = await cli(
    'train',
    NANO,
    ...DATA,
    '--dry-run',
    '--full',
    '--held-out',
    '0.2',
    '--out',
    at('never'),
  );
  assert.is(code, 0, err);
  for (const line of [
    /^examples +24, and 6 held out$/m,
    /^steps +3 of 8 sequences$/m,
    /^trained +8\.4 M parameters, of 8\.4 M$/m,
    /^memory +[\d.]+ MiB on the device, of 4\.0 GiB$/m,
    /moments 64\.0 MiB/,
    /^files +16\.0 MiB, and 96\.\d MiB a state on the way$/m,
    /^longest +\d+ tokens$/m,
  ])
    assert.match(out, line);
  assert.not.ok(existsSync(at('never')) || existsSync(at('never.partial')));
  const plan = await json('--dry-run', '--lora', '4:8');
  assert.equal(plan.options.lora, { rank: 4, alpha: 8, rslora: false, targets: null });
  assert.is(plan.trained, 155_648);
  // what would be refused is no success, and what it says to give is what it takes
  const narrow = ['--max-tokens', '64', '--batch', '64', '--memory-limit', '40000000'];
  const much = await cli('train', NANO, ...DATA, '--dry-run', ...narrow);
  assert.is(much.code, 1, much.err);
  const [, rows] = /too much\n +Give --rows (\d+)\.$/m.exec(much.out) ?? [];
  assert.is((await cli('train', NANO, ...DATA, '--dry-run', ...narrow, '--rows', rows ?? '')).code, 0, much.out);
});

test('an adapter: what it prints, and that generate and inspect take it', async () => {
  const out = at('adapter');
  const got = await json(
    '--out',
    out,
    '--steps',
    '6',
    '--lr',
    '2e-3',
    '--held-out',
    '0.2',
    '--lora-targets',
    'q_proj',
    '--lora-targets',
    'v_proj',
  );
  assert.equal(Object.keys(got), ['steps', 'tokens', 'loss', 'seconds', 'peakBytes', 'files']);
  assert.equal(Object.keys(got.loss), ['first', 'last', 'heldOut']);
  assert.is(got.steps, 6);
  assert.ok(got.loss.last < got.loss.first && got.loss.heldOut < got.loss.first, JSON.stringify(got.loss));
  assert.ok(got.tokens > 100 && got.seconds > 0 && got.peakBytes > 1e7);
  assert.equal(
    got.files.map(({ name }: { name: string }) => name),
    ['adapter_config.json', 'adapter_model.safetensors'],
  );
  assert.equal(JSON.parse(readFileSync(join(out, 'adapter_config.json'), 'utf8')).target_modules, ['q_proj', 'v_proj']);
  const answer = await cli(
    'generate',
    NANO,
    '-p',
    pairs[0]!.prompt,
    '-n',
    '3',
    '--adapter',
    out,
    '--lanes',
    '1',
    '--json',
  );
  assert.is(answer.code, 0, answer.out);
  assert.is((await cli('inspect', out)).code, 0);
});

test('a model, by prompts and templates of other columns', async () => {
  const file = at('questions.tsv');
  writeFileSync(
    file,
    `question\tanswer\n${pairs.map(({ prompt, answer }) => `${prompt}\t${answer.trim()}`).join('\n')}\n`,
  );
  const { code, out, err } = await cli(
    ...[
      'train',
      NANO,
      '--data',
      file,
      '--prompt',
      'Q: {question}\\nA:',
      '--answer',
      ' {answer}',
      '--full',
      '--out',
      at('model'),
    ],
    ...[
      '--steps',
      '3',
      '--lr',
      '1e-3',
      '--held-out',
      at('pairs.jsonl'),
      '--lanes',
      '1',
      '--batch',
      '4',
      '--warmup',
      '0',
    ],
  );
  assert.is(code, 1, out); // templates are for all files, and pairs.jsonl has no question
  assert.match(err, /E_DATA_INVALID: .*pairs\.jsonl, line 1/);
  const own = await cli(
    ...[
      'train',
      NANO,
      '--data',
      file,
      '--prompt',
      'Q: {question}\\nA:',
      '--answer',
      ' {answer}',
      '--full',
      '--out',
      at('model'),
    ],
    ...['--steps', '3', '--lr', '1e-3', '--held-out', '0.2', '--lanes', '1', '--batch', '4', '--warmup', '0'],
  );
  assert.is(own.code, 0, own.err);
  assert.match(
    own.out,
    /^.*model: a model, 3 steps, [\d.]+ tokens in (?:[\d.]+ m?s|\d+ min \d+ s)\nloss \d\.\d{4} in the first step, \d\.\d{4} in the last\nheld out \d\.\d{4} at first, \d\.\d{4} as written\n/,
  );
  assert.equal(
    readdirSync(at('model')).sort(),
    ['config.json', TRAINING_FILE, 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'].sort(),
  );
});

test('what is wrong has a code, before anything is trained', async () => {
  const out = ['--out', at('wrong')];
  await fails('E_ARGUMENT', /--out FOLDER/, ...DATA);
  await fails('E_ARGUMENT', /contradict/, ...DATA, ...out, '--full', '--lora', '8');
  await fails('E_ARGUMENT', /--lora is "0"/, ...DATA, ...out, '--lora', '0');
  await fails('E_ARGUMENT', /--lr is "fast"/, ...DATA, ...out, '--lr', 'fast');
  await fails('E_ARGUMENT', /--held-out is 0\.7/, ...DATA, ...out, '--held-out', '0.7');
  await fails('E_ARGUMENT', /--freeze is/, ...DATA, ...out, '--freeze', '*@x');
  await fails('E_ARGUMENT', /no parameter is called so/, ...DATA, ...out, '--freeze', '*typo*@3');
  await fails('E_ARGUMENT', /nothing is held out/, ...DATA, ...out, '--patience', '3');
  await fails('E_ARGUMENT', /steps and epochs/, ...DATA, ...out, '--steps', '3', '--epochs', '2');
  await fails('E_FILE_NOT_FOUND', /nowhere\.jsonl/, '--data', at('nowhere.jsonl'), ...out);
  await fails('E_DATA_INVALID', /broken\.jsonl, line 2/, '--data', at('broken.jsonl'), ...out);
  await fails('E_DATA_INVALID', /empty\.jsonl, line 1: the answer is empty/, '--data', at('empty.jsonl'), ...out);
  await fails(
    'E_DATA_INVALID',
    /pairs\.jsonl, line 1: \d+ tokens/,
    ...DATA,
    ...out,
    '--max-tokens',
    '4',
    '--rows',
    '64',
  );
  await fails('E_OUT_OF_MEMORY', /Training would take/, ...DATA, ...out, '--full', '--memory-limit', '50000000');
  assert.not.ok(existsSync(at('wrong')) || existsSync(at('wrong.partial')));
});

/** A model of a few thousand weights, whose steps take milliseconds, and a state after each. */
const TINY = at('tiny');
mkdirSync(TINY);
for (const [name, bytes] of Object.entries(await tinyFiles())) writeFileSync(join(TINY, name), bytes);
writeFileSync(at('lines.txt'), LINES);
const JOB = [
  ...[
    'train',
    TINY,
    '--data',
    at('lines.txt'),
    '--format',
    'lines',
    '--max-tokens',
    '48',
    '--lanes',
    '1',
    '--full',
    '--json',
  ],
  ...[
    '--steps',
    '80',
    '--lr',
    '1e-3',
    '--save-every',
    '1',
    '--held-out',
    '0.2',
    '--evaluate-every',
    '11',
    '--patience',
    '50',
  ],
];
const job = (out: string): Running => start([...JOB, '--out', out]);
const statesIn = (out: string): string[] =>
  existsSync(`${out}.partial`)
    ? readdirSync(`${out}.partial`).filter((name) => /^espalier-training-\d+\.json$/.test(name))
    : [];

async function appears(path: string, process: Running): Promise<void> {
  while (process.runs() && !existsSync(path)) await wait(2);
}

/** Milliseconds from the first file to the end, and what comes out. */
async function whole(): Promise<{ readonly took: number; readonly sums: Record<string, string> }> {
  const out = at('whole');
  const process = job(out);
  await appears(`${out}.partial`, process);
  const began = performance.now();
  const { code, out: said, err } = await process.ended;
  assert.is(code, 0, said + err);
  return { took: performance.now() - began, sums: await digestsOf(out) };
}
let wanted: Awaited<ReturnType<typeof whole>>;

test('Ctrl-C keeps a state, and the same command goes on from there to the same bits', async () => {
  wanted = await whole();
  const out = at('interrupted');
  const first = job(out);
  while (first.runs() && statesIn(out).length === 0) await wait(2);
  await wait(wanted.took / 4);
  first.kill('SIGINT');
  const ended = await first.ended;
  assert.is(ended.code, 130, ended.out + ended.err);
  assert.is(JSON.parse(ended.out).error.code, 'E_ABORTED');
  assert.is(statesIn(out).length, 1);
  assert.equal(
    readdirSync(temporary).filter((name) => name.startsWith('interrupted')),
    ['interrupted.partial'],
  );
  const again = await job(out).ended;
  assert.is(again.code, 0, again.out + again.err);
  assert.equal(await digestsOf(out), wanted.sums);
});

test(`killed ${KILLS} times at random moments, it comes to the same bits`, async () => {
  const next = numbers(14);
  let [kills, resumed, rounds] = [0, 0, 0];
  while (kills < KILLS) {
    const out = at(`killed-${rounds++}`);
    for (;;) {
      const before = statesIn(out);
      if (before.length > 0) resumed++;
      const child = job(out);
      // some before it has done anything, most in the middle
      const isEarly = next() % 6 === 0;
      while (!isEarly && child.runs() && `${statesIn(out)}` === `${before}`) await wait(2);
      await Promise.race([wait(((next() % 1000) / 1000) * wanted.took * 0.3), child.ended]);
      if (kills < KILLS && child.runs()) {
        child.kill('SIGKILL');
        kills++;
        await child.ended;
        // it may have had its result in place, and only its end before it
        if (existsSync(out)) break;
        continue;
      }
      const { code, out: said, err } = await child.ended;
      assert.is(code, 0, said + err);
      break;
    }
    assert.equal(await digestsOf(out), wanted.sums, `round ${rounds}`);
    rmSync(out, { recursive: true });
  }
  console.log(`  worst of ${kills} kills in ${rounds} trainings: ${resumed} times a state was gone on from`);
  assert.ok(resumed >= KILLS / 4, `${resumed}`);
  assert.equal(
    readdirSync(temporary).filter((name) => name.startsWith('killed')),
    [],
  );
});

test.after(() => rmSync(temporary, { recursive: true, force: true }));
test.run();
