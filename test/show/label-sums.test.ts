/** What is said of labels comes from the sums over all their tokens, as the model itself scores them: many small sets of random labels. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device } from '../../src/device/device.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { indexOfLargest } from '../../src/model/divergence.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import { uniform } from '../../src/random.ts';
import { LabelTrie } from '../../src/show/probe/labels.ts';
import { type Answer, Chain, ShotPool, Show, type ShowOptions } from '../../src/show.ts';
import { Worst } from '../device/devices.ts';
import { modelTarget } from '../files.ts';

const worst = new Worst();
const device: Device = await WasmDevice.create();
const model = await openLocal(await modelTarget('models/nano-base'), { device, precision: 'exact' });
const QUERY = 'Question: What is it ?\nType:';
const PLAIN = { preset: 'label', prompt: 'Type:', vote: null, ensemble: 'one', rank: 'bm25' } as const;

/** Words of some syllables: of one or many tokens, likely and not, some beginning others. */
function labelsOf(seed: number): string[] {
  const parts = ['the', ' of', 'ing', ' in', 'x', 'qu', ' city', ' year', 'zz', 'ation', ' 7', ' New', 'ly'];
  const pick = (i: number, n: number) => Math.floor(uniform(seed, i, 90) * n);
  const labels = new Set<string>();
  for (let i = 0; labels.size < 2 + pick(0, 6); i++) {
    const length = 1 + pick(10 * i + 1, 4);
    const made = Array.from({ length }, (_, k) => parts[pick(10 * i + 2 + k, parts.length)]!).join('');
    labels.add(made.trim());
    if (uniform(seed, 10 * i + 9, 90) < 0.3) labels.add(`${made.trim()} more`);
  }
  return [...labels];
}

/** Log-probabilities of each label's tokens, by `score`. */
async function scored(of: LocalModel, before: readonly number[], labels: readonly string[]): Promise<number[][]> {
  const lists: number[][] = [];
  for (const { ids } of LabelTrie.create(of.tokenizer, labels, { prompt: 'Type:' }).paths()) {
    const all = await of.score([...before, ...ids]);
    lists.push(all.slice(-ids.length).map(({ logprob }) => logprob!));
  }
  return lists;
}

const sumOf = (list: readonly number[]) => list.reduce((sum, x) => sum + x, 0);

/** The label that is found token by token. */
function greedyOf(labels: readonly string[], logs: readonly (readonly number[])[]): number {
  const ids = LabelTrie.create(model.tokenizer, labels, { prompt: 'Type:' }).paths();
  let open = ids.map(({ label }) => label);
  for (let depth = 0; open.length > 1; depth++) {
    const best = Math.max(...open.map((label) => logs[label]![depth]!));
    const { ids: winner } = ids[open.find((label) => logs[label]![depth] === best)!]!;
    open = open.filter((label) => ids[label]!.ids[depth] === winner[depth]);
  }
  return open[0]!;
}

/** Probabilities, entropy, mass and the answer, against those from `score`. */
function check(title: string, answer: Answer, labels: readonly string[], logs: readonly (readonly number[])[]): void {
  const sums = logs.map(sumOf);
  const mass = sums.reduce((total, log) => total + Math.exp(log), 0);
  const want = sums.map((log) => Math.exp(log) / mass);
  const got = labels.map((label) => answer.probabilities![label]!);
  for (const [i, p] of got.entries()) assert.ok(worst.within(`${title}: probability`, Math.abs(p - want[i]!), 2e-5));
  const entropy = -sumOf(want.map((p) => (p > 0 ? p * Math.log(p) : 0)));
  const probe = answer.receipt.probes.at(-1)!;
  assert.ok(worst.within(`${title}: entropy`, Math.abs(probe.entropy - entropy), 1e-4), title);
  assert.ok(worst.within(`${title}: mass, relative`, Math.abs(probe.mass / mass - 1), 1e-4), title);
}

/** How far a wrong answer lies below the best sum: answers may differ where sums are equal but for rounding. */
const behind = (sums: readonly number[], label: number) => Math.max(...sums) - sums[label]!;

const ask = async (source: ShotPool | Chain, labels: readonly string[], options: Partial<ShowOptions> = {}) => {
  const show = await Show.create(source, { ...PLAIN, ...options, labels });
  const answer = await show.ask(QUERY);
  show.close();
  return answer;
};

