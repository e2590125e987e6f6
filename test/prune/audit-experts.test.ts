/** Audits of a model whose experts act by position: which act, by the gate's formula in f64, in a thread and a worker, one text and many. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GATE_KINDS, gateEntries } from '../../src/checkpoint/adapter/gate-kinds.ts';
import { routedFiles, type WrittenRouted } from '../../src/checkpoint/adapter/routed-write.ts';
import { highestEntropy } from '../../src/checkpoint/adapter/routing.ts';
import { Engine } from '../../src/index.ts';
import { coefficientsOf } from '../../src/model/routed/rule.ts';
import { openLocal } from '../../src/open-local.ts';
import { type AuditedToken, auditEntropy, type EntropyAudit } from '../../src/prune/entropy/audit.ts';
import { auditedRouting, expertsStatement } from '../../src/prune/entropy/experts.ts';
import { auditPage } from '../../src/prune/entropy/page.ts';
import { rowEntropies } from '../../src/prune/entropy/tsallis.ts';
import { Worst } from '../device/devices.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { type GateNumbers, gateLogits } from '../model/gate-reference.ts';
import { constant, filesOf, routedAdapter } from '../model/routed-fixture.ts';
import { runAll } from '../model/run.ts';

const worst = new Worst();
test.after(() => worst.print());
const TEXT = 'Once upon a time, there was';
const NAMES = ['people-1', 'people-2'];
const base = await openLocal(await tinyFiles(), { precision: 'exact' });
test.after(() => base.close());
const ids = base.encode(TEXT);
const made = routedAdapter(base.config);
const opened = async (adapter: WrittenRouted, weight = 1) =>
  openLocal(await tinyFiles(), { precision: 'exact', adapters: [{ from: filesOf(routedFiles(adapter)), weight }] });

/** By token but the first: probabilities of the gate, the entropy of the rule, and coefficients, in f64 from states of the model without it. */
async function byFormula({ gate, rule }: WrittenRouted, list: readonly number[]) {
  const { normed, logits } = await runAll(base.decoder, list);
  const { hiddenSize: d, vocabSize: v } = base.config;
  const weights = Object.fromEntries(gateEntries(gate)) as GateNumbers;
  const entropies = list.map((_, t) => rowEntropies(logits.subarray(t * v, (t + 1) * v), rule.order).tsallis);
  return list.slice(1).map((_, t) => {
    const mean = Array.from({ length: d }, (_, i) => {
      let sum = 0;
      for (let j = 0; j <= t; j++) sum += normed[j * d + i]!;
      return sum / (t + 1);
    });
    const known = rule.alignment === 'predictive' ? entropies[t]! : (entropies[t - 1] ?? null);
    const entropy = known ?? highestEntropy(rule.order, v);
    const slots = gateLogits(gate.kind, weights, { mean, now: normed.subarray(t * d, (t + 1) * d), entropy });
    const total = slots.reduce((sum, x) => sum + Math.exp(x), 0);
    const coefficients = new Float32Array(2);
    coefficientsOf(rule, Float32Array.from(slots), entropy, coefficients);
    return { probabilities: slots.map((x) => Math.exp(x) / total), known, entropy, coefficients: [...coefficients] };
  });
}

const routingsOf = ({ texts }: EntropyAudit, text = 0) => texts[text]!.tokens.map(({ routing }) => routing);

for (const [kind, alignment] of GATE_KINDS.flatMap((kind) => [
  [kind, 'predictive'] as const,
  [kind, 'lagged'] as const,
])) {
  test(`${kind}, ${alignment}: what the gate says and who acts, where the token is predicted`, async () => {
    // half of the text is high
    const { median } = (await auditEntropy(base, TEXT, { fallback: false })).distribution;
    const own = routedAdapter(base.config, { kind });
    const adapter = { ...own, rule: { ...own.rule, alignment, cut: median } };
    const model = await opened(adapter);
    const audit = await auditEntropy(model, TEXT, { fallback: false });
    model.close();
    assert.equal(audit.experts, NAMES);
    const [none, ...told] = routingsOf(audit);
    assert.is(none, null, 'nothing predicts the first');
    const want = await byFormula(adapter, ids);
    assert.is(told.length, want.length);
    const kinds = new Set<string>();
    for (const [i, { probabilities, known, entropy, coefficients }] of want.entries()) {
      const got = told[i]!;
      for (const [s, p] of probabilities.entries())
        assert.ok(worst.within('probabilities', Math.abs(p - got.probabilities[s]!), 1e-5));
      for (const [e, c] of coefficients.entries())
        assert.ok(worst.within('coefficients', Math.abs(c - got.coefficients[e]!), 1e-5));
      if (known === null) assert.is(got.entropy, null);
      else assert.ok(worst.within('entropies', Math.abs(known - got.entropy!), 1e-4));
      assert.is(got.high, entropy > adapter.rule.cut!);
      assert.is(
        got.expert,
        coefficients.some((c) => c >= 0.01) ? (coefficients[0]! >= coefficients[1]! ? 0 : 1) : null,
      );
      kinds.add(coefficients.filter((c) => c >= 0.01).length.toString());
    }
    assert.ok(kinds.size > 1, `all alike: ${[...kinds].join()}`);
  });
}

