// hosts: node, deno — folders of the file system
/** Folders that are written: under their final name only as a whole, by one writer alone. */
import { execFileSync } from 'node:child_process';
import { appendFile, chmod, link, mkdir, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readWhole } from '../../src/runtime/files/model-files.ts';
import { folderOutput } from '../../src/runtime/output/folder.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { JOURNAL, type OutputFolder } from '../../src/runtime/output/output.ts';
import { code, rejects } from '../errors.ts';
import { beside, bytes, nextTime, place, root } from './output-places.ts';

const { Deno } = globalThis as { Deno?: unknown };

/** What every output must do, on an empty one. */
const contract: [string, (out: OutputFolder) => Promise<void>][] = [
  [
    'cleared, what is kept stays, and folders go with what is in them',
    async (out) => {
      for (const name of ['a.txt', 'b.txt', JOURNAL, 'one/a.txt', 'two/a.txt', 'two/b.txt']) {
        await out.writeBytes(name, bytes(name));
      }
      await out.clear((name) => name === 'b.txt' || name === 'two/b.txt');
      for (const name of ['a.txt', JOURNAL, 'one/a.txt', 'two/a.txt']) assert.is(await out.size(name), null, name);
      for (const name of ['b.txt', 'two/b.txt']) assert.is(await out.size(name), name.length, name);
      await out.check();
      await out.clear(() => false);
      assert.equal([await out.size('b.txt'), await out.size('two/b.txt')], [null, null]);
    },
  ],
  [
    'files are written, cut and gone on with',
    async (out) => {
      const file = await out.file('a.bin', 0);
      await file.write(bytes('hello '));
      await file.sync();
      await file.write(bytes('world'));
      assert.is(file.size, 11);
      await file.close();
      assert.is(await out.size('a.bin'), 11);
      const again = await out.file('a.bin', 6);
      assert.is(again.size, 6);
      assert.is(await out.size('a.bin'), 6);
      await again.write(bytes('there'));
      await again.close();
      assert.equal(new Uint8Array((await out.readBytes('a.bin'))!), bytes('hello there'));
      await rejects('E_FILE_WRITE', () => out.file('a.bin', 12));
      await rejects('E_FILE_WRITE', () => out.file('none.bin', 1));
      await (await out.file('a.bin', 0)).close();
      assert.is(await out.size('a.bin'), 0);
      await out.remove('a.bin');
      await out.remove('a.bin');
      assert.is(await out.size('a.bin'), null);
      assert.is(await out.readBytes('a.bin'), null);
    },
  ],
  [
    'an array may be changed when it is written',
    async (out) => {
      const file = await out.file('a.bin', 0);
      const array = new Uint8Array(3).fill(1);
      await file.write(array);
      await out.writeBytes('b.bin', array);
      array.fill(2);
      await file.write(array);
      array.fill(3);
      await file.close();
      assert.equal([...(await out.readBytes('a.bin'))!], [1, 1, 1, 2, 2, 2]);
      assert.equal([...(await out.readBytes('b.bin'))!], [1, 1, 1]);
    },
  ],
  [
    'what is written so far can be opened, the journal left out',
    async (out) => {
      await out.writeBytes('config.json', bytes('{}'));
      await out.writeBytes('config.json', bytes('{"a":1}'));
      await out.writeBytes(JOURNAL, bytes('x'));
      const files = await out.files();
      assert.equal(files.names, ['config.json']);
      const source = await files.open('config.json');
      assert.equal(await readWhole(source, 100), bytes('{"a":1}'));
      await source.close();
      await rejects('E_FILE_NOT_FOUND', () => files.open('other'));
    },
  ],
  [
    'a file may lie in a folder of it',
    async (out) => {
      await out.writeBytes('one/config.json', bytes('{}'));
      await out.writeBytes('two/config.json', bytes('{"a":1}'));
      await out.writeBytes('config.json', bytes('{"b":1}'));
      const file = await out.file('one/a.bin', 0);
      await file.write(bytes('abc'));
      await file.sync();
      await file.close();
      assert.is(await out.size('one/a.bin'), 3);
      assert.is(await out.size('two/a.bin'), null);
      assert.is(new TextDecoder().decode((await out.readBytes('two/config.json'))!), '{"a":1}');
      await out.remove('one/config.json');
      assert.is(await out.size('one/config.json'), null);
      assert.equal((await out.files()).names, ['config.json']);
    },
  ],
  [
    'no name leads elsewhere',
    async (out) => {
      for (const name of ['../a', '..', '.', 'a/b/c', 'a/..', './a', '/a', 'a/', '', 'c:\\d', 'a/c:d']) {
        await out.writeBytes(name, bytes('x')).then(
          () => assert.unreachable(name),
          (error) => {
            assert.is(error.code, 'E_ARGUMENT');
            assert.match(error.message, /is no name of a file/);
          },
        );
      }
    },
  ],
  ['what it wrote itself has survived', async (out) => assert.ok(out.survived(out.boot) && !out.survived('other'))],
];

