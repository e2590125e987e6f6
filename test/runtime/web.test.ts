// hosts: node, deno — starts servers
/** Models at addresses that are no hub: versions, changes, folders by name, and what is not shown. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openModelFiles } from '../../src/runtime/files/model-files.ts';
import type { FilesOptions } from '../../src/runtime/hub/options.ts';
import { rejects } from '../errors.ts';
import {
  close,
  contentOf,
  cutAfter,
  type Given,
  given,
  offline,
  partials,
  SIZE,
  server,
  weightsOf,
} from './downloads.ts';
import { type Behaviour, type Exchange, noise, refuse, same, send, sha256, text, weights } from './hub-server.ts';

let pages = 0;

/** A GGUF file at an address of its own. */
async function page(behaviour: Behaviour, size = SIZE): Promise<Given & { served: { bytes: Uint8Array } & Behaviour }> {
  const { options, folder, calls } = await given(0);
  const path = `/files/m${++pages}.gguf`;
  const served = { bytes: weights(size), ...behaviour };
  server.pages.set(path, served);
  return { bytes: served.bytes, target: `${server.cdn}${path}`, folder, options, calls, served };
}

const gguf = (target: string, options: FilesOptions): Promise<Uint8Array> =>
  weightsOf(target, options, target.slice(target.lastIndexOf('/') + 1).replace(/\?.*/, ''));
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
      send(exchange, bytes, { ...version, ...cutAfter(100_000, options.cache) });
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
      send(exchange, bytes, { etag: '"one"', ...cutAfter(100_000, options.cache) });
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

test('done', close);
test.run();
