/** What a receipt must not certify: comparisons of numbers that are none, of predictions that say nothing, of weights that compute nothing. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GrowRecipe } from '../../src/grow/plan/options.ts';
import { grow } from '../../src/grow.ts';
import { divergence, logSoftmax } from '../../src/model/divergence.ts';
import { openLocal } from '../../src/open-local.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { code, rejects } from '../errors.ts';
import { modelOf, SMALL, type Weights } from './models.ts';

const SMALLER = { ...SMALL, layers: 1 };

/** Sets every entry whose tensor's name matches. */
const set =
  (name: RegExp, value: (i: number) => number) =>
  (weights: Weights): void => {
    let some = false;
    for (const [key, { values }] of weights) {
      if (!name.test(key)) continue;
      values.forEach((_, i) => {
        values[i] = value(i);
      });
      some = true;
    }
    assert.ok(some, `${name}`);
  };
const one = (name: RegExp, value: number) => (weights: Weights) => {
  for (const [key, { values }] of weights) if (name.test(key)) values[5] = value;
};

async function refused(
  model: Record<string, Uint8Array>,
  says: RegExp,
  options: GrowRecipe & { verify?: boolean } = {},
) {
  const out = memoryOutput('grown');
  const error = await rejects('E_TENSOR_VALUE', () => grow(model, { lanes: 1, ...options, out }));
  assert.match(error.message, says);
  assert.throws(() => out.result(), 'nothing has its final name');
}

test('a model that overflows is compared with nothing', async () => {
  await refused(modelOf(one(/layers\.0\.self_attn\.v_proj/, 3e38)), /dense model's logits are not finite/);
  await refused(modelOf(set(/lm_head/, (i) => (i % 7 ? 3e38 : -1e38))), /dense model's logits are not finite/);
  // in a feed-forward it is found where the experts are measured, compared or not
  for (const name of [/layers\.1\.mlp\.gate/, /layers\.1\.mlp\.up/, /layers\.1\.mlp\.down/]) {
    await refused(modelOf(set(name, (i) => 1e38 * Math.sin(i * i))), /layer 1 .*overflows/i, { verify: false });
  }
});

test('predictions that say nothing are no agreement', async () => {
  await refused(modelOf(set(/lm_head/, () => 0)), /same logit/);
  await refused(modelOf(set(/lm_head/, () => 0.25)), /same logit/);
  await refused(modelOf(set(/model\.norm/, () => 0)), /same logit/);
  await refused(modelOf(set(/embed_tokens/, (i) => Math.sin(i % SMALL.hidden))), /same at every position/);
  await refused(modelOf(set(/./, () => 0)), /zero/i);
});

test('weights of zeros have no directions, and a feed-forward of zeros none to be held against', async () => {
  const zero = modelOf(set(/layers\.1\.mlp\.down/, () => 0));
  for (const method of ['spri', 'scaled-copy', 'zero-delta', 'naive', 'drop', 'split'] as const) {
    await refused(zero, /layer 1.* zeros?/i, { method, verify: false });
  }
  await refused(modelOf(set(/layers\.0\.mlp\.gate/, () => 0)), /layer 0.* zeros?/i, { verify: false });
  await refused(modelOf(set(/layers\.0\.mlp\.up/, () => 0)), /layer 0.* zeros?/i, { placement: ['up'], verify: false });
});

test('what a type cannot hold is not written as infinity', async () => {
  const jobs: [GrowRecipe, says: RegExp][] = [
    [{ rho: 1e6, dtype: 'f16' }, /down projection has numbers beyond the range of f16/],
    [{ rho: 3e38, dtype: 'bf16' }, /beyond the range of bf16/],
    [{ rho: 1e300 }, /beyond the range of f32/],
    [{ method: 'noise', sigma: 1e39 }, /beyond the range of f32/],
    [{ method: 'zero-delta', noise: { kind: 'absolute', sigma: 3e38 } }, /beyond the range of f32/],
    [{ router: { kind: 'normal', std: 1e6 }, dtype: 'f16' }, /router has numbers beyond the range of f16/],
    [{ router: { kind: 'uniform', std: 1e300 } }, /router has numbers beyond the range of f32/],
  ];
  for (const [options, says] of jobs) await refused(modelOf(undefined, SMALLER), says, { ...options, verify: false });
  // twice the shared expert
  const large = modelOf(one(/mlp\.down/, 5e4), SMALLER, 'f16');
  await refused(large, /beyond f16/, { target: 'qwen2_moe', verify: false });
});

test('corrections that a type rounds away are no corrections', async () => {
  const small = modelOf((weights) => {
    for (const [name, { values }] of weights)
      if (/mlp\.down/.test(name)) for (let i = 0; i < values.length; i++) values[i]! *= 1e-6;
  }, SMALLER);
  await refused(small, /Rounding has left nothing of the corrections/, { dtype: 'f16', rho: 1e-4, verify: false });
});

test('scores, vectors, texts and loads of a model that overflows', async () => {
  const ids = [3, 4, 5, 6];
  const broken = [one(/layers\.0\.self_attn\.v_proj/, 3e38), set(/lm_head/, (i) => (i % 7 ? 3e38 : -1e38))];
  for (const [i, spoil] of broken.entries()) {
    const files = modelOf(spoil, SMALL);
    const model = await openLocal({ ...files, 'tokenizer.json': TOKENIZER }, { precision: 'exact' });
    try {
      await rejects('E_TENSOR_VALUE', () => model.score(ids));
      await rejects('E_TENSOR_VALUE', () => model.generate(ids, { maxTokens: 1 }).result());
      await rejects('E_TENSOR_VALUE', () => model.generate(ids, { maxTokens: 1, temperature: 1, topK: 4 }).result());
      if (i === 1) continue; // the head alone
      for (const pool of ['mean', 'last', 'none'] as const) {
        await rejects('E_TENSOR_VALUE', () => model.embed(ids, { pool }));
      }
    } finally {
      model.close();
    }
  }
});

test('a divergence of rows that are no probabilities is none', () => {
  const row = [0.1, 0.2, 0.3];
  const bad = [
    [Number.NaN, 0, 0],
    [0, Number.NaN, 0],
    [Number.POSITIVE_INFINITY, 0, 0],
    Array(3).fill(Number.NEGATIVE_INFINITY),
  ];
  for (const one of bad) assert.throws(() => logSoftmax(one), code('E_TENSOR_VALUE'));
  for (const one of bad.slice(0, 3)) {
    assert.throws(() => divergence(logSoftmax(row), one), code('E_TENSOR_VALUE'));
    assert.throws(() => divergence(one, logSoftmax(row)), code('E_TENSOR_VALUE'));
  }
  assert.throws(() => divergence([], []), code('E_ARGUMENT'));
  // a token that is impossible in one is no fault
  const sure = logSoftmax([0, Number.NEGATIVE_INFINITY]);
  assert.is(divergence(sure, logSoftmax([0, 0])), Math.log(2));
  assert.is(divergence(logSoftmax([0, 0]), sure), Number.POSITIVE_INFINITY);
});

const LETTERS = Array.from({ length: SMALL.vocab }, (_, i) => String.fromCharCode(97 + i));
const TOKENIZER = new TextEncoder().encode(
  JSON.stringify({
    added_tokens: [],
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: Object.fromEntries(LETTERS.map((letter, i) => [letter, i])), merges: [] },
  }),
);

test.run();
