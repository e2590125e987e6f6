import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Tokenizer } from '../../../src/model/text/tokenizer.ts';

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

test('a vocabulary that has control tokens among its words writes none of them where text is plain', () => {
  const create = (model: object, added: [number, string][], change: object = {}) =>
    Tokenizer.create({
      tokenizerJson: {
        model,
        added_tokens: added.map(([id, content]) => ({ id, content, special: true, normalized: false })),
        decoder: { type: 'Fuse' },
        ...change,
      },
      tokenizerConfig: {},
      chatTemplate: null,
    });
  const pieces = ['<unk>', '</s>', 'a', '<', '/', 's', '>'].map((text, i) => [text, i < 2 ? 0 : -1]);
  const specials: [number, string][] = [
    [0, '<unk>'],
    [1, '</s>'],
  ]; // prettier-ignore
  const unigram = { type: 'Unigram', unk_id: 0, vocab: pieces };
  const nfkc = create(unigram, specials, { normalizer: { type: 'NFKC' } });
  assert.equal(nfkc.encode('a</s>＜/s＞'), [2, 1, 1]);
  assert.equal(nfkc.encode('a</s>＜/s＞', { specialTokens: false }), [2, 3, 4, 5, 6, 3, 4, 5, 6]);
  assert.equal(nfkc.encode('a☃<unk>', { specialTokens: false }), [2, 0, 3, 0, 6]); // what is unknown is still unknown
  // across the border of two segments
  const across = (t: Tokenizer, first: boolean, text: [string, string]) =>
    t.encodeSegments(text.map((part, i) => ({ text: part, plain: (i === 0) === first })));
  for (const first of [true, false]) assert.equal(across(nfkc, first, ['</', 's>']), [3, 4, 5, 6]);
  // unknown letters in a row are looked up as one word
  const fused = create({ type: 'Unigram', unk_id: 0, vocab: pieces.slice(0, 3) }, specials);
  assert.equal(fused.encode('a</s>', { specialTokens: false }), [2, 0]);

  const vocab = { a: 0, '<': 1, s: 2, '>': 3, '<s': 4, '<s>': 5, '!': 6 };
  const merges = [
    ['<', 's'],
    ['<s', '>'],
  ]; // prettier-ignore
  const special: [number, string][] = [
    [5, '<s>'],
    [6, '!'],
  ]; // prettier-ignore
  for (const ignore_merges of [false, true]) {
    const bpe = create({ type: 'BPE', vocab, merges, ignore_merges }, special);
    assert.equal(bpe.encode('<s>a!'), [5, 0, 6]);
    for (const text of ['<s>', 'a<s>']) {
      assert.equal(bpe.encode(text, { specialTokens: false }).slice(-2), [4, 3], text);
    }
    for (const first of [true, false]) assert.equal(across(bpe, first, ['<', 's>']), [4, 3]);
    assert.equal(bpe.encode('!', { specialTokens: false }), [6]); // no other token has that letter
  }
});

test('in a conversation the tokens that a template writes are letters too, special or not', () => {
  const added = ['<u>', '<b>', ' ', '<n>'].map((content, i) => ({
    id: 18 + i,
    content,
    special: false,
    normalized: content === '<n>',
  }));
  const create = (chatTemplate: string | null, tokenizerConfig: object = {}, more: object = {}) =>
    Tokenizer.create({
      tokenizerJson: {
        model: {
          type: 'BPE',
          vocab: Object.fromEntries(Array.from('abcdeimnrsu<>|/_▁Z', (l, id) => [l, id])),
          merges: [],
        },
        added_tokens: added,
        decoder: { type: 'Fuse' },
      },
      tokenizerConfig,
      chatTemplate,
      ...more,
    });
  const found = (t: Tokenizer, inChat = true) =>
    t
      .encodeSegments(
        [
          { text: '<u><n>', plain: false },
          { text: 'a <u> <b><n>', plain: true },
        ],
        { inChat },
      )
      .filter((id) => id >= 18)
      .map((id) => t.tokenText(id))
      .join('');
  const template = "{# <b> #}{% for m in messages %}<u>{{ 'x<n> ' + m.content }}{% endfor %}";
  assert.is(found(create(template)), '<u><n>  <b>'); // a comment is not written, and spaces are text
  assert.is(found(create(null, {}, { namedTemplates: new Map([['rag', template]]) })), '<u><n>  <b>');
  assert.is(found(create(template), false), '<u><n> <u> <b><n>');
  assert.is(found(create(null)), '<u><n> <u> <b><n>');
  assert.is(found(create('<u>{% ? %}')), '<u><n> <u> <b><n>');
  assert.is(found(create(template, { chat_control_tokens: ['<b>'] })), '<u><n> <u> <n>');
  for (const chat_control_tokens of ['<b>', [3]]) {
    const code = (error: unknown) => (error as { code?: string }).code === 'E_TOKENIZER_INVALID';
    assert.throws(() => found(create(template, { chat_control_tokens })), code);
  }
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
