/** Which layouts can hold which growth exactly, what is refused and what is repaired; and what config.json says then. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { configFromJson } from '../../src/checkpoint/config/config.ts';
import { FAMILIES } from '../../src/checkpoint/families/families.ts';
import type { ModelConfig, StoredType } from '../../src/checkpoint/types.ts';
import { EspalierError } from '../../src/errors.ts';
import { type Fit, fitTarget } from '../../src/grow/plan/fit.ts';
import { chosenLayers, expertSizes } from '../../src/grow/plan/layer-choice.ts';
import type { GrowRecipe } from '../../src/grow/plan/options.ts';
import { resolveOptions } from '../../src/grow/plan/recipe.ts';
import { TARGET_NAMES, type TargetName } from '../../src/grow/targets/names.ts';
import type { GrowPlan } from '../../src/grow/types.ts';
import { configText, outputConfig } from '../../src/grow/write/output-config.ts';

const BASE = {
  vocab_size: 104,
  hidden_size: 48,
  intermediate_size: 96,
  num_hidden_layers: 8,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: [0, 1],
};
const LLAMA = { ...BASE, model_type: 'llama' };
const MISTRAL = { ...BASE, model_type: 'mistral', sliding_window: null };
const QWEN2 = { ...BASE, model_type: 'qwen2' };
const QWEN3 = { ...BASE, model_type: 'qwen3', head_dim: 16 };

type Json = Readonly<Record<string, unknown>>;

/** `halfRotary`: half of each head rotates, which GGUF files can say and stock classes do not compute. */
function config({ halfRotary = false, ...json }: Json): ModelConfig {
  const read = configFromJson(new TextEncoder().encode(JSON.stringify(json)));
  return halfRotary ? { ...read, rope: { ...read.rope, rotaryDims: read.headDim / 2 } } : read;
}

interface Fitted {
  readonly fit: Fit;
  readonly plan: GrowPlan;
  readonly json: Readonly<Record<string, unknown>>;
}

function fitted(json: Json, options: GrowRecipe = {}, stored: StoredType = 'bf16', gguf = false): Fitted {
  const model = config(json);
  const plan = resolveOptions(options);
  const fit = fitTarget(model, stored, plan, chosenLayers(plan.layers, model.nLayers), { gguf });
  return { fit, plan, json: outputConfig(model, fit, plan, expertSizes(plan, model.intermediateSize)) };
}

function refuses(json: Json, options: GrowRecipe, why: RegExp, gguf = false, stored: StoredType = 'bf16'): void {
  try {
    fitted(json, options, stored, gguf);
  } catch (error) {
    assert.instance(error, EspalierError);
    assert.is((error as EspalierError).code, 'E_TARGET', String(error));
    assert.match((error as EspalierError).message, why);
    return;
  }
  assert.unreachable(`${JSON.stringify(options)} was not refused`);
}

test('auto takes a stock layout that is exact, else our own', () => {
  const target = (json: Json, options: GrowRecipe = {}) => fitted(json, options).fit.target;
  assert.is(target(LLAMA), 'granitemoeshared');
  assert.is(target(MISTRAL), 'granitemoeshared');
  assert.is(target(QWEN2), 'qwen2_moe');
  assert.is(target(QWEN3), 'espalier');
  assert.is(target(LLAMA, { anchor: 'folded', rho: 0.01 }), 'mixtral');
  assert.is(target(QWEN3, { anchor: 'folded', rho: 0.01 }), 'qwen3_moe');
  assert.is(target(LLAMA, { layers: { interval: 4 } }), 'espalier');
  assert.is(target(QWEN2, { layers: { interval: 4 } }), 'qwen2_moe');
  assert.is(target({ ...MISTRAL, sliding_window: 16 }), 'espalier');
  assert.is(target({ ...MISTRAL, sliding_window: 64 }), 'granitemoeshared', 'a window as long as the context is none');
  assert.is(target({ ...MISTRAL, sliding_window: 16 }, { anchor: 'folded', rho: 0.01 }), 'mixtral');
  assert.is(target({ ...LLAMA, halfRotary: true }), 'espalier');
  assert.is(target({ ...LLAMA, head_dim: 16 }), 'espalier');
});

