/** What a gate learns from: the states that a routed decoder will see, and which slot is right where. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GATE_INPUTS, GATE_KINDS } from '../../src/checkpoint/adapter/gate-kinds.ts';
import { highestEntropy, ROUTING_RULE } from '../../src/checkpoint/adapter/routing.ts';
import type { TrainingSequence } from '../../src/datasets/training/types.ts';
import type { EspalierError } from '../../src/errors.ts';
import { RoutedDecoder } from '../../src/model/routed/decoder.ts';
import { rowEntropies } from '../../src/prune/entropy/tsallis.ts';
import { gateExamples } from '../../src/prune/gate/features.ts';
import { TrainableGate } from '../../src/prune/gate/train-gate.ts';
import { testNothingLeft, trainDevices, Worst } from '../device/devices.ts';
import { distance, runAll } from '../model/run.ts';
import { tinyDecoder } from '../model/tiny.ts';

const worst = new Worst();
const all = await trainDevices();
const { device } = all[0]!;
const sequence = (length: number, from: number): TrainingSequence => ({
  ids: Int32Array.from({ length }, (_, i) => (7 * i + length) % 50),
  learned: Uint8Array.from({ length }, (_, i) => (i >= from ? 1 : 0)),
});

test('states, their means, and slots', async () => {
  const decoder = await tinyDecoder('llama-gqa', device, 'exact');
  const width = decoder.config.hiddenSize;
  const lists = [sequence(9, 5), sequence(5, 1), sequence(2, 1)];
  const seen: string[] = [];
  const { mean, now, entropy, slots } = await gateExamples(
    decoder,
    lists.map((one, i) => ({ sequence: one, slot: i })),
    { onProgress: (done, total) => seen.push(`${done}/${total}`) },
  );
  assert.is(entropy, undefined);
  assert.equal(seen, ['1/3', '2/3', '3/3']);
  assert.equal([...slots], [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2]);
  let at = 0;
  for (const { ids } of lists) {
    const { normed } = await runAll(decoder, [...ids.subarray(0, -1)]);
    const own = now!.subarray(at * width, at * width + normed.length);
    assert.ok(worst.within('states', distance(own, normed), 1e-6));
    const last = own.length / width - 1;
    for (let i = 0; i < width; i++) {
      let sum = 0;
      for (let t = 0; t <= last; t++) sum += own[t * width + i]!;
      const error = Math.abs(sum / (last + 1) - mean![(at + last) * width + i]!);
      assert.ok(worst.within('means', error, 1e-6));
    }
    at += ids.length - 1;
  }
  decoder.dispose();
});

test('they are what the gate is given when a text runs', async () => {
  const base = await tinyDecoder('llama-gqa', device, 'exact');
  const own = sequence(12, 4);
  const { mean } = await gateExamples(base, [{ sequence: own, slot: 1 }]);
  const gate = new TrainableGate(device, { kind: 'global', hidden: base.config.hiddenSize, units: 4, slots: 2 }, 1);
  const router = { gate: gate.weights, rule: ROUTING_RULE, dispose: () => gate.dispose() };
  const routed = new RoutedDecoder(device, base.config, base.weights, base, router, 'exact');
  const cache = routed.cache();
  const ids = [...own.ids.subarray(0, -1)];
  // in pieces, as a text is written
  await routed.forward(ids.slice(0, 7), cache);
  for (const id of ids.slice(7)) await routed.forward([id], cache);
  const got = (await device.read(cache.means(0, ids.length))) as Float32Array;
  assert.ok(worst.within('means of a running text', distance(got, mean!), 1e-6));
  cache.dispose();
  routed.dispose();
});

test('each kind gets what it reads; entropies are those of the predictions, in line with the rule', async () => {
  const decoder = await tinyDecoder('llama-gqa', device, 'exact');
  const { vocabSize } = decoder.config;
  const lists = [sequence(9, 5), sequence(5, 1)];
  const labelled = lists.map((one, i) => ({ sequence: one, slot: i }));
  for (const kind of GATE_KINDS) {
    const { slots: _, ...read } = await gateExamples(decoder, labelled, { kind });
    assert.equal(Object.keys(read).sort(), [...GATE_INPUTS[kind]].sort(), kind);
  }
  for (const order of [1.5, 0.8]) {
    const predictive = (await gateExamples(decoder, labelled, { kind: 'both', order })).entropy!;
    const lagged = (await gateExamples(decoder, labelled, { kind: 'literal', order, alignment: 'lagged' })).entropy!;
    let at = 0;
    for (const { ids } of lists) {
      const { logits } = await runAll(decoder, [...ids.subarray(0, -1)]);
      for (let t = 0; t < ids.length - 1; t++) {
        const want = rowEntropies(logits.subarray(t * vocabSize, (t + 1) * vocabSize), order).tsallis;
        assert.ok(worst.within('entropies', Math.abs(predictive[at + t]! - want) / want, 1e-4));
        if (t + 2 < ids.length) assert.is(lagged[at + t + 1], predictive[at + t], 'of the row before');
      }
      // of a uniform distribution, more than which there is none
      assert.ok(Math.abs(lagged[at]! - highestEntropy(order, vocabSize)) < 1e-5 * lagged[at]!);
      at += ids.length - 1;
    }
  }
  decoder.dispose();
});

test('no text, an abort, and a model that gives no numbers', async () => {
  const decoder = await tinyDecoder('llama-gqa', device, 'exact');
  const codes: string[] = [];
  const note = (error: EspalierError) => void codes.push(error.code);
  await gateExamples(decoder, []).catch(note);
  const some = [{ sequence: sequence(9, 5), slot: 1 }];
  await gateExamples(decoder, some, { signal: AbortSignal.abort() }).catch(note);
  device.write(decoder.weights.norm, new Float32Array(decoder.config.hiddenSize).fill(Number.NaN));
  await gateExamples(decoder, some).catch(note);
  assert.equal(codes, ['E_DATA_INVALID', 'E_ABORTED', 'E_TENSOR_VALUE']);
  await gateExamples(decoder, some, { kind: 'site' as 'global' }).catch(note);
  await gateExamples(decoder, some, { kind: 'both', order: 0 }).catch(note);
  assert.equal(codes.slice(3), ['E_ARGUMENT', 'E_ARGUMENT']);
  decoder.dispose();
});

testNothingLeft(all, worst);
test.run();
