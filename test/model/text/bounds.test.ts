import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError } from '../../../src/errors.ts';
import { Bpe } from '../../../src/model/text/bpe.ts';
import { type Pairs, PairTable } from '../../../src/model/text/pairs.ts';
import { Tokenizer } from '../../../src/model/text/tokenizer.ts';

type Json = Record<string, unknown>;

/** A tokenizer of single letters (`a` to `z`, a space, `▁`), changed. */
function letters(change: Json = {}, model: Json = {}, config: object = {}): Tokenizer {
  const vocab = Object.fromEntries(Array.from('abcdefghijklmnopqrstuvwxyz ▁<>', (letter, id) => [letter, id]));
  return Tokenizer.create({
    tokenizerJson: {
      model: { type: 'BPE', vocab, merges: [], ...model },
      pre_tokenizer: null,
      decoder: { type: 'Fuse' },
      ...change,
    },
    tokenizerConfig: config,
    chatTemplate: null,
  });
}

const cut = (Regex: string) => ({
  pre_tokenizer: { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
});

function refused(run: () => unknown, code: string, what: string): void {
  assert.throws(run, (error: unknown) => error instanceof EspalierError && error.code === code, what);
}

/** Milliseconds of the processor, nearly: tests run beside others. */
function timed(run: () => unknown): number {
  const start = performance.now();
  try {
    run();
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error;
  }
  return performance.now() - start;
}

test('expressions that backtrack without end in other engines end', () => {
  const run = 'a'.repeat(20_000);
  // those that repeat what may be empty are not read at all
  const patterns = [
    '(a+)+$',
    '(a|a)*b',
    '(?:x+x+)+y',
    '(a|aa)+$',
    'a*a*a*a*b',
    '(.*)(.*)(.*)b',
    '([a-z]+)*!',
    '(a+b?)+c',
  ];
  for (const pattern of [...patterns, '(?=(a+)+b)a', '(?>(a|a)+)b', '\\w*\\d', 'a+b', '(?<=a)a+b', '(a*)*b', '.*?b']) {
    const time = timed(() => {
      const tokenizer = letters(cut(pattern));
      for (const text of [run, 'x'.repeat(20_000), `${run}!`]) tokenizer.encode(text);
    });
    assert.ok(time < 20_000, `${pattern}: ${time} ms`);
  }
});

test('remembering failures changes no match', () => {
  const text = `${'a'.repeat(3000)}b${'ab'.repeat(500)}c${'xyz '.repeat(300)}`;
  for (const pattern of [
    '(a|a)*b',
    '(a|ab)(c|bcd)?',
    '(a+)+b',
    '(?:a|b)+?c',
    '(x|xy)(z|yz) ',
    '(?>a+)b|a',
    '.+?(?=b)',
  ]) {
    // RegExp knows all of these but the atomic group, and the texts are short enough for it
    const native = new RegExp(pattern.replace('(?>a+)b|a', 'a+b|a'), 'gu');
    const tokenizer = letters(
      { ...cut(pattern), pre_tokenizer: { ...cut(pattern).pre_tokenizer, behavior: 'Removed', invert: true } },
      { ignore_merges: false },
    );
    const short = text.slice(2980, 3400) + text.slice(-120);
    const expected = (short.match(native) ?? []).join('');
    assert.is(tokenizer.decode(tokenizer.encode(short)), expected, pattern);
    const all = tokenizer.decode(tokenizer.encode(text));
    assert.ok(all.endsWith(tokenizer.decode(tokenizer.encode(text.slice(4002)))), pattern);
  }
});

test('expressions that are malformed, or whose meaning is not certain, are refused', () => {
  const bad = [
    '(',
    ')',
    '[a',
    '*a',
    'a{3,1}',
    '[b-a]',
    '\\p{Foo}',
    '[[:foo:]]',
    '(?s)a',
    'a\\',
    '\\x{110000}',
    '(?<=a+)b',
  ];
  const unsure = [
    '(a)\\1',
    '\\X',
    '(?i)[a&&b]',
    '[a&&]',
    '(?~a)',
    '(?i:ß)',
    '(?i:st)',
    '(a*)*',
    'a**',
    '(?x) a',
    '\\k<n>',
    '\\G',
    'a\\Kb',
  ];
  const large = ['a{1001}', '(?:(?:ab){1000}c){1000}', '('.repeat(200) + ')'.repeat(200), 'a'.repeat(20_000)];
  for (const pattern of [...bad, ...unsure, ...large]) {
    refused(() => letters(cut(pattern)), 'E_TOKENIZER_INVALID', pattern.slice(0, 40));
  }
});

test('a normalizer that makes a text grow beyond all bounds is refused', () => {
  const grow = (content: string) => ({ type: 'Replace', pattern: { String: 'a' }, content });
  const steps = Array.from({ length: 6 }, () => grow('a'.repeat(100)));
  const tokenizer = letters({ normalizer: { type: 'Sequence', normalizers: steps } });
  refused(() => tokenizer.encode('a'.repeat(100)), 'E_TOKENIZER_INVALID', '100 to the power of six');
  assert.is(letters({ normalizer: grow('aaaa') }).encode('a'.repeat(1000)).length, 4000);
  const many = { type: 'Sequence', normalizers: Array.from({ length: 300 }, () => grow('a')) };
  refused(() => letters({ normalizer: many }), 'E_TOKENIZER_INVALID', '300 normalizers');
});

test('an added token of megabytes is refused, and thousands that begin alike are found at once', () => {
  const token = (content: string, id: number) => ({ id, content, special: false, normalized: false });
  refused(() => letters({ added_tokens: [token('x'.repeat(20_000_000), 30)] }), 'E_TOKENIZER_INVALID', '20 MB');
  const added = Array.from({ length: 2000 }, (_, i) => token('b'.repeat(i + 2), 30 + i));
  let tokenizer: Tokenizer | null = null;
  const building = timed(() => {
    tokenizer = letters({ added_tokens: added });
  });
  assert.ok(building < 5000, `${building} ms`);
  assert.equal(tokenizer!.encode('b'.repeat(2003)), [30 + 1999, 30]);
  const worst = letters({ added_tokens: [token(`${'b'.repeat(4000)}c`, 30)] });
  assert.ok(timed(() => worst.encode('b'.repeat(200_000))) < 20_000);
});

test('a vocabulary of tokens that hold each other takes memory of its own size', () => {
  const texts = Array.from({ length: 2000 }, (_, i) => 'b'.repeat(i + 1));
  const spec = {
    tokenizerJson: {
      model: { type: 'BPE', vocab: Object.fromEntries(texts.map((text, id) => [text, id])) },
      decoder: { type: 'Fuse' },
    },
    tokenizerConfig: {},
    chatTemplate: null,
    scores: { scores: texts.map((_, id) => id), mergeable: texts.map(() => true) },
  };
  let ids: number[] = [];
  const time = timed(() => {
    ids = Tokenizer.create(spec).encode('b'.repeat(5000));
  });
  assert.is(
    ids.reduce((sum, id) => sum + id + 1, 0),
    5000,
  );
  assert.ok(time < 10_000, `${time} ms`);
  const pieces = [...texts.map((text, i): [string, number] => [text, -i]), ['c', -1] as [string, number]];
  const unigram = { type: 'Unigram', unk_id: 0, vocab: pieces };
  assert.ok(timed(() => letters({}, unigram).encode('b'.repeat(100_000))) < 20_000);
});

test('scores merge the best pair first, and of equal ones the leftmost', () => {
  const texts = ['a', 'b', 'c', 'ab', 'bc', 'abc', 'ca'];
  const encode = (scores: number[], text: string) =>
    Tokenizer.create({
      tokenizerJson: {
        model: { type: 'BPE', vocab: Object.fromEntries(texts.map((t, id) => [t, id])) },
        decoder: { type: 'Fuse' },
      },
      tokenizerConfig: {},
      chatTemplate: null,
      scores: { scores, mergeable: texts.map((_, id) => id !== 5) },
    })
      .encode(text)
      .map((id) => texts[id]!)
      .join('|');
  assert.is(encode([0, 0, 0, -1, -2, -9, -3], 'abcab'), 'ab|c|ab');
  assert.is(encode([0, 0, 0, -2, -1, -9, -3], 'abcab'), 'a|bc|ab');
  assert.is(encode([0, 0, 0, -1, -1, -9, -1], 'abcab'), 'ab|ca|b');
  assert.is(encode([0, 0, 0, -1, -1, -9, -1], 'cabc'), 'ca|bc');
});

test('a text that is longer than there is room for is refused before it is encoded', () => {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const vocab = Object.fromEntries([...bytes, 'a', 'aa', '▁'].map((text, id) => [text, id]));
  const complete = { vocab, merges: [['a', 'a']], byte_fallback: true };
  const long = 'a'.repeat(3_000_000);
  const tokenizer = letters({}, complete);
  const time = timed(() => refused(() => tokenizer.encode(long, {}, 1000), 'E_CONTEXT_LENGTH', 'bytes'));
  assert.ok(time < 2000, `${time} ms`);
  assert.is(tokenizer.encode('aaaa', {}, 2).length, 2);
  // one long token of other characters does not loosen the bound
  const dashes = Object.fromEntries([...bytes, 'a', 'aa', '▁', '-'.repeat(500)].map((text, id) => [text, id]));
  const other = letters({}, { ...complete, vocab: dashes });
  refused(() => other.encode(long, {}, 1_000_000), 'E_CONTEXT_LENGTH', 'letters');
  refused(() => tokenizer.encode('aaaaa', {}, 2), 'E_CONTEXT_LENGTH', 'one more');
  // where characters are dropped, the length says nothing, and words are counted as they come
  const dropping = letters({ pre_tokenizer: { type: 'WhitespaceSplit' } });
  assert.equal(dropping.encode('☃'.repeat(10_000), {}, 1), []);
  refused(() => dropping.encode('a '.repeat(10_000), {}, 100), 'E_CONTEXT_LENGTH', 'words');
});

test('hundreds of thousands of letters without a space take steps that follow from their number', () => {
  const texts = ['a', 'b', 'c', 'ab', 'abab', 'ca', 'bc'];
  const ids = new Map(texts.map((text, id) => [text, id]));
  const table = new PairTable(4);
  const merges = [
    ['a', 'b'],
    ['ab', 'ab'],
    ['c', 'a'],
    ['b', 'c'],
  ] as const; // prettier-ignore
  merges.forEach(([left, right], rank) => {
    table.set(ids.get(left)!, ids.get(right)!, rank, ids.get(left + right)!);
  });
  let steps = 0;
  const pairs: Pairs = {
    find: (left, right) => {
      steps++;
      return table.find(left, right);
    },
    rankOf: (handle) => table.rankOf(handle),
    mergedOf: (handle) => table.mergedOf(handle),
  };
  const options = {
    fuseUnknown: false,
    byteFallback: false,
    bytes: false,
    ignoreMerges: false,
    prefix: '',
    suffix: '',
  };
  const bpe = new Bpe({ ids, pairs, unknown: null, cut: null, ...options });
  let seed = 1;
  const text = Array.from({ length: 400_000 }, () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return 'abc'[(seed >>> 16) % 3];
  }).join('');
  const out: number[] = [];
  bpe.encode(text, out);
  assert.is(out.map((id) => texts[id]!).join(''), text);
  // one for each pair of neighbours, three for each merge, of which there are fewer than letters
  assert.ok(steps < 4 * text.length, `${steps}`);
});

