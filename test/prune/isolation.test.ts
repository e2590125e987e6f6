/** The record of isolation: what it counts and certifies of steps as pruning takes them, and that it finds what is changed by hand. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { TRAINED } from '../../src/prune/adapter/factors.ts';
import { tensorDigest } from '../../src/prune/proof/digest.ts';
import { IsolationLedger, type IsolationOptions } from '../../src/prune/proof/isolation.ts';
import type { StepKind } from '../../src/prune/proof/kinds.ts';
import type { IsolationState } from '../../src/prune/proof/state.ts';
import { floats } from '../device/gradients.ts';
import { rejects } from '../errors.ts';
import { tinyTrainable } from '../train/decoders.ts';
import { all, device, MODEL, Run, taken } from './isolated-run.ts';

/** Two of Phase I, and Phase II as it alternates. */
const PHASES: readonly (readonly StepKind[])[] = [
  ['structure', 'structure'],
  ['forget-1', 'retain', 'forget-2', 'retain', 'forget-1', 'retain'],
];

async function whole(run: Run): Promise<void> {
  for (const kind of PHASES[0]!) await run.step(kind);
  await run.ledger.switchPhases();
  for (const kind of PHASES[1]!) await run.step(kind);
  await run.ledger.end();
}

test('steps tell which tokens their loss is over, as their batches have it', () => {
  for (const kind of ['structure', 'forget-1', 'retain'] as const) {
    const { made, list } = taken(kind);
    const rows = made.batches.flatMap(({ weights, hinge }) =>
      Array.from(weights, (weight, row) => weight !== 0 || (hinge !== undefined && hinge[row] !== 0)),
    );
    // nine rows a sequence, of which the fifth predicts the token of high entropy
    const high = rows.filter((is, row) => is && row % 9 === 4).length;
    const told = made.tokens.reduce((sum, own) => [sum[0]! + own.high, sum[1]! + own.low], [0, 0]);
    assert.equal(told, [high, rows.filter(Boolean).length - high], kind);
    assert.is(made.tokens.length, list.length);
  }
});

test('a digest is that of the numbers, whatever the layout; the base is all there is', async () => {
  const hash = async (bytes: BufferSource) => new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  for (const name of [MODEL, 'moe-qwen2', 'gemma3']) {
    const trainable = await tinyTrainable(name, device);
    const { baseWeights, parameters } = trainable;
    assert.is(baseWeights.length, parameters.length, name);
    const digests = new Set<string>();
    for (const { tensor } of baseWeights) digests.add(await tensorDigest(device, tensor));
    for (const own of parameters) {
      const values = (await floats(device, own.value)).slice();
      assert.ok(values.byteLength < 1 << 20);
      // over the digests of each MiB, of which there is one
      assert.ok(digests.has(hex(await hash(await hash(values)))), `${name}: ${own.name}`);
    }
    trainable.dispose();
  }
  const tensor = device.tensor('f32', [2]);
  await rejects('E_ABORTED', () => tensorDigest(device, tensor, AbortSignal.abort()));
  tensor.dispose();
});

test('an abort behind an update is heard by the next step: weights and record belong together', async () => {
  const run = await Run.begin();
  const abort = new AbortController();
  // the first of its kind, behind which all is compared
  await run.step('structure', () => abort.abort(), abort.signal);
  assert.is(run.ledger.steps, 1);
  const before = await run.bits();
  await rejects('E_ABORTED', () => run.step('forget-1', () => {}, abort.signal));
  assert.is(run.ledger.steps, 1);
  assert.equal(await run.bits(), before);
  run.dispose();
});

