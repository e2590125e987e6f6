// hosts: node, deno — starts servers
/** Models of a hub: which files, at which revision, with which token, and what serves without a connection. */

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { EspalierError } from '../../src/errors.ts';
import { openLocal } from '../../src/open-local.ts';
import { folderCache } from '../../src/runtime/cache/folder.ts';
import type { Cache } from '../../src/runtime/cache/types.ts';
import { openModelFiles } from '../../src/runtime/files/model-files.ts';
import type { DownloadProgress } from '../../src/runtime/hub/download-progress.ts';
import type { FilesOptions, HubOptions } from '../../src/runtime/hub/options.ts';
import { rejects } from '../errors.ts';
import { close, contentOf as contentOfAll, newFolder, offline, server } from './downloads.ts';
import { HubServer, noise, refuse, type ServedFile, same, text } from './hub-server.ts';

const quick = { retries: 3, retryDelay: 2, timeout: 120_000 };

/** Options with an empty cache of their own. */
async function fresh(hub: HubOptions = {}): Promise<FilesOptions & { hub: HubOptions; cache: Cache }> {
  return { cache: await folderCache(newFolder()), hub: { endpoint: server.endpoint, ...quick, ...hub } };
}

const weights = (): ServedFile => ({ bytes: noise(50_000), lfs: true });
const small = (): Record<string, ServedFile> => ({
  '.gitattributes': { bytes: text('* lfs') },
  'README.md': { bytes: text('# read') },
  'config.json': { bytes: text('{"a":1}') },
  'tokenizer.json': { bytes: text('{"b":"ü"}') },
  'pytorch_model.bin': { bytes: noise(10), lfs: true },
});

const contentOf = async (target: string | URL, options: FilesOptions): Promise<Record<string, Uint8Array>> =>
  contentOfAll(await openModelFiles(target, options));

/** How many requests a run makes: nobody else can count those to a server that is not there. */
async function fetches(run: () => Promise<void>): Promise<number> {
  const { fetch } = globalThis;
  let count = 0;
  globalThis.fetch = (...args) => {
    count++;
    return fetch(...args);
  };
  try {
    await run();
  } finally {
    globalThis.fetch = fetch;
  }
  return count;
}

const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    server.reset();
    await run();
  });

on('a model of the hub generates, and again without the hub', async () => {
  const folder = fileURLToPath(new URL('../../models/nano-base/', import.meta.url));
  const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json', 'README.md'];
  const files: Record<string, ServedFile> = {};
  for (const name of names) {
    files[name] = { bytes: await readFile(folder + name), lfs: name === 'model.safetensors' };
  }
  server.add('owner/nano', files);
  const options = await fresh();
  const calls: DownloadProgress[] = [];
  const texts: string[] = [];
  const generate = async (target: string, more: FilesOptions): Promise<void> => {
    const model = await openLocal(target, more);
    texts.push((await model.generate('Once upon a time', { maxTokens: 5 }).result()).text);
    model.close();
  };
  await generate('owner/nano', { ...options, onDownload: (progress) => calls.push(progress) });
  assert.is(server.seen('cdn').length, 1);
  assert.is(server.seen(/README/).length, 0, 'only what a model needs');
  const last = calls.at(-1)!;
  const total = names.slice(0, 4).reduce((sum, name) => sum + files[name]!.bytes.byteLength, 0);
  assert.equal(last.overall, { loaded: total, total });
  assert.is(last.file, 'model.safetensors');
  assert.ok(calls.every(({ overall }, i) => i === 0 || overall.loaded >= calls[i - 1]!.overall.loaded));

  const before = server.log.length;
  let called = false;
  await generate('hf://owner/nano', { ...offline(options), onDownload: () => (called = true) });
  assert.is(server.log.length, before);
  assert.is(called, false);
  await generate(folder, {});
  assert.is(new Set(texts).size, 1, texts.join(' | '));
});

