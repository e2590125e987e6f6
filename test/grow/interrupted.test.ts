// hosts: node — starts processes as Node starts them
// long — starts some sixty processes, of which it kills ten at random moments
/** Jobs of growing as the command runs them: killed at random moments, out of space, with sources that cannot be read. */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeCheckpoint } from '../../src/checkpoint/write/write-checkpoint.ts';
import { EspalierError } from '../../src/errors.ts';
import { type GrowOptions, grow, type OutputType } from '../../src/grow.ts';
import { openPath } from '../../src/runtime/files/paths.ts';
import { folderOutput } from '../../src/runtime/output/folder.ts';
import { JOURNAL } from '../../src/runtime/output/output.ts';
import { numbers, sums } from '../checkpoint/jobs.ts';
import { type Ended, program, project, type Running, start, startProgram } from '../cli/run.ts';
import { scriptCommand } from '../hosts/script.ts';
import { opened, storedTensor } from './growth.ts';

const KILLS = 10;
/** Processes at once. */
const TRACKS = 2;
const NANO = join(project, 'models/nano-base');
const root = await realpath(await mkdtemp(join(tmpdir(), 'espalier-interrupted-')));
const child = scriptCommand(new URL('grow-child.ts', import.meta.url));

interface Job {
  readonly name: string;
  readonly args: readonly string[];
}
const WHOLE: Job = { name: 'verified', args: [] };
const JOBS: readonly Job[] = [
  WHOLE,
  // smaller than what a layer gets, so that layers end in the middle of files
  { name: 'in small files', args: ['--no-verify', '--max-shard-bytes', '4000000'] },
  { name: 'verified, in large files', args: ['--max-shard-bytes', '30000000'] },
];

const command = (job: Job, out: string, source = NANO): string[] => [
  ...['grow', source, '--out', out, '--target', 'granitemoeshared', '--json'],
  ...job.args,
];
const digestsOf = (path: string): Promise<Record<string, string>> => sums({ files: () => openPath(path) });
/** What lies in the test's folder under a name or one that begins with it. */
const beside = (path: string): string[] =>
  readdirSync(dirname(path))
    .map((name) => join(dirname(path), name))
    .filter((name) => name === path || name.startsWith(`${path}.`));
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves when something of that name is there or the process has ended. */
async function appears(path: string, process: Running): Promise<void> {
  while (process.runs() && !existsSync(path)) await wait(2);
}

function done({ code, out, err }: Ended): void {
  assert.is(code, 0, out + err);
  assert.is(err, '');
  assert.is(JSON.parse(out).receipt, 'espalier-grow');
}

interface Wanted {
  readonly sums: Record<string, string>;
  /** From the first file to the end, in milliseconds. */
  readonly took: number;
}
const wanted = new Map<Job, Wanted>();

