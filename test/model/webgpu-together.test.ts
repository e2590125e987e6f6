// device: webgpu — only there texts that are read share passes without being the same to the bit
/** Several texts that are read at once on a GPU: in few passes, each with the numbers that it has alone. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROUTING_RULE } from '../../src/checkpoint/adapter/routing.ts';
import type { TrainingSequence } from '../../src/datasets/training/types.ts';
import type { Tensor } from '../../src/device/device.ts';
import { WebGpuDevice } from '../../src/device/webgpu/webgpu-device.ts';
import type { Decoder } from '../../src/model/decoder.ts';
import { embedTokens } from '../../src/model/embed.ts';
import { passingOf } from '../../src/model/read/together.ts';
import { type ScoredPosition, scoreTokens } from '../../src/model/score.ts';
import { scoreEach } from '../../src/model/score-each.ts';
import { gateExamples } from '../../src/prune/gate/features.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { idsOf, routedModels } from './routed-models.ts';
import { distance } from './run.ts';
import { tinyDecoder } from './tiny.ts';

const device = await WebGpuDevice.create({ debug: true });
const worst = new Worst();
/** Some of one token, and some as long as these models read. Each counts 64 rows, which its cache has: four fill a pass. */
const LENGTHS = [5, 2, 1, 33, 64, 7, 1, 50, 64, 32, 9, 40, 3];
/** Rows of a pass, and rows of logits: few, so that there are several of both. */
const [CHUNK, ROWS] = [256, 40];
const textsOf = ({ config }: Decoder, lengths = LENGTHS): number[][] =>
  lengths.map((length, i) => idsOf(Math.min(length, config.maxPositions), config.vocabSize, 3 + i));

async function smallPasses(name: string): Promise<Decoder> {
  const decoder = await tinyDecoder(name, device, 'exact');
  return Object.assign(decoder, { chunk: CHUNK, scoredRows: ROWS });
}

/** Reads of the device while something runs. */
async function readsOf(run: () => Promise<unknown>): Promise<number> {
  const read = device.read.bind(device) as (what: never) => Promise<never>;
  let count = 0;
  device.read = (what: never) => {
    count++;
    return read(what);
  };
  await run();
  device.read = read;
  return count;
}

function countPasses(decoder: Decoder): { readonly each: () => number; readonly alone: () => number } {
  let [each, alone] = [0, 0];
  const [forwardEach, forward] = [decoder.forwardEach.bind(decoder), decoder.forward.bind(decoder)];
  decoder.forwardEach = (...args) => {
    each++;
    return forwardEach(...args);
  };
  decoder.forward = (...args) => {
    alone++;
    return forward(...args);
  };
  return { each: () => each, alone: () => alone };
}

const numbers = ({ logprob, entropy, tsallis, top }: ScoredPosition): number[] => [
  ...[logprob ?? 0, entropy, tsallis ?? 0],
  ...(top ?? []).map((one) => one.logprob),
];

async function isAsAlone(decoder: Decoder, what: string): Promise<void> {
  const texts = textsOf(decoder);
  const options = { tsallisOrder: 2, top: 3 };
  const alone: ScoredPosition[][] = [];
  for (const ids of texts) alone.push(await scoreTokens(decoder, ids, options));
  const passes = countPasses(decoder);
  const told: number[] = [];
  let got: ScoredPosition[][] = [];
  const reads = await readsOf(async () => {
    got = await scoreEach(decoder, texts, { ...options, onProgress: (done) => told.push(done) });
  });
  assert.equal(
    [passes.each(), passes.alone()],
    [4, 2],
    'a text of one token goes alone, and parts what is on both sides',
  );
  // what is chosen for a text that goes alone is read, and of others nothing but the scores
  assert.ok(reads <= 4 + 2 * 3, `${reads} reads`);
  assert.is(told.at(-1), texts.length);
  for (const [i, positions] of got.entries()) {
    assert.equal(
      positions.map(({ id }) => id),
      texts[i],
    );
    for (const [t, position] of positions.entries()) {
      const error = distance(numbers(position), numbers(alone[i]![t]!));
      assert.ok(worst.within(what, error, 1e-5), `text ${i}, token ${t}: ${error}`);
    }
  }
}

