/** Checkpoints that are written: a job goes on where it was ended, and how it ends when it cannot. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeLine, readJournal } from '../../src/checkpoint/write/journal.ts';
import {
  type OutputGroup,
  type WriteOptions,
  type Written,
  writeCheckpoint,
} from '../../src/checkpoint/write/write-checkpoint.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { JOURNAL, type OutputFolder } from '../../src/runtime/output/output.ts';
import { rejects } from '../errors.ts';
import { type FrailOutput, frailOutput } from './frail-output.ts';
import { job, numbers, sums } from './jobs.ts';

const SEED = 5;
const GROUPS = 10;
const options: WriteOptions = { identity: 'five', maxShardBytes: 20_000 };

/** The same by a run that nothing disturbs. */
const whole = memoryOutput('whole');
let PIECES = 0;
const uninterrupted: Written = await writeCheckpoint(whole, job(SEED, GROUPS, () => void PIECES++).groups, options);
const wanted = await sums(whole);
/** Bytes of all shards. */
const TOTAL = uninterrupted.files.slice(0, -1).reduce((sum, { bytes }) => sum + bytes, 0);

/** Another run over the same folder ends well, with the same files and records; returns how many groups it had not to write. */
async function finishes(out: OutputFolder, more: Partial<WriteOptions> = {}): Promise<number> {
  const { groups, calls } = job(SEED, GROUPS);
  const written = await writeCheckpoint(out, groups, { ...options, ...more });
  assert.equal(await sums(out), wanted);
  assert.equal(written.records, uninterrupted.records);
  assert.equal(written.files, uninterrupted.files);
  const rest = Array.from({ length: GROUPS - written.resumedGroups }, (_, i) => i + written.resumedGroups);
  assert.equal(
    calls,
    rest.flatMap((g) => [`begin ${g}`, `end ${g}`, `dispose ${g}`]),
  );
  return written.resumedGroups;
}

test('aborted at any moment, a job goes on at the beginning of the group it was in', async () => {
  const resumed = new Set<number>();
  for (let stop = 1; stop <= PIECES; stop++) {
    const out = memoryOutput('out');
    const abort = new AbortController();
    let count = 0;
    let inGroup = -1;
    const first = job(SEED, GROUPS, (group) => {
      assert.not.ok(abort.signal.aborted, 'goes on after an abort');
      inGroup = group;
      if (++count === stop) abort.abort();
    });
    await rejects('E_ABORTED', () => writeCheckpoint(out, first.groups, { ...options, signal: abort.signal }));
    assert.is(first.calls.at(-1), `dispose ${inGroup}`);
    await out.release();
    assert.is(await finishes(out), inGroup);
    resumed.add(inGroup);
  }
  console.log(`  aborted at ${PIECES} pieces, in groups ${[...resumed]}`);
});

test('aborted between groups', async () => {
  for (let stop = 0; stop < GROUPS; stop++) {
    for (const hook of ['begin', 'end'] as const) {
      const out = memoryOutput('out');
      const abort = new AbortController();
      const { groups } = job(SEED, GROUPS);
      const last = { ...groups[stop]!, [hook]: async () => abort.abort() };
      const own = groups.map((group, g) => (g === stop ? last : group));
      const run = () => writeCheckpoint(out, own, { ...options, signal: abort.signal });
      if (hook === 'end' && stop === GROUPS - 1) await run();
      else await rejects('E_ABORTED', run);
      assert.is(await finishes(out, hook === 'end' ? { restart: true } : {}), hook === 'end' ? 0 : stop);
    }
  }
  const aborted = AbortSignal.abort();
  const out = memoryOutput('out');
  await rejects('E_ABORTED', () => writeCheckpoint(out, job(1, 1).groups, { ...options, signal: aborted }));
  assert.equal((await out.files()).names, []);
});

/** Files of a job that was aborted in its last group, and their content. */
async function halfWritten(): Promise<OutputFolder> {
  const out = memoryOutput('half');
  const abort = new AbortController();
  const { groups } = job(SEED, GROUPS, (group) => {
    if (group === GROUPS - 1) abort.abort();
  });
  await rejects('E_ABORTED', () => writeCheckpoint(out, groups, { ...options, signal: abort.signal }));
  return out;
}

