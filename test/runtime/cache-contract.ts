/** What every cache must do, wherever it keeps its files. Nothing of node: is needed. */
import * as assert from 'uvu/assert';
import type { BlobWriter, Cache } from '../../src/runtime/cache/types.ts';
import { rejects } from '../errors.ts';

const key = (n: number): string => `sha256-${n.toString(16).padStart(64, '0')}`;
const bytesOf = (length: number, salt = 0): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + salt) % 256);

async function contentOf(cache: Cache, blob: string, size?: number): Promise<Uint8Array | null> {
  const source = await cache.open(blob, size);
  if (source === null) return null;
  const bytes = new Uint8Array(source.size);
  await source.readInto(0, bytes);
  await source.close();
  return bytes;
}

async function claimed(cache: Cache, blob: string): Promise<BlobWriter> {
  const { writer } = await cache.claim(blob);
  assert.ok(writer, 'nobody else writes');
  return writer;
}

async function put(cache: Cache, blob: string, bytes: Uint8Array): Promise<void> {
  const writer = await claimed(cache, blob);
  await writer.write(bytes);
  assert.is(await writer.commit(), true);
}

const kinds = async (cache: Cache): Promise<string[]> => (await cache.list()).map(({ kind }) => kind).sort();

/**
 * The checks, by name.
 * @param open opens the same cache each time, as another run would
 */
