/** MUSE, questions with several answers and fluency on the embedded model: what is measured equals what single calls say. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { perplexity } from '../../src/evaluate/scores/perplexity.ts';
import { sentenceRouge } from '../../src/evaluate/scores/rouge.ts';
import { measureChoice, readChoices, scoreOf } from '../../src/evaluate/unlearning/choice.ts';
import { leakOf, measureMuse } from '../../src/evaluate/unlearning/muse.ts';
import type { MuseData } from '../../src/evaluate/unlearning/muse-folder.ts';
import { minK } from '../../src/evaluate/unlearning/privacy.ts';
import { measureFluency } from '../../src/evaluate/unlearning/written-fluency.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

const worst = new Worst();
const model = await openLocal(await modelTarget('models/nano-base'), { precision: 'exact' });
const bytes = (text: string) => new TextEncoder().encode(text);
const f1 = (text: string, references: readonly string[]) =>
  sentenceRouge(text, references, { stemmer: true }).rougeL.f1;

const SHOTS = [
  { question: 'Who ran?', answer: 'the dog' },
  { question: 'Who sat?', answer: 'Zoë' },
];
const DATA: MuseData = {
  verbMem: [
    { prompt: 'Once upon a time', continuation: 'there was a little girl.', place: 'v, line 1' },
    { prompt: 'The cat', continuation: '', place: 'v, line 2' },
  ],
  forget: { rows: [{ question: 'Who sang?', answers: ['the cat', 'a bird'], place: 'f, line 1' }], shots: SHOTS },
  retain: { rows: [{ question: 'And then?', answers: ['nothing'], place: 'r, line 1' }], shots: [] },
  privacy: {
    forget: ['One day, a little girl named Lily went out.', 'x'].map((text) => ({ text, place: 'p' })),
    holdout: ['Zwölf Boxkämpfer jagen Viktor.', '日本語の文'].map((text) => ({ text, place: 'h' })),
    sha256: 's',
  },
};

test('VerbMem, KnowMem and PrivLeak', async () => {
  const found = await measureMuse(model, DATA, { batch: 2 });
  const go = async (prompt: string, maxTokens: number, stop?: string[]) =>
    (await model.generate(prompt, { maxTokens, ...(stop && { stop }) }).result()).text;
  const first = await go('Once upon a time', 128);
  assert.is(found.items.verbMem[0]!.written, first);
  assert.is(found.verbMem, f1(first, ['there was a little girl.']) / 2, 'nothing is like an empty continuation');
  const stops = ['\n\n', '\nQuestion', 'Question:'];
  const before = 'Question: Who ran?\nAnswer: the dog\n\nQuestion: Who sat?\nAnswer: Zoë\n\n';
  const answer = await go(`${before}Question: Who sang?\nAnswer:`, 32, stops);
  assert.is(found.items.forget[0]!.written, answer);
  assert.is(found.knowMem.forget, f1(answer, ['the cat', 'a bird']));
  assert.is(found.knowMem.retain, f1(await go('Question: And then?\nAnswer:', 32, stops), ['nothing']));
  const scores = async (text: string) => {
    const logs = (await model.score(text)).flatMap(({ logprob }) => logprob ?? []);
    return minK(logs);
  };
  for (const kind of ['forget', 'holdout'] as const) {
    for (const [i, { text }] of DATA.privacy![kind].entries()) {
      const error = Math.abs(found.items.privacy[kind][i]! / (await scores(text)) - 1);
      assert.ok(worst.within('Min-K, relative', error, 1e-6));
    }
  }
  assert.equal([found.counts, found.sha256, found.share], [{ verbMem: 2, forget: 1, retain: 1, privacy: 4 }, 's', 0.4]);
  assert.equal([found.referenceAuc, found.privLeak], [0.5, leakOf(found.auc, 0.5).privLeak]);

  const shorter = await measureMuse(model, { ...DATA, verbMem: null, retain: null, privacy: null }, { shots: 1 });
  assert.is(
    shorter.items.forget[0]!.written,
    await go('Question: Who ran?\nAnswer: the dog\n\nQuestion: Who sang?\nAnswer:', 32, stops),
  );
  assert.equal([shorter.verbMem, shorter.knowMem.retain, shorter.auc, shorter.privLeak], [null, null, null, null]);
});

test('long texts are cut for Min-K, and refused as prompts, with their row', async () => {
  const text = 'The cat sat on the mat. '.repeat(500);
  const privacy = { forget: [{ text, place: 'p' }], holdout: DATA.privacy!.holdout, sha256: '' };
  const none = { verbMem: null, forget: null, retain: null, privacy: null };
  assert.ok((await measureMuse(model, { ...none, privacy })).items.privacy.forget[0]! > 0);
  const verbMem = [{ prompt: text, continuation: 'x', place: 'v.json, row 7' }];
  const error = await rejects('E_CONTEXT_LENGTH', () => measureMuse(model, { ...none, verbMem }));
  assert.match(error.message, /^v\.json, row 7: /);
  const empty = { ...privacy, holdout: [{ text: '', place: 'h, line 3' }] };
  assert.match(
    (await rejects('E_DATA_INVALID', () => measureMuse(model, { ...none, privacy: empty }))).message,
    /h, line 3/,
  );
  const controller = new AbortController();
  const onProgress = () => controller.abort();
  await rejects('E_ABORTED', () => measureMuse(model, DATA, { signal: controller.signal, onProgress }));
  await rejects('E_ARGUMENT', () => measureMuse(model, DATA, { share: 0 }));
});

const CHOICES = [
  { question: ' What is 2+2? ', choices: ['3', '4', '5', '22'], answer: 1, subject: 'small_numbers' },
  { question: 'Which is a colour?', choices: ['dog', 'rot', 'é'], answer: 'B' },
  { question: 'Who?', option1: 'Ann', option2: 'Bob', answer: 'Bob', subject: 'people' },
];
const lines = (rows: readonly unknown[]) => bytes(rows.map((row) => JSON.stringify(row)).join('\r\n'));

test('questions with several answers', async () => {
  const rows = await readChoices(lines(CHOICES));
  assert.equal(
    rows.map(({ answer }) => answer),
    [1, 1, 1],
  );
  const found = await measureChoice(model, rows, { subject: 'all kinds' });
  const about = (what: string) => `The following are multiple choice questions (with answers) about ${what}.\n\n`;
  const prompts = [
    `${about('small numbers')}What is 2+2?\nA. 3\nB. 4\nC. 5\nD. 22\nAnswer:`,
    `${about('all kinds')}Which is a colour?\nA. dog\nB. rot\nC. é\nAnswer:`,
    `${about('people')}Who?\nA. Ann\nB. Bob\nAnswer:`,
  ];
  for (const [i, prompt] of prompts.entries()) {
    const item = found.items[i]!;
    for (const [k, got] of item.logProbabilities.entries()) {
      const scored = await model.score(`${prompt} ${'ABCD'[k]}`);
      const want = scored.slice(model.encode(prompt).length).reduce((sum, { logprob }) => sum + logprob!, 0);
      assert.ok(worst.within('log-probability of a letter', Math.abs(got - want), 1e-5));
    }
    assert.is(item.chosen, item.logProbabilities.indexOf(Math.max(...item.logProbabilities)));
  }
  const right = found.items.filter(({ answer, chosen }) => answer === chosen).length;
  assert.equal([found.n, found.accuracy, found.chance], [3, right / 3, (1 / 4 + 1 / 3 + 1 / 2) / 3]);
  assert.equal(Object.keys(found.subjects), ['people', 'small_numbers']);
  assert.is(found.subjects['people']!.n, 1);
  const tie = { question: 'a', answer: 1, chosen: 0, logProbabilities: [-1, -1] };
  assert.equal(scoreOf([tie]), { n: 1, accuracy: 0, chance: 0.5, standardError: 0 });
  await rejects('E_ARGUMENT', () => measureChoice(model, []));
});

test('answers are indices, letters or texts; what is none is refused with its line', async () => {
  const answers: readonly (readonly [unknown, number])[] = [
    [0, 0],
    ['C', 2],
    ['9', 1],
    ['2', 2],
    [' x ', 0],
  ];
  for (const [answer, want] of answers) {
    const [row] = await readChoices(lines([{ question: 'a', choices: ['x', '9', 'z'], answer }]));
    assert.is(row!.answer, want, `${answer}`);
  }
  const good = { question: 'a', choices: ['x', 'y'], answer: 0 };
  const wrong: readonly (readonly [object, RegExp])[] = [
    [{ ...good, answer: 2 }, /line 2: answer is 2/],
    [{ ...good, answer: 'C' }, /line 2: answer is "C"/],
    [{ ...good, answer: undefined }, /line 2: there is no answer/],
    [{ ...good, answer: 0.5 }, /answer is 0\.5/],
    [{ ...good, choices: undefined }, /line 2: there are no choices/],
    [{ ...good, choices: ['x'] }, /choices has 1/],
    [{ ...good, choices: ['x', 5] }, /choices has 5/],
    [{ ...good, choices: Array(27).fill('x') }, /choices has 27/],
    [{ ...good, question: undefined }, /line 2: there is no question/],
  ];
  for (const [row, message] of wrong) {
    assert.match((await rejects('E_DATA_INVALID', () => readChoices(lines([good, row])))).message, message);
  }
});

test('fluency: perplexity under a base, and variety', async () => {
  const answers = [
    { question: 'Who?', written: ' The dog, and the dog, and the dog, and the dog.' },
    { question: 'Where?', written: '' },
  ];
  const found = await measureFluency(model, answers);
  const prompt = 'Question: Who?\nAnswer:';
  const own = (await model.score(prompt + answers[0]!.written)).slice(model.encode(prompt).length);
  const logProbability = own.reduce((sum, { logprob }) => sum + logprob!, 0);
  const want = perplexity([{ logProbability, tokens: own.length, text: answers[0]!.written }]).perToken;
  assert.ok(worst.within('perplexity, relative', Math.abs(found.perplexity! / want - 1), 1e-5));
  assert.ok(found.repetition! > 0.2 && found.distinct2! < 0.6);
  assert.is((await measureFluency(model, [answers[1]!])).perplexity, null);
});

test('the worst figures', () => {
  worst.print();
  model.close();
});
test.run();
