// hosts: node, deno — a command, its cache and a server
/** The commands with a model of a hub: downloaded once, used offline, listed and removed. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HubServer } from '../runtime/hub-server.ts';
import { type Answered, inProcess } from './run.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const cache = await mkdtemp(join(tmpdir(), 'espalier-cli-hub-'));
const server = await HubServer.start();

/** With these variables in the environment, which its workers see too. */
async function cli(args: readonly string[], env: Record<string, string> = {}): Promise<Answered> {
  const wanted: Record<string, string> = { ESPALIER_CACHE: cache, HF_ENDPOINT: server.endpoint, ...env };
  const before = Object.keys(wanted).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, wanted);
  try {
    return await inProcess(args);
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

test('generate downloads, then works offline; inspect, list, remove', async () => {
  const folder = join(root, 'models/nano-base');
  const files: Record<string, { bytes: Uint8Array; lfs?: boolean }> = {};
  for (const name of await readdir(folder)) {
    if (/\.(json|safetensors)$/.test(name)) {
      files[name] = { bytes: new Uint8Array(await readFile(join(folder, name))), lfs: name.endsWith('.safetensors') };
    }
  }
  server.add('owner/nano', files);

  const ask = ['generate', 'owner/nano', '-p', 'Once upon a time', '-n', '6', '--json', '--lanes', '1'];
  const first = await cli(ask);
  assert.is(first.code, 0, first.out + first.err);
  const { text } = JSON.parse(first.out);
  assert.ok(text.length > 3);

  const offline = await cli(ask, { HF_HUB_OFFLINE: '1', HF_ENDPOINT: server.endpoint });
  assert.is(offline.code, 0, offline.out + offline.err);
  assert.is(JSON.parse(offline.out).text, text);

  const report = JSON.parse((await cli(['inspect', 'owner/nano', '--json'])).out);
  assert.is(report.config.architecture, 'llama');
  const other = await cli(['inspect', 'owner/other', '--json'], { HF_HUB_OFFLINE: '1' });
  assert.is(other.code, 1, 'what is not there is an error, not an unsupported model');
  assert.is(JSON.parse(other.out).error.code, 'E_OFFLINE');

  const listed = JSON.parse((await cli(['cache', '--json'])).out);
  assert.is(listed.name.endsWith(cache.split('/').at(-1)!), true, listed.name);
  const [model] = listed.entries.filter(({ kind }: { kind: string }) => kind === 'model');
  assert.match(model.name, 'owner/nano');
  assert.ok(model.bytes > 1e6);
  assert.match((await cli(['cache'])).out, 'owner/nano');

  const sound = await cli(['cache', '--verify']);
  assert.is(sound.code, 0, sound.err);
  assert.match(sound.out, /all is as it should be/);
  const blobs = (await readdir(join(cache, 'blobs'))).map((name) => join(cache, 'blobs', name));
  const bytes = await readFile(blobs[0]!);
  bytes[1]! ^= 1;
  await writeFile(blobs[0]!, bytes);
  const damaged = await cli(['cache', '--verify', '--json']);
  assert.is(damaged.code, 1);
  const [fault, ...others] = JSON.parse(damaged.out).faults;
  assert.equal([fault.fault, fault.models, others], ['content', ['owner/nano@main'], []]);
  assert.match((await cli(['cache', '--verify'])).out, /another checksum .*owner\/nano@main/);

  const missing = await cli(['cache', '--remove', 'owner/nobody', '--json']);
  assert.is(JSON.parse(missing.out).error.code, 'E_FILE_NOT_FOUND');
  const removed = JSON.parse((await cli(['cache', '--remove', model.key, '--json'])).out);
  assert.equal(removed.entries, []);
  const gone = await cli(ask, { HF_HUB_OFFLINE: '1' });
  assert.is(JSON.parse(gone.out).error.code, 'E_OFFLINE');
  assert.equal(JSON.parse((await cli(['cache', '--clear', '--json'])).out).entries, []);
});

test.after(async () => {
  await server.close();
  await rm(cache, { recursive: true });
});
test.run();
