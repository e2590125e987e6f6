/** What a gate is wrong or unsure about in texts that it has not learned from: found by pieces as at once, and learned. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NULL_SLOT } from '../../src/model/routed/gate.ts';
import { gateExamples, type LabelledSequence } from '../../src/prune/gate/features.ts';
import { hardRows, joinExamples, withHardRows } from '../../src/prune/gate/hard-rows.ts';
import { TrainableGate, trainGate } from '../../src/prune/gate/train-gate.ts';
import { testNothingLeft, trainDevices } from '../device/devices.ts';
import { noise } from '../device/reference.ts';
import { tinyDecoder } from '../model/tiny.ts';

const all = await trainDevices();
const { device } = all[0]!;

/** Texts of some letters; those to be forgotten begin with others. */
function texts(count: number, seed: number, slot: number): LabelledSequence[] {
  const next = noise(seed);
  return Array.from({ length: count }, () => ({
    sequence: {
      ids: Int32Array.from({ length: 12 }, (_, t) =>
        t < 3 ? 5 + 20 * slot + Math.floor(4 * (1 + next())) : 1 + Math.floor(20 * (1 + next())),
      ),
      learned: Uint8Array.from({ length: 12 }, (_, t) => (t >= 6 ? 1 : 0)),
    },
    slot,
  }));
}

test('hard rows are those that the gate gives less than 0.99, and learning from them helps', async () => {
  const decoder = await tinyDecoder('llama-gqa', device, 'exact');
  const shape = { kind: 'global', hidden: decoder.config.hiddenSize, units: 24, slots: 2 } as const;
  const gate = new TrainableGate(device, shape, 1);
  const learned = await gateExamples(decoder, [...texts(6, 1, 1), ...texts(6, 2, NULL_SLOT)]);
  await trainGate(gate, learned, { steps: 300, rows: 64, rate: 5e-3 });
  const others = texts(70, 3, NULL_SLOT);
  const seen: string[] = [];
  const found = await hardRows(gate, decoder, others, { onProgress: (done, total) => seen.push(`${done}/${total}`) });
  assert.equal(seen, ['0/70', '32/70', '64/70', '70/70']);
  const whole = await gateExamples(decoder, others);
  const logits = await gate.logits(whole, 0, whole.slots.length);
  const rows = [...whole.slots.keys()];
  const right = (row: number) => 1 / (1 + Math.exp(logits[2 * row + 1]! - logits[2 * row]!));
  const hard = rows.filter((row) => right(row) < 0.99);
  assert.is(found.rows, rows.length);
  assert.is(found.wrong, rows.filter((row) => right(row) < 0.5).length);
  assert.ok(
    found.wrong > 0 && hard.length < rows.length,
    `${found.wrong} wrong, ${hard.length} of ${rows.length} hard`,
  );
  const width = shape.hidden;
  assert.is(found.examples.slots.length, hard.length);
  for (const [i, row] of hard.entries()) {
    assert.equal(
      found.examples.now!.subarray(i * width, (i + 1) * width),
      whole.now!.subarray(row * width, (row + 1) * width),
    );
    assert.equal(
      found.examples.mean!.subarray(i * width, (i + 1) * width),
      whole.mean!.subarray(row * width, (row + 1) * width),
    );
  }
  const both = withHardRows(learned, found.examples);
  const none = learned.slots.filter((slot) => slot === NULL_SLOT).length;
  const times = (both.slots.length - learned.slots.length) / hard.length;
  assert.is(times, Math.max(1, Math.min(20, Math.round(none / hard.length))));
  assert.equal(joinExamples([learned, found.examples]).slots.subarray(learned.slots.length), found.examples.slots);
  await trainGate(gate, both, { steps: 300, rows: 64, rate: 1e-3, seed: 1 });
  const after = await hardRows(gate, decoder, others);
  console.log(`  worst of what was wrong: ${found.wrong} of ${found.rows} rows, then ${after.wrong}`);
  assert.ok(after.wrong < found.wrong / 2, `${after.wrong}`);
  gate.dispose();
  decoder.dispose();
});

testNothingLeft(all);
test.run();
