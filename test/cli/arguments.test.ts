// hosts: node, deno — the modules of a command
/** How a command line is read, without opening anything: what it takes, what it refuses, exit codes, help. */
import { PassThrough, Readable } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { evalCommand } from '../../src/cli/eval.ts';
import { program } from '../../src/cli/program.ts';
import { parseArguments } from '../../src/cli/shared/arguments.ts';
import type { ArgumentSpecs } from '../../src/cli/shared/command.ts';
import { inFlags } from '../../src/cli/shared/flags.ts';
import { textOf } from '../../src/cli/shared/io.ts';
import { EspalierError } from '../../src/errors.ts';
import { real, whole, words } from '../../src/options/rules.ts';
import { rejects } from '../errors.ts';
import { inProcess } from './run.ts';

const SPECS = {
  model: { type: 'positional', description: 'A model', required: true },
  other: { type: 'positional', description: 'Another' },
  prompt: { type: 'string', alias: 'p', value: 'TEXT', description: 'A text' },
  'max-tokens': { type: 'string', alias: 'n', value: 'N', description: 'Most', rule: whole(1) },
  shift: { type: 'string', alias: 't', value: 'X', description: 'A number', rule: real(-100, 100) },
  stop: { type: 'string', value: 'TEXT', description: 'Ends', rule: words, many: true },
  verify: { type: 'boolean', description: 'Look again', default: true, negative: 'Do not' },
  json: { type: 'boolean', description: 'JSON', default: false },
} as const satisfies ArgumentSpecs;

const read = (...given: string[]) => parseArguments('espalier try', SPECS, ['m', ...given]).args;
function refused(...given: string[]): string {
  try {
    read(...given);
  } catch (error) {
    assert.is((error as EspalierError).code, 'E_ARGUMENT');
    return `${(error as EspalierError).message} ${(error as EspalierError).hint}`;
  }
  return assert.unreachable(`taken: ${given.join(' ')}`) as never;
}

test('every way to write a value', () => {
  for (const given of [
    ['-n', '5'],
    ['-n5'],
    ['-n=5'],
    ['--max-tokens', '5'],
    ['--max-tokens=5'],
    ['-n', ' 5 '],
    ['-n', '5e0'],
  ])
    assert.is(read(...given)['max-tokens'], 5, given.join(' '));
  for (const given of [['-p', 'a b'], ['-pa b'], ['--prompt=a b'], ['--prompt', 'a b']])
    assert.is(read(...given)['prompt'], 'a b');
  for (const text of [
    '',
    '-',
    '-5',
    '-.5',
    '- a list',
    '--- three dashes',
    'a=b',
    'line\none',
    '字',
    '-0x10 is a number',
  ])
    assert.is(read('-p', text)['prompt'], text);
  assert.is(read('--prompt=--json')['prompt'], '--json');
  assert.is(read('--prompt=')['prompt'], '');
  assert.is(read('-p', 'x=y')['prompt'], 'x=y');
  for (const given of [['-t', '-1'], ['-t-1'], ['--shift=-1'], ['--shift', '-1']])
    assert.is(read(...given)['shift'], -1);
  assert.is(read('-t', '-.5')['shift'], -0.5);
});

test('several times: a list where it may be one, else the last counts', () => {
  assert.equal(read('--stop', 'a', '--stop=b', '--stop', 'c')['stop'], ['a', 'b', 'c']);
  assert.equal(read('--stop', 'a')['stop'], ['a']);
  assert.is(read()['stop'], undefined);
  assert.is(read('-n', '5', '--max-tokens', '6')['max-tokens'], 6);
  assert.is(read('--verify', '--no-verify')['verify'], false);
  assert.is(read('--no-verify', '--verify')['verify'], true);
});

test('defaults, positionals, and the end of the options', () => {
  assert.equal(read(), { model: 'm', verify: true, json: false });
  assert.equal(read('--json', 'second'), { model: 'm', other: 'second', verify: true, json: true });
  assert.equal(read('--', '--json'), { model: 'm', other: '--json', verify: true, json: false });
  assert.equal(parseArguments('x', SPECS, ['--json', '--', '-m']).args['model'], '-m');
  assert.match(refused('second', 'third'), '"third" belongs to no option.');
  assert.throws(() => parseArguments('espalier try', SPECS, []), /There is no MODEL/);
  assert.throws(() => parseArguments('espalier try', SPECS, ['']), /There is no MODEL/);
});

