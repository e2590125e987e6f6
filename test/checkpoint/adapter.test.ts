/** Adapters in PEFT's format: what their configuration says, what is refused, and which base they are for. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { adapterConfigFromJson } from '../../src/checkpoint/adapter/config.ts';
import { loraModules } from '../../src/checkpoint/adapter/modules.ts';
import { bindAdapter, openAdapter } from '../../src/checkpoint/adapter/open.ts';
import { pythonPattern } from '../../src/checkpoint/adapter/pattern.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { code, rejects } from '../errors.ts';
import { type Json, json, type StHeader, safetensors, tinyConfig, tinySafetensors } from './build.ts';

const BASE = await openCheckpoint({ 'config.json': json(tinyConfig), 'model.safetensors': tinySafetensors() });
const LORA = { peft_type: 'LORA', r: 2, lora_alpha: 4, target_modules: ['q_proj', 'down_proj'] };
const Q = 'base_model.model.model.layers.0.self_attn.q_proj';
const DOWN = 'base_model.model.model.layers.0.mlp.down_proj';
const FACTORS: Readonly<Record<string, readonly number[]>> = {
  [`${Q}.lora_A.weight`]: [2, 32],
  [`${Q}.lora_B.weight`]: [32, 2],
  [`${DOWN}.lora_A.weight`]: [2, 64],
  [`${DOWN}.lora_B.weight`]: [32, 2],
};

/** A file of zeros. */
function weights(factors: Readonly<Record<string, readonly number[]>>, dtype = 'F32'): Uint8Array {
  const header: StHeader = {};
  let at = 0;
  for (const [name, shape] of Object.entries(factors)) {
    const bytes = shape.reduce((a, b) => a * b, dtype === 'F32' ? 4 : dtype === 'F64' ? 8 : 2);
    header[name] = { dtype, shape: [...shape], data_offsets: [at, at + bytes] };
    at += bytes;
  }
  return safetensors(header, at);
}

const folder = (config: Json, file = weights(FACTORS)) => ({
  'adapter_config.json': json(config),
  'adapter_model.safetensors': file,
});

async function bound(config: Json, factors = FACTORS) {
  const adapter = await openAdapter(folder(config, weights(factors)));
  try {
    return { adapter, ...bindAdapter(adapter, BASE) };
  } finally {
    await adapter.close();
  }
}

test('an adapter, its factors and what they correct', async () => {
  const { adapter, pairs, notes } = await bound(LORA);
  assert.is(adapter.parameters, 2 * 32 + 32 * 2 + 2 * 64 + 32 * 2);
  assert.equal(notes, []);
  assert.equal(
    pairs.map(({ module, scale, targets }) => [module, scale, targets.map(({ layer, part }) => `${layer} ${part}`)]),
    [
      ['model.layers.0.mlp.down_proj', 2, ['0 down']],
      ['model.layers.0.self_attn.q_proj', 2, ['0 q']],
    ],
  );
  // the name of the adapter in the names of its factors, and other types
  for (const dtype of ['F16', 'BF16']) {
    const infixed = Object.fromEntries(
      Object.entries(FACTORS).map(([name, shape]) => [name.replace('.weight', '.default.weight'), shape]),
    );
    const other = await openAdapter(folder(LORA, weights(infixed, dtype)));
    assert.is(bindAdapter(other, BASE).pairs.length, 2);
    await other.close();
  }
});

