/** Jobs that make a small model forget: what is forgotten and what stays, that they go on where they were, and what is refused before work begins. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLocal } from '../../src/local.ts';
import { defined } from '../../src/options/defined.ts';
import {
  answerLogProbabilities,
  PRUNE_FILE,
  type PruneProgress,
  type PruneReceipt,
  planPrune,
  prune,
  rollback,
} from '../../src/prune.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { frailOutput } from '../checkpoint/frail-output.ts';
import { rejects } from '../errors.ts';
import { FORGET, knowingFiles, LATER, lines, person, RETAIN, run, SETTINGS, strangerFiles } from './jobs.ts';

const mean = async (adapters: Record<string, Blob>[], list: readonly { prompt: string; answer: string }[]) => {
  const model = await openLocal(await knowingFiles(), { adapters: adapters.map((from) => ({ from })) });
  const sequences = list.map(({ prompt, answer }) => {
    const before = model.encode(prompt).length;
    const ids = Int32Array.from([...model.encode(prompt + answer), model.eosIds[0]!]);
    return { ids, learned: Uint8Array.from(ids, (_, t) => (t >= before ? 1 : 0)) };
  });
  const found = await answerLogProbabilities(model, sequences);
  model.close();
  return found.reduce((sum, x) => sum + Math.exp(x), 0) / found.length;
};
const bytes = async (files: Record<string, Blob>) =>
  Object.fromEntries(
    await Promise.all(
      Object.entries(files)
        .filter(([name]) => name !== PRUNE_FILE) // holds times
        .map(async ([name, blob]) => [name, new Uint8Array(await blob.arrayBuffer())] as const),
    ),
  );
/** Without times, and moments, of which one that goes on has more. */
const timeless = ({ seconds: _, peakBytes: __, device: ___, isolation, ...rest }: PruneReceipt) =>
  JSON.parse(JSON.stringify({ ...rest, kinds: isolation.kinds, holds: isolation.holds, closed: isolation.closed }));

/** Not in a page's own thread. */
const HAS_LANES = !('document' in globalThis) && typeof SharedArrayBuffer === 'function';

const whole = await run({ reference: await strangerFiles() });

test('what is named is forgotten, the rest stays, and the files do what the receipt says', async () => {
  const { receipt, files } = whole;
  assert.equal(Object.keys(files).sort(), ['alter.json', 'alter.safetensors', PRUNE_FILE]);
  const { before, after } = receipt;
  console.log(`  worst of what is forgotten: ${after.forget.toExponential(1)} (bound 1.0e-1)`);
  assert.ok(before.forget > 0.9 && before.retain > 0.9, JSON.stringify(before));
  assert.ok(after.forget < 0.1 && after.retain > 0.9, JSON.stringify(after));
  // measured again, by what stands in the files
  const [forgotten, kept] = [await mean([files], FORGET), await mean([files], RETAIN)];
  assert.ok(Math.abs(forgotten - after.forget) < 1e-4 && Math.abs(kept - after.retain) < 1e-3, `${forgotten} ${kept}`);
  assert.is(receipt.gate.accuracy.experts, 1);
  assert.is(receipt.gate.accuracy.none, 1);
  assert.equal(receipt.domains, [{ name: 'request-1', examples: 4 }]);
  assert.is(receipt.target.source, 'reference');
  const all = receipt.looks.flat();
  assert.is(
    receipt.chosen.distance,
    Math.min(...all.filter(({ retain }) => retain >= 0.98 * before.retain).map(({ distance }) => distance)),
  );
  assert.equal(JSON.parse(await files[PRUNE_FILE]!.text()), JSON.parse(JSON.stringify(receipt)));
});

test('the receipt says what learned from what, and that nothing else did', () => {
  const { isolation } = whole.receipt;
  assert.ok(isolation.holds && isolation.closed);
  assert.equal(Object.keys(isolation.kinds).sort(), ['forget-1', 'retain', 'structure']);
  const of = (role: string) => isolation.roles.find((own) => own.role === role)!;
  assert.equal(Object.keys(of('shared').trained), ['structure']);
  assert.is(of('shared').onlyHigh, true);
  assert.equal(Object.keys(of('forget-1').trained), ['forget-1']);
  assert.equal(Object.keys(of('retain').trained).sort(), ['retain', 'structure']);
  for (const { steps, verified } of Object.values(of('shared').rested)) assert.is(verified, steps);
  for (const { steps, verified } of Object.values(isolation.base.rested)) assert.is(verified, steps);
  // those that are forgotten lend no token to what is kept
  assert.equal(Object.keys(isolation.kinds['retain']!.tokens), ['retain']);
  assert.equal(
    isolation.moments.map(({ at }) => at),
    ['begin', 'switch', 'end', 'chosen'],
  );
});

