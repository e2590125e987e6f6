// device: webgpu — only there a choice of experts stays on the device
/** Experts that are chosen without a readback: against the rule on the host, and texts written so against coefficients by the formulas. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROUTING_RULE, type RoutingRule } from '../../src/checkpoint/adapter/routing.ts';
import { WebGpuDevice } from '../../src/device/webgpu/webgpu-device.ts';
import { GenerationBatch } from '../../src/model/generate/batch.ts';
import { Generation } from '../../src/model/generate/generation.ts';
import type { GenerateOptions } from '../../src/model/generate/options.ts';
import { coefficientsOf, shareRule } from '../../src/model/routed/rule.ts';
import { openLocal } from '../../src/open-local.ts';
import { put, Worst } from '../device/devices.ts';
import { randomF32 } from '../device/reference.ts';
import { code } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { coefficients, idsOf, routedModels, whole } from './routed-models.ts';

const device = await WebGpuDevice.create({ debug: true });
const nano = await openLocal(await modelTarget('models/nano-base'), { device: 'wasm' });
const worst = new Worst();

test('expertShares decides as the rule does', async () => {
  for (const own of [{}, { path: 'tr' }, { cut: null }, { most: 1 }, { temperature: 0.1, strength: 0.4 }] as const) {
    const rule: RoutingRule = { ...ROUTING_RULE, ...own };
    for (const [rows, experts] of [
      [1, 1],
      [70, 5],
    ] as const) {
      const logits = randomF32(rows * (experts + 1), 5, 4);
      // equal logits, and those that lie far off each other
      logits.set(experts > 1 ? [2, 2, 2, 1, 2, 0, 1e4, -1e4, 1e4] : [1, 1]);
      const entropies = randomF32(rows, 6, 2.4);
      entropies[0] = Math.fround(rule.cut ?? 0);
      const tensors = [put(device, [rows, experts + 1], logits), put(device, [rows, 1], entropies)] as const;
      const out = device.tensor('f32', [rows, experts]);
      device.expertShares(tensors[0], rule.cut === null ? null : tensors[1], shareRule(rule), out);
      const got = (await device.read(out)) as Float32Array;
      const want = new Float32Array(experts);
      for (let r = 0; r < rows; r++) {
        // the cut itself is low, as it is in f32
        const cut = rule.cut === null ? null : Math.fround(rule.cut);
        coefficientsOf({ ...rule, cut }, logits.slice(r * (experts + 1), (r + 1) * (experts + 1)), entropies[r]!, want);
        for (let e = 0; e < experts; e++) {
          const error = Math.abs(got[r * experts + e]! - want[e]!);
          assert.ok(worst.within('expertShares', error, 1e-6), `row ${r}, ${JSON.stringify(own)}: ${error}`);
        }
      }
      for (const t of [...tensors, out]) t.dispose();
    }
  }
});

test('what is no number is shown', async () => {
  const logits = put(device, [4, 3], [0, Number.NaN, 1, 0, 1, Number.POSITIVE_INFINITY, 0, 1, 2, 0, 1, 2]);
  const entropies = put(device, [4], [1, 1, Number.NaN, 1]);
  const out = device.tensor('f32', [4, 2]);
  device.expertShares(logits, entropies, shareRule(ROUTING_RULE), out);
  const got = [...((await device.read(out)) as Float32Array)];
  assert.equal(got.map(Number.isNaN), [true, true, true, true, true, true, false, false]);
  assert.throws(() => device.expertShares(logits, null, shareRule(ROUTING_RULE), out), code('E_SHAPE'));
  assert.throws(() => device.expertShares(out, entropies, shareRule(ROUTING_RULE), out), code('E_SHAPE'));
  for (const t of [logits, entropies, out]) t.dispose();
});

for (const [kind, cut] of [
  ['global', 1.5],
  ['both', 1.5],
  ['hidden', null],
] as const) {
  test(`texts run ahead, each what it is alone, and what coefficients by the formulas give: ${kind}`, async () => {
    const rule: RoutingRule = { ...ROUTING_RULE, cut };
    const models = await routedModels(device, 'llama-gqa', { rule, kind });
    const { routed, plain } = models;
    let ahead = 0;
    const real = routed.forwardAhead.bind(routed);
    routed.forwardAhead = (...args) => {
      ahead++;
      return real(...args);
    };
    const context = { decoder: routed, tokenizer: nano.tokenizer, eosIds: new Set<number>() };
    const write = (ids: unknown, options: GenerateOptions = {}) => new Generation(context, ids as number[], options);
    const prompts = [5, 9, 1].map((length, i) => idsOf(length, routed.config.vocabSize, 3 + i));
    const options = { maxTokens: 8, temperature: 0, stopAtEos: false } as const;
    const alone: (readonly (readonly [number, number])[])[] = [];
    for (const ids of prompts) {
      const { tokens } = await write(ids, options).result();
      alone.push(tokens.map(({ id, logprob }) => [id, logprob] as const));
    }
    assert.is(ahead, 6 + 6 + 7, 'the prompt, the token behind it, and the rest ahead; the last prompt is a token');
    const together = await new GenerationBatch(prompts, { ...options, batch: 3 }, write).results();
    assert.equal(
      together.map(({ tokens }) => tokens.map(({ id, logprob }) => [id, logprob])),
      alone,
    );
    for (const [i, prompt] of prompts.entries()) {
      const ids = [...prompt, ...alone[i]!.map(([id]) => id)];
      const logits = await whole(plain, ids, await coefficients(models, ids, rule));
      const { vocabSize } = plain.config;
      for (const [n, [id, logprob]] of alone[i]!.entries()) {
        const at = (prompt.length - 1 + n) * vocabSize;
        const row = logits.subarray(at, at + vocabSize);
        const largest = row.reduce((a, b) => Math.max(a, b));
        const total = row.reduce((sum, x) => sum + Math.exp(x - largest), 0);
        assert.ok(row[id]! >= largest - 1e-4, `text ${i}, token ${n} is not the likeliest`);
        const error = Math.abs(row[id]! - largest - Math.log(total) - logprob);
        assert.ok(worst.within('log-probability', error, 1e-5), `text ${i}, token ${n}: ${error}`);
      }
    }
    models.dispose();
  });
}

test('a rule that goes by the token before does not run ahead', async () => {
  const models = await routedModels(device, 'llama-gqa', { rule: { ...ROUTING_RULE, alignment: 'lagged' } });
  assert.not.ok(models.routed.canRunAhead);
  assert.ok(models.base.canRunAhead);
  models.dispose();
});

test('nothing is left', () => {
  assert.is(device.stats().tensors, 0, device.liveTensors().join('\n'));
  device.close();
  nano.close();
  worst.print();
});

test.run();
