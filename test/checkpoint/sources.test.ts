/** What a file is read through: bytes and Blobs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { blobSource, bytesSource } from '../../src/runtime/files/model-files.ts';
import { rejects } from '../errors.ts';

const bytes = Uint8Array.of(1, 2, 3, 4, 5);

for (const source of [bytesSource('bytes', bytes), blobSource('Blob', new Blob([bytes]))]) {
  test(`${source.name} say where they end`, async () => {
    const two = new Uint8Array(2);
    await source.readInto(3, two);
    assert.equal(two, Uint8Array.of(4, 5));
    await source.readInto(5, new Uint8Array(0));
    for (const [offset, length] of [
      [3, 3],
      [6, 0],
      [2 ** 40, 1],
    ] as const) {
      await rejects('E_CHECKPOINT_TRUNCATED', () => source.readInto(offset, new Uint8Array(length)));
    }
    await rejects('E_ARGUMENT', () => source.readInto(-1, new Uint8Array(1)));
    await source.close();
  });
}

test('a Blob that cannot be read, and one that has shrunk', async () => {
  const like = (slice: () => unknown) => Object.assign(new Blob([bytes]), { slice }) as unknown as Blob;
  const failing = like(() => ({ arrayBuffer: () => Promise.reject(new Error('the disk is gone')) }));
  await rejects('E_FILE_READ', () => blobSource('x', failing).readInto(0, new Uint8Array(1)));
  const shrunk = like(() => new Blob([]));
  await rejects('E_CHECKPOINT_TRUNCATED', () => blobSource('x', shrunk).readInto(0, new Uint8Array(1)));
});

test.run();