for (const name of ['mistral-window', 'moe-mixtral']) {
  test(`texts that are scored together: ${name}`, async () => {
    const decoder = await smallPasses(name);
    await isAsAlone(decoder, 'scores');
    decoder.dispose();
  });
}

for (const [kind, cut] of [
  ['global', 1.5],
  ['hidden', null],
] as const) {
  test(`texts of a model whose experts act by position: ${kind}`, async () => {
    const models = await routedModels(device, 'llama-gqa', { rule: { ...ROUTING_RULE, cut }, kind });
    for (const one of [models.routed, models.base]) Object.assign(one, { chunk: CHUNK, scoredRows: ROWS });
    await isAsAlone(models.routed, 'scores with experts');
    // who asks how they were chosen is told of each row
    const texts = textsOf(models.routed);
    const got = await scoreEach(models.routed, texts, { routing: true });
    for (const [i, ids] of texts.entries()) {
      const alone = await scoreTokens(models.routed, ids, { routing: true });
      const said = (positions: readonly ScoredPosition[]) => positions.flatMap(({ routing }) => routing!.coefficients);
      assert.is(said(got[i]!).length, 2 * ids.length);
      const error = said(alone).reduce((most, one, k) => Math.max(most, Math.abs(one - said(got[i]!)[k]!)), 0);
      assert.ok(worst.within('coefficients', error, 1e-5), `text ${i}: ${error}`);
    }
    models.dispose();
  });
}

test('rows behind those that caches hold are chosen for as one text', async () => {
  const models = await routedModels(device, 'llama-gqa', { rule: { ...ROUTING_RULE, cut: 1.5 }, kind: 'global' });
  const { routed } = models;
  const texts = textsOf(routed, [9, 7, 12]);
  const states = async (parts: readonly (readonly number[])[][]): Promise<Float32Array> => {
    const caches = texts.map(() => routed.cache());
    let last = new Float32Array(0);
    for (const list of parts) {
      const some = list.map((ids, i) => ({ ids, cache: caches[i]! }));
      const onOutput = async (hidden: Tensor) => {
        last = (await device.read(hidden)) as Float32Array<ArrayBuffer>;
      };
      await routed.forwardEach(some, { output: 'last', onOutput });
    }
    for (const cache of caches) cache.dispose();
    return last;
  };
  const whole = await states([texts]);
  for (const cut of [1, 4]) {
    const pieces = await states([texts.map((ids) => ids.slice(0, cut)), texts.map((ids) => ids.slice(cut))]);
    const error = distance(pieces, whole);
    assert.ok(worst.within('states in two pieces', error, 1e-5), `${error}`);
  }
  models.dispose();
});

test('a pass holds no more than its rows, caches no more than they need, and an abort ends it', async () => {
  const decoder = await smallPasses('llama-gqa');
  assert.equal(
    passingOf(decoder, [1, 64, 128, 1, CHUNK + 1, 2, 0, 3, 4]).map(({ first, end }) => [first, end]),
    [
      [0, 3],
      [3, 4],
      [4, 5],
      [5, 6],
      [6, 7],
      [7, 9],
    ],
  );
  const texts = textsOf(decoder);
  // a cache without room takes as much as the first of those that wait for it, which may be a long text
  const real = decoder.cache.bind(decoder);
  const rooms: (number | undefined)[] = [];
  decoder.cache = (...args) => {
    rooms.push(args[0]);
    return real(...args);
  };
  await scoreEach(decoder, texts);
  assert.equal(
    rooms.filter((room) => room !== undefined),
    texts.map(({ length }) => length).filter((length) => length > 1),
  );
  const stop = new AbortController();
  const onProgress = (done: number) => done > 0 && stop.abort();
  for (const run of [
    () => scoreEach(decoder, texts, { signal: stop.signal, onProgress }),
    () => embedTokens(decoder, texts, { signal: stop.signal }),
    () => gateExamples(decoder, [labelled(texts[0]!, 1)], { signal: stop.signal }),
  ]) {
    await rejects('E_ABORTED', run);
  }
  decoder.dispose();
});

