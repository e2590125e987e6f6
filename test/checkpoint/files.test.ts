// hosts: node, deno — reads and writes files by their path
import { execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { folderTokenizer } from '../../src/checkpoint/safetensors/tokenizer.ts';
import { writeSmallFiles } from '../../src/checkpoint/write/small-files.ts';
import { readTask } from '../../src/datasets/files.ts';
import { openModelFiles } from '../../src/runtime/files/model-files.ts';
import { openFile } from '../../src/runtime/files/paths.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
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

test('a folder’s additional chat templates are read, and copied when the model is grown', async () => {
  const model = await mkdtemp(join(tmpdir(), 'espalier-templates-'));
  try {
    await cp(`${root}test/fixtures/tiny/llama-f16`, model, { recursive: true });
    await writeFile(join(model, 'tokenizer.json'), '{}');
    await writeFile(join(model, 'tokenizer_config.json'), '{"chat_template":"C","eos_token":"</s>"}');
    await writeFile(join(model, 'chat_template.jinja'), 'J');
    await mkdir(join(model, 'additional_chat_templates', 'deeper'), { recursive: true });
    await writeFile(join(model, 'additional_chat_templates', 'tool_use.jinja'), 'T');
    await writeFile(join(model, 'additional_chat_templates', 'notes.txt'), 'N');
    const checkpoint = await openCheckpoint(model);
    const { chatTemplate, namedTemplates } = await checkpoint.tokenizer();
    assert.equal([chatTemplate, [...namedTemplates!]], ['J', [['tool_use', 'T']]]);
    const out = memoryOutput('out');
    await writeSmallFiles(checkpoint, await openModelFiles(model), out);
    await out.commit();
    const grown = await folderTokenizer(await openModelFiles(out.result()));
    assert.equal([grown.chatTemplate, [...grown.namedTemplates!]], ['J', [['tool_use', 'T']]]);
    assert.is((grown.tokenizerConfig as { eos_token?: string }).eos_token, '</s>');
    await checkpoint.close();
    execFileSync('mkfifo', [join(model, 'additional_chat_templates', 'pipe.jinja')]);
    const piped = await openCheckpoint(model);
    await rejects('E_FILE_READ', () => piped.tokenizer());
    await piped.close();
  } finally {
    await rm(model, { recursive: true });
  }
});

test('what is no file is looked at and not opened: a pipe would never let go', async () => {
  if (process.platform === 'win32') return;
  const folder = await mkdtemp(join(tmpdir(), 'espalier-odd-'));
  const server = createServer();
  try {
    const odd = join(folder, 'odd');
    await mkdir(odd);
    const pipe = join(odd, 'pipe');
    execFileSync('mkfifo', [pipe]);
    await new Promise<void>((resolve) => server.listen(join(odd, 'socket'), resolve));
    const kinds: [RegExp, string][] = [
      [/a named pipe/, pipe],
      [/a socket/, join(odd, 'socket')],
      [/a device/, '/dev/zero'],
      [/a device/, '/dev/tty'],
      [/a folder/, odd],
    ];
    for (const [message, target] of kinds) {
      const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'chat_template.jinja'];
      for (const name of names) {
        const model = join(folder, 'model');
        await cp(`${root}test/fixtures/tiny/llama-f16`, model, { recursive: true });
        await writeFile(join(model, 'tokenizer.json'), '{}');
        await rm(join(model, name), { force: true });
        await symlink(target, join(model, name));
        const opened = openCheckpoint(model).then((checkpoint) => checkpoint.tokenizer().finally(checkpoint.close));
        assert.match((await rejects('E_FILE_READ', () => opened)).message, message);
        // under its own name, not by a link
        await rm(join(model, name));
        if (target === pipe || target === odd) {
          if (target === pipe) execFileSync('mkfifo', [join(model, name)]);
          else await mkdir(join(model, name));
          const direct = openCheckpoint(model).then((checkpoint) => checkpoint.tokenizer().finally(checkpoint.close));
          assert.match((await rejects('E_FILE_READ', () => direct)).message, message);
        }
        await rm(model, { recursive: true });
      }
      for (const name of ['x.gguf', 'x.safetensors']) {
        await symlink(target, join(folder, name));
        // a link to a folder is that folder
        const code = target === odd ? 'E_FILE_NOT_FOUND' : 'E_FILE_READ';
        await rejects(code, () => openCheckpoint(join(folder, name)));
        await rm(join(folder, name));
      }
      if (target === odd) continue;
      const data = () => readTask('jsonl', { path: target });
      assert.match((await rejects('E_FILE_READ', data)).message, message);
    }
    // files of no size that never end
    await rejects('E_CHECKPOINT_TRUNCATED', () => openCheckpoint('/proc/self/status'));
  } finally {
    server.close();
    await rm(folder, { recursive: true });
  }
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
