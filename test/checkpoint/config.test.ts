import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ConfigRemarks, configFromJson } from '../../src/checkpoint/config/config.ts';
import type { ModelConfig } from '../../src/checkpoint/types.ts';
import { EspalierError } from '../../src/errors.ts';
import { type Json, json, tinyConfig } from './build.ts';

const read = (changes: Json, generation?: Json): ModelConfig =>
  configFromJson(json({ ...tinyConfig, ...changes }), generation ? json(generation) : null);

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof EspalierError) return error.code;
    throw error;
  }
  return 'none';
}

test('a plain llama', () => {
  const config = read({});
  assert.equal(config, {
    architecture: 'llama',
    vocabSize: 8,
    hiddenSize: 32,
    intermediateSize: 64,
    nLayers: 1,
    nHeads: 2,
    nKvHeads: 1,
    headDim: 16,
    rmsNormEps: 1e-5,
    maxPositions: 64,
    rope: { theta: 10000, rotaryDims: 16, layout: 'half', scaling: { type: 'none' }, frequencyDivisors: null },
    tiedEmbeddings: true,
    headless: false,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    qkNorm: false,
    postNorms: false,
    normOffset: 0,
    activation: 'silu',
    localRope: null,
    localRopeLayers: [],
    noRopeLayers: [],
    slidingWindow: null,
    windowLayers: [],
    moe: null,
    embeddingScale: 1,
    residualScale: 1,
    logitScale: 1,
    attentionScale: null,
    bosId: 0,
    eosIds: [1],
    padId: null,
  });
});

test('biases and norms by architecture', () => {
  const flags = ({ qkvBias, outputBias, mlpBias, qkNorm }: ModelConfig) => [qkvBias, outputBias, mlpBias, qkNorm];
  assert.equal(flags(read({ attention_bias: true, mlp_bias: true })), [true, true, true, false]);
  assert.equal(flags(read({ model_type: 'mistral', attention_bias: true })), [false, false, false, false]);
  assert.equal(flags(read({ model_type: 'qwen2' })), [true, false, false, false]);
  assert.equal(flags(read({ model_type: 'qwen3' })), [false, false, false, true]);
  assert.equal(flags(read({ model_type: 'qwen3', attention_bias: true })), [true, true, false, true]);
  assert.is(read({ model_type: 'qwen3' }).headDim, 128);
  assert.is(read({ model_type: undefined, architectures: ['Qwen2ForCausalLM'] }).architecture, 'qwen2');
});

test('sliding windows', () => {
  const window = (changes: Json) => {
    const { slidingWindow, windowLayers } = read(changes);
    return [slidingWindow, windowLayers];
  };
  assert.equal(window({ sliding_window: 8 }), [null, []]);
  assert.equal(window({ model_type: 'mistral', sliding_window: 8 }), [8, [0]]);
  assert.equal(window({ model_type: 'mistral', sliding_window: null }), [null, []]);
  assert.equal(window({ model_type: 'mistral' }), [4096, [0]]);
  assert.equal(window({ model_type: 'qwen2', sliding_window: 8 }), [null, []]);
  const qwen = { model_type: 'qwen2', sliding_window: 8, use_sliding_window: true, num_hidden_layers: 4 };
  assert.equal(window({ ...qwen, max_window_layers: 3 }), [8, [3]]);
  const [full, sliding] = ['full_attention', 'sliding_attention'];
  assert.equal(window({ ...qwen, layer_types: [full, full, sliding, sliding] }), [8, [2, 3]]);
  assert.equal(window({ ...qwen, layer_types: [full, full, full, full] }), [null, []]);
  assert.equal(window({ ...qwen, layer_types: [sliding, full, sliding, full] }), [8, [0, 2]]);
  assert.is(
    codeOf(() => window({ ...qwen, layer_types: ['conv', full, sliding, full] })),
    'E_ARCHITECTURE_UNSUPPORTED',
  );
});

test('gemma3 with its eyes is refused, and says which family its text alone is', () => {
  const vision = { model_type: 'gemma3', text_config: { model_type: 'gemma3_text' } };
  assert.throws(
    () => read(vision),
    (error: EspalierError) => error.code === 'E_ARCHITECTURE_UNSUPPORTED' && /gemma3_text/.test(error.hint),
  );
});

