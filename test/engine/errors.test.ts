/** Errors across the worker: class, code, hint and cause, for ours and for others'. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { packError, unpackError } from '../../src/engine/line/wire-error.ts';
import { Engine, EspalierError, open } from '../../src/index.ts';
import { laneCount } from '../../src/runtime/host/lane-count.ts';
import { code, rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { isFirefox, tinyFiles } from './tiny-model.ts';

// biome-ignore lint/suspicious/noExplicitAny: errors have what they have
const cross = (error: unknown): any => unpackError(structuredClone(packError(error)));

test('ours keep class, code, hint, stack and chain of causes', () => {
  const root = Object.assign(new Error('no such file'), { code: 'ENOENT', errno: -2 });
  const middle = new TypeError('bad', { cause: root });
  const error = new EspalierError('E_FILE_READ', 'It failed.', 'Try again.', { cause: middle });
  const got = cross(error);
  assert.instance(got, EspalierError);
  assert.is(got.code, 'E_FILE_READ');
  assert.is(got.message, 'It failed.');
  assert.is(got.hint, 'Try again.');
  assert.is(got.name, 'EspalierError');
  assert.is(got.stack, error.stack);
  assert.is(`${got}`, `${error}`);
  assert.equal(Object.keys(got).sort(), Object.keys(error).sort());
  assert.instance(got.cause, TypeError);
  assert.is(got.cause.message, 'bad');
  assert.instance(got.cause.cause, Error);
  assert.is(got.cause.cause.code, 'ENOENT');
  assert.is(got.cause.cause.errno, -2);
  assert.is(got.cause.cause.stack, root.stack);
  assert.not('cause' in cross(new EspalierError('E_SHAPE', 'a', 'b')) && cross(new Error('x')).cause);
});

test('others keep name and message, and their class where the host has it', () => {
  assert.instance(cross(new RangeError('far')), RangeError);
  class Odd extends Error {
    override readonly name = 'OddError';
  }
  const odd = cross(new Odd('strange'));
  assert.instance(odd, Error);
  assert.is(odd.name, 'OddError');
  assert.is(odd.message, 'strange');
  const exception = cross(new DOMException('stop', 'AbortError'));
  assert.instance(exception, DOMException);
  assert.is(exception.name, 'AbortError');
});

test('what is no error crosses as it is, or as its text', () => {
  assert.equal(cross({ some: ['value'] }), { some: ['value'] });
  assert.is(cross('text'), 'text');
  const made = cross(() => 'no clone of this');
  assert.instance(made, Error);
  assert.match(made.message, 'no clone of this');
  assert.is(cross(new Error('outer', { cause: 'plain' })).cause, 'plain');
});

test('a circle of causes ends', () => {
  const error = new Error('round');
  error.cause = error;
  let depth = 0;
  for (let at = cross(error); at.cause; at = at.cause) depth++;
  assert.ok(depth > 0 && depth < 20);
});

test('lanes: as many as there are, one without shared memory, and a refusal that names the headers', () => {
  const alone = { cores: 8, sharedMemory: false };
  const together = { cores: 8, sharedMemory: true };
  assert.is(laneCount('auto', alone), 1);
  assert.is(laneCount('auto', together), 8);
  assert.is(laneCount('auto', { cores: 0, sharedMemory: true }), 1);
  assert.is(laneCount(1, alone), 1);
  assert.is(laneCount(3, together), 3);
  for (const wanted of [0, -1, 1.5, Number.NaN, 1e6, '2' as never])
    assert.throws(() => laneCount(wanted, together), code('E_ARGUMENT'));
  try {
    laneCount(2, alone);
    assert.unreachable();
  } catch (error) {
    assert.is((error as EspalierError).code, 'E_NO_ISOLATION');
    assert.match((error as EspalierError).hint, 'Cross-Origin-Opener-Policy: same-origin');
    assert.match((error as EspalierError).hint, 'Cross-Origin-Embedder-Policy: require-corp');
  }
});

test('errors of the worker are ours here', async () => {
  const engine = await Engine.create({ lanes: 1 });
  const files = await tinyFiles();
  const { 'config.json': _, ...rest } = files;
  const missing = await rejects('E_FILE_NOT_FOUND', () => engine.open(rest));
  assert.instance(missing, EspalierError);
  assert.ok(missing.hint.length > 3);
  await rejects('E_ARGUMENT', () => engine.open(5 as never));
  await rejects('E_ARGUMENT', () => engine.open({ 'config.json': 'text' as never }));
  const broken = { ...files, 'tokenizer.json': new TextEncoder().encode('{"model": {}}') };
  await rejects('E_TOKENIZER_INVALID', () => engine.open(broken));
  // a half of the weights
  const half = { ...files, 'model.safetensors': files['model.safetensors']!.slice(0, 40_000) };
  await rejects('E_CHECKPOINT_TRUNCATED', () => engine.open(half));
  const signal = AbortSignal.abort('why');
  assert.is((await rejects('E_ABORTED', () => engine.open(files, { signal }))).cause, 'why');
  const model = await engine.open(files);
  assert.equal(await model.encodeChat([{ role: 'user', content: 'ab' }]), [2, 3]);
  await rejects('E_ARGUMENT', () => model.encodeChat([{ role: 'user' } as never]));
  await rejects('E_ARGUMENT', () => model.score(''));
  await rejects('E_ARGUMENT', () => model.embed('abc', { pool: 'max' as never }));
  await rejects('E_CONTEXT_LENGTH', () => model.score('a'.repeat(100)));
  // functions do not cross
  const variables = { helper: () => 1 };
  const refused = await rejects('E_ARGUMENT', () => model.encodeChat([{ role: 'user', content: 'ab' }], { variables }));
  assert.ok(refused.cause);
  await rejects('E_ARGUMENT', () => engine.open(files, { precision: (() => 'int8') as never }));
  const { tensors } = await engine.stats();
  await model.close();
  assert.ok(tensors > 0);
  assert.is((await engine.stats()).tensors, 0);
  await engine.close();
});

test('an engine that runs out of memory lives on', async () => {
  const engine = await Engine.create({ lanes: 1, memoryLimit: 4 << 20 });
  const error = await rejects('E_OUT_OF_MEMORY', async () => engine.open(await modelTarget('models/nano-base')));
  assert.instance(error, EspalierError);
  assert.is((await engine.stats()).tensors, 0);
  const tiny = await engine.open(await tinyFiles());
  assert.is((await tiny.generate('abc', { maxTokens: 5, stopAtEos: false }).result()).tokens.length, 5);
  await engine.close();
});

test('an engine that cannot start says why', async () => {
  const nowhere = new URL('./nowhere/', import.meta.url);
  await rejects('E_FILE_NOT_FOUND', () => Engine.create({ lanes: 1, wasmLocation: nowhere }));
  await rejects('E_ARGUMENT', () => Engine.create({ lanes: 0 }));
  await rejects('E_FILE_NOT_FOUND', async () => open({}, { lanes: 1 }));
  await rejects('E_ARGUMENT', () => Engine.create({ lanes: 1, workerLocation: 'http://[' }));
  if (isFirefox()) return;
  const refused = await rejects('E_WORKER_LOST', () =>
    Engine.create({ lanes: 1, workerLocation: 'ftp://127.0.0.1/engine.js' }),
  );
  assert.match(refused.message, 'could not be started');
  const lost = await rejects('E_WORKER_LOST', () =>
    Engine.create({ lanes: 1, workerLocation: new URL('engine.js', nowhere) }),
  );
  assert.instance(lost.cause, Error);
  assert.match(lost.hint, 'workerLocation');
});

test.run();