test('a flag without its value', () => {
  assert.is(refused('-p'), '-p has no value. Write -p TEXT.');
  assert.is(refused('--prompt'), '--prompt has no value. Write --prompt TEXT.');
  assert.is(refused('-p', '--max-tokens', '5'), '-p has no value. Write --prompt=--max-tokens if that is the value.');
  assert.match(refused('-p', '-n', '5'), '-p has no value.');
  assert.match(refused('-p', '--'), '-p has no value.');
  assert.match(refused('--json', '--max-tokens'), '--max-tokens has no value.');
  assert.match(refused('--json=true'), '--json takes no value.');
  assert.match(refused('--no-verify=x'), 'no option --no-verify');
});

test('values are checked here, and the flag is named', () => {
  for (const value of ['abc', '1.5', '0', '', ' ', 'NaN', 'Infinity', '5,5', '1e400', '-1'])
    assert.is(
      refused(`-n=${value}`),
      `--max-tokens is ${/^-?[\d.]+$/.test(value) ? value : value === '1e400' || value === 'Infinity' ? 'Infinity' : JSON.stringify(value)}. Give an integer of at least 1.`,
    );
  assert.match(refused('--stop='), '--stop is "".');
  assert.match(refused('-t', '101'), '--shift is 101.');
});

test('what is not there is told what may be meant', () => {
  for (const [given, meant] of [
    ['--max-token', 'max-tokens'],
    ['--max_tokens', 'max-tokens'],
    ['--maxTokens', 'max-tokens'],
    ['--n-predict', 'max-tokens'],
    ['-prompt=5', 'prompt'],
    ['-max-tokens', 'max-tokens'],
    ['--promt', 'prompt'],
    ['--jsno', 'json'],
    ['--no-verfy', 'no-verify'],
    ['--hlep', 'help'],
    ['--qwertyuiop', null],
    ['-x', null],
  ] as const) {
    const said = refused(given, '5');
    assert.match(said, `no option ${given.split('=')[0]}${meant === null ? '.' : `; did you mean --${meant}?`}`);
    assert.match(said, 'Run espalier try --help');
  }
});

test('a flag that is required, and one that is required but with another', () => {
  const data = { type: 'string', value: 'FILE', description: 'JSON lines', required: true } as const;
  const out = { type: 'string', value: 'FOLDER', description: 'Where to', unless: 'dry' } as const;
  const specs = { data, out, dry: { type: 'boolean', description: 'Nothing', default: false } } as const;
  const given = (...words: string[]) => parseArguments('espalier try', specs, words).args;
  const fails = (words: string[], want: string) =>
    assert.throws(
      () => given(...words),
      (error: EspalierError) => `${error.message} ${error.hint}` === want,
    );
  fails([], 'There is no --data. Give --data FILE: JSON lines.');
  fails(['--data', 'a'], 'There is no --out. Give --out FOLDER: where to, or --dry.');
  assert.equal(given('--data', 'a', '--out', 'b'), { data: 'a', out: 'b', dry: false });
  assert.equal(given('--data', 'a', '--dry'), { data: 'a', dry: true });
});

test('help: what stands in sections stands once, and is there', async () => {
  const commands = Object.values({ ...program.subCommands, ...evalCommand.subCommands });
  let count = 0;
  for (const found of commands) {
    const { args = {}, sections = {} } = typeof found === 'function' ? await found() : found;
    const named = Object.values(sections).flat();
    assert.equal([...new Set(named)], named);
    for (const name of named) assert.ok(args[name] && args[name].type !== 'positional', name);
    count += named.length;
  }
  assert.ok(count > 40);
});

test('what other trainers call a flag of train', async () => {
  for (const [given, meant] of Object.entries({
    'learning-rate': 'lr',
    'batch-size': 'batch',
    per_device_train_batch_size: 'batch',
    num_train_epochs: 'epochs',
    'max-steps': 'steps',
    iters: 'steps',
    rank: 'lora',
    lora_alpha: 'lora',
    'target-modules': 'lora-targets',
    'max-seq-length': 'max-tokens',
    gradient_accumulation_steps: 'rows',
    'gradient-checkpointing': 'recompute',
    dataset: 'data',
    output_dir: 'out',
    'eval-steps': 'evaluate-every',
    max_grad_norm: 'clip',
  })) {
    const { code, err } = await inProcess(['train', 'm', `--${given}`, '1']);
    assert.is(code, 2);
    assert.match(err, `There is no option --${given}; did you mean --${meant}?`);
  }
  assert.match((await inProcess(['generate', 'm', '--lora', 'a'])).err, 'did you mean --adapter?');
});

