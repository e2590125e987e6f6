/** Averaging over numbers of examples, and the vote of the nearest: against the same computed from single answers. On nano-base. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { openLocal } from '../../src/open-local.ts';
import { pooledScores, voteShares } from '../../src/show/answer/ensemble.ts';
import type { LabelScores } from '../../src/show/probe/label-probe.ts';
import { Chain, ShotPool, Show, type ShowOptions } from '../../src/show.ts';
import { Worst } from '../device/devices.ts';
import { modelTarget } from '../files.ts';

const worst = new Worst();
const device = await WasmDevice.create();
const model = await openLocal(await modelTarget('models/nano-base'), { device, precision: 'exact' });
const LABELS = ['play music', 'play', 'set an alarm', 'weather'];
const WORDS = ['songs', 'something', 'the morning', 'rain'];
const shots = Array.from({ length: 16 }, (_, i) => ({
  id: String(i).padStart(2, '0'),
  input: `I want ${WORDS[i % 4]} number ${i}`,
  text: `utterance: I want ${WORDS[i % 4]} number ${i}\nintent: ${LABELS[i % 4]}\n==\n`,
  label: LABELS[i % 4]!,
}));
const query = 'utterance: I want rain in the morning\nintent:';
const input = 'I want rain in the morning';
const base = {
  preset: 'label',
  rank: 'bm25',
  labels: LABELS,
  prompt: 'intent:',
  grid: { kind: 'geometric', first: 2, most: 8 },
  ridge: null,
} as const;

const scores = (probabilities: number[]): LabelScores => {
  const best = probabilities.indexOf(Math.max(...probabilities));
  return {
    shots: 1,
    probabilities: Float64Array.from(probabilities),
    entropy: 0,
    mass: 0.5,
    best,
    logits: new Float32Array(1),
    scored: null,
  };
};

/** Product of powers, normalised: not by way of logarithms. */
function product(lists: readonly (readonly number[])[], shares: readonly number[], weight: number): number[] {
  const raw = lists[0]!.map((_, i) => {
    const mean = lists.reduce((p, list) => p * list[i]! ** (1 / lists.length), 1);
    return mean * shares[i]! ** weight;
  });
  const sum = raw.reduce((a, b) => a + b);
  return raw.map((x) => x / sum);
}

test('a pool of opinions', () => {
  const members = [scores([0.5, 0.3, 0.2]), scores([0.1, 0.6, 0.3])];
  const shares = voteShares([2, -1, 1, 2], 3);
  const votes = [0, 1 / 3, 1 + 1 / 4];
  const want = votes.map((x) => (2 / 3) * (x / (1 + 1 / 3 + 1 / 4)) + 1 / 9);
  assert.ok(worst.within('shares', Math.max(...want.map((x, i) => Math.abs(x - shares[i]!))), 1e-12));
  for (const [vote, weight] of [
    [null, 0],
    [{ shares, weight: 0.7 }, 0.7],
  ] as const) {
    const got = pooledScores(members, { vote, bias: null });
    const expected = product(
      members.map(({ probabilities }) => [...probabilities]),
      [...shares],
      weight,
    );
    const error = Math.max(...expected.map((x, i) => Math.abs(x - got.probabilities[i]!)));
    assert.ok(worst.within('probabilities', error, 1e-12), `${error}`);
    const entropy = -expected.reduce((sum, p) => sum + p * Math.log(p), 0);
    assert.ok(worst.within('entropy', Math.abs(entropy - got.entropy), 1e-12));
    assert.is(got.best, expected.indexOf(Math.max(...expected)));
    assert.is(got.mass, 0.5);
  }
  // one member without a vote is left as it is; none can rule a label out alone
  assert.is(pooledScores([members[0]!], { vote: null, bias: null }), members[0]);
  const certain = pooledScores([scores([1, 0, 0]), scores([1e-3, 0.9, 0.099])], { vote: null, bias: null });
  assert.ok(certain.probabilities.every((p) => p > 0));
  // nobody votes: all alike
  assert.equal([...voteShares([-1], 4)], [0.25, 0.25, 0.25, 0.25]);
});

