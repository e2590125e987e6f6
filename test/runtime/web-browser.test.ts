// hosts: chromium, chromium-plain, firefox — downloads from the page's own server into the browser's storage

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLocal } from '../../src/open-local.ts';
import { openCache } from '../../src/runtime/cache/default.ts';
import type { FilesOptions } from '../../src/runtime/hub/options.ts';
import { rejects } from '../errors.ts';
import { modelTarget, sizeOf } from '../files.ts';

const CACHE = 'espalier-web-test';
const address = new URL('/models/nano-base/', location.href);

async function textOf(target: Parameters<typeof openLocal>[0], options: FilesOptions = {}): Promise<string> {
  const model = await openLocal(target, options);
  const { text } = await model.generate('Once upon a time', { maxTokens: 5 }).result();
  model.close();
  return text;
}

test('a folder by its address, then from the cache alone', async () => {
  const cache = await openCache(CACHE);
  await cache.clear();
  const offline = { cache: CACHE, hub: { offline: true } };
  await rejects('E_OFFLINE', () => textOf(address, offline));
  const want = await textOf(await modelTarget('models/nano-base'));
  let loaded = 0;
  const onDownload: FilesOptions['onDownload'] = ({ overall }) => {
    loaded = overall.loaded;
  };
  assert.is(await textOf(address, { cache, onDownload }), want);
  assert.ok(loaded > (await sizeOf('models/nano-base/model.safetensors')));
  assert.is(await textOf(address.href, offline), want);
  const [entry, ...others] = await cache.list();
  assert.is(entry!.name, address.href);
  assert.equal(others, []);
  assert.is(await cache.remove(entry!.key), true);
  assert.equal(await cache.list(), []);
  await rejects('E_DOWNLOAD', () => textOf(new URL('/models/nothing/', address), { cache }));
});

test('without a cache', async () => {
  assert.is(await textOf(address, { cache: null }), await textOf(await modelTarget('models/nano-base')));
});
test.run();