test('in a worker, one text and many: the same', async () => {
  const model = await opened(made, 0.5);
  const sequences = [{ ids }, { ids: ids.slice(0, 9) }, { ids: ids.toReversed() }];
  const rules = { cut: 1.2, fallback: false };
  const many = await auditEntropy(model, sequences, rules);
  for (const [i, own] of sequences.entries()) {
    const alone = await auditEntropy(model, own.ids, rules);
    assert.equal(routingsOf(alone), routingsOf(many, i));
  }
  assert.is(Math.max(...routingsOf(many).flatMap((own) => own?.coefficients ?? [])), 0.5, 'the weight is in it');
  const engine = await Engine.create({ lanes: 1 });
  const there = await engine.open(await tinyFiles(), {
    precision: 'exact',
    adapters: [{ from: filesOf(routedFiles(made)), weight: 0.5 }],
  });
  const told = await auditEntropy(there, sequences, rules);
  assert.equal(told.experts, NAMES);
  for (let i = 0; i < sequences.length; i++) {
    for (const [t, own] of routingsOf(told, i).entries()) {
      const here = routingsOf(many, i)[t]!;
      if (t === 0) continue;
      // another thread may have timed other kernels as the fastest
      for (const [s, p] of own!.probabilities.entries()) assert.ok(Math.abs(p - here!.probabilities[s]!) < 1e-5);
      assert.equal([own!.expert, own!.high], [here!.expert, here!.high]);
    }
  }
  await there.close();
  await engine.close();
  model.close();
});

test('experts that share everywhere, and one whose work is turned around', async () => {
  const model = await opened(constant(made, [0.3, 0.55]), -1);
  const audit = await auditEntropy(model, TEXT, { cut: 1.2, fallback: false });
  model.close();
  for (const own of routingsOf(audit).slice(1)) {
    assert.is(own!.expert, 1);
    assert.ok(Math.abs(own!.coefficients[0]! + 0.3) < 1e-6 && Math.abs(own!.coefficients[1]! + 0.55) < 1e-6);
    for (const [s, p] of [0.15, 0.3, 0.55].entries()) assert.ok(Math.abs(own!.probabilities[s]! - p) < 1e-6);
  }
  const n = ids.length - 1;
  assert.is(
    expertsStatement(NAMES, routingsOf(audit)),
    `Of ${n} predicted tokens experts act at ${n}: people-1 at ${n}, people-2 at ${n}; several together at ${n}.`,
  );
});

test('without experts nothing is told of any', async () => {
  const audit = await auditEntropy(base, TEXT, { fallback: false });
  assert.is(audit.experts, null);
  assert.ok(routingsOf(audit).every((own) => own === null));
  assert.not.match(auditPage(audit), /id="experts"|data-e="/);
  const model = await opened(made);
  const [unasked] = await model.score(TEXT);
  assert.not('routing' in unasked!);
  const asked = await base.score(TEXT, { routing: true });
  assert.not(asked.some((own) => 'routing' in own));
  model.close();
});

test('the page marks where an expert begins to act, and names it', () => {
  const token = (text: string, coefficients: readonly number[]): AuditedToken => ({
    ...{ id: 1, text, entropy: 0.1, high: false, counts: true, logprob: -1, top: [] },
    routing: auditedRouting({ probabilities: [0.2, 0.3, 0.5], coefficients, entropy: 0.1, high: false }),
  });
  const tokens = [
    token('a', [0, 0]),
    token('b', [1, 0]),
    token('c', [1, 0.009]),
    token('d', [0.4, 0.6]),
    token('e', [0, 0]),
  ];
  const split = {
    q: 1.5,
    cut: 1.2,
    rule: 'cut',
    asked: null,
    percentile: null,
    highest: 2,
    tokens: 5,
    high: 0,
    share: 0,
  } as const;
  const histogram = { width: 1, counts: [5] };
  const distribution = { mean: 0, deviation: 0, least: 0, median: 0, most: 1, histogram, bimodality: null };
  const page = auditPage({ model: 'm', experts: ['<x>', 'y'], split, distribution, texts: [{ name: null, tokens }] });
  const spans = [...page.matchAll(/<span class="([^"]*)"(?: data-e="([^"]*)")? data-i/g)].map(([, kind, mark]) => [
    kind,
    mark,
  ]);
  assert.equal(spans, [
    ['l', undefined],
    ['l e e1 s', '1'],
    ['l e e1', '1'],
    ['l e e2 s', '2+'],
    ['l', undefined],
  ]);
  assert.match(page, /<span class="e s e1" data-e="1">&#60;x&#62;<\/span> this expert acts/);
  assert.match(page, 'Of 5 predicted tokens experts act at 3: &#60;x&#62; at 3, y at 1; several together at 1.');
});

test.run();
