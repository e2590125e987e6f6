// hosts: node, deno — a cache in a folder

import { execFileSync } from 'node:child_process';
import {
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeFailed } from '../../src/runtime/cache/cache.ts';
import { openCache } from '../../src/runtime/cache/default.ts';
import { defaultFolder, folderCache } from '../../src/runtime/cache/folder.ts';
import { memoryCache } from '../../src/runtime/cache/memory.ts';
import type { Cache } from '../../src/runtime/cache/types.ts';
import { sha256 } from '../../src/runtime/files/hash.ts';
import { rejects } from '../errors.ts';
import { cacheContract } from './cache-contract.ts';
import { gitSha, sha256 as hashOf, noise } from './hub-server.ts';

const folder = await mkdtemp(join(tmpdir(), 'espalier-cache-'));
const KEY = `sha256-${'a'.repeat(64)}`;
const partial = (owner = ''): string => join(folder, 'partial', owner && `${KEY}.${owner}`);

for (const [name, check] of cacheContract(() => folderCache(folder))) test(`folder: ${name}`, check);

const memory = memoryCache();
for (const [name, check] of cacheContract(async () => memory)) test(`memory: ${name}`, check);

async function cleared(): Promise<Cache> {
  const cache = await folderCache(folder);
  await cache.clear();
  await mkdir(partial(), { recursive: true });
  return cache;
}

/** An unfinished file as a writer of some process leaves it. */
async function left(owner: string, bytes: number, secondsAgo = 0): Promise<void> {
  await writeFile(partial(owner), new Uint8Array(bytes));
  const then = new Date(Date.now() - secondsAgo * 1000);
  await utimes(partial(owner), then, then);
}

const machine = (await sha256(hostname())).slice(0, 8);
/** No process has it: they are numbered up to 2^22. */
const DEAD = 99_999_999;

test('the file of a dead writer is taken over, the largest of several, and the others are removed', async () => {
  const cache = await cleared();
  await left(`${machine}-${DEAD}-aa`, 500);
  await left('idle-bb', 900);
  await left('00000000-1-cc', 700, 3600);
  const { writer, loaded } = await cache.claim(KEY);
  assert.is(loaded, 900);
  assert.is((await readdir(partial())).length, 1);
  await writer!.discard();
  assert.equal(await readdir(partial()), []);
});

test('the file of a living writer is left alone', async () => {
  for (const owner of [`${machine}-${process.pid}-aa`, '00000000-1-bb']) {
    const cache = await cleared();
    await left(owner, 500, 3);
    assert.equal(await cache.claim(KEY), { writer: null, loaded: 500 });
    assert.equal(await readdir(partial()), [`${KEY}.${owner}`]);
    // one that has shown no life for long is dead, whatever its number says
    await left(owner, 500, 3600);
    const { writer } = await cache.claim(KEY);
    assert.is(writer!.size, 500);
    await writer!.discard();
  }
});

test('a writer that lost its file cannot finish', async () => {
  const cache = await cleared();
  const { writer } = await cache.claim(KEY);
  await writer!.write(new Uint8Array(100));
  const [name] = await readdir(partial());
  await rename(join(partial(), name!), partial('idle-aa'));
  await writer!.write(new Uint8Array(100));
  assert.is(await writer!.commit(), false);
  assert.is(await cache.open(KEY), null);
  const second = (await cache.claim(KEY)).writer!;
  assert.is(second.size, 200);
  await second.discard();
});

test('a full disk has a code', () => {
  for (const cause of [{ code: 'ENOSPC' }, { code: 'EDQUOT' }, { name: 'QuotaExceededError' }]) {
    const error = writeFailed('the cache', cause);
    assert.is(error.code, 'E_STORAGE_FULL');
    assert.is(error.cause, cause);
  }
  assert.is(writeFailed('the cache', { code: 'EACCES' }).code, 'E_FILE_WRITE');
});

test('links are not followed, pipes not opened, and files of other names not written', async () => {
  if (process.platform === 'win32') return;
  const secret = join(folder, 'secret');
  await writeFile(secret, 'mine');
  const then = new Date(0);
  await utimes(secret, then, then);
  const puts: ((path: string) => unknown)[] = [
    (path) => symlink(secret, path),
    (path) => link(secret, path),
    (path) => symlink('/dev/zero', path),
    (path) => symlink(join(folder, 'nowhere'), path),
    (path) => execFileSync('mkfifo', [path]),
    (path) => mkdir(path),
  ];
  for (const put of puts) {
    for (const owner of ['idle-aa', `${machine}-${DEAD}-aa`, `${machine}-${process.pid}-aa`]) {
      const cache = await cleared();
      await put(partial(owner));
      const { writer } = await cache.claim(KEY);
      assert.is(writer!.size, 0);
      await writer!.write(new Uint8Array(100_000));
      assert.is(await writer!.commit(), true);
      assert.is(await readFile(secret, 'utf8'), 'mine');
      const left = (await cache.list()).filter(({ kind }) => kind === 'partial');
      for (const { key } of left) assert.is(await cache.remove(key), true);
      await rm(partial(owner), { recursive: true, force: true });
    }
    if (put === puts[1]) continue;
    const cache = await cleared();
    await put(join(folder, 'blobs', KEY));
    assert.is(await cache.open(KEY), null);
    await put(join(folder, 'refs', 'a.json'));
    assert.is(await cache.readRef('a.json'), null);
    if (put === puts[5]) await rm(join(folder, 'blobs', KEY), { recursive: true });
    const { writer } = await cache.claim(KEY);
    await writer!.write(new Uint8Array(7));
    assert.is(await writer!.commit(), true);
    assert.is((await cache.open(KEY))!.size, 7);
    await rm(join(folder, 'refs', 'a.json'), { recursive: true });
  }
  assert.is((await stat(secret)).mtimeMs, 0, 'its time is its own');
  assert.is(await readFile(secret, 'utf8'), 'mine');
});

