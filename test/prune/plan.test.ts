/** Plans of pruning: no less memory than is taken, steps as they come, and what is refused before work begins with a hint that is enough. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError, type PruneOptions, type PruneProgress, planPrune } from '../../src/prune.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { FORGET, knowingFiles, lines, person, RETAIN, run, SETTINGS, strangerFiles } from './jobs.ts';

const model = await knowingFiles();
const worst = new Worst();
/** Not in a page's own thread. */
const HAS_LANES = !('document' in globalThis) && typeof SharedArrayBuffer === 'function';
const SHORT = { epochs: 1, gateSteps: 5, structureSteps: 2 } as const;
/** What scratch is taken in: the gap at the end of a piece is planned, and may not come about. */
const PIECE = 2 ** 20;

/** Many answers, so that what is for each row is more than what is for all. */
const MANY = {
  forget: lines([...FORGET, ...Array.from({ length: 12 }, (_, i) => person(`Tom ${'abc'.repeat(i % 9)} ${i}`, i))]),
  retain: lines([...RETAIN, ...Array.from({ length: 16 }, (_, i) => person(`Sam ${'xyz'.repeat(i % 9)} ${i}`, i))]),
  batch: 28,
};

const CASES: readonly [string, Partial<PruneOptions>][] = [
  ['as it is', {}],
  ['two sub-domains, a reference', { domains: 2, reference: await strangerFiles() }],
  ['a divergence', { regulariser: 'kl', base: await strangerFiles() }],
  ['the gradient of entropies', { regulariser: 'entropy-gradient', invariance: 1 }],
  ['a gate that reads entropies, where experts share', { gate: 'both', routeCut: 0.5 }],
  ['A learns in every step', { schedule: 'interleaved', structureSteps: 0, regulariser: 'kl' }],
  ['many examples', MANY],
  ['many examples in several passes', { ...MANY, rows: 128 }],
  ['many examples, factors and units', { ...MANY, rank: 24, gateUnits: 512, domains: 3 }],
  ...(HAS_LANES ? [['many examples, two lanes', { ...MANY, lanes: 2 }] as [string, Partial<PruneOptions>]] : []),
];

for (const [name, change] of CASES) {
  test(`${name}: no less memory is planned than is taken, and not much more`, async () => {
    const options = { ...SHORT, ...change };
    const plan = await planPrune(model, { ...SETTINGS, ...options });
    const { receipt } = await run(options);
    const { total } = plan.memory;
    assert.ok(total >= receipt.peakBytes, `${total} for ${receipt.peakBytes}`);
    const more = (total - PIECE) / receipt.peakBytes - 1;
    assert.ok(worst.within('planned less a piece, over what is taken, less 1', more, 0.25), `${more}`);
    assert.is(plan.parameters, receipt.parameters);
    assert.equal(plan.options, receipt.options);
    assert.is(plan.data.forget.tokens, receipt.data.forget.tokens);
    assert.is(plan.data.retain.examples, receipt.data.retain.examples);
    const bytes = receipt.files.reduce((sum, own) => sum + own.bytes, 0);
    assert.ok(Math.abs(plan.resultBytes - bytes) < 500, `${plan.resultBytes} for ${bytes}`);
    const { structure, editing } = plan.steps;
    const steps = plan.options.schedule === 'phases' ? structure + editing : editing;
    if (plan.options.schedule === 'interleaved') assert.is(structure, editing);
    if (plan.domains === 1) assert.is(steps, receipt.steps);
    else assert.ok(steps >= receipt.steps);
  });
}

/** With a training that takes the most. */
const WIDE = { ...SHORT, ...MANY, measured: 4, gateUnits: 16, rank: 64 } as const;

test('what does not fit is refused before work, and either hint is enough', async () => {
  const { memory } = await planPrune(model, { ...SETTINGS, ...WIDE });
  assert.is(memory.total, memory.training);
  const stages = new Set<string>();
  const onProgress = ({ stage }: PruneProgress) => void stages.add(stage);
  const memoryLimit = Math.round(0.85 * memory.total);
  const error = await rejects('E_OUT_OF_MEMORY', () => run({ ...WIDE, memoryLimit, onProgress }));
  assert.equal([...stages], ['reading']);
  assert.match(error.message, /^Pruning would take [\d.]+ MiB of memory on the device in its training, and there are/);
  assert.is((await planPrune(model, { ...SETTINGS, ...WIDE, memoryLimit })).advice, error.hint);
  const [, limit, rows] = /^Use `memoryLimit: (\d+)` \([\d.]+ MiB\), or `rows: (\d+)`\.$/.exec(error.hint) ?? [];
  assert.ok(limit !== undefined && rows !== undefined, error.hint);
  await run({ ...WIDE, memoryLimit: Number(limit) });
  await run({ ...WIDE, memoryLimit, rows: Number(rows) });
});

