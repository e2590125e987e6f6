/** Whole evaluations on the embedded model: what arms do, how they agree, and that an interrupted run goes on. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Example, parseData } from '../../src/datasets/data.ts';
import { splitExamples } from '../../src/datasets/splits.ts';
import { renderQuery, renderShot, TEMPLATES } from '../../src/datasets/templates.ts';
import { parseArms } from '../../src/evaluate/arms.ts';
import type { EvaluateOptions } from '../../src/evaluate/options.ts';
import { isRecord } from '../../src/evaluate/record-check.ts';
import { evaluate } from '../../src/evaluate/run.ts';
import { settingOf } from '../../src/evaluate/setting.ts';
import type { EvaluationRecord, ItemResult } from '../../src/evaluate/types.ts';
import { indexOfLargest } from '../../src/model/divergence.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { animalsAndNumbers } from './examples.ts';

const worst = new Worst();
const model = await openLocal(await modelTarget('models/nano-base'), { precision: 'exact' });
const template = TEMPLATES.trec;
const { list } = parseData('jsonl', new TextEncoder().encode(animalsAndNumbers()));
const labels = [...new Set(list.map(({ output }) => output))].sort();
const task = { kind: 'labels', labels, train: list } as const;

const options = (arms: string, more: Partial<EvaluateOptions> = {}): EvaluateOptions => ({
  arms: parseArms(arms, [2, 8]),
  template,
  pool: 24,
  test: 5,
  seed: 3,
  ...more,
});

async function results(arms: string, more: Partial<EvaluateOptions> = {}): Promise<readonly ItemResult[]> {
  const records = await evaluate(model, task, options(arms, more));
  assert.not(
    records.some((record) => 'skipped' in record),
    JSON.stringify(records),
  );
  return records as readonly ItemResult[];
}

const answers = (list: readonly ItemResult[], arm: string) => list.filter((r) => r.arm === arm).map((r) => r.label);
const plain = (text: string) => model.tokenizer.encode(text, { addSpecialTokens: false });

/** Log-probabilities of the labels behind a prompt, each scored by itself. */
async function sumsOf(shots: readonly Example[], input: string): Promise<readonly number[]> {
  const prompt = [
    ...model.encode(''),
    ...shots.flatMap((shot) => plain(renderShot(template, shot))),
    ...plain(renderQuery(template, input)),
  ];
  const sums: number[] = [];
  for (const label of labels) {
    const ids = plain(`${template.output} ${label}`).slice(plain(template.output).length);
    const scored = await model.score([...prompt, ...ids]);
    sums.push(scored.slice(-ids.length).reduce((sum, { logprob }) => sum + logprob!, 0));
  }
  return sums;
}

const likeliest = async (shots: readonly Example[], input: string): Promise<string> =>
  labels[indexOfLargest(await sumsOf(shots, input))]!;

test('full attention answers what the model says behind the written prompt', async () => {
  const got = await results('zero-shot,full');
  const split = splitExamples(task, { pool: 24, test: 5, seed: 3 });
  const setting = settingOf(model, task, split.pool, [], options('full'), 3);
  const example = new Map(setting.shots.map(({ id }, i) => [id, split.pool[i]!]));
  const shown = (ids: readonly string[]) => ids.map((id) => example.get(id)!);
  assert.is(got.length, 5 * 5);
  for (const [i, { input, output }] of split.test.entries()) {
    for (const arm of ['zero-shot', 'full:random:8', 'full:bm25:2', 'full:bm25:8']) {
      const result = got.find((r) => r.arm === arm && r.item === i)!;
      const [, ranking, count] = arm.split(':');
      const ids = ranking === 'random' ? setting.random : setting.rank(input).map(({ id }) => id);
      const chosen = ids.slice(0, Number(count ?? 0));
      const shots = shown(ranking === 'random' ? chosen : chosen.toReversed());
      assert.is(result.label, await likeliest(shots, input), `${arm} ${i}`);
      assert.is(result.truth, output);
      assert.is(result.shots, shots.length);
      assert.is(result.reused, 0);
      const tokens = shots.flatMap((shot) => plain(renderShot(template, shot)));
      assert.ok(result.forwarded >= tokens.length + plain(renderQuery(template, input)).length);
      assert.ok(result.milliseconds >= result.firstMilliseconds && result.firstMilliseconds > 0);
    }
  }
});