test('what a layout cannot hold is refused with a reason', () => {
  refuses({ ...LLAMA, mlp_bias: true }, {}, /biases/);
  refuses(LLAMA, { target: 'granitemoeshared', layers: { interval: 2 } }, /every layer/);
  refuses(LLAMA, { target: 'granitemoeshared', anchor: 'folded', rho: 0.01 }, /shared expert/);
  refuses(QWEN3, { target: 'granitemoeshared' }, /norms of q and k/);
  refuses({ ...MISTRAL, sliding_window: 16 }, { target: 'granitemoeshared' }, /sliding window/);
  refuses({ ...LLAMA, halfRotary: true }, { target: 'granitemoeshared' }, /rotates whole heads/);
  refuses({ ...LLAMA, head_dim: 16 }, { target: 'qwen2_moe' }, /head size/);
  refuses(LLAMA, { target: 'mixtral', anchor: 'shared' }, /no shared expert/);
  refuses(QWEN2, { target: 'mixtral', rho: 0.01 }, /no biases/);
  refuses(LLAMA, { target: 'mixtral', rho: 0.01, layers: [1] }, /every layer/);
  refuses({ ...LLAMA, attention_bias: true }, { target: 'qwen2_moe' }, /bias of o/);
  refuses(LLAMA, { target: 'qwen3_moe', rho: 0.01 }, /norms q and k/);
  refuses(
    { ...QWEN2, use_sliding_window: true, sliding_window: 8, max_window_layers: 2 },
    { target: 'qwen2_moe' },
    /window/,
  );
  refuses({ ...LLAMA, model_type: 'mixtral', num_local_experts: 4, num_experts_per_tok: 2 }, {}, /already/);
});

test('a folded correction that would be rounded away is refused, or written as f32', () => {
  const folded = { anchor: 'folded', target: 'mixtral' } as const;
  refuses(LLAMA, { ...folded, dtype: 'bf16' }, /lost in the rounding of bf16/);
  refuses(LLAMA, { ...folded, dtype: 'f16' }, /lost in the rounding of f16/);
  assert.is(fitted(LLAMA, { ...folded, dtype: 'f16', rho: 0.002 }).fit.type, 'f16');
  assert.is(fitted(LLAMA, { ...folded, dtype: 'bf16', rho: 0.01 }).fit.type, 'bf16');
  const { fit, json } = fitted(LLAMA, folded);
  assert.is(fit.type, 'f32');
  assert.is(json['torch_dtype'], 'float32');
  assert.ok(fit.notes.some((note) => /Written as f32/.test(note)));
  // nothing is folded in where there is no correction
  assert.is(fitted(LLAMA, { method: 'naive', anchor: 'none', target: 'mixtral' }).fit.type, 'bf16');
});

test('the element type follows the source, and a quantised one says so', () => {
  assert.is(fitted(LLAMA, {}, 'f16').fit.type, 'f16');
  assert.is(fitted(LLAMA, { dtype: 'f32' }, 'f16').fit.type, 'f32');
  const { fit } = fitted(LLAMA, {}, 'q4_1');
  assert.is(fit.type, 'bf16');
  assert.ok(fit.notes.some((note) => /quantised/.test(note)));
});

test('for GGUF interleaving is refused, and qwen2_moe is adapted', () => {
  refuses(QWEN2, { layers: { interval: 2 } }, /every layer/, true);
  refuses(QWEN3, {}, /llama\.cpp/, true);
  const { fit, json } = fitted(QWEN2, {}, 'bf16', true);
  assert.is(fit.target, 'qwen2_moe');
  assert.is(json['tie_word_embeddings'], false);
  assert.is(json['norm_topk_prob'], false);
  assert.ok(fit.untie && fit.sharedGate > 0 && !fit.renormalise);
  assert.is(fit.notes.length, 5, fit.notes.join('\n'));
  const granite = fitted(LLAMA, {}, 'bf16', true);
  assert.is(granite.json['tie_word_embeddings'], true);
  assert.is(granite.fit.sharedGate, 0);
});