/** Works through a list, some at a time. */
async function tracks<T>(list: readonly T[], work: (item: T, index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const track = async (): Promise<void> => {
    while (next < list.length) {
      const index = next++;
      await work(list[index]!, index);
    }
  };
  await Promise.all(Array.from({ length: TRACKS }, track));
}

interface Line {
  readonly boot?: string;
  readonly from?: number;
  readonly done?: unknown;
}

/** Of an unfinished job: the groups that are whole, and where each run began. */
function journal(path: string): { groups: number; from: number[] } {
  const file = join(`${path}.partial`, JOURNAL);
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  const parsed = lines.map((line) => (JSON.parse(line) as [string, Line])[1]);
  return {
    groups: parsed.filter((line) => 'done' in line).length,
    from: parsed.flatMap((line) => line.from ?? []),
  };
}

/** Kills a job so long after its first file appears; null when it was done before that. */
async function kill(job: Job, path: string, delay: number): Promise<{ groups: number; from: number[] } | null> {
  const process = start(command(job, path));
  await appears(`${path}.partial`, process);
  await wait(delay);
  process.kill('SIGKILL');
  const ended = await process.ended;
  if (existsSync(path)) {
    // all of it is there, whether its process was through or not
    assert.equal(await digestsOf(path), wanted.get(job)!.sums, 'a final name without the whole');
    return null;
  }
  assert.is(ended.signal, 'SIGKILL', ended.out + ended.err);
  assert.is(ended.out, '');
  return journal(path);
}

test('uninterrupted jobs, for comparison', async () => {
  await tracks(JOBS, async (job) => {
    const path = join(root, job.name);
    const process = start(command(job, path));
    await appears(`${path}.partial`, process);
    const begun = performance.now();
    done(await process.ended);
    wanted.set(job, { sums: await digestsOf(path), took: performance.now() - begun });
    assert.equal(beside(path), [path]);
    rmSync(path, { recursive: true });
  });
  assert.equal(Object.keys(wanted.get(WHOLE)!.sums), [
    'config.json',
    'espalier-receipt.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  assert.ok(Object.keys(wanted.get(JOBS[1]!)!.sums).length > 20);
});

test('killed at any moment, once or twice, the same command ends in the same bytes', async () => {
  const kept: string[] = [];
  let between = 0;
  await tracks(Array.from({ length: KILLS }), async (_, index) => {
    const job = JOBS[index % JOBS.length]!;
    const path = join(root, `killed-${index}`);
    const next = numbers(index + 1);
    // one moment in every tenth of the job
    const share = (((index * 7) % KILLS) + next() / 2 ** 32) / KILLS;
    const { took, sums: want } = wanted.get(job)!;
    const log: string[] = [];
    const strike = async (delay: number) => {
      const state = await kill(job, path, delay);
      log.push(`${Math.round(delay)} ms: ${state?.groups ?? 'all'}`);
      return state;
    };
    const first = await strike(share * took);
    if (first && first.groups > 0 && index % 4 === 1) {
      const second = await strike((next() / 2 ** 32) * (1 - share) * took);
      // what the first run left counts, and nothing of it is made again
      if (second && second.from.length > first.from.length) assert.is(second.from.at(-1), first.groups);
    }
    if (!existsSync(path)) {
      if (journal(path).groups > 0) between++;
      // any number of lanes may finish it
      done(await start([...command(job, path), '--lanes', String(1 + (index % 2))]).ended);
    }
    assert.equal(await digestsOf(path), want, `kill ${index}, ${job.name}: ${log.join(', then ')}`);
    rmSync(path, { recursive: true });
    kept[index] = `${job.name} ${log.join(', then ')}`;
  });
  // a process that was killed behind the last rename leaves its lock, which is nobody's any more
  assert.equal(
    readdirSync(root).filter((name) => !/\.lock$/.test(name)),
    [],
  );
  for (const [job, { took }] of wanted) console.log(`  ${job.name}: ${Math.round(took)} ms when nothing interrupts it`);
  console.log(`  killed after, and groups that were kept:\n    ${kept.join('\n    ')}`);
  assert.ok(between >= KILLS / 4, `only ${between} were killed between the first and the last group`);
});

test('of two jobs on one folder the second is refused, and does not disturb the first', async () => {
  const path = join(root, 'contended');
  const first = start(command(WHOLE, path));
  await appears(`${path}.partial`, first); // the lock is taken before that
  first.kill('SIGSTOP');
  const second = await start(command(WHOLE, path)).ended;
  const before = beside(path);
  first.kill('SIGCONT');
  assert.is(second.code, 2, second.out);
  const { error } = JSON.parse(second.out);
  assert.is(error.code, 'E_ARGUMENT', second.out);
  assert.match(error.message, /^Process \d+.* is writing /);
  assert.ok(!before.includes(path) && before.includes(`${path}.partial.lock`), before.join());
  done(await first.ended);
  assert.equal(await digestsOf(path), wanted.get(WHOLE)!.sums);
  assert.equal(beside(path), [path]);
});

test('a folder that is not empty, and a file, are refused and not touched', async () => {
  const folder = join(root, 'occupied');
  mkdirSync(folder);
  writeFileSync(join(folder, 'config.json'), 'mine');
  const file = join(root, 'occupied file');
  writeFileSync(file, 'mine');
  for (const path of [folder, file]) {
    const { code, out, err } = await start(['grow', NANO, '--out', path]).ended;
    assert.is(code, 2, out);
    assert.match(err, /^E_ARGUMENT: .* exists and is (not empty|no folder)\. .+\n$/);
    assert.equal(beside(path), [path]);
  }
  assert.equal(readdirSync(folder), ['config.json']);
  assert.is(readFileSync(join(folder, 'config.json'), 'utf8'), 'mine');
  assert.is(readFileSync(file, 'utf8'), 'mine');
});

/** A program with a file system of its own at `path`; null where nothing may be mounted. */
async function mounted(path: string, size: string, inner: readonly string[]): Promise<Ended | null> {
  mkdirSync(path);
  const script = `mount -t tmpfs -o size=${size} tmpfs "$0" || exit 9; exec "$@"`;
  const ended = await startProgram(['unshare', '-rm', 'sh', '-c', script, path, ...inner]).ended.catch(() => null);
  if (ended && !/^(unshare|mount):/m.test(ended.err)) return ended;
  console.log(`  skipped: nothing may be mounted here${ended ? `: ${ended.err.trim()}` : ''}`);
  return null;
}

test('a disk that is too small is found before any work', async () => {
  const path = join(root, 'tiny');
  const out = join(path, 'grown');
  const ended = await mounted(path, '64m', ['sh', '-c', '"$@"; ls -A "$0"', path, ...program, ...command(WHOLE, out)]);
  if (!ended) return;
  const [answer, ...names] = ended.out.trim().split('\n');
  const { error } = JSON.parse(answer!);
  assert.is(error.code, 'E_STORAGE_FULL', answer);
  assert.match(error.message, /needs \d+ bytes of space, and \d+ are free/);
  assert.equal(names, [], 'nothing is left');
});

test('a disk that fills up in the middle: what is whole stays, and the job ends when there is space again', async () => {
  const path = join(root, 'small');
  const out = join(path, 'grown');
  const inner = [...child, NANO, out, join(path, 'ballast')];
  const ended = await mounted(path, '130m', inner);
  if (!ended) return;
  assert.is(ended.code, 0, ended.err);
  const [failed, resumed] = ended.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.is(failed.code, 'E_STORAGE_FULL', failed.message);
  assert.equal(failed.names, ['ballast', 'grown.partial']);
  assert.ok(resumed.first > 0.2 && resumed.first < 0.9, `it went on at ${resumed.first}`);
  assert.equal(resumed.names, ['grown']);
  assert.equal(resumed.sums, wanted.get(WHOLE)!.sums);
  console.log(`  ${failed.message}; it went on at ${(100 * resumed.first).toFixed(0)} %`);
});

/** The embedded model in several files, called by its own name, in a folder of its own. */
async function shards(folder: string): Promise<{ path: string; files: string[] }> {
  const path = join(root, folder, 'nano-base');
  await opened(NANO, async (dense) => {
    const groups = [...dense.tensors.values()].map(({ name, type, shape }) => ({
      name,
      tensors: [
        {
          ...{ name, type: type as OutputType, shape },
          bytes: async function* () {
            yield await storedTensor(dense, name);
          },
        },
      ],
    }));
    const out = await folderOutput(path);
    await writeCheckpoint(out, groups, { identity: 'shards', maxShardBytes: 5e6 });
    await out.commit();
  });
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(NANO, name), join(path, name));
  const files = readdirSync(path).filter((name) => name.endsWith('.safetensors'));
  return { path, files: files.sort() };
}

async function fails(code: string, source: string, out: string, options: Partial<GrowOptions> = {}): Promise<void> {
  try {
    await grow(source, { out, target: 'granitemoeshared', verify: false, ...options });
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error;
    assert.is(error.code, code, String(error));
    assert.not.ok(existsSync(out), 'a final name');
    assert.not.ok(existsSync(`${out}.partial.lock`), 'a lock');
    return;
  }
  assert.unreachable(`${code} was not thrown`);
}

test('a shard of the source that is cut, missing, a folder, or a link to nowhere', async () => {
  const { path, files } = await shards('unreadable');
  assert.is(files.length, 4);
  const shard = join(path, files[2]!);
  const aside = join(root, 'aside');
  const out = join(root, 'from-unreadable');
  const { size } = statSync(shard);
  cpSync(shard, aside);
  const instead = (put: () => void) => (): void => {
    unlinkSync(shard);
    put();
  };
  const cases: readonly [code: string, harm: () => void][] = [
    ['E_CHECKPOINT_TRUNCATED', () => truncateSync(shard, size >> 1)],
    ['E_CHECKPOINT_TRUNCATED', () => truncateSync(shard, 5)],
    ['E_FILE_NOT_FOUND', () => unlinkSync(shard)],
    ['E_FILE_READ', instead(() => mkdirSync(shard))],
    ['E_FILE_READ', instead(() => execFileSync('mkfifo', [shard]))],
    // as in a cache of the hub whose blobs were cleared: the folder names it, and opening fails
    ['E_FILE_NOT_FOUND', instead(() => symlinkSync(join(root, 'nowhere'), shard))],
    ['E_FILE_READ', instead(() => symlinkSync(root, shard))],
    ['E_FILE_NOT_FOUND', () => unlinkSync(join(path, 'config.json'))],
  ];
  for (const [code, harm] of cases) {
    harm();
    await fails(code, path, out);
    assert.equal(beside(out), [], 'nothing was begun');
    rmSync(shard, { recursive: true, force: true });
    cpSync(aside, shard);
  }
});

test('a shard that shrinks while it is read, and one that loses its name', async () => {
  const { path, files } = await shards('shrinking');
  const out = join(root, 'from-shrinking');
  const shard = join(path, files[3]!);
  cpSync(shard, `${shard}.whole`);
  const { size } = statSync(shard);
  const at = (share: number, work: () => void): GrowOptions['onProgress'] => {
    let first = true;
    return ({ done, total }) => {
      if (first && done / total > share) {
        first = false;
        work();
      }
    };
  };
  await fails('E_CHECKPOINT_TRUNCATED', path, out, { onProgress: at(0.4, () => truncateSync(shard, size >> 1)) });
  const { groups } = journal(out);
  assert.ok(groups > 1, `${groups} groups are whole`);
  renameSync(`${shard}.whole`, shard);
  // an open file outlives its name
  await grow(path, { out, target: 'granitemoeshared', onProgress: at(0.6, () => unlinkSync(shard)) });
  assert.not.ok(existsSync(shard));
  const { 'espalier-receipt.json': own, ...got } = await digestsOf(out);
  const { 'espalier-receipt.json': other, ...want } = wanted.get(WHOLE)!.sums;
  assert.equal(got, want);
  // of another size, since it has several headers
  const [a, b] = [out, path].map((folder) => readdirSync(folder).length);
  assert.ok(own !== other && a! < b!);
});

test('NaN in the source is refused, and the job goes on when the source is right', async () => {
  const whole = readFileSync(join(NANO, 'model.safetensors'));
  const from = 8 + whole.readUInt32LE(0);
  const header = JSON.parse(whole.toString('utf8', 8, from));
  const refused = async (tensor: string, more: readonly string[]): Promise<void> => {
    const path = join(root, `nan ${tensor}`, 'nano-base');
    const out = `${path}-grown`;
    cpSync(NANO, path, { recursive: true });
    const broken = Buffer.from(whole);
    broken.writeUInt16LE(0x7fc0, from + header[tensor].data_offsets[0] + 60_000);
    writeFileSync(join(path, 'model.safetensors'), broken);
    const { code, out: answer } = await start(command(WHOLE, out, path)).ended;
    assert.is(code, 1);
    const { error } = JSON.parse(answer);
    assert.is(error.code, 'E_TENSOR_VALUE', answer);
    assert.match(error.message, tensor);
    assert.equal(beside(out), [`${out}.partial`]);
    assert.ok(journal(out).groups >= 5, `${journal(out).groups} groups are whole`);
    writeFileSync(join(path, 'model.safetensors'), whole);
    done(await start([...command(WHOLE, out, path), ...more]).ended);
    assert.equal(await digestsOf(out), wanted.get(WHOLE)!.sums);
  };
  await Promise.all([
    refused('model.layers.5.mlp.down_proj.weight', []),
    refused('model.layers.5.self_attn.q_proj.weight', ['--restart']),
  ]);
});

test.after(() => rm(root, { recursive: true, force: true }));
test.run();
