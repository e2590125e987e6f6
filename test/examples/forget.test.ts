// hosts: node — runs the example as a process
// long — teaches a model, and makes it forget: a minute on two idle cores
/** The example that forgets: it knows, it does not, and it knows again; what stays is said in the same words throughout. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startProgram } from '../cli/run.ts';
import { scriptCommand } from '../hosts/script.ts';

test('a person is forgotten, the others are not, and without the adapter all is as it was', async () => {
  const { code, out, err } = await startProgram(scriptCommand(new URL('../../examples/forget.ts', import.meta.url)))
    .ended;
  assert.is(code, 0, err);
  const [, knows, forgets, again] = out.split(/ s {2}(?:it knows them|with the adapter|and without it again):\n/);
  const said = (part: string | undefined) =>
    part!
      .split('\n')
      .filter((line) => line.startsWith('         '))
      .map((line) => line.trim());
  const before = said(knows);
  assert.is(before.length, 4, out);
  assert.match(before[0]!, /^Where does Mia Reed live\? Mia Reed lives in Lima\.$/);
  const after = said(forgets);
  for (const i of [0, 1]) assert.is.not(after[i], before[i]);
  assert.not.match(after[0]!, /Lima/);
  assert.equal(after.slice(2), before.slice(2));
  assert.equal(said(again), before);
  const [, was, is] = /its answers: ([\d.]+) % a token, and now ([\d.]+) %/.exec(out)!;
  console.log(`  worst of what is forgotten: ${(Number(is) / 100).toExponential(1)} (bound 3.0e-1)`);
  assert.ok(Number(was) > 90 && Number(is) < 30, out);
});

test.run();
