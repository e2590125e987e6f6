/** What earlier runs have left in a folder: it becomes no part of another result, work of others is not thrown away, and damaged states are refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grow } from '../../src/grow.ts';
import { sha256 } from '../../src/runtime/files/hash.ts';
import { type MemoryOutput, memoryOutput } from '../../src/runtime/output/memory.ts';
import { type TrainOptions, type TrainProgress, train } from '../../src/train.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
import { FULL, LORA, run } from './jobs.ts';
import { bytesOf } from './texts.ts';

const SHORT = { steps: 4, heldOut: 0 } as const;
const STATE = 'espalier-training-000004.json';

/** An output whose process is killed when a file of that name is to be written. */
function killedAt(name: string): { readonly out: MemoryOutput; readonly memory: MemoryOutput } {
  const memory = memoryOutput('out');
  const killed = async (): Promise<never> => {
    throw new Error('killed');
  };
  return {
    memory,
    out: { ...memory, writeBytes: (own, bytes) => (own === name ? killed() : memory.writeBytes(own, bytes)) },
  };
}

const namesOf = async (out: MemoryOutput): Promise<string[]> => [...(await out.files()).names].sort();

/** Ends a training after four steps, its state kept. */
async function aborted(files: Record<string, Uint8Array>, options: Partial<TrainOptions>, out: MemoryOutput) {
  const abort = new AbortController();
  const onProgress = ({ stage, done }: TrainProgress) => void (stage === 'training' && done === 4 && abort.abort());
  return rejects('E_ABORTED', () => run(files, { ...options, signal: abort.signal, onProgress }, out));
}

test('an adapter that was killed before its receipt is no part of the model that comes after it', async () => {
  const files = await tinyFiles();
  for (const restart of [false, true]) {
    const { out, memory } = killedAt('espalier-training.json');
    const error = await run(files, { ...LORA, ...SHORT, saveEvery: 0 }, out).then(String, String);
    assert.match(error, 'killed');
    assert.equal(await namesOf(memory), ['adapter_config.json', 'adapter_model.safetensors']);
    const { receipt, files: written } = await run(files, { ...FULL, ...SHORT, saveEvery: 0, restart }, memory);
    assert.not.ok(Object.keys(written).some((name) => name.startsWith('adapter')));
    assert.ok('model.safetensors' in written);
    assert.equal(
      receipt.files.map(({ name }) => name).sort(),
      Object.keys(written)
        .sort()
        .filter((name) => name !== 'espalier-training.json'),
    );
  }
});

test('begun anew after a state, an adapter has no file of the half written model beside it', async () => {
  const files = await tinyFiles();
  const { out, memory } = killedAt('config.json');
  await run(files, { ...FULL, ...SHORT }, out).then(String, String);
  assert.ok((await namesOf(memory)).includes('model.safetensors'));
  await memory.writeBytes('static/adapter_config.json', new Uint8Array(2));
  const { files: written } = await run(files, { ...LORA, ...SHORT, restart: true }, memory);
  assert.equal(Object.keys(written).sort(), [
    ...['adapter_config.json', 'adapter_model.safetensors', 'espalier-training.json'],
  ]);
});

test('ended while it was written, without states, the same call and any other begins anew', async () => {
  const files = await tinyFiles();
  const whole = await run(files, { ...FULL, ...SHORT, saveEvery: 0 });
  for (const change of [{}, { learningRate: 1e-3 }, { dtype: 'f16' }] as const) {
    const out = memoryOutput('out');
    const abort = new AbortController();
    const onProgress = ({ stage, done }: TrainProgress) => void (stage === 'writing' && done > 0 && abort.abort());
    const options = { ...FULL, ...SHORT, saveEvery: 0 };
    await rejects('E_ABORTED', () => run(files, { ...options, signal: abort.signal, onProgress }, out));
    assert.ok((await out.size('model.safetensors'))! > 0);
    const { files: written } = await run(files, { ...options, ...change }, out);
    assert.equal(Object.keys(written).sort(), Object.keys(whole.files).sort());
    if (Object.keys(change).length > 0) continue;
    const [got, want] = [written, whole.files].map((all) => all['model.safetensors']!.arrayBuffer());
    assert.equal(new Uint8Array(await got!), new Uint8Array(await want!));
  }
});

test('ended while it was written, another type needs no training again, and keeps its state until then', async () => {
  const files = await tinyFiles();
  const out = memoryOutput('out');
  const abort = new AbortController();
  const onProgress = ({ stage, done }: TrainProgress) => void (stage === 'writing' && done > 0 && abort.abort());
  await rejects('E_ABORTED', () => run(files, { ...FULL, ...SHORT, signal: abort.signal, onProgress }, out));
  const steps: number[] = [];
  const { files: written } = await run(
    files,
    {
      ...FULL,
      ...SHORT,
      dtype: 'f32',
      onProgress: ({ stage, done }) => void (stage === 'training' && steps.push(done)),
    },
    out,
  );
  assert.ok(
    steps.every((step) => step === 4),
    `${steps}`,
  );
  const want = await run(files, { ...FULL, ...SHORT, dtype: 'f32' });
  const [got, known] = [written, want.files].map((all) => all['model.safetensors']!.arrayBuffer());
  assert.equal(new Uint8Array(await got!), new Uint8Array(await known!));
});