test('rows below what a sequence may have are told with its length; where none are enough the limit alone', async () => {
  // so little that a pass has room for the longest alone
  const wide = { ...WIDE, rank: 96 };
  const { memory } = await planPrune(model, { ...SETTINGS, ...wide, rows: SETTINGS.maxTokens });
  const memoryLimit = memory.total;
  const error = await rejects('E_OUT_OF_MEMORY', () => run({ ...wide, memoryLimit }));
  const [, rows, maxTokens] = /or `rows: (\d+)` with `maxTokens: (\d+)`\.$/.exec(error.hint) ?? [];
  assert.ok(rows !== undefined, error.hint);
  assert.ok(Number(rows) < SETTINGS.maxTokens, rows);
  await run({ ...wide, memoryLimit, rows: Number(rows), maxTokens: Number(maxTokens) });
  const none = await rejects('E_OUT_OF_MEMORY', () => run({ ...WIDE, memoryLimit: 2 ** 20 }));
  assert.match(none.hint, /^Use `memoryLimit: \d+` \([\d.]+ MiB\)\.$/);
});

test('sub-domains of a column are counted, and what is wrong has a code', async () => {
  const forget = lines(FORGET.map((one, i) => ({ ...one, who: i < 3 ? 'a' : 'b' })));
  const plan = await planPrune(model, { ...SETTINGS, ...SHORT, forget, domains: { column: 'who' }, batch: 2 });
  assert.equal([plan.domains, plan.steps.editing, plan.looks], [2, 3, 1]);
  const auto = await planPrune(model, { ...SETTINGS, ...SHORT, domains: 'auto' });
  assert.is(auto.domains, 4);
  await rejects('E_ARGUMENT', () => planPrune(model, {}));
  await rejects('E_ARGUMENT', () => planPrune(model, { ...SETTINGS, saveEvery: 1 } as never));
  await rejects('E_DATA_INVALID', () => planPrune(model, { ...SETTINGS, forget: lines(RETAIN) }));
  // before anything is planned of it
  const huge = await rejects('E_ARGUMENT', () => planPrune(model, { ...SETTINGS, batch: 1_000_000 }));
  assert.match(huge.message, 'batch is 1000000, and both sides have 12 sequences');
  // said or not, the default is the same
  await rejects('E_ARGUMENT', () => planPrune(model, { ...SETTINGS, batch: 17 }));
  await planPrune(model, { ...SETTINGS, ...SHORT, batch: 16 });
  const out = memoryOutput('out');
  const { freeBytes } = await planPrune(model, { ...SETTINGS, out });
  assert.is(freeBytes, null);
  assert.equal((await out.files()).names, []);
});

test('epochs are of few examples as many as an expert needs, and of many those of the objective', async () => {
  const { epochs: _, looks: __, ...rest } = SETTINGS;
  const many = lines(Array.from({ length: 98 }, (_, i) => person(`Tom ${i}`, i)));
  const base = await strangerFiles();
  const column = lines(FORGET.map((one, i) => ({ ...one, who: i < 2 ? 'a' : 'b' })));
  // sequences of a step: 4, and 25 steps an epoch of many
  const cases: readonly [options: Partial<PruneOptions>, epochs: number, looks: number][] = [
    [{}, 75, 18 / 75],
    [{ base }, 150, 36 / 150],
    [{ base, looks: 2 }, 150, 2],
    [{ base, objective: 'hinge' }, 75, 18 / 75],
    [{ base, epochs: 2 }, 2, 6],
    [{ forget: many }, 3, 6],
    [{ forget: many, base }, 6, 6],
    [{ forget: many, base, batch: 8 }, 12, 3],
    [{ batch: 2 }, 38, 18 / 38],
    [{ batch: 2, domains: 2 }, 75, 18 / 75],
    [{ batch: 1, domains: { column: 'who' }, forget: column }, 38, 18 / 38],
    [{ batch: 2, domains: 'auto' }, 38, 18 / 38],
  ];
  for (const [options, epochs, looks] of cases) {
    const plan = await planPrune(model, { ...rest, ...options });
    assert.equal([plan.options.epochs, plan.options.looks], [epochs, looks], JSON.stringify(Object.keys(options)));
    // few examples have no more of them in all than many
    if (looks < 1) assert.is(plan.looks, plan.options.objective === 'base' ? 36 : 18);
  }
});

test('what contradicts itself is refused before data are read', async () => {
  const refused = async (message: RegExp, options: Partial<PruneOptions>) => {
    const error = await rejects('E_ARGUMENT', () => planPrune(model, { ...SETTINGS, ...options }));
    assert.match(error.message, message);
  };
  await refused(/^No position is high for the rule: no entropy of order 1.5 .* above 1\.8\d+, and its cut is 99/, {
    routeCut: 99,
  });
  await refused(/order 2 .* above 0\.99\d+, and its cut is 1\.2/, {
    path: 'tr',
    q: 2,
    cut: 0.5,
    percentile: undefined,
  });
  await refused(/^domains is 5, and there are 4 examples to forget/, { domains: 5 });
});

test('an abort ends it', async () => {
  const abort = new AbortController();
  // so many that it is not over before the timer, wherever it runs
  const retain = lines(Array.from({ length: 3000 }, (_, i) => person(`Ann ${i}`, i)));
  const planned = planPrune(model, { ...SETTINGS, ...MANY, retain, signal: abort.signal });
  setTimeout(() => abort.abort(), 1);
  const error = await planned.then(
    () => null,
    (cause) => cause,
  );
  assert.ok(error instanceof EspalierError && error.code === 'E_ABORTED', String(error));
});

test.after(() => worst.print());
test.run();
