// hosts: node, deno — reads files
/** `espalier eval`: what it prints is what the library says. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openTrainingData } from '../../src/datasets/training/data.ts';
import { bleu, bleuMetric, sentenceBleu } from '../../src/evaluate/scores/bleu.ts';
import { chrf } from '../../src/evaluate/scores/chrf.ts';
import { compareScores } from '../../src/evaluate/scores/compare.ts';
import { rouge } from '../../src/evaluate/scores/rouge.ts';
import { openLocal } from '../../src/open-local.ts';
import { inProcess, project } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'espalier-eval-'));
test.after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const HYPOTHESES = ['The cat sat on a mat.', 'Es kostet 1.000,50 €.', ''];
const OTHERS = ['The cat sat on the mat', 'Das kostet 1.000 €!', 'x'];
const REFERENCES = [
  ['The cat sat on the mat.', 'Das kostet 1.000,50 €.', 'x y z'],
  ['A cat sat on a mat.', 'Es kostet 1000,50 €.', 'y'],
];
const hypotheses = file('hyp.txt', `${HYPOTHESES.join('\r\n')}\n`);
const others = file('hyp2.txt', OTHERS.join('\n'));
const references = REFERENCES.map((list, i) => file(`ref${i}.txt`, `${list.join('\n')}\n`));
const refs = references.flatMap((path) => ['--ref', path]);

async function json(...args: string[]) {
  const { code, out, err } = await inProcess([...args, '--json']);
  assert.is(code, 0, out + err);
  assert.is(err, '');
  return JSON.parse(out);
}

test('bleu, chrf and rouge print the figures of the library', async () => {
  assert.equal(await json('eval', 'bleu', hypotheses, ...refs), bleu(HYPOTHESES, REFERENCES));
  const options = { tokenize: 'intl', lowercase: true, smoothing: 'floor', smoothingValue: 0.2, maxOrder: 3 } as const;
  const flags = '--tokenize intl --lowercase --smoothing floor --smoothing-value 0.2 --max-order 3'.split(' ');
  assert.equal(await json('eval', 'bleu', hypotheses, ...refs, ...flags), bleu(HYPOTHESES, REFERENCES, options));
  assert.equal(await json('eval', 'chrf', hypotheses, ...refs), chrf(HYPOTHESES, REFERENCES));
  const more = '--word-order 2 --beta 3 --whitespace --eps-smoothing'.split(' ');
  const plus = chrf(HYPOTHESES, REFERENCES, { wordOrder: 2, beta: 3, whitespace: true, epsSmoothing: true });
  assert.equal(await json('eval', 'chrf', hypotheses, ...refs, ...more), plus);
  const stems = await json('eval', 'rouge', hypotheses, ...refs, '--stemmer', '--share', 'recall');
  const { recall } = rouge(HYPOTHESES, REFERENCES, { stemmer: true }).rougeL;
  assert.ok(Math.abs(stems.score - 100 * recall) < 1e-12);
  const { code, out } = await inProcess(['eval', 'bleu', '-', ...refs], { input: `${HYPOTHESES.join('\n')}\n` });
  assert.is(code, 0);
  assert.match(out, `BLEU = ${bleu(HYPOTHESES, REFERENCES).score.toFixed(2)} `);
  assert.match(out, 'nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|');
});

test('sentences, intervals and another system', async () => {
  const found = await json('eval', 'bleu', hypotheses, ...refs, '--sentences', '--paired', others, '--samples', '50');
  const sentences = HYPOTHESES.map(
    (text, i) =>
      sentenceBleu(
        text,
        REFERENCES.map((list) => list[i]!),
      ).score,
  );
  assert.equal(found.sentences, sentences);
  assert.equal(found.paired, await compareScores(bleuMetric(), HYPOTHESES, OTHERS, REFERENCES, { samples: 50 }));
  const given = ['--confidence', '--seed', '4', '--paired', others, '--test', 'randomisation', '--samples', '64'];
  const { code, out } = await inProcess(['eval', 'chrf', hypotheses, ...refs, ...given]);
  assert.is(code, 0);
  assert.match(out, /\nmean [\d.]+ ± [\d.]+ \(95 %\)\nnrefs:2\|bs:64\|seed:4\|/);
  assert.match(out, /difference +p\n/);
  assert.match(out, '|ar:64|seed:4|');
});

test('what cannot be scored is refused', async () => {
  const code = async (...args: string[]) => JSON.parse((await inProcess([...args, '--json'])).out).error.code;
  assert.is(await code('eval', 'bleu', hypotheses), 'E_ARGUMENT');
  assert.is(await code('eval', 'bleu', hypotheses, '--ref', file('short.txt', 'a\n')), 'E_ARGUMENT');
  assert.is(await code('eval', 'bleu', hypotheses, '--ref', join(folder, 'none')), 'E_FILE_NOT_FOUND');
  assert.is(await code('eval', 'bleu', hypotheses, '--ref', file('empty.txt', '')), 'E_DATA_INVALID');
  assert.is(await code('eval', 'bleu', hypotheses, ...refs, '--tokenize', 'x'), 'E_ARGUMENT');
  const latin = join(folder, 'latin.txt');
  writeFileSync(latin, Buffer.from('é\n', 'latin1'));
  assert.is(await code('eval', 'chrf', latin, '--ref', latin), 'E_DATA_INVALID');
  assert.is(await code('eval', 'ppl', 'espalier:tiny', '--data', file('a.jsonl', '{')), 'E_DATA_INVALID');
  assert.is(await code('eval', 'ppl', 'espalier:tiny', '--data', references[0]!, '--column', 'x'), 'E_ARGUMENT');
  const long = file('long.jsonl', JSON.stringify({ prompt: 'a '.repeat(50), answer: ' b' }));
  for (const what of ['refuse', 'skip']) {
    const options = ['--max-tokens', '16', '--long', what];
    assert.is(await code('eval', 'ppl', 'espalier:tiny', '--data', long, ...options), 'E_DATA_INVALID');
  }
});

test('ppl: answers behind their prompts, or all tokens', async () => {
  const model = await openLocal(join(project, 'models/nano-base'), { precision: 'exact' });
  try {
    const rows = [
      ['English: The dog.\nGerman:', ' Der Hund.'],
      ['Question: What is 2+2?\nAnswer:', ' It is 4.'],
    ] as const;
    const data = file('a.tsv', 'q\ta\nThe dog.\tDer Hund.\n');
    const jsonl = file('b.jsonl', rows.map(([prompt, answer]) => JSON.stringify({ prompt, answer })).join('\n'));
    let [sum, tokens, all, count] = [0, 0, 0, 0];
    for (const [prompt, answer] of rows) {
      const before = model.encode(prompt).length;
      const scored = await model.score([...model.encode(prompt + answer), 0]);
      for (const [t, { logprob }] of scored.entries()) {
        if (t > 0) {
          all += logprob!;
          count++;
        }
        if (t < before) continue;
        sum += logprob!;
        tokens++;
      }
    }
    const args = ['eval', 'ppl', 'espalier:tiny', '--exact', '--lanes', '1', '--data'];
    const found = await json(...args, jsonl);
    assert.equal([found.tokens, found.sequences], [tokens, 2]);
    assert.equal([found.words, found.bytes], [5, ' Der Hund. It is 4.'.length]);
    const errors = [found.crossEntropy + sum / tokens];
    const whole = await json(...args, jsonl, '--loss', 'all');
    assert.is(whole.tokens, count);
    errors.push(whole.crossEntropy + all / count);
    const worst = Math.max(...errors.map(Math.abs));
    console.log(`  worst cross-entropy: ${worst.toExponential(1)} nats`);
    assert.ok(worst < 1e-4, `${worst}`);
    // blocks of three tokens cut words and characters, which count once
    const long = 'Jñaneshwar went to Zürich – 日本語. '.repeat(3);
    const figures = await json(...args, file('d.txt', long));
    const blocks = await json(...args, file('d.txt', long), '--max-tokens', '3');
    assert.ok(blocks.sequences > 20);
    assert.equal([blocks.tokens, blocks.words, blocks.bytes], [figures.tokens, figures.words, figures.bytes]);
    // so does one that is longer than the model's context
    const longer = await json(...args, file('e.txt', 'The cat sat. '.repeat(560)), '--piece-length', '10000');
    assert.equal([longer.sequences, longer.words], [2, 3 * 560]);
    const templates = ['--prompt', 'English: {q}\\nGerman:', '--answer', ' {a}'];
    const one = await json(...args, data, ...templates);
    const same = await json(...args, file('c.jsonl', JSON.stringify({ prompt: rows[0][0], answer: rows[0][1] })));
    assert.equal(one, same);
    const { out } = await inProcess([...args, data, ...templates]);
    assert.match(out, one.perToken.toFixed(4));
  } finally {
    model.close();
  }
});

test('ppl: what a training holds out by its seed, with its end and special tokens', async () => {
  const words = ['cat', 'dog', 'sun', 'sea', 'owl', 'bee', 'hat', 'ice', 'oak', 'pen'];
  const pairs = words.map((word) => ({ prompt: `The ${word}`, answer: ` is <|endoftext|> a ${word}.` }));
  const lines = (of: readonly object[]) => of.map((one) => JSON.stringify(one)).join('\n');
  const all = file('seeds.jsonl', lines(pairs));
  const ppl = (path: string, ...args: string[]) =>
    json('eval', 'ppl', 'espalier:tiny', '--lanes', '1', '--data', path, ...args);
  const choices = new Set<string>();
  for (const seed of [0, 1]) {
    const data = await openTrainingData(all, { heldOut: 0.3, seed });
    const held = [...data.heldOut].map((index) => pairs[index]!);
    await data.close();
    choices.add(lines(held));
    const found = await ppl(all, '--held-out', '0.3', '--seed', `${seed}`);
    assert.equal(found, await ppl(file(`held-${seed}.jsonl`, lines(held))), `seed ${seed}`);
  }
  assert.ok(choices.size > 1, 'seeds choose');
  const { tokens } = await ppl(all);
  assert.is((await ppl(all, '--no-end')).tokens, tokens - pairs.length);
  assert.ok((await ppl(all, '--no-special-tokens')).tokens > tokens);
});

test.run();
