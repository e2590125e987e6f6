/** States of a training: going on gives the same bits, whatever ended the program, and what is not this training is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openTrainDevice } from '../../src/device/open-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import type { OutputFolder } from '../../src/runtime/output/output.ts';
import type { Identity } from '../../src/train/state/description.ts';
import { trainingProgress } from '../../src/train/state/progress.ts';
import { checkIdentity, clearStates, States } from '../../src/train/state/states.ts';
import type { MicroBatch } from '../../src/train/trainable.ts';
import { Trainer, type TrainerSettings, type TrainingProgress } from '../../src/train/trainer.ts';
import { frailOutput } from '../checkpoint/frail-output.ts';
import { Bigram, batchesOf, ListedSteps } from './bigram.ts';
import { fixture } from './fixture.ts';

const { training } = await fixture();
const { vocab, width, steps, warmup, peak, decay, clip, start } = training;
const device = await openTrainDevice({ relaxed: false });
const identity: Identity = { options: { peak, freeze: 8 }, model: 'bigram', data: 'fixture' };
const settings: TrainerSettings = {
  schedule: { kind: 'cosine', peak, warmup, steps },
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: decay,
  clip,
  freeze: [{ frozen: ['embed', 'bias'], untilStep: 8 }],
  balance: 0,
  z: 0,
  divergence: 0,
  recompute: true,
  evaluateEvery: 5,
  patience: null,
  saveEvery: 3,
};
const heldOut = {
  batches: async function* (): AsyncGenerator<MicroBatch> {
    yield* batchesOf([training.heldOut]);
  },
};

interface Outcome {
  readonly error: EspalierError | null;
  readonly progress: TrainingProgress;
  readonly weights: readonly unknown[];
  readonly from: number;
}

/** Trains in a folder, from what stands there. */
async function train(out: OutputFolder, abortAtPass = -1, own: Identity = identity): Promise<Outcome> {
  const model = new Bigram(device, vocab, width, start);
  const abort = new AbortController();
  model.onPass = () => {
    if (model.passes === abortAtPass) abort.abort();
  };
  const states = new States(out, own, { kernels: 'plain' });
  const saved = await States.latest(out, trainingProgress);
  let trainer: Trainer | null = null;
  try {
    if (saved) checkIdentity(saved, own, 'out');
    const source = new ListedSteps((step) => batchesOf(training.batches[step]!));
    const hooks = {
      save: (progress: TrainingProgress) => states.save(model, trainer!.optimiser, progress),
      keepBest: (progress: TrainingProgress) => states.saveBest(model, progress),
    };
    trainer = new Trainer(model, source, heldOut, settings, hooks, saved?.progress);
    if (saved) await states.restore(saved, model, trainer.optimiser);
    const error = await trainer.run(abort.signal).then(
      () => null,
      (thrown: EspalierError) => thrown,
    );
    const last = await device.read(model.parameters.map(({ value }) => value));
    if (error === null) await states.restoreBest(model);
    const best = await device.read(model.parameters.map(({ value }) => value));
    return { error, progress: trainer.progress, weights: [last, best], from: saved?.progress.step ?? 0 };
  } finally {
    trainer?.dispose();
    model.dispose();
  }
}

const timeless = ({ seconds: _, ...rest }: TrainingProgress) => rest;
const whole = await train(memoryOutput('whole'));

test('a training that nothing interrupts leaves its last state and its best weights', async () => {
  const out = memoryOutput('out');
  const { error, progress } = await train(out);
  assert.is(error, null);
  const names = (await out.files()).names;
  assert.equal(
    names.filter((name) => name.endsWith('.json')),
    ['espalier-training-000021.json'],
  );
  assert.ok(names.includes('espalier-training-000021.safetensors'));
  assert.ok(
    names.some((name) => name.includes(`best-${String(progress.best!.step).padStart(6, '0')}`)),
    `${names}`,
  );
  await clearStates(out);
  assert.equal((await out.files()).names, []);
});

test('aborted at any pass and gone on with, it gives the same bits', async () => {
  for (let at = 1; at < 54; at += 4) {
    const out = memoryOutput('out');
    const first = await train(out, at);
    assert.is(first.error?.code, 'E_ABORTED');
    const second = await train(out);
    assert.is(second.error, null);
    assert.is(second.from, first.progress.step);
    assert.equal(second.weights, whole.weights, `aborted at pass ${at}`);
    assert.equal(timeless(second.progress), timeless(whole.progress));
  }
});

test('aborted again and again', async () => {
  const out = memoryOutput('out');
  let runs = 0;
  let result = await train(out, 5);
  for (; result.error !== null; runs++) result = await train(out, 5);
  assert.ok(runs > 4, `${runs}`);
  assert.equal(result.weights, whole.weights);
  assert.equal(timeless(result.progress), timeless(whole.progress));
});