test('ranks and factors by patterns, as peft finds them', () => {
  const read = (more: Json) => adapterConfigFromJson(json({ ...LORA, ...more }), 'a');
  const q = 'model.layers.0.self_attn.q_proj';
  assert.is(read({}).scaleOf(q), 2);
  assert.is(read({ use_rslora: true }).scaleOf(q), 4 / Math.sqrt(2));
  assert.is(read({ rank_pattern: { q_proj: 8 } }).scaleOf(q), 0.5);
  assert.is(read({ rank_pattern: { 'layers.0.self_attn.q_proj': 8 } }).rankOf(q), 8);
  assert.is(read({ rank_pattern: { '.*q_proj': 8 } }).rankOf(q), 8);
  assert.is(read({ rank_pattern: { '^model.layers.0.self_attn.q_proj': 8 } }).rankOf(q), 8);
  assert.is(read({ rank_pattern: { proj: 8, self_attn: 8 } }).rankOf(q), 2);
  assert.is(read({ rank_pattern: { 'layers.1.self_attn.q_proj': 8, q_proj: 3 } }).rankOf(q), 3);
  assert.is(read({ alpha_pattern: { q_proj: 1 } }).scaleOf(q), 0.5);
  const defaults = adapterConfigFromJson(json({ peft_type: 'LORA', target_modules: 'all-linear' }), 'a');
  assert.equal([defaults.rank, defaults.alpha, defaults.isTarget(q)], [8, 8, true]);
  const targets = (more: Json) => read(more).isTarget(q);
  assert.ok(targets({}));
  assert.not(targets({ target_modules: ['k_proj'] }));
  assert.not(targets({ target_modules: ['_proj'] }));
  assert.ok(targets({ target_modules: ['self_attn.q_proj'] }));
  assert.ok(targets({ target_modules: '.*\\.q_proj' }));
  assert.not(targets({ target_modules: 'q_proj' }), 'a text is a pattern of the whole name');
  assert.not(targets({ exclude_modules: ['q_proj'] }));
  assert.not(targets({ exclude_modules: '.*attn.*' }));
  assert.ok(targets({ layers_to_transform: 0 }));
  assert.not(targets({ layers_to_transform: [1, 2] }));
  assert.ok(targets({ layers_to_transform: [0], layers_pattern: 'layers' }));
  assert.not(targets({ layers_to_transform: [0], layers_pattern: ['h', 'blocks'] }));
  assert.ok(targets({ target_modules: '.*q_proj', layers_to_transform: [7] }), 'of listed modules alone');
});

test('nothing, repeated without end, is refused at once', () => {
  const started = performance.now();
  for (const pattern of ['((){9999}){99999}.*', '(){9999999999}q_proj', '((){0,9999999999})', '(|){99999999}']) {
    assert.throws(() => pythonPattern(pattern, 'x'), code('E_ADAPTER'), pattern);
  }
  assert.ok(performance.now() - started < 2000);
  assert.ok(pythonPattern('(){99}q_proj', 'x')('q_proj'));
});

test('patterns are those of Python', () => {
  for (const [pattern, yes, no] of [
    ['a.c', ['abc', 'a.c'], ['ac', 'abcd', 'xabc']],
    ['(?:q|k)_proj|mlp', ['q_proj', 'k_proj', 'mlp'], ['qk_proj', 'v_proj', 'q_projmlp']],
    ['(?P<x>a+)b*?', ['a', 'aab'], ['b', 'aba']],
    ['[a-c\\d_]{2,3}', ['a1', '_9c'], ['a', 'abcd', 'd1']],
    ['[^.]+', ['abc'], ['a.b', '']],
    ['[]x-]+', [']', '-x'], ['a']],
    ['\\bmodel\\.layers\\.[\\d]{1,}\\.x', ['model.layers.12.x'], ['model.layers..x', 'amodel.layers.1.x']],
    ['.*\\bq\\b.*', ['a.q.b', 'q'], ['aqb', 'q_']],
    ['^x$', ['x'], ['xx']],
    ['a{,2}b{2,}', ['bb', 'aabbb'], ['aaabb', 'b']],
    ['x{y}', ['x{y}'], ['xy']],
    ['\\w\\W\\s\\S', ['a- b'], ['ab b']],
    ['', [''], ['a']],
    ['(|a)(b|)', ['', 'a', 'b', 'ab'], ['ba']],
  ] as const) {
    const matches = pythonPattern(pattern, 'x');
    for (const text of yes) assert.ok(matches(text), `${pattern}: ${text}`);
    for (const text of no) assert.not(matches(text), `${pattern}: not ${text}`);
  }
  for (const pattern of [
    '(',
    ')',
    '[a',
    '*a',
    'a**',
    'a(?=b)',
    '(?i)a',
    '\\1',
    '\\q',
    'a++',
    'x{3,1}',
    '[z-a]',
    '\\',
    'a{9}{9}',
  ])
    assert.throws(() => pythonPattern(pattern, 'x'), code('E_ADAPTER'), pattern);
  assert.throws(() => pythonPattern('((a{99}){99}){99}', 'x'), code('E_ADAPTER'));
  assert.throws(() => pythonPattern('('.repeat(1000), 'x'), code('E_ADAPTER'));
  // where a matcher that goes back would not come to an end
  const started = performance.now();
  assert.not(pythonPattern('(a*)*(a|aa)+(a?){50}b', 'x')('a'.repeat(200)));
  assert.ok(performance.now() - started < 5000);
});

