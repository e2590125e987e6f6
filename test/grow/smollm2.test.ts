// hosts: node — measures the memory of a process
// long — grows all thirty layers of a model of 135 million parameters
/** SmolLM2-135M, a real model out of a quantised file, grown in all its layers: memory, sizes, deviation, and what it says. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Deviation } from '../../src/grow.ts';
import { inspectModel } from '../../src/inspect.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { exists, modelTarget } from '../files.ts';
import { scriptCommand } from '../hosts/script.ts';
import { fixture, shared, sharedJson } from '../model/shared-files.ts';

const FILE = `${shared}models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;
/** Free bytes that are asked for; the result takes 1.5e9. */
const SPACE = 4e9;
const MEMORY = 1.2e9;
const TOKENS = 48;

const { bavail, bsize } = await statfs(tmpdir());
const why = !(await exists(FILE))
  ? '../shared is not here'
  : bavail * bsize < SPACE
    ? `${tmpdir()} has less than ${SPACE} bytes free`
    : null;
if (why !== null) test('smollm2 grown', () => console.log(`  skipped: ${why} (smollm2 grown)`));
else {
  const worst = new Worst();
  const dense = (await modelTarget(FILE)) as string;
  const folder = await mkdtemp(join(tmpdir(), 'espalier-smollm2-'));
  const grown = join(folder, 'smollm2-moe');

  test('8 experts in all 30 layers: deviation, and the memory of the process that grows and compares', async () => {
    const [program, ...args] = scriptCommand(new URL('grow-child.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(program!, [...args, dense, grown]);
    const { deviation, bytes } = JSON.parse(stdout) as { deviation: Deviation; bytes: number };
    assert.ok(worst.within('peak memory in bytes', bytes, MEMORY), `${bytes}`);
    assert.is(deviation.text, 'sample');
    assert.ok(deviation.tokens > 200);
    assert.ok(worst.within('mean KL in nats', deviation.meanKl, 1e-3), `${deviation.meanKl}`);
    assert.ok(worst.within('top-1 disagreement', 1 - deviation.top1Agreement, 0.02), `${deviation.top1Agreement}`);
    // were the experts not there, nothing would differ
    assert.ok(deviation.maxRelative > 1e-6);
  });

  test('parameters are those of the dense model, the experts and the routers (T9)', async () => {
    const [vocab, d, kv, m, layers, experts, k] = [49_152, 576, 192, 1536, 30, 8, 2];
    const ffn = 3 * d * m;
    const want = vocab * d + d + layers * (2 * d + 2 * d * d + 2 * kv * d + ffn);
    assert.is((await inspectModel(dense)).parameters, want);
    const { parameters, experts: report, config } = await inspectModel(grown);
    assert.is(config?.architecture, 'granitemoeshared');
    assert.is(parameters, want + layers * experts * (ffn + d));
    assert.is(report?.activeParameters, parameters - layers * (experts - k) * ffn);
  });

  // that the dense model says this, too, is test/model/smollm2.test.ts
  test('its greedy text is the dense model’s, for 48 tokens on three prompts', async () => {
    const { prompts } = (await sharedJson('golden/smollm2.json')) as {
      prompts: { prompt: string; ids: number[]; text: string }[];
    };
    assert.is(prompts.length, 3);
    const { greedy } = (await fixture('smollm2-greedy.json')) as { greedy: number[][] };
    const model = await openLocal(grown, { precision: 'exact' });
    try {
      for (const [i, { prompt, ids, text: said }] of prompts.entries()) {
        // the vocabulary of the GGUF file has become a tokenizer.json
        assert.equal(model.encode(prompt), ids);
        const options = { maxTokens: TOKENS, stopAtEos: false, showSpecialTokens: true };
        const { tokens, text } = await model.generate(ids, options).result();
        assert.equal(
          tokens.map(({ id }) => id),
          greedy[i]!.slice(0, TOKENS),
        );
        // the reference's second text was generated with three tokens masked: see test/oracles/smollm2_greedy.py
        if (i !== 1) assert.ok(text.length > 0 && said.startsWith(text), text);
      }
    } finally {
      model.close();
    }
  });

  test('the worst figures', () => worst.print());
  test.after(() => rm(folder, { recursive: true, force: true }));
}
test.run();
