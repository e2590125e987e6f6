/** Files whose tensors are not quite those of the configuration: other names, another output matrix, more layers, shards. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { rejects } from '../errors.ts';
import {
  dataLength,
  gguf,
  type Json,
  json,
  type StHeader,
  safetensors,
  tinyConfig,
  tinyGgufSpec,
  tinyHeader,
  tinySafetensors,
} from './build.ts';

/** The tiny header under other names, and with tensors beside. */
function header(rename: (name: string) => string, more: Readonly<Record<string, readonly number[]>> = {}): StHeader {
  const out: StHeader = {};
  for (const [name, info] of Object.entries(tinyHeader())) if (name !== '__metadata__') out[rename(name)] = info;
  let at = dataLength(tinyHeader());
  for (const [name, shape] of Object.entries(more)) {
    const bytes = shape.reduce((a, b) => a * b, 2);
    out[name] = { dtype: 'BF16', shape: [...shape], data_offsets: [at, at + bytes] };
    at += bytes;
  }
  return out;
}

const folder = (head: StHeader, changes: Json = {}) => ({
  'config.json': json({ ...tinyConfig, ...changes }),
  'model.safetensors': safetensors(head, dataLength(head)),
});
const same = (name: string) => name;
const HEAD = { 'lm_head.weight': [8, 32] };

test('the export of a base model opens, and has no output matrix unless it is tied', async () => {
  const bare = header((name) => name.replace(/^model\./, ''));
  const tied = await openCheckpoint(folder(bare));
  assert.ok(tied.tensors.has('model.layers.0.mlp.up_proj.weight'));
  assert.equal([tied.config.tiedEmbeddings, tied.config.headless], [true, false]);
  const alone = await openCheckpoint(folder(bare, { tie_word_embeddings: false }));
  assert.equal([alone.config.tiedEmbeddings, alone.config.headless], [false, true]);
  assert.match(alone.notes[0]!, 'no output matrix');
  // with its prefix it is a causal model whose file is not whole
  const error = await rejects('E_TENSOR_MISSING', () =>
    openCheckpoint(folder(header(same), { tie_word_embeddings: false })),
  );
  assert.match(error.hint, 'tie_word_embeddings');
});

test('a name twice, with and without its prefix', async () => {
  await rejects('E_CHECKPOINT_HEADER', () => openCheckpoint(folder(header(same, { 'norm.weight': [32] }))));
});

test('a tied model with an output matrix', async () => {
  const equal = await openCheckpoint(folder(header(same, HEAD))); // zeros, both
  assert.equal([equal.config.tiedEmbeddings, equal.notes], [true, []]);
  const content = folder(header(same, HEAD));
  content['model.safetensors'][content['model.safetensors'].length - 1] = 1;
  const own = await openCheckpoint(content);
  assert.is(own.config.tiedEmbeddings, false);
  assert.match(own.notes[0]!, 'differs from the embedding');
  const only = await openCheckpoint(folder(header((name) => name.replace(/.*embed_tokens/, 'lm_head'))));
  assert.is(only.tensors.get('model.embed_tokens.weight')!.offset, only.tensors.get('lm_head.weight')!.offset);
});

test('more layers than the configuration has', async () => {
  const beyond = header(same, { 'model.layers.1.input_layernorm.weight': [32] });
  const error = await rejects('E_CONFIG_INVALID', () => openCheckpoint(folder(beyond)));
  assert.match(error.message, 'layers 0 to 1');
  const spec = tinyGgufSpec();
  const last = spec.tensors.at(-1)!;
  spec.tensors.push({ ...last, name: 'blk.1.attn_norm.weight', offset: Number(last.offset) + 128 });
  assert.match((await rejects('E_CONFIG_INVALID', () => openCheckpoint(gguf(spec)))).message, 'layers 0 to 1');
});

test('tensors of no use: Hugging Face files may have some, GGUF files not', async () => {
  const more = { 'model.layers.0.self_attn.rotary_emb.inv_freq': [8], 'score.weight': [2, 32] };
  const checkpoint = await openCheckpoint(folder(header(same, more)));
  assert.equal([...checkpoint.unusedTensors].sort(), Object.keys(more).sort());
  const spec = tinyGgufSpec();
  const last = spec.tensors.at(-1)!;
  spec.tensors.push({ ...last, name: 'blk.0.post_attention_norm.weight', offset: Number(last.offset) + 128 });
  const error = await rejects('E_CONFIG_INVALID', () => openCheckpoint(gguf(spec)));
  assert.match(error.message, 'post_attention_norm');
});

test('an index that does not name all that its shards hold', async () => {
  const names = Object.keys(tinyHeader()).filter((name) => name !== '__metadata__');
  const weight_map = Object.fromEntries(names.slice(1).map((name) => [name, 'a.safetensors']));
  const checkpoint = await openCheckpoint({
    'config.json': json(tinyConfig),
    'a.safetensors': tinySafetensors(),
    // nobody adds these up
    'model.safetensors.index.json': json({ metadata: { total_size: 1 }, weight_map }),
  });
  assert.is(checkpoint.tensors.size, names.length);
});

test('shards without an index', async () => {
  const names = Object.keys(tinyHeader()).filter((name) => name !== '__metadata__');
  const part = (from: number, to: number) => {
    const head = tinyHeader((name) => names.indexOf(name) >= from && names.indexOf(name) < to);
    return safetensors(head, dataLength(head));
  };
  const config = { 'config.json': json(tinyConfig) };
  const [first, second] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const whole = await openCheckpoint({ ...config, [first]: part(0, 5), [second]: part(5, 99) });
  assert.is(whole.tensors.size, names.length);
  const missing = await rejects('E_FILE_NOT_FOUND', () => openCheckpoint({ ...config, [second]: part(5, 99) }));
  assert.match(missing.message, first);
  const twice = await rejects('E_CHECKPOINT_HEADER', () =>
    openCheckpoint({ ...config, [first]: part(0, 6), [second]: part(5, 99) }),
  );
  assert.match(twice.message, 'another shard holds too');
  // beside a single file they are left alone
  await openCheckpoint({ ...config, 'model.safetensors': tinySafetensors(), [first]: part(0, 5) });
});

test.run();