test('several values of a flag are several flags, and who writes one behind the other is told so', async () => {
  const train = ['train', 'm', '--out', 'o'];
  for (const [given, hint] of [
    [['--data', 'a.jsonl', 'b.jsonl'], 'Write --data before each: --data b.jsonl.'],
    [
      ['--data', 'a', '--lora-targets', 'q_proj', 'v_proj', 'o_proj'],
      'Write --lora-targets before each: --lora-targets v_proj.',
    ],
    [['--data', 'a', '--steps', '3', 'b'], 'Run espalier train --help'],
  ] as const) {
    const { code, err } = await inProcess([...train, ...given]);
    assert.is(code, 2);
    assert.ok(err.includes(hint), err);
  }
});

test('help and version are answered whatever else is wrong or missing', () => {
  for (const given of [['--help'], ['-h'], ['--json', '-h'], ['second', 'third', '--help']])
    assert.is(parseArguments('x', SPECS, given).request, 'help');
  for (const given of [['--version'], ['-V'], ['-v']]) assert.is(parseArguments('x', SPECS, given).request, 'version');
  assert.is(parseArguments('x', SPECS, ['m', '--', '--help']).request, null);
});

test('the library’s messages name flags', () => {
  const said = (message: string, hint: string) => {
    const specs = {
      'top-k': SPECS['max-tokens'],
      rho: SPECS.shift,
      layers: SPECS.shift,
      column: SPECS.shift,
      'allow-constant-gate': SPECS.json,
    } as const;
    const told = inFlags(new EspalierError('E_ARGUMENT', message, hint), specs);
    assert.is(told.code, 'E_ARGUMENT');
    return `${told.message} ${told.hint}`;
  };
  assert.is(said('topK is 9 of 8 experts.', 'It takes less.'), '--top-k is 9 of 8 experts. It takes less.');
  assert.is(said('rho is -1.', 'Keep all layers.'), '--rho is -1. Keep all layers.');
  assert.is(
    said('The layers of rho.', 'Say `allowConstantGate: true`.'),
    'The layers of rho. Say --allow-constant-gate.',
  );
  // whose flag is in the singular, one of the list at a time
  assert.is(
    said('x.', 'Other names of columns are said by `columns`.'),
    'x. Other names of columns are said by --column.',
  );
  assert.is(said('x.', 'Say `rho: "high"`.'), 'x. Say --rho high.');
  assert.is(said('x.', 'Use `rho: 0.1`, or `topK`.'), 'x. Use --rho 0.1, or --top-k.');
  assert.is(said('stopKit is x.', 'desktopK'), 'stopKit is x. desktopK');
});

test('standard input must be text, and is not waited for after an abort', async () => {
  const never = new AbortController().signal;
  const bytes = new TextEncoder().encode('\ufeffzwölf\n');
  // a letter across two pieces
  assert.is(await textOf(Readable.from([bytes.slice(0, 6), bytes.slice(6)]), never), 'zwölf\n');
  await rejects('E_ARGUMENT', () => textOf(Readable.from([Uint8Array.of(0xff, 0xfe)]), never));
  const controller = new AbortController();
  const waiting = textOf(new PassThrough(), controller.signal);
  controller.abort('why');
  assert.is((await rejects('E_ABORTED', () => waiting)).cause, 'why');
});

