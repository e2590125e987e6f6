/** Learning rates against transformers' get_scheduler (test/oracles/train.py), freeze plans, shuffling, and the curve of losses. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Curve } from '../../src/train/curve.ts';
import { FreezePlan } from '../../src/train/freeze.ts';
import { Order, shuffled } from '../../src/train/order.ts';
import { rateAt, type ScheduleKind, stepsOf } from '../../src/train/schedule.ts';
import { fixture } from './fixture.ts';

test('rates are those of transformers', async () => {
  const { schedules } = await fixture();
  assert.is(schedules.length, 15);
  for (const { kind, warmup, steps, peak, rates } of schedules) {
    for (const [step, want] of rates.entries()) {
      const got = rateAt({ kind: kind as ScheduleKind, peak, warmup, steps }, step);
      assert.ok(Math.abs(got - want) < 1e-15, `${kind} ${warmup} of ${steps}, step ${step}: ${got}, not ${want}`);
    }
  }
});

test('a share of the steps is rounded up, a number of them stays', () => {
  assert.equal(
    [stepsOf(0, 50), stepsOf(0.02, 50), stepsOf(0.021, 50), stepsOf(1, 50), stepsOf(7, 50)],
    [0, 1, 2, 1, 7],
  );
});

test('a freeze plan says what is trained when', () => {
  const routed = '*.experts.*.gate_proj.weight';
  const plan = new FreezePlan(
    [{ frozen: [routed, '*.up_proj.weight'], untilStep: 0.1 }, { frozen: 'model.embed*' }],
    200,
  );
  const gate = 'model.layers.3.mlp.experts.1.gate_proj.weight';
  assert.equal(
    [0, 19, 20, 199].map((step) => plan.trains(gate, step)),
    [false, false, true, true],
  );
  assert.equal(
    [0, 19, 20].map((step) => plan.stageAt(step)),
    [0, 0, 1],
  );
  assert.is(plan.trains('model.layers.3.mlp.experts.1.down_proj.weight', 0), true);
  assert.is(plan.trains('model_embed', 0), true); // a point is a point
  assert.is(plan.everTrains('model.embed_tokens.weight'), false);
  assert.is(plan.everTrains(gate), true);
  assert.equal(FreezePlan.unmatched([{ frozen: [routed, '*.typo'] }], [gate]), ['*.typo']);
});

test('every epoch is a permutation of its own, the same every time', () => {
  const count = 1000;
  const epochs = [0, 1, 2].map((epoch) => shuffled(count, 7, epoch));
  for (const order of epochs)
    assert.equal(
      [...order].sort((a, b) => a - b),
      Array.from({ length: count }, (_, i) => i),
    );
  const same = (a: Uint32Array, b: Uint32Array) => a.filter((place, i) => place === b[i]).length;
  assert.ok(same(epochs[0]!, epochs[1]!) < 10 && same(epochs[1]!, epochs[2]!) < 10); // 1 is expected
  assert.ok(same(epochs[0]!, shuffled(count, 8, 0)) < 10);
  assert.equal(shuffled(count, 7, 1), epochs[1]);
  assert.equal([...shuffled(6, 7, 0)], FIRST_SIX); // the same in every host
});

/** Of seed 7, epoch 0, as Node drew it. */
const FIRST_SIX = [4, 1, 5, 0, 3, 2];

test('steps go through all epochs without a gap', () => {
  const order = new Order(10, 3);
  const all = [0, 1, 2, 3, 4].flatMap((step) => order.at(step * 4, 4));
  assert.equal(all, [...shuffled(10, 3, 0), ...shuffled(10, 3, 1)]);
  assert.equal(new Order(10, 3).at(8, 4), all.slice(8, 12)); // from anywhere
  assert.equal(new Order(3, null).at(2, 5), [2, 0, 1, 2, 0]);
});

test('a curve of any number of steps has at most 1024 points, and goes on as if it had never been interrupted', () => {
  const value = (i: number) => Math.sin(i / 300) + 2;
  let curve = new Curve();
  for (let i = 0; i < 5000; i++) {
    if (i % 777 === 0) curve = new Curve(JSON.parse(JSON.stringify(curve.data())));
    curve.add(value(i));
  }
  const { every, points, sum, count } = curve.data();
  assert.is(every, 8);
  assert.is(points.length, 625);
  assert.equal([sum, count], [0, 0]);
  for (const [i, point] of points.entries()) {
    const mean = Array.from({ length: every }, (_, j) => value(i * every + j)).reduce((a, b) => a + b) / every;
    assert.ok(Math.abs(point - mean) < 1e-12);
  }
});

test.run();
