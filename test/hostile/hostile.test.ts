// hosts: node — measures processes
// long — a hundred models in processes that are measured
/** A sample; `node --import tsx test/hostile/run.ts` runs a thousand. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attack, tell } from './run.ts';

test('hostile models end in a code or in numbers, in time and memory that their size explains', async () => {
  const outcomes = await attack(0, 100, 2);
  assert.is(outcomes.length, 100);
  assert.equal(tell(outcomes), []);
  assert.ok(outcomes.some(({ end }) => end.startsWith('opens')) && outcomes.some(({ end }) => end.startsWith('E_')));
});

test.run();
