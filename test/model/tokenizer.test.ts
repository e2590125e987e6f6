import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError } from '../../src/errors.ts';
import { Tokenizer } from '../../src/model/text/tokenizer.ts';
import { fixture, sharedJson } from './shared-files.ts';

interface Case {
  base: string;
  patch: Record<string, unknown>;
  ids: number[][];
  decoded: string[];
  noise: { ids: number[]; text: string }[];
  withSpecial: number[];
}
const { texts, cases } = (await fixture('tokenizers.json')) as { texts: string[]; cases: Record<string, Case> };

const folders: Record<string, string> = {
  gpt2: 'models/tokenizers/gpt2',
  qwen3: 'models/tokenizers/qwen3',
  smollm2: '', // its vocabulary is in a GGUF file: see gguf-tokenizer.test.ts
};

const bases = new Map<string, { json: Record<string, unknown>; config: object } | null>();
async function base(name: string) {
  if (!bases.has(name)) {
    const folder = folders[name] ?? `models/${name}`;
    const json = folder === '' ? null : await sharedJson(`${folder}/tokenizer.json`);
    const config = name === 'qwen3' || name === 'nano-base' ? await sharedJson(`${folder}/tokenizer_config.json`) : {};
    bases.set(name, json && { json, config });
  }
  return bases.get(name);
}

async function load(name: string, patch: Record<string, unknown> = {}): Promise<Tokenizer | null> {
  const found = await base(name);
  if (!found) return null;
  const json = { ...found.json, ...patch };
  const model = patch['model'] as { type?: string } | undefined;
  if (model && model.type !== 'Unigram') json['model'] = { ...(found.json['model'] as object), ...model };
  return Tokenizer.create({ tokenizerJson: json, tokenizerConfig: found.config, chatTemplate: null });
}

/** A tiny byte-level vocabulary that needs no file. */
function tiny(change: (json: Record<string, unknown>) => void = () => {}, config: object = {}) {
  const letters = ['a', 'b', 'c', 'Ġ', 'Ã', '©', 'ab', 'abc'];
  const json: Record<string, unknown> = {
    added_tokens: [{ id: 8, content: '<end>', special: true, normalized: false }],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(letters.map((text, id) => [text, id])),
      merges: ['a b', ['ab', 'c']],
    },
  };
  change(json);
  return { tokenizerJson: json, tokenizerConfig: config, chatTemplate: null };
}

for (const [name, expected] of Object.entries(cases)) {
  if (expected.base === 'smollm2') continue;
  test(`${name}: ids and text are those of Hugging Face's tokenizers`, async () => {
    const tokenizer = await load(expected.base, expected.patch);
    if (!tokenizer) return;
    for (const [i, text] of texts.entries()) {
      const ids = tokenizer.encode(text, { addSpecialTokens: false });
      assert.equal(ids, expected.ids[i], `ids of ${JSON.stringify(text)}`);
      assert.is(tokenizer.decode(ids, { skipSpecialTokens: false }), expected.decoded[i], `text of ${i}`);
    }
    assert.equal(tokenizer.encode('Hello there'), expected.withSpecial);
    for (const { ids, text } of expected.noise) assert.is(tokenizer.decode(ids), text);
  });
}

for (const model of ['nano-base', 'nano-tofu-full', 'nano-tofu-retain90']) {
  test(`${model}: prompts and greedy texts of the reference`, async () => {
    const tokenizer = await load(model);
    const golden = await sharedJson('golden/nano.json');
    if (!tokenizer || !golden) return;
    for (const p of golden.models[model]) {
      assert.equal([0, ...tokenizer.encode(p.prompt)], p.ids);
      assert.is(tokenizer.decode(p.greedy, { skipSpecialTokens: false }), p.text);
    }
  });
}