test('whatever stands in a tokenizer.json ends in a code', () => {
  const model = (change: Json) => () => letters({}, change);
  const nested = (depth: number) => {
    let value: unknown = { type: 'NFC' };
    for (let i = 0; i < depth; i++) value = { type: 'Sequence', normalizers: [value] };
    return value;
  };
  const unigram = (change: Json) => model({ type: 'Unigram', vocab: [['a', -1]], unk_id: 0, ...change });
  const bad: Record<string, () => unknown> = {
    'an id below 0': model({ vocab: { a: -1 } }),
    'half an id': model({ vocab: { a: 0.5 } }),
    'an id of 2 to the power of 31': model({ vocab: { a: 2 ** 31 } }),
    'an id as text': model({ vocab: { a: '1' } }),
    'two tokens of one id': model({ vocab: { a: 0, b: 0 } }),
    'merges of numbers': model({ merges: [[1, 2]] }),
    'merges of three': model({ merges: [['a', 'b', 'c']] }),
    'merges as an object': model({ merges: { 0: 'a b' } }),
    'a list as the unknown token': model({ unk_token: ['a'] }),
    'a flag as text': model({ fuse_unk: 'true' }),
    dropout: model({ dropout: 0.1 }),
    'scores as texts': unigram({ vocab: [['a', '-1']] }),
    'nested scores': unigram({ vocab: [['a', [-1]]] }),
    'an infinite score': unigram({ vocab: [['a', Number.POSITIVE_INFINITY]] }),
    'half a surrogate': unigram({ vocab: [['\ud83d', -1]] }),
    'the unknown id -1': unigram({ unk_id: -1 }),
    'the unknown id outside': unigram({ unk_id: 1 }),
    'the unknown id as text': unigram({ unk_id: '0' }),
    'letters as special tokens': () => letters({}, {}, { additional_special_tokens: 'abcdef' }),
    'a number as a special token': () => letters({}, {}, { bos_token: 3 }),
    'an added token without text': () => letters({ added_tokens: [{ id: 30, content: 5 }] }),
    'an added token whose id another has': () =>
      letters({ added_tokens: [{ id: 3, content: '<x>' }] }, { vocab: { a: 0, b: 2 }, merges: [] }),
    'a normalizer in 20,000 others': () => letters({ normalizer: nested(20_000) }),
    'a normalizer that is a list': () => letters({ normalizer: [] }),
    'no content': () => letters({ normalizer: { type: 'Replace', pattern: { String: 'a' } } }),
    'a mark of two letters': () => letters({ pre_tokenizer: { type: 'Metaspace', replacement: 'ab' } }),
    'a template that names a list of ids again and again': () =>
      letters({
        post_processor: {
          type: 'TemplateProcessing',
          single: [{ Sequence: { id: 'A' } }, ...Array.from({ length: 200 }, () => ({ SpecialToken: { id: 'a' } }))],
          special_tokens: { a: { id: 'a', ids: Array.from({ length: 200 }, () => 0), tokens: ['a'] } },
        },
      }),
    'a template without a text': () => letters({ post_processor: { type: 'TemplateProcessing', single: [] } }),
    'a table that is none': () => letters({ normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' } }),
    'another version': () => letters({ version: '2.0' }),
  };
  for (const [what, run] of Object.entries(bad)) refused(run, 'E_TOKENIZER_INVALID', what);
  refused(
    () => letters({}, { type: 'Unigram', vocab: [['a', -1]], unk_id: null }).encode('b'),
    'E_TOKENIZER_INVALID',
    'null',
  );
  const proto = letters({}, { vocab: JSON.parse('{"_":0,"p":1,"__proto__":2}'), merges: [] });
  assert.is(proto.idOf('__proto__'), 2);
});

test.run();
