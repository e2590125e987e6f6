import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createHasher } from '../../src/runtime/files/hash.ts';
import { hasher as noble } from '../../src/runtime/files/hash-noble.ts';

test("the host's hash and the one in JavaScript are those that everybody computes", async () => {
  const known = {
    sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    sha1: 'a9993e364706816aba3e25717850c26c9cd0d89d',
  };
  for (const name of ['sha256', 'sha1'] as const) {
    for (const create of [createHasher, noble]) {
      const hash = await create(name);
      hash.update(new TextEncoder().encode('a'));
      hash.update(new Uint8Array(0));
      hash.update(new TextEncoder().encode('bc'));
      assert.is(hash.hex(), known[name]);
    }
    const [one, two] = [await createHasher(name), await noble(name)];
    const bytes = crypto.getRandomValues(new Uint8Array(50_001));
    for (let at = 0; at < bytes.length; at += 977) {
      one.update(bytes.subarray(at, at + 977));
      two.update(bytes.subarray(at, at + 977));
    }
    assert.is(one.hex(), two.hex());
  }
});

test.run();