test('kinds that are not computed', async () => {
  for (const [more, says] of [
    [{ peft_type: 'IA3' }, /IA3/],
    [{ peft_type: undefined }, /kind/],
    [{ use_dora: true }, /DoRA/],
    [{ lora_bias: true }, /biases/],
    [{ bias: 'all' }, /biases/],
    [{ fan_in_fan_out: true }, /transposed/],
    [{ modules_to_save: ['lm_head'] }, /modules_to_save/],
    [{ target_parameters: ['mlp.experts.gate_up_proj'] }, /stacks of experts/],
    [{ trainable_token_indices: [1] }, /tokens of the embedding/],
    [{ layer_replication: [[0, 1]] }, /several times/],
    [{ alora_invocation_tokens: [3] }, /aLoRA/],
    [{ use_qalora: true }, /QALoRA/],
    [{ init_lora_weights: 'pissa_niter_4' }, /pissa/],
    [{ init_lora_weights: 'olora' }, /olora/],
  ] as const) {
    const error = await rejects('E_ADAPTER', () => bound({ ...LORA, ...more }));
    assert.match(error.message, says);
  }
  for (const more of [
    { r: 0 },
    { r: 'x' },
    { lora_alpha: null },
    { target_modules: null },
    { target_modules: [] },
    { target_modules: [3] },
    { rank_pattern: { q_proj: 'x' } },
    { rank_pattern: { q_proj: 0.5 } },
    { rank_pattern: [] },
    { use_rslora: 1 },
    { layers_to_transform: 'x' },
  ]) {
    const error = await rejects('E_CONFIG_INVALID', () => bound({ ...LORA, ...more } as Json));
    assert.match(error.message, Object.keys(more)[0]!);
    // of several adapters, which
    assert.match(error.message, '/adapter_config.json');
  }
  const { notes } = (await bound({ ...LORA, use_wonder: { deep: 1 }, lora_dropout: 0.5 })).adapter;
  assert.match(notes.join(), /use_wonder/);
  assert.not.match(notes.join(), /dropout/);
});

test('factors that are none, or of another model', async () => {
  const but = (change: Readonly<Record<string, readonly number[] | null>>) =>
    Object.fromEntries(
      Object.entries({ ...FACTORS, ...change }).flatMap(([name, shape]) => (shape ? [[name, shape] as const] : [])),
    );
  for (const [change, says] of [
    [{ [`${Q}.lora_A.weight`]: null }, /one factor alone/],
    [{ [`${Q}.lora_A.weight`]: [3, 32] }, /rank 2/],
    [{ [`${Q}.lora_B.weight`]: [32] }, /rank 2/],
    [{ [`${Q}.lora_A.weight`]: [2, 16] }, /another model.*\[32, 32\].*\[32, 16\]/],
    [{ [`${DOWN}.lora_B.weight`]: [48, 2] }, /another model/],
    [
      { [`${Q.replace('.0.', '.1.')}.lora_A.weight`]: [2, 32], [`${Q.replace('.0.', '.1.')}.lora_B.weight`]: [32, 2] },
      /has no model\.layers\.1/,
    ],
    [
      { [`${Q.replace('q_', 'v_')}.lora_A.weight`]: [2, 32], [`${Q.replace('q_', 'v_')}.lora_B.weight`]: [16, 2] },
      /target_modules leave out/,
    ],
    [{ [`${Q}.lora_A.default.weight`]: [2, 32] }, /two names/],
    [{ [`${Q}.lora_magnitude_vector`]: [32] }, /DoRA/],
    [{ [`${Q}.lora_B.bias`]: [32] }, /biases/],
    [{ 'base_model.model.model.embed_tokens.lora_embedding_A': [2, 8] }, /embedding/],
    [{ 'base_model.model.lm_head.lora_A.weight': [2, 32] }, /output matrix/],
    [{ 'base_model.model.model.layers.0.mlp.experts.3.gate_proj.lora_A.weight': [2, 32] }, /experts/],
    [{ 'base_model.model.model.layers.0.mlp.gate.lora_A.weight': [2, 32] }, /routers/],
    [{ 'base_model.model.model.norm.weight': [32] }, /no factor/],
    [{ 'model.layers.0.self_attn.q_proj.weight': [32, 32] }, /no factor/],
    [Object.fromEntries(Object.keys(FACTORS).map((name) => [name, null])), /no factors/],
  ] as const) {
    const error = await rejects('E_ADAPTER', () => bound(LORA, but(change)));
    assert.match(error.message, says);
  }
  await rejects('E_TENSOR_TYPE', () => openAdapter(folder(LORA, weights(FACTORS, 'F64'))));
  await rejects('E_CHECKPOINT_TRUNCATED', () => openAdapter(folder(LORA, weights(FACTORS).subarray(0, 900))));
  await rejects('E_CONFIG_INVALID', () => openAdapter({ ...folder(LORA), 'adapter_config.json': json([]) }));
  const { 'adapter_model.safetensors': file, 'adapter_config.json': config } = folder(LORA);
  await rejects('E_ADAPTER', () => openAdapter({ 'adapter_model.safetensors': file }));
  const pickled = await rejects('E_ADAPTER', () =>
    openAdapter({ 'adapter_config.json': config, 'adapter_model.bin': file }),
  );
  assert.match(pickled.hint, /safe_serialization/);
  await rejects('E_ADAPTER', () => openAdapter({ 'config.json': config, 'model.safetensors': file }));
  await rejects('E_FILE_NOT_FOUND', () => openAdapter({ 'other.txt': file }));
});