test('gemma3: YaRN’s truncate counts beside the kinds of layers, as transformers looks for it', () => {
  const yarn = { rope_type: 'yarn', factor: 2, truncate: false };
  const truncate = (changes: Json) => {
    const { rope } = read({ model_type: 'gemma3_text', ...changes });
    return rope.scaling.type === 'yarn' ? rope.scaling.truncate : null;
  };
  assert.is(truncate({ rope_scaling: yarn }), true);
  assert.is(truncate({ rope_parameters: { full_attention: yarn } }), true);
  assert.is(truncate({ rope_parameters: { full_attention: yarn, truncate: false } }), false);
  assert.is(truncate({ rope_parameters: { full_attention: yarn, truncate: null } }), false);
});

test('gemma3: a scaled RoPE of part of a head is refused wherever the part is told, as for other families', () => {
  const gemma = { model_type: 'gemma3_text', partial_rotary_factor: 0.5 };
  const scaled = { ...gemma, rope_scaling: { rope_type: 'linear', factor: 2 }, layer_types: ['full_attention'] };
  assert.is(
    codeOf(() => read(scaled)),
    'E_ARCHITECTURE_UNSUPPORTED',
  );
  assert.is(read({ ...scaled, partial_rotary_factor: 1 }).rope.scaling.type, 'linear');
  // no layer rotates by it
  assert.is(read({ ...scaled, layer_types: ['sliding_attention'] }).localRope!.scaling.type, 'none');
  // plain RoPE turns whole heads whatever it says
  const remarks: ConfigRemarks = { ignoredKeys: [], notes: [] };
  configFromJson(json({ ...tinyConfig, ...gemma }), null, remarks);
  assert.ok(remarks.ignoredKeys.includes('partial_rotary_factor'));
});

test('gemma3: what Python takes for nothing is no scaling, and a pattern beside the kinds of layers counts for nothing', () => {
  for (const rope_scaling of [null, [], '', {}]) {
    assert.is(
      read({ model_type: 'gemma3_text', rope_scaling }).rope.scaling.type,
      'none',
      JSON.stringify(rope_scaling),
    );
  }
  const named = { model_type: 'gemma3_text', layer_types: ['full_attention'], sliding_window_pattern: null };
  assert.equal(read(named).windowLayers, []);
  // an unknown kind is refused as one, whatever part of a head it turns
  const strange = { rope_parameters: { full_attention: { rope_type: 'strange', partial_rotary_factor: 0.5 } } };
  assert.throws(
    () => read({ model_type: 'gemma3_text', layer_types: ['full_attention'], ...strange }),
    (error: EspalierError) => error.code === 'E_ARCHITECTURE_UNSUPPORTED' && /scaling is strange/.test(error.message),
  );
});

test('what is used of a scaling over another is not said to be ignored', () => {
  const remarks: ConfigRemarks = { ignoredKeys: [], notes: [] };
  const gemma = {
    model_type: 'gemma3_text',
    rope_scaling: { rope_type: 'linear', factor: 8, strange: 1 },
    rope_parameters: { full_attention: { rope_theta: 500 } },
  };
  configFromJson(json({ ...tinyConfig, ...gemma }), null, remarks);
  assert.equal(
    remarks.ignoredKeys.filter((key) => key.startsWith('rope_')),
    ['rope_theta', 'rope_scaling.strange'],
  );
});

test('special tokens', () => {
  assert.equal(read({ eos_token_id: [1, 2] }, { eos_token_id: [2, 3] }).eosIds, [1, 2, 3]);
  assert.equal(read({ eos_token_id: undefined }).eosIds, [2]);
  assert.equal(read({ eos_token_id: null }).eosIds, []);
  assert.is(read({ pad_token_id: -1 }).padId, null);
  assert.is(read({ pad_token_id: 8 }).padId, null);
  assert.is(read({ bos_token_id: null }).bosId, null);
  assert.is(read({ bos_token_id: undefined }).bosId, 1);
  const remarks: ConfigRemarks = { ignoredKeys: [], notes: [] };
  const beyond = { bos_token_id: 99, eos_token_id: [1, 8], pad_token_id: -1 };
  const config = configFromJson(json({ ...tinyConfig, ...beyond }), json({ eos_token_id: 77 }), remarks);
  assert.equal([config.bosId, config.eosIds, config.padId], [null, [1], null]);
  assert.equal(remarks.notes, [
    'config.json: bos_token_id is 99, outside the vocabulary of 8; it is ignored.',
    'config.json: eos_token_id is 8, outside the vocabulary of 8; it is ignored.',
    'generation_config.json: eos_token_id is 77, outside the vocabulary of 8; it is ignored.',
  ]);
});