test('structure is kept in other ways, too', async () => {
  const short = { epochs: 1, structureSteps: 3 };
  const plain = await bytes((await run(short)).files);
  for (const regulariser of ['kl', 'entropy-gradient'] as const) {
    const { receipt, files } = await run({ ...short, regulariser, invariance: 1 });
    assert.is(receipt.options.regulariser, regulariser);
    assert.is.not(String((await bytes(files))['alter.safetensors']), String(plain['alter.safetensors']));
  }
});

test('A may learn in every step, and is as isolated', async () => {
  const reference = await strangerFiles();
  const { receipt, files } = await run({ schedule: 'interleaved', structureSteps: 0, reference });
  const { before, after, isolation, options, steps } = receipt;
  assert.equal([options.schedule, options.structureSteps], ['interleaved', 0]);
  assert.ok(after.forget < 0.15 * before.forget && after.retain > 0.9, JSON.stringify(after));
  assert.ok(isolation.holds && isolation.closed);
  assert.is(isolation.kinds['structure']!.steps, steps);
  assert.equal(isolation.kinds['structure']!.gradient, ['shared']);
  assert.is(isolation.roles.find(({ role }) => role === 'shared')!.onlyHigh, true);
  assert.equal(
    isolation.moments.map(({ at }) => at),
    ['begin', 'end', 'chosen'],
  );
  await rejects('E_ARGUMENT', () => run({ schedule: 'interleaved' })); // and a Phase I
  const earlier = { ...files };
  delete earlier[PRUNE_FILE];
  await rejects('E_ARGUMENT', () =>
    run({ schedule: 'interleaved', structureSteps: 0, earlier, forget: lines(LATER), request: 'more' }),
  );
});

test('a gate that learned from a part of what is kept goes through the rest', async () => {
  const { receipt, files } = await run({ gateTokens: 40, reference: await strangerFiles() });
  const { rounds, tokens } = receipt.gate;
  assert.is(rounds.length, 2);
  assert.ok(rounds[0]!.tokens > 80 && rounds[1]!.wrong <= rounds[0]!.wrong, JSON.stringify(rounds));
  assert.ok(tokens.none > 40);
  assert.ok((await mean([files], RETAIN)) > 0.9);
  const [alone] = (await run({ gateTokens: 40, gateRounds: 0 })).receipt.gate.rounds;
  assert.is(alone, undefined);
  assert.equal(whole.receipt.gate.rounds, []);
});

test('aborted anywhere and gone on with, the result is the same to the bit', async () => {
  // as many stages as the whole has, and fewer steps in each
  const short = { reference: await strangerFiles(), epochs: 10, gateSteps: 100 };
  const uninterrupted = await run(short);
  const want = await bytes(uninterrupted.files);
  const stops: [PruneProgress['stage'], number][] = [
    ['measuring', 2],
    ['training', 2],
    ['training', 5],
    ['training', 12],
    ['looking', 0],
    ['gating', 30],
    ['checking', 0],
  ];
  for (const [stage, at] of stops) {
    const out = memoryOutput('out');
    const abort = new AbortController();
    const onProgress = (told: PruneProgress) => {
      if (told.stage === stage && told.done >= at) abort.abort();
    };
    await rejects('E_ABORTED', () => run({ ...short, signal: abort.signal, onProgress }, out));
    const steps: number[] = [];
    const again = await run(
      {
        ...{ ...short, lanes: HAS_LANES ? 2 : 1 },
        onProgress: ({ stage, done }) => void (stage === 'training' && steps.push(done)),
      },
      out,
    );
    if (stage === 'training') assert.is(steps[0], at + 1); // and not from the beginning
    if (stage === 'gating' || stage === 'checking') assert.equal(steps, []);
    assert.equal(await bytes(again.files), want, `${stage} ${at}`);
    assert.equal(timeless(again.receipt), timeless(uninterrupted.receipt));
  }
});

