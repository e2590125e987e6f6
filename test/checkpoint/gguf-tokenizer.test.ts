import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { endTokens } from '../../src/checkpoint/gguf/end-tokens.ts';
import { tokenizerFromGguf } from '../../src/checkpoint/gguf/tokenizer.ts';
import type { TokenizerSpec } from '../../src/checkpoint/types.ts';
import { EspalierError } from '../../src/errors.ts';
import { Tokenizer } from '../../src/model/text/tokenizer.ts';
import { exists } from '../files.ts';
import { ggufMetadata } from '../model/gguf-metadata.ts';
import { fixture, shared, sharedJson } from '../model/shared-files.ts';

interface Case {
  pre: string | null;
  ids: number[][];
  decoded: string[];
  noise: { ids: number[]; text: string }[];
}
const { texts, cases } = (await fixture('tokenizers.json')) as { texts: string[]; cases: Record<string, Case> };

/** A vocabulary of so many tokens less, with the merges that make those. */
function shortened(metadata: ReadonlyMap<string, unknown>, count: number): Map<string, unknown> {
  const list = (key: string) => metadata.get(`tokenizer.ggml.${key}`) as string[];
  const tokens = list('tokens').slice(0, count);
  const known = new Set(tokens);
  const merges = list('merges').filter((merge) => known.has(merge.replace(' ', '')));
  return new Map([
    ...metadata,
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', list('token_type').slice(0, count)],
    ['tokenizer.ggml.merges', merges],
  ]);
}

/** Milliseconds that a tokenizer takes to be built. */
function building(metadata: ReadonlyMap<string, unknown>): number {
  const start = performance.now();
  Tokenizer.create(tokenizerFromGguf(metadata));
  return performance.now() - start;
}

