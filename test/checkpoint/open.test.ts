import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dequantise } from '../../src/checkpoint/dequantise.ts';
import { isGguf, readGguf } from '../../src/checkpoint/gguf.ts';
import { openCheckpoint, openCheckpointFiles } from '../../src/checkpoint/open.ts';
import { requiredTensors } from '../../src/checkpoint/required.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { EspalierError } from '../../src/errors.ts';
import { blobSource, bytesSource } from '../../src/runtime/files.ts';
import { openFile } from '../../src/runtime/node.ts';
import {
  countedFiles,
  dataLength,
  f32,
  gguf,
  json,
  safetensors,
  text,
  tinyConfig,
  tinyGgufSpec,
  tinyHeader,
  tinySafetensors,
  u32,
  type Value,
} from './build.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const shared = fileURLToPath(new URL('../../../shared/models/', import.meta.url));

async function codeOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (error instanceof EspalierError) return error.code;
    throw error;
  }
  return 'none';
}

function describe(checkpoint: Checkpoint): string {
  const { architecture: a, nLayers, hiddenSize, vocabSize } = checkpoint.config;
  return `${a}, ${nLayers} layers of ${hiddenSize}, ${vocabSize} tokens, ${checkpoint.tensors.size} tensors`;
}

test('the embedded model, by folder, by file, by URL and from memory', async () => {
  const folder = `${root}models/nano-base`;
  const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
  const bytes = await Promise.all(names.map((name) => readFile(`${folder}/${name}`)));
  const record = Object.fromEntries(names.map((name, i) => [name, new Uint8Array(bytes[i]!)]));
  const blobs = Object.fromEntries(names.map((name, i) => [name, new Blob([new Uint8Array(bytes[i]!)])]));
  const url = new URL('../../models/nano-base/', import.meta.url);
  for (const target of [folder, `${folder}/model.safetensors`, url, url.href, record, blobs]) {
    const checkpoint = await openCheckpoint(target);
    assert.is(checkpoint.format, 'safetensors');
    assert.is(checkpoint.tensors.size, 74);
    assert.is(checkpoint.byteLength, bytes[1]!.length);
    assert.equal(checkpoint.config.eosIds, [0]);
    assert.is(checkpoint.config.headDim, 32);
    for (const { name, optional } of requiredTensors(checkpoint.config)) {
      assert.ok(optional || checkpoint.tensors.has(name));
    }
    const norm = checkpoint.tensors.get('model.norm.weight')!;
    const stored = new Uint8Array(norm.byteLength);
    await norm.source.readInto(norm.offset, stored);
    const values = dequantise(norm.type, stored, 256);
    assert.ok(values.every((value) => value > 0 && value < 100));
    const { tokenizerJson, tokenizerConfig, chatTemplate } = await checkpoint.tokenizer();
    assert.ok('model' in tokenizerJson && 'tokenizer_class' in tokenizerConfig && chatTemplate === null);
    await checkpoint.close();
    await checkpoint.close();
  }
  console.log('  nano-base opened six ways');
});

for (const name of ['nano-base', 'nano-tofu-full', 'nano-tofu-retain90', 'stories260K', 'babyllama-tok361-1M']) {
  test(`the real ${name}`, async () => {
    if (!existsSync(shared + name)) return console.log(`  skipped: shared/models/${name} is not there`);
    const checkpoint = await openCheckpoint(shared + name);
    const { tokenizerJson } = await checkpoint.tokenizer();
    assert.ok('model' in tokenizerJson);
    console.log(`  ${name}: ${describe(checkpoint)}`);
    await checkpoint.close();
  });
}

