// hosts: node, deno — starts the command as a process
// long — grows models in processes
/** `espalier grow` as a shell runs it: what it prints, what it writes, what it refuses, and that Ctrl-C loses nothing. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RECEIPT_FILE } from '../../src/grow.ts';
import { openPath } from '../../src/runtime/files/paths.ts';
import { JOURNAL } from '../../src/runtime/output/output.ts';
import { sums } from '../checkpoint/jobs.ts';
import { cli, project, start } from './run.ts';

const NANO = join(project, 'models/nano-base');
const temporary = mkdtempSync(join(tmpdir(), 'espalier-grow-'));
const grown = join(temporary, 'grown');
const digestsOf = (path: string): Promise<Record<string, string>> => sums({ files: () => openPath(path) });

/** Runs with --json: one line, one object, nothing on stderr. */
async function json(...args: string[]) {
  const { code, out, err } = await cli(...args, '--json');
  assert.is(code, 0, out + err);
  assert.is(err, '');
  assert.is(out.trimEnd().split('\n').length, 1);
  return JSON.parse(out);
}

/** One line on stderr: the code, what happened, and what to do. */
async function fails(want: string, says: RegExp, ...args: string[]): Promise<void> {
  const { code, out, err } = await cli('grow', NANO, ...args);
  assert.is(code, want === 'E_ARGUMENT' ? 2 : 1, `${args.join(' ')}: ${out}${err}`);
  assert.is(out, '');
  assert.match(err, new RegExp(`^${want}: [^\\n]+[.?] [^\\n]+\\.\\n$`), err);
  assert.match(err, says);
}

test('--help lists every option', async () => {
  const { code, out } = await cli('grow', '--help');
  assert.is(code, 0);
  const options =
    'out target preset method preserve experts top-k group-size layers partition placement anchor rho noise router seed ' +
    'dtype gguf max-shard-bytes device lanes dry-run restart verify verify-text json';
  for (const option of options.split(' ')) assert.match(out, new RegExp(`--(no-)?${option}\\b`), option);
  assert.match((await cli('--help')).out, /grow/);
});

test('--dry-run says sizes, time and memory, and writes nothing', async () => {
  const { code, out, err } = await cli('grow', NANO, '--dry-run');
  assert.is(code, 0, err);
  assert.is(err, '');
  for (const line of [
    /^target +granitemoeshared$/m,
    /^layers +8 of experts$/m,
    /^experts +8 of 768, 2 a token, one shared$/m,
    /^parameters +46\.2 M, 17\.8 M active$/m,
    /^files +1, 88\.0 MiB as bf16$/m,
    /^time +about \d/m,
    /^memory +about [\d.]+ MiB in all, the comparison in the end included$/m,
    /^Target granitemoeshared: .+\.$/m,
  ])
    assert.match(out, line);
  const planned = join(temporary, 'planned');
  const some = await cli('grow', NANO, '--dry-run', '--out', planned, '--experts', '4', '--max-shard-bytes', '2e7');
  assert.match(some.out, /^experts +4 of 768/m);
  assert.match(some.out, /^files +[3-9], /m);
  assert.match(some.out, /^free +[\d.]+ [KMGT]iB$/m);
  assert.equal(readdirSync(temporary), []);
});

test('every option has its flag, and the plan what the run would have', async () => {
  const said =
    '--allow-constant-gate --top-k 1 --group-size 4 --shuffle --delta 1e-9 --normalise group --noise-all --layers first:2 ' +
    '--partition head-keep:64 --noise absolute:1e-5 --router uniform:0.01 --target espalier --no-verify';
  const { plan, verify } = await json('grow', NANO, '--dry-run', ...said.split(' '));
  assert.is(verify, false);
  const { allowConstantGate, groupSize, shuffle, delta, noiseAll, layers, partition, noise, router } = plan;
  assert.equal([allowConstantGate, groupSize, shuffle, delta, noiseAll], [true, 4, true, 1e-9, true]);
  assert.equal([layers, partition], [{ first: 2 }, { headKeep: 64 }]);
  assert.equal(
    [noise, router],
    [
      { kind: 'absolute', sigma: 1e-5 },
      { kind: 'uniform', std: 0.01 },
    ],
  );
  const drop = await json('grow', NANO, '--dry-run', '--method', 'drop', '--ratio', '0.25', '--no-permute');
  assert.equal([drop.plan.ratio, drop.plan.permute, drop.verify], [0.25, false, true]);
  const shards = await json('grow', NANO, '--dry-run', '--method', 'virtual-group', '--granularity', '4');
  assert.is(shards.plan.granularity, 4);
});

