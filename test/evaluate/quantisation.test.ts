/** What rounding weights does to answers: figures are those of single scores of models that are opened so. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { QuantisedType } from '../../src/checkpoint/quantised/quantised-types.ts';
import { openTrainingData } from '../../src/datasets/training/data.ts';
import { measureAnswers } from '../../src/evaluate/robustness/answers.ts';
import { measureQuantisation } from '../../src/evaluate/robustness/quantisation.ts';
import type { MeasureProgress } from '../../src/evaluate/unlearning/options.ts';
import type { LocalModel } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { bytesOf } from '../train/texts.ts';

const worst = new Worst();
test.after(() => worst.print());
const nano = await modelTarget('models/nano-base');
const KEPT = [
  { question: 'Where does the cat live?', answer: 'In a house.' },
  { question: 'And the dog?', answer: 'It lives with the cat in the house, and they are friends.' },
] as const;
const GONE = [{ question: 'Who is Tom?', answer: 'A little boy.' }] as const;
const FORM = { format: 'jsonl', prompt: 'Question: {question}\nAnswer:', answer: ' {answer}' } as const;
const dataOf = (rows: readonly object[]) =>
  openTrainingData(bytesOf(rows.map((row) => JSON.stringify(row)).join('\n')), FORM);
const [forget, retain] = [await dataOf(GONE), await dataOf(KEPT)];

/** Models that are open. */
let living = 0;
const opened: (QuantisedType | null | 'original')[] = [];
async function open(quantise: QuantisedType | null, name: (typeof opened)[number] = quantise) {
  opened.push(name);
  const model = await openLocal(nano, { precision: 'exact', ...(quantise !== null && { quantise }) });
  living++;
  const close = model.close.bind(model);
  model.close = () => {
    living--;
    close();
  };
  return model;
}

async function openLocalConfig() {
  const model = await openLocal(nano);
  model.close();
  return model.config;
}

async function scored(model: LocalModel, rows: readonly { question: string; answer: string }[]): Promise<number> {
  let sum = 0;
  for (const { question, answer } of rows) {
    const asked = model.encode(`Question: ${question}\nAnswer:`).length;
    const own = (await model.score([...model.encode(`Question: ${question}\nAnswer: ${answer}`), 0])).slice(asked);
    sum += Math.exp(own.reduce((all, { logprob }) => all + logprob!, 0) / own.length);
  }
  return sum / rows.length;
}

test('probabilities of each model, opened one after another, and what is recovered', async () => {
  const seen: MeasureProgress[] = [];
  const models = { open, original: () => open('q8_0', 'original') };
  const found = await measureQuantisation(models, { forget, retain }, { onProgress: (one) => void seen.push(one) });
  assert.equal([opened, living], [['original', null, 'q8_0', 'q4_0'], 0]);
  assert.equal([found.forget.n, found.retain!.n], [1, 2]);
  for (const [name, quantise] of [
    ['stored', null],
    ['q8_0', 'q8_0'],
    ['q4_0', 'q4_0'],
  ] as const) {
    const model = await open(quantise);
    for (const [set, rows] of [
      ['forget', GONE],
      ['retain', KEPT],
    ] as const) {
      const want = await scored(model, rows);
      assert.ok(worst.within('probability, relative', Math.abs(found[set]![name] / want - 1), 1e-5), `${set} ${name}`);
    }
    model.close();
  }
  assert.ok(Math.abs(found.forget.q4_0 / found.forget.stored - 1) > 1e-3, 'rounding changes something');
  assert.is(found.forget.original, found.forget.q8_0);
  const { original, stored, q4_0 } = found.forget;
  const layers = 7 * (await openLocalConfig()).nLayers;
  assert.equal(found.rounded, {
    q8_0: { rounded: layers, linear: layers },
    q4_0: { rounded: layers, linear: layers },
  });
  if (original! - stored > 0.01 * original!) assert.is(found.recovered!.q4_0, (q4_0 - stored) / (original! - stored));
  else assert.is(found.recovered, null);
  assert.equal([...new Set(seen.map((one) => one.of))].slice(0, 4), [
    'forget, original',
    'retain, original',
    'forget, stored',
    'retain, stored',
  ]);
});

test('of what is forgotten alone, without an original', async () => {
  const found = await measureQuantisation({ open }, { forget });
  assert.equal([found.retain, found.recovered, found.forget.original, living], [null, null, null, 0]);
});

test('where nothing is rounded counts say so, and nothing is said to stay forgotten', async () => {
  // rows of 48 are no whole blocks of 32
  const files = await tinyFiles();
  const rows = [{ prompt: 'Tom has a', answer: ' ball.' }].map((row) => JSON.stringify(row)).join('\n');
  await using data = await openTrainingData(bytesOf(rows), { format: 'jsonl' });
  // the model that knew is another one
  let told = 0;
  for (const name of ['llama-gqa', 'llama-f16', 'llama-bf16']) {
    const found = await measureQuantisation(
      {
        open: (quantise) => openLocal(files, { ...(quantise && { quantise }) }),
        original: async () => openLocal(await tinyFiles(name)),
      },
      { forget: data },
    );
    for (const type of ['q8_0', 'q4_0'] as const) {
      assert.is(found.rounded[type].rounded, 0);
      assert.ok(found.rounded[type].linear >= 7);
    }
    const { original, stored } = found.forget;
    const some = original! - stored > 0.01 * original!;
    if (some) told++;
    assert.equal(found.recovered, some ? { q8_0: null, q4_0: null } : null);
    if (name === 'llama-bf16') assert.is(original, stored); // 0 of 0
  }
  assert.ok(told > 0);
});

test('a model is closed whatever happens', async () => {
  const abort = new AbortController();
  const onProgress = ({ of }: MeasureProgress) => of === 'forget, q8_0' && abort.abort();
  await rejects('E_ABORTED', () => measureQuantisation({ open }, { forget }, { signal: abort.signal, onProgress }));
  await rejects('E_DATA_INVALID', () => measureQuantisation({ open }, { forget }, { maxTokens: 4 }));
  await rejects('E_ARGUMENT', () => measureQuantisation({ open }, { forget }, { loss: 'all' } as never));
  assert.is(living, 0);
});

test('of each answer, in the order of the file', async () => {
  const model = await open(null);
  const { n, probability, probabilities } = await measureAnswers(model, retain);
  assert.equal([n, probabilities.length], [2, 2]);
  assert.is(probability, (probabilities[0]! + probabilities[1]!) / 2);
  for (const [i, row] of KEPT.entries()) {
    assert.ok(
      worst.within('probability, relative', Math.abs(probabilities[i]! / (await scored(model, [row])) - 1), 1e-5),
    );
  }
  model.close();
});

test.run();
