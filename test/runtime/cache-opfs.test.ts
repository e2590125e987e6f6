import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hasOpfs, opfsCache } from '../../src/runtime/cache/opfs.ts';
import { cacheContract } from './cache-contract.ts';
import type { Answer, Order } from './cache-opfs-worker.ts';

const FOLDER = 'espalier-test';

async function inWorker(order: Order): Promise<Answer> {
  const worker = new Worker(new URL('./cache-opfs-worker.ts', import.meta.url), { type: 'module' });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(order);
    });
  } finally {
    worker.terminate();
  }
}

if (await hasOpfs()) {
  const checks = cacheContract(() => opfsCache(FOLDER));
  for (const [name, check] of checks) test(name, check);
  test('all of it in a worker, which writes synchronously', async () => {
    const { checks: ran, failures, isSync } = await inWorker({ folder: `${FOLDER}-worker` });
    assert.equal(failures, []);
    assert.is(ran, checks.length);
    assert.is(isSync, true);
  });
  test('one blob has one writer in all tabs and workers', async () => {
    const cache = await opfsCache(FOLDER);
    const claim = `sha256-${'0'.repeat(64)}`;
    const { writer } = await cache.claim(claim);
    await writer!.write(new Uint8Array(5));
    assert.is((await inWorker({ folder: FOLDER, claim })).writes, false);
    await writer!.discard();
    assert.is((await inWorker({ folder: FOLDER, claim })).writes, true);
  });
  test('leaves nothing behind', async () => {
    const root = await navigator.storage.getDirectory();
    for (const name of [FOLDER, `${FOLDER}-worker`]) {
      await root.removeEntry(name, { recursive: true });
      const found = await root.getDirectoryHandle(name).catch((error) => error.name);
      assert.is(found, 'NotFoundError');
    }
  });
} else test('OPFS', () => console.log('  skipped: no OPFS here'));
test.run();