const file = `${shared}models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;
let smollm2Spec: TokenizerSpec | null = null;
let smollm2: Tokenizer | null = null;
if (await exists(file)) {
  const metadata = await ggufMetadata(file);
  smollm2Spec = tokenizerFromGguf(metadata);
  smollm2 = Tokenizer.create(smollm2Spec);
  test('a vocabulary of four times as many tokens takes about four times as long, and not sixteen', () => {
    const { vocabSize } = smollm2!;
    const quarter = shortened(metadata, vocabSize / 4);
    // Four small ones against a large one, which take about as long, so that a busy machine spares neither more than the other; and the
    // least of several: other processes can only make it longer.
    const fours = () => building(quarter) + building(quarter) + building(quarter) + building(quarter);
    let [four, all] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let tries = 0; tries < 40 && !(tries > 2 && all < (9 / 4) * four); tries++) {
      four = Math.min(four, fours());
      all = Math.min(all, building(metadata));
    }
    console.log(
      `  SmolLM2’s tokenizer is built in ${all.toFixed(0)} ms, from a quarter of its tokens in ${(four / 4).toFixed(0)}`,
    );
    assert.ok(all < 9 * (four / 4), `${all} ms against ${four / 4}`);
  });
} else console.log('  skipped: the SmolLM2 GGUF file is not there');

test('SmolLM2: ids and text are those of Hugging Face’s tokenizers', () => {
  if (!smollm2) return;
  const expected = cases['smollm2']!;
  for (const [i, text] of texts.entries()) {
    const ids = smollm2.encode(text);
    assert.equal(ids, expected.ids[i], JSON.stringify(text));
    assert.is(smollm2.decode(ids, { skipSpecialTokens: false }), expected.decoded[i]);
  }
  for (const { ids, text } of expected.noise) assert.is(smollm2.decode(ids), text);
});

test('SmolLM2: the golden prompts, texts and tokenizer list', async () => {
  const golden = await sharedJson('golden/smollm2.json');
  if (!smollm2 || !golden) return;
  for (const { text, ids } of golden.tokenizer) {
    assert.equal(smollm2.encode(text), ids);
    assert.is(smollm2.decode(ids, { skipSpecialTokens: false }), text);
  }
  for (const p of golden.prompts) {
    assert.equal(smollm2.encode(p.prompt), p.ids);
    assert.is(smollm2.decode(p.greedy, { skipSpecialTokens: false }), p.text);
  }
  const passage = smollm2.decode(golden.text.ids, { skipSpecialTokens: false });
  assert.equal(smollm2.encode(passage), golden.text.ids);
});

test('SmolLM2: special ids, template and flags come from the file', () => {
  if (!smollm2 || !smollm2Spec) return;
  assert.equal([smollm2.bosId, smollm2.eosId, smollm2.padId, smollm2.unkId], [1, 2, 2, 0]);
  assert.is(smollm2.specialIds.size, 17);
  assert.is(smollm2.vocabSize, 49152);
  assert.match(smollm2Spec.chatTemplate!, 'add_generation_prompt');
  assert.equal(smollm2.encode('a'), smollm2.encode('a', { addSpecialTokens: false }));
});

test('several chat templates keep their names', () => {
  const templates = (entries: [string, unknown][]) => {
    const { chatTemplate, namedTemplates } = tokenizerFromGguf(
      new Map<string, unknown>([
        ['tokenizer.ggml.model', 'gpt2'],
        ['tokenizer.ggml.tokens', ['a']],
        ['tokenizer.ggml.merges', []],
        ...entries,
      ]),
    );
    return [chatTemplate, Object.fromEntries(namedTemplates ?? [])];
  };
  const named: [string, unknown] = ['tokenizer.chat_template.tool_use', 'T'];
  assert.equal(templates([]), [null, {}]);
  assert.equal(templates([['tokenizer.chat_template', 'D']]), ['D', {}]);
  assert.equal(templates([['tokenizer.chat_template', 'D'], ['tokenizer.chat_templates', ['x']], named]), [
    'D',
    { tool_use: 'T' },
  ]);
  assert.equal(templates([named, ['tokenizer.chat_template.x', 3]]), [null, { tool_use: 'T' }]);
});

/** GPT-2's vocabulary as a GGUF file would carry it. */
async function gpt2Metadata(pre: string | null): Promise<Map<string, unknown> | null> {
  const json = await sharedJson('models/tokenizers/gpt2/tokenizer.json');
  if (!json) return null;
  const tokens: string[] = [];
  for (const [text, id] of Object.entries<number>(json.model.vocab)) tokens[id] = text;
  const metadata = new Map<string, unknown>([
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', Int32Array.from(tokens, (_, id) => (id === 50256 ? 3 : 1))],
    ['tokenizer.ggml.merges', json.model.merges],
    ['tokenizer.ggml.eos_token_id', 50256],
    ['tokenizer.ggml.bos_token_id', 50256],
  ]);
  if (pre !== null) metadata.set('tokenizer.ggml.pre', pre);
  return metadata;
}

for (const [name, expected] of Object.entries(cases)) {
  if (expected.pre === null || !name.startsWith('gpt2')) continue;
  test(`tokenizer.ggml.pre = ${expected.pre} cuts as Hugging Face does`, async () => {
    const metadata = await gpt2Metadata(expected.pre);
    if (!metadata) return;
    const tokenizer = Tokenizer.create(tokenizerFromGguf(metadata));
    for (const [i, text] of texts.entries()) {
      const ids = tokenizer.encode(text, { addSpecialTokens: false });
      assert.equal(ids, expected.ids[i], JSON.stringify(text));
    }
  });
}

test('begin and end tokens follow add_bos_token and add_eos_token', async () => {
  const metadata = await gpt2Metadata('llama-bpe');
  if (!metadata) return;
  const ids = () => Tokenizer.create(tokenizerFromGguf(metadata)).encode('Hello');
  assert.equal(ids(), [50256, 15496]); // llama-bpe adds a begin token unless told otherwise
  metadata.set('tokenizer.ggml.add_bos_token', false);
  assert.equal(ids(), [15496]);
  metadata.set('tokenizer.ggml.add_eos_token', true);
  assert.equal(ids(), [15496, 50256]);
});

/** A SentencePiece vocabulary as a GGUF file would carry it: scores instead of merges. */
function sentencePieceMetadata(json: {
  model: { vocab: Record<string, number>; merges: [string, string][] };
}): Map<string, unknown> {
  const tokens: string[] = [];
  for (const [text, id] of Object.entries(json.model.vocab)) tokens[id] = text;
  const rank = new Map<string, number>();
  json.model.merges.forEach(([left, right], i) => {
    if (!rank.has(left + right)) rank.set(left + right, i);
  });
  const types = tokens.map((text, id) => (id === 0 ? 2 : id < 3 ? 3 : /^<0x..>$/.test(text) ? 6 : 1));
  return new Map<string, unknown>([
    ['tokenizer.ggml.model', 'llama'],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', types],
    ['tokenizer.ggml.scores', Float32Array.from(tokens, (text) => -(rank.get(text) ?? 1e6))],
    ['tokenizer.ggml.bos_token_id', 1],
    ['tokenizer.ggml.eos_token_id', 2],
    ['tokenizer.ggml.unknown_token_id', 0],
  ]);
}

for (const [model, name] of [
  ['stories260K', 'stories260K'],
  ['babyllama-tok361-1M', 'babyllama'],
]) {
  test(`${model}: rebuilt from scores, it gives the ids of its tokenizer.json`, async () => {
    const json = await sharedJson(`models/${model}/tokenizer.json`);
    const golden = await sharedJson(`models/${model}/reference.json`);
    if (!json || !golden) return;
    const tokenizer = Tokenizer.create(tokenizerFromGguf(sentencePieceMetadata(json)));
    const expected = cases[name!]!;
    for (const [i, text] of texts.entries()) {
      const ids = tokenizer.encode(text, { addSpecialTokens: false });
      assert.equal(ids, expected.ids[i], JSON.stringify(text));
      assert.is(tokenizer.decode(ids, { skipSpecialTokens: false }), expected.decoded[i]);
    }
    for (const p of golden.prompts) {
      assert.equal(tokenizer.encode(p.text), p.ids);
      assert.is(tokenizer.decode(p.greedy_ids), p.greedy_text);
      const original = Tokenizer.create({ tokenizerJson: json, tokenizerConfig: {}, chatTemplate: null });
      assert.equal(tokenizer.encode(p.greedy_text), original.encode(p.greedy_text));
    }
  });
}

test('without add_space_prefix no space is put before or taken away', async () => {
  const json = await sharedJson('models/stories260K/tokenizer.json');
  if (!json) return;
  const metadata = sentencePieceMetadata(json).set('tokenizer.ggml.add_space_prefix', false);
  const tokenizer = Tokenizer.create(tokenizerFromGguf(metadata));
  for (const text of ['the cat', ' the cat', '  x']) assert.is(tokenizer.decode(tokenizer.encode(text)), text);
});

test('tokens end a text by what they are called, as in llama.cpp', () => {
  const ends = (tokens: string[], types: number[], more: Record<string, unknown> = {}) => {
    const metadata = new Map<string, unknown>([
      ['tokenizer.ggml.tokens', tokens],
      ['tokenizer.ggml.token_type', types],
      ...Object.entries(more).map(([key, value]) => [`tokenizer.ggml.${key}`, value] as const),
    ]);
    return endTokens(metadata).map((id) => tokens[id]);
  };
  assert.equal(ends(['a', '<|eot_id|>', '<|im_start|>', '<|eom_id|>'], [1, 3, 3, 3]), ['<|eot_id|>', '<|eom_id|>']);
  assert.equal(ends(['<|im_end|>', '</s>', 'b'], [1, 1, 1]), ['<|im_end|>']); // </s> is HTML when it is a word
  assert.equal(ends(['<end_of_turn>', '</s>'], [4, 3]), ['<end_of_turn>', '</s>']);
  assert.equal(ends(['<|return|>', '<|call|>', '<|end|>'], [3, 3, 3]), ['<|return|>', '<|call|>']);
  assert.equal(ends(['<|calls|>', '<|flush|>', '<|end|>'], [3, 3, 3]), ['<|calls|>', '<|flush|>']);
  assert.equal(ends(['<|tool_response>', '</s>', '<turn|>'], [3, 3, 3]), ['<|tool_response>', '<turn|>']);
  assert.equal(ends(['<|fim_pad|>', '<|file_sep|>', '<|fim_prefix|>', '<PAD>'], [3, 3, 3, 1]), [
    '<|fim_pad|>',
    '<|file_sep|>',
  ]);
  assert.equal(ends(['x', 'y'], [3, 3], { fim_pad_token_id: 1 }), ['y']);
  assert.equal(endTokens(new Map()), []);
  assert.equal(endTokens(new Map<string, unknown>([['tokenizer.ggml.tokens', [1, null, '<|end|>']]])), [2]);
});

test('a file that does not say how texts are cut is read, with a warning', async () => {
  const metadata = await gpt2Metadata(null);
  if (!metadata) return;
  assert.match(Tokenizer.create(tokenizerFromGguf(metadata)).warnings.join(), /tokenizer.ggml.pre/);
  metadata.set('tokenizer.ggml.pre', 'default');
  assert.equal(Tokenizer.create(tokenizerFromGguf(metadata)).warnings, []);
});

test('a vocabulary of long tokens is read in time and memory of its own size', () => {
  const tokens = ['<unk>', ...Array.from({ length: 64 }, (_, i) => 'a'.repeat(15_900 + i)), 'a', 'aa'];
  const spec = tokenizerFromGguf(
    new Map<string, unknown>([
      ['tokenizer.ggml.model', 'llama'],
      ['tokenizer.ggml.tokens', tokens],
      ['tokenizer.ggml.token_type', tokens.map((_, id) => (id === 0 ? 2 : 1))],
      ['tokenizer.ggml.scores', Float32Array.from(tokens, (_, id) => -id)],
    ]),
  );
  const start = performance.now();
  assert.is(Tokenizer.create(spec).encode('a'.repeat(100)).length, 101 - 50);
  assert.ok(performance.now() - start < 10_000);
  const model = (spec.tokenizerJson as { model: { merges: unknown } }).model;
  assert.throws(() => model.merges, /too long to be written as merges/);
});

test('a vocabulary that cannot be used is refused with a sentence', () => {
  const good = () =>
    new Map<string, unknown>([
      ['tokenizer.ggml.model', 'gpt2'],
      ['tokenizer.ggml.pre', 'gpt-2'],
      ['tokenizer.ggml.tokens', ['a', 'b', 'ab', '__proto__']],
      ['tokenizer.ggml.merges', ['a b']],
      ['tokenizer.ggml.token_type', [1, 1, 1, 4]],
    ]);
  const tokenizer = Tokenizer.create(tokenizerFromGguf(good()));
  assert.equal(tokenizer.encode('ab__proto__a'), [2, 3, 0]);
  assert.is(tokenizer.decode([3]), '__proto__');
  const outside = Tokenizer.create(tokenizerFromGguf(good().set('tokenizer.ggml.bos_token_id', 77)));
  assert.is(outside.bosId, null);
  const bad: [string, unknown, RegExp][] = [
    ['model', undefined, /no tokenizer.ggml.model/],
    ['model', 'bert', /kind bert/],
    ['pre', 'unheard-of', /"unheard-of"/],
    ['tokens', undefined, /tokens is not a list of strings/],
    ['tokens', ['a', 3], /tokens is not a list of strings/],
    ['tokens', [], /empty/],
    ['merges', undefined, /merges is not a list/],
    ['token_type', [1, 1], /one a token/],
    ['token_type', ['x', 'y', 'z', 'w'], /one a token/],
    ['token_type', ['1', '1', '1', '4'], /one a token/],
    ['token_type', [[1], [1], [1], [4]], /one a token/],
    ['bos_token_id', 'a', /bos_token_id is not the id/],
    ['add_bos_token', 1, /true or false/],
    ['model', 'llama', /no scores/],
  ];
  for (const [key, value, message] of bad) {
    assert.throws(
      () => tokenizerFromGguf(good().set(`tokenizer.ggml.${key}`, value)),
      (error: unknown) =>
        error instanceof EspalierError && error.code === 'E_TOKENIZER_INVALID' && message.test(error.message),
      `${key} = ${String(value)}`,
    );
  }
});

test.run();