test('what a run trained, on which tokens, and what was seen to rest', async () => {
  const run = await Run.begin();
  const before = await run.bits();
  await whole(run);
  const after = await run.bits();
  for (const [name, bits] of after) assert.is.not(bits, before.get(name), name);
  const receipt = JSON.parse(JSON.stringify(run.ledger.receipt())) as ReturnType<IsolationLedger['receipt']>;
  assert.equal([receipt.holds, receipt.closed, receipt.steps, receipt.violations], [true, true, 8, []]);
  assert.equal(
    receipt.moments.map(({ at, step }) => [at, step]),
    [
      ['begin', 0],
      ['switch', 2],
      ['end', 8],
    ],
  );
  const roles = Object.fromEntries(receipt.roles.map((own) => [own.role, own]));
  assert.equal(Object.keys(roles), ['shared', 'retain', 'forget-1', 'forget-2']);
  // an answer has one token of high entropy and four of low
  const structure = {
    steps: 2,
    tokens: { 'forget-1': { high: 6, low: 0 }, 'forget-2': { high: 4, low: 0 }, retain: { high: 8, low: 0 } },
  };
  assert.equal(roles['shared']!.trained, { structure });
  assert.is(roles['shared']!.onlyHigh, true);
  assert.equal(roles['retain']!.trained, {
    structure,
    retain: { steps: 3, tokens: { retain: { high: 12, low: 48 } } },
  });
  assert.equal(roles['forget-1']!.trained, { 'forget-1': { steps: 2, tokens: { 'forget-1': { high: 0, low: 24 } } } });
  assert.is(roles['forget-1']!.onlyHigh, false);
  assert.equal(receipt.kinds['forget-2']!.gradient, ['forget-2']);
  assert.equal([...receipt.kinds['structure']!.gradient].sort(), ['retain', 'shared']);
  // all steps of Phase II lie between two digests of A; those of Phase I before the first of an expert
  assert.equal(roles['shared']!.rested, {
    'forget-1': { steps: 2, verified: 2 },
    retain: { steps: 3, verified: 3 },
    'forget-2': { steps: 1, verified: 1 },
  });
  assert.equal(roles['forget-2']!.rested, {
    structure: { steps: 2, verified: 2 },
    'forget-1': { steps: 2, verified: 2 },
    retain: { steps: 3, verified: 3 },
  });
  // the second step of forget-1 lies in a stretch in which B_r is trained, and proves nothing of it
  assert.equal(roles['retain']!.rested, {
    'forget-1': { steps: 2, verified: 1 },
    'forget-2': { steps: 1, verified: 1 },
  });
  assert.equal(receipt.base.rested, {
    structure: { steps: 2, verified: 2 },
    'forget-1': { steps: 2, verified: 2 },
    retain: { steps: 3, verified: 3 },
    'forget-2': { steps: 1, verified: 1 },
  });
  const [begin, change, end] = receipt.moments;
  assert.is(begin!.base, end!.base);
  assert.is(change!.roles['shared'], end!.roles['shared']);
  assert.is.not(begin!.roles['shared'], change!.roles['shared']);
  assert.is(begin!.roles['forget-1'], change!.roles['forget-1']);
  run.dispose();
});

test('around every step all is verified', async () => {
  const run = await Run.begin({ every: 1 });
  await whole(run);
  for (const { role, rested } of run.ledger.receipt().roles) {
    for (const [kind, { steps, verified }] of Object.entries(rested)) assert.is(verified, steps, `${role}, ${kind}`);
  }
  run.dispose();
});

/** What a run that is tampered with ends with. */
async function found(work: (run: Run) => Promise<void>, options: IsolationOptions = {}) {
  const run = await Run.begin(options);
  const error = await rejects('E_STRAY_UPDATE', () => work(run));
  const { violations, holds, closed } = run.ledger.receipt();
  assert.equal([violations.length > 0, holds, closed], [true, false, false]);
  run.dispose();
  return { message: error.message, ...violations[0]! };
}

const touch = (tensor: Tensor): void => device.write(tensor, Float32Array.of(0.25), 1);

test('a change by hand is found: of an expert in the first step, of A and of the base later', async () => {
  const expert = await found(async (run) => {
    await run.step('structure');
    await run.ledger.switchPhases();
    await run.step('forget-1', () => touch(run.factor('forget-2')));
  });
  assert.equal([expert.what, expert.role, expert.step, expert.since], ['changed', 'forget-2', 2, 1]);
  assert.match(expert.name, /lora_B\.forget-2\.weight$/);
  assert.match(expert.message, /in steps 2 to 2, none of which was for it/);
  const shared = await found(async (run) => {
    await run.ledger.switchPhases();
    await run.step('forget-1');
    await run.step('retain');
    await run.step('forget-1', () => touch(run.factor('shared')));
    await run.step('retain');
    await run.ledger.end();
  });
  assert.equal([shared.role, shared.step, shared.since], ['shared', 4, 2]);
  const base = await found(async (run) => {
    await run.step('retain', () => touch(run.subject.base.find(({ name }) => name === 'layers.1.inputNorm')!.tensor));
    await run.ledger.switchPhases();
  });
  assert.equal([base.role, base.name], [null, 'layers.1.inputNorm']);
  const between = await found(async (run) => {
    await run.step('retain');
    touch(run.factor('forget-1'));
    await run.step('forget-1');
  });
  assert.equal([between.role, between.step], ['forget-1', 1]);
  assert.match(between.message, 'behind step 1');
});

test('where another step may have trained it nothing is certified, and every: 1 finds it', async () => {
  const tampered = async (run: Run): Promise<void> => {
    await run.step('forget-1');
    await run.step('retain');
    await run.step('forget-1', () => touch(run.factor('retain')));
    await run.step('retain');
    await run.ledger.end();
  };
  const run = await Run.begin();
  await tampered(run);
  const { rested } = run.ledger.receipt().roles.find(({ role }) => role === 'retain')!;
  assert.equal(rested, { 'forget-1': { steps: 2, verified: 1 } });
  run.dispose();
  const seen = await found(tampered, { every: 1 });
  assert.equal([seen.role, seen.step], ['retain', 3]);
});

