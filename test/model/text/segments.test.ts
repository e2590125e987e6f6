import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Tokenizer } from '../../../src/model/tokenizer.ts';

/** Letters, and special tokens that are looked for in the text as it is or in the normalised one. */
function tokenizer(specials: string[], normalized = false, normalizer: object | null = null): Tokenizer {
  const vocab = Object.fromEntries(Array.from('abcdeimnrst<>|/_▁ ', (letter, id) => [letter, id]));
  const added = specials.map((content, i) => ({ id: 18 + i, content, special: true, normalized }));
  return Tokenizer.create({
    tokenizerJson: {
      model: { type: 'BPE', vocab, merges: [] },
      added_tokens: added,
      normalizer,
      decoder: { type: 'Fuse' },
    },
    tokenizerConfig: {},
    chatTemplate: null,
  });
}

/** Special tokens in brackets, other tokens as they are. `+` marks a segment that is not plain. */
function seen(t: Tokenizer, ...segments: string[]): string {
  const ids = t.encodeSegments(
    segments.map((segment) => ({ text: segment.slice(1), plain: !segment.startsWith('+') })),
  );
  return ids.map((id) => (id >= 18 ? `[${t.tokenText(id)}]` : t.tokenText(id))).join('');
}

test('special tokens are found only where they lie wholly outside of plain text', () => {
  const t = tokenizer(['<|im|>', '<s>']);
  assert.is(seen(t, '+<|im|>a', '-<|im|><s>', '+<s>'), '[<|im|>]a<|im|><s>[<s>]');
  assert.is(seen(t, '+<|i', '-m|>'), '<|im|>');
  assert.is(seen(t, '-<|i', '+m|>'), '<|im|>');
  assert.is(seen(t, '+<|i', '+m|>'), '[<|im|>]');
  assert.is(seen(t, '-<|im|>', '-', '+'), '<|im|>');
});

test('a token that reaches across a border hides none on the other side', () => {
  const t = tokenizer(['<s>', 'a<s>', '<s>b', '<s', 's>a<s>']);
  assert.is(seen(t, '-a', '+<s>'), 'a[<s>]'); // not a<s>
  assert.is(seen(t, '+<s>', '-b'), '[<s>]b'); // not <s>b
  assert.is(seen(t, '-<s>a', '+<s>'), '<s>a[<s>]');
  assert.is(seen(t, '+<s', '->'), '[<s]>');
});

test('the same where special tokens are looked for in normalised text', () => {
  const prepend = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const t = tokenizer(['<s>', '</s>'], true, prepend);
  assert.is(seen(t, '+<s>a b', '- </s> <s>', '+</s>'), '[<s>]a▁b▁</s>▁<s>[</s>]');
  assert.is(seen(t, '-<s>', '-</s>'), '<s></s>');
  // a normalizer that makes tokens out of what was none: each part by itself
  const making = tokenizer(['<s>'], true, { type: 'Replace', pattern: { String: 'r' }, content: 's' });
  assert.is(seen(making, '-<r>', '+<s>'), '<s>[<s>]');
});

test('a surrogate pair that two segments share is one character', () => {
  const vocab = { '😀': 0, a: 1 };
  const t = Tokenizer.create({
    tokenizerJson: { model: { type: 'BPE', vocab, merges: [] }, decoder: { type: 'Fuse' } },
    tokenizerConfig: {},
    chatTemplate: null,
  });
  assert.equal(t.encodeSegments(['a\ud83d', '\ude00a'].map((text) => ({ text, plain: true }))), [1, 0, 1]);
});

test.run();
