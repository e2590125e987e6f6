// long — grows models in workers again and again
/** Growing in a worker: the same files as in one thread, and what crosses: progress, aborts, errors, deaths. Nothing outlives a call. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { memoryOutput, planGrow as planHere, RECEIPT_FILE } from '../../src/grow.ts';
import { EspalierError, type GrowOptions, type GrowProgress, grow, open, planGrow } from '../../src/index.ts';
import { host, setHost } from '../../src/runtime/host/host.ts';
import { laneCount } from '../../src/runtime/host/lane-count.ts';
import type { Host, WorkerHandle } from '../../src/runtime/host/types.ts';
import { rejects } from '../errors.ts';
import { hasFileSystem, modelTarget } from '../files.ts';
import { digests } from '../grow/growth.ts';
import { isFirefox, tinyFiles } from './tiny-model.ts';

const nano = await modelTarget('models/nano-base');
const real = await host();
/** As in test/grow/job.test.ts. */
const PINNED = '45337a5c39b9f64f768819f7c4b816f01d76ea1fa4a9707eb59d8f1905abe570';
const TINY: GrowOptions = { experts: 4, lanes: 1, verify: false };
/** Runs for a second at least, so that there is a middle. */
const LONG: GrowOptions = { target: 'granitemoeshared', verify: false };

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

test('the files are those of one thread, with as many lanes as there are, and are opened as they come', async () => {
  const seen: GrowProgress[] = [];
  const { receipt, files } = await grow(nano, {
    target: 'granitemoeshared',
    onProgress: (progress) => seen.push(progress),
  });
  assert.is((await digests(files))['model.safetensors'], PINNED);
  assert.equal(kinds(), ['grow', ...Array(laneCount('auto', real) - 1).fill('lane')]);
  assert.equal(living(), []);
  assert.equal(JSON.parse(await files[RECEIPT_FILE]!.text()), JSON.parse(JSON.stringify(receipt)));
  assert.is(receipt.deviation!.top1Agreement, 1);
  for (const stage of ['growing', 'verifying']) {
    const of = seen.filter((progress) => progress.stage === stage);
    assert.ok(of.length >= 3, `${of.length} of ${stage}`);
    assert.is(of.at(-1)!.done, of.at(-1)!.total);
    for (let i = 1; i < of.length; i++) assert.ok(of[i]!.done >= of[i - 1]!.done);
  }
  assert.is(seen[0]!.stage, 'growing');
  assert.is(seen.at(-1)!.stage, 'verifying');
  const model = await open(files, { lanes: 1 });
  assert.is((await model.generate('Once upon a time', { maxTokens: 5, stopAtEos: false }).result()).tokens.length, 5);
  await model.close();
});

test('a plan is that of one thread', async () => {
  const options = { target: 'qwen2_moe', experts: 4, lanes: 1 } as const;
  const plan = await planGrow(nano, options);
  assert.equal(plan, await planHere(nano, options));
  assert.ok(plan.bytes > 1e6);
  assert.equal(kinds(), ['grow']);
  assert.equal(living(), []);
});

test('an abort ends it', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  let isSeen = false;
  // verified as well, so that a caller who is kept waiting still finds it in the middle
  const error = await rejects('E_ABORTED', () =>
    grow(nano, {
      ...LONG,
      verify: true,
      signal: controller.signal,
      onProgress: ({ done, total }) => {
        isSeen ||= done / total > 0.3;
        if (isSeen) controller.abort(reason);
      },
    }),
  );
  assert.ok(isSeen);
  assert.is(error.cause, reason, 'the caller’s own reason');
  assert.equal(living(), []);
  started.length = 0;
  const signal = AbortSignal.abort('before');
  assert.is((await rejects('E_ABORTED', () => grow(nano, { signal }))).cause, 'before');
  assert.equal(started, [], 'nothing was started');
});

test('bytes are copied, or given away', async () => {
  const files = await tinyFiles();
  const sizes = Object.values(files).map(({ byteLength }) => byteLength);
  const copied = await grow(files, TINY);
  assert.equal(
    Object.values(files).map(({ byteLength }) => byteLength),
    sizes,
  );
  const moved = await grow(files, { ...TINY, transfer: true });
  assert.ok(Object.values(files).every(({ byteLength }) => byteLength === 0));
  assert.equal(await digests(moved.files), await digests(copied.files));
  assert.is(living().length, 0);
});