on('the chat templates of a folder of their own are fetched, and nothing else from folders', async () => {
  const templates = { 'additional_chat_templates/tool_use.jinja': 'T', 'additional_chat_templates/notes.txt': 'N' };
  const more = Object.entries({ ...templates, 'other/rag.jinja': 'R', 'additional_chat_templates/a/b.jinja': 'B' });
  server.add('owner/templates', {
    ...small(),
    'model.safetensors': weights(),
    ...Object.fromEntries(more.map(([name, content]) => [name, { bytes: text(content) }])),
  });
  const options = await fresh();
  for (const given of [options, offline(options)]) {
    const content = await contentOf('owner/templates', given);
    const inFolders = Object.keys(content).filter((name) => name.includes('/'));
    assert.equal(inFolders, ['additional_chat_templates/tool_use.jinja']);
    assert.equal(content[inFolders[0]!], text('T'));
  }
});

on('the token reaches the hub and no other host', async () => {
  server.add('owner/private', { ...small(), 'model.safetensors': weights() }, { token: 'hf_secret' });
  await contentOf('owner/private', await fresh({ token: 'hf_secret' }));
  assert.ok(server.seen('hub').length >= 4);
  for (const { where, request } of server.log) {
    assert.is(request.headers.authorization, where === 'hub' ? 'Bearer hf_secret' : undefined);
  }
  // and a plain address gets none either
  server.pages.set('/plain.gguf', { bytes: noise(100) });
  server.reset();
  await contentOf(`${server.cdn}/plain.gguf`, await fresh({ token: 'hf_secret' }));
  assert.ok(server.log.length > 0);
  assert.ok(server.log.every(({ request }) => request.headers.authorization === undefined));
});

on('private, gated, absent: said with what to do', async () => {
  server.add('owner/private', { ...small(), 'model.safetensors': weights() }, { token: 'right' });
  server.add('owner/gated', { ...small(), 'model.safetensors': weights() }, { token: 'right', gated: true });
  const refused = async (target: string, hub: HubOptions = {}) => {
    const error = await rejects('E_DOWNLOAD', async () => contentOf(target, await fresh(hub)));
    return `${error.message} ${error.hint}`;
  };
  assert.match(await refused('owner/private'), /private, gated, or does not exist.*401.*HF_TOKEN/);
  assert.match(await refused('owner/private', { token: 'wrong' }), /Check that the token is right/);
  assert.match(await refused('owner/gated'), /config\.json is gated.*401.*Ask for access.*HF_TOKEN/);
  assert.match(await refused('owner/gated', { token: 'wrong' }), /gated.*403.*Check that the token/);
  assert.match(await refused('owner/nothing', { token: 'right' }), /There is no owner\/nothing .*404/);
  assert.match(await refused('owner/nothing'), /There is no path owner\/nothing here\. owner\/nothing is private/);
  assert.match(await refused('hf://owner/private@v2', { token: 'right' }), /the revision of owner\/private@v2/);
  assert.ok(server.log.length < 20, 'none of these is tried again');
});

on('a revision is what its commit is; it follows the branch, and a commit needs no look-up', async () => {
  const first = server.add('owner/moving', { ...small(), 'model.safetensors': weights() });
  const options = await fresh();
  const one = await contentOf('owner/moving', options);
  same(one['model.safetensors']!, first.files['model.safetensors']!.bytes);
  await contentOf(`owner/moving@${first.commit}`, options);
  server.reset();
  await contentOf(`owner/moving@${first.commit}`, options);
  assert.is(server.log.length, 0);

  const second = server.add('owner/moving', { ...first.files, 'model.safetensors': weights() });
  const two = await contentOf('owner/moving', options);
  same(two['model.safetensors']!, second.files['model.safetensors']!.bytes);
  assert.is(server.seen(/resolve/).length, 1, 'what is the same is not downloaded again');
  same(await contentOf('owner/moving', offline(options)), two);
  same(await contentOf(`owner/moving@${first.commit}`, offline(options)), one);
  await rejects('E_OFFLINE', () => contentOf(`owner/moving@${second.commit.replace(/./g, '0')}`, offline(options)));
});

