/** Training data: what is read, what is refused and where, what is held out, and in which order examples come. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DataSource, openTrainingData, type TrainingData } from '../../src/datasets/training/data.ts';
import type { TrainingDataOptions } from '../../src/datasets/training/options.ts';
import { cutText } from '../../src/datasets/training/pieces.ts';
import { orderOf } from '../../src/datasets/training/stream.ts';
import type { TrainingExample, TrainingFormat } from '../../src/datasets/training/types.ts';
import { rejects } from '../errors.ts';
import { hasFileSystem } from '../files.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const named = (name: string, text: string | Uint8Array<ArrayBuffer>) => new File([text], name);

async function read(data: TrainingData): Promise<TrainingExample[]> {
  const list: TrainingExample[] = [];
  for (let i = 0; i < data.count; i++) list.push((await data.read(i)).example);
  return list;
}

async function examples(source: DataSource | DataSource[], options: TrainingDataOptions = {}) {
  await using data = await openTrainingData(source, options);
  return read(data);
}

const pair = (prompt: string, answer: string) => ({ kind: 'pair', prompt, answer });
const text = (content: string) => ({ kind: 'text', text: content, first: true, last: true });

/** Refused, and the message says where and why. */
async function refused(format: TrainingFormat, content: string | Uint8Array<ArrayBuffer>, where: RegExp, options = {}) {
  const error = await rejects('E_DATA_INVALID', () => openTrainingData(named('file', content), { format, ...options }));
  assert.match(error.message, where);
}

test('prompt and answer in JSON lines, TSV and CSV; the end of the name says which', async () => {
  const want = [pair('Q: a', ' b'), pair('Ä 😀', 'c, "d"')];
  const jsonl = '{"prompt":"Q: a","answer":" b"}\n\n{"answer":"c, \\"d\\"","prompt":"Ä 😀","more":[1]}';
  assert.equal(await examples(named('a.jsonl', jsonl)), want);
  assert.equal(await examples(named('a.NDJSON', jsonl.replaceAll('\n', '\r\n'))), want);
  assert.equal(await examples(named('a.tsv', 'prompt\tanswer\nQ: a\t b\nÄ 😀\tc, "d"\n')), want);
  assert.equal(await examples(named('a.csv', 'answer,x,prompt\r\n b,,Q: a\r\n"c, ""d""",,Ä 😀')), want);
  assert.equal(await examples(bytes(jsonl), { format: 'jsonl' }), want);
  await rejects('E_ARGUMENT', () => openTrainingData(bytes(jsonl)));
  await rejects('E_ARGUMENT', () => openTrainingData(named('a.json', jsonl)));
  await rejects('E_ARGUMENT', () => openTrainingData([]));
});

test('a byte order mark is no text', async () => {
  assert.equal(await examples(named('a.csv', '\ufeffprompt,answer\na,b')), [pair('a', 'b')]);
  assert.equal(await examples(named('a.jsonl', '\ufeff{"prompt":"a","answer":"b"}')), [pair('a', 'b')]);
  assert.equal(await examples(named('a.txt', '\ufeffabc')), [text('abc')]);
});

test('columns have other names, and templates write prompts and answers', async () => {
  const file = named('a.jsonl', '{"question":"Why?","solution":"So.","language":"x"}');
  const columns = { prompt: 'question', answer: 'solution' };
  assert.equal(await examples(file, { columns }), [pair('Why?', 'So.')]);
  const templates = { prompt: 'Question: {question}\nAnswer {{x}}:', answer: ' {solution}' };
  assert.equal(await examples(file, templates), [pair('Question: Why?\nAnswer {x}:', ' So.')]);
  assert.equal(await examples(file, { ...templates, columns: { prompt: 'question' }, prompt: '{prompt}' }), [
    pair('Why?', ' So.'),
  ]);
  for (const prompt of ['{question', 'question}', '{}', 'a {b{c}']) {
    await rejects('E_ARGUMENT', () => openTrainingData(file, { ...templates, prompt }));
  }
  await rejects('E_ARGUMENT', () => openTrainingData(file, { ...templates, answer: 'always the same' }));
  await rejects('E_ARGUMENT', () => openTrainingData(file, { columns: { prompt: 'a', answer: 'a' } }));
  await refused('jsonl', '{"question":"Why?"}', /^file, line 1: there is no solution/, templates);
});