test('config.json says what was grown, and reads back as that', () => {
  const read = (json: Json) => config(json).moe!;
  const { json: granite } = fitted({ ...LLAMA, rope_theta: 5e5 });
  assert.is(granite['attention_multiplier'], 1 / Math.sqrt(8));
  assert.is(granite['rope_theta'], 5e5);
  assert.equal(granite['eos_token_id'], [0, 1]);
  assert.is(config(granite).attentionScale, 1 / Math.sqrt(8));
  assert.is(read(granite).sharedSize, 96);
  assert.is(read(granite).router.score, 'selected-softmax');
  assert.is(read(granite).layers.length, 8);

  const even = fitted(QWEN2, { layers: { interval: 4 } }).json;
  assert.is(even['decoder_sparse_step'], 4);
  assert.equal(even['mlp_only_layers'], []);
  assert.equal(read(even).layers, [3, 7]);
  assert.ok(read(even).sharedGate && read(even).router.renormalise);
  const odd = fitted(QWEN2, { layers: [0, 5] }).json;
  assert.is(odd['decoder_sparse_step'], 1);
  assert.equal(read(odd).layers, [0, 5]);

  const own = fitted(
    { ...QWEN3, rope_scaling: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 16 } },
    {
      layers: { last: 2 },
      experts: 6,
    },
  ).json;
  assert.is(own['model_type'], 'espalier_moe');
  assert.equal(read(own).layers, [6, 7]);
  assert.is(read(own).experts, 6);
  assert.not(read(own).sharedGate);
  assert.ok(config(own).qkNorm);
  assert.is(config(own).rope.scaling.type, 'yarn');

  const mixtral = fitted({ ...MISTRAL, sliding_window: 16 }, { target: 'mixtral', rho: 0.01 }).json;
  assert.is(config(mixtral).slidingWindow, 16);
  assert.is(read(mixtral).sharedSize, 0);
  const routed = fitted(LLAMA, { target: 'mixtral', anchor: 'routed' }).json;
  assert.is(read(routed).experts, 9);
  const split = fitted(LLAMA, { target: 'mixtral', method: 'split', anchor: 'none' }).json;
  assert.is(read(split).expertSize, 12);
});

test('attention of every family survives in our own layout', () => {
  const cases = [
    { ...LLAMA, attention_bias: true },
    { ...MISTRAL, sliding_window: 16 },
    { ...QWEN2, use_sliding_window: true, sliding_window: 8, max_window_layers: 2 },
    { ...QWEN3, attention_bias: true },
    { ...LLAMA, halfRotary: true },
  ];
  for (const json of cases) {
    const before = config(json);
    const { moe, architecture, ...after } = config(fitted(json, { target: 'espalier' }).json);
    assert.is(architecture, 'espalier_moe');
    assert.ok(moe);
    const { moe: _, architecture: family, ...want } = before;
    assert.equal(after, want, family);
  }
});

test('what a target does not list is refused, whatever the family is called', () => {
  const plan = resolveOptions({});
  const fits = (change: Partial<ModelConfig>, target: TargetName | 'auto' = 'auto') => {
    const model = { ...config(LLAMA), ...change };
    return fitTarget(model, 'bf16', { ...plan, target }, chosenLayers('auto', model.nLayers)).target;
  };
  const wrong = (change: Partial<ModelConfig>, why: RegExp, target: TargetName | 'auto' = 'auto') => {
    assert.throws(
      () => fits(change, target),
      (error: EspalierError) => error.code === 'E_TARGET' && why.test(error.message) && error.hint.length > 10,
    );
  };
  const { rope } = config(LLAMA);
  wrong({ rope: { ...rope, layout: 'interleaved' } }, /none has any RoPE that turns neighbours/);
  wrong({ rope: { ...rope, frequencyDivisors: new Float32Array(4).fill(2) } }, /baked into its GGUF/);
  wrong({ headless: true }, /without an output matrix/);
  // Granite's factors, which the others lack
  assert.is(fits({ embeddingScale: 12 }), 'granitemoeshared');
  for (const target of TARGET_NAMES.filter((name) => name !== 'granitemoeshared')) {
    const anchor = target === 'mixtral' || target === 'qwen3_moe' ? 'folded' : 'shared';
    const model = { ...config(target === 'qwen3_moe' ? QWEN3 : LLAMA), embeddingScale: 12 };
    const own = resolveOptions({ target, anchor, rho: 0.1 });
    assert.throws(
      () => fitTarget(model, 'bf16', own, chosenLayers('auto', model.nLayers)),
      (error: EspalierError) => error.code === 'E_TARGET' && /factor of the embeddings/.test(error.message),
      target,
    );
  }
  const scaled = { embeddingScale: 12, residualScale: 0.5, logitScale: 3, attentionScale: 0.25 };
  const model = { ...config(LLAMA), ...scaled };
  const fit = fitTarget(model, 'bf16', plan, chosenLayers('auto', model.nLayers));
  const { architecture, ...after } = config(outputConfig(model, fit, plan, expertSizes(plan, model.intermediateSize)));
  assert.is(architecture, 'granitemoeshared');
  for (const [key, value] of Object.entries(scaled)) assert.is(after[key as keyof typeof scaled], value, key);
});

