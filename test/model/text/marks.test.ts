/** Long runs of combining marks: the same normal forms, in steps that follow from their number. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { orderMarks } from '../../../src/model/text/marks.ts';
import { normalForm } from '../../../src/model/text/unicode.ts';

const MARKS = Array.from({ length: 0x1f000 - 0x300 }, (_, i) => String.fromCodePoint(0x300 + i)).filter((character) =>
  /[\p{M}\uff9e\uff9f]/u.test(character),
);

test('marks in order have the normal forms that they had', () => {
  let seed = 5;
  const below = (limit: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % limit;
  };
  for (let round = 0; round < 100; round++) {
    const some = Array.from({ length: 2 + below(40) }, () => MARKS[below(MARKS.length)]!);
    if (round % 2 === 0) some.push('\u0344', '\u0f73', '\u0f81'); // these decompose into several
    const run = Array.from({ length: 130 + below(300) }, () => some[below(some.length)]!).join('');
    const text = `a${run}b\u0301 ${run}`;
    for (const form of ['NFC', 'NFD', 'NFKC', 'NFKD'] as const) {
      const inOrder = orderMarks(text, form.startsWith('NFK'));
      assert.is(inOrder.normalize(form), text.normalize(form), `${form} of ${JSON.stringify(text)}`);
    }
  }
});

test('a million marks have a normal form: the host alone would take minutes', () => {
  const half = 500_000;
  for (const [pair, form] of [
    ['\u0301\u0323', 'NFC'],
    ['\u0f73\u0301', 'NFD'],
    ['\uff9e\u0301', 'NFKC'],
  ] as const) {
    const text = normalForm(`a${pair.repeat(half)}`, form);
    assert.ok(text.length >= 2 * half - 1, form);
  }
  assert.is(
    normalForm(`a${'\u0301\u0323'.repeat(half)}`, 'NFC'),
    `\u1ea1${'\u0323'.repeat(half - 1)}${'\u0301'.repeat(half)}`,
  );
});

test.run();