test('what a power failure leaves is a whole state', async () => {
  let resumed = 0;
  for (let seed = 1; seed <= 24; seed++) {
    const out = frailOutput('out');
    // the power goes in the middle of writing: some writes succeed, and then none
    out.room = 900 * seed;
    const cut = await train(out);
    await out.powerFailure(seed);
    out.room = Number.MAX_SAFE_INTEGER;
    const again = await train(out);
    assert.is(again.error, null, String(again.error));
    assert.equal(again.weights, whole.weights, `seed ${seed}`);
    assert.ok(cut.error === null || again.from < steps);
    if (again.from > 0) resumed++;
  }
  assert.ok(resumed > 8, `${resumed} went on`);
});

test('a full disk ends it, and the state before stays', async () => {
  const full = frailOutput('out');
  const size = async (name: string) => (await full.size(name)) ?? 0;
  full.room = 9000;
  const { error } = await train(full);
  assert.is(error?.code, 'E_STORAGE_FULL', String(error));
  const saved = await States.latest(full, trainingProgress);
  assert.ok(saved!.progress.step >= 3 && saved!.progress.step < steps, `${saved!.progress.step}`);
  assert.is(await size(saved!.tensors.name), saved!.tensors.bytes);
  full.room = Number.MAX_SAFE_INTEGER;
  const again = await train(full);
  assert.is(again.from, saved!.progress.step);
  assert.equal(again.weights, whole.weights);
  // and where the host says how much is free it does not even begin to write
  const small = frailOutput('out');
  small.says = 100;
  const refused = await train(small);
  assert.is(refused.error?.code, 'E_STORAGE_FULL');
  assert.match(refused.error!.message, /100 are free/);
  assert.equal((await small.files()).names, []);
});

test('best weights that no state goes back to end with better ones', async () => {
  const out = memoryOutput('out');
  const model = new Bigram(device, vocab, width, start);
  const optimiser = { moments: new Map(), momentsOf: () => ({ updates: 0 }) as never };
  const states = new States<TrainingProgress>(out, identity, null);
  const bests = async () => (await out.files()).names.filter((name) => name.includes('best-'));
  for (const step of [1, 2, 3]) await states.saveBest(model, { step });
  assert.equal(await bests(), ['espalier-training-best-000003.safetensors']);
  await states.save(model, optimiser, { ...whole.progress, step: 3 });
  for (const step of [4, 5]) await states.saveBest(model, { step });
  // the state goes back to the third, whatever comes
  assert.equal(
    (await bests()).sort(),
    [3, 5].map((n) => `espalier-training-best-00000${n}.safetensors`),
  );
  model.dispose();
});

test('other options, another model and other data are refused by name', async () => {
  const out = memoryOutput('out');
  await train(out, 20);
  for (const [change, says] of [
    [{ options: { peak: 1 } }, /with other options: \d+ steps/],
    [{ model: 'another' }, /with another model/],
    [{ data: 'another', options: {} }, /with other options and other data/],
  ] as const) {
    const error = await train(out, -1, { ...identity, ...change }).then(
      () => null,
      (thrown: EspalierError) => thrown,
    );
    assert.is(error?.code, 'E_ARGUMENT');
    assert.match(error!.message, says);
    assert.match(error!.hint, /restart/);
  }
});

test('a state that somebody has changed is refused', async () => {
  const out = memoryOutput('out');
  await train(out, 20);
  const { tensors } = (await States.latest(out, trainingProgress))!;
  const bytes = (await out.readBytes(tensors.name))!;
  bytes[bytes.length - 3]! ^= 1;
  await out.writeBytes(tensors.name, bytes);
  const error = await train(out).then(
    () => null,
    (thrown: EspalierError) => thrown,
  );
  assert.is(error?.code, 'E_FILE_READ', String(error));
  // one that was cut is no state at all
  await out.writeBytes(tensors.name, bytes.subarray(0, 100));
  assert.is((await States.latest(out, trainingProgress))?.progress.step, undefined);
});

test('weights with NaN or infinity are not kept', async () => {
  const out = memoryOutput('out');
  const model = new Bigram(device, vocab, width, {
    ...start,
    bias: start.bias.map((_, i) => (i === 4 ? Number.NaN : 0)),
  });
  const trainer = new Trainer(model, new ListedSteps(() => []), null, settings);
  const states = new States(out, identity, null);
  const error = await states.save(model, trainer.optimiser, whole.progress).then(
    () => null,
    (thrown: EspalierError) => thrown,
  );
  assert.is(error?.code, 'E_DIVERGED');
  assert.match(error!.message, /bias/);
  assert.match(error!.hint!, /^No state is kept yet\. /);
  assert.equal((await out.files()).names, []);
  trainer.dispose();
  model.dispose();
});

test('nothing is left on the device', () => {
  assert.is(device.stats().tensors, 0);
  device.close();
});

test.run();
