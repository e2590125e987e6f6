// hosts: node, deno — starts servers
/** Downloads that are cut, changed, damaged, aborted, or made twice at once; and addresses that are no hub. */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Cache } from '../../src/runtime/cache.ts';
import { folderCache } from '../../src/runtime/cache-folder.ts';
import { openModelFiles, readWhole } from '../../src/runtime/files.ts';
import type { DownloadProgress } from '../../src/runtime/meter.ts';
import type { FilesOptions } from '../../src/runtime/session.ts';
import type { ModelFiles } from '../../src/runtime/source.ts';
import { rejects } from '../errors.ts';
import { type Behaviour, type Exchange, HubServer, noise, refuse, same, send, sha256, text } from './hub-server.ts';

const SIZE = 300_000;
const WEIGHTS = 'model.safetensors';
const root = await mkdtemp(join(tmpdir(), 'espalier-download-'));
const server = await HubServer.start();
let count = 0;

interface Given {
  readonly bytes: Uint8Array;
  readonly target: string;
  readonly folder: string;
  readonly options: FilesOptions & { readonly cache: Cache };
  readonly calls: DownloadProgress[];
}

/** A model of the hub that nobody has downloaded yet, and a cache for it. */
async function given(size = SIZE): Promise<Given> {
  server.reset();
  const bytes = noise(size);
  const target = `owner/model${++count}`;
  server.add(target, {
    'config.json': { bytes: text('{}') },
    'tokenizer.json': { bytes: text('{}') },
    [WEIGHTS]: { bytes, lfs: true },
  });
  const folder = join(root, String(count));
  const calls: DownloadProgress[] = [];
  const onDownload = (progress: DownloadProgress) => void calls.push(progress);
  const hub = { endpoint: server.endpoint, retries: 2, retryDelay: 2, timeout: 1000 };
  return { bytes, target, folder, calls, options: { hub, onDownload, cache: await folderCache(folder) } };
}

/** Bends the answers for the weights, one after the other; afterwards they are as they should be. */
function bend(...answers: ((exchange: Exchange) => void)[]): void {
  server.intercept = (exchange) => {
    const answer = exchange.where === 'cdn' ? answers.shift() : undefined;
    answer?.(exchange);
    return answer !== undefined;
  };
}

async function contentOf(files: ModelFiles): Promise<Record<string, Uint8Array>> {
  const content: Record<string, Uint8Array> = {};
  for (const name of files.names) {
    const source = await files.open(name);
    content[name] = await readWhole(source, 1 << 24);
    await source.close();
  }
  return content;
}

async function weightsOf(target: string, options: FilesOptions, name = WEIGHTS): Promise<Uint8Array> {
  const source = await (await openModelFiles(target, options)).open(name);
  const content = await readWhole(source, 1 << 24);
  await source.close();
  return content;
}

const ranges = (): (string | undefined)[] => server.seen('cdn').map(({ range }) => range);

/**
 * The weights were asked for from the beginning, then each time from where the last connection ended: at most what it was sent,
 * since a connection that breaks may lose what is on its way.
 */
function continued(...sent: number[]): void {
  const offsets = ranges().map((range) => (range === undefined ? 0 : Number(/^bytes=(\d+)-$/.exec(range)?.[1])));
  assert.is(offsets.length, sent.length + 1);
  assert.is(offsets[0], 0);
  sent.forEach((limit, i) => {
    assert.ok(offsets[i + 1]! > offsets[i]! && offsets[i + 1]! <= limit, offsets.join());
  });
}

const partials = async (folder: string): Promise<string[]> => (await readdir(join(folder, 'partial'))).sort();

test('a connection that is cut is taken up where it ended', async () => {
  const { bytes, target, folder, options, calls } = await given();
  bend((exchange) => send(exchange, bytes, { cutAfter: 100_000 }));
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
    (exchange) => send(exchange, bytes, { cutAfter: 100_000 }),
    (exchange) => send(exchange, bytes, { ignoreRange: true }),
  );
  same(await weightsOf(target, options), bytes);
  continued(100_000);
});