test('--json prints one object, the receipt, which is also in the folder', async () => {
  const plan = await json('grow', NANO, '--dry-run');
  const receipt = await json('grow', NANO, '--out', grown);
  assert.equal(JSON.parse(readFileSync(join(grown, RECEIPT_FILE), 'utf8')), receipt);
  assert.equal(
    readdirSync(temporary).filter((name) => /grown/.test(name)),
    ['grown'],
  );
  assert.is(receipt.target, 'granitemoeshared');
  assert.is(receipt.grown.length, 8);
  assert.ok(receipt.deviation.meanKl < 1e-4, `${receipt.deviation.meanKl}`);
  assert.equal(plan.files, receipt.files);
  assert.is(plan.freeBytes, null);
  for (const name of ['seconds', 'memoryBytes', 'parameters', 'activeParameters']) assert.ok(plan[name] > 0, name);
});

test('inspect shows the experts, and generate says what the dense model says', async () => {
  const { out } = await cli('inspect', grown);
  for (const line of [
    /architecture +granitemoeshared/,
    /parameters +46\.2 M/,
    /experts +8 of 768, 2 a token, in every layer/,
    /shared expert +of 768$/m,
    /router +softmax over the chosen/,
    /active parameters +17\.8 M/,
    /^supported$/m,
  ])
    assert.match(out, line);
  for (const prompt of ['Once upon a time', 'English: The house is small.\nGerman:']) {
    const text = (model: string) => json('generate', model, '-p', prompt, '-n', '32', '--exact');
    const [dense, moe] = [await text(NANO), await text(grown)];
    assert.is(moe.text, dense.text);
    assert.is(moe.tokens.length, dense.tokens.length);
    // were the experts not there, nothing would differ
    assert.ok(moe.tokens.some(({ logprob }: { logprob: number }, i: number) => logprob !== dense.tokens[i].logprob));
  }
});

