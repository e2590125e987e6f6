/** The trainer on real devices, with a model of two matrices and a bias, against PyTorch (test/oracles/train.py). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { TrainDevice } from '../../src/device/train-device.ts';
import type { EspalierError } from '../../src/errors.ts';
import type { StepSource } from '../../src/train/sources.ts';
import type { MicroBatch } from '../../src/train/trainable.ts';
import { type StepReport, Trainer, type TrainerHooks, type TrainerSettings } from '../../src/train/trainer.ts';
import { testNothingLeft, trainDevices, Worst } from '../device/devices.ts';
import { Bigram, type BigramWeights, batchesOf, ListedSteps } from './bigram.ts';
import { fixture } from './fixture.ts';

const worst = new Worst();
const { training } = await fixture();
const { vocab, width, steps, warmup, peak, decay, clip, start } = training;
const all = await trainDevices();
const { device } = all[0]!;

const settings: TrainerSettings = {
  schedule: { kind: 'cosine', peak, warmup, steps },
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: decay,
  clip,
  freeze: [],
  balance: 0,
  z: 0,
  divergence: 0,
  recompute: true,
  evaluateEvery: 0,
  patience: null,
  saveEvery: 0,
};
/** Steps of a list, from its beginning. */
const stepsFrom = (batches: (step: number) => MicroBatch[]) => new ListedSteps(batches);
const fixed = () => stepsFrom((step) => batchesOf(training.batches[step]!));
const heldOut = {
  batches: async function* (): AsyncGenerator<MicroBatch> {
    yield* batchesOf([training.heldOut]);
  },
};

interface Given {
  readonly on?: TrainDevice;
  readonly settings?: Partial<TrainerSettings>;
  readonly source?: StepSource;
  readonly heldOut?: typeof heldOut | null;
  readonly hooks?: TrainerHooks;
  readonly weights?: BigramWeights;
  readonly prepare?: (model: Bigram) => void;
  readonly signal?: AbortSignal;
}

/** Trains a model from the fixture's start, and gives all that came of it. */
async function trained(given: Given = {}) {
  const on = given.on ?? device;
  const model = new Bigram(on, vocab, width, given.weights ?? start);
  given.prepare?.(model);
  const reports: StepReport[] = [];
  const hooks = { ...given.hooks, onStep: (report: StepReport) => reports.push(report) };
  const held = given.heldOut === undefined ? heldOut : given.heldOut;
  const trainer = new Trainer(model, given.source ?? fixed(), held, { ...settings, ...given.settings }, hooks);
  try {
    const error = await trainer.run(given.signal).then(
      () => null,
      (thrown: EspalierError) => thrown,
    );
    const values = await on.read(model.parameters.map(({ value }) => value));
    const weights = Object.fromEntries(model.parameters.map(({ name }, i) => [name, values[i] as Float32Array]));
    return { progress: trainer.progress, reports, weights, error, passes: model.passes };
  } finally {
    trainer.dispose();
    model.dispose();
  }
}

const far = (got: ArrayLike<number>, want: ArrayLike<number>): number =>
  Math.max(...Array.from(want, (value, i) => Math.abs(got[i]! - value)));

for (const { name, device: on } of all) {
  test(`24 steps follow PyTorch, all trained and a part frozen at first [${name}]`, async () => {
    for (const run of training.runs) {
      const freeze = run.until > 0 ? [{ frozen: run.frozen, untilStep: run.until }] : [];
      const { progress, reports, weights, error } = await trained({ on, settings: { freeze } });
      assert.is(error, null);
      assert.is(reports.length, steps);
      const losses = reports.map(({ losses }) => losses.crossEntropy);
      const norms = reports.map(({ gradientNorm }) => gradientNorm);
      assert.ok(worst.within('loss', far(losses, run.losses), 1e-5), `losses ${losses}`);
      assert.ok(worst.within('norm of the gradient', far(norms, run.norms), 1e-5), `norms ${norms}`);
      for (const [parameter, want] of Object.entries(run.weights)) {
        assert.ok(worst.within('weight', far(weights[parameter]!, want), 1e-5), parameter);
      }
      assert.ok(worst.within('held-out loss', Math.abs(progress.heldOut.at(-1)!.loss - run.heldOut), 1e-5));
      assert.is(progress.step, steps);
      assert.is(progress.firstLoss, losses[0]);
      assert.is(progress.lastLoss, losses.at(-1));
      assert.is(progress.tokens, 14 * steps);
      assert.is(
        progress.targets,
        training.batches
          .flat()
          .flatMap(({ targets }) => targets)
          .filter((t) => t >= 0).length,
      );
      assert.ok(progress.seconds > 0);
    }
  });
}

test('any number of lanes gives the same bits', async () => {
  const lanes = all.filter(({ name }) => name.startsWith('plain, 5x8'));
  const [first, ...others] = await Promise.all(lanes.map(async ({ device: on }) => (await trained({ on })).weights));
  for (const other of others) assert.equal(other, first);
});

test('many small batches are one large one', async () => {
  const whole = stepsFrom((step) => batchesOf([joined(step)]));
  const pieces = stepsFrom((step) => {
    const { ids, targets } = joined(step);
    return batchesOf(ids.map((id, i) => ({ ids: [id], targets: [targets[i]!] })));
  });
  const [one, many] = [await trained({ source: whole }), await trained({ source: pieces })];
  for (const [name, weights] of Object.entries(one.weights)) {
    assert.ok(worst.within('accumulation', far(many.weights[name]!, weights), 1e-5), name);
  }
  assert.is(many.progress.tokens, one.progress.tokens);
});

