// long — trains some eighty models
/** Training of every family: what is written is what was trained, as a model and as an adapter, in the memory that was planned. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { openLocal } from '../../src/open-local.ts';
import { type PlanTrainOptions, planTrain } from '../../src/train.ts';
import { Worst } from '../device/devices.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
import { list } from '../files.ts';
import { BASE, data, FULL, LORA, run } from './jobs.ts';
import { bytesOf, LINES, withNumber } from './texts.ts';

const worst = new Worst();
const FAMILIES = (await list('test/fixtures/tiny')).filter((name) => !name.startsWith('gguf-'));

for (const name of FAMILIES) {
  test(`${name} is trained, and what is written computes what was trained`, async () => {
    const files = await tinyFiles(name);
    const options: PlanTrainOptions =
      name === 'llama-rope-dynamic' ? { ...FULL, maxTokens: 16, long: 'truncate' } : FULL;
    const { receipt, files: written } = await run(files, { ...options, dtype: 'f32' });
    assert.ok(receipt.loss.last < receipt.loss.first, `${receipt.loss.first} to ${receipt.loss.last}`);
    // its loss before a first step is that behind the last one
    const again = await run(written, { ...options, steps: 1 });
    const [before, after] = [receipt.loss.heldOut!, again.receipt.heldOut[0]!.loss];
    assert.ok(worst.within('written against trained: loss', Math.abs(before - after), 2e-6), `${before} ${after}`);
    // tensors have the names and shapes of the source, in its order
    const shapes = async (target: Record<string, Uint8Array | Blob>) => {
      const checkpoint = await openCheckpoint(target);
      const list = [...checkpoint.tensors].map(([tensor, { shape }]) => `${tensor} ${shape}`);
      await checkpoint.close();
      return list;
    };
    assert.equal(await shapes(written), await shapes(files));
    assert.equal(
      receipt.files.map(({ name: file }) => file),
      Object.keys(written)
        .filter((file) => file !== 'espalier-training.json')
        .sort(),
    );
  });
}

test('an adapter is written that computes what was trained, on plain and on quantised weights', async () => {
  for (const name of ['llama-bf16', 'qwen3', 'moe-qwen2', 'moe-granite']) {
    const files = await tinyFiles(name);
    const { receipt, files: written } = await run(files, LORA);
    assert.ok(receipt.loss.last < receipt.loss.first, `${name}: ${receipt.loss.first} to ${receipt.loss.last}`);
    assert.equal(Object.keys(written).sort(), [
      'adapter_config.json',
      'adapter_model.safetensors',
      'espalier-training.json',
    ]);
    const adapter = {
      'adapter_config.json': written['adapter_config.json']!,
      'adapter_model.safetensors': written['adapter_model.safetensors']!,
    };
    const model = await openLocal(files, { precision: 'exact', adapters: [{ from: adapter }] });
    // the whole of the data, held out from a step that changes nothing
    const seen = await run(files, { ...LORA, heldOut: data, steps: 8, data: withNumber(data) });
    const own = { ...seen.files };
    delete own['espalier-training.json'];
    const trained = await openLocal(files, { precision: 'exact', adapters: [{ from: own }] });
    let [sum, count] = [0, 0];
    for (const line of LINES.trimEnd().split('\n')) {
      const ids = [...trained.encode(line), 0];
      for (const { logprob } of (await trained.score(ids)).slice(1)) {
        sum -= logprob!;
        count++;
      }
    }
    const error = Math.abs(sum / count - seen.receipt.loss.heldOut!);
    assert.ok(
      worst.within('adapter as written against trained: loss', error, 5e-6),
      `${name}: ${sum / count} ${seen.receipt.loss.heldOut}`,
    );
    await model.close();
    await trained.close();
  }
});

test('memory is planned, never less than is taken nor a seventh more, and refused beyond the limit before work', async () => {
  const long = bytesOf(
    Array.from({ length: 64 }, (_, i) => `${'abcd efgh '.repeat(5).slice(0, 47 - (i % 3))}\n`).join(''),
  );
  for (const name of ['llama-bf16', 'moe-mixtral', 'gemma3']) {
    for (const change of [
      { full: true },
      { full: true, recompute: false },
      { full: true, recompute: false, rows: 512 },
      { lora: 8 },
      { full: true, freeze: [{ frozen: 'model.embed*' }, { frozen: '*proj*', untilStep: 2 }] },
    ]) {
      const options = { ...BASE, data: long, batch: 64, rows: 2048, steps: 3, end: false, ...change };
      const { memory } = await planTrain(await tinyFiles(name), options);
      const { receipt } = await run(await tinyFiles(name), options);
      const ratio = memory.total / receipt.peakBytes;
      assert.ok(ratio >= 1, `${name} ${JSON.stringify(change)}: ${ratio}`);
      assert.ok(
        worst.within('planned over taken memory, less 1', Math.abs(ratio - 1), 0.15),
        `${name} ${JSON.stringify(change)}: ${ratio}`,
      );
      assert.is(memory.weights + memory.masters > 0, true);
    }
  }
  const stages: string[] = [];
  const error = await rejects('E_OUT_OF_MEMORY', async () =>
    run(await tinyFiles(), { ...FULL, memoryLimit: 2 ** 20, onProgress: ({ stage }) => void stages.push(stage) }),
  );
  assert.match(error.message, /would take .* MiB/);
  assert.ok(stages.every((stage) => stage === 'reading'));
});

test('the worst', () => worst.print());
test.run();
