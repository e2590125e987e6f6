/** Tokens of training examples: which they are, which are learned, and what is too long; held against what the model itself encodes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openTrainingData } from '../../src/datasets/training/data.ts';
import { SequenceEncoder } from '../../src/datasets/training/encode.ts';
import type { SequenceOptions, TrainingDataOptions } from '../../src/datasets/training/options.ts';
import { checkLengths, SequenceStream } from '../../src/datasets/training/stream.ts';
import type { TrainingSequence } from '../../src/datasets/training/types.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import { code, rejects } from '../errors.ts';
import { exists, modelTarget, readBytes } from '../files.ts';

const SMOLLM = '../shared/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf';
const nano = await openLocal(await modelTarget('models/nano-base'));
const END = 0;

const file = (rows: readonly object[]) => new File([rows.map((row) => JSON.stringify(row)).join('\n')], 'a.jsonl');

async function encoded(
  model: LocalModel,
  rows: readonly object[],
  options: SequenceOptions = {},
  dataOptions: TrainingDataOptions = {},
): Promise<TrainingSequence[]> {
  await using data = await openTrainingData(file(rows), dataOptions);
  const encoder = new SequenceEncoder(model, options);
  const list: TrainingSequence[] = [];
  for (let i = 0; i < data.count; i++) list.push(...(await encoder.encode(await data.read(i))));
  return list;
}

const learned = ({ ids, learned: marks }: TrainingSequence) => [...ids].filter((_, i) => marks[i] === 1);

test('prompt and answer: as the model is asked, then the answer and the end token', async () => {
  const prompt = 'English: The dog.\nGerman:';
  const [sequence] = await encoded(nano, [{ prompt, answer: ' Der Hund.' }]);
  const before = nano.encode(prompt);
  assert.is(before[0], END, 'nano begins with its end token');
  const answer = nano.encode(' Der Hund.', { addBos: false });
  assert.equal([...sequence!.ids], [...before, ...answer, END]);
  assert.equal(learned(sequence!), [...answer, END]);
  const [all] = await encoded(nano, [{ prompt, answer: ' Der Hund.' }], { loss: 'all' });
  assert.equal(learned(all!), [...before.slice(1), ...answer, END]);
  const [open] = await encoded(nano, [{ prompt, answer: ' Der Hund.' }], { end: false });
  assert.equal([...open!.ids], [...before, ...answer]);
  const [alone] = await encoded(nano, [{ prompt: '', answer: ' Der Hund.' }]);
  assert.equal([...alone!.ids], [END, ...answer, END]);
});

test('an answer that would grow together with its prompt stays apart', async () => {
  const [sequence] = await encoded(nano, [{ prompt: 'The wa', answer: 'ter' }]);
  const before = nano.encode('The wa');
  assert.not.equal(nano.encode('The water').slice(0, before.length), before, 'or this tests nothing');
  assert.equal([...sequence!.ids], [...before, ...nano.encode('ter', { addBos: false }), END]);
});

test('special tokens in texts are theirs, unless they are to be text', async () => {
  const row = { prompt: 'a', answer: ' b<|endoftext|> c' };
  const count = ({ ids }: TrainingSequence) => ids.filter((id) => id === END).length;
  assert.is(count((await encoded(nano, [row]))[0]!), 3);
  assert.is(count((await encoded(nano, [row], { specialTokens: false }))[0]!), 2);
});

test('too long: refused with its line, cut, or left out', async () => {
  const rows = [
    { prompt: 'a', answer: ' b' },
    { prompt: 'a', answer: ' word'.repeat(20) },
    { prompt: 'word '.repeat(40), answer: ' b' },
  ];
  const whole = await encoded(nano, rows);
  const lengths = whole.map(({ ids }) => ids.length - 1);
  const error = await rejects('E_DATA_INVALID', () => encoded(nano, rows, { maxTokens: 12 }));
  assert.match(error.message, new RegExp(`^a.jsonl, line 2: ${lengths[1]} tokens would go through the model, and 12 `));
  assert.equal(await encoded(nano, rows, { maxTokens: Math.max(...lengths) }), whole);
  assert.equal(await encoded(nano, rows, { maxTokens: 12, long: 'skip' }), whole.slice(0, 1));
  const cut = await encoded(nano, rows, { maxTokens: 12, long: 'truncate' });
  assert.is(cut.length, 2, 'of the third no answer is left');
  assert.equal([...cut[1]!.ids], [...whole[1]!.ids.slice(0, 13)]);
  assert.throws(() => new SequenceEncoder(nano, { maxTokens: 2049 }), code('E_ARGUMENT'));
  assert.throws(() => new SequenceEncoder(nano, { maxTokens: 1 }), code('E_ARGUMENT'));
});

test('lengths are checked before anything is trained', async () => {
  const rows = [
    ...Array.from({ length: 50 }, () => ({ prompt: 'a', answer: ' b' })),
    { prompt: 'a', answer: ' word'.repeat(99) },
  ];
  await using data = await openTrainingData(file(rows));
  const error = await rejects('E_DATA_INVALID', () =>
    checkLengths(data, data.train, new SequenceEncoder(nano, { maxTokens: 64 })),
  );
  assert.match(error.message, /line 51/);
  await checkLengths(data, data.train, new SequenceEncoder(nano));
});

test('lengths are checked of what templates make of a row, and of what a chat template adds', async () => {
  const small = new SequenceEncoder(nano, { maxTokens: 400 });
  for (const prompt of [`${'word '.repeat(600)}{prompt}`, '{prompt}'.repeat(600)]) {
    await using data = await openTrainingData(file([{ prompt: 'x1', answer: ' b' }]), { prompt });
    const error = await rejects('E_DATA_INVALID', () => checkLengths(data, data.train, small));
    assert.match(error.message, /line 1: \d+ tokens/);
  }
  const system = nano.encode('You are an assistant. '.repeat(100));
  const framed = new SequenceEncoder(
    {
      name: nano.name,
      config: nano.config,
      eosIds: nano.eosIds,
      tokenizer: nano.tokenizer,
      encode: (...args) => nano.encode(...args),
      encodeChat: (messages) => [...system, ...messages.flatMap(({ content }) => nano.encode(content as string))],
    },
    { maxTokens: 400 },
  );
  await using data = await openTrainingData(file([{ prompt: 'a', answer: ' b' }]), { chat: true });
  await rejects('E_DATA_INVALID', () => checkLengths(data, data.train, framed));
});

test('text in blocks: each token is learned once', async () => {
  const text = 'Once upon a time there was a dog.\n'.repeat(30);
  const ids = [...nano.encode(text), END];
  for (const maxTokens of [2, 7, 64, 2048]) {
    const blocks = await encoded(nano, [{ text }], { maxTokens });
    assert.equal(blocks.flatMap(learned), ids.slice(1));
    assert.equal(
      blocks.flatMap((block) => [...block.ids.slice(0, -1)]),
      ids.slice(0, -1),
    );
    assert.ok(blocks.every((block) => block.ids.length - 1 <= maxTokens && block.ids.length > 1));
  }
  // pieces: a begin-of-text token in front of the first, an end behind the last
  const pieces = await encoded(nano, [{ text }], {}, { pieceLength: 100 });
  assert.ok(pieces.length > 5);
  assert.equal(
    pieces.flatMap((piece) => [...piece.ids]),
    ids,
  );
});

test('a stream: every example once an epoch, and the same from any state on', async () => {
  const rows = Array.from({ length: 23 }, (_, i) => ({ prompt: `q${i}`, answer: ` a${i}` }));
  await using data = await openTrainingData(file([...rows, { prompt: 'long', answer: ' x'.repeat(90) }]));
  const encoder = new SequenceEncoder(nano, { maxTokens: 40, long: 'skip' });
  const stream = () => new SequenceStream(data, data.train, encoder, { seed: 3, epochs: 2 });
  const shown = (list: TrainingSequence[]) => list.map(({ ids }) => [...ids].join());
  const all = shown(await stream().next(1000));
  assert.is(all.length, 46);
  assert.equal(all.slice(0, 23).sort(), all.slice(23).sort());
  assert.not.equal(all.slice(0, 23), all.slice(23));
  const walked = stream();
  const found: string[] = [];
  for (let first = 0; ; first = found.length) {
    const state = walked.state;
    const part = shown(await walked.next(5));
    found.push(...part);
    const again = stream();
    again.restore(JSON.parse(JSON.stringify(state)));
    assert.equal(shown(await again.next(1000)), all.slice(first));
    if (part.length === 0) break;
  }
  assert.equal(found, all);
  const inOrder = new SequenceStream(data, data.train, encoder, { seed: 3, shuffle: false });
  assert.equal(shown(await inOrder.next(2)), shown(await encoded(nano, rows.slice(0, 2))));
  assert.throws(() => inOrder.restore({ epoch: 0, done: 25, taken: 0 }), code('E_ARGUMENT'));
  const short = new SequenceStream(data, data.train, new SequenceEncoder(nano, { maxTokens: 2, long: 'skip' }), {
    seed: 3,
  });
  await rejects('E_DATA_INVALID', () => short.next(1));
});

test('a text of several blocks goes on in the middle', async () => {
  await using data = await openTrainingData(new File(['word '.repeat(500)], 'a.txt'), { pieceLength: 1000 });
  const encoder = new SequenceEncoder(nano, { maxTokens: 30 });
  const stream = () => new SequenceStream(data, data.train, encoder, { seed: 1, epochs: 1 });
  const all = await stream().next(1000);
  assert.ok(all.length > 12);
  for (const taken of [1, 2, 5, 11]) {
    const one = stream();
    await one.next(taken);
    const other = stream();
    other.restore(one.state);
    assert.equal(await other.next(1000), all.slice(taken));
  }
});

test('a model without a chat template takes no conversation', async () => {
  const rows = [
    {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ],
    },
  ];
  const error = await rejects('E_TEMPLATE_INVALID', () => encoded(nano, rows));
  assert.is(error.message, 'The model has no chat template.'); // which no line is to blame for
});

const turn = (role: string, content: string) => ({ role, content });

/** nano with a chat template of its own. */
async function withTemplate(template: string): Promise<LocalModel> {
  const read = (name: string) => readBytes(`models/nano-base/${name}`);
  const config = JSON.parse(new TextDecoder().decode(await read('tokenizer_config.json')));
  return openLocal({
    'config.json': await read('config.json'),
    'model.safetensors': await read('model.safetensors'),
    'tokenizer.json': await read('tokenizer.json'),
    'tokenizer_config.json': new TextEncoder().encode(JSON.stringify({ ...config, chat_template: template })),
  });
}