test('errors are ours here, with code, hint and cause', async () => {
  const files = await tinyFiles();
  const target = await rejects('E_TARGET', () => grow(files, { ...TINY, target: 'qwen3_moe' }));
  assert.instance(target, EspalierError);
  assert.ok(target.hint.length > 10);
  await rejects('E_TARGET', () => planGrow(files, { ...TINY, target: 'qwen3_moe' }));
  await rejects('E_ARGUMENT', () => grow(files, { ...TINY, topK: 9 }));
  await rejects('E_FILE_NOT_FOUND', () => grow({}, TINY));
  await rejects('E_ARGUMENT', () => grow(5 as never, TINY));
  const weights = files['model.safetensors']!.slice();
  const begin = 8 + new DataView(weights.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(weights.subarray(8, begin)));
  const [at] = header['model.layers.0.mlp.down_proj.weight'].data_offsets;
  weights.set([0xc0, 0x7f], begin + at + 64); // bf16 NaN
  await rejects('E_TENSOR_VALUE', () => grow({ ...files, 'model.safetensors': weights }, TINY));
  const half = { ...files, 'model.safetensors': weights.slice(0, 40_000) };
  await rejects('E_CHECKPOINT_TRUNCATED', () => grow(half, TINY));
  const thrown = new Error('mine');
  const onProgress = () => {
    throw thrown;
  };
  const got = await grow(files, { ...TINY, onProgress }).catch((error) => error);
  assert.is(got, thrown, 'what a callback throws');
  assert.equal(living(), []);
});

test('what cannot cross is refused before anything starts', async () => {
  const files = await tinyFiles();
  const out = memoryOutput('mine');
  const refused = await rejects('E_ARGUMENT', () => grow(files, { ...TINY, out: out as never }));
  assert.match(refused.hint, 'espalier/grow');
  const odd = await rejects('E_ARGUMENT', () => grow(files, { ...TINY, dtype: (() => 'f32') as never }));
  assert.match(odd.message, 'dtype is a function');
  await rejects('E_ARGUMENT', () => grow(files, { ...TINY, lanes: 0 }));
  await rejects('E_ARGUMENT', () => grow(files, { ...TINY, workerLocation: 'http://[' }));
  if (!hasFileSystem) {
    const nowhere = await rejects('E_ARGUMENT', () => grow(files, { ...TINY, out: 'folder' }));
    assert.match(nowhere.hint, 'Blobs');
  }
  if (!real.sharedMemory) await rejects('E_NO_ISOLATION', () => grow(files, { ...TINY, lanes: 2 }));
  assert.equal(started, []);
});

test('a worker that dies in the middle: E_WORKER_LOST, and the next job runs', async () => {
  for (const kind of real.sharedMemory ? ['grow', 'lane'] : ['grow']) {
    started.length = 0;
    const onProgress = () => void started.find((one) => one.kind === kind)!.handle.terminate();
    const lanes = kind === 'lane' ? 2 : 1;
    const lost = await rejects('E_WORKER_LOST', () => grow(nano, { ...LONG, lanes, onProgress }));
    assert.instance(lost.cause, Error);
    assert.match(lost.message, `${kind}${kind === 'grow' ? ' worker' : ''} is gone`);
    assert.is(started.length, lanes);
    assert.equal(living(), []);
  }
  const { receipt } = await grow(await tinyFiles(), TINY);
  assert.is(receipt.sizes.experts, 4);
});

test('kernels that are elsewhere', async () => {
  const files = await tinyFiles();
  const wasmLocation = new URL('../../build', import.meta.url); // a slash is added
  assert.equal(
    await digests((await grow(files, { ...TINY, wasmLocation })).files),
    await digests((await grow(files, TINY)).files),
  );
  const nowhere = new URL('./nowhere/', import.meta.url);
  await rejects('E_FILE_NOT_FOUND', () => grow(files, { ...TINY, wasmLocation: nowhere }));
  assert.equal(living(), []);
});