test('parallel text: the prompt of the languages, or a conversation', async () => {
  const file = named('a.tsv', 'source\ttarget\tlanguage\nThe dog.\tDer Hund.\tGerman\nThe cat.\tLe chat.\tFrench');
  assert.equal(await examples(file), [
    pair('English: The dog.\nGerman:', ' Der Hund.'),
    pair('English: The cat.\nFrench:', ' Le chat.'),
  ]);
  assert.equal(await examples(file, { chat: true, sourceLanguage: 'en' }), [
    chat('Translate from en to German: The dog.', 'Der Hund.'),
    chat('Translate from en to French: The cat.', 'Le chat.'),
  ]);
  const [first] = await examples(named('b.tsv', 'source\ttarget\nThe dog.\tDer Hund.'), { language: 'German' });
  assert.equal(first, pair('English: The dog.\nGerman:', ' Der Hund.'));
  await refused('tsv', 'source\ttarget\nThe dog.\tDer Hund.', /line 2: there is no language/);
  assert.equal(await examples(file, { prompt: '{source} =>', answer: ' {target}' }), [
    pair('The dog. =>', ' Der Hund.'),
    pair('The cat. =>', ' Le chat.'),
  ]);
});

const chat = (question: string, answer: string) => ({
  kind: 'chat',
  messages: [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ],
});

test('conversations', async () => {
  const { messages } = chat('a', 'b');
  const line = JSON.stringify({ messages });
  assert.equal(await examples(named('a.jsonl', line)), [chat('a', 'b')]);
  const tools = [{ type: 'function' }];
  assert.equal(await examples(named('a.jsonl', JSON.stringify({ messages, tools }))), [{ ...chat('a', 'b'), tools }]);
  assert.equal(await examples(named('a.tsv', `messages\ttools\n${JSON.stringify(messages)}\t\n`)), [chat('a', 'b')]);
  const renamed = { columns: { messages: 'conversation' } };
  assert.equal(await examples(named('a.jsonl', JSON.stringify({ conversation: messages })), renamed), [chat('a', 'b')]);
  for (const [wrong, why] of [
    ['{"messages":[]}', /messages are no list/],
    ['{"messages":{}}', /messages are no list/],
    ['{"messages":["a"]}', /message 1 has no role/],
    ['{"messages":[null]}', /message 1 has no role/],
    ['{"messages":[{"role":"user"}]}', /message 1 has no content/],
    ['{"messages":[{"role":"user","content":5}]}', /message 1 has no content/],
    ['{"messages":[{"role":"user","content":"a"}]}', /no message is from the assistant/],
    [
      '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":" "}]}',
      /message 2, an answer, is empty/,
    ],
    [`{"messages":${JSON.stringify(messages)},"tools":{}}`, /tools are no list/],
  ] as const)
    await refused('jsonl', `${line}\n${wrong}`, new RegExp(`^file, line 2: ${why.source}`));
});

test('plain text: a document, lines, paragraphs', async () => {
  const content = 'One.\r\nTwo.\n\n \nThree.\nFour.\n\n\n';
  assert.equal(await examples(named('a.txt', content)), [text(content.replaceAll('\r\n', '\n'))]);
  assert.equal(
    await examples(named('a.txt', content), { format: 'lines' }),
    ['One.', 'Two.', 'Three.', 'Four.'].map(text),
  );
  assert.equal(
    await examples(named('a.txt', content), { format: 'paragraphs' }),
    ['One.\nTwo.', 'Three.\nFour.'].map(text),
  );
  assert.equal(await examples([named('a.md', 'x'), named('b.jsonl', '{"text":"y"}')]), ['x', 'y'].map(text));
  for (const format of ['text', 'lines', 'paragraphs'] as const) await refused(format, ' \n\n', /holds no example/);
  await refused('jsonl', '{"text":""}', /line 1: text is empty/);
});

