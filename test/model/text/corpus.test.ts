import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Tokenizer } from '../../../src/model/text/tokenizer.ts';
import { fixture } from '../shared-files.ts';

interface Case {
  model: string;
  normalizer: unknown;
  pre_tokenizer: unknown;
  added_tokens: object[];
  ids: string[];
  plain: Record<string, string>;
}
const { texts, models, cases } = (await fixture('tokenizer-corpus.json')) as {
  texts: string[];
  models: Record<string, object>;
  cases: Case[];
};

test(`${cases.length} small tokenizers in which every option varies give the ids of Hugging Face’s`, () => {
  for (const [number, { model, ids, plain, ...parts }] of cases.entries()) {
    const tokenizerJson = { version: '1.0', ...parts, decoder: { type: 'Fuse' }, model: models[model] };
    const tokenizer = Tokenizer.create({ tokenizerJson, tokenizerConfig: {}, chatTemplate: null });
    const what = (text: string) => `case ${number}, ${model}, ${JSON.stringify(text)}, ${JSON.stringify(parts)}`;
    for (const [i, text] of texts.entries()) {
      assert.is(tokenizer.encode(text).join(' '), ids[i], what(text));
      const letters = tokenizer.encode(text, { specialTokens: false }).join(' ');
      assert.is(letters, plain[i] ?? ids[i], `${what(text)}, special tokens as text`);
    }
  }
});

test('segments without plain parts are encoded as their texts joined, wherever they are cut', () => {
  for (const { model, ids, plain, ...parts } of cases.filter((_, i) => i % 5 === 0)) {
    const tokenizerJson = { version: '1.0', ...parts, decoder: { type: 'Fuse' }, model: models[model] };
    const tokenizer = Tokenizer.create({ tokenizerJson, tokenizerConfig: {}, chatTemplate: null });
    for (const [i, text] of texts.entries()) {
      for (const all of [false, true]) {
        const segments = [0, 1, 2].map((part) => ({
          text: text.slice((part * text.length) / 3, ((part + 1) * text.length) / 3),
          plain: all,
        }));
        const expected = all ? (plain[i] ?? ids[i]) : ids[i];
        assert.is(tokenizer.encodeSegments(segments).join(' '), expected, JSON.stringify([text, parts]));
      }
    }
  }
});

test('of added tokens that the normalizer makes alike, special ones are found first, then the first one', () => {
  const token = (id: number, content: string, special: boolean) => ({ id, content, special, normalized: true });
  const encode = (...added: object[]) =>
    Tokenizer.create({
      tokenizerJson: {
        normalizer: { type: 'Lowercase' },
        decoder: { type: 'Fuse' },
        model: { type: 'BPE', vocab: { x: 0 }, merges: [] },
        added_tokens: added,
      },
      tokenizerConfig: {},
      chatTemplate: null,
    }).encode('xFOO');
  // the ids that tokenizers 0.23 gives
  assert.equal(encode(token(1, 'Foo', false), token(2, 'FOO', false)), [0, 1]);
  assert.equal(encode(token(1, 'Foo', false), token(2, 'FOO', true)), [0, 2]);
});

test('a Precompiled normalizer replaces by its table', () => {
  // one entry, "A" by "bc": the root's children are at 0x80, that of 0x41 has its value beside it
  const units = new Uint32Array(256);
  units[0] = 0x80 << 10;
  units[0x80 ^ 0x41] = 0x41 | (1 << 8) | (1 << 10);
  const table = [1024, ...units].flatMap((unit) => [unit & 255, (unit >> 8) & 255, (unit >> 16) & 255, unit >>> 24]);
  const precompiled_charsmap = btoa(String.fromCharCode(...table, 0x62, 0x63, 0));
  const tokenizer = Tokenizer.create({
    tokenizerJson: {
      normalizer: { type: 'Precompiled', precompiled_charsmap },
      decoder: { type: 'Fuse' },
      model: { type: 'BPE', vocab: { a: 0, b: 1, c: 2, B: 3, '\u0301': 4 }, merges: [] },
    },
    tokenizerConfig: {},
    chatTemplate: null,
  });
  assert.equal(tokenizer.encode('aABA'), [0, 1, 2, 3, 1, 2]);
  assert.equal(tokenizer.encode('A\u0301'), [1, 2]); // all of the grapheme cluster, as in the reference
});

test.run();
