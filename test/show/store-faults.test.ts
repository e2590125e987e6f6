// hosts: node, deno — makes links and pipes
/** A store in a folder in which something else stands: whatever it is, entries are made again and answers stay what they are. */
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { openShotStore, ShotPool } from '../../src/show.ts';
import { tinyModel } from './models.ts';
import { temporaryStore } from './stores.ts';

const device = await WasmDevice.create();
const model = await tinyModel('llama-gqa', device);
const shots = ['abcd', 'efgh', 'ijkl', 'mnop'].map((text, i) => ({ id: `${i}`, text }));

/** What a pool over the folder loads, holds and says. */
async function run(folder: string, during?: () => void) {
  const warnings: EspalierError[] = [];
  let loaded = 0;
  const store = await openShotStore(folder);
  const pool = await ShotPool.build(model, shots, {
    store,
    storage: 'f32',
    grow: { initial: 0, step: 2 },
    onWarning: (warning) => void warnings.push(warning),
    onProgress: (progress) => {
      loaded = progress.loaded;
      during?.();
    },
  });
  await pool.prepare();
  const units = await pool.encode(shots.map(({ id }) => id));
  const values: Float32Array[] = [];
  for (const { stored } of units) {
    for (const tensor of stored.tensors) values.push((await device.read(tensor)) as Float32Array);
  }
  pool.close();
  return { loaded, values, codes: warnings.map(({ code }) => code) };
}

const alone = await temporaryStore();
const { values: want } = await run(alone.name);
const entries = readdirSync(join(alone.name, 'blobs')).map((name) => join(alone.name, 'blobs', name));

const FAULTS: readonly (readonly [string, (path: string, other: string) => void, boolean])[] = [
  ['another entry', (path, other) => exchange(path, other), true],
  ['nothing', (path) => writeFileSync(path, ''), true],
  ['half of it', (path) => truncateSync(path, statSync(path).size >> 1), true],
  ['a huge file', (path) => truncateSync(path, 2 ** 34), true],
  ['a link to another entry', (path, other) => link(path, other), true],
  ['a link to nothing', (path) => link(path, '/nowhere'), true],
  ['a link to a device', (path) => link(path, '/dev/zero'), true],
  ['a pipe', pipe, true],
  ['a folder', folder, false],
  ['a folder with a file', filledFolder, false],
];

function pipe(path: string): void {
  rmSync(path);
  execFileSync('mkfifo', [path]);
}
function folder(path: string): void {
  rmSync(path);
  mkdirSync(path);
}
function filledFolder(path: string): void {
  folder(path);
  writeFileSync(join(path, 'x'), '');
}
function exchange(a: string, b: string): void {
  renameSync(a, `${a}.x`);
  renameSync(b, a);
  renameSync(`${a}.x`, b);
}
function link(path: string, to: string): void {
  rmSync(path);
  symlinkSync(to, path);
}

for (const [what, damage, mends] of FAULTS) {
  test(`in the place of an entry: ${what}`, async () => {
    damage(entries[0]!, entries[1]!);
    const { loaded, values, codes } = await run(alone.name);
    assert.is(loaded, what === 'another entry' ? 2 : 3);
    assert.equal(values, want);
    assert.equal(codes, mends ? [] : ['E_FILE_WRITE']);
    if (!mends) rmSync(entries[0]!, { recursive: true });
    await run(alone.name);
    assert.is((await run(alone.name)).loaded, 4, 'and is mended');
  });
}

test('a folder that cannot be made, and one that goes away', async () => {
  const file = join(alone.name, 'a-file');
  writeFileSync(file, '');
  const nowhere = await run(join(file, 'store'));
  assert.equal([nowhere.values, nowhere.codes], [want, ['E_FILE_WRITE']]);
  const gone = await temporaryStore();
  const lost = await run(gone.name, () => rmSync(gone.name, { recursive: true, force: true }));
  assert.equal(lost.values, want);
  await gone.remove();
});

test('several pools over one store, at once', async () => {
  const shared = await temporaryStore();
  for (const { values, codes } of await Promise.all([1, 2, 3].map(() => run(shared.name)))) {
    assert.equal([values, codes], [want, []]);
  }
  assert.is((await run(shared.name)).loaded, 4);
  assert.is(readdirSync(join(shared.name, 'blobs')).length, 4, 'nothing is left over');
  await shared.remove();
});

test.after(async () => {
  await alone.remove();
  model.close();
});
test.run();