for (const [name, check] of contract) {
  test(`memory: ${name}`, () => check(memoryOutput('model')));
  test(`folder: ${name}`, async () => {
    const out = await folderOutput(await place());
    await check(out);
    await out.discard();
  });
}

test('memory: the result is there after the commit, without the journal', async () => {
  const out = memoryOutput('model');
  await out.writeBytes('a', bytes('abc'));
  await out.writeBytes(JOURNAL, bytes('x'));
  assert.throws(() => out.result(), code('E_ARGUMENT'));
  assert.throws(() => memoryOutput(5 as never), code('E_ARGUMENT'));
  await out.commit();
  assert.equal(Object.keys(out.result()), ['a']);
  assert.is(await out.result()['a']!.text(), 'abc');
});

test('folders of it are there after the commit, and no link is taken for one', async () => {
  const path = await place();
  const first = await folderOutput(path);
  await first.writeBytes('one/a', bytes('abc'));
  await first.release();
  await writeFile(`${path}.partial/one/.a.espalier-tmp`, 'half'); // a writer was killed
  const out = await folderOutput(path);
  assert.equal(await readdir(`${path}.partial/one`), ['a']);
  await out.writeBytes('two/b', bytes('de'));
  await symlink(root, `${path}.partial/three`);
  await rejects('E_FILE_WRITE', () => out.writeBytes('three/c', bytes('x')));
  await rm(`${path}.partial/three`);
  await out.commit();
  assert.equal((await readdir(path, { recursive: true })).sort(), ['one', 'one/a', 'two', 'two/b']);
  assert.is(await readFile(join(path, 'two/b'), 'utf8'), 'de');
  // what somebody else has changed there is seen
  const other = await folderOutput(await place());
  await other.writeBytes('one/a', bytes('abc'));
  // of another size: Deno tells times in milliseconds
  await writeFile(`${other.name}.partial/one/a`, 'wxyz');
  await rejects('E_FILE_WRITE', () => other.commit());
  await other.discard();
});

test('nothing is under the final name before the commit, and only the result after it', async () => {
  const path = await place();
  const out = await folderOutput(path);
  assert.is(out.name, path);
  const file = await out.file('a.bin', 0);
  await file.write(bytes('abc'));
  await out.writeBytes('config.json', bytes('{}'));
  await out.writeBytes(JOURNAL, bytes('x'));
  assert.equal(await beside(path), ['model.partial', 'model.partial.lock']);
  await out.commit(); // a.bin is still open
  assert.equal(await beside(path), ['model']);
  assert.equal((await readdir(path)).sort(), ['a.bin', 'config.json']);
  assert.is(await readFile(join(path, 'a.bin'), 'utf8'), 'abc');
  await rejects('E_DISPOSED', () => out.writeBytes('a.bin', bytes('x')));
  await rejects('E_DISPOSED', () => out.commit());
  await out.release();
  await out.discard();
  assert.equal((await readdir(path)).sort(), ['a.bin', 'config.json']);
});

