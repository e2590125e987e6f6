// hosts: node, deno — reads files
/** `espalier eval relearn` and `quantisation`: what they print is what the library says, of files. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { routedFiles } from '../../src/checkpoint/adapter/routed-write.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { openLocal } from '../../src/open-local.ts';
import { relearn } from '../../src/prune.ts';
import { measureAnswers, openTrainingData } from '../../src/scores.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { routedAdapter } from '../model/routed-fixture.ts';
import { inProcess } from './run.ts';

const root = mkdtempSync(join(tmpdir(), 'espalier-robust-'));
test.after(() => rmSync(root, { recursive: true }));
const folder = (name: string, files: Iterable<readonly [string, Uint8Array]>): string => {
  const path = join(root, name);
  mkdirSync(path);
  for (const [file, bytes] of files) writeFileSync(join(path, file), bytes);
  return path;
};
const model = folder('model', Object.entries(await tinyFiles('llama-gqa')));
const { config, close } = await openCheckpoint(model);
await close();
const adapter = folder('adapter', routedFiles(routedAdapter(config, { size: 0.5 })));
const data = join(root, 'forget.jsonl');
const rows = ['ball', 'dog', 'tree', 'boat'].map((thing) => ({ question: `A ${thing}`, answer: 'is good.' }));
writeFileSync(data, rows.map((row) => JSON.stringify(row)).join('\n'));
const FORM = ['--prompt', 'Question: {question}\\nAnswer:', '--answer', ' {answer}', '--lanes', '1'];

test('relearn: as JSON, and in tables', async () => {
  const flags = ['--share', '0.5', '--fraction', '1', '--steps', '3', '--every', '2', '--learning-rate', '1e-4'];
  const line = ['eval', 'relearn', model, '--data', data, '--adapter', `${adapter}:0.3`, ...FORM, ...flags];
  const { code, out, err } = await inProcess([...line, '--json']);
  assert.equal([code, err], [0, '']);
  const want = await relearn(model, {
    ...{
      data,
      prompt: 'Question: {question}\nAnswer:',
      answer: ' {answer}',
      lanes: 1,
      adapters: [{ from: adapter, weight: 0.3 }],
    },
    ...{ share: 0.5, fraction: 1, steps: 3, every: 2, learningRate: 1e-4 },
  });
  const found = JSON.parse(out);
  assert.equal(Object.keys(found), Object.keys(want));
  assert.ok(Math.abs(found.held.before / want.held!.before - 1) < 1e-4);
  assert.ok(Math.abs(found.trained.after / want.trained.after - 1) < 1e-3);
  const said = await inProcess(line);
  assert.is(said.code, 0);
  assert.match(said.out, /trained on +2 .*\n.*held out +2 /);
  assert.match(said.out, /3 steps of at most 3; [\d.,k ]+parameters trained/);
});

test('relearn: what cannot be is said in flags', async () => {
  const none = await inProcess(['eval', 'relearn', model, '--data', data, ...FORM, '--json']);
  assert.is(JSON.parse(none.out).error.code, 'E_ARGUMENT');
  assert.match(JSON.parse(none.out).error.hint, /--original/);
  const share = await inProcess(['eval', 'relearn', model, '--data', data, ...FORM, '--share', '2', '--json']);
  assert.match(JSON.parse(share.out).error.message, /--share/);
});

test('quantisation: as JSON, and in a table', async () => {
  // of this one rows are whole blocks
  const model = folder('gemma', Object.entries(await tinyFiles('gemma3')));
  const { config, close } = await openCheckpoint(model);
  await close();
  const adapter = folder('forgets', routedFiles(routedAdapter(config, { size: 0.5 })));
  const line = [
    'eval',
    'quantisation',
    model,
    '--data',
    data,
    '--retain',
    data,
    '--adapter',
    `${adapter}:0.3`,
    ...FORM,
  ];
  const { code, out, err } = await inProcess([...line, '--exact', '--json']);
  assert.equal([code, err], [0, '']);
  const found = JSON.parse(out);
  assert.equal(Object.keys(found), [
    ...['forget', 'retain', 'rounded', 'recovered', 'model', 'adapters', 'original', 'precision'],
  ]);
  assert.equal(found.forget, found.retain);
  assert.equal([found.forget.n, found.original, found.precision], [4, model, 'exact']);
  const own = await openLocal(model, { precision: 'exact', adapters: [{ from: adapter, weight: 0.3 }] });
  const answers = { prompt: 'Question: {question}\nAnswer:', answer: ' {answer}' };
  const { probability } = await measureAnswers(own, await openTrainingData(data, answers));
  own.close();
  assert.ok(Math.abs(found.forget.stored / probability - 1) < 1e-4);
  assert.not.equal(found.forget.q4_0, found.forget.stored);
  const said = await inProcess(line);
  assert.is(said.code, 0);
  assert.match(said.out, /forget +4 .*\n.*retain +4 /);
  const none = await inProcess(['eval', 'quantisation', model, '--data', data, ...FORM, '--original', model, '--json']);
  assert.is(JSON.parse(none.out).error.code, 'E_ARGUMENT');
});

test.run();