on('without a connection the cache serves, or it is said what is missing', async () => {
  server.add('owner/here', { ...small(), 'model.safetensors': weights() });
  const options = await fresh();
  await rejects('E_OFFLINE', () => contentOf('owner/here', offline(options)));
  assert.is(server.log.length, 0);
  const content = await contentOf('owner/here', options);

  const gone = await HubServer.start();
  const { endpoint } = gone;
  // the same address as before, where nobody listens any more
  gone.repositories.set('owner/here', server.repositories.get('owner/here')!);
  const elsewhere = { ...options, hub: { ...options.hub, endpoint } };
  const again = await contentOf('owner/here', elsewhere);
  same(again, content);
  await gone.close();
  assert.is(await fetches(async () => same(await contentOf('owner/here', elsewhere), content)), 1);
  let error!: EspalierError;
  const tries = await fetches(async () => {
    error = await rejects('E_OFFLINE', () => contentOf('owner/other', elsewhere));
  });
  assert.is(tries, 2, 'what is not there is tried for once more');
  assert.match(
    error.message,
    /owner\/other is not \(completely\) in the cache in .*, and 127.0.0.1:\d+ could not be reached/,
  );
  assert.ok(error.cause);

  // a hub that fails is as good as none
  server.intercept = (exchange) => {
    if (!exchange.path.startsWith('/api')) return false;
    refuse(exchange, 502);
    return true;
  };
  same(await contentOf('owner/here', options), content);
  const failing = await rejects('E_DOWNLOAD', () => contentOf('owner/else', options));
  assert.match(failing.message, /HTTP 502/);
});

on('a model that is only partly there is not taken for whole', async () => {
  server.add('owner/half', { ...small(), 'model.safetensors': weights() });
  const options = await fresh();
  await contentOf('owner/half', options);
  const entries = await options.cache.list();
  assert.is(entries.length, 1);
  assert.is(entries[0]!.name, 'owner/half@main');
  const key = entries[0]!.key.slice('refs/'.length);
  const { files } = (await options.cache.readRef(key))!;
  const blob = files.find(({ name }) => name === 'model.safetensors')!.blob;
  await options.cache.remove(`blobs/${blob}`);
  await rejects('E_OFFLINE', () => openModelFiles('owner/half', offline(options)));
  // and freed as a whole
  assert.is(await options.cache.remove(entries[0]!.key), true);
  assert.equal(await options.cache.list(), []);
});

on('weights are not downloaded for a configuration that cannot be computed', async () => {
  const config = text(JSON.stringify({ model_type: 'mamba', architectures: ['MambaForCausalLM'] }));
  server.add('owner/mamba', { ...small(), 'config.json': { bytes: config }, 'model.safetensors': weights() });
  await rejects('E_ARCHITECTURE_UNSUPPORTED', async () => openCheckpoint('owner/mamba', await fresh()));
  assert.is(server.seen('cdn').length, 0);
});