test('released, it waits for a later run; discarded, nothing is left', async () => {
  const path = await place();
  const first = await folderOutput(path);
  await (await first.file('a.bin', 0)).write(bytes('abc'));
  await first.release();
  assert.equal(await beside(path), ['model.partial']);
  // what a killed process leaves of a small file
  await writeFile(join(`${path}.partial`, '.config.json.espalier-tmp'), 'half');
  const second = await folderOutput(pathToFileURL(path));
  assert.equal((await second.files()).names, ['a.bin']);
  await second.discard();
  assert.equal(await beside(path), []);
  // of a run that wrote nothing neither
  await (await folderOutput(path)).release();
  assert.equal(await beside(path), []);
});

test('folders above it are made', async () => {
  const path = join(await place(), 'deep', 'down');
  const out = await folderOutput(path);
  await out.writeBytes('a', bytes('abc'));
  await out.commit();
  assert.equal(await readdir(path), ['a']);
});

test('an empty folder is taken, also where a link leads', async () => {
  const path = await place();
  await mkdir(path);
  await symlink('model', `${path}-link`);
  for (const [target, name] of [
    [`${path}-link`, 'a'],
    [`${path}`, 'b'],
  ] as const) {
    const out = await folderOutput(target);
    assert.is(out.name, path);
    assert.equal(await beside(path), ['model', 'model-link', 'model.partial', 'model.partial.lock']);
    await out.writeBytes(name, bytes('abc'));
    await out.commit();
    assert.equal(await beside(path), ['model', 'model-link']);
    assert.equal(await readdir(path), [name]);
    await rm(join(path, name));
  }
});

test('what exists is not touched', async () => {
  const path = await place();
  await mkdir(path);
  await writeFile(join(path, 'mine'), 'x');
  await writeFile(`${path}-file`, 'x');
  await symlink('nowhere', `${path}-link`);
  for (const [target, why] of [
    [path, /exists and is not empty/],
    [`${path}-file`, /exists and is no folder/],
    [`${path}-link`, /is a link that leads nowhere/],
    ['/', /exists and is not empty/],
  ] as const) {
    assert.match((await rejects('E_ARGUMENT', () => folderOutput(target))).message, why);
  }
  assert.equal(await beside(path), ['model', 'model-file', 'model-link']);
  assert.equal(await readdir(path), ['mine']);
});

test('what somebody puts there meanwhile is not touched either, and no work is lost', async () => {
  const path = await place();
  const out = await folderOutput(path);
  await out.writeBytes(JOURNAL, bytes('x'));
  await mkdir(path);
  await writeFile(join(path, 'mine'), 'x');
  await rejects('E_FILE_WRITE', () => out.commit());
  assert.equal(await readdir(path), ['mine']);
  assert.equal(await readdir(`${path}.partial`), [JOURNAL]);
  await rm(path, { recursive: true });
  await out.commit();
  assert.equal(await readdir(path), []);
});

test('what was written and is gone, cut, or another is no result', async () => {
  const harms: [RegExp, (path: string) => Promise<void>][] = [
    [/removed/, (path) => rm(path)],
    [/changed/, (path) => truncate(path, 2)],
    [/changed/, (path) => appendFile(path, 'x')],
    [/changed/, (path) => rm(path).then(() => writeFile(path, 'abc'))],
    [/changed/, (path) => rm(path).then(() => symlink('/dev/null', path))],
    [/changed/, (path) => rm(path).then(() => mkdir(path))],
  ];
  for (const victim of ['a.bin', 'kept.bin', 'config.json']) {
    for (const [message, harm] of harms) {
      const path = await place();
      const earlier = await folderOutput(path);
      await (await earlier.file('kept.bin', 0)).write(bytes('abc'));
      await earlier.writeBytes(JOURNAL, bytes('x'));
      await earlier.release();
      const out = await folderOutput(path);
      await (await out.file('kept.bin', 3)).close();
      const file = await out.file('a.bin', 0);
      await file.write(bytes('abc'));
      await file.close();
      await out.writeBytes('config.json', bytes('abc'));
      await nextTime(path);
      await harm(join(`${path}.partial`, victim));
      const error = await rejects('E_FILE_WRITE', () => out.commit());
      assert.match(error.message, message);
      await out.release();
      assert.equal(await beside(path), ['model.partial'], 'nothing has the final name');
      assert.ok((await readdir(`${path}.partial`)).includes(JOURNAL), 'it can be gone on with');
      await rm(`${path}.partial`, { recursive: true });
    }
  }
});

