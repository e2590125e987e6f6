// hosts: node, deno — the module of a command
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TrainLines } from '../../src/cli/shared/train-lines.ts';
import { EspalierError } from '../../src/errors.ts';
import type { TrainProgress } from '../../src/train/options.ts';

const at = (stage: TrainProgress['stage'], done: number, more: Partial<TrainProgress> = {}): TrainProgress => ({
  ...{ stage, done, total: 40, secondsLeft: 75, loss: 2.3456, heldOut: null, tokensPerSecond: 1234.5 },
  ...more,
});

test('without anything held out: a line for each tenth of the steps', () => {
  const lines = new TrainLines();
  const said = Array.from({ length: 41 }, (_, done) => lines.next(at('training', done))).filter(
    (line) => line !== null,
  );
  assert.is(said.length, 10);
  assert.is(said[0], 'step  4 of 40  loss 2.346  1.2 k tokens/s  1 min 15 s left');
  assert.is(said[9], 'step 40 of 40  loss 2.346  1.2 k tokens/s');
});

test('a line for each look at what is held out, once', () => {
  const lines = new TrainLines();
  const first = { loss: null, tokensPerSecond: null, secondsLeft: null };
  assert.is(lines.next(at('training', 0, first)), null);
  assert.is(lines.next(at('evaluating', 0, first)), null);
  assert.is(lines.next(at('training', 0, { ...first, heldOut: 3 })), 'step  0 of 40  held out 3.000');
  assert.is(lines.next(at('training', 30, { heldOut: 3 })), null);
  lines.next(at('evaluating', 0, { heldOut: 3 }));
  assert.match(lines.next(at('training', 30, { heldOut: 2.5 }))!, /^step 30 of 40 {2}loss 2\.346 {2}held out 2\.500 /);
  assert.is(lines.next(at('training', 31, { heldOut: 2.5 })), null);
});

test('what goes on says from where, and what was stopped how to go on', () => {
  const lines = new TrainLines();
  const aborted = new EspalierError('E_ABORTED', 'The operation was aborted.', 'Start it again when it is wanted.');
  assert.is(lines.stopped(aborted), aborted);
  assert.is(lines.next(at('training', 17)), 'goes on from step 17 of 40');
  assert.is(lines.next(at('saving', 20)), null);
  assert.is(
    `${lines.stopped(aborted)}`,
    'E_ABORTED: Training was stopped, and 20 of 40 steps are kept. Run the same command to go on from there.',
  );
  const other = new EspalierError('E_DIVERGED', 'a', 'b');
  assert.is(lines.stopped(other), other);
});

test.run();