test('without examples the best sum is the answer, and all figures are of complete sums', async () => {
  const pool = await ShotPool.build(model, []);
  const query = model.encode(QUERY);
  let faint = 0;
  for (let seed = 0; seed < 12; seed++) {
    const labels = labelsOf(seed);
    const logs = await scored(model, query, labels);
    const sums = logs.map(sumOf);
    const answer = await ask(pool, labels);
    check('zero-shot', answer, labels, logs);
    assert.ok(behind(sums, labels.indexOf(answer.label!)) < 1e-4, `seed ${seed}: ${answer.label}`);
    const greedy = await ask(pool, labels, { scoring: 'greedy' });
    check('greedy', greedy, labels, logs);
    assert.is(labels.indexOf(greedy.label!), greedyOf(labels, logs), `seed ${seed}`);
    // a cut by the first token would have left something out
    const firsts = logs.map(([log]) => log!);
    if (Math.min(...firsts) < Math.max(...firsts) + Math.log(1e-3)) faint++;
  }
  assert.ok(faint > 1, `${faint} sets have a label whose first token is a thousandth as likely as the likeliest`);
  pool.close();
});

test('an unlikely first token neither rules a label out nor is all that counts', async () => {
  const pool = await ShotPool.build(model, []);
  const words = ['the', 'a', 'what', 'x', 'zz', 'qu', 'ation', 'in', '7', 'New', 'ly', 'Q', ';', 'of'];
  const logs = await scored(model, model.encode(QUERY), words);
  const firsts = logs.map(([log]) => log!);
  const likely = indexOfLargest(firsts);
  const single = logs.map((list, i) => (list.length === 1 ? -firsts[i]! : 0));
  const unlikely = indexOfLargest(single);
  assert.ok(firsts[unlikely]! < firsts[likely]! + Math.log(1e-3));
  const sets = [
    [words[unlikely]!, `${words[likely]} zz qu zz qu zz`],
    // nor does it win by that token alone
    [`${words[likely]} zz qu zz`, `${words[unlikely]} zz qu zz qu zz qu zz`],
  ];
  for (const labels of sets) {
    const answer = await ask(pool, labels);
    assert.is(answer.label, labels[0]);
    check('unlikely', answer, labels, await scored(model, model.encode(QUERY), labels));
  }
  pool.close();
});

test('behind every count of a chain, and in what the calibration saw', async () => {
  const texts = ['the city', 'a year', 'the king'];
  const shots = texts.map((text, i) => ({ id: `${i}`, text: `Question: ${text} ?\nType: ${text}\n==\n` }));
  const chain = await Chain.create(model, shots);
  const grid = [0, 1, 2, 3];
  const logsOf: number[][][] = [];
  const labels = ['qu ation', 'the city', 'zzx', 'the city more', 'the'];
  for (const count of grid) {
    logsOf.push(
      await scored(model, [...chain.prefix, ...chain.tokens(count), ...model.encode(QUERY, { addBos: false })], labels),
    );
  }
  const show = await Show.create(chain, { ...PLAIN, grid, threshold: 0, fallback: { shots: 3 }, labels });
  for (const count of grid) {
    const answer = await show.ask(QUERY, { shots: count });
    const want = logsOf[count]!.map(sumOf);
    const mass = want.reduce((sum, log) => sum + Math.exp(log), 0);
    for (const [i, label] of labels.entries()) {
      const error = Math.abs(answer.probabilities![label]! - Math.exp(want[i]!) / mass);
      assert.ok(worst.within('behind a chain: probability', error, 2e-5));
    }
  }
  const best = logsOf.map((logs) => labels[indexOfLargest(logs.map(sumOf))]!);
  const { fixed } = await show.calibrate([{ query: QUERY, label: best[2]! }], { fit: 'threshold' });
  assert.equal(
    fixed.map(({ accuracy }) => accuracy),
    best.map((label) => Number(label === best[2])),
  );
  show.close();
  chain.close();
});

test('more labels than one pass takes are as right as few', async () => {
  const pool = await ShotPool.build(model, []);
  const labels = Array.from({ length: 150 }, (_, i) => `number ${i} of a list that is long`);
  const answer = await ask(pool, labels, { grid: [0] });
  const some = labels.filter((_, i) => i % 50 === 0);
  const { mass } = answer.receipt.probes.at(-1)!;
  const logs = await scored(model, model.encode(QUERY), some);
  for (const [i, label] of some.entries()) {
    const log = Math.log(answer.probabilities![label]! * mass);
    assert.ok(worst.within('of 150: log-probability', Math.abs(log - sumOf(logs[i]!)), 1e-3));
  }
  assert.ok(answer.receipt.tokens.forwarded > 512);
  pool.close();
});

test.after(() => {
  worst.print();
  model.close();
  device.close?.();
});
test.run();
