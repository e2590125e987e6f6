/** What is often taken for a model: each says what it is and what to do. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { ModelTarget } from '../../src/runtime/files/model-files.ts';
import { rejects } from '../errors.ts';
import { f32, gguf, json, text, tinyConfig, tinyGgufSpec, tinySafetensors, u32, type Value } from './build.ts';

const bytes = (value: string): Uint8Array => Uint8Array.from(value, (char) => char.charCodeAt(0));
const LFS = bytes(
  'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n',
);
const config = { 'config.json': json(tinyConfig) };

const FILES: readonly (readonly [what: string, content: Uint8Array, message: RegExp, hint: RegExp])[] = [
  ['a pointer of Git LFS', LFS, /Git LFS pointer/, /git lfs pull/],
  ['a page', bytes('<!DOCTYPE html><html><head><title>404</title></head></html>'), /web page/, /Download/],
  ['a page with spaces before', bytes('\n  <html lang="en"><body>Sign in</body></html>'), /web page/, /Download/],
  ['XML', bytes('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'), /web page/, /Download/],
  ['an error of the hub', bytes('Entry not found'), /error that a server sent/, /access/],
  ['a ZIP archive', bytes('PK\x03\x04\x00\x00\x08\x08archive/data.pkl'), /ZIP/, /save_pretrained/],
  ['a pickle', bytes('\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P'), /pickle/, /save_pretrained/],
  ['gzip', bytes('\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03'), /gzip/, /gunzip/],
  ['zstd', bytes('\x28\xb5\x2f\xfd\x04\x00\x00\x00'), /zstd/, /unzstd/],
  ['xz', bytes('\xfd7zXZ\x00\x00\x04'), /xz/, /unxz/],
  ['7z', bytes('7z\xbc\xaf\x27\x1c\x00\x04'), /7z/, /Unpack/],
  ['tar', bytes(`model/${'\0'.repeat(251)}ustar\x0000`), /tar archive/, /tar -xf/],
  ['HDF5', bytes('\x89HDF\r\n\x1a\n'), /HDF5/, /save_pretrained/],
  ['GGML', bytes('lmgg\x01\x00\x00\x00\x00\x00'), /GGML/, /llama\.cpp/],
  ['GGJT', bytes('tjgg\x03\x00\x00\x00\x00\x00'), /GGML/, /llama\.cpp/],
  ['ONNX', bytes('\x08\x08\x12\x07pytorch\x1a\x052.1.0'), /ONNX/, /GGUF/],
];

test('files under the name of weights', async () => {
  for (const [what, content, message, hint] of FILES) {
    const targets: ModelTarget[] = [{ ...config, 'model.safetensors': content }, content, { 'model.gguf': content }];
    for (const target of targets) {
      const error = await rejects('E_CHECKPOINT_FORMAT', () => openCheckpoint(target));
      assert.match(error.message, message, what);
      assert.match(error.hint, hint, what);
    }
  }
});

test('files under the name of a JSON file', async () => {
  for (const [, content, message, hint] of FILES.filter(([what]) => !/GG|ONNX|HDF/.test(what))) {
    const error = await rejects('E_CONFIG_INVALID', () =>
      openCheckpoint({ 'config.json': content, 'model.safetensors': tinySafetensors() }),
    );
    assert.match(error.message, message);
    assert.match(error.hint, hint);
    const index = { ...config, 'model.safetensors.index.json': content };
    assert.match((await rejects('E_CHECKPOINT_HEADER', () => openCheckpoint(index))).message, message);
    const checkpoint = await openCheckpoint({
      ...config,
      'model.safetensors': tinySafetensors(),
      'tokenizer.json': content,
    });
    assert.match((await rejects('E_TOKENIZER_INVALID', () => checkpoint.tokenizer())).message, message);
  }
  const empty = { 'config.json': bytes(''), 'model.safetensors': tinySafetensors() };
  assert.match((await rejects('E_CONFIG_INVALID', () => openCheckpoint(empty))).message, /empty/);
});

test('folders of other kinds', async () => {
  const nothing = bytes('x');
  const adapter = json({ peft_type: 'LORA', base_model_name_or_path: 'owner/base' });
  for (const [names, message, hint] of [
    [['config.json', 'pytorch_model.bin'], /pickle format \(pytorch_model\.bin\)/, /save_pretrained/],
    [['config.json', 'pytorch_model-00001-of-00002.bin', 'pytorch_model.bin.index.json'], /pickle/, /save_pretrained/],
    [['pytorch_model.bin', 'vocab.json'], /pickle/, /save_pretrained/],
    [['params.json', 'consolidated.00.pth', 'tokenizer.model'], /pickle/, /save_pretrained/],
    [['config.json', 'model.pt'], /pickle/, /save_pretrained/],
    [['config.json', 'tf_model.h5'], /tf_model\.h5/, /save_pretrained/],
    [['config.json', 'flax_model.msgpack'], /flax_model\.msgpack/, /save_pretrained/],
    [['config.json', 'model.onnx', 'tokenizer.json'], /ONNX/, /GGUF/],
    [['ggml-model-q4_0.bin', 'README.md'], /GGML/, /GGUF/],
    [['adapter_config.json', 'adapter_model.safetensors'], /adapter \(LoRA\) of owner\/base/, /--adapter/],
    [['config.json', 'adapter_config.json', 'adapter_model.bin'], /adapter/, /--adapter/],
    [['config.json', 'consolidated.safetensors', 'params.json'], /Mistral's own layout/, /transformers/],
    [['a-00001-of-00002.gguf', 'a-00002-of-00002.gguf'], /in 2 parts/, /llama-gguf-split --merge/],
  ] as const) {
    const content: Record<string, Uint8Array> = Object.fromEntries(names.map((name) => [name, nothing]));
    if (content['config.json']) content['config.json'] = json(tinyConfig);
    if (content['adapter_config.json']) content['adapter_config.json'] = adapter;
    const wanted = content['adapter_config.json'] ? 'E_ADAPTER' : 'E_CHECKPOINT_FORMAT';
    const error = await rejects(wanted, () => openCheckpoint(content));
    assert.match(error.message, message, names.join());
    assert.match(error.hint, hint, names.join());
  }
  assert.match((await rejects('E_FILE_NOT_FOUND', () => openCheckpoint({}))).message, /empty/);
  // an adapter beside the model that it is for is left alone
  const both = { ...config, 'model.safetensors': tinySafetensors(), 'adapter_config.json': adapter };
  await (await openCheckpoint(both)).close();
});

test('one part of a GGUF file', async () => {
  const spec = tinyGgufSpec();
  spec.keys.push(['split.count', (to) => to.u32(2).u32(2)]);
  const error = await rejects('E_CHECKPOINT_FORMAT', () => openCheckpoint({ 'm-00001-of-00002.gguf': gguf(spec) }));
  assert.match(error.message, /one of 2 parts/);
  assert.match(error.hint, /llama-gguf-split --merge/);
});

test('the alignment of GGUF, and numbers of a wrong type', async () => {
  const open = async (key: string, value: Value) => {
    const spec = tinyGgufSpec();
    spec.keys = spec.keys.filter(([name]) => name !== key);
    spec.keys.push([key, value]);
    return openCheckpoint(gguf(spec));
  };
  const bool: Value = (to) => to.u32(7).u8(1);
  await (await open('general.alignment', u32(32))).close();
  for (const value of [u32(0), u32(3), u32(48), u32(2 ** 31), u32(2 ** 32 - 1), f32(1.5), f32(32), text('32')]) {
    await rejects('E_CHECKPOINT_HEADER', () => open('general.alignment', value));
  }
  await rejects('E_CHECKPOINT_HEADER', () => open('general.alignment', bool));
  await rejects('E_CHECKPOINT_HEADER', () => open('general.alignment', (to) => to.u32(5).u32(-32)));
  await rejects('E_CHECKPOINT_HEADER', () => open('general.alignment', (to) => to.u32(9).u32(4).u64(1).u32(32)));
  const whole = ['block_count', 'context_length', 'embedding_length', 'feed_forward_length', 'attention.head_count'];
  for (const key of [...whole, 'attention.head_count_kv', 'rope.dimension_count', 'attention.sliding_window']) {
    for (const value of [f32(1), f32(1.5), text('1'), bool]) {
      await rejects('E_CONFIG_INVALID', () => open(`llama.${key}`, value));
    }
  }
  for (const key of ['bos_token_id', 'eos_token_id', 'padding_token_id']) {
    await rejects('E_CONFIG_INVALID', () => open(`tokenizer.ggml.${key}`, f32(1)));
    await rejects('E_CONFIG_INVALID', () => open(`tokenizer.ggml.${key}`, text('a')));
    for (const id of [8, 2 ** 32 - 1]) {
      const checkpoint = await open(`tokenizer.ggml.${key}`, u32(id));
      assert.match(checkpoint.notes[0]!, `${key} is ${id}, outside the vocabulary of 8; it is ignored.`);
    }
  }
});

test.run();
