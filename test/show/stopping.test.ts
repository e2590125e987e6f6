/** Which counts are tried, and which is taken: grids, entropies, rules. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EspalierError } from '../../src/errors.ts';
import { roundsOf } from '../../src/show/answer/grid.ts';
import { fallBack, firstSure } from '../../src/show/answer/stopping.ts';
import { scoreOf } from '../../src/show/probe/question-probe.ts';
import type { Probe } from '../../src/show.ts';

test('grids', () => {
  const first = (grid: Parameters<typeof roundsOf>[0], cap: number) => roundsOf(grid, cap);
  assert.equal(first({ kind: 'geometric' }, 1000), [[4], [8], [16], [32], [64], [128]]);
  assert.equal(first({ kind: 'geometric', perRound: 6 }, 100), [[4, 8, 16, 32, 64]]);
  assert.equal(first({ kind: 'geometric', zero: true, first: 1, most: 5, perRound: 2 }, 3), [[0, 1], [2]]);
  assert.equal(first({ kind: 'arithmetic', rounds: 2, perRound: 3, step: 2 }, 100), [
    [2, 4, 6],
    [8, 10, 12],
  ]);
  assert.equal(first({ kind: 'arithmetic' }, 22), [[4, 8, 12, 16], [20]]);
  assert.equal(first({ kind: 'arithmetic' }, 128).flat().length, 32);
  assert.equal(first([7, 3, 3], 5), [[3]]);
  assert.equal(first([7], 5), [[5]]);
  assert.equal(first([0, 7], 5), [[0, 5]]);
  assert.equal(first({ kind: 'geometric' }, 0), [[0]]);
  const code = (error: EspalierError) => error.code === 'E_ARGUMENT';
  for (const bad of [
    [],
    [-1],
    [1.5],
    { kind: 'other' },
    { kind: 'geometric', first: 0 },
    { kind: 'arithmetic', step: 0 },
  ]) {
    assert.throws(() => roundsOf(bad as never, 5), code);
  }
});

test('entropies of yes and no: the units and maxima of the specification', () => {
  const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-3, `${a} ${b}`);
  near(scoreOf(1 / Math.E, 1 / Math.E, 'raw-nats').entropy, 0.7358);
  near(scoreOf(0.5, 0.5, 'two-way-nats').entropy, Math.LN2);
  near(scoreOf(0.354, 0.646, 'two-way-nats').entropy, 0.65);
  near(scoreOf(0.288, 0.712, 'two-way-nats').entropy, 0.6);
  near(scoreOf(0.191, 0.809, 'two-way-bits').entropy, 0.7044);
  // renormalised they do not see that neither is likely; raw they take it for certainty, hence the guard
  near(scoreOf(0.01, 0.01, 'two-way-nats').entropy, Math.LN2);
  near(scoreOf(0.01, 0.01, 'raw-nats').entropy, 0.0921);
  assert.equal(scoreOf(0, 0, 'two-way-nats'), { entropy: Math.LN2, mass: 0, yes: 0.5 });
  near(scoreOf(0.3, 0.1, 'raw-nats').yes, 0.75);
});

test('which count is taken', () => {
  const probe = (shots: number, entropy: number, mass = 1, yes: number | null = null): Probe => {
    return { shots, entropy, mass, yes, label: null };
  };
  // the case study: the second round, and not the least entropy
  const rounds = [
    [probe(4, 0.6731), probe(8, 0.7023), probe(12, 0.7044), probe(16, 0.6671)],
    [probe(20, 0.6862), probe(24, 0.6884), probe(28, 0.6232), probe(32, 0.645)],
  ];
  const free = { leastMass: 0, onlyYes: false };
  assert.is(firstSure(rounds[0]!, 0.65, free), null);
  assert.is(firstSure(rounds[1]!, 0.65, free)!.shots, 28);
  assert.is(firstSure([...rounds[1]!].reverse(), 0.65, free)!.shots, 28);
  assert.is(firstSure(rounds[1]!, 0.7, free)!.shots, 20);
  assert.is(firstSure([probe(4, 0.1, 0.02), probe(8, 0.2, 0.6)], 0.65, { leastMass: 0.5, onlyYes: false })!.shots, 8);
  const direction = [probe(4, 0.1, 1, 0.1), probe(8, 0.2, 1, 0.9)];
  assert.is(firstSure(direction, 0.65, { leastMass: 0, onlyYes: true })!.shots, 8);
  assert.is(firstSure(direction, 0.65, free)!.shots, 4);
  const all = rounds.flat();
  assert.is(fallBack(all, rounds[1]!, 0.6, { ...free, fallback: 'least-entropy' }, 99), 28);
  assert.is(fallBack(all, rounds[1]!, 0.6, { ...free, fallback: 'most' }, 99), 32);
  assert.is(fallBack(all, rounds[1]!, 0.6, { ...free, fallback: { shots: 50 } }, 40), 40);
  assert.is(fallBack([probe(8, 0.5), probe(4, 0.5)], [], 0, { ...free, fallback: 'least-entropy' }, 9), 4);
  // no yes anywhere: a sure no of the last round
  const no = [probe(4, 0.3, 1, 0.1), probe(8, 0.1, 1, 0.1)];
  assert.is(fallBack(no, no, 0.65, { leastMass: 0, onlyYes: true, fallback: 'most' }, 99), 4);
});
test.run();