export function cacheContract(open: () => Promise<Cache>): [name: string, check: () => Promise<void>][] {
  const cleared = async (): Promise<Cache> => {
    const cache = await open();
    await cache.clear();
    assert.equal(await cache.list(), []);
    return cache;
  };
  return [
    [
      'a blob comes back as it was written, once it is committed',
      async () => {
        const cache = await cleared();
        const bytes = bytesOf(100_000);
        assert.is(await cache.open(key(1)), null);
        const writer = await claimed(cache, key(1));
        for (let at = 0; at < bytes.length; at += 30_000) await writer.write(bytes.subarray(at, at + 30_000));
        assert.is(writer.size, bytes.length);
        assert.is(await cache.open(key(1)), null, 'not before it is complete');
        assert.is(await writer.commit(), true);
        assert.equal(await contentOf(cache, key(1)), bytes);
        assert.equal(await contentOf(await open(), key(1), bytes.length), bytes, 'another run finds it');
        assert.equal(await kinds(cache), ['blob']);
      },
    ],
    [
      'a blob of another size is none, and can be written anew',
      async () => {
        const cache = await cleared();
        await put(cache, key(2), bytesOf(10));
        assert.is(await cache.open(key(2), 11), null);
        assert.ok(await contentOf(cache, key(2), 10));
        await put(cache, key(2), bytesOf(11));
        assert.is((await contentOf(cache, key(2), 11))?.length, 11);
      },
    ],
    [
      'an empty blob is a blob',
      async () => {
        const cache = await cleared();
        const writer = await claimed(cache, key(3));
        assert.is(await writer.commit(), true);
        assert.is((await contentOf(cache, key(3), 0))?.length, 0);
      },
    ],
    [
      'what is released is found by the next writer, read and continued',
      async () => {
        const cache = await cleared();
        const bytes = bytesOf(5000);
        const first = await claimed(cache, key(4));
        await first.write(bytes.subarray(0, 2000));
        await first.release();
        assert.equal(await kinds(cache), ['partial']);
        const { writer, loaded } = await (await open()).claim(key(4));
        assert.is(loaded, 2000);
        assert.is(writer!.size, 2000);
        const read = new Uint8Array(1500);
        await writer!.read(500, read);
        assert.equal(read, bytes.subarray(500, 2000));
        await writer!.write(bytes.subarray(2000));
        assert.is(await writer!.commit(), true);
        assert.equal(await contentOf(cache, key(4), 5000), bytes);
        assert.equal(await kinds(cache), ['blob']);
      },
    ],
    [
      'discarding and resetting leave nothing of it',
      async () => {
        const cache = await cleared();
        const first = await claimed(cache, key(5));
        await first.write(bytesOf(2000));
        await first.discard();
        assert.equal(await cache.list(), []);
        const second = await claimed(cache, key(5));
        assert.is(second.size, 0);
        await second.write(bytesOf(2000, 1));
        await second.reset();
        assert.is(second.size, 0);
        await second.write(bytesOf(700, 2));
        await second.commit();
        assert.equal(await contentOf(cache, key(5)), bytesOf(700, 2));
        const third = await claimed(cache, key(6));
        await third.release();
        assert.equal(await kinds(cache), ['blob'], 'nothing was written, nothing is left');
      },
    ],
    [
      'one blob has one writer at a time; others are independent',
      async () => {
        const cache = await cleared();
        const writer = await claimed(cache, key(7));
        await writer.write(bytesOf(300));
        const rival = await (await open()).claim(key(7));
        assert.is(rival.writer, null);
        // some hosts show what is written only at the end
        assert.ok(rival.loaded === 300 || rival.loaded === 0, `${rival.loaded}`);
        await put(cache, key(8), bytesOf(1));
        await writer.commit();
        assert.is((await contentOf(cache, key(7)))?.length, 300);
        const next = await claimed(cache, key(7));
        await next.discard();
        assert.is((await contentOf(cache, key(7)))?.length, 300, 'what was complete stays');
      },
    ],
    [
      'many claims at once: one writer',
      async () => {
        const cache = await cleared();
        const writers: BlobWriter[] = [];
        // all may step back at once; then they try again
        for (let round = 0; writers.length === 0 && round < 50; round++) {
          const claims = await Promise.all(Array.from({ length: 6 }, async () => (await open()).claim(key(9))));
          for (const { writer } of claims) if (writer) writers.push(writer);
          if (writers.length === 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
          if (writers.length === 0) {
            const { writer } = await cache.claim(key(9));
            if (writer) writers.push(writer);
          }
        }
        assert.is(writers.length, 1);
        await writers[0]!.discard();
      },
    ],
    [
      'a reader keeps what it has opened',
      async () => {
        const cache = await cleared();
        await put(cache, key(10), bytesOf(4000));
        const [one, two] = [await cache.open(key(10)), await cache.open(key(10))];
        const part = new Uint8Array(10);
        await one!.readInto(3990, part);
        assert.equal(part, bytesOf(4000).subarray(3990));
        await rejects('E_CHECKPOINT_TRUNCATED', () => one!.readInto(3991, part));
        await one!.close();
        await two!.readInto(0, part);
        assert.equal(part, bytesOf(10));
        await two!.close();
      },
    ],
    [
      'references are kept, replaced, and say what is theirs',
      async () => {
        const cache = await cleared();
        assert.is(await cache.readRef('a.json'), null);
        const files = [{ name: 'x', blob: key(11), size: 5 }];
        await cache.writeRef('a.json', { name: 'first', commit: 'c', files });
        assert.equal(await (await open()).readRef('a.json'), { name: 'first', commit: 'c', files });
        await cache.writeRef('a.json', { name: 'second', files: [] });
        assert.is((await cache.readRef('a.json'))?.name, 'second');
        assert.equal((await cache.readRef('a.json'))?.files, []);
      },
    ],
    [
      'models are listed with their bytes and removed with their blobs, except what others need',
      async () => {
        const cache = await cleared();
        for (const n of [20, 21, 22]) await put(cache, key(n), bytesOf(100 + n));
        const file = (n: number) => ({ name: `f${n}`, blob: key(n), size: 100 + n });
        await cache.writeRef('a.json', { name: 'owner/a@main', files: [file(20), file(21), file(99)] });
        await cache.writeRef('b.json', { name: 'owner/b@main', files: [file(21)] });
        const half = await claimed(cache, key(23));
        await half.write(bytesOf(7));
        await half.release();
        const found = new Map((await cache.list()).map((entry) => [entry.kind + entry.bytes, entry]));
        assert.equal([...found.keys()].sort(), ['blob122', 'model121', 'model241', 'partial7']);
        assert.is(found.get('model241')!.name, 'owner/a@main');
        assert.ok(Math.abs(Date.now() - found.get('blob122')!.modified) < 60_000);

        assert.is(await cache.remove(found.get('model241')!.key), true);
        assert.is(await cache.open(key(20)), null);
        assert.ok(await contentOf(cache, key(21)), 'the other model needs it');
        assert.is(await cache.remove(found.get('partial7')!.key), true);
        assert.is(await cache.remove(found.get('blob122')!.key), true);
        assert.equal(await kinds(cache), ['model']);
        assert.is(await cache.remove(found.get('model241')!.key), false);
        await cache.clear();
        assert.equal(await cache.list(), []);
        assert.is(await cache.open(key(21)), null);
      },
    ],
    [
      'keys cannot lead out of the cache',
      async () => {
        const cache = await cleared();
        for (const bad of ['../x', 'sha256-zz', `sha256-${'0'.repeat(63)}/`, '', `blobs/${key(1)}`]) {
          await rejects('E_ARGUMENT', () => cache.open(bad));
          await rejects('E_ARGUMENT', () => cache.claim(bad));
        }
        for (const bad of ['../x.json', 'a/b.json', 'a.txt']) {
          await rejects('E_ARGUMENT', () => cache.readRef(bad));
          await rejects('E_ARGUMENT', () => cache.writeRef(bad, { name: '', files: [] }));
        }
        for (const bad of ['../package.json', 'blobs/../../x', 'blobs/..', 'other/x', 'refs', '']) {
          assert.is(await cache.remove(bad), false);
        }
      },
    ],
  ];
}