test('a gradient and a text that are not the step’s are found', async () => {
  const gradient = await found((run) =>
    run.step('forget-1', () => run.trainable.train(run.factors.trained(TRAINED.phaseOne))),
  );
  assert.equal([gradient.what, gradient.step], ['gradient', 1]);
  const source = await found(async (run) => {
    const { made } = taken('forget-1');
    const sources = ['forget-1', 'retain', 'forget-1'] as const;
    await run.ledger.step({ kind: 'forget-1', sources, tokens: made.tokens }, async () => assert.unreachable());
  });
  assert.equal([source.what, source.role, source.name], ['source', 'forget-1', 'retain']);
  assert.match(source.message, 'Step 1 would train the factors forget-1 on tokens of retain.');
});

test('a run that goes on: from JSON, with what rested as it was', async () => {
  const run = await Run.begin();
  for (const kind of PHASES[0]!) await run.step(kind);
  await run.ledger.switchPhases();
  await run.step('forget-1');
  await run.step('retain');
  const state = JSON.parse(JSON.stringify(run.ledger.state())) as IsolationState;
  run.ledger = await IsolationLedger.from(state, run.subject);
  for (const kind of ['forget-2', 'retain'] as const) await run.step(kind);
  await run.ledger.end();
  const receipt = run.ledger.receipt();
  assert.equal([receipt.steps, receipt.closed, receipt.holds], [6, true, true]);
  assert.equal(
    receipt.moments.map(({ at }) => at),
    ['begin', 'switch', 'resume', 'end'],
  );
  assert.equal(receipt.base.rested['structure'], { steps: 2, verified: 2 });
  assert.equal(receipt.roles[0]!.rested['retain'], { steps: 2, verified: 2 });
  const { subject } = run;
  // A as it was before Phase II began is not what it was
  touch(run.factor('shared'));
  const error = await rejects('E_STRAY_UPDATE', () => IsolationLedger.from(state, subject));
  assert.match(error.message, /of the factors shared changed/);
  const wrong = async (other: unknown, of = subject) =>
    (await rejects('E_DATA_INVALID', () => IsolationLedger.from(other as IsolationState, of))).message;
  assert.match(await wrong({ ...state, version: 2 }), 'version 2');
  assert.match(await wrong(state, { ...subject, base: subject.base.slice(1) }), 'another base');
  assert.match(await wrong(state, { ...subject, parameters: subject.parameters.slice(1) }), 'another adapter');
  run.dispose();
});

test('factors of an earlier look are put back: what rested in Phase II is still the same', async () => {
  const run = await Run.begin();
  await run.step('structure');
  await run.ledger.switchPhases();
  await run.step('forget-1');
  await run.step('retain');
  const kept = new Map<string, Float32Array>();
  for (const { name, value } of run.trainable.parameters) kept.set(name, (await floats(device, value)).slice());
  const moment = JSON.stringify(run.ledger.state().last.factors);
  await run.step('forget-1');
  await run.step('retain');
  await run.ledger.end();
  for (const { name, value } of run.trainable.parameters) device.write(value, kept.get(name)!);
  await run.ledger.chosen();
  const receipt = run.ledger.receipt();
  assert.equal(
    [receipt.closed, receipt.holds, receipt.moments.at(-1)!.at, receipt.moments.at(-1)!.step],
    [true, true, 'chosen', 5],
  );
  assert.is(JSON.stringify(run.ledger.state().last.factors), moment, 'what stands there is what stood there');
  // nothing is verified by it that was not before
  assert.equal(receipt.roles.find(({ role }) => role === 'retain')!.rested, { 'forget-1': { steps: 2, verified: 1 } });
  // an expert of another request was in no step
  touch(run.factor('forget-2'));
  const error = await rejects('E_STRAY_UPDATE', () => run.ledger.chosen());
  assert.match(error.message, /lora_B\.forget-2\.weight .*changed behind step 5/);
  assert.is(run.ledger.receipt().holds, false);
  run.dispose();
});

test('what is asked wrongly is refused, an abort is heard, and a step that fails is none', async () => {
  const run = await Run.begin();
  const { ledger } = run;
  const step = (kind: StepKind, tokens = 1) =>
    ledger.step({ kind, sources: ['retain'], tokens: Array(tokens).fill({ high: 0, low: 0 }) }, async () => 7);
  await rejects('E_ARGUMENT', () => step('forget-3'));
  await rejects('E_ARGUMENT', () => step('retain', 2));
  await rejects('E_ARGUMENT', () => IsolationLedger.begin(run.subject, { every: -1 }));
  await rejects('E_ABORTED', () => IsolationLedger.begin(run.subject, {}, AbortSignal.abort()));
  await ledger
    .step({ kind: 'retain', sources: [], tokens: [] }, async () => Promise.reject(new Error('no')))
    .then(
      () => assert.unreachable(),
      (error) => assert.is(error.message, 'no'),
    );
  assert.is(ledger.steps, 0);
  assert.is(await step('retain'), 7);
  run.dispose();
});

test.after(() => {
  for (const own of all.flat()) own.close();
});
test.run();