test('nothing but files is opened: pipes would wait for ever, links lead elsewhere', async () => {
  if (process.platform === 'win32') return;
  const mkfifo = (path: string) => void execFileSync('mkfifo', [path]);
  const path = await place();
  const secret = join(dirname(path), 'secret');
  await writeFile(secret, 'mine');
  const puts: [RegExp, (path: string) => unknown][] = [
    [/a named pipe/, mkfifo],
    [/a link/, (at) => symlink(secret, at)],
    [/other names/, (at) => link(secret, at)],
    [/a folder/, (at) => mkdir(at)],
  ];
  const out = await folderOutput(path);
  for (const [message, put] of puts) {
    const at = join(`${path}.partial`, 'a.bin');
    await put(at);
    for (const keep of [0, 2]) {
      assert.match((await rejects('E_FILE_WRITE', () => out.file('a.bin', keep))).message, message);
    }
    if (!/names/.test(message.source)) {
      assert.match((await rejects('E_FILE_WRITE', () => out.size('a.bin'))).message, message);
      assert.match((await rejects('E_FILE_READ', () => out.readBytes('a.bin'))).message, message);
    }
    await rm(at, { recursive: true });
  }
  await symlink(secret, join(`${path}.partial`, '.a.bin.espalier-tmp'));
  await out.writeBytes('a.bin', bytes('x'));
  await out.discard();
  for (const put of [mkfifo, (at: string) => symlink(dirname(path), at)]) {
    await put(`${path}.partial`);
    await rejects('E_FILE_WRITE', () => folderOutput(path));
    await rm(`${path}.partial`);
    await put(`${path}.partial.lock`);
    await rejects('E_FILE_READ', () => folderOutput(path));
    await rm(`${path}.partial.lock`);
    await put(path);
    if (put === mkfifo) await rejects('E_ARGUMENT', () => folderOutput(path));
    await rm(path);
  }
  assert.is(await readFile(secret, 'utf8'), 'mine');
});

test('free space is known', async () => {
  const out = await folderOutput(await place());
  const free = await out.free();
  assert.ok(free !== null && free > 0);
  await out.release();
});

test('where a file is in the way, a stable error', async () => {
  const path = await place();
  await writeFile(path, 'x');
  await rejects('E_FILE_WRITE', () => folderOutput(join(path, 'model')));
  await rm(path);
  await writeFile(`${path}.partial`, 'x');
  await rejects('E_FILE_WRITE', () => folderOutput(path));
  assert.equal(await beside(path), ['model.partial']);
});

test('a folder that may not be written, or not looked into', async () => {
  const path = await place();
  // root may do everything, so somebody else tries
  const isRoot = process.getuid?.() === 0;
  if (isRoot && Deno) {
    console.log('  skipped: Deno cannot become another user');
    return;
  }
  await chmod(root, 0o755);
  for (const mode of [0o555, 0o000]) {
    await chmod(dirname(path), mode);
    if (isRoot) process.seteuid!(65534);
    try {
      await rejects('E_FILE_WRITE', () => folderOutput(path));
    } finally {
      if (isRoot) process.seteuid!(0);
      await chmod(dirname(path), 0o755);
    }
    assert.equal(await beside(path), []);
  }
});

test.after(() => rm(root, { recursive: true, force: true }));
test.run();
