/** Every kind of source gives the same model. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { openLocal, openWith } from '../../src/open-local.ts';
import { rejects } from '../errors.ts';
import { exists, hasFileSystem, list, modelTarget, readBytes } from '../files.ts';
import { shared } from './shared-files.ts';

const NANO = 'models/nano-base';
const nano = await modelTarget(NANO);
const device = await WasmDevice.create({ debug: true });
const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    await run();
    assert.is(device.stats().tensors, 0, `left:\n${device.liveTensors().join('\n')}`);
    assert.is(device.stats().bytes, 0);
  });
const gguf = `${shared}models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;

on('a path, a URL, bytes by name, Blobs by name and mixtures are the same model', async () => {
  const names = await list(NANO);
  const bytes = Object.fromEntries(
    await Promise.all(names.map(async (n) => [n, await readBytes(`${NANO}/${n}`)] as const)),
  );
  const blobs = Object.fromEntries(Object.entries(bytes).map(([n, b]) => [n, new Blob([b])]));
  const mixed = { ...bytes, 'model.safetensors': blobs['model.safetensors']! };
  const url = new URL(`../../${NANO}`, import.meta.url);
  const paths = [`${nano}`, `${nano}/`, `${nano}/model.safetensors`, new URL(`${url}/`), url.href];
  const texts: string[] = [];
  for (const target of [...(hasFileSystem ? paths : []), bytes, blobs, mixed]) {
    const model = await openLocal(target, { device });
    texts.push((await model.generate('Once upon a time', { maxTokens: 8 }).result()).text);
    model.close();
  }
  assert.ok(texts[0]!.length > 8);
  assert.equal(new Set(texts).size, 1);
});

test('a GGUF as path, URL, bytes and Blob is the same model', async () => {
  if (!(await exists(gguf))) {
    console.log('  skipped: ../shared is not here (GGUF sources)');
    return;
  }
  const content = await readBytes(gguf);
  const paths = hasFileSystem ? [await modelTarget(gguf), new URL(`../../${gguf}`, import.meta.url)] : [];
  const ids: number[][] = [];
  for (const target of [...paths, content, new Blob([content])]) {
    const model = await openLocal(target);
    const { tokens } = await model.generate('The capital of France is', { maxTokens: 3 }).result();
    ids.push(tokens.map((t) => t.id));
    model.close();
  }
  for (const other of ids) assert.equal(other, ids[0]);
});

on('a model that was opened without its identity says so', async () => {
  const model = await openWith(nano, { device }, { withIdentity: false });
  await rejects('E_ARGUMENT', async () => model.identity);
  model.close();
  const other = await openLocal(nano, { device });
  assert.match(other.identity, /^[0-9a-f]{64}$/);
  other.close();
});

on('what is not there, or no model, is said by code', async () => {
  await rejects(hasFileSystem ? 'E_FILE_NOT_FOUND' : 'E_ARGUMENT', () => openLocal('./models/nowhere', { device }));
  await rejects('E_FILE_NOT_FOUND', () => openLocal({}, { device }));
  await rejects('E_CHECKPOINT_FORMAT', () => openLocal(new Uint8Array(100), { device }));
  await rejects('E_CHECKPOINT_TRUNCATED', () => openLocal(new Uint8Array(0), { device }));
  // a port that fetch refuses by itself: nobody is asked
  const nobody = new URL('http://127.0.0.1:1/model.gguf');
  await rejects('E_OFFLINE', () => openLocal(nobody, { device, cache: null, hub: { retries: 0 } }));
  await rejects('E_ARGUMENT', () => openLocal(new URL('/model', nobody), { device }));
  await rejects('E_ARGUMENT', () => openLocal(5 as never, { device }));
});

test('done', () => device.close());
test.run();
