// hosts: node, deno — folders of the file system
/** Growing from a source that is not what it was, and into a folder that somebody else changes. */
import { closeSync, openSync, statSync, writeSync } from 'node:fs';
import {
  cp,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { type GrowOptions, grow } from '../../src/grow.ts';
import { openPath } from '../../src/runtime/files/paths.ts';
import { sums } from '../checkpoint/jobs.ts';
import { rejects } from '../errors.ts';

const root = await realpath(await mkdtemp(join(tmpdir(), 'espalier-source-')));
const tiny = fileURLToPath(new URL('../fixtures/tiny/llama-gqa', import.meta.url));
const WEIGHTS = 'model.safetensors';
let count = 0;

const options: Omit<GrowOptions, 'out'> = { target: 'espalier', experts: 4, topK: 2, lanes: 1, verify: false };

/** A copy of the source by its own name, and a place to grow to. */
async function given(): Promise<{ path: string; weights: string; out: string }> {
  const folder = join(root, String(++count));
  const path = join(folder, 'llama-gqa');
  await cp(tiny, path, { recursive: true });
  return { path, weights: join(path, WEIGHTS), out: join(folder, 'out') };
}
const result = (out: string): Promise<Record<string, string>> => sums({ files: () => openPath(out) });

/** Ends when its first layer is written and the second is on its way. */
async function half(path: string, out: string, meanwhile?: () => Promise<void>): Promise<void> {
  const fault = new Error('enough');
  const onProgress: GrowOptions['onProgress'] = ({ done, total }) => {
    if (done / total > 0.6) throw fault;
  };
  assert.is(await grow(path, { ...options, out, onProgress }).catch((error) => error), fault);
  await meanwhile?.();
}

const reference = await given();
await grow(reference.path, { ...options, out: reference.out });
const wanted = await result(reference.out);

/** A place in the file where a bit of the first layer's gate can be turned; no sample of four kilobytes would show it. */
async function placeOf(path: string, tensor: string): Promise<number> {
  const checkpoint = await openCheckpoint(path);
  const { offset, byteLength } = checkpoint.tensors.get(tensor)!;
  await checkpoint.close();
  return offset + 2 * Math.floor(byteLength / 7);
}

test('a source that was exchanged between two runs is not gone on with', async () => {
  for (const tensor of ['model.embed_tokens.weight', 'model.layers.0.mlp.down_proj.weight']) {
    for (const how of ['renamed', 'in place', 'with its times'] as const) {
      const { path, weights, out } = await given();
      await half(path, out);
      const before = await readdir(`${out}.partial`);
      assert.ok(before.length > 0);
      const bytes = await readFile(weights);
      bytes[await placeOf(path, tensor)]! ^= 1;
      const { atime, mtime } = await stat(weights);
      if (how === 'renamed') {
        await writeFile(`${weights}.new`, bytes);
        await rename(`${weights}.new`, weights);
      } else await writeFile(weights, bytes);
      if (how === 'with its times') await utimes(weights, atime, mtime);
      const error = await rejects('E_ARGUMENT', () => grow(path, { ...options, out }));
      assert.match(error.message, tensor);
      assert.equal(await readdir(`${out}.partial`), before, 'nothing is lost');
      await grow(path, { ...options, out, restart: true });
      assert.is.not((await result(out))[WEIGHTS], wanted[WEIGHTS]);
    }
  }
});

test('the same source elsewhere is the same', async () => {
  const { path, out } = await given();
  await half(path, out);
  const other = await given();
  await grow(other.path, { ...options, out });
  assert.equal(await result(out), wanted);
});

test('a source that changes while it is read', async () => {
  const { path, weights, out } = await given();
  const onProgress: GrowOptions['onProgress'] = ({ done, total }) => {
    if (done / total < 0.3) return;
    const file = openSync(weights, 'r+');
    writeSync(file, new Uint8Array(8), 0, 8, statSync(weights).size - 8);
    closeSync(file);
  };
  await rejects('E_FILE_READ', () => grow(path, { ...options, out, onProgress }));
});

test('weights that are removed, cut or replaced while the rest is written', async () => {
  for (const harm of [
    (path: string) => rm(path),
    (path: string) => truncate(path, 1000),
    (path: string) =>
      readFile(path).then((bytes) => rm(path).then(() => writeFile(path, bytes.fill(7, bytes.length - 100)))),
  ]) {
    const { path, out } = await given();
    let harmed: Promise<void> | null = null;
    const watched = { ...options, out, verify: true as const };
    const error = await grow(path, {
      ...watched,
      onProgress: ({ stage }) => {
        if (stage === 'verifying') harmed ??= harm(join(`${out}.partial`, WEIGHTS));
      },
    }).catch((cause) => cause);
    await harmed;
    assert.is(error.code, 'E_FILE_WRITE', `${error}`);
    assert.equal((await readdir(join(out, '..'))).sort(), ['llama-gqa', 'out.partial'], 'nothing has the final name');
    await grow(path, { ...options, out });
    assert.equal(await result(out), wanted);
  }
});

test('a bit that turns in what an earlier run has written is written again', async () => {
  const { path, out } = await given();
  await half(path, out, async () => {
    const file = join(`${out}.partial`, WEIGHTS);
    const bytes = await readFile(file);
    bytes[Math.floor(bytes.length / 3)]! ^= 4;
    await writeFile(file, bytes);
  });
  await grow(path, { ...options, out });
  assert.equal(await result(out), wanted);
});

test('done', () => rm(root, { recursive: true }));
test.run();