test('neither of training and growing throws the work of the other away', async () => {
  const files = await tinyFiles();
  const training = memoryOutput('training');
  await aborted(files, FULL, training);
  const before = await namesOf(training);
  const recipe = { experts: 4, topK: 2, target: 'espalier', verify: false } as const;
  const kept = await rejects('E_ARGUMENT', () => grow(files, { ...recipe, out: training }));
  assert.match(kept.message, /half trained/);
  assert.equal(await namesOf(training), before);
  const growing = memoryOutput('growing');
  const abort = new AbortController();
  const onProgress = ({ done }: { readonly done: number }) => void (done > 0 && abort.abort());
  await rejects('E_ABORTED', () => grow(files, { ...recipe, out: growing, signal: abort.signal, onProgress }));
  const grown = await rejects('E_ARGUMENT', () => run(files, { ...FULL, saveEvery: 0 }, growing));
  assert.match(grown.message, /of its parts are done/);
  // told to begin anew, each has its own files alone
  await grow(files, { ...recipe, out: training, restart: true });
  assert.not.ok(Object.keys(training.result()).some((name) => name.includes('training')));
  const { files: written } = await run(files, { ...LORA, ...SHORT, restart: true }, growing);
  assert.not.ok('model.safetensors' in written);
});

test('an abort tells what is kept, and what to do then', async () => {
  const files = await tinyFiles();
  const kept = await aborted(files, FULL, memoryOutput('a folder'));
  assert.match(kept.message, /in 4 steps is kept in a folder\.$/);
  assert.match(kept.hint, 'same arguments');
  const lost = await aborted(files, { ...FULL, saveEvery: 0 }, memoryOutput('a folder'));
  assert.not.match(lost.message, 'kept');
});

test('a state that says what was not written is refused with a code, and what to do', async () => {
  const files = await tinyFiles();
  const out = memoryOutput('out');
  await aborted(files, FULL, out);
  const text = new TextDecoder().decode((await out.readBytes(STATE))!);
  const { sum: _, ...state } = JSON.parse(text);
  const { progress } = state;
  const forged = async (content: object) =>
    `${JSON.stringify({ ...content, sum: await sha256(JSON.stringify(content)) })}\n`;
  const refused = async (content: string, code = 'E_FILE_READ') => {
    await out.writeBytes(STATE, bytesOf(content));
    const error = await rejects(code, () => run(files, FULL, out));
    assert.match(error.hint, 'restart: true');
  };
  // changed by hand: a wrong step, a loss
  await refused(text.replace('"step":4', '"step":3'));
  await refused(text.replace(/"lastLoss":\d/, '"lastLoss":9'));
  // by somebody who knows what a state looks like
  for (const change of [
    { progress: { ...progress, step: 5 } },
    { progress: { ...progress, step: '4' } },
    { progress: null },
    { progress: { ...progress, curve: null } },
    { progress: { ...progress, curve: { ...progress.curve, points: [null] } } },
    { progress: { ...progress, heldOut: [{}] } },
    { progress: { ...progress, best: { step: 0, loss: 'low' } } },
    { updates: [1] },
    { updates: { 'model.norm.weight': -1 } },
    { tensors: null },
    { tensors: { ...state.tensors, name: '../x' } },
    { tensors: { ...state.tensors, sha256: 1 } },
    { best: 3 },
    { device: null },
    { device: { simd: 'plain', micro: 99, dot: 0 } },
    { identity: 'mine' },
  ]) {
    await refused(await forged({ ...state, ...change }));
  }
  // the stream of examples looks at its own place
  for (const position of [7, { epoch: 'x' }]) {
    await out.writeBytes(STATE, bytesOf(await forged({ ...state, progress: { ...progress, position } })));
    await rejects('E_ARGUMENT', () => run(files, FULL, out));
  }
  await refused(await forged({ ...state, version: 1 }), 'E_ARGUMENT');
  // and as it was, it is gone on with
  await out.writeBytes(STATE, bytesOf(text));
  const { receipt } = await run(files, FULL, out);
  assert.is(receipt.steps, FULL.steps);
});

test('a receipt that is damaged is no result, and is not thrown away unasked', async () => {
  const files = await tinyFiles();
  const { receipt } = await run(files, { ...LORA, ...SHORT, saveEvery: 0 });
  for (const content of ['', '{"receipt"', '[]', '{}', JSON.stringify({ ...receipt, source: null }), '7']) {
    const out = memoryOutput('out');
    await out.writeBytes('espalier-training.json', bytesOf(content));
    const error = await rejects('E_ARGUMENT', () => run(files, { ...LORA, ...SHORT, saveEvery: 0 }, out));
    assert.match(error.hint, 'restart: true', content);
    await run(files, { ...LORA, ...SHORT, saveEvery: 0, restart: true }, out);
  }
});

test('one that is begun anew in a folder with a damaged state is whole', async () => {
  const files = await tinyFiles();
  const out = memoryOutput('out');
  await aborted(files, FULL, out);
  await out.writeBytes(STATE, bytesOf('{"format": "espalier-training-state", "version": 2}'));
  await rejects('E_FILE_READ', () => train(files, { ...FULL, out } as TrainOptions));
  const { files: written } = await run(files, { ...FULL, ...SHORT, restart: true }, out);
  assert.not.ok(Object.keys(written).some((name) => name.includes('0000')));
});

test.run();
