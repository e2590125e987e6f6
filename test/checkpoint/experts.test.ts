/** Mixtures of experts in config.json, and their tensors under whatever names files give them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { configFromJson } from '../../src/checkpoint/config/config.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { requiredTensors } from '../../src/checkpoint/required.ts';
import type { ModelConfig, TensorEntry } from '../../src/checkpoint/types.ts';
import { EspalierError } from '../../src/errors.ts';
import { inspectModel } from '../../src/inspect.ts';
import { rejects } from '../errors.ts';
import { modelTarget, readBytes } from '../files.ts';
import { dataLength, type Json, json, type StHeader, safetensors, tinyConfig, tinyHeader } from './build.ts';

const read = (changes: Json): ModelConfig => configFromJson(json({ ...tinyConfig, ...changes }), null);

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof EspalierError) return error.code;
    throw error;
  }
  return 'none';
}

const four = { num_hidden_layers: 4 };
const softmax = {
  score: 'softmax',
  renormalise: false,
  scale: 1,
  groups: 1,
  topGroups: 1,
  groupScore: 'max',
  selectionBias: false,
};
const own = {
  ...four,
  model_type: 'espalier_moe',
  base_model_type: 'llama',
  moe_layers: [1, 3],
  num_experts: 8,
  num_experts_per_tok: 2,
  moe_intermediate_size: 24,
};

test('mixtral', () => {
  const config = read({ ...four, model_type: 'mixtral', rope_theta: undefined, rms_norm_eps: undefined });
  assert.equal(config.moe, {
    layers: [0, 1, 2, 3],
    experts: 8,
    topK: 2,
    expertSize: 64,
    sharedSize: 0,
    sharedGate: false,
    router: { ...softmax, renormalise: true },
  });
  assert.equal([config.rope.theta, config.rmsNormEps, config.slidingWindow], [1e6, 1e-5, null]);
  const { slidingWindow, windowLayers, moe, nKvHeads, qkvBias } = read({
    ...{ model_type: 'mixtral', sliding_window: 9, num_local_experts: 4, num_experts_per_tok: 1, attention_bias: true },
  });
  assert.equal([slidingWindow, moe!.experts, moe!.topK, nKvHeads, qkvBias], [9, 4, 1, 1, false]);
  assert.equal(windowLayers, [0]);
});

test('qwen2_moe', () => {
  const qwen = { ...four, model_type: 'qwen2_moe' };
  const config = read(qwen);
  assert.equal(config.moe, {
    layers: [0, 1, 2, 3],
    experts: 60,
    topK: 4,
    expertSize: 1408,
    sharedSize: 5632,
    sharedGate: true,
    router: softmax,
  });
  assert.equal([config.qkvBias, config.outputBias, config.qkNorm, config.intermediateSize], [true, false, false, 64]);
  assert.is(read({ ...qwen, qkv_bias: false }).qkvBias, false);
  const layers = (changes: Json) => read({ ...qwen, ...changes }).moe?.layers ?? null;
  assert.equal(layers({ decoder_sparse_step: 2 }), [1, 3]);
  assert.equal(layers({ decoder_sparse_step: 2, mlp_only_layers: [3, 99] }), [1]);
  assert.equal(layers({ decoder_sparse_step: 9 }), null);
  assert.equal(layers({ num_experts: 0 }), null);
  assert.is(read({ ...qwen, norm_topk_prob: true }).moe!.router.renormalise, true);
  const none = read({ ...qwen, shared_expert_intermediate_size: 0 }).moe!;
  assert.equal([none.sharedSize, none.sharedGate], [0, false]);
  // transformers gives every second layer a window; layer_types may say otherwise
  const sliding = { ...qwen, use_sliding_window: true, sliding_window: 8 };
  assert.equal(read(sliding).windowLayers, [0, 2]);
  const types = ['full_attention', 'full_attention', 'sliding_attention', 'sliding_attention'];
  const { slidingWindow, windowLayers } = read({ ...sliding, layer_types: types });
  assert.equal([slidingWindow, windowLayers], [8, [2, 3]]);
});

test('qwen3_moe', () => {
  const config = read({ ...four, model_type: 'qwen3_moe', mlp_only_layers: [0], num_experts: 16 });
  assert.equal(config.moe, {
    layers: [1, 2, 3],
    experts: 16,
    topK: 8,
    expertSize: 768,
    sharedSize: 0,
    sharedGate: false,
    router: softmax,
  });
  assert.equal([config.qkNorm, config.headDim, config.outputBias], [true, 16, false]);
  const biased = read({ model_type: 'qwen3_moe', attention_bias: true, use_sliding_window: true });
  assert.equal([biased.qkvBias, biased.outputBias, biased.slidingWindow, biased.windowLayers], [true, true, 4096, [0]]);
});

test('granitemoeshared', () => {
  const granite = { ...four, model_type: 'granitemoeshared', num_local_experts: 8 };
  const config = read({ ...granite, shared_intermediate_size: 40 });
  assert.equal(config.moe, {
    layers: [0, 1, 2, 3],
    experts: 8,
    topK: 2,
    expertSize: 64,
    sharedSize: 40,
    sharedGate: false,
    router: { ...softmax, score: 'selected-softmax' },
  });
  const scales = (c: ModelConfig) => [c.embeddingScale, c.residualScale, c.logitScale, c.attentionScale];
  assert.equal(scales(config), [1, 1, 1, 1]);
  const factors = {
    embedding_multiplier: 12,
    residual_multiplier: 0.22,
    logits_scaling: 6,
    attention_multiplier: 0.015625,
  };
  assert.equal(scales(read({ ...granite, ...factors, attention_bias: true })), [12, 0.22, 6, 0.015625]);
  assert.equal(scales(read({ ...factors })), [1, 1, 1, null], 'they are granite’s alone');
  assert.is(read({ ...granite, attention_bias: true }).outputBias, true);
  assert.is(read(granite).moe!.sharedSize, 0);
});

test('espalier_moe', () => {
  const config = read(own);
  assert.equal(config.moe, {
    layers: [1, 3],
    experts: 8,
    topK: 2,
    expertSize: 24,
    sharedSize: 0,
    sharedGate: false,
    router: softmax,
  });
  assert.equal([config.architecture, config.qkNorm, config.qkvBias], ['espalier_moe', false, false]);
  const full = read({
    ...own,
    ...{ base_model_type: 'qwen3', shared_expert_intermediate_size: 12, shared_expert_gate: true },
    ...{ norm_topk_prob: true, scoring_func: 'sigmoid', routed_scaling_factor: 2.5, n_group: 4, topk_group: 2 },
    ...{ group_score: 'top2', selection_bias: true },
  });
  assert.equal(full.moe!.router, {
    score: 'sigmoid',
    renormalise: true,
    scale: 2.5,
    groups: 4,
    topGroups: 2,
    groupScore: 'top2',
    selectionBias: true,
  });
  assert.equal([full.moe!.sharedSize, full.moe!.sharedGate, full.qkNorm, full.headDim], [12, true, true, 128]);
  assert.equal(read({ ...own, base_model_type: 'qwen2' }).qkvBias, true);
  assert.equal(read({ ...own, base_model_type: 'mistral' }).slidingWindow, 4096);
});

test('absurd mixtures', () => {
  const qwen = { ...four, model_type: 'qwen2_moe' };
  const absurd: [string, Json][] = [
    ['no experts', { ...own, num_experts: 0 }],
    ['too many experts', { ...own, num_experts: 65_537 }],
    ['a fraction of an expert', { ...own, num_experts: 2.5 }],
    ['no number of experts', { ...own, num_experts: undefined }],
    ['no choice', { ...own, num_experts_per_tok: 0 }],
    ['more chosen than there are', { ...own, num_experts_per_tok: 9 }],
    ['more chosen than are kept in order', { ...own, num_experts: 100, num_experts_per_tok: 65 }],
    ['experts of nothing', { ...own, moe_intermediate_size: 0 }],
    ['negative shared expert', { ...own, shared_expert_intermediate_size: -1 }],
    ['a gate without a shared expert', { ...own, shared_expert_gate: true }],
    ['beyond all addresses', { ...own, num_experts: 65_536, moe_intermediate_size: 2 ** 31 - 1 }],
    ['no layers', { ...own, moe_layers: [] }],
    ['layers that are missing', { ...own, moe_layers: undefined }],
    ['a layer beyond the last', { ...own, moe_layers: [1, 4] }],
    ['a layer before the first', { ...own, moe_layers: [-1] }],
    ['a layer twice', { ...own, moe_layers: [1, 1] }],
    ['layers in disorder', { ...own, moe_layers: [3, 1] }],
    ['groups that do not divide', { ...own, n_group: 3 }],
    ['no groups', { ...own, n_group: 0 }],
    ['more groups than there are', { ...own, n_group: 2, topk_group: 3 }],
    ['groups with too few experts', { ...own, n_group: 8, topk_group: 1 }],
    ['a scale of nothing', { ...own, routed_scaling_factor: 0 }],
    ['an unknown score', { ...own, scoring_func: 'tanh' }],
    ['an unknown worth of groups', { ...own, group_score: 'mean' }],
    ['a text for a number', { ...own, num_experts: '8' }],
    ['no base', { ...own, base_model_type: undefined }],
    ['a base that is a mixture', { ...own, base_model_type: 'mixtral' }],
    ['a base that is a word of JavaScript', { ...own, base_model_type: 'constructor' }],
    ['a step of nothing', { ...qwen, decoder_sparse_step: 0 }],
    ['more layers than can be', { ...qwen, num_hidden_layers: 2 ** 40 }],
    ['no layer at all', { ...qwen, num_hidden_layers: 0 }],
    ['experts of nothing, mixtral', { model_type: 'mixtral', intermediate_size: 0 }],
    ['a residual factor of nothing', { model_type: 'granitemoeshared', residual_multiplier: 0 }],
    ['negative logits', { model_type: 'granitemoeshared', logits_scaling: -1 }],
  ];
  for (const [what, changes] of absurd)
    assert.is(
      codeOf(() => read(changes)),
      'E_CONFIG_INVALID',
      what,
    );
  console.log(`  ${absurd.length} absurd mixtures refused`);
});

async function bytesOf(entry: TensorEntry): Promise<Uint8Array> {
  const bytes = new Uint8Array(entry.byteLength);
  await entry.source.readInto(entry.offset, bytes);
  return bytes;
}

test('tensors of several experts are cut where transformers cuts them', async () => {
  for (const name of ['moe-granite', 'moe-mixtral-fused', 'moe-qwen2-fused']) {
    const target = `test/fixtures/tiny/${name}`;
    const checkpoint = await openCheckpoint(await modelTarget(target));
    const { config, tensors } = checkpoint;
    const { experts, expertSize, layers } = config.moe!;
    assert.equal(
      [...requiredTensors(config)].filter(({ name: n, optional }) => !optional && !tensors.has(n)),
      [],
    );
    const file = await readBytes(`${target}/model.safetensors`);
    const length = Number(new DataView(file.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))) as StHeader;
    const stored = (part: RegExp) => {
      const key = Object.keys(header).find((k) => k.startsWith(`model.layers.${layers[0]}.`) && part.test(k))!;
      const [from, to] = header[key]!.data_offsets as [number, number];
      return file.subarray(8 + length + from, 8 + length + to);
    };
    const at = `model.layers.${layers[0]}.mlp`;
    const both = stored(/input_linear|gate_up_proj/);
    const downs = stored(/moe\.output_linear|experts\.down_proj/);
    const size = both.length / experts / 2;
    for (let e = 0; e < experts; e++) {
      const [gate, up, down] = ['gate', 'up', 'down'].map(
        (part) => tensors.get(`${at}.experts.${e}.${part}_proj.weight`)!,
      );
      assert.equal(
        [gate!.shape, down!.shape],
        [
          [expertSize, config.hiddenSize],
          [config.hiddenSize, expertSize],
        ],
      );
      assert.equal(await bytesOf(gate!), both.slice(2 * e * size, (2 * e + 1) * size));
      assert.equal(await bytesOf(up!), both.slice((2 * e + 1) * size, (2 * e + 2) * size));
      assert.equal(await bytesOf(down!), downs.slice(e * size, (e + 1) * size));
    }
    await checkpoint.close();
  }
});

/** A mixtral of one layer in which each expert stands by itself, with changes to its header. */
function mixture(change: (header: StHeader) => void, config: Json = {}): Record<string, Uint8Array> {
  const header = tinyHeader((name) => !name.includes('.mlp.'));
  const add = (name: string, shape: number[]) => {
    const from = dataLength(header);
    header[name] = { dtype: 'BF16', shape, data_offsets: [from, from + shape.reduce((a, b) => a * b, 2)] };
  };
  const at = 'model.layers.0.block_sparse_moe';
  add(`${at}.gate.weight`, [3, 32]);
  for (let e = 0; e < 3; e++) {
    add(`${at}.experts.${e}.w1.weight`, [64, 32]);
    add(`${at}.experts.${e}.w3.weight`, [64, 32]);
    add(`${at}.experts.${e}.w2.weight`, [32, 64]);
  }
  change(header);
  return {
    'config.json': json({ ...tinyConfig, model_type: 'mixtral', num_local_experts: 3, ...config }),
    'model.safetensors': safetensors(header, dataLength(header)),
  };
}

