/** Real models against Hugging Face transformers: logits, hidden states, entropies, text. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { exists, modelTarget } from '../files.ts';
import { readArrays } from './arrays.ts';
import { distance, runAll } from './run.ts';
import { shared, sharedJson } from './shared-files.ts';

const worst = new Worst();
const skip = (title: string) => test(title, () => console.log(`  skipped: ../shared is not here (${title})`));

interface NanoCase {
  prompt: string;
  ids: number[];
  greedy: number[];
  text: string;
  shannon: number[];
  tsallis_1_5: number[];
  nll: number[];
}

if (!(await exists(`${shared}golden/nano.json`))) skip('nano models');
else {
  const golden = (await sharedJson('golden/nano.json')) as { models: Record<string, NanoCase[]> };
  for (const [name, cases] of Object.entries(golden.models)) {
    test(`${name} equals transformers`, async () => {
      const folder = name === 'nano-base' ? 'models/nano-base' : `${shared}models/${name}`;
      const model = await openLocal(await modelTarget(folder));
      const arrays = await readArrays(`${shared}golden/${name}.safetensors`);
      const { vocabSize } = model.config;
      for (const [i, c] of cases.entries()) {
        const { logits, hidden } = await runAll(model.decoder, c.ids);
        const last = arrays.get(`logits.${i}`)!;
        const rows = last.shape[0]!;
        const error = worstError(logits.subarray((c.ids.length - rows) * vocabSize), last.data as Float32Array);
        assert.ok(worst.within('nano logits, of the largest', error, 2e-4), `${error}`);
        const state = distance(hidden[4]!, arrays.get(`hidden.${i}`)!.data as Float32Array);
        assert.ok(worst.within('nano hidden states, relative', state, 1e-3), `${state}`);
        const scored = await model.score(c.ids, { tsallisOrder: 1.5 });
        for (const [at, s] of scored.entries()) {
          assert.ok(worst.within('nano Shannon entropy', Math.abs(s.entropy - c.shannon[at]!), 1e-4));
          assert.ok(worst.within('nano Tsallis entropy', Math.abs(s.tsallis! - c.tsallis_1_5[at]!), 1e-4));
          if (at > 0) assert.ok(worst.within('nano log-probability', Math.abs(s.logprob! + c.nll[at - 1]!), 1e-3));
        }
        const { tokens, text } = await model
          .generate(c.ids, { maxTokens: c.greedy.length, stopAtEos: false, showSpecialTokens: true })
          .result();
        assert.equal(
          tokens.map((t) => t.id),
          c.greedy,
        );
        assert.is(text, c.text);
        // the command's own way from text to ids gives the prompt too
        if (c.ids[0] === 0) assert.equal(model.encode(c.prompt), c.ids);
      }
      model.close();
    });
  }
}

interface StoryReference {
  prompts: { text: string; ids: number[]; last_logits: number[]; greedy_ids: number[]; greedy_text: string }[];
}
for (const name of ['stories260K', 'babyllama-tok361-1M']) {
  if (!(await exists(`${shared}models/${name}/reference.json`))) {
    skip(name);
    continue;
  }
  test(`${name} equals its reference`, async () => {
    const { prompts } = (await sharedJson(`models/${name}/reference.json`)) as StoryReference;
    const model = await openLocal(await modelTarget(`${shared}models/${name}`));
    for (const p of prompts) {
      assert.equal(model.encode(p.text), p.ids);
      const { logits } = await runAll(model.decoder, p.ids);
      const error = worstError(logits.subarray(-model.config.vocabSize), p.last_logits);
      assert.ok(worst.within(`${name} logits, of the largest`, error, 2e-4), `${error}`);
      const count = p.greedy_ids.length - p.ids.length;
      const { tokens } = await model.generate(p.ids, { maxTokens: count, stopAtEos: false }).result();
      assert.equal([...p.ids, ...tokens.map((t) => t.id)], p.greedy_ids);
      assert.is(model.tokenizer.decode(p.greedy_ids), p.greedy_text);
    }
    model.close();
  });
}

test('the worst figures', () => worst.print());
test.run();
