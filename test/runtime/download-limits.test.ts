// hosts: node, deno — starts servers

/** Downloads that end: full disks, limits, silence, aborts. */
import type { ServerResponse } from 'node:http';
import { constants, gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { folderTokenizer } from '../../src/checkpoint/safetensors/tokenizer.ts';
import { writeFailed } from '../../src/runtime/cache/cache.ts';
import type { Cache } from '../../src/runtime/cache/types.ts';
import { limitOf } from '../../src/runtime/files/file-limits.ts';
import { openModelFiles } from '../../src/runtime/files/model-files.ts';
import { rejects } from '../errors.ts';
import { soon } from '../soon.ts';
import { bend, until } from './bent-answers.ts';
import { close, given, partials, server, weightsOf } from './downloads.ts';
import { type Exchange, HubServer, noise, refuse, same, send, text } from './hub-server.ts';

test('a full disk is said by code', async () => {
  const { target, options } = await given();
  await openModelFiles(target, options);
  const cache: Cache = options.cache;
  const full: Cache = {
    ...cache,
    claim: async (blob) => {
      const { writer, loaded } = await cache.claim(blob);
      const write = async () => {
        throw writeFailed('the cache', { code: 'ENOSPC' });
      };
      return { writer: writer ? { ...writer, write } : null, loaded };
    },
  };
  await rejects('E_STORAGE_FULL', () => weightsOf(target, { ...options, cache: full }));
});

test('a server that answers and always breaks off is no missing connection', async () => {
  // as a proxy that resets whatever is large; what it answers to HEAD tells that it is there
  for (const part of [0, 3]) {
    const { bytes, target, options } = await given();
    server.intercept = ({ where, response }) => {
      if (where !== 'cdn') return false;
      if (part === 0) response.destroy();
      else {
        response.writeHead(200, { 'Content-Length': bytes.byteLength }).write(bytes.subarray(0, part));
        setTimeout(() => response.destroy(), 5);
      }
      return true;
    };
    const error = await rejects('E_DOWNLOAD', () => weightsOf(target, options));
    assert.match(error.message, /broke off, 3 times in a row/);
  }
  const { options } = await given();
  server.intercept = ({ method, response }) => {
    response.writeHead(200, { 'Content-Length': 1000, ETag: '"c"' });
    if (method === 'HEAD') response.end();
    else response.write(noise(500));
    // the connection of the answer before is gone when it is used again
    setTimeout(() => response.destroy(), 5);
    return true;
  };
  await rejects('E_DOWNLOAD', () => openModelFiles(`${server.cdn}/cut/`, options));
  server.intercept = ({ response }) => {
    response.destroy();
    return true;
  };
  for (const address of ['owner/name', `${server.cdn}/cut/`]) {
    await rejects('E_DOWNLOAD', () => openModelFiles(address, options));
  }
});

test('small files are read up to their limit, and nothing of more is kept', async () => {
  const { target, folder, options } = await given();
  let sent = 0;
  const endless = (response: ServerResponse, block = new Uint8Array(1 << 16), headers = {}): void => {
    response.writeHead(200, headers);
    const more = (): void => {
      for (let full = false; !full && !response.destroyed; sent += block.length) full = !response.write(block);
    };
    response.on('drain', more);
    more();
  };
  // much in few bytes
  const packed = gzipSync(new Uint8Array(64 << 20), { finishFlush: constants.Z_SYNC_FLUSH });
  const limit = 16 << 20;
  const answers: [RegExp, (exchange: Exchange) => void][] = [
    [/more than 16777216 bytes/, ({ response }) => endless(response)],
    [/more than 16777216 bytes/, ({ response }) => endless(response, packed, { 'Content-Encoding': 'gzip' })],
    [/600000000 bytes/, ({ response }) => void response.writeHead(200, { 'Content-Length': 600e6 }).write('{')],
  ];
  for (const [message, answer] of answers) {
    sent = 0;
    server.intercept = (exchange) => {
      if (!exchange.path.endsWith('config.json')) return false;
      if (exchange.method === 'HEAD') exchange.response.writeHead(200).end();
      else answer(exchange);
      return true;
    };
    const error = await rejects('E_CHECKPOINT_HEADER', () => openModelFiles(`${server.cdn}/big/`, options));
    assert.match(error.message, message);
    assert.ok(sent < 3 * limit, `${sent} bytes were sent`);
    assert.equal(await partials(folder), []);
    assert.equal(await options.cache.list(), []);
  }
  // weights have no limit, but a beginning
  sent = 0;
  server.intercept = (exchange) => {
    if (exchange.method === 'HEAD') exchange.response.writeHead(200).end();
    else endless(exchange.response);
    return true;
  };
  await rejects('E_CHECKPOINT_FORMAT', () => weightsOf(`${server.cdn}/endless/m.gguf`, options, 'm.gguf'));
  assert.ok(sent < limit, `${sent} bytes were sent`);
  assert.equal(await partials(folder), []);
  // a hub says sizes before
  server.repositories.get(target)!.files['tokenizer.json']!.listed = { size: 900e6 };
  server.reset();
  assert.match(
    (await rejects('E_CHECKPOINT_HEADER', () => openModelFiles(target, options))).message,
    /900000000 bytes/,
  );
  assert.equal(server.seen(/tokenizer\.json/), []);
});

test('limits are those that files of a disk have', async () => {
  for (const [name, limit] of [
    ['config.json', 16 << 20],
    ['tokenizer.json', 256 << 20],
    ['chat_template.jinja', 4 << 20],
  ] as const) {
    assert.is(limitOf(name), limit);
    // a file that says so and holds nothing
    const content = new Blob([]);
    Object.defineProperty(content, 'size', { value: limit + 1 });
    const model = await given();
    const files = { 'config.json': text('{}'), 'model.safetensors': model.bytes, [name]: content };
    if (name === 'config.json') await rejects('E_CHECKPOINT_HEADER', () => openCheckpoint(files));
    else {
      const rest = { 'tokenizer.json': text('{}'), ...files };
      const opened = await openModelFiles(rest);
      await rejects('E_CHECKPOINT_HEADER', () => folderTokenizer(opened));
    }
  }
  for (const name of ['model.safetensors', 'a/b.Q4_0.gguf']) assert.is(limitOf(name), null);
});

test('a byte now and then is silence', async () => {
  const { bytes, target, options } = await given();
  server.intercept = (exchange) => {
    if (exchange.where !== 'cdn') return false;
    send(exchange, bytes, { slow: { bytes: 1, pause: 20 } });
    return true;
  };
  const hub = { ...options.hub, timeout: 300, retries: 1 };
  const error = await rejects('E_DOWNLOAD', () => weightsOf(target, { ...options, hub }));
  assert.match(error.message, /next to nothing arrived for 0.3 s, 2 times/);
});

test('a date to come back at is kept to', async () => {
  const { bytes, target, options } = await given();
  const times: number[] = [];
  const at = new Date(Math.ceil(Date.now() / 1000) * 1000 + 1000);
  bend(
    ({ response }) => void response.writeHead(429, { 'Retry-After': at.toUTCString() }).end(),
    (exchange) => {
      times.push(Date.now());
      send(exchange, bytes);
    },
  );
  same(await weightsOf(target, options), bytes);
  assert.ok(times[0]! >= at.getTime() - 10);
});

test('an abort ends it within a second, whatever is waited for', async () => {
  const waits: [string, (exchange: Exchange) => void][] = [
    ['an answer', () => {}],
    ['a pause', (exchange) => refuse(exchange, 503)],
    ['a long pause', ({ response }) => void response.writeHead(503, { 'Retry-After': '50' }).end()],
    ['a redirect', ({ response, path }) => void response.writeHead(302, { Location: `${path}?again` }).end()],
  ];
  for (const where of ['cdn', 'hub'] as const) {
    for (const [what, answer] of waits) {
      const { target, options } = await given();
      let asked = false;
      server.intercept = (exchange) => {
        if (exchange.where !== where) return false;
        asked = true;
        answer(exchange);
        return true;
      };
      const controller = new AbortController();
      const { signal } = controller;
      const hub = { ...options.hub, retryDelay: 100_000 };
      const aborted = weightsOf(target, { ...options, hub, signal }).catch((e) => e);
      await until(() => asked);
      controller.abort();
      await soon(() => aborted, 1000);
      const error = await aborted;
      // who is sent in a circle may have ended by himself
      assert.ok(error.code === 'E_ABORTED' || what === 'a redirect', `${what}: ${error}`);
    }
  }
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

test('done', close);
test.run();