test('results tell the likeliest labels as the model gives them, and which examples were shown', async () => {
  const arms = [
    'zero-shot',
    'full:bm25:2',
    'full:random:8',
    'bare:bm25:2',
    'chain:2',
    'dbsa:8',
    'label',
    'parity',
    'vote:2',
  ];
  const got = await results(arms.join(','), { threshold: 0.4 });
  const split = splitExamples(task, { pool: 24, test: 5, seed: 3 });
  const setting = settingOf(model, task, split.pool, [], options('full'), 3);
  assert.is(got.length, 5 * arms.length);
  for (const r of got) {
    assert.ok(isRecord(JSON.parse(JSON.stringify(r))));
    const top = r.top!;
    const sum = top.reduce((all, { probability }) => all + probability, 0);
    const voted = r.arm.startsWith('vote');
    // three labels, so that all of them stand there; of a vote those that got one
    assert.equal(
      [...new Set(top.map(({ label }) => label))].sort(),
      voted ? top.map(({ label }) => label).sort() : labels,
    );
    assert.ok(worst.within('sum of probabilities', Math.abs(sum - 1), 1e-12), `${r.arm} ${sum}`);
    assert.ok(top.every(({ probability }, i) => i === 0 || probability <= top[i - 1]!.probability));
    if (r.arm !== 'parity') assert.is(r.label, top[0]!.label); // greedy
    const entropy = -top.reduce((all, { probability: p }) => all + (p > 0 ? p * Math.log(p) : 0), 0);
    assert.ok(worst.within('entropy', Math.abs(r.entropy! - entropy), 1e-12));
    assert.is(r.shown!.length, Math.min(r.shots, 32), r.arm);
    assert.ok(r.shown!.every((id) => Number(id) < 24));
    const adaptive = r.arm === 'label' || r.arm === 'parity';
    // what was known before any example stands before the numbers that were tried
    assert.is(r.tried?.length, adaptive ? r.probes! + (r.arm === 'label' ? 1 : 0) : undefined);
    assert.is(r.threshold !== undefined, adaptive);
    if (r.arm === 'label') {
      assert.is(r.threshold, 0.4);
      const chosen = r.tried!.find(({ shots }) => shots === r.shots)!;
      assert.is(chosen.label, r.label);
      assert.ok(worst.within('entropy of the chosen count', Math.abs(chosen.entropy - r.entropy!), 1e-12));
    }
    if (!/^(?:zero-shot|full)/.test(r.arm)) continue;
    const { input } = split.test[r.item]!;
    const placed = r.arm === 'full:bm25:2' ? r.shown!.toReversed() : r.shown!;
    const ranking = r.arm === 'full:bm25:2' ? setting.rank(input).map(({ id }) => id) : setting.random;
    assert.equal(r.shown, ranking.slice(0, r.shots));
    const sums = await sumsOf(
      placed.map((id) => split.pool[Number(id)]!),
      input,
    );
    const all = sums.reduce((mass, log) => mass + Math.exp(log), 0);
    for (const { label, probability } of top) {
      const error = Math.abs(probability - Math.exp(sums[labels.indexOf(label)]!) / all);
      assert.ok(worst.within('probabilities against plain scores', error, 1e-5), `${r.arm} ${label}: ${error}`);
    }
  }
});

test('a chain is full attention over the same shots', async () => {
  const got = await results('full:random,chain', { fidelity: 3 });
  for (const count of [2, 8]) assert.equal(answers(got, `chain:${count}`), answers(got, `full:random:${count}`));
  const compared = got.filter((r) => r.divergence !== undefined);
  assert.is(compared.length, 3 * 3); // chain:2, chain:8, chain:label
  for (const { divergence, agrees } of compared) {
    assert.ok(worst.within('KL of a chain', divergence!, 1e-6), `${divergence}`);
    assert.ok(agrees);
  }
  for (const { arm, reused, forwarded } of got) {
    if (arm.startsWith('chain:')) assert.ok(reused > 0 && forwarded < 200, `${arm}: ${reused} ${forwarded}`);
  }
});

test('arms that reuse shots run, and say how far they are from full attention', async () => {
  const got = await results('bare,prefixed:bm25,repair:bm25,label,parity', {
    fidelity: 2,
    dev: 4,
    ridge: null,
    instruction: 'Sort:',
  });
  const names = new Set(got.map(({ arm }) => arm));
  assert.is(got.length, 5 * names.size);
  assert.is(names.size, 4 + 2 + 2 + 2);
  for (const r of got) {
    assert.ok(labels.includes(r.label), r.label);
    assert.is(r.divergence !== undefined, r.item < 2);
    if (r.divergence !== undefined) assert.ok(r.divergence >= 0 && Number.isFinite(r.divergence));
    const count = /:(\d+)$/.exec(r.arm)?.[1];
    if (count) assert.is(r.shots, Number(count));
    else assert.ok(r.probes! > 0 && typeof r.fallback === 'boolean');
    assert.ok(r.reused > 0);
  }
});

test('the words of the template do not rank', async () => {
  const misleading = Array.from({ length: 12 }, (_, i) => ({ input: `question type ${i}`, output: labels[0]! }));
  const train = [...misleading, ...list];
  const { test: items } = splitExamples({ train: list }, { pool: 24, test: 10, seed: 3 });
  const more = {
    pool: 60,
    test: 10,
    order: 'best-first',
    grid: [2],
    rank: 'bm25',
    ensemble: 'one',
    vote: null,
    ridge: null,
  } as const;
  const records = await evaluate(model, { ...task, train, test: items }, options('bare:bm25:2,label', more));
  const of = (arm: string) =>
    (records as readonly ItemResult[])
      .filter((r) => r.arm === arm)
      .map(({ item, label, shots, reused }) => ({ item, label, shots, reused }));
  assert.is(of('label').length, 10);
  assert.equal(of('label'), of('bare:bm25:2')); // ranked by the evaluation itself, over inputs
});

