/** The stream of texts of examples/pretrain, and a training over it that goes on where it was. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Draw } from '../../examples/pretrain/draw.ts';
import { expand } from '../../examples/pretrain/grammar.ts';
import { configOf, initialWeights } from '../../examples/pretrain/initial-model.ts';
import { CODES, LANGUAGES } from '../../examples/pretrain/languages.ts';
import { HeldOutTexts, TextSteps } from '../../examples/pretrain/text-steps.ts';
import { digestOf, textAt } from '../../examples/pretrain/texts.ts';
import { SequenceEncoder } from '../../src/datasets/training/encode.ts';
import { openLocal } from '../../src/open-local.ts';
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
});

test.run();