test('what is there already is not begun again, and what is of another job is left alone', async () => {
  const out = memoryOutput('out');
  const abort = new AbortController();
  const onProgress = ({ stage, done }: PruneProgress) => {
    if (stage === 'training' && done === 6) abort.abort();
  };
  await rejects('E_ABORTED', () => run({ signal: abort.signal, onProgress }, out));
  await rejects('E_ARGUMENT', () => run({ rate: 1e-3 }, out));
  await rejects('E_ARGUMENT', () => run({ forget: lines(FORGET.slice(1)) }, out));
  const { receipt } = await run({ rate: 2e-2, restart: true }, out);
  assert.is(receipt.options.rate, 2e-2);
});

test('answers that were never learned are known from the best that is given', async () => {
  const short = { epochs: 2 };
  const stranger = await strangerFiles();
  const unseen = lines([person('Ivy', 6), person('Rob', 1)]);
  const source = async (options: Parameters<typeof run>[0]) => (await run({ ...short, ...options })).receipt.target;
  assert.equal(await source({}), { source: 'enough', probability: Math.exp(Math.log(0.006)), answers: 1 });
  assert.is((await source({ enough: 0.02 })).probability, Math.exp(Math.log(0.02)));
  const base = await source({ base: stranger });
  assert.equal([base.source, base.answers], ['base', FORGET.length]);
  const other = await source({ base: stranger, unseen });
  assert.equal([other.source, other.answers], ['unseen', 2]);
  const reference = await source({ base: stranger, unseen, reference: stranger });
  assert.is(reference.source, 'reference');
  // the same model, asked as both
  assert.is(reference.probability, base.probability);
  assert.ok(other.probability !== base.probability && other.probability < 0.9);
});

test('towards the base it ends with the first look that has forgotten, which is kept', async () => {
  const { receipt, files } = await run({ base: await strangerFiles(), epochs: 60 });
  const { before, after, options, chosen, looks, target } = receipt;
  assert.equal([options.objective, options.mask], ['base', 'all']);
  const gone = Math.max(0.01 * before.forget, 1.25 * target.probability);
  console.log(`  worst of what comes to the base: ${chosen.forget.toExponential(1)} (bound ${gone.toExponential(1)})`);
  assert.is(chosen.look, looks.length);
  assert.ok(chosen.forget <= gone, `${chosen.forget}`);
  for (const { forget, retain } of looks.slice(0, -1).flat()) {
    assert.ok(forget > gone || retain < 0.98 * before.retain, `${forget}`);
  }
  assert.ok(after.retain > 0.9, `${after.retain}`);
  // its strength is settled by all of them, through the gate
  const { settled, tried } = receipt.strength;
  assert.is(tried[0]!.strength, chosen.strength);
  const own = tried.find(({ strength }) => strength === settled)!;
  assert.is(own.forget, after.forget);
  assert.ok(after.forget <= gone && (after.forget >= 0.97 * gone || settled === 0.8), JSON.stringify(receipt.strength));
  assert.ok(Math.abs((await mean([files], FORGET)) - after.forget) < 1e-4);
  for (const { strength, forget } of tried) assert.ok(forget > gone || strength >= settled, `${strength} ${forget}`);
  const fixed = await run({ base: await strangerFiles(), epochs: 60, strengths: [1] });
  assert.equal(fixed.receipt.strength.settled, 1);
  assert.is(fixed.receipt.strength.tried.length, 1);
  // looks of two of four, and the rest by all
  const some = await run({ base: await strangerFiles(), epochs: 60, measured: 2 });
  assert.equal(some.receipt.measured, { forget: FORGET.length, retain: 2 });
  assert.ok(
    some.receipt.after.forget <= Math.max(0.01 * some.receipt.before.forget, 1.25 * some.receipt.target.probability),
  );
  assert.ok(Math.abs((await mean([some.files], FORGET)) - some.receipt.after.forget) < 1e-4);
  // a gate that opens everywhere keeps little, and less the stronger experts are
  const torn = await run({ base: await strangerFiles(), epochs: 60, gateSteps: 70, strengths: [0.9, 1] });
  assert.is(torn.receipt.strength.by, 'retain');
  assert.is(torn.receipt.strength.settled, torn.receipt.chosen.strength);
  assert.equal([receipt.strength.by, fixed.receipt.strength.by], ['gate', 'look']);
  // there is none while training finds answers above 0.5, a little before
  const [first] = looks[0]!;
  assert.ok(first!.forget < 0.6, `${first!.forget}`);
  const most = Math.round(chosen.epoch * Math.min(options.looks, Math.ceil(FORGET.length / options.batch)));
  assert.ok(looks.length < most, `${looks.length} looks of ${most}`);
  await rejects('E_ARGUMENT', () => run({ objective: 'base' }));
});