/** Half a character. */
const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

test('long texts are cut, at line ends, spaces or between characters, and nothing is lost', async () => {
  const words = Array.from(
    { length: 900 },
    (_, i) => `${i % 13 === 0 ? 'naïve 😀' : 'word'}${i}${i % 17 === 0 ? '\n' : ' '}`,
  );
  const solid = '😀é'.repeat(700);
  for (const content of [words.join(''), solid, `${words.join('')}${solid}`]) {
    for (const pieceLength of [16, 100, 4096]) {
      const pieces = (await examples(named('a.txt', content), { pieceLength })) as { text: string }[];
      assert.is(
        pieces
          .map((piece) => piece.text)
          .join('')
          .trimEnd(),
        content.trimEnd(),
      );
      const inJson = await examples(named('a.jsonl', JSON.stringify({ text: content })), { pieceLength });
      assert.is(inJson.map((piece) => (piece as { text: string }).text).join(''), content);
      for (const list of [pieces, inJson] as { text: string; first: boolean; last: boolean }[][]) {
        assert.equal(
          list.map(({ first, last }) => [first, last]),
          list.map((_, i) => [i === 0, i === list.length - 1]),
        );
        assert.ok(list.every((piece) => piece.text.length <= pieceLength && !LONE.test(piece.text)));
      }
    }
  }
  assert.equal(cutText('aaaa bbbb\ncccc dddd', 12), [10, 19]);
  assert.equal(cutText('aaaa bbbb cccc', 12), [9, 14]);
});

test('what is broken is refused with its line', async () => {
  const good = '{"prompt":"a","answer":"b"}';
  await refused('jsonl', `${good}\n\n{"prompt":"a"`, /^file, line 3: this is not JSON/);
  await refused('jsonl', `${good}\n[1]`, /^file, line 2: this is no JSON object/);
  await refused('jsonl', `${good}\nnull`, /^file, line 2: this is no JSON object/);
  await refused('jsonl', `${good}\n{"prompt":"a","answer":""}`, /^file, line 2: the answer is empty/);
  await refused('jsonl', `${good}\n{"prompt":"a","answer":" \\n"}`, /^file, line 2: the answer is empty/);
  await refused('jsonl', `${good}\n{"prompt":"a","answer":5}`, /^file, line 2: answer is no text/);
  await refused('jsonl', `${good}\n{"prompt":"a","answer":null}`, /^file, line 2: there is no answer/);
  await refused('jsonl', `${good}\n{"text":"a"}`, /^file, line 2: there is no prompt/);
  await refused('jsonl', '{"toString":1}', /^file, line 1: there is nothing to learn from/);
  await refused('jsonl', '\n\r\n \n', /^file holds no example/);
  await refused('jsonl', '', /^file holds no example/);
  await refused('tsv', 'prompt\tanswer\na\tb\nc', /^file, line 3: there are 1 cells under 2 columns/);
  await refused('tsv', 'prompt\tanswer\n', /^file holds no example/);
  await refused('tsv', 'a\tb\nc\td', /^file, line 2: there is nothing to learn from/);
  await refused('csv', 'prompt,answer\na,"b\nc,d\n', /^file, line 2: a quotation mark is not closed/);
  await refused('csv', 'prompt,answer\n"a\nb",c\n\nd,e"f"\n', /^file, line 5: a quotation mark/);
  await refused('csv', 'prompt,answer\na,""\n', /^file, line 2: the answer is empty/);
  assert.equal(await examples(named('a.jsonl', '{"prompt":"","answer":"b"}')), [pair('', 'b')]);
});