test('RoPE in all spellings', () => {
  const rope = (changes: Json) => read(changes).rope;
  const linear = { type: 'linear', factor: 2 };
  assert.equal(rope({ rope_scaling: { type: 'linear', factor: 2 } }).scaling, linear);
  // transformers 5.24: `rope_scaling or rope_parameters`
  for (const nothing of [null, false, 0, '', [], {}]) {
    assert.equal(rope({ rope_scaling: nothing }).scaling, { type: 'none' });
    assert.equal(rope({ rope_scaling: nothing, rope_parameters: linear }).scaling, linear);
  }
  assert.equal(rope({ rope_scaling: { rope_type: 'linear', factor: 2 } }).scaling, linear);
  const parameters = rope({
    rope_theta: undefined,
    rope_parameters: { rope_type: 'linear', factor: 2, rope_theta: 5e5 },
  });
  assert.equal([parameters.scaling, parameters.theta], [linear, 5e5]);
  // no stock class turns a part of a head
  assert.is(rope({ partial_rotary_factor: 0.5 }).rotaryDims, 16);
  const own = { model_type: 'espalier_moe', base_model_type: 'llama', moe_layers: [0], num_experts: 2 };
  const some = { ...own, num_experts_per_tok: 1, moe_intermediate_size: 4, partial_rotary_factor: 0.5 };
  assert.is(rope(some).rotaryDims, 8);
  assert.equal(rope({ rope_scaling: { rope_type: 'default' } }).scaling, { type: 'none' });
  const yarn = rope({ rope_scaling: { type: 'yarn', factor: null, original_max_position_embeddings: 16 } }).scaling;
  assert.equal(yarn, {
    type: 'yarn',
    factor: 4,
    originalMaxPositions: 16,
    betaFast: 32,
    betaSlow: 1,
    attentionFactor: undefined,
    truncate: true,
  });
  for (const type of ['longrope', 'su', 'xdrope']) {
    assert.is(
      codeOf(() => rope({ rope_scaling: { type, factor: 2 } })),
      'E_ARCHITECTURE_UNSUPPORTED',
    );
  }
});

const ABSURD: [string, Json][] = [
  ['no heads', { num_attention_heads: 0 }],
  ['negative heads', { num_attention_heads: -2 }],
  ['fractional heads', { num_attention_heads: 2.5 }],
  ['no key heads', { num_key_value_heads: 0 }],
  ['heads that do not share', { num_attention_heads: 3, head_dim: 16, num_key_value_heads: 2 }],
  ['heads that do not divide', { num_attention_heads: 3, num_key_value_heads: 1 }],
  ['no head size', { head_dim: 0 }],
  ['odd rotary size', { head_dim: 15 }],
  ['huge hidden', { hidden_size: 2 ** 31 }],
  ['huge vocabulary', { vocab_size: 2 ** 40 }],
  ['beyond all addresses', { vocab_size: 2 ** 31 - 1, hidden_size: 2 ** 31 - 2, head_dim: 16 }],
  ['heads too wide together', { num_attention_heads: 2 ** 20, num_key_value_heads: 1, head_dim: 2 ** 20 }],
  ['too many layers', { num_hidden_layers: 10_001 }],
  ['no layers', { num_hidden_layers: 0 }],
  ['a text for a number', { hidden_size: '32' }],
  ['no context', { max_position_embeddings: 0 }],
  ['no epsilon', { rms_norm_eps: 0 }],
  ['negative epsilon', { rms_norm_eps: -1e-5 }],
  ['RoPE base of zero', { rope_theta: 0 }],
  ['negative RoPE base', { rope_theta: -10000 }],
  ['RoPE base as text', { rope_theta: '1e4' }],
  ['negative scaling', { rope_scaling: { type: 'linear', factor: -2 } }],
  ['scaling without a factor', { rope_scaling: { type: 'linear' } }],
  ['scaling that is a list', { rope_scaling: [1] }],
  ['llama3 with one bound', { rope_scaling: { type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 1 } }],
  ['yarn of no context', { rope_scaling: { type: 'yarn', factor: 2, original_max_position_embeddings: 0 } }],
  ['yarn without a factor', { rope_scaling: { type: 'yarn' } }],
  ['window of zero', { model_type: 'mistral', sliding_window: 0 }],
  [
    'layer types of another number',
    { model_type: 'qwen2', use_sliding_window: true, layer_types: ['full_attention', 'x'] },
  ],
  ['an end as text', { eos_token_id: '1' }],
  ['a beginning in a list', { bos_token_id: [0] }],
  ['fractional end', { eos_token_id: 0.5 }],
  ['neither type nor class', { model_type: undefined }],
];