test('the real SmolLM2, GGUF', async () => {
  const path = `${shared}smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;
  if (!existsSync(path)) return console.log('  skipped: shared/models/smollm2-135m-instruct is not there');
  const start = performance.now();
  const checkpoint = await openCheckpoint(path);
  console.log(`  ${describe(checkpoint)}, opened in ${(performance.now() - start).toFixed(0)} ms`);
  const { config, tensors } = checkpoint;
  assert.is(checkpoint.format, 'gguf');
  assert.is(tensors.size, 272);
  assert.is(config.vocabSize, 49152);
  assert.is(config.rope.theta, 100000);
  assert.is(config.tiedEmbeddings, true);
  assert.equal(config.eosIds, [2]);
  const q = tensors.get('model.layers.0.self_attn.q_proj.weight')!;
  assert.equal([q.type, q.shape, q.rowOrder, q.byteLength], ['q4_1', [576, 576], 'llama-permuted', 576 * 18 * 20]);
  const k = tensors.get('model.layers.29.self_attn.k_proj.weight')!;
  assert.equal([k.shape, k.rowOrder], [[192, 576], 'llama-permuted']);
  assert.is(tensors.get('model.layers.0.self_attn.v_proj.weight')!.rowOrder, 'plain');
  const { tokenizerJson, chatTemplate } = await checkpoint.tokenizer();
  assert.ok('model' in tokenizerJson);
  assert.ok(chatTemplate?.includes('im_start'));
  await checkpoint.close();
});

test('a sharded model, and a shard pointed at', async () => {
  const names = Object.keys(tinyHeader()).filter((name) => name !== '__metadata__');
  const inFirst = (name: string) => names.indexOf(name) < 5;
  const first = tinyHeader(inFirst);
  const second = tinyHeader((name) => !inFirst(name));
  const weight_map = Object.fromEntries(names.map((name) => [name, inFirst(name) ? 'a.safetensors' : 'b.safetensors']));
  const folder = {
    'config.json': json(tinyConfig),
    'a.safetensors': safetensors(first, dataLength(first)),
    'b.safetensors': safetensors(second, dataLength(second)),
    'model.safetensors.index.json': json({ metadata: {}, weight_map }),
  };
  const steps: string[] = [];
  const files = countedFiles(folder);
  const options = { onProgress: (done: number, total: number) => void steps.push(`${done}/${total}`) };
  const checkpoint = await openCheckpointFiles({ ...files, preferred: 'b.safetensors' }, options);
  assert.is(checkpoint.tensors.size, names.length);
  assert.equal(steps, ['1/2', '2/2']);
  assert.is(checkpoint.byteLength, folder['a.safetensors'].length + folder['b.safetensors'].length);
  await checkpoint.close();
  assert.ok(files.closed());
});

test('GGUF of all three architectures and both versions', async () => {
  for (const architecture of ['llama', 'qwen2', 'qwen3']) {
    for (const version of [2, 3]) {
      const spec = { ...tinyGgufSpec(architecture, 'bf16'), version };
      const at = () => spec.tensors.reduce((sum, { bytes }) => sum + Math.ceil(bytes / 32) * 32, 0);
      const vector = (name: string, length: number) =>
        spec.tensors.push({ name, dimensions: [length], type: 0, offset: at(), bytes: 4 * length });
      if (architecture !== 'qwen3') {
        vector('blk.0.attn_q.bias', 32);
        vector('blk.0.attn_k.bias', 16);
        vector('blk.0.attn_v.bias', 16);
      } else {
        vector('blk.0.attn_q_norm.weight', 16);
        vector('blk.0.attn_k_norm.weight', 16);
      }
      const { config, tensors } = await openCheckpoint(gguf(spec));
      assert.is(config.architecture, architecture);
      assert.equal([config.qkvBias, config.qkNorm], [architecture !== 'qwen3', architecture === 'qwen3']);
      const order = architecture === 'llama' ? 'llama-permuted' : 'plain';
      for (const name of [...tensors.keys()].filter((name) => /[qk]_proj/.test(name))) {
        assert.is(tensors.get(name)!.rowOrder, order, name);
      }
    }
  }
});

test('RoPE of GGUF: scaling, and divisors from rope_freqs', async () => {
  const open = async (...keys: [string, Value][]) => {
    const spec = tinyGgufSpec();
    spec.keys.push(...keys.map(([key, value]): [string, Value] => [`llama.rope.scaling.${key}`, value]));
    return (await openCheckpoint(gguf(spec))).config.rope;
  };
  assert.equal((await open(['type', text('linear')], ['factor', f32(4)])).scaling, { type: 'linear', factor: 4 });
  assert.equal((await open(['factor', f32(4)])).scaling, { type: 'linear', factor: 4 });
  assert.equal((await open(['type', text('none')], ['factor', f32(4)])).scaling, { type: 'none' });
  const yarn = await open(['type', text('yarn')], ['factor', f32(4)], ['original_context_length', u32(16)]);
  assert.equal(yarn.scaling, {
    type: 'yarn',
    factor: 4,
    originalMaxPositions: 16,
    betaFast: 32,
    betaSlow: 1,
    attentionFactor: undefined,
    truncate: true,
  });
  const spec = tinyGgufSpec();
  const last = spec.tensors.at(-1)!;
  spec.tensors.push({
    name: 'rope_freqs.weight',
    dimensions: [8],
    type: 0,
    offset: Number(last.offset) + 128,
    bytes: 32,
  });
  const file = gguf(spec);
  file.set(new Uint8Array(Float32Array.of(1, 1, 1, 2, 4, 8, 8, 8).buffer), file.length - 32);
  const { config } = await openCheckpoint(file);
  assert.equal([...config.rope.frequencyDivisors!], [1, 1, 1, 2, 4, 8, 8, 8]);
  // a divisor of zero would make an angle infinite
  file.fill(0, file.length - 4);
  assert.is(await codeOf(() => openCheckpoint(file)), 'E_CONFIG_INVALID');
});

test('metadata arrives in the agreed types', async () => {
  const spec = tinyGgufSpec();
  spec.keys.push(
    ['x.i32', (to) => to.u32(9).u32(5).u64(2).u32(7).u32(0xffffffff)],
    ['x.f32', (to) => to.u32(9).u32(6).u64(1).f32(0.5)],
    ['x.u64', (to) => to.u32(10).u64(2n ** 40n)],
    ['x.bool', (to) => to.u32(7).u8(1)],
    ['x.nested', (to) => to.u32(9).u32(9).u64(2).u32(8).u64(1).text('a').u32(0).u64(1).u8(9)],
  );
  const { metadata } = await readGguf(bytesSource('x', gguf(spec)));
  assert.equal(metadata.get('x.i32'), Int32Array.of(7, -1));
  assert.equal(metadata.get('x.f32'), Float32Array.of(0.5));
  assert.is(metadata.get('x.u64'), 2n ** 40n);
  assert.is(metadata.get('x.bool'), true);
  assert.equal(metadata.get('x.nested'), [['a'], Uint8Array.of(9)]);
  assert.equal((metadata.get('tokenizer.ggml.tokens') as string[]).length, 8);
});

test('chat templates, wherever they stand', async () => {
  const base = { 'config.json': json(tinyConfig), 'model.safetensors': tinySafetensors(), 'tokenizer.json': json({}) };
  const template = async (more: Record<string, Uint8Array>) => {
    const checkpoint = await openCheckpoint({ ...base, ...more });
    return (await checkpoint.tokenizer()).chatTemplate;
  };
  const config = (chat_template: unknown) => ({ 'tokenizer_config.json': json({ chat_template }) });
  const jinja = { 'chat_template.jinja': new TextEncoder().encode('J') };
  assert.is(await template({}), null);
  assert.is(await template(config('C')), 'C');
  assert.is(await template({ ...config('C'), ...jinja }), 'J');
  assert.is(await template({ 'chat_template.json': json({ chat_template: 'S' }) }), 'S');
  const list = [
    { name: 'tool_use', template: 'T' },
    { name: 'default', template: 'D' },
  ];
  assert.is(await template(config(list)), 'D');
  const broken = await openCheckpoint({ ...base, 'tokenizer.json': new TextEncoder().encode('{') });
  assert.is(await codeOf(() => broken.tokenizer()), 'E_TOKENIZER_INVALID');
  const { 'tokenizer.json': _, ...without } = base;
  const bare = await openCheckpoint(without);
  assert.is(await codeOf(() => bare.tokenizer()), 'E_FILE_NOT_FOUND');
});

test('what is not there, and what is no model', async () => {
  const code = (target: unknown, options = {}) => codeOf(() => openCheckpoint(target as string, options));
  assert.is(await code(`${root}models/nothing`), 'E_FILE_NOT_FOUND');
  assert.is(await code(`${root}models`), 'E_FILE_NOT_FOUND');
  assert.is(await code(`${root}package.json`), 'E_CHECKPOINT_FORMAT');
  assert.is(await code('https://example.org/model'), 'E_ARGUMENT');
  assert.is(await code(7), 'E_ARGUMENT');
  assert.is(await code({ 'config.json': 'text' }), 'E_ARGUMENT');
  assert.is(await code({}), 'E_FILE_NOT_FOUND');
  assert.is(await code({ 'config.json': json(tinyConfig) }), 'E_FILE_NOT_FOUND');
  assert.is(await code({ 'model.safetensors': tinySafetensors(), 'x.json': json({}) }), 'E_FILE_NOT_FOUND');
  assert.is(await code(tinySafetensors()), 'E_CHECKPOINT_FORMAT');
  assert.is(await code(`${root}models/nano-base`, { signal: AbortSignal.abort() }), 'E_ABORTED');
  assert.is(await isGguf(bytesSource('x', new Uint8Array(3))), false);
});

test('sources say where a file ends', async () => {
  const bytes = Uint8Array.of(1, 2, 3, 4, 5);
  const file = await openFile(`${root}package.json`);
  for (const source of [bytesSource('x', bytes), blobSource('x', new Blob([bytes])), file]) {
    await source.readInto(source.size - 2, new Uint8Array(2));
    await source.readInto(source.size, new Uint8Array(0));
    for (const [offset, length] of [
      [source.size - 2, 3],
      [source.size + 1, 0],
      [2 ** 40, 1],
    ] as const) {
      assert.is(await codeOf(() => source.readInto(offset, new Uint8Array(length))), 'E_CHECKPOINT_TRUNCATED');
    }
    assert.is(await codeOf(() => source.readInto(-1, new Uint8Array(1))), 'E_ARGUMENT');
    await source.close();
  }
  assert.is(await codeOf(() => openFile(`${root}nothing`)), 'E_FILE_NOT_FOUND');
});

test('a host that fails, and one without files', async () => {
  const blob = new Blob([Uint8Array.of(1, 2, 3)]);
  const failing = Object.assign(blob, {
    slice: () => ({ arrayBuffer: () => Promise.reject(new Error('the disk is gone')) }),
  });
  const source = blobSource('x', failing as unknown as Blob);
  assert.is(await codeOf(() => source.readInto(0, new Uint8Array(1))), 'E_FILE_READ');
  const shrunk = Object.assign(new Blob([Uint8Array.of(1, 2, 3)]), { slice: () => new Blob([]) });
  assert.is(await codeOf(() => blobSource('x', shrunk).readInto(0, new Uint8Array(1))), 'E_CHECKPOINT_TRUNCATED');
  assert.is(await codeOf(() => openFile(`${root}src`)), 'E_FILE_READ');

  const versions = Object.getOwnPropertyDescriptor(process, 'versions')!;
  Object.defineProperty(process, 'versions', { value: {}, configurable: true });
  try {
    assert.is(await codeOf(() => openCheckpoint(`${root}models/nano-base`)), 'E_ARGUMENT');
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
    assert.is(await codeOf(() => source.readInto(offset, new Uint8Array(byteLength))), 'E_CHECKPOINT_TRUNCATED');
    await checkpoint.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.run();