test('a connection that is always cut ends with what was loaded kept, and a later run goes on', async () => {
  const { bytes, target, folder, options } = await given();
  const cut = (exchange: Exchange) => send(exchange, bytes, { cutAfter: 50_000 });
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
  const { bytes, target, options } = await given(7 << 20);
  const cut = (exchange: Exchange) => send(exchange, bytes, { cutAfter: (5 << 20) / 4 });
  bend(cut, cut, cut, cut, cut);
  same(await weightsOf(target, options), bytes);
  assert.is(ranges().length, 6);
});

test('a process that was killed is continued', async () => {
  const { Deno } = globalThis as { Deno?: unknown };
  if (Deno) {
    console.log('  skipped: the child is started as Node starts it');
    return;
  }
  const { bytes, target, folder, options } = await given();
  bend((exchange) => send(exchange, bytes, { slow: { bytes: 100_000, pause: 100_000 } }));
  const script = fileURLToPath(new URL('download-child.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', script, server.endpoint, folder, target], {
    stdio: 'inherit',
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const list = async () => (await options.cache.list()).find(({ kind }) => kind === 'partial');
  for (let wait = 0; (await list())?.bytes !== 100_000 && wait < 500; wait++)
    await new Promise((r) => setTimeout(r, 20));
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
  bend(({ response }) => response.writeHead(503, { 'Retry-After': '1' }).end());
  const started = performance.now();
  same(await weightsOf(target, options), bytes);
  assert.ok(performance.now() - started >= 990);
});

test('a server that falls silent is given up', async () => {
  const { bytes, target, options } = await given();
  bend((exchange) => send(exchange, bytes, { slow: { bytes: 100_000, pause: 100_000 } }));
  const hub = { ...options.hub, timeout: 150 };
  same(await weightsOf(target, { ...options, hub }), bytes);
  continued(100_000);
});

test('an abort ends a download at once, and what was loaded is kept', async () => {
  const { bytes, target, folder, options } = await given();
  bend((exchange) => send(exchange, bytes, { slow: { bytes: 100_000, pause: 100_000 } }));
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = rejects('E_ABORTED', () => weightsOf(target, { ...options, signal }));
  const kept = async () => (await options.cache.list()).find(({ kind }) => kind === 'partial')?.bytes;
  while ((await kept()) !== 100_000) await new Promise((resolve) => setTimeout(resolve, 5));
  const started = performance.now();
  controller.abort('enough');
  assert.is((await aborted).cause, 'enough');
  assert.ok(performance.now() - started < 200);
  assert.is(await kept(), 100_000);
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
  bend((exchange) => send(exchange, bytes, { slow: { bytes: 100_000, pause: 100_000 } }));
  const controller = new AbortController();
  const first = rejects('E_ABORTED', () => weightsOf(target, { ...options, signal: controller.signal }));
  while (ranges().length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const second = weightsOf(target, options);
  setTimeout(() => controller.abort(), 100);
  await first;
  assert.equal(await second, bytes);
  continued(100_000);
});

test('a truncated blob is loaded again', async () => {
  const { bytes, target, folder, options } = await given();
  await weightsOf(target, options);
  await writeFile(join(folder, 'blobs', `sha256-${sha256(bytes)}`), bytes.subarray(1));
  same(await weightsOf(target, options), bytes);
  assert.is(ranges().length, 2);
});

test('a full disk is said by code', async () => {
  if (process.platform !== 'linux') return;
  const { bytes, target, folder, options } = await given();
  await openModelFiles(target, options);
  await symlink('/dev/full', join(folder, 'partial', `sha256-${sha256(bytes)}.idle-00`));
  await rejects('E_STORAGE_FULL', () => weightsOf(target, options));
});

test('nobody listens', async () => {
  const { target, options } = await given();
  const gone = await HubServer.start();
  await gone.close();
  const hub = { ...options.hub, endpoint: gone.endpoint };
  assert.match(
    (await rejects('E_OFFLINE', () => weightsOf(target, { ...options, hub }))).message,
    /could not be reached/,
  );
  for (const address of [`${gone.endpoint}/a.gguf`, `${gone.endpoint}/a/b/c/`]) {
    await rejects('E_OFFLINE', () => openModelFiles(address, options));
  }
});

// ---- addresses that are no hub

/** A GGUF file at an address of its own. */
async function page(behaviour: Behaviour, size = SIZE): Promise<Given & { served: { bytes: Uint8Array } & Behaviour }> {
  const { options, folder, calls } = await given(0);
  const path = `/files/m${count}.gguf`;
  const served = { bytes: noise(size), ...behaviour };
  server.pages.set(path, served);
  return { bytes: served.bytes, target: `${server.cdn}${path}`, folder, options, calls, served };
}

const gguf = (target: string, options: FilesOptions): Promise<Uint8Array> =>
  weightsOf(target, options, target.slice(target.lastIndexOf('/') + 1).replace(/\?.*/, ''));
const offline = (options: FilesOptions): FilesOptions => ({ ...options, hub: { ...options.hub, offline: true } });
const bodies = (): Exchange[] => server.seen('cdn').filter(({ method }) => method === 'GET');

test('a file by its address is asked for its version and loaded once', async () => {
  for (const version of [{ etag: '"one"' }, { etag: 'W/"weak"' }, { lastModified: 'Mon, 24 Nov 2025 10:00:00 GMT' }]) {
    const { bytes, target, options, served } = await page(version);
    await rejects('E_OFFLINE', () => gguf(target, offline(options)));
    same(await gguf(target, options), bytes);
    same(await gguf(target, options), bytes);
    assert.is(bodies().length, 1);
    assert.is((await options.cache.list())[0]!.name, target);
    // another version replaces it
    served.bytes = noise(1000);
    if (served.etag) served.etag = served.etag.replace(/"$/, '2"');
    else served.lastModified = 'Mon, 24 Nov 2025 11:00:00 GMT';
    same(await gguf(target, options), served.bytes);
    assert.is((await options.cache.list()).length, 1, 'and the old one is gone');
    same(await gguf(target, offline(options)), served.bytes);
    await rejects('E_OFFLINE', () => gguf(`${target}?other`, offline(options)));
  }
});

test('a server that names no version is asked anew each time', async () => {
  const { bytes, target, options, served } = await page({});
  same(await gguf(target, options), bytes);
  served.bytes = noise(SIZE);
  same(await gguf(target, options), served.bytes);
  assert.is((await options.cache.list()).length, 1);
  same(await gguf(target, offline(options)), served.bytes);
});

test('a cut one goes on if the server can tell that it is the same, else from zero', async () => {
  for (const [version, again] of [
    [{ etag: '"one"' }, true],
    [{ lastModified: 'Mon, 24 Nov 2025 10:00:00 GMT' }, true],
    [{ etag: 'W/"weak"' }, false],
    [{}, false],
  ] as const) {
    const { bytes, target, options } = await page(version);
    let cut = 0;
    server.intercept = (exchange) => {
      if (exchange.method !== 'GET' || cut++ > 0) return false;
      send(exchange, bytes, { ...version, cutAfter: 100_000 });
      return true;
    };
    same(await gguf(target, options), bytes);
    const [first, last, ...more] = bodies();
    assert.equal([first!.range, more], [undefined, []]);
    assert.is(last!.range !== undefined, again);
    const strong = 'etag' in version ? version.etag : 'lastModified' in version ? version.lastModified : undefined;
    assert.is(last!.request.headers['if-range'], again ? strong : undefined);
  }
});

test('a file that changes while it is loaded is begun anew, and never mixed', async () => {
  for (const honours of [true, false]) {
    const { bytes, target, folder, options, served } = await page({ etag: '"one"' });
    let cut = 0;
    server.intercept = (exchange) => {
      if (exchange.method !== 'GET' || cut++ > 0) return false;
      send(exchange, bytes, { etag: '"one"', cutAfter: 100_000 });
      served.bytes = noise(SIZE);
      served.etag = '"two"';
      // one that takes If-Range for Range sends the rest of something else
      if (!honours) delete exchange.request.headers['if-range'];
      return true;
    };
    same(await gguf(target, options), served.bytes);
    assert.equal(await partials(folder), []);
    assert.is((await options.cache.list()).length, 1);
  }
  const { target, options } = await page({});
  let version = 0;
  server.intercept = (exchange) => {
    send(exchange, noise(10), { etag: `"${version++}"` });
    return true;
  };
  assert.match((await rejects('E_DOWNLOAD', () => gguf(target, options))).message, /keeps changing/);
});

test('a server that refuses to be asked without giving, and one that says no length', async () => {
  const { bytes, target, options } = await page({ etag: '"one"', chunked: true });
  server.intercept = (exchange) => {
    if (exchange.method === 'HEAD') refuse(exchange, 403);
    return exchange.method === 'HEAD';
  };
  same(await gguf(target, options), bytes);
  same(await gguf(`${target}?signature=x`, options), bytes);
  const empty = await page({ etag: '"none"' }, 0);
  assert.is((await gguf(empty.target, empty.options)).length, 0);
});

test('a folder by its address: files by name, optional ones where they are', async () => {
  const { options } = await given(0);
  const content: Record<string, Uint8Array> = {
    'config.json': text('{}'),
    'tokenizer.json': text('{"x":1}'),
    'chat_template.jinja': text('{{ x }}'),
    'model.safetensors': noise(1000),
  };
  for (const [name, bytes] of Object.entries(content))
    server.pages.set(`/folder/${name}`, { bytes, etag: `"${sha256(bytes)}"` });
  // what some servers give for what they lack
  server.pages.set('/folder/special_tokens_map.json', { bytes: text('<html>'), type: 'text/html; charset=utf-8' });
  const base = `${server.cdn}/folder/`;
  const names = ['config.json', 'tokenizer.json', 'chat_template.jinja', 'model.safetensors'];
  for (const target of [base, `${base}model.safetensors`, `${base}model.safetensors?sig=1`]) {
    const files = await openModelFiles(target, options);
    assert.equal(files.names, names);
    assert.is(files.preferred, target === base ? undefined : 'model.safetensors');
    same(await contentOf(files), content);
  }
  server.reset();
  same(await contentOf(await openModelFiles(base, offline(options))), content);
  assert.is(server.log.length, 0);

  const index = { weight_map: { a: 'model-1-of-2.safetensors', b: 'model-2-of-2.safetensors', c: '../x.safetensors' } };
  const shards = ['model-1-of-2.safetensors', 'model-2-of-2.safetensors'];
  for (const name of ['config.json', 'tokenizer.json']) server.pages.set(`/shards/${name}`, { bytes: text('{}') });
  for (const name of shards) server.pages.set(`/shards/${name}`, { bytes: noise(10) });
  server.pages.set('/shards/model.safetensors.index.json', { bytes: text(JSON.stringify(index)) });
  for (const target of [`${server.cdn}/shards/`, `${server.cdn}/shards/${shards[1]}`]) {
    const files = await openModelFiles(target, options);
    assert.equal(files.names, ['config.json', 'tokenizer.json', 'model.safetensors.index.json', ...shards]);
  }
  server.pages.delete(`/shards/${shards[1]}`);
  await rejects('E_DOWNLOAD', () => openModelFiles(`${server.cdn}/shards/`, options));
  const missing = await rejects('E_DOWNLOAD', () => openModelFiles(`${server.cdn}/nothing/`, options));
  assert.match(missing.message, /nothing\/config\.json/);
});

test('addresses with secrets in them are not shown', async () => {
  const { target, options, folder } = await page({ etag: '"one"' });
  await gguf(`${target}?signature=secret`, options);
  for (const ref of await readdir(join(folder, 'refs'))) {
    assert.not.match(ref + (await readFile(join(folder, 'refs', ref), 'utf8')), 'secret');
  }
  const error = await rejects('E_DOWNLOAD', () => gguf(`${server.cdn}/no.gguf?signature=secret`, options));
  assert.not.match(`${error.message} ${error.hint}`, 'secret');
});

test('done', async () => {
  await server.close();
  await rm(root, { recursive: true });
});
test.run();