const MESSAGES = [
  turn('user', 'Hi'),
  turn('assistant', 'think: Hello'),
  turn('user', 'Bye'),
  turn('assistant', 'think: Ciao'),
];

test('a template that rewrites earlier turns makes a sequence of each', async () => {
  const model = await withTemplate(
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' and not loop.last %}{{ m.content.replace('think: ', '') }}{% else %}{{ m.content }}{% endif %}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
  );
  try {
    const list = await encoded(model, [{ messages: MESSAGES }]);
    assert.equal(
      list.map(({ ids }) => model.tokenizer.decode([...ids], { skipSpecialTokens: false })),
      [
        '[user]Hi\n[assistant]think: Hello<|endoftext|>',
        '[user]Hi\n[assistant]Hello<|endoftext|>\n[user]Bye\n[assistant]think: Ciao<|endoftext|>',
      ],
    );
    assert.equal(
      list.map((one) => model.tokenizer.decode(learned(one), { skipSpecialTokens: false })),
      ['think: Hello<|endoftext|>', 'think: Ciao<|endoftext|>'],
    );
  } finally {
    model.close();
  }
});

test('a template that opens an answer otherwise than it writes it is refused', async () => {
  const model = await withTemplate(
    '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}Now it is your turn to say something:{% endif %}',
  );
  try {
    const error = await rejects('E_DATA_INVALID', () => encoded(model, [{ messages: MESSAGES }]));
    assert.match(error.message, /^a.jsonl, line 1: the chat template writes message 2 otherwise/);
  } finally {
    model.close();
  }
});