const labelled = (ids: readonly number[], slot: number) => ({
  sequence: { ids: Int32Array.from(ids), learned: Uint8Array.from(ids, (_, t) => Number(t > 1)) } as TrainingSequence,
  slot,
});

test('vectors, and what a gate learns from', async () => {
  const decoder = await smallPasses('llama-gqa');
  const texts = textsOf(decoder);
  for (const pool of ['mean', 'last', 'none'] as const) {
    const alone: Float32Array[] = [];
    for (const ids of texts) alone.push(...(await embedTokens(decoder, [ids], { pool })));
    const passes = countPasses(decoder);
    const told: number[] = [];
    const together = await embedTokens(decoder, texts, { pool, onProgress: (done) => told.push(done) });
    assert.equal([passes.each(), passes.alone()], [3, 1]);
    assert.equal(
      told,
      told.slice().sort((a, b) => a - b),
    );
    assert.is(told.at(-1), texts.flat().length);
    for (const [i, vector] of together.entries()) {
      assert.is(vector.length, alone[i]!.length);
      const error = distance(vector, alone[i]!);
      assert.ok(worst.within(`vectors: ${pool}`, error, 1e-5), `text ${i}: ${error}`);
    }
  }
  const list = texts.map((ids, i) => labelled(ids, i % 2));
  for (const kind of ['global', 'both'] as const) {
    const passes = countPasses(decoder);
    const all = await gateExamples(decoder, list, { kind });
    assert.is(passes.each(), 4, 'there is nothing to read of a text of one token');
    let row = 0;
    for (const one of list) {
      const rows = one.sequence.ids.length - 1;
      if (rows === 0) continue;
      const own = await gateExamples(decoder, [one], { kind });
      assert.equal(all.slots.subarray(row, row + rows), own.slots);
      for (const input of ['mean', 'now', 'entropy'] as const) {
        const [some, alone] = [all[input], own[input]];
        assert.is(some === undefined, alone === undefined);
        if (!some || !alone) continue;
        const width = alone.length / rows;
        const error = distance(some.subarray(row * width, (row + rows) * width), alone);
        assert.ok(worst.within(`a gate's ${input}`, error, 1e-5), `${kind}, row ${row}: ${error}`);
      }
      row += rows;
    }
    assert.is(row, all.slots.length);
  }
  decoder.dispose();
});

test('a text that is longer than a pass', async () => {
  const decoder = await smallPasses('llama-gqa');
  const texts = textsOf(decoder, [64, 3]);
  const look = async () => {
    const vectors = [];
    for (const pool of ['mean', 'last', 'none'] as const)
      vectors.push(...(await embedTokens(decoder, texts, { pool })));
    const { mean, now, entropy } = await gateExamples(decoder, [labelled(texts[0]!, 1), labelled(texts[1]!, 0)]);
    assert.is(entropy, undefined);
    return [...vectors, mean!, now!];
  };
  const whole = await look();
  Object.assign(decoder, { chunk: 48 });
  const pieces = await look();
  for (const [i, one] of pieces.entries()) {
    assert.ok(worst.within('in two pieces', distance(one, whole[i]!), 1e-5), `${i}`);
  }
  decoder.dispose();
});

test('nothing is left', () => {
  assert.is(device.stats().tensors, 0, device.liveTensors().join('\n'));
  device.close();
  worst.print();
});

test.run();