on('GGUF files: the only one, a named one, several', async () => {
  server.add('owner/one', {
    'README.md': { bytes: text('#') },
    'one-Q8_0.gguf': weights(),
    'config.json': small()['config.json']!,
  });
  assert.equal(Object.keys(await contentOf('owner/one', await fresh())), ['one-Q8_0.gguf']);

  const several = server.add('owner/several', {
    'a-Q4_0.gguf': weights(),
    'sub/b-Q8_0.gguf': weights(),
    'c.gguf': weights(),
  });
  const error = await rejects('E_ARGUMENT', async () => openModelFiles('owner/several', await fresh()));
  assert.match(
    `${error.message} ${error.hint}`,
    /a-Q4_0\.gguf, sub\/b-Q8_0\.gguf, c\.gguf.*hf:\/\/owner\/several\/a-Q4_0\.gguf/,
  );
  const options = await fresh();
  for (const [target, hub] of [
    ['hf://owner/several/sub/b-Q8_0.gguf', {}],
    ['hf://owner/several@main/sub/b-Q8_0.gguf', {}],
    [`${server.endpoint}/owner/several/blob/main/sub/b-Q8_0.gguf`, {}],
    [`${server.endpoint}/owner/several/resolve/${several.commit}/sub/b-Q8_0.gguf?download=true`, {}],
    ['owner/several', { file: 'sub/b-Q8_0.gguf' }],
    [`${server.endpoint}/owner/several`, { file: 'sub/b-Q8_0.gguf' }],
    [new URL(`${server.endpoint}/owner/several/tree/main`), { file: 'sub/b-Q8_0.gguf' }],
  ] as const) {
    const content = await contentOf(target, { ...options, hub: { ...options.hub, ...hub } });
    same(content, { 'sub/b-Q8_0.gguf': several.files['sub/b-Q8_0.gguf']!.bytes });
  }
  assert.is(server.seen('cdn').length, 2, 'one each for owner/one and owner/several');
  await rejects('E_FILE_NOT_FOUND', () => openModelFiles('hf://owner/several/d.gguf', options));
  await rejects('E_ARGUMENT', () => openModelFiles('hf://owner/one/config.json', options));

  const many = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`${i}.gguf`, { bytes: noise(1), lfs: true }]));
  server.add('owner/many', many);
  assert.match(
    (await rejects('E_ARGUMENT', () => openModelFiles('owner/many', options))).message,
    /9\.gguf and 20 more/,
  );
});

on('safetensors: shards by their index, one by name, or the only one', async () => {
  const index = (names: unknown[]) =>
    text(JSON.stringify({ weight_map: Object.fromEntries(names.map((n, i) => [`t${i}`, n])) }));
  const [one, two] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const shards = { [one!]: weights(), [two!]: weights(), 'consolidated.safetensors': weights() };
  const indexed = { bytes: index([one, two, one, '../../x.safetensors', 'a/b.safetensors', 'absent.safetensors', 5]) };
  server.add('owner/shards', { ...small(), ...shards, 'model.safetensors.index.json': indexed });
  const names = async (target: string, hub = {}) => (await openModelFiles(target, await fresh(hub))).names.join(' ');
  const base = 'config.json tokenizer.json';
  assert.is(await names('owner/shards'), `${base} model.safetensors.index.json ${one} ${two}`);
  assert.is(await names(`hf://owner/shards/${two}`), `${base} model.safetensors.index.json ${one} ${two}`);
  assert.is(await names('hf://owner/shards/consolidated.safetensors'), `${base} consolidated.safetensors`);
  assert.is(server.seen('cdn').length, 0);
  server.add('owner/both', {
    ...small(),
    ...shards,
    'model.safetensors': weights(),
    'model.safetensors.index.json': indexed,
  });
  assert.is(await names('owner/both'), `${base} model.safetensors`);
  server.add('owner/only', { ...small(), 'weights.safetensors': weights() });
  assert.is(await names('owner/only'), `${base} weights.safetensors`);
  const none: Record<string, ServedFile> = small();
  server.add('owner/none', none);
  assert.match((await rejects('E_CHECKPOINT_FORMAT', () => names('owner/none'))).message, /pickle/);
  const { 'pytorch_model.bin': __, ...fewer } = small();
  server.add('owner/nothing', fewer);
  await rejects('E_FILE_NOT_FOUND', () => names('owner/nothing'));
  // a set of shards whose index is not there
  const [first, second] = ['m-00001-of-00002.safetensors', 'm-00002-of-00002.safetensors'];
  server.add('owner/unindexed', { ...small(), [first]: weights(), [second]: weights() });
  assert.is(await names('owner/unindexed'), `${base} ${first} ${second}`);
  for (const [name, file, wanted, says] of [
    ['adapter', 'adapter_config.json', 'E_ADAPTER', /adapter/],
    ['onnx', 'model.onnx', 'E_CHECKPOINT_FORMAT', /ONNX/],
  ] as const) {
    server.add(`owner/${name}`, { ...fewer, [file]: weights() });
    assert.match((await rejects(wanted, () => names(`owner/${name}`))).message, says);
  }
  const { 'tokenizer.json': _, ...bare } = small();
  server.add('owner/bare', { ...bare, 'model.safetensors': weights() });
  assert.match((await rejects('E_FILE_NOT_FOUND', () => names('owner/bare'))).message, /no tokenizer\.json/);
});

