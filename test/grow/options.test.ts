/** Options of growing: defaults, presets, what is refused and how it says so, groups and layers. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError } from '../../src/errors.ts';
import { chosenLayers, expertSizes, groupsOf } from '../../src/grow/plan/layer-choice.ts';
import { type GrowRecipe, growRecipe } from '../../src/grow/plan/options.ts';
import { controlPlans, resolveOptions } from '../../src/grow/plan/recipe.ts';
import { hasFileSystem, readBytes } from '../files.ts';

/** The message and hint with which options are refused. */
function refusal(options: unknown): string {
  try {
    resolveOptions(options as GrowRecipe);
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error;
    assert.is(error.code, 'E_ARGUMENT');
    return `${error.message} ${error.hint}`;
  }
  return assert.unreachable(`${JSON.stringify(options)} was accepted`) as never;
}

test('defaults are those of the paper, in every layer', () => {
  const plan = resolveOptions();
  assert.is(plan.method, 'spri');
  assert.equal([plan.experts, plan.topK, plan.groupSize], [8, 2, 2]);
  assert.is(plan.layers, 'auto');
  assert.equal([plan.partition, plan.placement, plan.anchor], ['contiguous', ['down'], 'shared']);
  assert.equal([plan.rho, plan.delta, plan.normalise], [1e-3, 1e-12, 'group']);
  assert.equal(plan.noise, { kind: 'relative', ratio: 0.44 });
  assert.is(plan.noiseAll, false);
  assert.equal(plan.router, { kind: 'normal', std: 0.02 });
  assert.equal([plan.dtype, plan.target, plan.seed], ['auto', 'auto', 0]);
  assert.equal(plan.trainPlan, {
    tau: 0.1,
    lambdaLoadBalance: 1e-2,
    lambdaZ: 1e-3,
    learningRate: 2e-5,
    warmup: 0.02,
    schedule: 'linear',
  });
  // a plan can be written down, and is a set of options again
  assert.equal(resolveOptions(JSON.parse(JSON.stringify(plan))), plan);
});

test('presets', () => {
  const paper = resolveOptions({ preset: 'paper' });
  assert.equal(paper.layers, { interval: 4 });
  assert.equal([paper.noiseAll, paper.target, paper.trainPlan.tau, paper.rho], [true, 'espalier', 0.1, 1e-3]);
  const safe = resolveOptions({ preset: 'gguf-safe' });
  assert.equal([safe.target, safe.anchor, safe.rho], ['granitemoeshared', 'shared', 1e-3]);
  assert.equal(safe.layers, { interval: 1 });
  const folded = resolveOptions({ preset: 'gguf-safe', target: 'qwen3_moe' });
  assert.equal([folded.anchor, folded.rho], ['folded', 1e-2]);
  // what is said beats the preset
  assert.equal(resolveOptions({ preset: 'paper', layers: [1, 5], noiseAll: false }).layers, [1, 5]);
  assert.is(resolveOptions({ target: 'mixtral' }).anchor, 'folded');
  assert.is(resolveOptions({ target: 'mixtral', method: 'naive' }).anchor, 'none');
  assert.is(resolveOptions({ topK: 4 }).groupSize, 4);
  assert.equal(resolveOptions({ placement: ['down', 'gate'] }).placement, ['gate', 'down']);
});

test('controls are plans that differ in one thing', () => {
  const plans = controlPlans({ preset: 'paper', seed: 5, groupSize: 4 });
  assert.equal(
    plans.map(({ name }) => name),
    ['spri', 'scaled-copy', 'gaussian', 'zero-delta', 'random-orthogonal', 'shuffled'],
  );
  const resolved = plans.map(({ options }) => resolveOptions(options));
  for (const plan of resolved) assert.equal([plan.seed, plan.rho, plan.topK, plan.experts], [5, 1e-3, 2, 8]);
  assert.is(new Set(resolved.map((plan) => JSON.stringify(plan))).size, plans.length);
  assert.throws(
    () => controlPlans({ experts: 1 }),
    (error: EspalierError) => error.code === 'E_ARGUMENT',
  );
});

