// hosts: node — starts processes as Node starts them
// long — kills processes while they write
/** Checkpoints written by processes that are killed, or meet a full disk, a limit or a file system that cannot be written. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeCheckpoint } from '../../src/checkpoint/write/write-checkpoint.ts';
import { openPath } from '../../src/runtime/files/paths.ts';
import { folderOutput } from '../../src/runtime/output/folder.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { scriptCommand } from '../hosts/script.ts';
import { job, numbers, sums } from './jobs.ts';
import { KILLED, LARGE } from './writer-jobs.ts';

const KILLS = 20;
const root = await realpath(await mkdtemp(join(tmpdir(), 'espalier-writer-')));
const node = scriptCommand(new URL('writer-child.ts', import.meta.url));

async function wanted({ seed, groups, options }: typeof KILLED): Promise<Record<string, string>> {
  const out = memoryOutput('whole');
  await writeCheckpoint(out, job(seed, groups).groups, options);
  return sums(out);
}

interface Ended {
  readonly lines: unknown[];
  readonly signal: string | null;
  readonly errors: string;
}

/** Runs a program to its end; `seen` is called with each line, and a function that kills it. */
async function run(
  [program, ...args]: readonly string[],
  seen: (line: unknown, kill: () => void) => void = () => {},
): Promise<Ended> {
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: unknown[] = [];
  let text = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (data: string) => {
    const parts = (text + data).split('\n');
    text = parts.pop()!;
    for (const part of parts) {
      lines.push(JSON.parse(part));
      seen(lines.at(-1), () => child.kill('SIGKILL'));
    }
  });
  child.stderr.setEncoding('utf8').on('data', (data: string) => void (errors += data));
  const signal = await new Promise<string | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (_code, name) => resolve(name));
  });
  return { lines, signal, errors };
}

test('killed at any moment, the next run finishes the job, with the same files', async () => {
  const right = await wanted(KILLED);
  const kept: string[] = [];
  for (let seed = 1; seed <= KILLS; seed++) {
    const path = join(root, `killed-${seed}`);
    // from the first moment to somewhat more than it takes
    const delay = numbers(seed)() % 350;
    const { lines, signal, errors } = await run([...node, 'write', path], (line, kill) => {
      if (line === 'begins') setTimeout(kill, delay);
    });
    assert.is(errors, '');
    if (lines.at(-1) === 'done') kept.push(`${delay} ms: all`);
    else {
      assert.is(signal, 'SIGKILL');
      const names = (await readdir(root)).filter((name) => name.startsWith(`killed-${seed}`));
      if (names.includes(`killed-${seed}`)) kept.push(`${delay} ms: all`);
      else {
        const out = await folderOutput(path);
        const { groups } = job(KILLED.seed, KILLED.groups);
        const { resumedGroups } = await writeCheckpoint(out, groups, KILLED.options);
        await out.commit();
        kept.push(`${delay} ms: ${resumedGroups}`);
      }
    }
    assert.equal(await sums({ files: () => openPath(path) }), right, `seed ${seed}`);
    await rm(path, { recursive: true });
    assert.equal(
      (await readdir(root)).filter((name) => /partial/.test(name) && !/lock/.test(name)),
      [],
    );
  }
  console.log(`  killed after, and groups that were kept of ${KILLED.groups}: ${kept.join(', ')}`);
  assert.ok(kept.some((text) => /: [1-9]/.test(text)));
});

/** The program with a file system of its own mounted at `path`; null where that is not allowed. */
async function mounted(path: string, how: string, what: string, inside: string): Promise<unknown[] | null> {
  await mkdir(path, { recursive: true });
  const mount = `mount -t tmpfs -o ${how} tmpfs "$0" || exit 9; echo '"mounted"'; exec "$@"`;
  const program = ['unshare', '-rm', 'sh', '-c', mount, path, ...node, what, inside];
  const ended = await run(program).catch(() => null);
  if (ended?.lines[0] !== 'mounted') {
    console.log(`  skipped: nothing may be mounted here${ended ? `: ${ended.errors.trim()}` : ''}`);
    return null;
  }
  assert.is(ended.errors, '');
  return ended.lines.slice(1);
}

test('a disk that fills up while a checkpoint is written', async () => {
  const path = join(root, 'small');
  const lines = await mounted(path, 'size=32m', 'full', path);
  if (!lines) return;
  const [first, left, second, end] = lines as [{ code: string; message: string }, string[], object, string[]];
  assert.is(first.code, 'E_STORAGE_FULL', first.message);
  assert.equal(left, ['model.partial']);
  const { resumedGroups, sums: found } = second as { resumedGroups: number; sums: object };
  assert.ok(resumedGroups > 0 && resumedGroups <= 30, String(resumedGroups));
  assert.equal(found, await wanted(LARGE));
  assert.equal(end, ['model']);
  console.log(`  ${first.message}; ${resumedGroups} groups of ${LARGE.groups} kept`);
});

test('a disk that is too small from the beginning', async () => {
  const path = join(root, 'tiny');
  const lines = await mounted(path, 'size=8m', 'full', path);
  if (!lines) return;
  const { code, message } = lines[0] as { code: string; message: string };
  assert.is(code, 'E_STORAGE_FULL', message);
  assert.match(message, /needs \d+ bytes of space, and \d+ are free/);
  assert.equal(lines[1], []);
});

test('a file system that cannot be written, and one that cannot be replaced', async () => {
  const path = join(root, 'mounted');
  const readOnly = await mounted(path, 'ro', 'open', join(path, 'model'));
  if (!readOnly) return;
  assert.is((readOnly[0] as { code: string }).code, 'E_FILE_WRITE');
  const itself = (await mounted(path, 'size=1m', 'open', path))![0] as { code: string; message: string };
  assert.is(itself.code, 'E_ARGUMENT', itself.message);
  assert.match(itself.message, /is where something is mounted/);
  assert.equal(await readdir(path), []);
});

test('a limit for the size of files', async () => {
  const path = join(root, 'limited');
  const program = ['sh', '-c', 'ulimit -f 200 && exec "$@"', 'sh', ...node, 'limited', path];
  const { lines } = await run(program);
  const { code, message } = lines[0] as { code: string; message: string };
  assert.is(code, 'E_FILE_WRITE', message);
  assert.match(message, 'ask for smaller shards');
  const out = await folderOutput(path);
  const { resumedGroups } = await writeCheckpoint(out, job(LARGE.seed, LARGE.groups).groups, LARGE.options);
  assert.ok(resumedGroups > 0, String(resumedGroups));
  assert.equal(await sums(out), await wanted(LARGE));
  await out.commit();
});

test.after(() => rm(root, { recursive: true, force: true }));
test.run();
