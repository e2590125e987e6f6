/** Which of the states that an adapter could be left in is taken, and when nothing better can come. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Candidate, type ChoiceRule, distanceOf, isBetter, isOver } from '../../src/prune/choice/choice.ts';
import { FORGET_OBJECTIVES } from '../../src/prune/edit/batches.ts';

const before = { forget: 0.98, retain: 0.9 };
const rule = (objective: ChoiceRule['objective'], never = 0.004): ChoiceRule => ({
  ...{ objective, before },
  target: { source: 'reference', answers: Float64Array.of(Math.log(never), Math.log(never)) },
});
const candidate = (of: Partial<Candidate>): Candidate => ({
  ...{ look: 1, epoch: 1, strength: 1, forget: 0.1, retain: 0.9, distance: 1 },
  ...of,
});
const best = (list: readonly Candidate[], own: ChoiceRule): Candidate =>
  list.reduce((one, other) => (isBetter(other, one, own) ? other : one));

test('the distance is the area between two distribution functions', () => {
  const { target } = rule('hinge');
  const of = (...answers: number[]) =>
    distanceOf(Float64Array.from(answers), { ...target, answers: Float64Array.of(-4, -2) });
  assert.is(of(-4, -2), 0);
  assert.is(of(-3, -3), 1);
  assert.is(of(-2, -4), 0);
  // of order 1, sorted values are paired: |−6 + 4| and |−2 + 2|
  assert.is(of(-6, -2), 1);
  // of different counts: a quarter each
  assert.is(of(-4, -4, -4, -2), 0.5);
});

test('what keeps 98 % is better, and of what does not what keeps more', () => {
  for (const objective of FORGET_OBJECTIVES) {
    const own = rule(objective);
    const kept = candidate({ retain: 0.8821, distance: 5, forget: 0.5 });
    const lost = candidate({ retain: 0.8819, distance: 0, forget: 0.001 });
    const worse = candidate({ retain: 0.5, distance: 0, forget: 0.001 });
    assert.is(best([worse, lost, kept], own), kept);
    assert.is(best([worse, lost], own), lost);
    assert.is(best([lost, worse], own), lost);
  }
});

test('hinge: the nearest to the target, wherever it stands', () => {
  const list = [3, 0.2, 0.1, 0.4].map((distance, i) => candidate({ look: i + 1, distance, forget: 0.02 / (i + 1) }));
  assert.is(best(list, rule('hinge')), list[2]);
});

test('base: the first that has forgotten, the weakest of its look, and before that what gives least', () => {
  const list = [0.2, 0.0097, 0.005].map((forget, i) => candidate({ look: i + 1, forget, distance: 3 - i }));
  assert.is(best(list, rule('base')), list[1]);
  assert.is(best(list.slice(0, 1), rule('base')), list[0]);
  const stronger = candidate({ look: 2, strength: 1.1, forget: 0.004 });
  assert.is(best([stronger, ...list], rule('base')), list[1]);
  const almost = [0.03, 0.012, 0.0099].map((forget, i) => candidate({ look: i + 1, forget }));
  assert.is(best(almost, rule('base')), almost[2]);
  // answers that are likely without having been learned need not become less so
  assert.is(best(almost, rule('base', 0.02)), almost[1]);
  assert.is(best(almost, rule('base', 0.0241)), almost[0]);
});

test('hinge is over behind two looks that have gone too far, base with the first that has forgotten and keeps', () => {
  const far = Math.log(0.004) - 1.6;
  const near = Math.log(0.004) - 1.4;
  const list = [candidate({ forget: 0.001 })];
  assert.is(isOver([far], list, rule('hinge')), false);
  assert.is(isOver([near, far], list, rule('hinge')), false);
  assert.is(isOver([near, far, far], list, rule('hinge')), true);
  assert.is(isOver([], list, rule('base')), true);
  assert.is(isOver([], [candidate({ forget: 0.0099 })], rule('base')), false);
  assert.is(isOver([], [candidate({ forget: 0.001, retain: 0.8 })], rule('base')), false);
});

test.run();