test('a head that names a column twice is refused there; any name may be that of a column', async () => {
  await refused('tsv', 'prompt\tanswer\tprompt\na\tb\tc\n', /^file, line 1: two columns are called "prompt"/);
  await refused('csv', '\n"a","a "\nb,c\n', /^file, line 2: two columns are called "a"/);
  const made = await examples(named('a.csv', 'constructor,toString\nx,y\n'), {
    prompt: '{constructor}',
    answer: '{toString}',
  });
  assert.equal(made, [pair('x', 'y')]);
});

test('what is no UTF-8 text is refused with its line', async () => {
  const latin = Uint8Array.from('prompt\tanswer\na\tb\nc\tAndr\u00e9\n', (char) => char.charCodeAt(0));
  await refused('tsv', latin, /^file, line 3: this is not UTF-8/);
  await refused(
    'paragraphs',
    Uint8Array.from('a\nb\nc\u00ff', (char) => char.charCodeAt(0)),
    /^file, line 3: this is not/,
  );
  const wide = new Uint8Array(new Uint16Array(Array.from('\ufeffa\tb', (char) => char.charCodeAt(0))).buffer);
  await refused('tsv', wide, /^file, line 1: there is a NUL/);
  await refused('lines', 'good\nb\0d', /^file, line 2: there is a NUL/);
  await refused('jsonl', Uint8Array.of(0xff, 0xfe, 0x0a), /^file, line 1: this is not UTF-8/);
  await refused('jsonl', '{"prompt":"a","answer":"\u0001"}', /^file, line 1: this is not JSON/);
});

test('a record that never ends is refused, and one that is long is read', async () => {
  const long = 'x'.repeat(3 << 20);
  assert.equal(await examples(named('a.tsv', `prompt\tanswer\na\t${long}\nb\tc`)), [pair('a', long), pair('b', 'c')]);
  const endless = new Blob(['prompt,answer\n"', ...Array.from({ length: 9 }, () => 'yyyyyyy\n'.repeat(1 << 18))]);
  const error = await rejects('E_DATA_INVALID', () => openTrainingData(endless, { format: 'csv' }));
  assert.match(error.message, /line 2: what begins here has more than 16 MiB/);
});

const many = (count: number) =>
  named('many.jsonl', Array.from({ length: count }, (_, i) => `{"prompt":"q${i % 700}","answer":"a${i}"}`).join('\n'));

test('what has changed since it was looked through is refused with its line, whatever it is now', async () => {
  const jsonl = bytes('{"prompt":"a","answer":" b"}\n{"prompt":"c","answer":" d"}\n{"prompt":"e","answer":" f"}\n');
  await using data = await openTrainingData(jsonl, { format: 'jsonl' });
  const whole = await read(data);
  // of the same length, and a line as good as the other
  jsonl.set(bytes(' x'), jsonl.indexOf('d'.charCodeAt(0)) - 1);
  assert.equal((await data.read(0)).example, whole[0]);
  assert.equal((await data.read(2)).example, whole[2]);
  const error = await rejects('E_DATA_INVALID', () => data.read(1));
  assert.match(error.message, /line 2: this is not what stood there/);
  await rejects('E_DATA_INVALID', () => data.column(1, 'answer'));
  // pieces of a text, in a record and in a file
  for (const format of ['lines', 'text'] as const) {
    const long = bytes('one two three four five six seven\n');
    await using pieces = await openTrainingData(long, { format, pieceLength: 16 });
    assert.ok(pieces.count > 1);
    long[long.length - 3]! ^= 1;
    await rejects('E_DATA_INVALID', () => pieces.read(pieces.count - 1));
  }
});

test('data without a name and a format are told so', async () => {
  const error = await rejects('E_ARGUMENT', () => openTrainingData(bytes('a\n')));
  assert.match(error.message, /^Nothing says/);
  assert.match(
    (await rejects('E_ARGUMENT', () => openTrainingData(named('a.doc', 'a')))).message,
    /^The name of a\.doc/,
  );
});