test('verify finds what has changed in place', async () => {
  const cache = await cleared();
  const put = async (blob: string, bytes: Uint8Array): Promise<string> => {
    const { writer } = await cache.claim(blob);
    await writer!.write(bytes);
    await writer!.commit();
    return join(folder, 'blobs', blob);
  };
  const bytes = noise(5_000_000);
  const url = `url-${'1'.repeat(64)}`;
  const paths = {
    [`sha256-${hashOf(bytes)}`]: bytes,
    [`git-${gitSha(bytes.subarray(0, 900))}`]: bytes.subarray(0, 900),
    [`git-${gitSha(new Uint8Array())}`]: new Uint8Array(),
    [url]: bytes.subarray(0, 100),
  };
  for (const [blob, content] of Object.entries(paths)) await put(blob, content);
  const files = Object.entries(paths).map(([blob, { byteLength }]) => ({ name: blob, blob, size: byteLength }));
  const known = files.map((file) => (file.blob === url ? { ...file, sha256: hashOf(paths[url]!) } : file));
  assert.equal(await cache.verify(), [{ key: `blobs/${url}`, models: [], fault: 'unknown' }]);
  await cache.writeRef('a.json', { name: 'owner/a@main', files: known });
  const seen: [number, number][] = [];
  assert.equal(await cache.verify({ onProgress: (...counts) => void seen.push(counts) }), []);
  assert.equal(seen.at(-1), [5_001_000, 5_001_000]);
  await rejects('E_ABORTED', () => cache.verify({ signal: AbortSignal.abort() }));

  for (const [blob, content] of Object.entries(paths)) {
    const path = join(folder, 'blobs', blob);
    const models = ['owner/a@main'];
    const key = `blobs/${blob}`;
    if (content.byteLength > 0) {
      const changed = content.slice();
      changed[changed.byteLength >> 1]! ^= 1;
      await writeFile(path, changed);
      assert.equal(await cache.verify(), [{ key, models, fault: 'content' }]);
    }
    await writeFile(path, new Uint8Array(content.byteLength + 1));
    assert.equal(await cache.verify(), [{ key, models, fault: 'size' }]);
    await rm(path);
    assert.equal(await cache.verify(), [], 'what is not there is downloaded');
    await symlink(partial(), path);
    assert.equal(await cache.verify(), [{ key, models, fault: 'kind' }]);
    await rm(path);
    await writeFile(path, content);
  }
  await writeFile(join(folder, 'blobs', 'notes.txt'), 'x');
  assert.equal(await cache.verify(), [{ key: 'blobs/notes.txt', models: [], fault: 'unknown' }]);
});

test('a folder that cannot be written has a code', async () => {
  const file = join(folder, 'file');
  await writeFile(file, 'x');
  const cache = await folderCache(join(file, 'inside'));
  await rejects('E_FILE_WRITE', () => cache.claim(KEY));
  await rejects('E_FILE_WRITE', () => cache.writeRef('a.json', { name: '', files: [] }));
  assert.is(await cache.open(KEY), null);
  assert.equal(await cache.list(), []);
});

test('damaged references and blobs are none', async () => {
  const cache = await cleared();
  await mkdir(join(folder, 'refs'), { recursive: true });
  for (const content of [
    '',
    '{',
    '[]',
    'null',
    '{"name":1,"files":[]}',
    '{"name":"x","files":[{"name":"y"}]}',
    '{"name":"x"}',
  ]) {
    await writeFile(join(folder, 'refs', 'a.json'), content);
    assert.is(await cache.readRef('a.json'), null, content);
  }
  const bad = { name: 'x', files: [{ name: 'y', blob: '../../etc/passwd', size: 1 }] };
  await writeFile(join(folder, 'refs', 'a.json'), JSON.stringify(bad));
  assert.is(await cache.readRef('a.json'), null);
  const [entry] = await cache.list();
  assert.is(entry!.name, 'a.json', 'it can still be found and removed');
  assert.is(await cache.remove(entry!.key), true);

  const { writer } = await cache.claim(KEY);
  await writer!.write(new Uint8Array(1000));
  await writer!.commit();
  await truncate(join(folder, 'blobs', KEY), 999);
  assert.is(await cache.open(KEY, 1000), null);
});

test('where the cache lies', async () => {
  const names = ['ESPALIER_CACHE', 'XDG_CACHE_HOME'];
  const before = names.map((name) => process.env[name]);
  try {
    process.env['XDG_CACHE_HOME'] = join(folder, 'xdg');
    delete process.env['ESPALIER_CACHE'];
    assert.is(await defaultFolder(), join(folder, 'xdg', 'espalier'));
    process.env['ESPALIER_CACHE'] = join(folder, 'mine');
    assert.is(await defaultFolder(), join(folder, 'mine'));
    assert.is((await openCache()).name, join(folder, 'mine'));
    assert.is((await openCache(folder)).name, folder);
    for (const name of names) delete process.env[name];
    assert.match(await defaultFolder(), /[/\\]espalier$/);
  } finally {
    names.forEach((name, i) => {
      if (before[i] === undefined) delete process.env[name];
      else process.env[name] = before[i];
    });
  }
});

test('done', () => rm(folder, { recursive: true }));
test.run();