test('notes on what fits, and seems to be meant otherwise', async () => {
  const { notes } = await bound({ ...LORA, base_model_name_or_path: 'owner/other-1B' });
  assert.equal(notes, [], 'bytes have no name');
  const adapter = await openAdapter(folder({ ...LORA, base_model_name_or_path: 'owner/Other-1B' }));
  const named = (name: string) => bindAdapter(adapter, { name, config: BASE.config }).notes;
  assert.match(named('models/this-2B').join(), /trained on owner\/Other-1B/);
  assert.equal(named('/some/folder/other-1b/'), []);
  assert.equal(named('files/Other-1B-Q4_K_M.gguf'), []);
  await adapter.close();
  const fewer = await bound({ ...LORA, target_modules: ['q_proj', 'k_proj', 'down_proj'] });
  assert.match(fewer.notes.join(), /no factors for model\.layers\.0\.self_attn\.k_proj/);
  assert.equal((await bound({ ...LORA, target_modules: 'All-Linear' })).notes, [], 'nobody named them');
});

test('modules of a mixture are those that all tokens meet', async () => {
  const moe = { ...BASE.config, architecture: 'qwen2_moe' as const, nLayers: 2 };
  const mixture = {
    ...{ layers: [1], experts: 4, topK: 2, expertSize: 16, sharedSize: 24, sharedGate: true },
    router: {
      score: 'softmax',
      renormalise: true,
      scale: 1,
      groups: 1,
      topGroups: 1,
      groupScore: 'max',
      selectionBias: false,
    },
  } as const;
  const names = [...loraModules({ ...moe, moe: mixture }).keys()].filter((name) => /mlp/.test(name));
  assert.is(names.filter((name) => /layers\.0\.mlp\.(gate|up|down)_proj$/.test(name)).length, 3);
  assert.is(names.filter((name) => /layers\.1\.mlp\.shared_expert\.(gate|up|down)_proj$/.test(name)).length, 3);
  assert.is(names.length, 6);
  const fused = loraModules({ ...moe, architecture: 'granitemoeshared', moe: { ...mixture, layers: [0, 1] } });
  const input = fused.get('model.layers.1.shared_mlp.input_linear')!;
  assert.equal(input.shape, [48, 32]);
  assert.equal(
    input.targets.map(({ part, firstRow, rows, tensor }) => [part, firstRow, rows, tensor]),
    [
      ['gate', 0, 24, 'model.layers.1.mlp.shared_expert.gate_proj.weight'],
      ['up', 24, 24, 'model.layers.1.mlp.shared_expert.up_proj.weight'],
    ],
  );
});

test.run();
