// long — trains models in workers again and again
/** Training in a worker: what it gives is what one thread gives, and what crosses: data, progress, aborts, errors, deaths. Nothing outlives a call. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  EspalierError,
  open,
  planTrain,
  type Trained,
  type TrainOptions,
  type TrainProgress,
  train,
} from '../../src/index.ts';
import { host, setHost } from '../../src/runtime/host/host.ts';
import { laneCount } from '../../src/runtime/host/lane-count.ts';
import type { Host, WorkerHandle } from '../../src/runtime/host/types.ts';
import { memoryOutput, planTrain as planHere, TRAINING_FILE, train as trainHere } from '../../src/train.ts';
import { rejects } from '../errors.ts';
import { hasFileSystem, modelTarget } from '../files.ts';
import { LORA } from '../train/jobs.ts';
import { bytesOf, LINES } from '../train/texts.ts';
import { isFirefox, tinyFiles } from './tiny-model.ts';

const nano = await modelTarget('models/nano-base');
const real = await host();
const TINY: TrainOptions = { ...LORA, steps: 4 };
/** Runs for some seconds, so that there is a middle. */
const LONG: TrainOptions = { data: bytesOf(LINES.repeat(20)), format: 'lines', steps: 1000, batch: 8, lanes: 1 };

interface Started {
  readonly kind: string;
  readonly handle: WorkerHandle;
  gone: boolean;
}

/** Workers that were started, and whether they are gone. */
const started: Started[] = [];
const watched: Host = {
  ...real,
  spawn: (kind, location) => {
    const handle = real.spawn(kind, location);
    const one: Started = { kind, handle, gone: false };
    handle.onLost(() => {
      one.gone = true;
    });
    started.push(one);
    return handle;
  },
};

test.before.each(() => {
  setHost(watched);
  started.length = 0;
});

const kinds = () => started.map(({ kind }) => kind).sort();
const living = () => started.filter(({ gone }) => !gone);

/** A second thread may have timed other kernels as the fastest, which round otherwise. */
const near = (a: number, b: number) => Math.abs(a - b) < 1e-4 * Math.abs(b);

test('it gives what one thread gives, with as many lanes as there are, and the adapter is opened as it comes', async () => {
  const files = await tinyFiles();
  const seen: TrainProgress[] = [];
  const { lanes: _, ...options } = TINY;
  const got = await train(files, { ...options, onProgress: (progress) => seen.push(progress) });
  assert.equal(kinds(), [...Array(laneCount('auto', real) - 1).fill('lane'), 'train'].sort());
  assert.equal(living(), []);
  assert.equal(JSON.parse(await got.files[TRAINING_FILE]!.text()), JSON.parse(JSON.stringify(got.receipt)));
  const out = memoryOutput('here');
  const want = await trainHere(files, { ...TINY, out });
  for (const which of ['first', 'last', 'heldOut'] as const) {
    assert.ok(near(got.receipt.loss[which]!, want.loss[which]!), `${got.receipt.loss[which]} ${want.loss[which]}`);
  }
  assert.equal(got.receipt.options, want.options);
  assert.equal(got.receipt.data, want.data);
  assert.equal(Object.keys(got.files).sort(), Object.keys(out.result()).sort());
  assert.is(seen[0]!.stage, 'reading');
  const steps = seen.filter(({ stage }) => stage === 'training');
  assert.is(steps.at(-1)!.done, 4);
  assert.is(steps.at(-1)!.loss, got.receipt.loss.last);
  const model = await open(files, { adapters: [{ from: got.files }], lanes: 1 });
  assert.is((await model.generate('Tom', { maxTokens: 3, stopAtEos: false }).result()).tokens.length, 3);
  await model.close();
});

test('a whole model is trained and opened as it comes', async () => {
  const { lora: _, ...options } = TINY;
  const { files, receipt } = await train(await tinyFiles(), { ...options, full: true });
  assert.ok(receipt.loss.last < receipt.loss.first);
  const model = await open(files, { lanes: 1 });
  await model.close();
});

test('a plan is that of one thread', async () => {
  const files = await tinyFiles();
  const plan = await planTrain(files, TINY);
  assert.equal(plan, await planHere(files, TINY));
  assert.ok(plan.memory.total > 1e6);
  assert.equal(kinds(), ['train']);
  assert.equal(living(), []);
});

test('data as bytes, a part of a buffer, a Blob, or several; copied, or given away', async () => {
  const files = await tinyFiles();
  const bytes = bytesOf(LINES);
  const wide = new Uint8Array(bytes.length + 20);
  wide.set(bytes, 10);
  const results: Trained[] = [];
  for (const data of [bytes, wide.subarray(10, 10 + bytes.length), new Blob([bytes as Uint8Array<ArrayBuffer>])]) {
    results.push(await train(files, { ...TINY, data }));
  }
  for (const { receipt } of results) assert.is(receipt.data.digest, results[0]!.receipt.data.digest);
  assert.is(bytes.length, LINES.length);
  const half = LINES.length >> 1;
  const { receipt } = await train(files, {
    ...TINY,
    data: [bytes, new Blob(['Tom has a dog.\n'])],
    heldOut: bytesOf(LINES.slice(half)),
  });
  assert.is(receipt.data.examples, results[0]!.receipt.data.examples + results[0]!.receipt.data.heldOut + 1);
  await train(files, { ...TINY, transfer: true, data: bytes });
  assert.is(bytes.length, 0);
  assert.is(living().length, 0);
});