test('every field names itself and what it takes when it is wrong', () => {
  const wrong: [field: string, ...values: unknown[]][] = [
    ['preset', 'best', 1],
    ['method', 'btx', null],
    ['preserve', true],
    ['experts', 1, 0, 2.5, Number.NaN, 1025, '8'],
    ['topK', 0, -1, 1.5],
    ['allowConstantGate', 1],
    ['groupSize', 0, 0.5],
    ['layers', [], [1, 1], [-1], { interval: 0 }, { first: 1, last: 1 }, { every: 2 }, 3],
    ['partition', 'even', { tailDrop: 0 }, { headKeep: 2, tailDrop: 2 }],
    ['shuffle', 'yes'],
    ['placement', [], ['down', 'down'], ['router'], 'down'],
    ['anchor', 'both'],
    ['rho', -1e-3, Number.POSITIVE_INFINITY, Number.NaN, '1e-3'],
    ['delta', -1, Number.NaN],
    ['normalise', 'frobenius'],
    ['noise', 0.44, { kind: 'relative' }, { kind: 'absolute', ratio: 1 }, { kind: 'relative', ratio: -1 }, 'none'],
    ['noiseAll', 0],
    ['router', { kind: 'zeros' }, { kind: 'normal', std: 0 }, { kind: 'normal' }, { kind: 'uniform', std: -1 }],
    ['seed', -1, 0.5, 2 ** 53, 1n],
    ['dtype', 'q8_0'],
    ['target', 'olmoe'],
    ['trainPlan', { tau: 2 }, { warmup: -1 }, { schedule: 'cosine' }, { rate: 1 }],
    ['ratio', -0.1, 1.1],
    ['sigma', -1],
    ['permute', null],
    ['granularity', 0, 1.5],
  ];
  for (const [field, ...values] of wrong) {
    for (const value of values) {
      const text = refusal({ [field]: value });
      assert.ok(
        new RegExp(`^${field}(?:\\.\\w+|\\[\\d\\])? (?:is|has|of kind) `).test(text) ||
          text.includes(`no option ${field}.`),
        text,
      );
      assert.match(text, / (?:Give|\w+ takes) /);
    }
  }
  assert.match(refusal({ router: { kind: 'zeros' } }), /every token to the first experts/);
  assert.match(refusal({ topk: 4 }), /no option topk; did you mean topK\?/);
  assert.match(refusal({ group_size: 4 }), /did you mean groupSize\?/);
});

test('T11: one expert a token with weights that sum to 1 is refused, unless it is meant', () => {
  assert.match(refusal({ topK: 1 }), /constant.*no gradient/);
  assert.is(resolveOptions({ topK: 1, allowConstantGate: true }).topK, 1);
});

test('fields that contradict each other', () => {
  assert.match(refusal({ topK: 9 }), /topK is 9 of 8/);
  assert.is(resolveOptions({ experts: 2, topK: 3, groupSize: 2, anchor: 'routed' }).topK, 3);
  assert.match(refusal({ groupSize: 9 }), /groupSize is 9 of 8/);
  assert.match(refusal({ partition: 'random-orthogonal', normalise: 'spectral' }), /no singular values/);
  assert.match(refusal({ method: 'naive', anchor: 'folded' }), /naive makes none/);
  assert.match(refusal({ method: 'split', anchor: 'routed' }), /smaller/);
  assert.match(refusal({ method: 'virtual-group', granularity: 3 }), /divisors/);
  const group = { method: 'virtual-group', granularity: 4, topK: 2 } as const;
  assert.match(refusal({ ...group, preserve: 'function-preserving' }), /multiple of the granularity/);
  assert.is(resolveOptions(group).granularity, 4);
});

test('T10: the last group may be smaller', () => {
  assert.equal(groupsOf(8, 2), [0, 2, 4, 6, 8]);
  assert.equal(groupsOf(8, 6), [0, 6, 8]);
  assert.equal(groupsOf(8, 8), [0, 8]);
  assert.equal(groupsOf(3, 1), [0, 1, 2, 3]);
});

test('layers: every s-th counts from one; first, last and lists', () => {
  assert.equal(chosenLayers({ interval: 4 }, 28), [3, 7, 11, 15, 19, 23, 27]);
  assert.equal(chosenLayers({ interval: 8 }, 28), [7, 15, 23]);
  assert.equal(chosenLayers('auto', 3), [0, 1, 2]);
  assert.equal(chosenLayers({ first: 2 }, 5), [0, 1]);
  assert.equal(chosenLayers({ last: 2 }, 5), [3, 4]);
  assert.equal(chosenLayers([4, 0], 5), [0, 4]);
  for (const choice of [{ interval: 6 }, { first: 6 }, { last: 6 }, [5]]) {
    assert.throws(
      () => chosenLayers(choice, 5),
      (error: EspalierError) => error.code === 'E_ARGUMENT',
    );
  }
});

test('sizes of experts', () => {
  assert.equal(expertSizes(resolveOptions(), 768), { experts: 8, expertSize: 768, sharedSize: 768 });
  assert.equal(expertSizes(resolveOptions({ anchor: 'routed' }), 768), { experts: 9, expertSize: 768, sharedSize: 0 });
  const split = resolveOptions({ method: 'split', anchor: 'none' });
  assert.equal(expertSizes(split, 768), { experts: 8, expertSize: 96, sharedSize: 0 });
  assert.throws(
    () => expertSizes(split, 770),
    (error: EspalierError) => error.code === 'E_ARGUMENT',
  );
  const group = resolveOptions({ method: 'virtual-group', granularity: 4, topK: 4 });
  assert.equal(expertSizes(group, 768), { experts: 8, expertSize: 192, sharedSize: 768 });
});

test('the table of the documentation has every option, with its default', async () => {
  if (!hasFileSystem) return; // a page is not served the documentation
  const text = new TextDecoder().decode(await readBytes('docs/growing.md'));
  const table = text.slice(text.indexOf('## Options'), text.indexOf('An option that the method'));
  const rows = [...table.matchAll(/^\| `(\w+)` *\| ([^|]+) \|/gm)].map(
    ([, name, value]) => [name!, value!.trim()] as const,
  );
  assert.equal(rows.map(([name]) => name).sort(), Object.keys(growRecipe).sort());
  for (const [name, value] of rows) {
    const rule = growRecipe[name as keyof typeof growRecipe];
    if ('default' in rule) assert.is(value.replaceAll('`', ''), String(rule.default), name);
  }
});

test.run();