/** Renames tensors whose name holds a text; the file stays whole. */
const rename = (from: string, to: string) => (header: StHeader) => {
  for (const name of Object.keys(header).filter((key) => key.includes(from))) {
    header[name.replace(from, to)] = header[name]!;
    delete header[name];
  }
};
const reshape = (part: string, shape: number[]) => (header: StHeader) => {
  for (const name of Object.keys(header).filter((key) => key.includes(part))) header[name] = { ...header[name], shape };
};

test('experts that are wrong, missing, too many or there twice', async () => {
  const good = await openCheckpoint(mixture(() => {}));
  assert.equal(good.tensors.get('model.layers.0.mlp.experts.2.down_proj.weight')!.shape, [32, 64]);
  await good.close();
  const refused = (code: Parameters<typeof rejects>[0], files: Record<string, Uint8Array>) =>
    rejects(code, () => openCheckpoint(files));
  await refused('E_TENSOR_MISSING', mixture(rename('experts.1.w3', 'experts.1.w4')));
  await refused('E_TENSOR_MISSING', mixture(rename('moe.gate', 'moe.door')));
  await refused(
    'E_TENSOR_SHAPE',
    mixture(() => {}, { num_local_experts: 4 }),
  );
  await refused('E_TENSOR_SHAPE', mixture(reshape('experts.2.w2', [64, 32])));
  await refused('E_TENSOR_SHAPE', mixture(reshape('moe.gate', [32, 3])));
  const retype = (part: string) => (header: StHeader) => {
    for (const name of Object.keys(header).filter((key) => key.includes(part)))
      header[name] = { ...header[name], dtype: 'F16' };
  };
  // the experts of a projection become one tensor of the device; another projection may have another type
  await refused('E_TENSOR_TYPE', mixture(retype('experts.2.w2')));
  await (await openCheckpoint(mixture(retype('w2')))).close();
  // an expert more than the router knows: its tensor would be left out silently
  await refused(
    'E_TENSOR_SHAPE',
    mixture(() => {}, { num_local_experts: 2 }),
  );
  await refused(
    'E_CONFIG_INVALID',
    mixture((header) => {
      const from = dataLength(header);
      const name = 'model.layers.0.block_sparse_moe.experts.3.w1.weight';
      header[name] = { dtype: 'BF16', shape: [64, 32], data_offsets: [from, from + 4096] };
    }),
  );
  // the same expert under the other name too
  await refused(
    'E_CHECKPOINT_HEADER',
    mixture((header) => {
      const from = dataLength(header);
      const name = 'model.layers.0.mlp.experts.0.gate_proj.weight';
      header[name] = { dtype: 'BF16', shape: [64, 32], data_offsets: [from, from + 4096] };
    }),
  );
  const fused = (shape: number[], dtype = 'BF16') =>
    mixture((header) => {
      for (const name of Object.keys(header)) if (/w[13]/.test(name)) delete header[name];
      let at = 0;
      for (const [name, entry] of Object.entries(header)) {
        if (name === '__metadata__') continue;
        const [from, to] = entry.data_offsets as [number, number];
        header[name] = { ...entry, data_offsets: [at, at + to - from] };
        at += to - from;
      }
      const bytes = shape.reduce((a, b) => a * b, dtype === 'BF16' ? 2 : 1);
      header['model.layers.0.mlp.experts.gate_up_proj'] = { dtype, shape, data_offsets: [at, at + bytes] };
    });
  await (await openCheckpoint(fused([3, 128, 32]))).close();
  await refused('E_TENSOR_SHAPE', fused([3, 64, 64]));
  await refused('E_TENSOR_SHAPE', fused([4, 128, 32]));
  await refused('E_TENSOR_SHAPE', fused([2 ** 40, 0, 32]));
  await refused('E_TENSOR_SHAPE', fused([384, 32]));
  await refused('E_TENSOR_TYPE', fused([3, 128, 32], 'I8'));
});