for (const model of ['stories260K', 'babyllama-tok361-1M']) {
  test(`${model}: prompts and greedy texts of the reference`, async () => {
    const tokenizer = await load(model);
    const golden = await sharedJson(`models/${model}/reference.json`);
    if (!tokenizer || !golden) return;
    for (const p of golden.prompts) {
      assert.equal(tokenizer.encode(p.text), p.ids);
      assert.is(tokenizer.decode(p.greedy_ids), p.greedy_text);
      const length = p.ids.length;
      const generated = tokenizer.decode(p.greedy_ids.slice(length), { continues: true });
      assert.is(tokenizer.decode(p.greedy_ids.slice(0, length)) + generated, p.greedy_text);
    }
  });
}

test('a stream of random ids says what decode says, and never half a character', async () => {
  let state = 12345;
  const random = (n: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  for (const name of ['gpt2', 'qwen3', 'stories260K', 'babyllama-tok361-1M', 'nano-base']) {
    const tokenizer = await load(name);
    if (!tokenizer) continue;
    for (let round = 0; round < 300; round++) {
      const bytesOnly = name === 'stories260K' && round % 2 === 1;
      const draw = () => (bytesOnly ? 3 + random(256) : random(tokenizer.vocabSize + 2));
      const ids = Array.from({ length: 1 + random(20) }, draw);
      const skipSpecialTokens = round % 3 > 0;
      const stream = tokenizer.stream({ skipSpecialTokens });
      const pieces = [...ids.map((id) => stream.push(id)), stream.end()];
      const whole = concatenated(tokenizer, ids, skipSpecialTokens);
      assert.is(pieces.join(''), whole);
      assert.is(tokenizer.decode(ids, { skipSpecialTokens }), whole);
    }
    for (const text of texts) {
      const stream = tokenizer.stream();
      for (const id of tokenizer.encode(text, { addSpecialTokens: false })) {
        if (!text.includes('\ufffd')) assert.not.match(stream.push(id), '\ufffd');
      }
      assert.is(stream.end(), '');
    }
  }
});

/** All bytes joined, then read once: what a stream must add up to. */
function concatenated(tokenizer: Tokenizer, ids: number[], skip: boolean): string {
  const kept = ids.filter((id) => !(skip && tokenizer.specialIds.has(id)));
  const bytes = kept.flatMap((id) => [...tokenizer.tokenBytes(id)]);
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes));
  // SentencePiece marks the start of a text with a space that is not part of it
  return tokenizer.idOf('<0x00>') === undefined ? text : text.replace(/^ /, '');
}

test('special ids come from the configuration, as texts or as objects', () => {
  const spec = tiny(() => {}, { bos_token: '<end>', eos_token: { content: 'abc' }, pad_token: null });
  const tokenizer = Tokenizer.create(spec);
  assert.is(tokenizer.bosId, 8);
  assert.is(tokenizer.eosId, 7);
  assert.is(tokenizer.padId, null);
  assert.equal([...tokenizer.specialIds].sort(), [7, 8]);
  assert.equal(tokenizer.encode('abc<end>ab'), [7, 8, 6]);
  assert.is(tokenizer.decode([8, 6]), 'ab');
  assert.is(tokenizer.idOf('ab'), 6);
  assert.is(tokenizer.idOf('toString'), undefined);
  assert.is(tokenizer.tokenText(3), ' ');
  assert.is(tokenizer.tokenText(4), '\ufffd');
  assert.is(tokenizer.tokenText(99), '');
  assert.is(tokenizer.vocabSize, 9);
});

test('the post-processor adds its tokens on request only', () => {
  const template = {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<end>' } }, { Sequence: { id: 'A' } }, { SpecialToken: { id: 'c' } }],
    special_tokens: { '<end>': { id: '<end>', ids: [8, 8] }, c: { id: 'c', ids: [2] } },
  };
  const spec = tiny((json) => {
    json['post_processor'] = { type: 'Sequence', processors: [{ type: 'ByteLevel' }, template] };
  });
  const tokenizer = Tokenizer.create(spec);
  assert.equal(tokenizer.encode('ab'), [8, 8, 6, 2]);
  assert.equal(tokenizer.encode('ab', { addSpecialTokens: false }), [6]);
  assert.equal(tokenizer.encode(''), [8, 8, 2]);
});