function joined(step: number) {
  const list = training.batches[step]!;
  return { ids: list.flatMap(({ ids }) => ids), targets: list.flatMap(({ targets }) => targets) };
}

test('what is clipped points where the gradient does, and without clipping the norm is the same', async () => {
  const settings = { schedule: { kind: 'constant', peak: 1e-3, warmup: 0, steps: 1 } as const };
  const [free, clipped] = [
    await trained({ settings: { ...settings, clip: null } }),
    await trained({ settings: { ...settings, clip: 1e-3 } }),
  ];
  assert.is(free.reports[0]!.gradientNorm, clipped.reports[0]!.gradientNorm);
  // Adam's first step is sign(g) · rate whatever the scale, so far as the gradient is above epsilon
  for (const name of ['embed', 'head']) {
    assert.ok(worst.within('first step', far(free.weights[name]!, clipped.weights[name]!), 1e-4), name);
  }
});

test('it looks at held-out data as often as told, and ends when nothing gets better', async () => {
  const seen: number[] = [];
  const kept: number[] = [];
  const hooks: TrainerHooks = {
    onHeldOut: ({ step }) => void seen.push(step),
    keepBest: async ({ step }) => void kept.push(step),
  };
  const { progress } = await trained({ settings: { evaluateEvery: 5 }, hooks });
  assert.equal(seen, [0, 5, 10, 15, 20, 24]);
  assert.equal(
    progress.heldOut.map(({ step }) => step),
    seen,
  );
  const losses = progress.heldOut.map(({ loss }) => loss);
  const best = losses.indexOf(Math.min(...losses));
  assert.equal(progress.best, progress.heldOut[best]);
  assert.is(kept.at(-1), seen[best]);
  // the targets of one look at the others are noise: training on them makes it worse sooner or later
  const patient = await trained({ settings: { evaluateEvery: 1, patience: 2, schedule: steep } });
  const { stopped, heldOut, best: least, step } = patient.progress;
  assert.is(stopped, true);
  assert.ok(step < steps, `${step}`);
  assert.is(step, least!.step + 2);
  assert.is(heldOut.at(-1)!.step, step);
});

const steep = { kind: 'constant', peak: 0.2, warmup: 0, steps } as const;

test('states are kept every so many steps, of weights that are known to compute', async () => {
  const saved: number[] = [];
  const { error } = await trained({
    settings: { saveEvery: 7 },
    hooks: { save: async ({ step }) => void saved.push(step) },
  });
  assert.is(error, null);
  assert.equal(saved, [7, 14, 21]);
});

test('NaN and infinity end it, with weights as they were and no state kept of them', async () => {
  for (const [value, says] of [
    [Number.NaN, /step 1: its (?:cross-entropy is|gradient's norm is) (?:NaN|Infinity)/],
    [3e38, /step 1: /],
  ] as const) {
    const saved: number[] = [];
    const weights = { ...start, head: start.head.map((own, i) => (i === 3 ? value : own)) };
    const run = await trained({
      weights,
      heldOut: null,
      settings: { saveEvery: 1 },
      hooks: { save: async ({ step }) => void saved.push(step) },
    });
    assert.is(run.error?.code, 'E_DIVERGED', String(run.error));
    assert.match(run.error!.message, says);
    assert.match(run.error!.hint!, /^No state is kept yet\. /);
    assert.equal(saved, []);
    assert.equal(run.weights['bias'], Float32Array.from(start.bias));
    assert.is(run.progress.step, 0);
  }
});

test('a step that blows up is the last, and the state before it is not kept', async () => {
  const saved: number[] = [];
  const run = await trained({
    heldOut: null,
    settings: { saveEvery: 1, schedule: { kind: 'constant', peak: 1e38, warmup: 0, steps }, clip: null },
    hooks: { save: async ({ step }) => void saved.push(step) },
  });
  assert.is(run.error?.code, 'E_DIVERGED', String(run.error));
  assert.equal(saved, []);
  assert.is(run.progress.step, 1);
});

test('held-out data that give NaN end it, too', async () => {
  const weights = { ...start, embed: start.embed.map(() => Number.NaN) };
  const run = await trained({ weights });
  assert.is(run.error?.code, 'E_DIVERGED');
  assert.match(run.error!.message, /held out is (?:NaN|Infinity)/);
});

test('an abort comes out at the next pass, after the state was kept', async () => {
  for (const at of [0, 1, 2, 7, 8]) {
    const abort = new AbortController();
    const saved: number[] = [];
    const run = await trained({
      heldOut: null,
      signal: abort.signal,
      prepare: (model) => {
        model.onPass = () => {
          if (model.passes === at) abort.abort();
        };
      },
      hooks: { save: async ({ step }) => void saved.push(step) },
    });
    assert.is(run.error?.code, 'E_ABORTED', String(run.error));
    assert.is(run.passes, at); // not one more
    const done = Math.floor(at / 2);
    assert.is(run.progress.step, done);
    assert.equal(saved, done > 0 ? [done] : []);
  }
});

test('where all is frozen it says so', async () => {
  const run = await trained({ settings: { freeze: [{ frozen: '*', untilStep: 3 }] }, heldOut: null });
  assert.is(run.error?.code, 'E_ARGUMENT');
  assert.match(run.error!.message, /step 0/);
});

testNothingLeft(all, worst);
test.run();