test('what is held out asks nothing that is trained on, the same for a seed', async () => {
  await using data = await openTrainingData(many(1000), { heldOut: 0.1, seed: 5 });
  assert.is(data.train.length + data.heldOut.length, 1000);
  assert.ok(data.heldOut.length >= 100 && data.heldOut.length <= 101, `${data.heldOut.length}`);
  const asked = async (part: Uint32Array) => {
    const prompts = new Set<string>();
    for (const i of part) prompts.add(((await data.read(i)).example as { prompt: string }).prompt);
    return prompts;
  };
  const trained = await asked(data.train);
  for (const prompt of await asked(data.heldOut)) assert.not.ok(trained.has(prompt), prompt);
  await using again = await openTrainingData(many(1000), { heldOut: 0.1, seed: 5 });
  assert.equal(again.heldOut, data.heldOut);
  await using other = await openTrainingData(many(1000), { heldOut: 0.1, seed: 6 });
  assert.not.equal(other.heldOut, data.heldOut);
  await using none = await openTrainingData(many(1000));
  assert.is(none.heldOut.length, 0);
  // case and white space make no other question
  const same = named('a.jsonl', '{"prompt":"Why? ","answer":"a"}\n{"prompt":"why?","answer":"b"}');
  await rejects('E_ARGUMENT', () => openTrainingData(same, { heldOut: 0.5 }));
  // no quarter where a twentieth was asked for
  const few = await rejects('E_ARGUMENT', () => openTrainingData(many(4), { heldOut: 0.05 }));
  assert.match(few.message, 'A share of 0.05 of 4 examples is none');
  await using half = await openTrainingData(many(10), { heldOut: 0.05 });
  assert.is(half.heldOut.length, 1);
});

test('the digest is of content and meaning', async () => {
  const digest = async (file: File, options: TrainingDataOptions = {}) => {
    await using data = await openTrainingData(file, options);
    return data.digest;
  };
  const base = await digest(many(10));
  assert.match(base, /^[0-9a-f]{64}$/);
  assert.is(await digest(many(10)), base);
  assert.is.not(await digest(many(11)), base);
  assert.is.not(await digest(many(10), { chat: true }), base);
  assert.is.not(await digest(many(10), { heldOut: 0.1 }), base);
});

test('orders are of seed and epoch alone', () => {
  const list = Uint32Array.from({ length: 1000 }, (_, i) => 3 * i);
  const order = orderOf(list, 7, 0);
  assert.equal(orderOf(list, 7, 0), order);
  assert.equal(order.slice().sort(), list);
  assert.not.equal(orderOf(list, 7, 1), order);
  assert.not.equal(orderOf(list, 8, 0), order);
  // the same in every runtime
  assert.equal([...order.slice(0, 6)], FIRST);
});
const FIRST = [2916, 1587, 2526, 2793, 399, 972];

if (hasFileSystem) {
  test('files of the file system', async () => {
    const { mkdtemp, rm, writeFile } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const { join } = await import('node:path');
    const folder = await mkdtemp(join(tmpdir(), 'espalier-data-'));
    try {
      const path = join(folder, 'a.tsv');
      await writeFile(path, 'prompt\tanswer\na\tb\nc\td\n');
      await using data = await openTrainingData([path, named('b.csv', 'prompt,answer\ne,f')]);
      assert.equal(await read(data), [pair('a', 'b'), pair('c', 'd'), pair('e', 'f')]);
      assert.is(data.placeOf(1), `${path}, line 3`);
      assert.is(data.placeOf(2), 'b.csv, line 2');
      await writeFile(path, 'prompt\tanswer\na\t ');
      await rejects('E_DATA_INVALID', () => data.read(0));
      await rejects('E_FILE_NOT_FOUND', () => openTrainingData(join(folder, 'none.tsv')));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
}

test.run();