test('exit codes: 2 for the command line, 1 for what fails', async () => {
  const nowhere = 'no/such/model';
  const usage: string[][] = [
    [],
    ['show'],
    ['generat'],
    ['generate'],
    ['generate', nowhere],
    ['generate', nowhere, '-p'],
    ['generate', nowhere, '-p', 'x', '--max-token', '5'],
    ['generate', nowhere, '-p', 'x', '-n', '1.5'],
    ['generate', nowhere, '-p', 'x', '--temperature=-1'],
    ['generate', nowhere, '-p', 'x', '--top-p', ''],
    ['generate', nowhere, '-p', 'x', '--bos', 'perhaps'],
    ['generate', nowhere, '-p', 'x', '--lanes', '0'],
    ['generate', nowhere, '-p', 'x', '--lanes', 'many'],
    ['generate', nowhere, '-p', 'x', '--context-length', '0'],
    ['generate', nowhere, '-p', 'x', '--precision', 'int4'],
    ['generate', nowhere, '-p', 'x', '--precision', 'int8', '--exact'],
    ['generate', nowhere, '-p', 'x', '--memory-limit', '5'],
    ['generate', nowhere, 'another', '-p', 'x'],
    ['score', nowhere],
    ['score', nowhere, '-p', 'x', '--max-tokens', '5'],
    ['grow', nowhere],
    ['generate', nowhere, '-p', 'x', '--chat', '--bos', 'yes'],
    ['generate', nowhere, '-prompt=x'],
    ['grow', nowhere, '--out', 'https://example.com/x'],
    ['cache', '--remove', ''],
    ['cache', '--clear', '--verify'],
    ['cache', '--clear', '--remove', 'x'],
    ['--frobnicate'],
    ['help', 'generat'],
  ];
  for (const args of usage) {
    const { code, out, err } = await inProcess(args);
    assert.is(code, 2, args.join(' '));
    if (args.length === 0 || args[0] === 'show') assert.match(out, /^espalier[^\n]*(?:\n {2}[^\n]+)?\n\nUsage: /);
    else {
      assert.is(out, '');
      assert.match(err, /^E_ARGUMENT: [^\n]+\. [^\n]+\.\n$|^E_ARGUMENT: [^\n]+\? [^\n]+\.\n$/);
      const asJson = await inProcess([...args, '--json']);
      // a flag in want of its value says so of --json too
      assert.is(asJson.code, 2);
      assert.equal(Object.keys(JSON.parse(asJson.out).error), ['code', 'message', 'hint']);
      assert.is(asJson.err, '');
    }
  }
  const failed = await inProcess(['inspect', nowhere, '--json']);
  assert.is(failed.code, 1);
  assert.is(JSON.parse(failed.out).error.code, 'E_FILE_NOT_FOUND');
});

test('errors are one line, but between words in a terminal', async () => {
  const args = ['generate', 'm', '-p', 'x', '--max-token', '5'];
  const { err: whole } = await inProcess(args);
  assert.is(whole.split('\n').length, 2);
  const { err } = await inProcess(args, { errorColumns: 40 });
  assert.is(err.replace(/\n(?=.)/g, ' '), whole);
  for (const line of err.split('\n')) assert.ok(line.length <= 40, line);
});

test('help: every command, in plain letters, within the terminal', async () => {
  for (const asked of [
    ['--help'],
    ['-h'],
    ['help'],
    ['generate', '--help'],
    ['help', 'generate'],
    ['help', 'show', 'ask'],
    ['show', 'eval', '-h'],
    ['grow', '--help', '--bad'],
    ['cache', '-h'],
    ['score', '-h'],
    ['inspect', '-h'],
    ['show', 'build', '-h'],
    ['train', '-h'],
    ['merge', '-h'],
    ['eval', '-h'],
    ['eval', 'bleu', '-h'],
    ['eval', 'chrf', '-h'],
    ['eval', 'ppl', '-h'],
  ]) {
    for (const columns of [80, 40, 0, 300]) {
      const { code, out, err } = await inProcess(asked, { columns });
      assert.is(code, 0, asked.join(' '));
      assert.is(err, '');
      assert.match(out, /^espalier/);
      assert.not.match(out, '\u001b');
      assert.not.match(out, 'undefined');
      // single words may be longer than a narrow line
      const most = Math.max(Math.min(100, columns || 80), 40);
      for (const line of out.split('\n')) assert.ok(line.length <= most, `${columns}: ${line}`);
    }
  }
  for (const [name, usage] of [
    ['train', 'MODEL --data FILE --out FOLDER [options]'],
    ['grow', 'MODEL --out FOLDER [options]'],
    ['merge', 'MODEL --adapter DIR[:WEIGHT] --out FOLDER [options]'],
  ] as const) {
    assert.match((await inProcess([name, '--help'])).out, `Usage: espalier ${name} ${usage}`);
  }
  const { out } = await inProcess(['generate', '--help']);
  for (const said of [
    '-p, --prompt TEXT',
    '-n, --max-tokens N',
    'default 256',
    '-c, --context-length N',
    '--no-special-tokens',
    'several times',
  ])
    assert.ok(out.includes(said), said);
});

test.run();
