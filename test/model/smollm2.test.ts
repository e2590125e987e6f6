// long — SmolLM2 on both paths, token by token
/** SmolLM2-135M-Instruct in Q4_1 against Hugging Face transformers on the same file, dequantised to f32. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { STAT, STAT_NUMBERS, STAT_PLACE, STAT_PLACES } from '../../src/device/device.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { exists, modelTarget, readText } from '../files.ts';
import { readArrays } from './arrays.ts';
import { distance, runAll } from './run.ts';
import { fixture, shared, sharedJson } from './shared-files.ts';

interface Golden {
  prompts: {
    prompt: string;
    ids: number[];
    greedy: number[];
    text: string;
    shannon: number[];
    tsallis_1_5: number[];
    nll: number[];
  }[];
  text: { ids: number[]; nll: number[]; shannon: number[]; argmax: number[] };
  icl: { query: string; tokens: number; label_logprob: Record<string, number>; shannon: number }[];
  tokenizer: { text: string; ids: number[] }[];
}

const file = `${shared}models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;
if (!(await exists(file))) test('smollm2', () => console.log('  skipped: ../shared is not here (smollm2)'));
else {
  const golden = (await sharedJson('golden/smollm2.json')) as Golden;
  const model = await modelTarget(file);
  const arrays = await readArrays(`${shared}golden/smollm2.safetensors`);
  const worst = new Worst();
  const exact = await openLocal(model, { precision: 'exact' });
  const { vocabSize } = exact.config;

  test('tokenizer ids are equal', () => {
    for (const { text, ids } of golden.tokenizer) assert.equal(exact.encode(text), ids);
    for (const { prompt, ids } of golden.prompts) assert.equal(exact.encode(prompt), ids);
  });

  test('exact path: logits and hidden states', async () => {
    for (const [i, { ids }] of golden.prompts.entries()) {
      const { logits, hidden, normed } = await runAll(exact.decoder, ids);
      const want = arrays.get(`logits.${i}`)!;
      const error = distance(logits.subarray((ids.length - want.shape[0]!) * vocabSize), want.data as Float32Array);
      assert.ok(worst.within('exact logits, relative', error, 1e-3), `${error}`);
      const middle = distance(hidden[15]!, arrays.get(`hidden15.${i}`)!.data as Float32Array);
      assert.ok(worst.within('exact hidden states after layer 15, relative', middle, 1e-3), `${middle}`);
      const end = distance(normed, arrays.get(`hidden30.${i}`)!.data as Float32Array); // after the final norm
      assert.ok(worst.within('exact last hidden states, relative', end, 1e-3), `${end}`);
    }
  });

  test('exact path: greedy text of 64 tokens, entropies and log-probabilities', async () => {
    // the reference's second text was generated with three tokens masked: see test/oracles/smollm2_greedy.py
    const { greedy } = (await fixture('smollm2-greedy.json')) as { greedy: number[][] };
    for (const [i, p] of golden.prompts.entries()) {
      if (i !== 1) assert.equal(greedy[i], p.greedy);
      const options = { maxTokens: 64, stopAtEos: false, showSpecialTokens: true };
      const { tokens, text } = await exact.generate(p.ids, options).result();
      assert.equal(
        tokens.map((t) => t.id),
        greedy[i],
      );
      if (i !== 1) assert.is(text, p.text);
      const scored = await exact.score(p.ids, { tsallisOrder: 1.5 });
      for (const [at, s] of scored.entries()) {
        assert.ok(worst.within('exact Shannon entropy', Math.abs(s.entropy - p.shannon[at]!), 1e-3));
        assert.ok(worst.within('exact Tsallis entropy', Math.abs(s.tsallis! - p.tsallis_1_5[at]!), 1e-3));
        if (at > 0) assert.ok(worst.within('exact log-probability', Math.abs(s.logprob! + p.nll[at - 1]!), 1e-3));
      }
    }
  });

  test('int8 path on 512 tokens of real text: top-1 agreement and mean KL', async () => {
    const { ids, argmax, nll } = golden.text;
    const fast = await openLocal(model, { precision: 'int8' });
    const scored = await fast.score(ids);
    const top = scored.filter((s, i) => s.argmax === argmax[i]).length / ids.length;
    const drift = scored.slice(1).reduce((sum, s, i) => sum + s.logprob! + nll[i]!, 0) / nll.length;
    // KL needs whole rows: both models side by side, in pieces
    let kl = 0;
    const [a, b] = [await runAll(exact.decoder, ids), await runAll(fast.decoder, ids)];
    let wrong = 0;
    for (let t = 0; t < ids.length; t++) {
      const [x, y] = [a, b].map((r) => r.logits.subarray(t * vocabSize, (t + 1) * vocabSize)) as [
        Float32Array,
        Float32Array,
      ];
      if (x.indexOf(x.reduce((most, value) => Math.max(most, value))) !== argmax[t]) wrong++;
      const [lx, ly] = [logSumExp(x), logSumExp(y)];
      for (let i = 0; i < vocabSize; i++) kl += Math.exp(x[i]! - lx) * (x[i]! - lx - (y[i]! - ly));
    }
    kl /= ids.length;
    console.log(
      `  int8: top-1 agreement ${(100 * top).toFixed(2)} %, mean KL ${kl.toExponential(2)}, mean nll drift ${(-drift).toExponential(1)}`,
    );
    assert.ok(worst.within('int8 top-1 disagreement', 1 - top, 0.02));
    assert.ok(worst.within('int8 mean KL', kl, 0.01));
    assert.ok(worst.within('exact top-1 disagreement', wrong / ids.length, 0.002));
    fast.close();
  });

  test('int8 path, token by token: the kernels of decoding', async () => {
    const { ids, argmax, nll } = golden.text;
    const fast = await openLocal(model, { precision: 'int8' });
    const { decoder, device } = fast;
    const cache = decoder.cache();
    const stats = device.tensor('f32', [1, STAT_NUMBERS]);
    const places = device.tensor('i32', [1, STAT_PLACES]);
    const target = device.tensor('i32', [1, 1]);
    let wrong = 0;
    let drift = 0;
    const count = 160;
    for (let t = 0; t < count; t++) {
      device.write(target, Int32Array.of(ids[t + 1]!));
      await decoder.forward([ids[t]!], cache, {
        onChunk: async (hidden) => {
          device.logitStats(decoder.logits(hidden), target, 1, stats, places);
          const row = (await device.read(stats)) as Float32Array;
          if ((await device.read(places))[STAT_PLACE.argmax] !== argmax[t]) wrong++;
          drift += Math.abs(row[STAT.targetLogProbability]! + nll[t]!);
        },
      });
    }
    assert.ok(worst.within('int8 decoding, top-1 disagreement', wrong / count, 0.025));
    assert.ok(worst.within('int8 decoding, mean change of log-probability', drift / count, 0.04));
    cache.dispose();
    fast.close();
  });

  test('label log-probabilities of in-context prompts', async () => {
    const coarse: Record<string, string> = {
      ABBR: 'abbreviation',
      DESC: 'description',
      ENTY: 'entity',
      HUM: 'human',
      LOC: 'location',
      NUM: 'number',
    };
    const lines = (await readText(`${shared}data/trec_qc/train_5500.label`, 'latin1')).split('\n').slice(0, 16);
    const shots = lines.map((line) => {
      const [, label, question] = /^(\w+):\S+ (.*)$/.exec(line.trim())!;
      return `Question: ${question}\nType: ${coarse[label!]}\n\n`;
    });
    for (const [i, c] of golden.icl.entries()) {
      const ids = exact.encode(`${shots.join('')}Question: ${c.query}\nType:`);
      assert.is(ids.length, c.tokens);
      const { logits } = await runAll(exact.decoder, ids);
      const row = logits.subarray(-vocabSize);
      const lse = logSumExp(row);
      for (const [label, want] of Object.entries(c.label_logprob)) {
        const [id, ...more] = exact.encode(` ${label}`);
        assert.is(more.length, 0);
        assert.ok(worst.within('exact label log-probability', Math.abs(row[id!]! - lse - want), 1e-3));
      }
      const entropy = -row.reduce((sum, x) => sum + Math.exp(x - lse) * (x - lse), 0);
      assert.ok(worst.within('exact entropy after 300 tokens', Math.abs(entropy - c.shannon), 1e-3));
      // a score says the same of the same pass, so one of them does
      if (i > 0) continue;
      const scored = (await exact.score(ids)).at(-1)!.entropy;
      assert.ok(worst.within('exact entropy of a score after 300 tokens', Math.abs(scored - c.shannon), 1e-3));
    }
  });

  test('the worst figures', () => {
    worst.print();
    exact.close();
  });
}

function logSumExp(x: Float32Array): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const v of x) most = Math.max(most, v);
  let sum = 0;
  for (const v of x) sum += Math.exp(v - most);
  return most + Math.log(sum);
}

test.run();