test('families whose layers no target has are refused by what they are, and held where they are plain', () => {
  const gemma = { ...BASE, model_type: 'gemma3_text', sliding_window: 16 };
  const smollm = { ...BASE, model_type: 'smollm3' };
  for (const target of ['auto', ...TARGET_NAMES] as const) {
    const anchor = target === 'mixtral' || target === 'qwen3_moe' ? 'folded' : 'shared';
    refuses(gemma, { target, anchor, rho: 0.1 }, /norms behind attention and feed-forward/);
    refuses(smollm, { target, anchor, rho: 0.1 }, /layers without RoPE/);
  }
  // every layer rotates: nothing is left that a stock layout lacks
  const plain = fitted({ ...smollm, no_rope_layers: Array(8).fill(1) });
  assert.is(plain.fit.target, 'granitemoeshared');
  refuses({ ...smollm, no_rope_layers: Array(8).fill(1) }, { target: 'espalier' }, /base_model_type/);
});

/** What must be the same behind a target: all but the experts, and what is another name for the same or is zeros. */
function computed(model: ModelConfig, biases: Pick<ModelConfig, 'qkvBias' | 'outputBias'>): object {
  const { moe, architecture, intermediateSize, attentionScale, slidingWindow, windowLayers, ...rest } = model;
  const windowed = slidingWindow !== null && slidingWindow < model.maxPositions;
  return {
    ...rest,
    ...biases,
    attentionScale: attentionScale ?? 1 / Math.sqrt(model.headDim),
    windows: windowed ? [slidingWindow, windowLayers] : null,
  };
}

test('a dense model of any family in any target is refused, or its config.json reads back as the same', () => {
  const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 16 };
  const llama3 = { rope_type: 'llama3', factor: 2, low_freq_factor: 1, high_freq_factor: 4 };
  const variants: Json[] = [
    {},
    { attention_bias: true },
    { head_dim: 16 },
    { sliding_window: 16, use_sliding_window: true },
    { sliding_window: 16, use_sliding_window: true, max_window_layers: 3 },
    { halfRotary: true },
    { rope_scaling: yarn },
    { rope_scaling: llama3 },
    { rope_scaling: { rope_type: 'linear', factor: 2 } },
    { rope_scaling: { rope_type: 'dynamic', factor: 2 }, rope_theta: 5e5 },
    { tie_word_embeddings: false, eos_token_id: 3, rms_norm_eps: 1e-5 },
  ];
  const held = new Map<string, Set<string>>();
  for (const family of Object.keys(FAMILIES)) {
    for (const variant of variants) {
      // most layers of Gemma have a window whatever the file says
      const window = family === 'gemma3_text' ? 16 : null;
      const model = config({ ...BASE, sliding_window: window, model_type: family, ...variant });
      if (model.moe !== null) continue;
      for (const target of TARGET_NAMES) {
        for (const [anchor, layers] of [
          ['shared', 'auto'],
          ['folded', 'auto'],
          ['none', { interval: 3 }],
        ] as const) {
          const plan = resolveOptions({ target, anchor, layers, rho: 0.1 });
          let fit: Fit;
          try {
            fit = fitTarget(model, 'bf16', plan, chosenLayers(plan.layers, model.nLayers));
          } catch (error) {
            assert.is((error as EspalierError).code, 'E_TARGET', `${family} ${target}: ${error}`);
            continue;
          }
          const json = outputConfig(model, fit, plan, expertSizes(plan, model.intermediateSize));
          const after = config(JSON.parse(configText(json)));
          const { qkvBias, outputBias } = after;
          const name = `${family} ${JSON.stringify(variant)} in ${target}`;
          assert.equal(computed(after, { qkvBias, outputBias }), computed(model, { qkvBias, outputBias }), name);
          assert.ok((qkvBias || !model.qkvBias) && (outputBias || !model.outputBias), name);
          assert.equal(after.moe!.layers, fit.layers, name);
          assert.is(after.moe!.router.renormalise || after.moe!.router.score === 'selected-softmax', true, name);
          held.set(target, (held.get(target) ?? new Set()).add(family));
        }
      }
    }
  }
  const families = (target: string) => [...held.get(target)!];
  for (const family of ['llama', 'mistral', 'qwen2']) assert.ok(families('granitemoeshared').includes(family), family);
  for (const family of ['llama', 'mistral']) assert.ok(families('mixtral').includes(family), family);
  for (const family of ['llama', 'mistral', 'qwen2']) assert.ok(families('qwen2_moe').includes(family), family);
  assert.equal(families('qwen3_moe'), ['qwen3']);
  for (const family of ['llama', 'mistral', 'qwen2', 'qwen3']) assert.ok(families('espalier').includes(family), family);
});

test.run();