test('a few examples are forgotten by default, which 6 epochs of them are not enough for', async () => {
  const { epochs: _, looks: __, ...few } = { ...SETTINGS, base: await strangerFiles(), rate: 3e-3, gateSteps: 20 };
  const ended = async (epochs?: number) => {
    const out = memoryOutput('out');
    const receipt = await prune(await knowingFiles(), { ...few, ...defined({ epochs }), out });
    const { chosen, before, options, looks } = receipt;
    const at = looks.map(([own]) => own!.epoch);
    return { left: chosen.forget / before.forget, epoch: chosen.epoch, most: options.epochs, at };
  };
  const [own, short] = [await ended(), await ended(6)];
  console.log(`  left of a few examples: ${own.left.toExponential(1)}, after 6 epochs ${short.left.toExponential(1)}`);
  assert.is(own.most, 150);
  // 36 looks in all, where they are due: at the first epochs behind multiples of 150 / 36
  for (const epoch of own.at)
    assert.ok(Math.floor((epoch * 36) / 150) > Math.floor(((epoch - 1) * 36) / 150), `${epoch}`);
  assert.ok(own.at.length > 1);
  assert.is(short.at.at(-1), 6);
  assert.ok(own.left < 0.05, `${own.left}`);
  assert.ok(own.epoch < 150, `${own.epoch}`);
  assert.ok(short.left > 0.2, `${short.left}`);
});

test('other gates are written as they were asked for, and open', async () => {
  for (const gate of ['hidden', 'both', 'literal'] as const) {
    const { receipt, files } = await run({ epochs: 2, gate, path: gate === 'both' ? 'tr' : 'pn', routeCut: 0.5 });
    const { gate: written, rule } = JSON.parse(await files['alter.json']!.text());
    assert.is(written.kind, gate);
    assert.equal([rule.path, rule.cut], [gate === 'both' ? 'tr' : 'pn', 0.5]);
    // of what the gate makes of it, whatever that is
    assert.ok(Math.abs((await mean([files], RETAIN)) - receipt.after.retain) < 1e-3);
  }
});

test('groups are found where none are named', async () => {
  const { receipt } = await run({ epochs: 2, domains: 2 });
  assert.equal(
    receipt.domains.map(({ name }) => name),
    ['request-1: 1', 'request-1: 2'],
  );
  assert.is(
    receipt.domains.reduce((sum, { examples }) => sum + examples, 0),
    FORGET.length,
  );
  assert.ok((await run({ epochs: 2, domains: 'auto' })).receipt.domains.length >= 2);
});

test('a later request leaves the first as it is, to the bit', async () => {
  const first = whole.files;
  const { receipt, files } = await run({
    ...{ earlier: first, forget: lines(LATER), retain: lines([...RETAIN]), reference: await strangerFiles() },
  });
  assert.equal(receipt.earlier, ['request-1']);
  assert.is(receipt.request, 'request-2');
  assert.ok((await mean([files], LATER)) < 0.15);
  assert.ok((await mean([files], RETAIN)) > 0.9);
  const [one, both] = [await mean([first], FORGET), await mean([files], FORGET)];
  console.log(`  worst change of the first request: ${Math.abs(one - both).toExponential(1)} (bound 1.0e-4)`);
  assert.ok(Math.abs(one - both) < 1e-4, `${one} ${both}`);
  // and taken back, the adapter is what it was before
  const back = memoryOutput('back');
  assert.equal(await rollback(await knowingFiles(), { adapter: files, request: 'request-2', out: back }), [
    'request-1',
  ]);
  assert.equal(await bytes(back.result()), await bytes(first));
  // the first of two, and the second goes on by itself
  const other = memoryOutput('other');
  await rollback(await knowingFiles(), { adapter: files, request: 'request-1', out: other });
  assert.ok((await mean([other.result()], LATER)) < 0.15 && (await mean([other.result()], FORGET)) > 0.9);
  const none = memoryOutput('none');
  for (const [adapter, request] of [
    [files, 'request-3'],
    [first, 'request-1'],
  ] as const) {
    await rejects('E_ARGUMENT', () => knowingFiles().then((model) => rollback(model, { adapter, request, out: none })));
  }
  await rejects('E_ARGUMENT', () => run({ earlier: first, request: 'request-1' }));
  await rejects('E_ARGUMENT', () => run({ earlier: first, rank: 4 }));
});

