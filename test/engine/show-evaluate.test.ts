// long — evaluates twice on a whole model
/** Evaluations in a worker: the records that they have in the calling thread. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseData } from '../../src/datasets/data.ts';
import { TEMPLATES } from '../../src/datasets/templates.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { parseArms } from '../../src/evaluate/arms.ts';
import { evaluate as evaluateHere } from '../../src/evaluate/run.ts';
import { EspalierError, evaluate, open } from '../../src/index.ts';
import { openLocal } from '../../src/open-local.ts';
import { rejects } from '../errors.ts';
import { animalsAndNumbers } from '../evaluate/examples.ts';
import { modelTarget } from '../files.ts';
import { timeless } from './timeless.ts';

const nano = await modelTarget('models/nano-base');

test('an evaluation has the records that it has here; onRecord is waited for', async () => {
  const { list } = parseData('jsonl', new TextEncoder().encode(animalsAndNumbers()));
  const task = { kind: 'labels', labels: ['animal', 'colour', 'number'], train: list } as const;
  const arms = parseArms('vote:2,full:bm25,bare:bm25,label,chain:label', [2, 4]);
  const options = { arms, template: TEMPLATES.trec, pool: 12, test: 3, fidelity: 1, dev: 3, seed: 5 };
  const device = await WasmDevice.create({ relaxed: false });
  const local = await openLocal(nano, { device });
  const wanted = await evaluateHere(local, task, options);
  local.close();
  device.close();
  const model = await open(nano, { relaxed: false, lanes: 1, show: true });
  let writing = 0;
  let most = 0;
  const written: unknown[] = [];
  const heard: string[] = [];
  const got = await evaluate(model, task, {
    ...options,
    onRecord: async (record) => {
      most = Math.max(most, ++writing);
      await new Promise((resolve) => setTimeout(resolve, 1));
      writing--;
      written.push(record);
    },
    onProgress: ({ arm, preparing }) => void heard.push(preparing ? `${arm} ${preparing.what}` : arm),
  });
  assert.equal(timeless(got), timeless(wanted));
  assert.equal(written, got);
  assert.is(most, 1, 'one record at a time');
  for (const told of ['vote:2', 'label encoding', 'label calibrating', 'chain:label reading']) {
    assert.ok(heard.includes(told), `${told} of ${[...new Set(heard)]}`);
  }
  // what is done is not done again; what onRecord throws ends it
  const again = await evaluate(model, task, { ...options, done: new Set(got), onRecord: () => assert.unreachable() });
  assert.equal(again, got);
  let records = 0;
  const full = new EspalierError('E_STORAGE_FULL', 'It is full.', 'Make room.');
  const failed = evaluate(model, task, {
    ...options,
    onRecord: async () => {
      if (++records === 2) throw full;
    },
  });
  assert.is(await rejects('E_STORAGE_FULL', () => failed), full);
  assert.is(records, 2);
  await model.close();
});

test.run();