on('names and figures of a hostile server', async () => {
  const good = { ...small(), 'model.safetensors': weights() };
  const evil = weights();
  server.add('owner/evil', {
    ...good,
    '../../evil.gguf': evil,
    '/etc/evil.gguf': evil,
    'a\\..\\evil.gguf': evil,
    'C:evil.gguf': evil,
    'a/../evil.gguf': evil,
    'x\u0000.gguf': evil,
    'size.gguf': { ...evil, listed: { lfs: { sha256: 'a'.repeat(64), size: -1 } } },
    'hash.gguf': { ...evil, listed: { lfs: { sha256: '../../x', size: 5 } } },
    'type.gguf': { ...evil, listed: { rfilename: 7 } },
  });
  const options = await fresh();
  assert.equal((await openModelFiles('owner/evil', options)).names, [
    'config.json',
    'tokenizer.json',
    'model.safetensors',
  ]);
  for (const name of ['../../evil.gguf', 'size.gguf', 'hash.gguf', '%2e%2e/evil.gguf', '/etc/evil.gguf']) {
    await rejects('E_FILE_NOT_FOUND', () => openModelFiles(`hf://owner/evil/${name}`, options));
  }
  for (const answer of ['', '[]', 'null', '<html>', '{"sha":"../..","siblings":[]}', `{"sha":"${'a'.repeat(40)}"}`]) {
    server.intercept = ({ path, response }) => path.startsWith('/api') && Boolean(response.end(answer));
    await rejects('E_DOWNLOAD', async () => openModelFiles('owner/evil', await fresh()));
  }
});

on('redirects that are not followed', async () => {
  const to = (location: string) => {
    server.intercept = ({ response }) => Boolean(response.writeHead(302, { Location: location }).end());
  };
  for (const location of ['/api/models/owner/x', 'file:///etc/passwd', 'http://[', 'ftp://127.0.0.1/']) {
    to(location);
    await rejects('E_DOWNLOAD', async () => openModelFiles('owner/x', await fresh()));
  }
  assert.ok(server.log.length < 20);
});

on('options outside their range, and the environment', async () => {
  const refused = (hub: object) => rejects('E_ARGUMENT', async () => openCheckpoint('hf://owner/x', await fresh(hub)));
  await refused({ endpoint: 'nonsense' });
  await refused({ endpoint: 'ftp://x' });
  await refused({ token: 'two words' });
  await refused({ retries: -1 });
  await refused({ revision: '../x' });
  assert.is(server.log.length, 0);

  server.add('owner/env', { ...small(), 'model.safetensors': weights() }, { token: 'hf_env' });
  const { cache } = await fresh();
  process.env['HF_ENDPOINT'] = `${server.endpoint}/`;
  process.env['HF_TOKEN'] = 'hf_env\n';
  try {
    await contentOf('owner/env', { cache });
    assert.is(server.log[0]!.path, '/api/models/owner/env/revision/main');
    process.env['HF_HUB_OFFLINE'] = '1';
    server.reset();
    await contentOf('owner/env', { cache });
    assert.is(server.log.length, 0);
    await rejects('E_OFFLINE', () => contentOf('owner/other', { cache }));
  } finally {
    for (const name of ['HF_ENDPOINT', 'HF_TOKEN', 'HF_HUB_OFFLINE']) delete process.env[name];
  }
});

on('a model that needs no folder: memory alone', async () => {
  const { files } = server.add('owner/memory', { ...small(), 'model.safetensors': weights() });
  const { hub } = await fresh();
  const content = await contentOf('owner/memory', { hub, cache: null });
  same(content['model.safetensors']!, files['model.safetensors']!.bytes);
  await rejects('E_OFFLINE', () => contentOf('owner/memory', { hub: { ...hub, offline: true }, cache: null }));
});

test('done', close);
test.run();
