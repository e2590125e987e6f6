// hosts: node, deno — starts servers
/** The two files of an adapter, from the hub and from an address, whatever lies beside them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { folderCache } from '../../src/runtime/cache/folder.ts';
import type { Cache } from '../../src/runtime/cache/types.ts';
import { openModelFiles } from '../../src/runtime/files/model-files.ts';
import type { FilesOptions } from '../../src/runtime/hub/options.ts';
import { rejects } from '../errors.ts';
import { close, newFolder, offline, server } from './downloads.ts';
import { noise, type ServedFile, text } from './hub-server.ts';

const TWO = ['adapter_config.json', 'adapter_model.safetensors'];
const weights = (): ServedFile => ({ bytes: noise(50_000), lfs: true });
const two = (): Record<string, ServedFile> => ({ [TWO[0]!]: { bytes: text('{}') }, [TWO[1]!]: weights() });
const model = (): Record<string, ServedFile> => ({
  'config.json': { bytes: text('{"a":1}') },
  'tokenizer.json': { bytes: text('{}') },
  'model.safetensors': weights(),
});

async function fresh(): Promise<FilesOptions & { cache: Cache }> {
  const hub = { endpoint: server.endpoint, retries: 1, retryDelay: 2 };
  return { cache: await folderCache(newFolder()), hub };
}

test('of the hub', async () => {
  server.reset();
  server.add('owner/lora', two());
  server.add('owner/both', { ...model(), ...two() });
  for (const repo of ['owner/lora', 'owner/both']) {
    const options = await fresh();
    const files = await openModelFiles(repo, options, 'adapter');
    assert.equal(files.names, TWO);
    for (const name of TWO) await (await files.open(name)).close();
    // kept apart from the model of the same name
    assert.equal((await openModelFiles(repo, offline(options), 'adapter')).names, TWO);
    await rejects('E_OFFLINE', () => openModelFiles(repo, offline(options)));
  }
  assert.is(
    (await openModelFiles('owner/both', await fresh())).names.join(),
    'config.json,tokenizer.json,model.safetensors',
  );
  server.add('owner/pickled', { 'adapter_config.json': { bytes: text('{}') }, 'adapter_model.bin': weights() });
  await rejects('E_ADAPTER', async () => openModelFiles('owner/pickled', await fresh(), 'adapter'));
  const error = await rejects('E_ADAPTER', async () => openModelFiles('owner/lora', await fresh()));
  assert.match(error.hint, /--adapter/);
});

test('one whose experts act by position, wherever it lies', async () => {
  server.reset();
  const files = (): Record<string, ServedFile> => ({
    'alter.json': { bytes: text('{}') },
    'alter.safetensors': weights(),
  });
  const names = Object.keys(files());
  server.add('owner/alter', files());
  server.add('owner/beside', { ...model(), ...files() });
  server.add('owner/half', { 'alter.json': { bytes: text('{}') } });
  for (const [name, { bytes }] of Object.entries(files()))
    server.pages.set(`/alter/${name}`, { bytes, etag: `"${name}"` });
  for (const target of ['owner/alter', 'owner/beside', `${server.cdn}/alter/`]) {
    const options = await fresh();
    const opened = await openModelFiles(target, options, 'adapter');
    assert.equal([opened.names, opened.preferred], [names, undefined]);
    for (const name of names) await (await opened.open(name)).close();
    assert.equal((await openModelFiles(target, offline(options), 'adapter')).names, names);
  }
  const named = await openModelFiles(`${server.cdn}/alter/alter.safetensors`, await fresh(), 'adapter');
  assert.equal([named.names, named.preferred], [names, 'alter.safetensors']);
  await rejects('E_ADAPTER', async () => openModelFiles('owner/half', await fresh(), 'adapter'));
  const error = await rejects('E_ADAPTER', async () => openModelFiles('owner/alter', await fresh()));
  assert.match(error.hint, /--adapter/);
  const beside = await openModelFiles('owner/beside', await fresh());
  assert.is(beside.names.join(), 'config.json,tokenizer.json,model.safetensors');
  // where both lie, PEFT's is meant, as in a folder
  server.add('owner/two', { ...two(), ...files() });
  assert.equal((await openModelFiles('owner/two', await fresh(), 'adapter')).names, TWO);
});

test('at an address', async () => {
  server.reset();
  const options = await fresh();
  for (const [name, { bytes }] of Object.entries(two()))
    server.pages.set(`/lora/${name}`, { bytes, etag: `"${name}"` });
  const folder = `${server.cdn}/lora/`;
  const files = await openModelFiles(folder, options, 'adapter');
  assert.equal(files.names, TWO);
  for (const name of TWO) await (await files.open(name)).close();
  assert.equal((await openModelFiles(folder, offline(options), 'adapter')).names, TWO);
  const named = await openModelFiles(`${folder}${TWO[1]}`, await fresh(), 'adapter');
  assert.equal([named.names, named.preferred], [TWO, TWO[1]]);
  await rejects('E_DOWNLOAD', async () => openModelFiles(`${server.cdn}/none/`, await fresh(), 'adapter'));
});

test('the server ends', () => close());

test.run();