test('--preset paper: every fourth layer, in our own layout', async () => {
  const path = join(temporary, 'paper');
  const { code, out, err } = await cli('grow', NANO, '--out', path, '--preset', 'paper');
  assert.is(code, 0, err);
  assert.is(err, ''); // no progress bar off a terminal
  assert.match(out, /^layer +largest +smallest +energies +diversity +of outputs +branch$/m);
  for (const layer of [3, 7])
    assert.match(out, new RegExp(`^ +${layer} +[\\d.]+ +[\\d.]+ +\\d+ %.* 0\\.88\\d\\d `, 'm'));
  assert.match(out, /paper: espalier, 2 layers with 8 experts, bf16, in .+$/m);
  assert.match(out, /^On 64 normal random inputs a layer, .+ of the RMS .+\. Diversity is that of the corrections\.$/m);
  assert.match(out, /^Over \d+ tokens of text the grown model's logits differ .+\.$/m);
  const { plan, layers } = JSON.parse(readFileSync(join(path, RECEIPT_FILE), 'utf8'));
  assert.equal(layers, [3, 7]);
  assert.is(plan.rho, 1e-3);
  assert.is(plan.noiseAll, true);
  const inspected = await cli('inspect', path);
  assert.match(inspected.out, /architecture +espalier_moe/);
  assert.match(inspected.out, /experts +8 of 768, 2 a token, in layers 3, 7/);
});

test('options reach the job', async () => {
  const options = {
    experts: '6',
    'top-k': '3',
    'group-size': '2',
    layers: '1,4',
    partition: 'tail-drop:8',
    placement: 'up,gate',
    anchor: 'folded',
    rho: '0.02',
    noise: '0',
    router: 'orthogonal',
    seed: '7',
    dtype: 'f32',
    'max-shard-bytes': '2e7',
    lanes: '1',
    'verify-text': 'The cat sat on the mat.',
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  const path = join(temporary, 'options');
  const receipt = await json('grow', NANO, '--out', path, '--target', 'espalier', ...args);
  const { plan } = receipt;
  const got = [plan.experts, plan.topK, plan.groupSize, plan.layers, plan.partition, plan.placement, plan.anchor];
  assert.equal(got, [6, 3, 2, [1, 4], { tailDrop: 8 }, ['gate', 'up'], 'folded']);
  assert.equal([plan.rho, plan.noise, plan.router, plan.seed], [0.02, { kind: 'none' }, { kind: 'orthogonal' }, 7]);
  assert.is(receipt.type, 'f32');
  assert.is(receipt.deviation.text, 'given');
  assert.ok(receipt.files.length > 3);
  const unverified = await json('grow', NANO, '--out', join(temporary, 'drop'), '--method', 'drop', '--no-verify');
  assert.is(unverified.plan.method, 'drop');
  assert.is(unverified.deviation, null);
});

test('wrong options are refused with a sentence, before anything is written', async () => {
  const before = readdirSync(temporary);
  const out = ['--out', join(temporary, 'never')];
  const preserving = ['--preserve', 'function-preserving', '--method'];
  const wrong: [RegExp, ...string[]][] = [
    [/There is no --out\. Give --out FOLDER: .*, or --dry-run\./],
    [/--target is "olmoe"/, '--target', 'olmoe', ...out],
    [/--top-k is 9 of 8 experts/, '--top-k', '9', ...out],
    [/--top-k is 1, .*gradient.*--allow-constant-gate/, '--top-k', '1', ...out],
    [/--sigma is given in vain.*spri/, '--sigma', '1', ...out],
    [/--group-size is given in vain.*drop/, '--group-size', '1', '--method', 'drop', ...out],
    [/--preserve is 'function-preserving'.*--preserve as-published.*--method naive/, ...preserving, 'drop', ...out],
    [/--preserve is 'function-preserving'.*--method virtual-group/, ...preserving, 'split', ...out],
    [/--no-verify and --verify-text/, '--no-verify', '--verify-text', 'A text.', ...out],
    [/--preset is "controls"/, '--preset', 'controls', ...out],
    [/--layers is "first:0".*first:N/, '--layers', 'first:0', ...out],
    [/--experts is "1"|--experts is 1\./, '--experts', '1', ...out],
    [/--rho is -1\./, '--rho=-1', ...out],
    [/--rho is "small"/, '--rho', 'small', ...out],
    [/--noise is "loud"/, '--noise', 'loud', ...out],
    [/--noise is .*-0\.4/, '--noise=-0.4', ...out],
    [/--layers is .*0/, '--layers', '0', ...out],
    [/Layer 8 is chosen of 8/, '--layers', '8,', ...out],
    [/interval of 9 takes none of 8/, '--layers', '9', ...out],
    [/--partition is "halves".*tail-drop:P/, '--partition', 'halves', ...out],
    [/--placement is "down,sideways"/, '--placement', 'down,sideways', ...out],
    [/--router is "zeros".*normal:STD/, '--router', 'zeros', ...out],
    [/--dtype is "f64"/, '--dtype', 'f64', ...out],
    [/--preset is "fast"/, '--preset', 'fast', ...out],
    [/--anchor is 'folded'.*naive.*--anchor none/, '--method', 'naive', '--anchor', 'folded', ...out],
    [/--verify-text is ""/, '--verify-text', '', ...out],
    [/singular components.*--group-size/, '--partition', 'tail-drop:253', '--dry-run'],
    [/no option --expert; did you mean --experts\?/, '--expert', '8', ...out],
  ];
  // a few at a time
  for (let i = 0; i < wrong.length; i += 3)
    await Promise.all(wrong.slice(i, i + 3).map(([says, ...args]) => fails('E_ARGUMENT', says, ...args)));
  const { code, out: answer, err } = await cli('grow', NANO, '--rho=-1', '--json', ...out);
  assert.is(code, 2);
  assert.is(err, '');
  assert.equal(Object.keys(JSON.parse(answer).error), ['code', 'message', 'hint']);
  assert.equal(readdirSync(temporary), before);
});

test('a target that could not hold the result exactly is refused with a sentence why', async () => {
  const before = readdirSync(temporary);
  const out = ['--out', join(temporary, 'never')];
  const wrong: [RegExp, ...string[]][] = [
    [/qwen3_moe norms q and k.*--target mixtral/, '--target', 'qwen3_moe', ...out],
    [/granitemoeshared has experts in every layer/, '--target', 'granitemoeshared', '--layers', '4', ...out],
    [/folded into the weights is lost in the rounding of bf16/, '--target', 'mixtral', '--dtype', 'bf16', ...out],
    [/no architecture of llama\.cpp is like it/, '--preset', 'paper', '--gguf', ...out],
  ];
  await Promise.all(wrong.map(([says, ...args]) => fails('E_TARGET', says, ...args)));
  assert.equal(readdirSync(temporary), before);
});

test('Ctrl-C: E_ABORTED, nothing has its name, and the same command goes on', async () => {
  if (process.platform === 'win32') return;
  const path = join(temporary, 'stopped');
  const journal = join(`${path}.partial`, JOURNAL);
  const done = () => (existsSync(journal) ? readFileSync(journal, 'utf8').match(/"done"/g) : null)?.length ?? 0;
  const running = start(['grow', NANO, '--out', path]);
  while (running.runs() && done() < 2) await new Promise((resolve) => setTimeout(resolve, 2));
  running.kill('SIGINT');
  const { code, signal, out, err } = await running.ended;
  assert.is(signal, null);
  assert.is(code, 130, out + err);
  assert.match(err, /^E_ABORTED: .+\n$/);
  assert.is(out, '');
  assert.not.ok(existsSync(path));
  const groups = done();
  assert.ok(groups >= 2);
  await fails('E_ARGUMENT', new RegExp(`another job: ${groups} of its parts`), '--out', path, '--seed', '1');
  await json('grow', NANO, '--out', path);
  assert.equal(await digestsOf(path), await digestsOf(grown));
  assert.equal(
    readdirSync(temporary).filter((name) => /stopped./.test(name)),
    [],
  );
});

test.after(() => rmSync(temporary, { recursive: true }));
test.run();