test('sub-domains have an expert each, by a column too', async () => {
  const rows = FORGET.map((row, i) => ({ ...row, who: i < 2 ? 'one' : 'two' }));
  const { receipt, files } = await run({
    ...{ forget: lines(rows), domains: { column: 'who' }, reference: await strangerFiles() },
  });
  assert.equal(receipt.domains, [
    { name: 'request-1: one', examples: 2 },
    { name: 'request-1: two', examples: 2 },
  ]);
  assert.ok((await mean([files], FORGET)) < 0.2);
  assert.ok((await mean([files], RETAIN)) > 0.9);
});

test('what diverges is not said to be the fault of the model', async () => {
  for (const looks of [1, 6]) {
    const error = await rejects('E_DIVERGED', () => run({ rate: 1e30, structureSteps: 0, looks, saveEvery: 0 }));
    assert.match(error.hint, 'lower learning rate');
  }
});

test('where states and result do not fit nothing begins', async () => {
  const files = await knowingFiles();
  const out = frailOutput('out');
  const stages = new Set<string>();
  const onProgress = ({ stage }: PruneProgress) => void stages.add(stage);
  const options = { ...SETTINGS, epochs: 1, structureSteps: 1, gateSteps: 1, out, onProgress };
  const { stateBytes, resultBytes } = await planPrune(files, { ...SETTINGS, out });
  const needed = (16 << 20) + Math.max(2 * stateBytes, stateBytes + resultBytes);
  out.says = needed - 1;
  const error = await rejects('E_STORAGE_FULL', () => prune(files, options));
  assert.match(error.message, new RegExp(`needs ${needed} bytes .*, and ${needed - 1} are free`));
  assert.equal([[...stages], (await out.files()).names], [['reading'], []]);
  // without states there is the best look alone, and the result
  const best = stateBytes / 4;
  out.says = (16 << 20) + Math.max(2 * best, best + resultBytes) - 1;
  await rejects('E_STORAGE_FULL', () => prune(files, { ...options, saveEvery: 0 }));
  out.says++;
  await prune(files, { ...options, saveEvery: 0 });
});

test('what cannot be has a code, before anything is trained', async () => {
  const trained: string[] = [];
  const onProgress = ({ stage }: PruneProgress) => void (stage === 'training' && trained.push(stage));
  const refused = (code: Parameters<typeof rejects>[0], options: Parameters<typeof run>[0]) =>
    rejects(code, () => run({ ...options, onProgress }));
  await refused('E_DATA_INVALID', { retain: lines([...RETAIN, FORGET[0]!]) });
  await refused('E_DATA_INVALID', { forget: lines([{ prompt: 'What has Nobody?', answer: ' xqjz 7!' }]) });
  await refused('E_DATA_INVALID', { forget: lines([]) });
  // a base, and answers never seen, that are known: there would be nothing to come to
  const known = await knowingFiles();
  await refused('E_DATA_INVALID', { base: known, reference: await strangerFiles() });
  await refused('E_DATA_INVALID', { unseen: SETTINGS.forget });
  await refused('E_ARGUMENT', { domains: 5 });
  await refused('E_ARGUMENT', { base: await (await import('../files.ts')).modelTarget('models/nano-base') });
  await refused('E_CONFIG_INVALID', {
    earlier: { 'alter.json': new Uint8Array(3), 'alter.safetensors': new Uint8Array(8) },
  });
  await refused('E_ARGUMENT', { cut: 1.2, percentile: 80 });
  await refused('E_ARGUMENT', { request: ' ' });
  await refused('E_ARGUMENT', { rows: 8 });
  await refused('E_ARGUMENT', { alpha: 1e-300 });
  await refused('E_ARGUMENT', { targets: ['nowhere'] });
  assert.equal(trained, []);
  const { forget: _, ...none } = SETTINGS;
  await rejects('E_ARGUMENT', () => run({ ...none, forget: undefined as never }));
});

test.run();
