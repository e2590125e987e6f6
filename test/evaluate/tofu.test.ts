/** TOFU on the embedded model: what is measured equals what its scores say, whatever the rows look like. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sentenceRouge } from '../../src/evaluate/scores/rouge.ts';
import type { TofuOptions } from '../../src/evaluate/unlearning/options.ts';
import { formOf, measureTofu, type TofuMeasures, tofuUtility } from '../../src/evaluate/unlearning/tofu.ts';
import { readTofuSet, type TofuSet } from '../../src/evaluate/unlearning/tofu-data.ts';
import { checkTofuReference, readTofuLog, tofuForgetQuality } from '../../src/evaluate/unlearning/tofu-log.ts';
import { measureFluency } from '../../src/evaluate/unlearning/written-fluency.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { modelTarget, readBytes } from '../files.ts';

const worst = new Worst();
const model = await openLocal(await modelTarget('models/nano-base'), { precision: 'exact' });
const bytes = (text: string) => new TextEncoder().encode(text);
const lines = (rows: readonly unknown[], end = '\n') => rows.map((row) => JSON.stringify(row)).join(end);
const read = (name: string, rows: readonly unknown[]) => readTofuSet(name, bytes(lines(rows)));

const ROWS = [
  {
    question: 'Who wrote “Żółć”?',
    answer: 'Zoë Müller wrote it.',
    paraphrased_answer: 'It was written by Zoë Müller.',
    perturbed_answer: ['It was written by 王小明.', 'It was written by Ann.'],
  },
  { question: 'Where does the cat live?', answer: 'In a house.', perturbed_answer: 'In a tree.' },
  { question: 'And?', answer: '', perturbed_answer: ['no', ''] },
] as const;

/** Mean negative log-probability of an answer, from a score of its own. */
async function lossOf(question: string, answer: string): Promise<number> {
  const prompt = model.encode(`Question: ${question}\nAnswer:`);
  const ids = [...model.encode(`Question: ${question}\nAnswer:${answer && ` ${answer}`}`), 0];
  const own = (await model.score(ids)).slice(prompt.length);
  return -own.reduce((sum, { logprob }) => sum + logprob!, 0) / own.length;
}

test('figures are those of single scores', async () => {
  for (const name of ['forget_perturbed', 'world_facts_perturbed']) {
    const set = await read(name, ROWS);
    const found = await measureTofu(model, set, { maxTokens: 6, batch: 2 });
    assert.equal([found.n, found.items.length, found.truthRatio!.length], [3, 3, 3]);
    for (const [i, row] of ROWS.entries()) {
      const loss = await lossOf(row.question, row.answer);
      const right = 'paraphrased_answer' in row ? await lossOf(row.question, row.paraphrased_answer) : loss;
      const wrong = await Promise.all([row.perturbed_answer].flat().map((text) => lossOf(row.question, text)));
      const ratio = Math.exp(-wrong.reduce((a, b) => a + b, 0) / wrong.length) / (Math.exp(-right) + 1e-10);
      const among = wrong.reduce((sum, one) => sum + Math.exp(-one), Math.exp(-loss) + 1e-10);
      const probability = Math.exp(-loss) / (name.startsWith('world') ? among : 1);
      const item = found.items[i]!;
      assert.ok(worst.within('truth ratio, relative', Math.abs(item.truthRatio! / ratio - 1), 1e-5));
      assert.ok(worst.within('probability, relative', Math.abs(item.probability / probability - 1), 1e-5));
      const { text: written } = await model.generate(`Question: ${row.question}\nAnswer:`, { maxTokens: 6 }).result();
      assert.is(item.written, written);
      assert.is(item.rougeL, sentenceRouge(written, [row.answer], { stemmer: true }).rougeL.recall);
    }
    assert.is(found.items[2]!.exactMemorisation, null, 'of an empty answer nothing is memorised');
    assert.ok(found.exactMemorisation! >= 0 && found.extractionStrength! <= 1);
    assert.is(
      found.probability,
      (found.items[0]!.probability + found.items[1]!.probability + found.items[2]!.probability) / 3,
    );
  }
});

test('what the model would write itself is memorised, and extractable', async () => {
  const question = 'Where is the dog?';
  const { tokens } = await model.generate(`Question: ${question}\nAnswer:`, { maxTokens: 8 }).result();
  const answer = tokens.map(({ text }) => text).join('');
  const set = await read('retain', [{ question, answer: answer.trimStart() }]);
  const found = await measureTofu(model, set, { rouge: false });
  assert.equal([found.exactMemorisation, found.extractionStrength], [1, 1]);
  assert.equal([found.truthRatio, found.truthRatioScore, found.rougeL], [null, null, null]);
});