test('special tokens in plain text are letters', () => {
  const tokenizer = Tokenizer.create(
    tiny((json) => {
      const model = json['model'] as { vocab: Record<string, number> };
      for (const text of ['<end>', ...'<>end']) model.vocab[text] ??= Object.keys(model.vocab).length;
      (json['added_tokens'] as object[]).push({ id: 14, content: 'bc' });
    }),
  );
  const plain = tokenizer.encode('ab<end>', { specialTokens: false });
  assert.is(plain.includes(8), false);
  assert.is(tokenizer.decode(plain), 'ab<end>');
  assert.equal(tokenizer.encode('a<end>bc', { specialTokens: true }), [0, 8, 14]);
  assert.equal(tokenizer.encode('abc', { specialTokens: false }), [0, 14]); // not special: always found
  const part = (text: string, isPlain: boolean) => ({ text, plain: isPlain });
  assert.equal(tokenizer.encodeSegments([part('a<e', false), part('nd>b', false)]), [0, 8, 1]);
  assert.equal(tokenizer.encodeSegments([part('<end>', false), part('ab<end>', true)]), [8, ...plain]);
});

test('malformed and unsupported specifications are refused', () => {
  const model = (change: object) => (json: Record<string, unknown>) => {
    json['model'] = { ...(json['model'] as object), ...change };
  };
  const part = (name: string, value: unknown) => (json: Record<string, unknown>) => {
    json[name] = value;
  };
  const bad: [string, (json: Record<string, unknown>) => void][] = [
    ['no model', part('model', undefined)],
    ['vocabulary is a list', model({ vocab: ['a'] })],
    ['fractional id', model({ vocab: { a: 0.5 }, merges: [] })],
    ['negative id', model({ vocab: { a: -1 }, merges: [] })],
    ['enormous id', model({ vocab: { a: 2 ** 31 }, merges: [] })],
    ['empty vocabulary', model({ vocab: {}, merges: [] })],
    ['no merges', model({ merges: undefined })],
    ['merge of one', model({ merges: ['ab'] })],
    ['merge of three', model({ merges: ['a b c'] })],
    ['merge outside the vocabulary', model({ merges: ['b c'] })],
    ['merge is a number', model({ merges: [3] })],
    ['word pieces', model({ type: 'WordPiece' })],
    ['added token without text', part('added_tokens', [{ id: 3 }])],
    ['added token without id', part('added_tokens', [{ content: 'x' }])],
    ['unknown pre-tokenizer', part('pre_tokenizer', { type: 'Magic' })],
    ['pre-tokenizer with a bad expression', part('pre_tokenizer', splitBy('(', 'Isolated'))],
    ['unknown normalizer', part('normalizer', { type: 'Magic' })],
    ['unknown decoder', part('decoder', { type: 'CTC' })],
    ['no decoder', part('decoder', null)],
    ['unknown post-processor', part('post_processor', { type: 'Magic' })],
    ['template names an unknown token', part('post_processor', { type: 'TemplateProcessing', single: [special('?')] })],
  ];
  for (const [what, change] of bad) {
    assert.throws(
      () => Tokenizer.create(tiny(change)),
      (error: unknown) => error instanceof EspalierError && error.code === 'E_TOKENIZER_INVALID',
      what,
    );
  }
  for (const json of [null, 'x', [], 3]) {
    const spec = { tokenizerJson: json as unknown as object, tokenizerConfig: {}, chatTemplate: null };
    assert.throws(() => Tokenizer.create(spec), /not an object/);
  }
});

function splitBy(regex: string, behavior: string) {
  return { type: 'Split', pattern: { Regex: regex }, behavior, invert: false };
}

function special(id: string) {
  return { SpecialToken: { id, type_id: 0 } };
}

test.run();
