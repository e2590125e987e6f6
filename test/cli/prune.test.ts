// hosts: node, deno — starts the command as a process
// long — makes models forget in processes, of which it kills twenty at random moments
/** `espalier prune` and `espalier rollback` as a shell runs them: what they print, write and refuse, that Ctrl-C keeps a state, and that no moment to be killed is a bad one. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PRUNE_FILE } from '../../src/prune.ts';
import { numbers } from '../checkpoint/jobs.ts';
import { FORGET, knowingFiles, LATER, lines, RETAIN, strangerFiles } from '../prune/jobs.ts';
import { cli, start } from './run.ts';

const KILLS = 20;
const temporary = mkdtempSync(join(tmpdir(), 'espalier-prune-'));
const at = (name: string): string => join(temporary, name);
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function write(folder: string, files: Record<string, Blob | Uint8Array>): Promise<void> {
  const { mkdir, writeFile } = await import('node:fs/promises');
  await mkdir(at(folder));
  for (const [name, content] of Object.entries(files)) {
    await writeFile(
      join(at(folder), name),
      content instanceof Blob ? new Uint8Array(await content.arrayBuffer()) : content,
    );
  }
}
await write('model', await knowingFiles());
await write('stranger', await strangerFiles());
writeFileSync(at('forget.jsonl'), lines(FORGET));
writeFileSync(at('retain.jsonl'), lines(RETAIN));
writeFileSync(at('later.jsonl'), lines(LATER));
writeFileSync(at('both.jsonl'), lines([...RETAIN, FORGET[1]!]));

const COMMON = [
  ...['prune', at('model'), '--retain', at('retain.jsonl'), '--reference', at('stranger'), '--max-tokens', '48'],
  ...['--lanes', '1', '--batch', '4', '--looks', '1', '--structure-steps', '4', '--rate', '1e-2', '--percentile', '80'],
  ...['--gate-steps', '800', '--gate-units', '64', '--epochs', '30'],
];
const ARGS = [...COMMON, '--forget', at('forget.jsonl')];
const filesOf = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder)
      .filter((name) => name !== PRUNE_FILE)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name)).toString('base64')]),
  );

test('--help lists the options', async () => {
  const { code, out } = await cli('prune', '--help');
  assert.is(code, 0);
  const options =
    'forget retain unseen reference base earlier request out html dry-run domains gate epochs looks strengths json';
  for (const option of options.split(' ')) assert.match(out, new RegExp(`--${option}\\b`), option);
});

test('--dry-run says steps and memory, and trains nothing', async () => {
  const { code, out, err } = await cli(...ARGS, '--dry-run');
  assert.is(code, 0, err);
  assert.match(out, /^forgets +4 examples, \d+ tokens\nkeeps +8 examples/);
  assert.match(out, /4 of Phase I, and at most 30 of Phase II; 800 of the gate/);
  assert.match(out, /memory +[\d.]+ MiB on the device, of 4\.0 GiB\n/);
  const json = await cli(...ARGS, '--dry-run', '--json', '--out', at('planned'), '--memory-limit', String(2 ** 20));
  assert.is(json.code, 1, json.out); // it would be refused
  const { memory, freeBytes } = JSON.parse(json.out);
  assert.ok(memory.total > memory.limit && freeBytes > 0);
  assert.not(existsSync(at('planned')));
  const told = await cli(...ARGS, '--dry-run', '--memory-limit', String(2 ** 20));
  assert.match(told.out, /of 1\.0 MiB: too much\n +Use --memory-limit \d+/);
  const small = await cli(...ARGS, '--out', at('planned'), '--memory-limit', String(2 ** 20));
  assert.is(small.code, 1);
  const [, limit] = /^E_OUT_OF_MEMORY: .*Use --memory-limit (\d+)/.exec(small.err) ?? [];
  assert.ok(Number(limit) >= memory.total, small.err);
  assert.not(existsSync(at('planned')));
});

test('what it says, what it writes, and a page of it', async () => {
  const { code, out, err } = await cli(...ARGS, '--out', at('first'), '--html', at('page.html'));
  assert.is(code, 0, err);
  assert.match(out, /an adapter for the request "request-1"; a reconstruction of ALTER/);
  assert.match(out, /try it: espalier generate \S*model --adapter \S*first --prompt TEXT/);
  assert.match(err, /\nboth phases are done; the gate learns where experts act\nThe report is in/);
  assert.equal(readdirSync(at('first')).sort(), ['alter.json', 'alter.safetensors', PRUNE_FILE]);
  const page = readFileSync(at('page.html'), 'utf8');
  assert.match(page, /^<!doctype html>/);
  assert.match(page, /request-1/);
  assert.not.match(page, /https?:\/\/(?!arxiv)/);
});

test('a later request, and both taken back', async () => {
  const later = [...COMMON, '--forget', at('later.jsonl'), '--earlier', at('first')];
  const { code, out, err } = await cli(...later, '--out', at('both'), '--json');
  assert.is(code, 0, out + err);
  const { after, before } = JSON.parse(out);
  assert.ok(after.forget < 0.2 * before.forget, out);
  const back = await cli(
    'rollback',
    at('model'),
    '--adapter',
    at('both'),
    '--request',
    'request-2',
    '--out',
    at('back'),
  );
  assert.is(back.code, 0, back.err);
  assert.match(back.out, /it still has request-1\n$/);
  assert.equal(filesOf(at('back')), filesOf(at('first')));
  // the number of a request that is still there is no name for another
  const mid = ['rollback', at('model'), '--adapter', at('both'), '--request', 'request-1', '--out', at('mid')];
  assert.is((await cli(...mid)).code, 0);
  const next = await cli(...ARGS, '--earlier', at('mid'), '--dry-run', '--json');
  assert.is(JSON.parse(next.out).options.request, 'request-3', next.out);
  const none = await cli(
    'rollback',
    at('model'),
    '--adapter',
    at('first'),
    '--request',
    'request-1',
    '--out',
    at('none'),
  );
  assert.is(none.code, 2);
  assert.match(none.err, /^E_ARGUMENT: .*only request/);
  assert.not(existsSync(at('none')));
});

test('what is wrong has a code, before anything is trained', async () => {
  const fails = async (want: string, says: RegExp, ...args: string[]) => {
    const { code, out, err } = await cli(...args);
    assert.is(code, want === 'E_ARGUMENT' ? 2 : 1, `${args.join(' ')}: ${out}${err}`);
    assert.match(err, new RegExp(`^${want}: `), err);
    assert.match(err, says);
    assert.not(existsSync(at('wrong')));
  };
  const out = ['--out', at('wrong')];
  await fails('E_ARGUMENT', /--out/, ...ARGS);
  await fails('E_ARGUMENT', /--forget/, ...COMMON, ...out);
  await fails('E_DATA_INVALID', /both\.jsonl, line 9/, ...ARGS, '--retain', at('both.jsonl'), ...out);
  await fails('E_ARGUMENT', /--gate is "local"/, ...ARGS, '--gate', 'local', ...out);
  await fails('E_ARGUMENT', /--strengths is/, ...ARGS, '--strengths', '1,x', ...out);
  await fails('E_ARGUMENT', /--domains is "0"/, ...ARGS, '--domains', '0', ...out);
  await fails('E_ARGUMENT', /--strengths is ""/, ...ARGS, '--strengths', '', ...out);
  await fails('E_FILE_NOT_FOUND', /nowhere/, ...ARGS, '--earlier', at('nowhere'), ...out);
});

test('Ctrl-C keeps a state, and the same command goes on', async () => {
  const out = at('stopped');
  const states = () =>
    existsSync(`${out}.partial`)
      ? readdirSync(`${out}.partial`).filter((name) => /-training-\d+\.json$/.test(name))
      : [];
  const running = start([...ARGS, '--out', out, '--save-every', '2']);
  while (running.runs() && states().length === 0) await wait(2);
  running.kill('SIGINT');
  const { code, signal, err } = await running.ended;
  assert.is(signal, null);
  assert.is(code, 130, err);
  assert.match(err, /^E_ABORTED: /m);
  assert.not(existsSync(out));
  assert.is(states().length, 1);
  const again = await cli(...ARGS, '--out', out, '--save-every', '2');
  assert.is(again.code, 0, again.err);
  assert.equal(filesOf(out), filesOf(at('first')));
});

test(`${KILLS} kills at random moments: what comes out in the end is the same to the bit`, async () => {
  const next = numbers(20);
  let kills = 0;
  for (let run = 0; run < 3; run++) {
    for (let left = Math.ceil((KILLS - kills) / (3 - run)); left > 0; left--) {
      const running = start([...ARGS, '--out', at(`killed-${run}`), '--save-every', '2']);
      await Promise.race([running.ended, wait(700 + 2500 * next())]);
      if (!running.runs()) break;
      running.kill('SIGKILL');
      await running.ended;
      kills++;
      if (existsSync(at(`killed-${run}`))) break;
    }
    // a process may be ended with its result in place already
    if (!existsSync(at(`killed-${run}`))) {
      const { code, err } = await cli(...ARGS, '--out', at(`killed-${run}`), '--save-every', '2');
      assert.is(code, 0, err);
    }
    assert.equal(filesOf(at(`killed-${run}`)), filesOf(at('first')));
  }
  console.log(`  worst of ${KILLS} kills: ${kills} times a job was ended`);
  assert.ok(kills >= KILLS / 2, `${kills}`);
});

test.after(() => rmSync(temporary, { recursive: true }));
test.run();
