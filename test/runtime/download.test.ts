// hosts: node, deno — starts servers
/** Downloads that are cut, changed, damaged, refused, or made twice at once. */

import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { folderCache } from '../../src/runtime/cache/folder.ts';
import { openModelFiles } from '../../src/runtime/files/model-files.ts';
import type { DownloadProgress } from '../../src/runtime/hub/download-progress.ts';
import { rejects } from '../errors.ts';
import { scriptCommand } from '../hosts/script.ts';
import { bend, continued, ranges, SILENT, until } from './bent-answers.ts';
import { close, cutAfter, given, kept, partials, SIZE, server, WEIGHTS, weightsOf } from './downloads.ts';
import { type Exchange, noise, refuse, same, send, sha256, text } from './hub-server.ts';

test('a connection that is cut is taken up where it ended', async () => {
  const { bytes, target, folder, options, calls } = await given();
  bend((exchange) => send(exchange, bytes, cutAfter(100_000, options.cache)));
  same(await weightsOf(target, options), bytes);
  continued(100_000);
  assert.equal(await partials(folder), []);
  const own = calls.filter(({ file }) => file === WEIGHTS);
  assert.ok(own.every(({ loaded }, i) => i === 0 || loaded >= own[i - 1]!.loaded));
  const { file, loaded, total } = own.at(-1)!;
  assert.equal({ file, loaded, total }, { file: WEIGHTS, loaded: SIZE, total: SIZE });
});

test('a server that answers with the whole file is not trusted with the rest', async () => {
  const { bytes, target, options } = await given();
  bend(
    (exchange) => send(exchange, bytes, cutAfter(100_000, options.cache)),
    (exchange) => send(exchange, bytes, { ignoreRange: true }),
  );
  same(await weightsOf(target, options), bytes);
  continued(100_000);
});

test('a connection that is always cut ends with what was loaded kept, and a later run goes on', async () => {
  const { bytes, target, folder, options } = await given();
  const cut = (exchange: Exchange) => send(exchange, bytes, cutAfter(50_000, options.cache));
  bend(cut, cut, cut);
  const error = await rejects('E_DOWNLOAD', () => weightsOf(target, options));
  assert.match(`${error.message} ${error.hint}`, /the connection broke off, 3 times in a row.* after the \d+ bytes/);
  assert.ok(error.cause);
  continued(50_000, 100_000);
  assert.is((await partials(folder)).length, 1);
  // as another process: nothing but the folder is the same
  const later = { ...options, cache: await folderCache(folder) };
  same(await weightsOf(target, later), bytes);
  continued(50_000, 100_000, 150_000);
  assert.equal(await partials(folder), []);
});

test('a long download may be cut more often, as long as it gets on', async () => {
  const STEP = (5 << 20) / 4;
  const { bytes, target, options } = await given(7 << 20);
  const cut = (exchange: Exchange) => send(exchange, bytes, cutAfter(STEP, options.cache));
  bend(cut, cut, cut, cut, cut);
  same(await weightsOf(target, options), bytes);
  continued(STEP, 2 * STEP, 3 * STEP, 4 * STEP, 5 * STEP);
});

