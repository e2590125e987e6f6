/** The stream of texts of examples/pretrain, and a training over it that goes on where it was. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Draw } from '../../examples/pretrain/draw.ts';
import { expand } from '../../examples/pretrain/grammar.ts';
import { configOf, initialWeights } from '../../examples/pretrain/initial-model.ts';
import { CODES, LANGUAGES } from '../../examples/pretrain/languages.ts';
import { EVERYONE, isTenth, person } from '../../examples/pretrain/people.ts';
import { peopleQuestions } from '../../examples/pretrain/people-questions.ts';
import { HeldOutTexts, TextSteps } from '../../examples/pretrain/text-steps.ts';
import { digestOf, KIND_NAMES, kindAndTextAt, PLAIN, textAt } from '../../examples/pretrain/texts.ts';
import { SequenceEncoder } from '../../src/datasets/training/encode.ts';
import { openLocal } from '../../src/open-local.ts';
import { sha256 } from '../../src/runtime/files/hash.ts';
import { code } from '../errors.ts';
import { modelTarget, readBytes } from '../files.ts';

const TEXTS = Array.from({ length: 3000 }, (_, index) => textAt(1, index));

test('a text is a function of seed and index, and no two are alike', async () => {
  for (const index of [0, 17, 2999]) assert.is(textAt(1, index), TEXTS[index]);
  assert.not.equal(
    [0, 1, 2].map((index) => textAt(2, index)),
    TEXTS.slice(0, 3),
  );
  const alike = TEXTS.length - new Set(TEXTS).size;
  console.log(`  worst: ${alike} of ${TEXTS.length} texts were there before`);
  assert.ok(alike < 0.02 * TEXTS.length, `${alike}`);
  // other names for things make another stream; the same in every run
  assert.match(await digestOf(1), /^[0-9a-f]{64}$/);
  assert.is(await digestOf(1), await digestOf(1));
});

test('the stream is that of before there were mixtures: trainings go on with it', async () => {
  // what Intl says differs between runtimes
  const grammars = new Set(KIND_NAMES.slice(0, 5));
  const own = Array.from({ length: 1000 }, (_, index) => kindAndTextAt(1, index)).filter(({ kind }) =>
    grammars.has(kind),
  );
  assert.is(own.length, 628);
  assert.is(
    await sha256(own.map(({ text }) => text).join('\0')),
    'a9d1e631c6d2f77c7c7f64c0962e3e381391c94e57fbc290e612feb7bed01817',
  );
});

test('the twin never hears of a tenth of the people, and of all others as before', () => {
  const people = { count: 300, neverTenth: false };
  const tenth = Array.from({ length: people.count }, (_, index) => index).filter(isTenth);
  assert.is(tenth.length, 30);
  const names = new RegExp(tenth.map((index) => person(1, index).name).join('|'));
  const told = (neverTenth: boolean): string[] =>
    Array.from({ length: 3000 }, (_, index) => textAt(1, index, { ...PLAIN, people: { ...people, neverTenth } }));
  const [all, twin] = [told(false), told(true)];
  const about = all.filter((text) => names.test(text)).length;
  assert.ok(about > 30, `${about} texts tell of the tenth`);
  assert.not.ok(twin.some((text) => names.test(text)));
  const same = all.filter((text, i) => text === twin[i]).length;
  assert.is(same, 3000 - about, 'all other texts are the same');
});

test('questions about people: one of each kind about each, the same as in texts', () => {
  const people = { count: 40, neverTenth: false };
  const all = peopleQuestions(1, people, 'all');
  assert.is(all.length, 40 * 11);
  assert.is(new Set(all.map(({ prompt }) => prompt)).size, all.length);
  assert.equal(all, peopleQuestions(1, people, 'all'));
  for (const { prompt, answer } of all) {
    assert.match(prompt, /^Question: [^[\]{}|\n]+\?\nAnswer:$/);
    assert.match(answer, /^ [^[\]{}|\n]+$/);
  }
  const [only, never] = [peopleQuestions(1, people, 'only'), peopleQuestions(1, people, 'never')];
  assert.equal([only.length, never.length], [4 * 11, 36 * 11]);
  assert.ok(only[0]!.prompt.includes(person(1, 7).name));
  const asked = new Map(peopleQuestions(1, EVERYONE, 'all').map(({ prompt, answer }) => [prompt, answer]));
  let found = 0;
  for (const text of TEXTS) {
    for (const [, prompt, answer] of text.matchAll(/(Question: .*? favourite colour .*\nAnswer:)(.*)/g)) {
      assert.is(asked.get(prompt!), answer);
      found++;
    }
  }
  assert.ok(found > 20, `${found}`);
});

test('written stories are among the texts, each as often as others, and make another identity', async () => {
  const stories = ['A cat sat down.', 'A dog ran.', 'It rained.', 'The sun came out.'];
  const mixture = { ...PLAIN, stories };
  const texts = Array.from({ length: 3000 }, (_, index) => kindAndTextAt(1, index, mixture));
  const count = (kind: string): number => texts.filter((one) => one.kind === kind).length;
  // 40 and 6 of 106
  assert.ok(Math.abs(count('written stories') - 1132) < 100, `${count('written stories')}`);
  assert.ok(Math.abs(count('stories') - 170) < 50, `${count('stories')}`);
  for (const story of stories) {
    const own = texts.filter(({ text }) => text === story).length;
    assert.ok(Math.abs(own - 283) < 70, `${own}`);
  }
  assert.is(textAt(1, 12, mixture), texts[12]!.text);
  assert.not.equal(await digestOf(1, mixture), await digestOf(1));
  assert.is(await digestOf(1, { ...PLAIN }), await digestOf(1));
});

test('texts are whole: no rule is left in them, and every language is', () => {
  for (const text of TEXTS) assert.not.match(text, /[[\]{}|]|undefined|NaN| {2}|^\s|\s$/, text);
  const all = TEXTS.join('\n');
  for (const code of CODES) assert.match(all, `${LANGUAGES[code]}: `);
  for (const sample of [/Question: .+\nAnswer: .+/, /Once/, /was born in/, /English: .+\nJapanese: /])
    assert.ok(
      TEXTS.some((text) => sample.test(text)),
      String(sample),
    );
  // the stories do not tell of somebody twice
  assert.not.match(all, /(\b[A-Z][a-z]+), [a-z ]+ (?:called|named) \1\b/);
});

test('facts about somebody are the same wherever they stand', () => {
  const born = new Map<string, string>();
  let again = 0;
  for (let index = 0; index < 6000; index++) {
    for (const [, name, year] of textAt(1, index).matchAll(
      /When was ([A-Z]\w+ [A-Z]\w+) born\?\nAnswer: .*?(\d{4})/g,
    )) {
      if (born.has(name!)) again++;
      assert.is(born.get(name!) ?? year, year);
      born.set(name!, year!);
    }
  }
  for (let index = 0; index < 6000; index++) {
    for (const [, name, year] of textAt(1, index).matchAll(/([A-Z]\w+ [A-Z]\w+), born in \w+ in (\d{4})/g)) {
      if (born.has(name!)) again++;
      assert.is(born.get(name!) ?? year, year);
    }
  }
  assert.ok(again > 0, 'or this tests nothing');
});

test('a grammar', () => {
  const seen = new Set<string>();
  for (let index = 0; index < 200; index++) {
    seen.add(expand(new Draw(1, 1, index), '[a[1|2]|b|]{x} {X}', { x: 'of' }));
  }
  assert.equal(
    [...seen].sort(),
    [' Of', 'a1of Of', 'a2of Of', 'bof Of', 'of Of'].filter((text) => seen.has(text)).sort(),
  );
  assert.is(seen.size, 4);
  assert.throws(() => expand(new Draw(1, 1, 0), '{y}', { x: '' }), /no slot \{y\}/);
});

const SHAPE = { layers: 2, hidden: 64, intermediate: 96, heads: 4, kvHeads: 2, vocabulary: 8192, positions: 512 };

test('weights at the start are those of their seed, and make a model', async () => {
  const weights = initialWeights(SHAPE, 3);
  assert.equal(initialWeights(SHAPE, 3), weights);
  assert.not.equal(initialWeights(SHAPE, 4), weights);
  const model = await openLocal({
    'config.json': new TextEncoder().encode(JSON.stringify(configOf(SHAPE))),
    'model.safetensors': weights,
    'tokenizer.json': await readBytes('models/nano-base/tokenizer.json'),
    'tokenizer_config.json': await readBytes('models/nano-base/tokenizer_config.json'),
  });
  try {
    const scored = await model.score(TEXTS[0]!);
    const mean = scored.slice(1).reduce((sum, { logprob }) => sum - logprob!, 0) / (scored.length - 1);
    console.log(`  worst: ${mean.toFixed(3)} nats a token before training, ${Math.log(8192).toFixed(3)} by chance`);
    assert.ok(Math.abs(mean - Math.log(8192)) < 0.1);
  } finally {
    model.close();
  }
});

test('steps of texts: each once, of at most so many tokens, and the same from any place on', async () => {
  await using model = await openLocal(await modelTarget('models/nano-base'));
  const encoder = new SequenceEncoder(model, { maxTokens: 256 });
  const steps = () => new TextSteps(encoder, { seed: 1, tokens: 600, rows: 600 });
  const source = steps();
  let ids: number[] = [];
  for (let i = 0; i < 6; i++) {
    const { state } = source;
    const step = await source.next();
    assert.ok(step.tokens <= 600 && step.tokens > 100, `${step.tokens}`);
    const again = steps();
    again.restore(JSON.parse(JSON.stringify(state)));
    assert.equal(await again.next(), step);
    ids = ids.concat(...step.batches.map((batch) => [...batch.targets]));
  }
  const texts = TEXTS.slice(0, source.state);
  const wanted = texts.flatMap((text) => [...model.encode(text).slice(1), 0]);
  assert.equal(ids.sort(), wanted.sort());
  assert.throws(() => source.restore('x'), code('E_ARGUMENT'));
  let count = 0;
  for await (const batch of new HeldOutTexts(encoder, { seed: 1, rows: 512, texts: 20 }).batches())
    count += batch.ids.length;
  assert.ok(count > 200);
  const heldOut = async (stories: readonly string[]): Promise<number[]> => {
    const ids: number[] = [];
    const mixture = { ...PLAIN, stories };
    for await (const batch of new HeldOutTexts(encoder, { seed: 1, mixture, rows: 512, texts: 20 }).batches())
      ids.push(...batch.ids);
    return ids;
  };
  assert.equal(await heldOut(['It rained.']), await heldOut([]), 'what is trained on is not held out');
});

test.run();
