// device: webgpu — only there texts that are read share passes without being the same to the bit
/** Several texts that are read at once on a GPU: in few passes, each with the numbers that it has alone. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROUTING_RULE } from '../../src/checkpoint/adapter/routing.ts';
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
/** More than a pass takes in all, some of one token, and one that ends a slice of logits. */
const LENGTHS = [5, 2, 1, 33, 64, 7, 1, 100, 65, 32];
const textsOf = ({ config }: Decoder, lengths = LENGTHS): number[][] =>
  lengths.map((length, i) => idsOf(Math.min(length, config.maxPositions), config.vocabSize, 3 + i));

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
  const got = await scoreEach(decoder, texts, { ...options, onProgress: (done) => told.push(done) });
  assert.is(passes.each(), 3, 'a text of one token goes alone, and parts what is on both sides');
  assert.is(passes.alone(), 2);
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
    const decoder = await tinyDecoder(name, device, 'exact');
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
    await isAsAlone(models.routed, 'scores with experts');
    // who asks how they were chosen is told of each row
    const texts = textsOf(models.routed);
    const got = await scoreEach(models.routed, texts, { routing: true });
    assert.ok(got.every((positions) => positions.every(({ routing }) => routing?.coefficients.length === 2)));
    models.dispose();
  });
}

test('a pass holds no more than its rows, and an abort ends it', async () => {
  const decoder = await tinyDecoder('llama-gqa', device, 'exact');
  const most = decoder.config.maxPositions;
  const lengths = [...Array(Math.ceil((1.5 * decoder.chunk) / most)).fill(most), 3, 4] as number[];
  const passes = countPasses(decoder);
  const texts = textsOf(decoder, lengths);
  const got = await scoreEach(decoder, texts);
  assert.equal(
    got.map(({ length }) => length),
    lengths,
  );
  assert.is(passes.each(), 2);
  assert.equal(
    passingOf(decoder, [1, decoder.chunk - 1, 1, decoder.chunk + 1, 2, 0, 3, 4]).map(({ first, end }) => [first, end]),
    [
      [0, 2],
      [2, 3],
      [3, 4],
      [4, 5],
      [5, 6],
      [6, 8],
    ],
  );
  const stop = new AbortController();
  const onProgress = (done: number) => done > 0 && stop.abort();
  await rejects('E_ABORTED', () => scoreEach(decoder, texts, { signal: stop.signal, onProgress }));
  decoder.dispose();
});

test('vectors, and what a gate learns from', async () => {
  const decoder = await tinyDecoder('llama-gqa', device, 'exact');
  const texts = textsOf(decoder);
  for (const pool of ['mean', 'last', 'none'] as const) {
    const alone: Float32Array[] = [];
    for (const ids of texts) alone.push(...(await embedTokens(decoder, [ids], { pool })));
    const passes = countPasses(decoder);
    const together = await embedTokens(decoder, texts, { pool });
    assert.equal([passes.each(), passes.alone()], [1, 0]);
    for (const [i, vector] of together.entries()) {
      assert.is(vector.length, alone[i]!.length);
      const error = distance(vector, alone[i]!);
      assert.ok(worst.within(`vectors: ${pool}`, error, 1e-5), `text ${i}: ${error}`);
    }
  }
  const list = texts.map((ids, i) => ({
    sequence: { ids: Int32Array.from(ids), learned: Uint8Array.from(ids, (_, t) => Number(t > 1)) },
    slot: i % 2,
  }));
  for (const kind of ['global', 'both'] as const) {
    const passes = countPasses(decoder);
    const all = await gateExamples(decoder, list as never, { kind });
    assert.is(passes.each(), 3, 'there is nothing to read of a text of one token');
    let row = 0;
    for (const one of list) {
      const rows = one.sequence.ids.length - 1;
      if (rows === 0) continue;
      const own = await gateExamples(decoder, [one] as never, { kind });
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

test('nothing is left', () => {
  assert.is(device.stats().tensors, 0, device.liveTensors().join('\n'));
  device.close();
  worst.print();
});

test.run();