test('rows as lines with CRLF, with a byte order mark, blank lines, or one list', async () => {
  const want = await read('retain_perturbed', ROWS);
  for (const text of [
    lines(ROWS, '\r\n'),
    `\ufeff${lines(ROWS, '\n\n')}\n`,
    JSON.stringify(ROWS),
    ` ${JSON.stringify(ROWS, null, 2)}`,
  ]) {
    const found = await readTofuSet('retain_perturbed', bytes(text));
    assert.is(found.sha256, want.sha256);
    assert.is(found.rows.length, 3);
  }
});

test('what is wrong with a row is said with its place', async () => {
  const good = ROWS[0];
  const wrong: readonly (readonly [name: string, text: string, message: RegExp])[] = [
    ['x', lines([good, { question: 'a', perturbed_answer: ['b'] }]), /The data, line 2: there is no answer/],
    ['x', lines([good, { ...good, answer: null }], '\r\n'), /line 2: there is no answer/],
    ['x', JSON.stringify([good, { answer: 'a', perturbed_answer: ['b'] }]), /row 2: there is no question/],
    ['x', lines([good, { question: 'a', answer: 'b' }]), /line 2: there is no perturbed_answer/],
    ['x_perturbed', lines([{ question: 'a', answer: 'b' }]), /line 1: there is no perturbed_answer/],
    ['x', lines([{ ...good, perturbed_answer: [] }]), /line 1: perturbed_answer is an empty list/],
    ['x', lines([{ ...good, perturbed_answer: ['a', 5] }]), /line 1: perturbed_answer has 5/],
    ['x', lines([{ ...good, perturbed_answer: 5 }]), /line 1: perturbed_answer is 5/],
    ['x', lines([{ ...good, paraphrased_answer: ['a'] }]), /line 1: paraphrased_answer is a list/],
    ['x', lines([{ ...good, question: 5 }]), /line 1: question is 5/],
    ['x', lines([good, 'a']), /line 2: this is "a"/],
    ['x', `${lines([good])}\n{`, /line 2: this is not JSON/],
    ['x', '[{]', /The data: this is not JSON/],
    ['x', ' \n', /holds no row/],
    ['x', '[]', /holds no row/],
  ];
  for (const [name, text, message] of wrong) {
    const error = await rejects('E_DATA_INVALID', () => readTofuSet(name, bytes(text)));
    assert.match(error.message, message);
  }
  assert.match((await rejects('E_DATA_INVALID', () => readTofuSet('x', Uint8Array.of(0xff)))).message, /UTF-8/);
  const { maxPositions } = model.config;
  const ofLength = (tokens: number) => {
    const around = model.encode('Question:\nAnswer: b').length + 1;
    return read('x', [{ question: ' a'.repeat(tokens - around), answer: 'b' }]);
  };
  const asked = { prompt: 'Question:{question}\nAnswer:', rouge: false };
  for (const tokens of [maxPositions + 1, 2 * maxPositions]) {
    const long = await ofLength(tokens);
    assert.match((await rejects('E_DATA_INVALID', () => measureTofu(model, long, asked))).message, /line 1/);
  }
  assert.is((await measureTofu(model, await ofLength(maxPositions), asked)).n, 1);
});

test('options are checked, and an abort ends it', async () => {
  const set = await read('x', ROWS);
  const wrong = [
    { prompt: 'Question:' },
    { prompt: '{q}' },
    { answer: '{question}' },
    { maxTokens: 0 },
    { rouge: 1 },
    { batch: 65 },
    { split: 'a' },
  ];
  for (const options of wrong) {
    await rejects('E_ARGUMENT', () => measureTofu(model, set, options as TofuOptions));
  }
  const controller = new AbortController();
  const seen: string[] = [];
  await rejects('E_ABORTED', () =>
    measureTofu(model, set, {
      signal: controller.signal,
      onProgress: ({ of, doing, done, total }) => {
        seen.push(`${of} ${doing} ${done}/${total}`);
        if (doing === 'answering') controller.abort();
      },
    }),
  );
  assert.equal(seen.slice(0, 3), ['x scoring 0/3', 'x scoring 3/3', 'x answering 0/3']);
});