test('a shared expert that the configuration denies is not left out silently', async () => {
  const folder = 'test/fixtures/tiny/moe-qwen2';
  const weights = await readBytes(`${folder}/model.safetensors`);
  const config = JSON.parse(new TextDecoder().decode(await readBytes(`${folder}/config.json`))) as Json;
  const files = (changes: Json) => ({ 'config.json': json({ ...config, ...changes }), 'model.safetensors': weights });
  await (await openCheckpoint(files({}))).close();
  await rejects('E_CONFIG_INVALID', () => openCheckpoint(files({ shared_expert_intermediate_size: 0 })));
  const ours = { model_type: 'espalier_moe', base_model_type: 'qwen2', moe_layers: [1] };
  await rejects('E_CONFIG_INVALID', () => openCheckpoint(files({ ...ours, shared_expert_gate: false })));
});

test('inspect tells of experts, and what a token meets of them', async () => {
  const report = await inspectModel(await modelTarget('test/fixtures/tiny/moe-qwen2'));
  const { layers, experts, topK, expertSize, sharedSize, sharedGate, activeParameters } = report.experts!;
  assert.equal([layers, experts, topK, expertSize, sharedSize, sharedGate], [[1], 6, 3, 12, 24, true]);
  assert.is(report.parameters - activeParameters, 3 * 3 * 12 * 32);
  // f32 in panels of 8 rows; vectors as they are
  const config = report.config!;
  let bytes = 0;
  for (const { shape, optional } of requiredTensors(config)) {
    const [rows, columns = 1] = shape as [number, number];
    if (!optional) bytes += 4 * (shape.length === 1 ? rows : 8 * Math.ceil(rows / 8) * columns);
  }
  assert.is(report.memory!.weightBytes, bytes);
  assert.is((await inspectModel(await modelTarget('test/fixtures/tiny/qwen2'))).experts, null);
});

test.run();