test('a journal that ends anywhere, or is damaged anywhere, is good for what stands before', async () => {
  const journal = (await (await halfWritten()).readBytes(JOURNAL))!;
  const lines = (length: number): number => journal.subarray(0, length).filter((byte) => byte === 0x0a).length;
  for (let length = 0; length <= journal.byteLength; length++) {
    const before = Math.max(0, lines(length) - 2); // the first two are no groups
    const cut = readJournal(journal.slice(0, length), () => true);
    assert.is(cut?.groups.length ?? 0, before);
    if (length === journal.byteLength) continue;
    const damaged = journal.slice();
    damaged[length]! ^= 1 + (length % 255);
    const read = readJournal(damaged, () => true);
    assert.is(read?.groups.length ?? 0, before, `byte ${length}`);
  }
  // and whole runs: before, at and behind the end of each line, and in it
  const ends = [...journal.keys()].filter((i) => journal[i] === 0x0a);
  for (const length of [0, 1, 30, ...ends.flatMap((end) => [end, end + 1, end + 25])]) {
    const out = await halfWritten();
    await out.writeBytes(JOURNAL, (await out.readBytes(JOURNAL))!.slice(0, length)); // the boot is another
    assert.is(await finishes(out), Math.max(0, lines(length) - 2));
  }
});

test('files that are shorter than the journal says are written again', async () => {
  const { names } = await (await halfWritten()).files();
  for (const name of names) {
    for (const change of ['remove', 'cut'] as const) {
      const out = await halfWritten();
      // of the last one nothing is needed yet
      if (change === 'remove' || name === names.at(-1)) await out.remove(name);
      else await (await out.file(name, 3)).close();
      const kept = await finishes(out);
      assert.ok(name === names.at(-1) ? kept === GROUPS - 1 : kept < GROUPS - 1);
    }
  }
});

test('a bit that has turned in what is kept, and parts that were exchanged', async () => {
  const first = await halfWritten();
  const lines = readJournal((await first.readBytes(JOURNAL))!, () => true)!;
  const whole = await first.files();
  const next = numbers(44);
  const kept = new Set<number>();
  /** How many groups of these files are gone on with. */
  const goesOn = async (name: string, harm: (content: Uint8Array) => void): Promise<number> => {
    const out = await halfWritten();
    const content = (await out.readBytes(name))!.slice();
    harm(content);
    await out.writeBytes(name, content);
    return finishes(out);
  };
  for (const name of whole.names) {
    const size = (await first.size(name))!;
    if (size === 0) continue;
    const used = name === whole.names.at(-1) ? 0 : size;
    // in the header too
    for (const at of [0, 9, 8 + (next() % (size - 8)), next() % size, size - 1]) {
      const count = await goesOn(name, (content) => void (content[at]! ^= 1 << (next() & 7)));
      assert.ok(count <= lines.groups.length);
      if (at < used) assert.ok(count < lines.groups.length, `${name}, byte ${at}: ${count}`);
      kept.add(count);
    }
  }
  assert.ok(kept.size > 3, `kept ${[...kept]}`);
  // two files, one for the other
  const out = await halfWritten();
  const [a, b] = whole.names as [string, string];
  const [left, right] = [(await out.readBytes(a))!, (await out.readBytes(b))!];
  const length = Math.max(left.byteLength, right.byteLength);
  for (const [name, content] of [
    [a, right],
    [b, left],
  ] as const) {
    const padded = new Uint8Array(length);
    padded.set(content);
    await out.writeBytes(name, padded);
  }
  assert.is(await finishes(out), 0);
});

test('what is kept is read once, and the records of it are shown before anything is changed', async () => {
  const out = await halfWritten();
  let read = 0;
  const watched: OutputFolder = {
    ...out,
    files: async () => {
      const files = await out.files();
      const open = async (name: string) => {
        const source = await files.open(name);
        const readInto = (offset: number, target: Uint8Array) => {
          read += target.byteLength;
          return source.readInto(offset, target);
        };
        return { ...source, readInto };
      };
      return { ...files, open };
    },
  };
  const before = await sums(out);
  const fault = new Error('another source');
  let shown: readonly unknown[] = [];
  const onResume = async (records: readonly unknown[]): Promise<void> => {
    shown = records;
    throw fault;
  };
  const run = () => writeCheckpoint(watched, job(SEED, GROUPS).groups, { ...options, onResume });
  assert.is(await run().catch((error) => error), fault);
  assert.equal(await sums(out), before);
  assert.equal(shown, uninterrupted.records.slice(0, GROUPS - 1));
  let size = 0;
  for (const name of (await out.files()).names) size += (await out.size(name))!;
  assert.ok(read <= size, `${read} of ${size} bytes`);
});

