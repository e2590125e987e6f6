// hosts: node, deno — starts servers
/** Answers that are not what was asked for, where nothing but the answer tells what the content must be. */
import { createServer, type Socket } from 'node:net';
import { deflateSync, gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { rejects } from '../errors.ts';
import { close, cutAfter, type Given, given, SIZE, server, weightsOf } from './downloads.ts';
import { type Behaviour, type Exchange, noise, same, send, weights } from './hub-server.ts';

let pages = 0;

/** A GGUF file at an address, whose length the server does not say, and which is cut after 100,000 bytes the first time. */
async function cut(version: Behaviour, then: (exchange: Exchange, from: number) => boolean): Promise<Given> {
  const one = await given(0);
  const path = `/answers/m${++pages}.gguf`;
  const served = { bytes: weights(SIZE), chunked: true, ...version };
  server.pages.set(path, served);
  let bodies = 0;
  server.intercept = (exchange) => {
    if (exchange.path !== path || exchange.method !== 'GET') return false;
    if (bodies++ === 0) {
      send(exchange, served.bytes, { ...served, ...cutAfter(100_000, one.options.cache) });
      return true;
    }
    const from = Number(/^bytes=(\d+)-$/.exec(exchange.range ?? '')?.[1] ?? 0);
    return then(exchange, from);
  };
  return { ...one, bytes: served.bytes, target: `${server.cdn}${path}` };
}

const load = ({ target, options }: Given): Promise<Uint8Array> =>
  weightsOf(target, options, target.slice(target.lastIndexOf('/') + 1));
const ETAG = { etag: '"one"' };

test('a part that does not say which one it is, is another one, or is compressed, is not put behind what is there', async () => {
  const answers: Record<string, (from: number) => Record<string, string>> = {
    'no range': () => ({}),
    'a range that is none': () => ({ 'Content-Range': 'bytes some/all' }),
    'another range': (from) => ({ 'Content-Range': `bytes ${from - 1}-${SIZE - 1}/${SIZE}` }),
    'the beginning': () => ({ 'Content-Range': `bytes 0-${SIZE - 1}/${SIZE}` }),
    'several ranges': () => ({ 'Content-Type': 'multipart/byteranges; boundary=x' }),
    compressed: (from) => ({ 'Content-Range': `bytes ${from}-${SIZE - 1}/${SIZE}`, 'Content-Encoding': 'gzip' }),
  };
  for (const [name, headers] of Object.entries(answers)) {
    let parts = 0;
    const one = await cut(ETAG, ({ response }, from) => {
      if (from === 0) return false;
      parts++;
      const head = headers(from);
      // of the right length, so that nothing else shows it
      const part = noise(SIZE - from);
      response.writeHead(206, { ETag: ETAG.etag, ...head });
      response.end(head['Content-Encoding'] ? gzipSync(part) : part);
      return true;
    });
    same(await load(one), one.bytes, name);
    assert.is(parts, 1, name);
  }
});

test('parts that are shorter than what was asked for are put together', async () => {
  const one = await cut(ETAG, ({ response }, from) => {
    if (from === 0) return false;
    const end = Math.min(SIZE, from + 120_000);
    const range = `bytes ${from}-${end - 1}/${SIZE}`;
    response.writeHead(206, { ETag: ETAG.etag, 'Content-Range': range, 'Content-Length': end - from });
    response.end(one.bytes.subarray(from, end));
    return true;
  });
  same(await load(one), one.bytes);
});

test('a time of change within the second before is no proof that the file is the same', async () => {
  const changed = new Date().toUTCString();
  for (const [lastModified, goesOn] of [
    [changed, false],
    ['Mon, 24 Nov 2025 10:00:00 GMT', true],
  ] as const) {
    const ranges: (string | undefined)[] = [];
    const one = await cut({ lastModified }, ({ range, response }) => {
      ranges.push(range);
      response.setHeader('Date', changed);
      return false;
    });
    const { intercept } = server;
    server.intercept = (exchange) => {
      exchange.response.setHeader('Date', changed);
      return intercept(exchange);
    };
    same(await load(one), one.bytes);
    assert.equal(ranges, [goesOn ? 'bytes=100000-' : undefined], lastModified);
  }
});

test('an answer without content is no empty file', async () => {
  for (const status of [204, 205, 202]) {
    const { options } = await given(0);
    const path = `/answers/m${++pages}.gguf`;
    server.intercept = ({ response }) => {
      response.writeHead(status, ETAG).end();
      return true;
    };
    const one = { target: `${server.cdn}${path}`, options } as Given;
    assert.match((await rejects('E_DOWNLOAD', () => load(one))).message, /HTTP 20|There is no/);
    assert.equal(await options.cache.list(), []);
  }
});

test('what is packed unasked is unpacked', async () => {
  const content = weights(3 * SIZE);
  for (const [coding, packed] of Object.entries({ gzip: gzipSync(content), deflate: deflateSync(content) })) {
    const { options } = await given(0);
    server.intercept = ({ response }) => {
      response.writeHead(200, { 'Content-Encoding': coding, 'Content-Length': packed.length }).end(packed);
      return true;
    };
    const one = { target: `${server.cdn}/answers/m${++pages}.gguf`, options } as unknown as Given;
    same(await load(one), content, coding);
  }
});

test('what cannot be unpacked ends, also where the host says nothing of it', async () => {
  const content = weights(3 * SIZE);
  const packed = gzipSync(content);
  const broken = packed.slice();
  broken[broken.length - 6]! ^= 1; // of its checksum
  const bodies = { 'more behind it': Buffer.concat([packed, Buffer.from('more')]), checksum: broken };
  for (const [name, body] of Object.entries(bodies)) {
    const { options } = await given(0);
    server.intercept = ({ response }) => {
      response.writeHead(200, { 'Content-Encoding': 'gzip', 'Content-Length': body.length }).end(body);
      return true;
    };
    const target = `${server.cdn}/answers/m${++pages}.gguf`;
    const hub = { ...options.hub, retries: 1, timeout: 500 };
    const signal = AbortSignal.timeout(20_000);
    const outcome = await load({ target, options: { ...options, hub, signal } } as unknown as Given).catch(
      (error) => error.code,
    );
    if (outcome instanceof Uint8Array) same(outcome, content, name);
    else assert.is(outcome, 'E_DOWNLOAD', name);
  }
});

test('who answers, but not with HTTP, is there', async () => {
  const answers: Record<string, (socket: Socket) => void> = {
    'something else': (socket) => socket.end('HELLO\r\n\r\n'),
    'HTTP/2 alone': (socket) => socket.end(Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0)),
    'no length': (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n'),
    'endless headers': (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      for (let i = 0; i < 6000; i++) socket.write(`X-${i}: ${'y'.repeat(200)}\r\n`);
      socket.end('\r\n');
    },
    nothing: (socket) => socket.end(),
  };
  for (const scheme of ['http', 'https']) {
    for (const [name, answer] of Object.entries(answers)) {
      const other = createServer((socket) => {
        socket.on('error', () => {});
        socket.once('data', () => answer(socket));
      });
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
      const { options } = await given(0);
      const target = `${scheme}://127.0.0.1:${(other.address() as { port: number }).port}/m.gguf`;
      try {
        const { message } = await rejects('E_DOWNLOAD', () => load({ target, options } as Given));
        assert.match(message, /broke off|does not answer as a web server does/, `${scheme}, ${name}`);
      } catch (error) {
        throw new Error(`${scheme}, ${name}: ${error}`);
      } finally {
        await new Promise((resolve) => other.close(resolve));
      }
    }
  }
});

test('done', close);
test.run();