test('an abort is heard within a second', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  let began = 0;
  const error = await rejects('E_ABORTED', () =>
    train(nano, {
      ...LONG,
      signal: controller.signal,
      onProgress: ({ stage, done }) => {
        if (stage !== 'training' || done < 2 || began > 0) return;
        began = performance.now();
        controller.abort(reason);
      },
    }),
  );
  const took = performance.now() - began;
  console.log(`  worst milliseconds from an abort to its answer: ${took.toExponential(1)} (bound 1.0e+3)`);
  assert.ok(began > 0 && took < 1000, `${took} ms`);
  assert.is(error.cause, reason, 'the caller’s own reason');
  assert.equal(living(), []);
  started.length = 0;
  const signal = AbortSignal.abort('before');
  assert.is((await rejects('E_ABORTED', () => train(nano, { ...TINY, signal }))).cause, 'before');
  assert.equal(started, [], 'nothing was started');
});

test('errors are ours here, with code and hint', async () => {
  const files = await tinyFiles();
  const invalid = await rejects('E_DATA_INVALID', () => train(files, { ...TINY, format: 'jsonl' }));
  assert.instance(invalid, EspalierError);
  assert.match(invalid.message, 'line 1');
  await rejects('E_ARGUMENT', () => train(files, { ...TINY, full: true }));
  await rejects('E_OUT_OF_MEMORY', () => train(files, { ...TINY, memoryLimit: 2 ** 20 }));
  await rejects('E_FILE_NOT_FOUND', () => train({}, TINY));
  await rejects('E_ARGUMENT', () => train(5 as never, TINY));
  await rejects('E_DIVERGED', () => train(files, { ...TINY, learningRate: 1e30, clip: 0, heldOut: 0 }));
  const thrown = new Error('mine');
  const onProgress = () => {
    throw thrown;
  };
  const got = await train(files, { ...TINY, onProgress }).catch((error) => error);
  assert.is(got, thrown, 'what a callback throws');
  assert.equal(living(), []);
});

test('what cannot cross is refused before anything starts', async () => {
  const files = await tinyFiles();
  const refused = await rejects('E_ARGUMENT', () => train(files, { ...TINY, out: memoryOutput('mine') as never }));
  assert.match(refused.hint, 'espalier/train');
  const odd = await rejects('E_ARGUMENT', () => train(files, { ...TINY, schedule: (() => 1) as never }));
  assert.match(odd.message, 'schedule is a function');
  await rejects('E_ARGUMENT', () => train(files, { ...TINY, data: {} as never }));
  if (!hasFileSystem) await rejects('E_ARGUMENT', () => train(files, { ...TINY, out: 'folder' }));
  if (!real.sharedMemory) await rejects('E_NO_ISOLATION', () => train(files, { ...TINY, lanes: 2 }));
  assert.equal(started, []);
});

test('a worker that dies in the middle: E_WORKER_LOST, and the next job runs', async () => {
  for (const kind of real.sharedMemory ? ['train', 'lane'] : ['train']) {
    started.length = 0;
    const onProgress = ({ stage }: TrainProgress) => {
      if (stage === 'training') void started.find((one) => one.kind === kind)!.handle.terminate();
    };
    const lanes = kind === 'lane' ? 2 : 1;
    const lost = await rejects('E_WORKER_LOST', () => train(nano, { ...LONG, lanes, onProgress }));
    assert.instance(lost.cause, Error);
    assert.match(lost.message, `${kind}${kind === 'train' ? ' worker' : ''} is gone`);
    assert.equal(living(), []);
  }
  assert.is((await train(await tinyFiles(), TINY)).receipt.steps, 4);
});

if (!isFirefox()) {
  test('a script that is not there: E_WORKER_LOST, which says so', async () => {
    const workerLocation = new URL('./nowhere/train.js', import.meta.url);
    const files = await tinyFiles();
    const lost = await rejects('E_WORKER_LOST', () => train(files, { ...TINY, workerLocation }));
    assert.match(lost.message, 'train worker could not be started');
    assert.equal(living(), []);
  });
}

if (hasFileSystem) {
  test('into a folder: an aborted training is kept before the call rejects, and goes on', async () => {
    const { mkdtemp, readdir, rm } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const { join } = await import('node:path');
    const folder = await mkdtemp(join(tmpdir(), 'espalier-train-'));
    try {
      const out = join(folder, 'out');
      const files = await tinyFiles();
      const options: TrainOptions = { ...TINY, steps: 12, saveEvery: 100, out };
      const controller = new AbortController();
      const onProgress = ({ stage, done }: TrainProgress) =>
        void (stage === 'training' && done === 5 && controller.abort());
      await rejects('E_ABORTED', () => train(files, { ...options, signal: controller.signal, onProgress }));
      const kept = await readdir(`${out}.partial`);
      const state = kept.find((name) => name.endsWith('.json'));
      assert.ok(state, `${kept}`);
      const done: number[] = [];
      const again = await train(files, {
        ...options,
        onProgress: (progress) => void (progress.stage === 'training' && done.push(progress.done)),
      });
      assert.is(done[0], Number(/\d+/.exec(state)![0]));
      assert.equal(again.files, {});
      assert.equal((await readdir(folder)).sort(), ['out']);
      assert.equal((await readdir(out)).sort(), ['adapter_config.json', 'adapter_model.safetensors', TRAINING_FILE]);
      const occupied = await rejects('E_ARGUMENT', () => train(files, options));
      assert.match(occupied.message, 'not empty');
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

test.run();
