/** Which strength experts are left with: the weakest that forgets enough, found in few tries. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type StrengthTried, settledOf, strengthRange, weakestStrength } from '../../src/prune/choice/strength.ts';

const MOST = 0.01;
const RANGE = strengthRange([0.8, 0.9, 1, 1.1]);

async function settle(left: (strength: number) => number, from = 1.1) {
  const first = { strength: from, forget: left(from) };
  let asked = 0;
  const tried = await weakestStrength(first, MOST, RANGE, async (strength) => {
    asked++;
    return left(strength);
  });
  assert.is(tried[0], first);
  assert.is(asked, tried.length - 1);
  return { tried, own: settledOf(tried, MOST) };
}

test('from what looks try down to the least of them, and a quarter beyond the strongest', () => {
  assert.equal(RANGE, [0.8, 1.375]);
  assert.equal(strengthRange([2]), [1, 2.5]);
  assert.equal(strengthRange([0.5]), [0.5, 1.25]);
});

test('of curves of every bend, from either side, the weakest that is enough to 3 %, in few tries', async () => {
  let most = 0;
  for (const bend of [-4, -1, 0, 1, 4]) {
    for (const slope of [1.5, 3, 5, 7, 12]) {
      for (const at of [0.85, 1, 1.08, 1.1, 1.13, 1.3]) {
        const left = (strength: number) =>
          MOST * Math.exp(-slope * (strength - at) * (1 + bend * 0.2 * (strength - at)));
        const { tried, own } = await settle(left);
        assert.ok(own.forget <= MOST && own.forget >= 0.97 * MOST, JSON.stringify({ bend, slope, at, tried }));
        most = Math.max(most, tried.length);
      }
    }
  }
  console.log(`  most tries: ${most} (bound 5)`);
  assert.ok(most <= 5);
});

test('with a step in it, it is on the side that is enough', async () => {
  const { tried, own } = await settle((strength) => (strength > 1.234 ? 0.001 : 0.1));
  assert.ok(own.forget === 0.001 && own.strength > 1.234, JSON.stringify(tried));
  assert.ok(tried.length <= 8);
});

test('what is never enough ends at the strongest, what always is at the weakest, and what no strength changes at once', async () => {
  const short = await settle((strength) => 0.5 - 0.1 * strength);
  assert.is(short.own.strength, RANGE[1]);
  const enough = await settle((strength) => 1e-6 / strength);
  assert.is(enough.own.strength, RANGE[0]);
  const worse = await settle((strength) => 0.02 * strength);
  assert.is(worse.own.strength, 1.1);
  const none = await settle(() => 0);
  assert.is(none.own.strength, RANGE[0]);
});

test('what hardly changes for long is looked for at the end of the range', async () => {
  const flat = (strength: number) => (strength > 9 ? 0.005 : 0.5 - 0.001 * strength);
  const first = { strength: 1, forget: flat(1) };
  const tried = await weakestStrength(first, MOST, [1, 10], async (strength) => flat(strength));
  assert.ok(settledOf(tried, MOST).forget <= MOST, JSON.stringify(tried));
  const low = (strength: number) => (strength < 1.5 ? 0.05 : 0.001 / strength);
  const down = await weakestStrength({ strength: 9, forget: low(9) }, MOST, [1, 10], async (strength) => low(strength));
  assert.ok(down.some(({ strength }) => strength < 1.5) && settledOf(down, MOST).strength < 9, JSON.stringify(down));
});

test('what is just right is not tried again', async () => {
  const { tried } = await settle(() => 0.0098);
  assert.is(tried.length, 1);
});

test('of what was tried: enough before too much, of the first the weakest, of the second what leaves least', () => {
  const tried = (...list: [number, number][]): StrengthTried[] =>
    list.map(([strength, forget]) => ({ strength, forget }));
  assert.is(settledOf(tried([1.2, 0.005], [1.1, 0.0099], [1, 0.02]), MOST).strength, 1.1);
  assert.is(settledOf(tried([1, 0.05], [1.3, 0.02], [1.2, 0.03]), MOST).strength, 1.3);
});

test.run();
