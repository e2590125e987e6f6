// hosts: node, deno — folders of the file system

/** One writer at a time: locks of folders that are written, and of writers that died. */
import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { folderOutput } from '../../src/runtime/output/folder.ts';
import { bootOf, isSameBoot } from '../../src/runtime/output/machine-start.ts';
import type { OutputFolder } from '../../src/runtime/output/output.ts';
import { rejects } from '../errors.ts';
import { beside, bytes, place, root } from './output-places.ts';

test('one writer at a time', async () => {
  const path = await place();
  const out = await folderOutput(path);
  const error = await rejects('E_ARGUMENT', () => folderOutput(path));
  assert.match(error.message, `Process ${process.pid} on ${hostname()} is writing ${path}.`);
  assert.match(error.hint, `${path}.partial.lock`);
  await out.writeBytes('a', bytes('x'));
  await out.release();
  const next = await folderOutput(path);
  await out.release(); // a second time: not the other's lock
  await rejects('E_ARGUMENT', () => folderOutput(path));
  await next.commit();
  await rejects('E_ARGUMENT', () => folderOutput(path));
});

/** No process has it: they are numbered up to 2^22. */
const DEAD = 99_999_999;
const boot = await bootOf();
const owner = { host: hostname(), boot, pid: DEAD, started: '', nonce: '01234567' };
const another = boot.startsWith('id-') ? 'id-other' : 'time-1000';

test('the lock of a dead writer is taken over', async () => {
  const path = await place();
  const lock = `${path}.partial.lock`;
  const dead: [string, unknown][] = [
    ['no such process', owner],
    ['before the machine was started', { ...owner, pid: process.pid, boot: another }],
  ];
  // only there the system says when a process was started
  if (await stat('/proc/self/stat').catch(() => null)) {
    dead.push(['its number is another’s now', { ...owner, pid: process.pid, started: '1' }]);
  }
  for (const [what, content] of dead) {
    await writeFile(lock, JSON.stringify(content));
    const out = await folderOutput(path);
    await rejects('E_ARGUMENT', () => folderOutput(path));
    await out.release();
    assert.equal(await beside(path), [], what);
  }
  // ended while it wrote the lock, or while it took another over
  await writeFile(lock, '{"pi');
  await utimes(lock, 1e9, 1e9);
  await (await folderOutput(path)).release();
  await writeFile(lock, JSON.stringify(owner));
  await writeFile(`${lock}.${owner.nonce}`, JSON.stringify({ ...owner, nonce: '89abcdef' }));
  await (await folderOutput(path)).release();
  assert.equal(await beside(path), []);
});

test('what a writer left that was ended while it took a lock over goes with the next', async () => {
  const path = await place();
  const lock = `${path}.partial.lock`;
  // it had replaced the lock, and not yet given up that of the dead one's nonce; others were ended before and in the middle of that
  await writeFile(lock, JSON.stringify({ ...owner, nonce: '89abcdef' }));
  for (const left of ['01234567', '76543210', 'damaged-1000000000', '01234567.fedcba98']) {
    await writeFile(`${lock}.${left}`, JSON.stringify(owner));
  }
  await writeFile(`${lock}.txt`, 'somebody’s own');
  await (await folderOutput(path)).release();
  assert.equal(
    (await beside(path)).map((name) => name.slice(name.indexOf('.partial'))),
    ['.partial.lock.txt'],
  );
  await rm(`${lock}.txt`);
});

test('one that may live is not', async () => {
  const path = await place();
  const lock = `${path}.partial.lock`;
  for (const content of [
    JSON.stringify({ ...owner, host: 'another machine' }),
    JSON.stringify({ ...owner, pid: process.pid }),
    JSON.stringify({ ...owner, pid: process.ppid }),
    '{"pi', // just being written
  ]) {
    await writeFile(lock, content);
    await rejects('E_ARGUMENT', () => folderOutput(path));
    assert.is(await readFile(lock, 'utf8'), content);
    assert.equal(await beside(path), [basename(lock)]);
  }
});

test('of many that find a dead lock at once, one gets it', async () => {
  for (let round = 0; round < 60; round++) {
    const path = await place();
    if (round % 2) await writeFile(`${path}.partial.lock`, JSON.stringify(owner));
    const later = async (steps: number): Promise<OutputFolder> => {
      for (let step = 0; step < steps; step++) await stat(root);
      return folderOutput(path);
    };
    const tries = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => later((i * round) % 17)));
    const outs = tries.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    assert.is(outs.length, 1);
    for (const result of tries) if (result.status === 'rejected') assert.is(result.reason.code, 'E_ARGUMENT');
    await outs[0]!.release();
    assert.equal(await beside(path), []);
  }
});

test('starts of the machine', () => {
  assert.ok(boot !== '' && isSameBoot(boot, boot));
  assert.not.ok(isSameBoot(boot, another));
  assert.not.ok(isSameBoot('', ''));
  assert.ok(isSameBoot('time-1000000', 'time-1009000'));
  assert.not.ok(isSameBoot('time-1000000', 'time-1020000'));
  assert.not.ok(isSameBoot('id-1', 'time-1000000'));
});

test.after(() => rm(root, { recursive: true, force: true }));
test.run();
