// hosts: node, deno — reads and writes files by their path
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { openFile } from '../../src/runtime/node.ts';
import { rejects } from '../errors.ts';
import { gguf, tinyGgufSpec } from './build.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

test('a path to nothing, and to what is no model', async () => {
  for (const [code, path] of [
    ['E_FILE_NOT_FOUND', 'models/nothing'],
    ['E_FILE_NOT_FOUND', 'models'],
    ['E_CHECKPOINT_FORMAT', 'package.json'],
  ] as const) {
    await rejects(code, () => openCheckpoint(root + path));
  }
  await rejects('E_FILE_NOT_FOUND', () => openFile(`${root}nothing`));
  await rejects('E_FILE_READ', () => openFile(`${root}src`));
});

test('a file says where it ends', async () => {
  const file = await openFile(`${root}package.json`);
  await file.readInto(file.size - 2, new Uint8Array(2));
  await file.readInto(file.size, new Uint8Array(0));
  for (const [offset, length] of [
    [file.size - 2, 3],
    [file.size + 1, 0],
    [2 ** 40, 1],
  ] as const) {
    await rejects('E_CHECKPOINT_TRUNCATED', () => file.readInto(offset, new Uint8Array(length)));
  }
  await rejects('E_ARGUMENT', () => file.readInto(-1, new Uint8Array(1)));
  await file.close();
});

test('a host without files', async () => {
  const versions = Object.getOwnPropertyDescriptor(process, 'versions')!;
  Object.defineProperty(process, 'versions', { value: {}, configurable: true });
  try {
    await rejects('E_ARGUMENT', () => openCheckpoint(`${root}models/nano-base`));
  } finally {
    Object.defineProperty(process, 'versions', versions);
  }
});

test('a file that shrinks while it is open', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'espalier-'));
  try {
    const path = join(folder, 'x.gguf');
    const whole = gguf(tinyGgufSpec());
    await writeFile(path, whole);
    const checkpoint = await openCheckpoint(path);
    await truncate(path, whole.length - 64);
    const { source, offset, byteLength } = checkpoint.tensors.get('model.norm.weight')!;
    await rejects('E_CHECKPOINT_TRUNCATED', () => source.readInto(offset, new Uint8Array(byteLength)));
    await checkpoint.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.run();