if (!isFirefox()) {
  test('a script that is not there: E_WORKER_LOST, which says so', async () => {
    const nowhere = new URL('./nowhere/', import.meta.url);
    const files = await tinyFiles();
    const lost = await rejects('E_WORKER_LOST', () =>
      grow(files, { ...TINY, workerLocation: new URL('grow.js', nowhere) }),
    );
    assert.match(lost.message, 'grow worker could not be started');
    assert.match(lost.hint, 'workerLocation');
    if (real.sharedMemory) {
      const laneLocation = new URL('lane.js', nowhere);
      await rejects('E_WORKER_LOST', () => grow(files, { ...TINY, lanes: 2, laneLocation }));
    }
    assert.equal(living(), []);
  });
}

if (hasFileSystem) {
  test('into a folder: by path or URL, and an aborted job goes on where it was', async () => {
    const { mkdtemp, readdir, readFile, rm } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const { join } = await import('node:path');
    const { pathToFileURL } = await import('node:url');
    const folder = await mkdtemp(join(tmpdir(), 'espalier-grow-'));
    const read = async (out: string) => {
      const names = await readdir(out);
      return Object.fromEntries(
        await Promise.all(names.map(async (name) => [name, new Blob([await readFile(join(out, name))])] as const)),
      );
    };
    try {
      const out = join(folder, 'nano-moe');
      const controller = new AbortController();
      const abort = ({ done, total }: GrowProgress) => {
        if (done / total > 0.4) controller.abort();
      };
      let aborted = 0;
      controller.signal.addEventListener('abort', () => {
        aborted = performance.now();
      });
      await rejects('E_ABORTED', () => grow(nano, { ...LONG, out, signal: controller.signal, onProgress: abort }));
      // a worker that took longer was ended before it could clean up
      const inTime = performance.now() - aborted < 450;
      const left = await readdir(folder);
      if (inTime) assert.equal(left, ['nano-moe.partial'], 'no lock, no final name');
      else assert.ok(left.includes('nano-moe.partial') && !left.includes('nano-moe'));
      const shares: number[] = [];
      const { files, receipt } = await grow(nano, {
        ...LONG,
        out,
        onProgress: ({ done, total }) => shares.push(done / total),
      });
      assert.ok(shares[0]! > 0.1, `it began again at ${shares[0]}`);
      assert.equal(files, {});
      const written = await read(out);
      assert.is((await digests(written))['model.safetensors'], PINNED);
      assert.equal(JSON.parse(await written[RECEIPT_FILE]!.text()), JSON.parse(JSON.stringify(receipt)));
      await rejects('E_ARGUMENT', () => grow(nano, { ...LONG, out })); // it is there now
      const url = pathToFileURL(join(folder, 'by url'));
      await grow(await tinyFiles(), { ...TINY, out: url });
      const text = pathToFileURL(join(folder, 'as text')).href;
      await grow(await tinyFiles(), { ...TINY, out: text });
      assert.equal((await readdir(folder)).sort(), ['as text', 'by url', 'nano-moe']);
      assert.equal(
        await digests(await read(join(folder, 'as text'))),
        await digests(await read(join(folder, 'by url'))),
      );
      const plan = await planGrow(await tinyFiles(), { ...TINY, out: join(folder, 'planned') });
      assert.ok(plan.freeBytes! > 0);
      assert.is((await readdir(folder)).length, 3, 'a plan leaves nothing');
      assert.equal(living(), []);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('a worker that was ended in the middle leaves no lock that holds', async () => {
    const { mkdtemp, readdir, rm } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const { join } = await import('node:path');
    const folder = await mkdtemp(join(tmpdir(), 'espalier-grow-'));
    try {
      const out = join(folder, 'grown');
      const controller = new AbortController();
      const workerLocation = new URL('./busy-grow.ts', import.meta.url);
      const onProgress = () => {
        if (controller.signal.aborted) return;
        started[0]!.handle.endpoint.postMessage({ block: 60_000 });
        setTimeout(() => controller.abort(), 20);
      };
      const given = { ...LONG, out, lanes: 1 };
      const { signal } = controller;
      await rejects('E_ABORTED', () => grow(nano, { ...given, workerLocation, signal, onProgress }));
      assert.equal(living(), []);
      assert.ok(
        (await readdir(folder)).some((name) => /lock/.test(name)),
        (await readdir(folder)).join(' '),
      );
      await grow(nano, given);
      assert.equal(await readdir(folder), ['grown']);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
}

test.run();