test('absurd values', () => {
  for (const [what, changes] of ABSURD)
    assert.is(
      codeOf(() => read(changes)),
      'E_CONFIG_INVALID',
      what,
    );
  // JSON has no infinity, but 1e999 becomes one
  const text = JSON.stringify(tinyConfig).replace('"rope_theta":10000', '"rope_theta":1e999');
  assert.is(
    codeOf(() => configFromJson(new TextEncoder().encode(text))),
    'E_CONFIG_INVALID',
  );
  const broken = ['', '{', 'null', '[]', '7', '{"a":1,"a":2}', '['.repeat(100_000), '{"a":'.repeat(100_000), '\u00ff'];
  for (const raw of broken) {
    const bytes = raw === '\u00ff' ? Uint8Array.of(0xff) : new TextEncoder().encode(raw);
    assert.is(
      codeOf(() => configFromJson(bytes)),
      'E_CONFIG_INVALID',
      raw.slice(0, 20),
    );
  }
  console.log(`  ${ABSURD.length + 1 + broken.length} absurd configurations refused`);
});

test('keys that the class ignores are named, whatever stands there', () => {
  const ignored = (changes: Json | string) => {
    const remarks: ConfigRemarks = { ignoredKeys: [], notes: [] };
    const text = typeof changes === 'string' ? changes : JSON.stringify({ ...tinyConfig, ...changes });
    configFromJson(new TextEncoder().encode(text), null, remarks);
    return remarks;
  };
  assert.equal(ignored({ torch_dtype: 'bfloat16', use_cache: true, attention_dropout: 0.1 }).ignoredKeys, []);
  assert.equal(ignored({ some_scale: 3, sliding_window: 'x' }).ignoredKeys, ['some_scale', 'sliding_window']);
  assert.equal(ignored({ model_type: 'mistral', attention_bias: 'yes' }).ignoredKeys, ['attention_bias']);
  assert.equal(ignored({ partial_rotary_factor: 0.5 }).ignoredKeys, ['partial_rotary_factor']);
  const linear = { type: 'linear', factor: 2, finetuned: true };
  const both = { rope_scaling: linear, rope_parameters: { rope_type: 'default', rope_theta: 5 } };
  assert.equal(ignored(both).ignoredKeys, ['rope_parameters', 'rope_scaling.finetuned']);
  const inside = { rope_parameters: { rope_type: 'default', rope_theta: 5e5 } };
  assert.equal(ignored(inside).ignoredKeys, ['rope_theta']);
  // as Python writes them, and as transformers 5 does
  const text = JSON.stringify(tinyConfig).replace('{', '{"a": Infinity, "NaN": [-Infinity, NaN], "b": "NaN", ');
  const { ignoredKeys, notes } = ignored(text);
  assert.equal(ignoredKeys, ['a', 'NaN', 'b']);
  assert.match(notes[0]!, 'NaN or Infinity');
  for (const value of ['NaN', 'Infinity', '-Infinity', '{"__float__": "NaN"}']) {
    const code = codeOf(() =>
      ignored(JSON.stringify(tinyConfig).replace('"rope_theta":10000', `"rope_theta": ${value}`)),
    );
    assert.is(code, 'E_CONFIG_INVALID');
  }
});

test('what is not computed', () => {
  for (const changes of [
    { model_type: 'gemma' },
    { model_type: 'constructor' },
    { model_type: undefined, architectures: ['GPT2LMHeadModel'] },
    { hidden_act: 'gelu' },
    { rope_parameters: { full_attention: { rope_type: 'default' } } },
    { quantization_config: { quant_method: 'gptq' } },
    { quantization: { group_size: 64, bits: 4 } },
    { is_causal: false },
    { per_layer_config: { 0: { rms_norm_eps: 1e-3 } } },
    { partial_rotary_factor: 0.5, rope_scaling: { type: 'linear', factor: 2 } },
  ]) {
    assert.is(
      codeOf(() => read(changes)),
      'E_ARCHITECTURE_UNSUPPORTED',
    );
  }
});

test.run();