test('neighbours vote without the model', async () => {
  const got = await results('vote:1', { pool: 50, test: 20 });
  // the words of these inputs tell their labels, and most of them occur in the pool
  const right = got.filter((r) => r.label === r.truth).length;
  assert.ok(right >= 16, `${right}`);
  assert.ok(got.every((r) => r.forwarded === 0 && r.shots === 1));
});

test('seeds draw other items, and the same seed the same', async () => {
  const two = await results('vote:2', { seeds: 2 });
  assert.equal([...new Set(two.map(({ seed }) => seed))], [3, 4]);
  const later = await results('vote:2', { seed: 4 });
  const strip = (list: readonly ItemResult[]) => list.map(({ item, truth, label }) => ({ item, truth, label }));
  assert.equal(strip(two.filter(({ seed }) => seed === 4)), strip(later));
});

test('an evaluation that was aborted goes on where it was', async () => {
  const arms = 'zero-shot,full:bm25:2,vote:2';
  const whole = await results(arms);
  const controller = new AbortController();
  const kept: EvaluationRecord[] = [];
  await rejects('E_ABORTED', () =>
    evaluate(model, task, {
      ...options(arms),
      signal: controller.signal,
      onRecord: (record) => {
        kept.push(record);
        if (kept.length === 7) controller.abort();
      },
    }),
  );
  assert.is(kept.length, 7);
  const made: EvaluationRecord[] = [];
  const steps: number[] = [];
  const all = await evaluate(model, task, {
    ...options(arms),
    done: kept,
    onRecord: (record) => void made.push(record),
    onProgress: ({ done, total }) => {
      assert.is(total, 15);
      steps.push(done);
    },
  });
  assert.is(made.length, 15 - 7);
  assert.equal(all.slice(0, 7), kept);
  assert.equal(steps, [7, 8, 9, 10, 10, 11, 12, 13, 14, 15]);
  const strip = (list: readonly EvaluationRecord[]) =>
    (list as readonly ItemResult[]).map(({ firstMilliseconds: _, milliseconds: __, ...rest }) => rest);
  assert.equal(strip(all), strip(whole));
});

test('an arm that does not fit the context is skipped, and the others run', async () => {
  const long = { ...task, train: list.map((e) => ({ ...e, input: `${e.input}${' and so on'.repeat(120)}` })) };
  const records = await evaluate(model, long, options('full:bm25:8,vote:8,chain:8,full:bm25:2', { test: 1 }));
  assert.equal(
    records.map((r) => [r.arm, 'skipped' in r ? r.skipped.split(':')[0] : 'ran']),
    [
      ['full:bm25:8', 'E_CONTEXT_LENGTH'],
      ['vote:8', 'ran'],
      ['chain:8', 'E_CONTEXT_LENGTH'],
      ['full:bm25:2', 'ran'],
    ],
  );
  // and it is not tried again
  const again = await evaluate(model, long, {
    ...options('full:bm25:8', { test: 1 }),
    done: records,
    onRecord: () => assert.unreachable('tried again'),
  });
  assert.equal(again, records);
});

test('what cannot be evaluated', async () => {
  await rejects('E_ARGUMENT', () => evaluate(model, { ...task, kind: 'text' }, options('vote:2')));
  await rejects('E_ARGUMENT', () => evaluate(model, task, options('full:bm25:64'))); // a pool of 24
  await rejects('E_ARGUMENT', () => evaluate(model, task, options('vote:2', { pool: 1000 })));
});

test('nothing stays on the device', async () => {
  const { tensors } = model.device.stats();
  await results('zero-shot,full:bm25:2,bare:bm25:2,label,chain:2', { test: 1, fidelity: 1 });
  assert.is(model.device.stats().tensors, tensors);
});

test('what an arm needs before its items is told', async () => {
  const told = new Map<string, number[]>();
  await evaluate(model, task, {
    ...options('label,chain:2,chains:2', { test: 1, dev: 2, grid: [1], clusters: 2, rank: 'keys' }),
    onProgress: ({ arm, preparing }) => {
      if (preparing === null) return;
      const key = `${arm} ${preparing.what}`;
      told.set(key, [...(told.get(key) ?? []), preparing.done / preparing.total]);
    },
  });
  assert.equal([...told.keys()].sort(), ['chain:2 reading', 'chains:2 reading', 'label calibrating', 'label encoding']);
  for (const shares of told.values()) {
    assert.is(shares.at(-1), 1);
    assert.ok(shares.every((share, i) => i === 0 || share >= shares[i - 1]!));
  }
});

test.after(() => {
  worst.print();
  model.close();
});
test.run();
