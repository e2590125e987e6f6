/** What llama.cpp reads or assumes for single families, beyond what all have. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { tokenizerFromGguf } from '../../src/checkpoint/gguf/tokenizer.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { ModelConfig } from '../../src/checkpoint/types.ts';
import { Tokenizer } from '../../src/model/text/tokenizer.ts';
import { rejects } from '../errors.ts';
import { f32, type GgufSpec, gguf, text, tinyGgufSpec, u32, type Value } from './build.ts';

/** Layers like the first, with vectors beside. */
function layered(architecture: string, layers: number, vectors: Readonly<Record<string, number>> = {}): GgufSpec {
  const spec = tinyGgufSpec(architecture);
  const inner = spec.tensors.filter(({ name }) => name.startsWith('blk.0.'));
  for (const [name, length] of Object.entries(vectors)) {
    inner.push({ name: `blk.0.${name}`, dimensions: [length], type: 0, offset: 0, bytes: 4 * length });
  }
  const all = spec.tensors.filter(({ name }) => !name.startsWith('blk.'));
  for (let i = 0; i < layers; i++) all.push(...inner.map((t) => ({ ...t, name: t.name.replace('.0.', `.${i}.`) })));
  let offset = 0;
  spec.tensors = all.map((tensor) => {
    const placed = { ...tensor, offset };
    offset += Math.ceil(tensor.bytes / 32) * 32;
    return placed;
  });
  spec.keys = spec.keys.filter(([key]) => key !== `${architecture}.block_count`);
  spec.keys.push([`${architecture}.block_count`, u32(layers)]);
  return spec;
}

const NORMS = {
  'attn_q_norm.weight': 16,
  'attn_k_norm.weight': 16,
  'post_attention_norm.weight': 32,
  'post_ffw_norm.weight': 32,
};

type Keys = readonly (readonly [string, Value])[];

async function read(architecture: string, layers: number, keys: Keys): Promise<ModelConfig> {
  const spec = layered(architecture, layers, architecture === 'gemma3' ? NORMS : {});
  spec.keys.push(...keys.map(([key, value]): [string, Value] => [`${architecture}.${key}`, value]));
  const checkpoint = await openCheckpoint(gguf(spec));
  assert.equal(checkpoint.ignoredKeys, []);
  assert.equal(checkpoint.unusedTensors, []);
  return checkpoint.config;
}

test('gemma3: windows in all but every sixth layer, with a RoPE of their own', async () => {
  const window = ['attention.sliding_window', u32(16)] as const;
  const gemma = (layers: number, ...keys: Keys) => read('gemma3', layers, [window, ...keys]);
  const scaled = [['rope.scaling.type', text('linear')] as const, ['rope.scaling.factor', f32(8)] as const];
  const config = await gemma(12, ...scaled);
  assert.is(config.architecture, 'gemma3_text');
  assert.is(config.slidingWindow, 16);
  assert.equal(config.windowLayers, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]);
  assert.equal(config.localRopeLayers, config.windowLayers);
  assert.equal(config.rope.scaling, { type: 'linear', factor: 8 });
  assert.equal([config.localRope!.theta, config.localRope!.scaling.type], [10_000, 'none']);
  assert.equal([config.activation, config.postNorms, config.normOffset, config.qkNorm], ['gelu-tanh', true, 0, true]);
  assert.equal([config.embeddingScale, config.attentionScale], [Math.fround(Math.sqrt(32)), null]);

  const other = await gemma(7, ['attention.sliding_window_pattern', u32(3)], ['rope.freq_base_swa', f32(500)]);
  assert.equal(other.windowLayers, [0, 1, 3, 4, 6]);
  assert.is(other.localRope!.theta, 500);
  assert.equal((await gemma(3, ['attention.sliding_window_pattern', u32(0)])).windowLayers, [0, 1, 2]);
  const list: Value = (to) => to.u32(9).u32(7).u64(4).u8(0).u8(1).u8(1).u8(0);
  assert.equal((await gemma(4, ['attention.sliding_window_pattern', list])).windowLayers, [1, 2]);
  await rejects('E_CONFIG_INVALID', () => gemma(5, ['attention.sliding_window_pattern', list]));
  // without a layer that has a window there is no second RoPE
  const full = await gemma(3, ['attention.sliding_window_pattern', u32(1)]);
  assert.equal([full.slidingWindow, full.windowLayers, full.localRope], [null, [], null]);
  assert.equal((await read('gemma3', 2, [])).localRope, null);
  // the model of 27 billion is told by its layers: hidden size over heads, 16
  assert.is((await gemma(62)).attentionScale, 0.25);
});

test('gemma3: what llama.cpp would compute otherwise is refused', async () => {
  const refused = (...keys: Keys) => rejects('E_ARCHITECTURE_UNSUPPORTED', () => read('gemma3', 1, keys));
  await refused(['final_logit_softcapping', f32(30)]);
  await refused(['attn_logit_softcapping', f32(50)]);
  await refused(['rope.scaling.type', text('yarn')], ['rope.scaling.factor', f32(4)]);
  assert.is((await read('gemma3', 1, [['final_logit_softcapping', f32(0)]])).logitScale, 1);
  const window = ['attention.sliding_window', u32(16)] as const;
  for (const key of ['rope.dimension_count_swa', 'attention.key_length_swa', 'attention.value_length_swa']) {
    await refused(window, [key, u32(8)]);
    assert.is((await read('gemma3', 1, [window, [key, u32(16)]])).headDim, 16);
    assert.is((await read('gemma3', 1, [[key, u32(8)]])).headDim, 16);
  }
  for (const gone of Object.keys(NORMS)) {
    const some = Object.fromEntries(Object.entries(NORMS).filter(([name]) => name !== gone));
    await rejects('E_TENSOR_MISSING', () => openCheckpoint(gguf(layered('gemma3', 1, some))));
    // and a family that has no use for one does not pass over it
    await rejects('E_CONFIG_INVALID', () =>
      openCheckpoint(gguf(layered('qwen2', 1, { [gone]: NORMS[gone as 'post_ffw_norm.weight'] }))),
    );
  }
});

test('smollm3: every fourth layer rotates nothing', async () => {
  const config = await read('smollm3', 9, []);
  assert.equal(config.noRopeLayers, [3, 7]);
  assert.equal([config.localRope, config.slidingWindow], [null, null]);
  await rejects('E_ARCHITECTURE_UNSUPPORTED', () => read('smollm3', 4, [['attention.sliding_window', u32(8)]]));
});

test('a vocabulary cut as SmolLM3’s begins no text by itself, unless the file says so', () => {
  const vocabulary = (addBos?: boolean) => {
    const tokens = ['a', 'b', '<s>'];
    const keys: Record<string, unknown> = { model: 'gpt2', pre: 'smaug-bpe', tokens, merges: [], bos_token_id: 2 };
    keys['token_type'] = [1, 1, 3];
    if (addBos !== undefined) keys['add_bos_token'] = addBos;
    const metadata = new Map(Object.entries(keys).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
    return Tokenizer.create(tokenizerFromGguf(metadata));
  };
  assert.equal([...vocabulary().encode('ab')], [0, 1]);
  assert.equal([...vocabulary(true).encode('ab')], [2, 0, 1]);
});

test.run();
