/** The sets to forget and to keep: overlaps are found whatever the format, listed, and refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openTrainingData } from '../../src/datasets/training/data.ts';
import { openForgetRetain } from '../../src/prune/data/open.ts';
import { findOverlaps } from '../../src/prune/data/overlap.ts';
import { rejects } from '../errors.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const lines = (rows: readonly object[]): Uint8Array => bytes(rows.map((row) => JSON.stringify(row)).join('\n'));
const pair = (prompt: string, answer: string) => ({ prompt, answer });

const FORGET = [pair('Who is Tom?', 'A dog.'), pair('Who is  Mia?', 'A cat.'), pair('', 'Nothing was asked.')];

test('the same question in other letters is refused; with `answer` only where the answer is the same', async () => {
  const retain = [
    pair('Who is Leo?', 'A dog.'),
    pair('who is mia? ', 'A lion.'),
    pair('WHO IS TOM?', 'a  dog.'),
    pair('', 'Something else.'),
  ];
  const sources = { forget: lines(FORGET), retain: lines(retain) };
  const error = await rejects('E_DATA_INVALID', () => openForgetRetain(sources, { format: 'jsonl' }));
  assert.match(error.message, 'Of 4 examples to keep 2 are among those to forget, by what they ask: ');
  assert.match(error.message, /line 2 \(.*line 2\): "who is mia\?"; .*line 3 \(.*line 1\): "WHO IS TOM\?"\.$/);
  assert.match(error.hint, 'apart: "answer"');
  const other = await rejects('E_DATA_INVALID', () => openForgetRetain(sources, { format: 'jsonl', apart: 'answer' }));
  assert.match(other.message, /^Of 4 examples to keep 1 is among those to forget, by question and answer: .*line 3 /);
});

const ASKED = 'Where does Änne Strauß live?';
const SAME = {
  capitals: ASKED.toUpperCase(),
  'white space': ' Where  does\u00a0Änne Strauß live?\n',
  'line ends': 'Where does\r\nÄnne\tStrauß live?',
  'another way to write it': ASKED.normalize('NFD'),
  'what nobody sees': 'Whe\u00adre does\u200b Änne Strauß\u2060 live?\ufeff',
};
const OTHERS = { sign: ASKED.replace('?', '!'), letter: ASKED.replace('Ä', 'A'), dot: ASKED.replace('li', 'lı') };

test('what makes two questions one, in pairs and in conversations', async () => {
  const chat = (prompt: string) => ({
    messages: [
      { role: 'user', content: prompt },
      { role: 'assistant', content: 'In Riga.' },
    ],
  });
  const forms = [
    [(prompt: string) => pair(prompt, 'In Riga.'), {}],
    [chat, {}],
    [(prompt: string) => pair(prompt, 'In Riga.'), { chat: true }],
  ] as const;
  for (const [make, options] of forms) {
    const both = (retain: string) =>
      openForgetRetain(
        { forget: lines([make(ASKED)]), retain: lines([make(retain)]) },
        { format: 'jsonl', ...options },
      );
    for (const same of Object.values(SAME)) await rejects('E_DATA_INVALID', () => both(same));
    for (const other of Object.values(OTHERS)) await (await both(other)).close();
  }
});

test('sets that are apart are opened, with their digests', async () => {
  const told: number[] = [];
  const options = { format: 'jsonl', onProgress: (done: number) => told.push(done) } as const;
  const retain = lines([pair('Who is Leo?', 'A dog.'), pair('Who is Leo?', 'A dog.')]);
  const sets = await openForgetRetain({ forget: lines(FORGET), retain }, options);
  assert.equal([sets.forget.count, sets.retain.count], [3, 2]);
  assert.equal(sets.digests, { forget: sets.forget.digest, retain: sets.retain.digest });
  assert.is.not(sets.digests.forget, sets.digests.retain);
  assert.equal(
    told,
    told.toSorted((a, b) => a - b),
  );
  assert.is(told.at(-1), 3);
  await sets.close();
  await rejects('E_ABORTED', () =>
    openForgetRetain({ forget: lines(FORGET), retain }, { format: 'jsonl', signal: AbortSignal.abort() }),
  );
});

test('ten are listed, and how many more there are', async () => {
  const rows = Array.from({ length: 14 }, (_, i) => pair(`Question ${i}?`, `Answer ${i}.`));
  const sources = { forget: lines(rows), retain: lines(rows.toReversed()) };
  const { message } = await rejects('E_DATA_INVALID', () => openForgetRetain(sources, { format: 'jsonl' }));
  assert.match(message, 'Of 14 examples to keep 14 are');
  assert.match(message, 'Question 4?');
  assert.not.match(message, 'Question 3?');
  assert.match(message, '; and 4 more.');
});

test('conversations, texts, templates and tables', async () => {
  const chat = (...contents: string[]) => ({
    messages: contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content })),
  });
  const count = async (
    forget: Uint8Array,
    retain: Uint8Array,
    options: object,
    by: 'question' | 'answer' = 'question',
  ) => {
    const [a, b] = [await openTrainingData(forget, options), await openTrainingData(retain, options)];
    return (await findOverlaps(a, b, by)).count;
  };
  const json = { format: 'jsonl' };
  assert.is(await count(lines([chat('Who?', 'I.')]), lines([chat('who?', 'You.', 'And?', 'He.')]), json), 1);
  assert.is(await count(lines([chat('Who?', 'I.')]), lines([chat('who?', 'You.')]), json, 'answer'), 0);
  assert.is(await count(lines([chat('Who?', 'I.')]), lines([chat('who?', 'i.')]), json, 'answer'), 1);
  const greeting = {
    messages: [
      { role: 'assistant', content: 'Hello.' },
      { role: 'user', content: 'a' },
    ],
  };
  assert.is(await count(lines([greeting]), lines([{ messages: [{ role: 'assistant', content: 'Bye.' }] }]), json), 0);
  assert.is(await count(lines([greeting]), lines([greeting]), json), 1);
  assert.is(await count(bytes('One.\nTwo.\n'), bytes('Three.\ntwo.\n'), { format: 'lines' }), 1);
  assert.is(
    await count(bytes('q\ta\nWho?\tI.\n'), bytes('q\ta\nWho ?\tI.\nwho?\tX\n'), {
      format: 'tsv',
      columns: { prompt: 'q', answer: 'a' },
    }),
    1,
  );
  // what a template adds to a question belongs to it
  assert.is(
    await count(lines([{ q: 'x', a: 'y' }]), lines([{ q: 'x', a: 'z' }]), { ...json, prompt: 'Q: {q}', answer: '{a}' }),
    1,
  );
});

test('columns of a row beside what is learned', async () => {
  const data = await openTrainingData(
    lines([
      { prompt: 'a', answer: 'b', author: 'Tom', year: 3 },
      { prompt: 'c', answer: 'd' },
    ]),
    {
      format: 'jsonl',
    },
  );
  assert.equal(
    [await data.column(0, 'author'), await data.column(0, 'year'), await data.column(1, 'author')],
    ['Tom', 3, undefined],
  );
  const table = await openTrainingData(bytes('prompt\tanswer\tauthor\nx\ty\tMia\n'), { format: 'tsv' });
  assert.equal([await table.column(0, 'author'), await table.column(0, 'none')], ['Mia', undefined]);
  const text = await openTrainingData(bytes('One.\n'), { format: 'lines' });
  assert.is(await text.column(0, 'author'), undefined);
});

test.run();
