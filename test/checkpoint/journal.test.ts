/** The lines of the journal of a checkpoint that is being written. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeLine, readJournal } from '../../src/checkpoint/write/journal.ts';

test('lines of the journal', () => {
  const line = { done: { name: 'ä\u2028"', position: 7, sum: '', record: [null, 1e-7, { '2': 1, a: 'x' }] } };
  const journal = [{ format: 2, identity: 'i' } as const, { boot: 'b', from: 0 }, line, { synced: 1 }].map(encodeLine);
  const bytes = Uint8Array.from(journal.flatMap((part) => [...part]));
  const read = readJournal(bytes, (boot) => boot === 'b')!;
  assert.is(read.identity, 'i');
  assert.is(read.length, bytes.byteLength);
  assert.equal(read.groups, [{ ...line.done, boot: 'b' }]);
  assert.is(readJournal(bytes, () => false)!.groups.length, 1);
  const unsynced = bytes.slice(0, -journal.at(-1)!.byteLength);
  assert.is(readJournal(unsynced, () => true)!.groups.length, 1);
  assert.is(readJournal(unsynced, () => false)!.groups.length, 0);
});

test.run();
