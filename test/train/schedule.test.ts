/** Learning rates against transformers' get_scheduler without its step of rate 0 (test/oracles/train.py), freeze plans, and the curve of losses. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Curve } from '../../src/train/curve.ts';
import { FreezePlan } from '../../src/train/freeze.ts';
import { rateAt, SCHEDULES, type ScheduleKind, stepsOf } from '../../src/train/schedule.ts';
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

test('no step has a rate of 0, or one beyond the peak', () => {
  for (const kind of SCHEDULES) {
    for (const steps of [1, 2, 3, 8, 50]) {
      for (const warmup of [0, 1, stepsOf(0.02, steps), stepsOf(0.5, steps), steps, 2 * steps]) {
        const rates = Array.from({ length: steps }, (_, step) => rateAt({ kind, peak: 1, warmup, steps }, step));
        assert.ok(
          rates.every((rate) => rate > 0 && rate <= 1),
          `${kind} ${warmup} of ${steps}: ${rates}`,
        );
        const rises = rates.slice(1, warmup).every((rate, i) => rate > rates[i]!);
        assert.ok(rises, `${kind} ${warmup} of ${steps}: ${rates}`);
      }
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
