import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError } from '../../src/errors.ts';
import { StopStrings } from '../../src/model/text/stop-strings.ts';
import { uniform } from '../../src/random.ts';

/** What comes out of the pieces, and the stop string that ended them. */
function run(stops: string[], pieces: string[]): [string, string | null] {
  const matcher = new StopStrings(stops);
  let out = '';
  for (const piece of pieces) {
    const { text, stop } = matcher.push(piece);
    out += text;
    if (stop !== null) return [out, stop];
  }
  const { text, stop } = matcher.end();
  return [out + text, stop];
}

/** The same without pieces: the earliest, then the shortest. */
function whole(stops: string[], text: string): [string, string | null] {
  for (let at = 0; at < text.length; at++) {
    const found = stops.filter((stop) => text.startsWith(stop, at)).sort((a, b) => a.length - b.length)[0];
    if (found !== undefined) return [text.slice(0, at), found];
  }
  return [text, null];
}

test('a stop string inside one piece ends the text and is not let out', () => {
  assert.equal(run(['\n\n'], ['Hello', ' there\n\nmore']), ['Hello there', '\n\n']);
});

test('a stop string across pieces is found; what only looked like one is let out', () => {
  assert.equal(run(['<end>'], ['a<', 'e', 'n', 'd', '>b']), ['a', '<end>']);
  assert.equal(run(['<end>'], ['a<', 'en', 'x']), ['a<enx', null]);
  assert.equal(run(['<end>'], ['a<<', 'end', '>']), ['a<', '<end>']);
  assert.equal(run(['aab'], ['a', 'a', 'a', 'b']), ['a', 'aab']);
});

test('only what could still become a stop string is held back', () => {
  const matcher = new StopStrings(['stop', 'top secret']);
  assert.equal(matcher.push('do not s'), { text: 'do not ', stop: null });
  assert.equal(matcher.push('t'), { text: '', stop: null });
  assert.equal(matcher.push('ay'), { text: 'stay', stop: null });
  assert.equal(matcher.push(' on to'), { text: ' on ', stop: null });
  assert.equal(matcher.end(), { text: 'to', stop: null });
});

test('the earliest stop string wins, then the shortest, however the text is cut', () => {
  assert.equal(run(['abcd', 'bc'], ['abc']), ['a', 'bc']);
  assert.equal(run(['abcd', 'bc'], ['abc', 'd']), ['', 'abcd']);
  assert.equal(run(['abc', 'ab'], ['xabc']), ['x', 'ab']);
  for (let round = 0; round < 2000; round++) {
    let draws = 0;
    const random = (n: number) => Math.floor(uniform(round, draws++) * n);
    const word = (length: number) => Array.from({ length }, () => 'ab\n'[random(3)]).join('');
    const stops = Array.from({ length: 1 + random(3) }, () => word(1 + random(4)));
    const text = word(random(14));
    const pieces: string[] = [];
    for (let at = 0; at < text.length; ) {
      const length = 1 + random(4);
      pieces.push(text.slice(at, at + length));
      at += length;
    }
    assert.equal(run(stops, pieces), whole(stops, text), JSON.stringify({ stops, pieces }));
  }
});

test('after a stop nothing comes out any more', () => {
  const matcher = new StopStrings(['.']);
  matcher.push('One. Two.');
  assert.is(matcher.stopped, '.');
  assert.equal(matcher.push('Three'), { text: '', stop: '.' });
  assert.equal(matcher.end(), { text: '', stop: '.' });
});

test('without stop strings all text passes; an empty stop string is refused', () => {
  assert.equal(run([], ['a', '', 'b']), ['ab', null]);
  assert.throws(
    () => new StopStrings(['a', '']),
    (error: unknown) => error instanceof EspalierError && error.code === 'E_ARGUMENT',
  );
});

test.run();
