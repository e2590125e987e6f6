/** Dynamic block-sparse attention against transformers, and as an arm: what it shows, counts and leaves behind. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseData } from '../../src/datasets/data.ts';
import { TEMPLATES } from '../../src/datasets/templates.ts';
import type { Device, Tensor } from '../../src/device/device.ts';
import { parseArms } from '../../src/evaluate/arms.ts';
import { BlockSparse } from '../../src/evaluate/block-sparse.ts';
import type { EvaluateOptions } from '../../src/evaluate/options.ts';
import { evaluate } from '../../src/evaluate/run.ts';
import type { EvaluationRecord, ItemResult } from '../../src/evaluate/types.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import { create, Worst } from '../device/devices.ts';
import { worstError } from '../device/reference.ts';
import { rejects } from '../errors.ts';
import { modelTarget, readJson } from '../files.ts';
import { logitsOf } from '../model/tiny.ts';
import { tinyModel } from '../show/models.ts';
import { animalsAndNumbers } from './examples.ts';

interface Case {
  readonly model: string;
  readonly texts: { readonly prefix: string; readonly blocks: readonly (readonly string[])[]; readonly query: string };
  readonly ids: { readonly prefix: number[]; readonly blocks: number[][][]; readonly query: number[] };
  readonly chosen: readonly number[];
  readonly keys: readonly (readonly number[])[];
  readonly values: readonly (readonly number[])[];
  readonly tail: number;
  readonly step: number;
  readonly logits: readonly number[];
}

const { cases } = (await readJson('test/fixtures/dbsa.json')) as { readonly cases: readonly Case[] };
const worst = new Worst();
const device: Device = await create();
const model = await openLocal(await modelTarget('models/nano-base'), { device, precision: 'exact' });

const blocksOf = (texts: readonly (readonly string[])[]) =>
  texts.map((some, b) => some.map((text, i) => ({ id: `${b}.${i}`, text })));
const floats = async (opened: LocalModel, tensor: Tensor) => (await opened.device.read(tensor)) as Float32Array;

for (const one of cases) {
  test(`blocks and what a query sees of them, against transformers [${one.model}]`, async () => {
    const opened = one.model === 'nano-base' ? model : await tinyModel(one.model, device, { bos: true });
    const { prefix, blocks, query } = one.texts;
    const { config, decoder } = opened;
    assert.equal(opened.encode(prefix), one.ids.prefix);
    assert.equal(opened.encode(query, { addBos: false }), one.ids.query);
    const own = { instruction: prefix, storage: 'f32' } as const;
    const sparse = await BlockSparse.create(opened, blocksOf(blocks), own);
    assert.equal(sparse.tokens([0, 3]), [
      ...one.ids.prefix,
      ...one.ids.blocks[0]!.flat(),
      ...one.ids.blocks[3]!.flat(),
    ]);
    const last = sparse.stored(blocks.length - 1);
    const width = config.nKvHeads * config.headDim;
    for (const [name, rows, want] of [
      ['keys before RoPE', last.keys, one.keys],
      ['values', last.values, one.values],
    ] as const) {
      const all = await floats(opened, rows.data);
      for (const [layer, list] of want.entries()) {
        assert.is(list.length % width, 0);
        const got = all.subarray(layer * last.length * width).subarray(0, list.length);
        const error = worstError(got, list);
        assert.ok(worst.within(`${name}, of the largest`, error, 1e-5), `${name} ${layer}: ${error}`);
      }
    }
    // twice, so that what was placed for another query is seen to be gone
    for (const chosen of [one.chosen.slice(0, 2), one.chosen]) {
      const cache = await sparse.place(chosen);
      assert.is(cache.length, sparse.tokens(chosen).length);
      assert.equal(
        cache.positions,
        Array.from({ length: cache.length }, (_, i) => i),
      );
      if (chosen !== one.chosen) continue;
      const before = cache.length;
      const all = await logitsOf(decoder, cache, one.ids.query);
      cache.truncate(before);
      const some = all.subarray((one.ids.query.length - one.tail) * config.vocabSize);
      const error = worstError(
        some.filter((_, i) => i % one.step === 0),
        one.logits,
      );
      assert.ok(worst.within('logits of the query, of the largest', error, 1e-5), `${error}`);
      // what ordinary attention over the same text gives is far from it
      const plain = decoder.cache();
      const full = await logitsOf(decoder, plain, [...sparse.tokens(chosen), ...one.ids.query]);
      plain.dispose();
      assert.ok(worstError(full.subarray(-all.length), all) > 1e-3);
    }
    sparse.close();
    sparse.close();
    if (opened !== model) opened.close();
  });
}

test('keys and values in f16, int8 and int4 move the logits by as much as they round', async () => {
  const { texts, ids, chosen } = cases.find((one) => one.model === 'nano-base')!;
  const logits: Float32Array[] = [];
  for (const storage of ['f32', 'f16', 'int8', 'int4'] as const) {
    const sparse = await BlockSparse.create(model, blocksOf(texts.blocks), { instruction: texts.prefix, storage });
    logits.push(await logitsOf(model.decoder, await sparse.place(chosen), ids.query));
    sparse.close();
  }
  const [f32, f16, int8, int4] = logits;
  const half = worstError(f16!, f32!);
  const byte = worstError(int8!, f32!);
  assert.ok(half > 0 && worst.within('logits with f16 at rest', half, 2e-3), `${half}`);
  assert.ok(byte > half && worst.within('logits with int8 at rest', byte, 5e-2), `${byte}`);
  const nibble = worstError(int4!, f32!);
  assert.ok(nibble > byte && worst.within('logits with int4 at rest', nibble, 0.3), `${nibble}`);
});

test('the anchor is always chosen, and then those that share most words', async () => {
  const inputs = ['red fox', 'blue fox', 'nine stones', 'a whale', 'red whale'];
  const groups = inputs.map((input, i) => [{ id: `${i}`, text: `${input}\n`, input }]);
  const sparse = await BlockSparse.create(model, groups);
  assert.is(sparse.size, 5);
  assert.equal(sparse.choose('a red whale', 1), [0]);
  assert.equal(sparse.choose('stones', 2), [0, 2]);
  assert.equal(sparse.choose('a red whale', 3), [0, 3, 4]);
  assert.equal(sparse.choose('red fox', 2), [0, 1]); // the anchor is the best itself, and counts once
  assert.equal(sparse.choose('nothing of it', 3), [0, 1, 2]);
  assert.equal(sparse.choose('whale', 5), [0, 1, 2, 3, 4]);
  assert.equal(
    sparse.shots([0, 3]).map(({ id }) => id),
    ['0', '3'],
  );
  sparse.close();
});

test('what cannot be read', async () => {
  const { tensors } = device.stats();
  const long = Array.from({ length: 8 }, (_, i) => [{ id: `${i}`, text: 'and so on '.repeat(100) }]);
  await rejects('E_CONTEXT_LENGTH', () => BlockSparse.create(model, long));
  const groups = blocksOf(cases.at(-1)!.texts.blocks);
  await rejects('E_ABORTED', () => BlockSparse.create(model, groups, { signal: AbortSignal.abort() }));
  const abort = new AbortController();
  const running = BlockSparse.create(model, groups, { signal: abort.signal });
  queueMicrotask(() => queueMicrotask(() => abort.abort()));
  await rejects('E_ABORTED', () => running);
  assert.is(device.stats().tensors, tensors);
});

const { list } = parseData('jsonl', new TextEncoder().encode(animalsAndNumbers()));
const labels = [...new Set(list.map(({ output }) => output))].sort();
const task = { kind: 'labels', labels, train: list } as const;
const run = async (arms: string, more: Partial<EvaluateOptions> = {}): Promise<readonly EvaluationRecord[]> =>
  evaluate(model, task, { arms: parseArms(arms), template: TEMPLATES.trec, pool: 24, test: 5, seed: 3, ...more });
const results = async (arms: string, more: Partial<EvaluateOptions> = {}) =>
  (await run(arms, more)) as readonly ItemResult[];
const of = (records: readonly ItemResult[], arm: string) => records.filter((r) => r.arm === arm);

test('four blocks that are all chosen are full attention over the random examples', async () => {
  const more = { fidelity: 5, storage: 'f32' } as const;
  const got = await results('full:random:8,dbsa:8:2:4,dbsa:24:3:3', more);
  const whole = of(got, 'dbsa:8:2:4');
  assert.equal(
    whole.map(({ label }) => label),
    of(got, 'full:random:8').map(({ label }) => label),
  );
  for (const { divergence, agrees, shots } of whole) {
    assert.is(shots, 8);
    assert.ok(worst.within('KL of four blocks to full attention', divergence!, 1e-6), `${divergence}`);
    assert.ok(agrees);
  }
  // nor is anything else, but where the first blocks are chosen
  const some = of(got, 'dbsa:24:3:3');
  assert.ok(some.every(({ shots }) => shots === 9));
  assert.ok(Math.max(...some.map(({ divergence }) => divergence!)) > 1e-5);
});

test('an item counts what was placed for it, and the first one what was encoded for all', async () => {
  const steps: number[] = [];
  const got = await results('dbsa:20', {
    instruction: 'Sort:',
    onProgress: ({ preparing }) => {
      if (preparing) steps.push(preparing.done / preparing.total);
      if (preparing) assert.is(preparing.what, 'encoding');
    },
  });
  assert.is(got.length, 5);
  assert.is(steps.at(-1), 1);
  for (const { item, shots, forwarded, reused, encodeMilliseconds, firstMilliseconds, milliseconds } of got) {
    assert.ok(shots === 6 || shots === 8, `${shots}`); // blocks of 3, the last of 2; 2 of 7 are chosen
    assert.ok(reused > 3 * shots && forwarded > 0);
    assert.ok(item === 0 ? encodeMilliseconds! > 0 : encodeMilliseconds === 0);
    assert.ok(firstMilliseconds > 0 && milliseconds >= firstMilliseconds);
  }
  const greedy = await results('dbsa:20', { instruction: 'Sort:', scoring: 'greedy' });
  assert.ok(greedy.every(({ label }) => labels.includes(label)));
});

test('examples that the model cannot read as one text are left out, and nothing stays on the device', async () => {
  const { tensors } = device.stats();
  const long = { ...task, train: list.map((e) => ({ ...e, input: `${e.input}${' and so on'.repeat(60)}` })) };
  const records = await evaluate(model, long, {
    ...{ arms: parseArms('dbsa:16,dbsa:4'), template: TEMPLATES.trec, pool: 24, test: 1, seed: 3 },
  });
  assert.equal(
    records.map((r) => [r.arm, 'skipped' in r ? r.skipped.split(':')[0] : 'ran']),
    [
      ['dbsa:16', 'E_CONTEXT_LENGTH'],
      ['dbsa:4', 'ran'],
    ],
  );
  assert.is(device.stats().tensors, tensors);
});

test.after(() => {
  worst.print();
  model.close();
  device.close();
});
test.run();
