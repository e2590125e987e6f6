import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isGguf, readGguf } from '../../src/checkpoint/gguf/gguf.ts';
import { openCheckpoint, openCheckpointFiles } from '../../src/checkpoint/open.ts';
import { dequantise } from '../../src/checkpoint/quantised/dequantise.ts';
import { requiredTensors } from '../../src/checkpoint/required.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { bytesSource } from '../../src/runtime/files/model-files.ts';
import { rejects } from '../errors.ts';
import { exists, hasFileSystem, list, modelTarget, readBytes } from '../files.ts';
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

const NANO = 'models/nano-base';
const shared = '../shared/models/';

function describe(checkpoint: Checkpoint): string {
  const { architecture: a, nLayers, hiddenSize, vocabSize } = checkpoint.config;
  return `${a}, ${nLayers} layers of ${hiddenSize}, ${vocabSize} tokens, ${checkpoint.tensors.size} tensors`;
}

test('the embedded model, by folder, by file, by URL and from memory', async () => {
  const names = await list(NANO);
  const record = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readBytes(`${NANO}/${name}`)] as const)),
  );
  const blobs = Object.fromEntries(names.map((name) => [name, new Blob([record[name]!])]));
  const folder = await modelTarget(NANO);
  const url = new URL(`../../${NANO}/`, import.meta.url);
  const targets = [record, blobs, folder, ...(hasFileSystem ? [`${folder}/model.safetensors`, url, url.href] : [])];
  for (const target of targets) {
    const checkpoint = await openCheckpoint(target);
    assert.is(checkpoint.format, 'safetensors');
    assert.is(checkpoint.tensors.size, 74);
    assert.is(checkpoint.byteLength, record['model.safetensors']!.length);
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
  console.log(`  nano-base opened ${targets.length} ways`);
});

for (const name of ['nano-base', 'nano-tofu-full', 'nano-tofu-retain90', 'stories260K', 'babyllama-tok361-1M']) {
  test(`the real ${name}`, async () => {
    if (!(await exists(shared + name))) return console.log(`  skipped: shared/models/${name} is not there`);
    const checkpoint = await openCheckpoint(await modelTarget(shared + name));
    const { tokenizerJson } = await checkpoint.tokenizer();
    assert.ok('model' in tokenizerJson);
    console.log(`  ${name}: ${describe(checkpoint)}`);
    await checkpoint.close();
  });
}

test('the real SmolLM2, GGUF', async () => {
  const path = `${shared}smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;
  if (!(await exists(path))) return console.log('  skipped: shared/models/smollm2-135m-instruct is not there');
  const target = await modelTarget(path);
  const start = performance.now();
  const checkpoint = await openCheckpoint(target);
  console.log(`  ${describe(checkpoint)}, opened in ${(performance.now() - start).toFixed(0)} ms`);
  const { config, tensors } = checkpoint;
  assert.is(checkpoint.format, 'gguf');
  assert.is(tensors.size, 272);
  assert.is(config.vocabSize, 49152);
  assert.is(config.rope.theta, 100000);
  assert.is(config.tiedEmbeddings, true);
  assert.equal(config.eosIds, [2, 0, 4]); // <|im_end|>; <|endoftext|> and <reponame> by their texts
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
  const { config, unusedTensors } = await openCheckpoint(file);
  assert.equal([...config.rope.frequencyDivisors!], [1, 1, 1, 2, 4, 8, 8, 8]);
  assert.equal(unusedTensors, []);
  // a divisor of zero would make an angle infinite
  file.fill(0, file.length - 4);
  await rejects('E_CONFIG_INVALID', () => openCheckpoint(file));
});

test('keys of GGUF that the architecture makes no use of are named, and those that would change the answer refused', async () => {
  const open = async (...keys: [string, Value][]) => {
    const spec = tinyGgufSpec();
    spec.keys.push(...keys.map(([key, value]): [string, Value] => [`llama.${key}`, value]));
    return (await openCheckpoint(gguf(spec))).ignoredKeys;
  };
  const yes: Value = (to) => to.u32(7).u8(1);
  const no: Value = (to) => to.u32(7).u8(0);
  assert.equal(await open(), []);
  assert.equal(await open(['vocab_size', u32(8)], ['rope.scaling.finetuned', yes], ['attention.causal', yes]), []);
  assert.equal(await open(['logit_scale', f32(3)], ['attention.clamp_kqv', f32(8)]), [
    'llama.logit_scale',
    'llama.attention.clamp_kqv',
  ]);
  assert.equal(await open(['rope.scaling.attn_factor', f32(1)]), []);
  const unsupported = 'E_ARCHITECTURE_UNSUPPORTED';
  await rejects(unsupported, () => open(['attention.causal', no]));
  // llama.cpp multiplies by it without YaRN too
  await rejects(unsupported, () => open(['rope.scaling.attn_factor', f32(2)]));
  await rejects(unsupported, () => open(['rope.scaling.type', text('linear')], ['rope.scaling.attn_factor', f32(2)]));
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
  await rejects('E_TOKENIZER_INVALID', () => broken.tokenizer());
  const { 'tokenizer.json': _, ...without } = base;
  const bare = await openCheckpoint(without);
  await rejects('E_FILE_NOT_FOUND', () => bare.tokenizer());
});

test('what is not there, and what is no model', async () => {
  const fails = (code: string, target: unknown, options = {}) =>
    rejects(code, () => openCheckpoint(target as string, options));
  await fails('E_ARGUMENT', 'https://example.org/model');
  await fails('E_ARGUMENT', 7);
  await fails('E_ARGUMENT', { 'config.json': 'text' });
  await fails('E_FILE_NOT_FOUND', {});
  await fails('E_FILE_NOT_FOUND', { 'config.json': json(tinyConfig) });
  await fails('E_FILE_NOT_FOUND', { 'model.safetensors': tinySafetensors(), 'x.json': json({}) });
  await fails('E_CHECKPOINT_FORMAT', tinySafetensors());
  await fails('E_ABORTED', await modelTarget(NANO), { signal: AbortSignal.abort() });
  // a path needs a file system
  if (!hasFileSystem) await fails('E_ARGUMENT', `./${NANO}`);
  assert.is(await isGguf(bytesSource('x', new Uint8Array(3))), false);
});

test.run();