test('what a template refuses of a conversation has its line', async () => {
  const model = await withTemplate(
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No system') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
  );
  try {
    const rows = [{ messages: MESSAGES }, { messages: [turn('system', 'Be brief'), ...MESSAGES] }];
    const error = await rejects('E_TEMPLATE_INVALID', () => encoded(model, rows));
    assert.match(error.message, /^a.jsonl, line 2: .*No system/);
  } finally {
    model.close();
  }
});

const smol = (await exists(SMOLLM)) ? await openLocal(await modelTarget(SMOLLM)) : null;
if (smol) {
  test('a conversation: the turns of the assistant are learned, with their end token', async () => {
    const messages = [turn('user', 'Hi'), turn('assistant', 'Hello!'), turn('user', 'Bye'), turn('assistant', 'Ciao.')];
    const [sequence, ...more] = await encoded(smol, [{ messages: [...messages, turn('user', 'Never answered')] }]);
    assert.is(more.length, 0);
    const whole = smol.encodeChat(messages, { addGenerationPrompt: false });
    // the line end behind the last end token is learned from nothing
    assert.equal([...sequence!.ids], whole.slice(0, sequence!.ids.length));
    assert.is(
      smol.tokenizer.decode(learned(sequence!), { skipSpecialTokens: false }),
      'Hello!<|im_end|>Ciao.<|im_end|>',
    );
    const first = sequence!.learned.indexOf(1);
    assert.equal([...sequence!.ids.slice(0, first)], smol.encodeChat(messages.slice(0, 1)));
    const [pair] = await encoded(smol, [{ prompt: 'Hi', answer: 'Hello!' }], {}, { chat: true });
    assert.equal([...pair!.ids], [...sequence!.ids.slice(0, pair!.ids.length)]);
    const [all] = await encoded(smol, [{ messages }], { loss: 'all' });
    assert.is(learned(all!).length, whole.length - 1);
  });
}

test('the models are closed', () => {
  nano.close();
  smol?.close();
});

test.run();