async function single(source: ShotPool | Chain, counts: readonly number[]): Promise<number[][]> {
  const show = await Show.create(source, { ...base, ensemble: 'one', vote: null });
  const lists = [];
  for (const count of counts) {
    const { probabilities, receipt } = await show.ask(query, {
      ...(source instanceof ShotPool && { input }),
      shots: count,
    });
    assert.equal(receipt.averaged, [count]);
    lists.push(LABELS.map((label) => probabilities![label]!));
  }
  show.close();
  return lists;
}

test('an answer averages what was tried, and lets the nearest vote', async () => {
  const pool = await ShotPool.build(model, shots);
  const chain = await Chain.create(model, shots.slice(0, 8));
  for (const source of [pool, chain]) {
    for (const threshold of [0, 10]) {
      const options: ShowOptions = {
        ...base,
        threshold,
        fallback: 'most',
        ensemble: 'all',
        vote: { neighbours: 5, weight: 1.5 },
      };
      const show = await Show.create(source, options);
      const { probabilities, receipt } = await show.ask(query, source === pool ? { input } : {});
      assert.is(receipt.chosen, threshold === 0 ? 8 : 2);
      assert.equal(receipt.averaged, threshold === 0 ? [2, 4, 8] : [2]);
      const lists = await single(source, receipt.averaged);
      const near = source === pool ? pool.rank(await pool.encodeQuery(query, { input }), 'bm25').slice(0, 5) : [];
      const voters = near.map(({ id }) => LABELS.indexOf(pool.shot(id).label!));
      const want = product(lists, [...voteShares(voters, LABELS.length)], source === pool ? 1.5 : 0);
      const error = Math.max(...LABELS.map((label, i) => Math.abs(probabilities![label]! - want[i]!)));
      assert.ok(worst.within('against single answers', error, 1e-6), `${error}`);
      assert.is(receipt.probes.at(-1)!.label, LABELS[want.indexOf(Math.max(...want))]);
      show.close();
    }
  }
  chain.close();
  pool.close();
});

test('options that are none', async () => {
  const pool = await ShotPool.build(model, shots, { grow: { initial: 0 } });
  for (const options of [
    { ensemble: 'some' },
    { vote: { neighbours: 0, weight: 1 } },
    { vote: { neighbours: 4, weight: -1 } },
    { vote: { neighbours: 4 } },
    { scoring: 'greedy', ensemble: 'all' },
    { scoring: 'greedy', vote: { neighbours: 4, weight: 1 } },
    { entropy: 'raw-nats', ensemble: 'all' },
    { temperature: 0 },
    { grid: { kind: 'geometric', first: 200 } },
  ]) {
    await Show.create(pool, { ...base, ...options } as unknown as ShowOptions).then(
      () => assert.unreachable(JSON.stringify(options)),
      (error: EspalierError) => assert.is(error.code, 'E_ARGUMENT'),
    );
  }
  // left open, they are what can be
  const greedy = await Show.create(pool, { ...base, scoring: 'greedy' });
  assert.equal([greedy.settings.ensemble, greedy.settings.vote], ['one', null]);
  greedy.close();
  const asked = await Show.create(pool, { ...base, entropy: 'raw-nats' });
  assert.equal([asked.settings.ensemble, asked.settings.vote?.weight], ['one', 1]);
  asked.close();
  pool.close();
});

test('a fallback beyond the grid is used; only the count itself is compared with full attention', async () => {
  const chain = await Chain.create(model, shots);
  const bias = Object.fromEntries([2, 4, 8].map((count) => [count, [0, 0, 0, -50]]));
  const calibration = { labels: LABELS, threshold: 0, fallback: { shots: 12 }, vote: null, ridge: null, bias };
  const show = await Show.create(chain, { ...base, calibration });
  const answer = await show.ask(query, { compare: true });
  assert.is(answer.receipt.chosen, 12);
  // the bias of the nearest count, 8, has turned the answer; attention has not
  assert.is(answer.label, 'weather');
  assert.ok(answer.probabilities!['weather']! > 0.999);
  assert.ok(answer.receipt.comparison!.sameLabel && answer.receipt.comparison!.divergence < 1e-6);
  show.close();
  chain.close();
});

test.after(() => {
  model.close();
  device.close();
  worst.print();
});

test.run();