test('lines that somebody has edited, with their checksums', async () => {
  const sum = '0'.repeat(64);
  const done = { name: 'layer', position: 5, record: null, sum };
  for (const line of [
    { done: null },
    { done: { ...done, sum: 7 } },
    { done: { ...done, position: -1 } },
    { done: { name: 'layer', position: 5, sum } },
    { boot: 1, from: 0 },
    { boot: 'x', from: -1 },
    { synced: 'all' },
    { format: 2, identity: 'other' },
    {},
    { done }, // as it should be, and the bytes are not these
  ]) {
    const out = await halfWritten();
    const journal = (await out.readBytes(JOURNAL))!;
    const ends = [...journal.keys()].filter((i) => journal[i] === 0x0a);
    const head = journal.slice(0, ends[2]! + 1); // one group
    await out.writeBytes(JOURNAL, Uint8Array.from([...head, ...encodeLine(line as never)]));
    assert.is(await finishes(out), 1, JSON.stringify(line));
  }
});

test('unfinished work of another job is not thrown away silently', async () => {
  const others: [string, readonly OutputGroup[], WriteOptions][] = [
    ['identity', job(SEED, GROUPS).groups, { ...options, identity: 'six' }],
    ['tensors', job(SEED + 1, GROUPS).groups, options],
    ['shards', job(SEED, GROUPS).groups, { ...options, maxShardBytes: 30_000 }],
    ['metadata', job(SEED, GROUPS).groups, { ...options, metadata: { format: 'np' } }],
  ];
  for (const [what, groups, other] of others) {
    const out = await halfWritten();
    await out.writeBytes('notes.txt', new Uint8Array(3));
    const before = await sums(out);
    const error = await rejects('E_ARGUMENT', () => writeCheckpoint(out, groups, other));
    assert.match(error.message, `${GROUPS - 1} of its parts`, what);
    assert.equal(await sums(out), before);
    const { resumedGroups, files } = await writeCheckpoint(out, groups, { ...other, restart: true });
    assert.is(resumedGroups, 0);
    // nothing of the other one is left
    assert.equal([...(await out.files()).names].sort(), files.map(({ name }) => name).sort());
  }
});

test('nor is that of another version, whose journal cannot be read', async () => {
  for (const format of [1, 3]) {
    const out = await halfWritten();
    const journal = (await out.readBytes(JOURNAL))!;
    const rest = journal.subarray(journal.indexOf(0x0a) + 1);
    await out.writeBytes(JOURNAL, Uint8Array.from([...encodeLine({ format, identity: 'x' } as never), ...rest]));
    const before = await sums(out);
    const error = await rejects('E_ARGUMENT', () => writeCheckpoint(out, job(SEED, GROUPS).groups, options));
    assert.match(error.message, 'another version');
    assert.equal(await sums(out), before);
    assert.is(await finishes(out, { restart: true }), 0);
  }
  // what is no journal at all is nobody's work
  const out = await halfWritten();
  await out.writeBytes(JOURNAL, new TextEncoder().encode('["00000000",{"format":1}]\n'));
  assert.is(await finishes(out), 0);
});

test('work that has not reached its first group is nobody’s loss, and files of a folder without a journal stay', async () => {
  const out = memoryOutput('out');
  const abort = new AbortController();
  const { groups } = job(SEED, 2, () => abort.abort());
  await rejects('E_ABORTED', () => writeCheckpoint(out, groups, { identity: 'x', signal: abort.signal }));
  assert.is(await finishes(out), 0);

  const other = memoryOutput('out');
  for (const name of ['model-00001-of-00077.safetensors', 'model.safetensors', 'mine.txt']) {
    await other.writeBytes(name, new Uint8Array(3));
  }
  await writeCheckpoint(other, job(SEED, GROUPS).groups, options);
  assert.equal(
    [...(await other.files()).names].sort(),
    [...uninterrupted.files.map(({ name }) => name), 'mine.txt'].sort(),
  );
});