test('a process that was killed is continued', async () => {
  const { bytes, target, folder, options } = await given();
  bend((exchange) => send(exchange, bytes, SILENT));
  const [program, ...args] = scriptCommand(new URL('download-child.ts', import.meta.url));
  const child = spawn(program!, [...args, server.endpoint, folder, target], { stdio: 'inherit' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await until(async () => (await kept(options.cache)) === 100_000);
  // it lives: nobody takes its file away
  assert.equal(await options.cache.claim(`sha256-${sha256(bytes)}`), { writer: null, loaded: 100_000 });
  child.kill('SIGKILL');
  await ended;
  same(await weightsOf(target, options), bytes);
  continued(100_000);
});

test('what was kept and is damaged is found, and loaded anew', async () => {
  for (const [length, restart] of [
    [100_000, 'bytes=100000-'],
    [SIZE, undefined],
    [SIZE + 5, undefined],
  ] as const) {
    const { bytes, target, folder, options } = await given();
    const { writer } = await options.cache.claim(`sha256-${sha256(bytes)}`);
    await writer!.write(noise(length));
    await writer!.release();
    same(await weightsOf(target, options), bytes);
    assert.equal(ranges(), restart ? [restart, undefined] : [undefined]);
    assert.equal(await partials(folder), []);
  }
});

test('what was kept whole needs no request', async () => {
  const { bytes, target, options } = await given();
  const { writer } = await options.cache.claim(`sha256-${sha256(bytes)}`);
  await writer!.write(bytes);
  await writer!.release();
  same(await weightsOf(target, options), bytes);
  assert.equal(ranges(), []);
});

test('wrong content and wrong lengths have a code, and leave nothing', async () => {
  const wrong = noise(SIZE);
  const faults: [RegExp, (exchange: Exchange, bytes: Uint8Array) => void][] = [
    [/sha256 is [0-9a-f]{64} instead of/, (exchange) => send(exchange, wrong)],
    [/299999 bytes instead of 300000/, (exchange, bytes) => send(exchange, bytes.subarray(1))],
    [/300001 bytes instead of 300000/, (exchange) => send(exchange, noise(SIZE + 1))],
    [/more than its 300000/, (exchange) => send(exchange, noise(SIZE + 1), { chunked: true })],
    [
      /ends after 200000 of 300000/,
      (exchange) => send(exchange, wrong.subarray(0, 200_000), { chunked: true, ignoreRange: true }),
    ],
    [/200000 bytes instead of 300000/, (exchange) => send(exchange, wrong.subarray(0, 200_000), { chunked: true })],
  ];
  for (const [message, fault] of faults) {
    const { bytes, target, folder, options } = await given();
    const bent = (exchange: Exchange) => fault(exchange, bytes);
    bend(bent, bent, bent, bent);
    const error = await rejects('E_DOWNLOAD_CORRUPT', () => weightsOf(target, options));
    assert.match(error.message, message);
    assert.equal(await partials(folder), []);
    server.reset();
    same(await weightsOf(target, options), bytes, 'the next run is not burdened with it');
  }
});

test('small files are checked too, by their git sum', async () => {
  const { target, options } = await given();
  server.intercept = (exchange) => {
    if (!exchange.path.endsWith('config.json')) return false;
    send(exchange, text('[]'));
    return true;
  };
  const error = await rejects('E_DOWNLOAD_CORRUPT', () => openModelFiles(target, options));
  assert.match(error.message, /config\.json .*sha1 is/);
});

test('a server that fails in passing is asked again; one that refuses is not', async () => {
  const { bytes, target, options } = await given();
  bend(
    (exchange) => refuse(exchange, 500),
    (exchange) => refuse(exchange, 429),
  );
  same(await weightsOf(target, options), bytes);
  for (const [status, message] of [
    [404, /There is no .*model\.safetensors .*404/],
    [403, /private, gated/],
    [400, /HTTP 400/],
  ] as const) {
    const next = await given();
    bend((exchange) => refuse(exchange, status));
    assert.match((await rejects('E_DOWNLOAD', () => weightsOf(next.target, next.options))).message, message);
    assert.is(ranges().length, 1);
  }
  const last = await given();
  const fail = (exchange: Exchange) => refuse(exchange, 503);
  bend(fail, fail, fail);
  assert.match((await rejects('E_DOWNLOAD', () => weightsOf(last.target, last.options))).message, /HTTP 503, 3 times/);
});

test('a server is given the time that it asks for', async () => {
  const { bytes, target, options } = await given();
  const times: number[] = [];
  bend(
    ({ response }) => {
      times.push(performance.now());
      response.writeHead(503, { 'Retry-After': '1' }).end();
    },
    (exchange) => {
      times.push(performance.now());
      send(exchange, bytes);
    },
  );
  same(await weightsOf(target, options), bytes);
  // a busy machine makes it longer, and never shorter
  assert.ok(times[1]! - times[0]! >= 990, times.join());
});

test('a server that falls silent is given up', async () => {
  const { bytes, target, options } = await given();
  // from the beginning nobody comes further than this; a busy machine may try more than once to come so far
  server.intercept = (exchange) => {
    if (exchange.where !== 'cdn' || exchange.range !== undefined) return false;
    send(exchange, bytes, SILENT);
    return true;
  };
  const hub = { ...options.hub, timeout: 500, retries: 100 };
  same(await weightsOf(target, { ...options, hub }), bytes);
  assert.match(ranges().at(-1) ?? '', /^bytes=[1-9]\d*-$/);
});

test('an abort ends a download at once, and what was loaded is kept', async () => {
  const { bytes, target, folder, options } = await given();
  bend((exchange) => send(exchange, bytes, SILENT));
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = rejects('E_ABORTED', () => weightsOf(target, { ...options, signal }));
  await until(async () => (await kept(options.cache)) === 100_000);
  const started = performance.now();
  controller.abort('enough');
  assert.is((await aborted).cause, 'enough');
  // after 120 s of silence it would end by itself
  assert.ok(performance.now() - started < 60_000);
  assert.is(await kept(options.cache), 100_000);
  await rejects('E_ABORTED', () => weightsOf(target, { ...options, signal }));
  same(await weightsOf(target, options), bytes);
  continued(100_000);
  assert.equal(await partials(folder), []);
});

test('what a listener throws comes out, and the file is kept', async () => {
  const { target, options } = await given();
  const onDownload = ({ loaded }: DownloadProgress) => {
    if (loaded > 1000) throw new RangeError('of the caller');
  };
  try {
    await weightsOf(target, { ...options, onDownload });
    assert.unreachable();
  } catch (error) {
    assert.instance(error, RangeError);
  }
  assert.ok((await options.cache.list()).some(({ kind, bytes }) => kind === 'partial' && bytes > 0));
});

test('two at once load once, and both have it', async () => {
  const { bytes, target, folder, options } = await given();
  bend((exchange) => send(exchange, bytes, { slow: { bytes: 100_000, pause: 60 } }));
  const both = await Promise.all([
    weightsOf(target, options),
    weightsOf(target, { ...options, cache: await folderCache(folder) }),
  ]);
  same(both, [bytes, bytes]);
  assert.equal(ranges(), [undefined]);
});

test('when the one who loads gives up, the one who waits goes on', async () => {
  const { bytes, target, options } = await given();
  bend((exchange) => send(exchange, bytes, SILENT));
  const controller = new AbortController();
  const first = rejects('E_ABORTED', () => weightsOf(target, { ...options, signal: controller.signal }));
  await until(async () => (await kept(options.cache)) === 100_000);
  const seen: DownloadProgress[] = [];
  const second = weightsOf(target, { ...options, onDownload: (progress) => void seen.push(progress) });
  // what it has not loaded itself
  await until(() => seen.some(({ file, loaded }) => file === WEIGHTS && loaded === 100_000));
  controller.abort();
  await first;
  same(await second, bytes);
  continued(100_000);
});

test('a truncated blob is loaded again', async () => {
  const { bytes, target, folder, options } = await given();
  await weightsOf(target, options);
  await writeFile(join(folder, 'blobs', `sha256-${sha256(bytes)}`), bytes.subarray(1));
  same(await weightsOf(target, options), bytes);
  assert.is(ranges().length, 2);
});

test('done', close);
test.run();
