// hosts: node, deno — the module of a command, which writes to a terminal
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  counted,
  displayWidth,
  formatBytes,
  formatCount,
  formatDuration,
  formatTable,
  noteLine,
  Progress,
} from '../../src/cli/shared/format.ts';

test('bytes, durations and counts read well at every size', () => {
  assert.equal([0, 1023, 1024, 1536, 98_362_432, 2 ** 40 * 5].map(formatBytes), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '93.8 MiB',
    '5.0 TiB',
  ]);
  assert.is(formatBytes(1024 * 1024 - 1), '1.0 MiB');
  assert.equal([0.0042, 0.25, 0.9999, 1.25, 59.99, 75, 3599.7, 7260, Number.NaN].map(formatDuration), [
    '4.2 ms',
    '250 ms',
    '1.0 s',
    '1.3 s',
    '1 min 0 s',
    '1 min 15 s',
    '1 h 0 min',
    '2 h 1 min',
    '–',
  ]);
  assert.equal([0, 999, 1000, 134_515_008, 8e9].map(formatCount), ['0', '999', '1.0 k', '134.5 M', '8.0 G']);
});

test('a table aligns its columns, numbers to the right', () => {
  const table = formatTable(
    ['name', 'size', ''],
    [
      ['a', 5, 'x'],
      ['long name', 123, ''],
      ['字', 7, 'y'],
    ],
  );
  assert.is(table, 'name       size\na             5  x\nlong name   123\n字            7  y');
  assert.is(formatTable(null, [['a', 'b']]), 'a  b');
  assert.is(formatTable(null, []), '');
  assert.is(displayWidth('e\u0301字😀'), 5);
});

function target(columns = 80, isTTY = true) {
  const written: string[] = [];
  return { written, columns, isTTY, write: (text: string) => written.push(text) };
}

test('what files call something does not move the cursor', () => {
  const name = '\u001b[2J\u009bA\n\u202ex';
  assert.is(formatTable(null, [[name, 1]]), `${'\ufffd'}[2J${'\ufffd'}A${'\ufffd'}${'\ufffd'}x  1`);
  assert.is(noteLine(name), `note: \ufffd[2J\ufffdA\ufffd\ufffdx\n`);
});

test('progress rewrites one line, not too often, and cleans up', () => {
  const out = target();
  let time = 0;
  const progress = new Progress({ label: 'layers', total: 4, target: out, clock: () => time });
  progress.update(1, 'q_proj');
  progress.update(1.5); // too soon
  time = 2000;
  progress.update(2);
  time = 2001;
  progress.update(4); // the last is always shown
  progress.end();
  progress.update(4);
  progress.end();
  assert.is(out.written.length, 4);
  assert.match(out.written[0]!, 'layers  █████░░░░░░░░░░░░░░░  25 %  q_proj');
  assert.match(out.written[1]!, '50 %  4.0 s left'); // one step in two seconds: the first was there before
  assert.match(out.written[2]!, '100 %');
  assert.is(out.written[3], '\r\u001b[2K');
});

test('the time that is left is of this work alone, and anew where the whole has grown', () => {
  let time = 0;
  const out = target();
  const progress = new Progress({ label: 'loading', total: 1, target: out, clock: () => time });
  time = 600_000; // ten minutes of downloading before
  progress.update(0.25);
  time += 2000;
  progress.update(0.5);
  time += 60_000;
  progress.update(1); // of the small files, which are all that was known
  progress.update(0.1);
  time += 2000;
  progress.update(0.2);
  const left = out.written.map((line) => /[^ ]+ [a-z]+ left/.exec(line)?.[0] ?? '');
  assert.equal(left, ['', '4.0 s left', '', '16.0 s left']);
});

test('progress counts without a total, and never wraps', () => {
  const out = target(20);
  new Progress({ label: 'tokens', total: null, target: out }).update(12, 'a note that is far too long');
  assert.is(out.written[0], '\r\u001b[2Ktokens  12');
  // what matters least goes first, and nothing is cut
  const lines = [80, 50, 40, 30, 20, 10, 0].map((columns) => {
    const some = target(columns);
    new Progress({ label: 'downloading', total: 1, target: some }).update(0.456, '93.8 MiB');
    return some.written[0]!.slice('\r\u001b[2K'.length);
  });
  assert.equal(lines, [
    'downloading  █████████░░░░░░░░░░░  45 %  93.8 MiB',
    'downloading  █████████░░░░░░░░░░░  45 %  93.8 MiB',
    'downloading  █████░░░░░  45 %  93.8 MiB',
    'downloading  45 %  93.8 MiB',
    'downloading  45 %',
    '45 %',
    'downloading  █████████░░░░░░░░░░░  45 %  93.8 MiB', // no columns: it does not say
  ]);
});

test('a line that was cleared comes back at once', () => {
  const out = target();
  const progress = new Progress({ label: 'x', total: 4, target: out, clock: () => 0 });
  for (const done of [1, 2]) {
    progress.update(done);
    progress.clear();
  }
  assert.is(out.written.length, 4);
  assert.match(out.written[2]!, '50 %');
});

test('progress is silent without a terminal and with silent', () => {
  const pipe = target(80, false);
  const json = target();
  for (const progress of [
    new Progress({ label: 'x', total: 2, target: pipe }),
    new Progress({ label: 'x', total: 2, target: json, silent: true }),
  ]) {
    progress.update(1);
    progress.end();
  }
  assert.equal([...pipe.written, ...json.written], []);
});

test('one is counted in the singular, and nothing else is', () => {
  assert.equal(
    [0, 1, 2].map((n) => counted(n, 'candidate')),
    ['0 candidates', '1 candidate', '2 candidates'],
  );
  assert.is(counted(1234, 'token', formatCount(1234)), '1.2 k tokens');
});

test.run();