test('a finished job that was not committed has nothing left to do', async () => {
  const out = memoryOutput('out');
  assert.is(await finishes(out), 0);
  assert.is(await finishes(out), GROUPS);
  assert.is(await finishes(out, { restart: true }), 0);
});

/** A run that a power failure ends when `stop` pieces have been asked for; returns the group that it was in. */
async function failing(out: FrailOutput, stop: number, seed: number, syncInterval: number): Promise<number> {
  let count = 0;
  let done = 0;
  const { groups } = job(SEED, GROUPS, async (group) => {
    await new Promise((resolve) => setTimeout(resolve)); // the disk has its turn
    done = group;
    if (++count === stop) {
      await out.powerFailure(seed);
      throw new Error('power failure');
    }
  });
  try {
    await writeCheckpoint(out, groups, { ...options, syncInterval });
    await out.powerFailure(seed); // too few were left
    return GROUPS;
  } catch (error) {
    assert.match((error as Error).message, /power failure|the machine is off/);
  }
  return done;
}

test('after power failures only what was synced counts', async () => {
  const resumed: number[] = [];
  const next = numbers(77);
  for (let seed = 0; seed < 24; seed++) {
    const out = frailOutput('out');
    let reached = 0;
    for (let failures = 0; failures < 1 + (seed % 3); failures++) {
      reached = Math.max(reached, await failing(out, 1 + (next() % PIECES), seed + failures, seed % 4 === 3 ? 1e9 : 0));
    }
    const kept = await finishes(out);
    assert.ok(kept <= reached);
    if (seed % 4 === 3) assert.is(kept, 0);
    resumed.push(kept);
  }
  assert.ok(resumed.some((kept) => kept > 2));
  console.log(`  groups kept: ${resumed.join(' ')}`);
});

test('a full disk ends the job with what was written kept', async () => {
  for (let room = 0; room < TOTAL; room += 1777) {
    const out = frailOutput('out');
    out.room = room;
    const { groups, calls } = job(SEED, GROUPS);
    await rejects('E_STORAGE_FULL', () => writeCheckpoint(out, groups, { ...options, syncInterval: 0 }));
    assert.is(
      calls.filter((call) => call.startsWith('begin')).length,
      calls.filter((call) => call.startsWith('dispose')).length,
    );
    out.room = Number.MAX_SAFE_INTEGER;
    const resumed = await finishes(out);
    if (room > TOTAL / 2) assert.ok(resumed > 0);
  }
});

test('a disk that is too small is noticed before any work', async () => {
  const margin = 16 * 1024 * 1024;
  const out = frailOutput('out');
  out.says = TOTAL + margin - 1;
  const { groups, calls } = job(SEED, GROUPS);
  const error = await rejects('E_STORAGE_FULL', () => writeCheckpoint(out, groups, options));
  assert.match(error.message, `needs ${TOTAL + margin} bytes of space, and ${TOTAL + margin - 1} are free`);
  assert.equal(calls, []);
  assert.equal((await out.files()).names, []);
  out.says = TOTAL + margin;
  await finishes(out);
  // all is there: nothing more is needed
  out.says = 0;
  await finishes(out);
  // what is thrown away makes room
  await rejects('E_STORAGE_FULL', () => finishes(out, { restart: true }));
  out.says = margin;
  await finishes(out, { restart: true });
});

test('an error of a group comes out as it is, and the group is disposed of', async () => {
  for (const part of ['begin', 'bytes', 'end'] as const) {
    const out = memoryOutput('out');
    const fault = new Error('no layer');
    const thrower = async (): Promise<never> => {
      throw fault;
    };
    const { groups, calls } = job(SEED, GROUPS, (g) => (part === 'bytes' && g === 4 ? thrower() : undefined));
    const own = groups.map((group, g) => (g === 4 && part !== 'bytes' ? { ...group, [part]: thrower } : group));
    const error = await writeCheckpoint(out, own, options).catch((cause) => cause);
    assert.is(error, fault);
    assert.is(calls.at(-1), 'dispose 4');
    assert.is(await finishes(out), 4);
  }
});

test.run();