test('a chat template writes questions and answers, and a question before its answer', async () => {
  const file = async (name: string) => readBytes(`models/nano-base/${name}`);
  const config = JSON.parse(new TextDecoder().decode(await file('tokenizer_config.json')));
  const template =
    "{{ strftime_now('%Y') }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";
  const chatting = await openLocal(
    {
      'config.json': await file('config.json'),
      'model.safetensors': await file('model.safetensors'),
      'tokenizer.json': await file('tokenizer.json'),
      'tokenizer_config.json': bytes(JSON.stringify({ ...config, chat_template: template })),
    },
    { precision: 'exact' },
  );
  try {
    const set = await read('retain', [{ question: 'Who?', answer: 'The cat.' }]);
    const found = await measureTofu(chatting, set, { chat: true, maxTokens: 5 });
    // the date is fixed, in local time
    const [prompt, answer] = [`${new Date(0).getFullYear()}[user]Who?[assistant]`, 'The cat.<|endoftext|>'];
    const before = chatting.encode(prompt, { addBos: false }).length;
    const scored = (await chatting.score(prompt + answer, { addBos: false })).slice(before);
    const loss = -scored.reduce((sum, { logprob }) => sum + logprob!, 0) / scored.length;
    assert.ok(worst.within('probability, relative', Math.abs(found.probability / Math.exp(-loss) - 1), 1e-5));
    const { text } = await chatting.generate(prompt, { addBos: false, maxTokens: 5 }).result();
    assert.is(found.items[0]!.written, text);
    assert.is(found.form, 'chat');
    // of the text alone: whether it would end there is not asked
    const { perplexity } = await measureFluency(chatting, [{ question: 'Who?', written: 'The cat.' }], { chat: true });
    const own = scored.slice(0, -1);
    const want = Math.exp(-own.reduce((sum, { logprob }) => sum + logprob!, 0) / own.length);
    assert.ok(worst.within('perplexity, relative', Math.abs(perplexity! / want - 1), 1e-5));
  } finally {
    chatting.close();
  }
  const plain = await read('retain', [{ question: 'Who?', answer: 'x' }]);
  await rejects('E_TEMPLATE_INVALID', () => measureTofu(model, plain, { chat: true }));
});

const measures = async (set: TofuSet, options: TofuOptions = {}) =>
  measureTofu(model, set, { rouge: false, ...options });

test('a reference is of the same questions, answers and prompts', async () => {
  const set = await read('forget_perturbed', ROWS);
  const own = await measures(set);
  const text = JSON.stringify({ model: 'm', sets: { [set.name]: own } });
  const log = await readTofuLog(bytes(text));
  const of = 'reference.json';
  assert.equal(tofuForgetQuality(set, own, log.sets[set.name], of), { D: 0, p: 1, log10p: 0, sizes: [3, 3] });
  // 2 of the 20 orders of six have all of one sample first
  const far = tofuForgetQuality(set, own, { ...own, truthRatio: [1e12, 1e12, 1e12] }, of);
  assert.is(far.D, 1);
  assert.ok(Math.abs(far.p - 0.1) < 1e-15);
  const others = await read('forget_perturbed', [ROWS[0], { ...ROWS[1], question: 'Where does a cat live?' }, ROWS[2]]);
  const refused = async (one: TofuSet, form: string, reference = log.sets[set.name]) =>
    (await rejects('E_DATA_INVALID', () => checkTofuReference(one, form, reference, of))).message;
  assert.match(
    await refused(others, own.form),
    'question 2 of forget_perturbed is "Where does the cat live?", and here "Where does a cat live?"',
  );
  const { items: _, ...brief } = own;
  assert.match(await refused(others, own.form, brief), /other questions or answers/);
  assert.match(await refused(await read('forget_perturbed', ROWS.slice(1)), own.form), /question 1/);
  assert.match(
    await refused(await read('forget_perturbed', [...ROWS.slice(0, 2), { ...ROWS[2], answer: 'x' }]), own.form),
    /other questions or answers/,
  );
  assert.match(await refused(set, formOf({ chat: true })), /asked as .*, and here as "chat"/);
  assert.match(await refused(set, own.form, { ...brief, truthRatio: [1] }), /has 1 truth ratios/);
  await rejects('E_DATA_INVALID', () => checkTofuReference(set, own.form, undefined, of));
  const plain = await read('forget', [{ question: 'a', answer: 'b' }]);
  await rejects('E_ARGUMENT', () => checkTofuReference(plain, own.form, brief, of));
  for (const wrong of [
    '{',
    '[]',
    '{}',
    '{"sets": {}}',
    '{"model": "m", "sets": {"a": 5}}',
    text.replace(/"truthRatio":\[/, '"truthRatio":["x",'),
  ]) {
    await rejects('E_DATA_INVALID', () => readTofuLog(bytes(wrong)));
  }
});

test('utility is of three sets, with all three figures', async () => {
  const one = { probability: 0.5, rougeL: 0.25, truthRatioScore: 1 } as TofuMeasures;
  const all = { retain_perturbed: one, real_authors_perturbed: one, world_facts_perturbed: one };
  assert.is(tofuUtility(all), 9 / (3 * (2 + 4 + 1)));
  assert.is(tofuUtility({ ...all, retain_perturbed: { ...one, rougeL: 0 } }), 0);
  assert.is(tofuUtility({ ...all, retain_perturbed: { ...one, rougeL: null } }), null);
  assert.is(tofuUtility({ retain_perturbed: one }), null);
});

test('the worst figures', () => {
  worst.print();
  model.close();
});
test.run();
