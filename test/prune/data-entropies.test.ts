/** Entropies of data: the same as of an audit, kept between runs, and computed again where they are damaged. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openTrainingData } from '../../src/datasets/training/data.ts';
import type { EspalierError } from '../../src/errors.ts';
import { openLocal } from '../../src/open-local.ts';
import { auditEntropy } from '../../src/prune/entropy/audit.ts';
import { type DataEntropies, type DataEntropyOptions, dataEntropies } from '../../src/prune/entropy/data-entropies.ts';
import { type EntryStore, entryStore } from '../../src/runtime/cache/entries.ts';
import { memoryHost } from '../../src/runtime/cache/memory.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

const model = await openLocal(await modelTarget('models/nano-base'));
test.after(() => model.close());
const things = ['dog', 'cat', 'ball', 'tree', 'cake'];
const rows = Array.from({ length: 130 }, (_, i) => ({
  prompt: `What is number ${i}?`,
  answer: ` It is a ${things[i % 5]}${i === 7 ? ', or so they said at the time' : ''}.`,
}));
const data = await openTrainingData(new TextEncoder().encode(rows.map((row) => JSON.stringify(row)).join('\n')), {
  format: 'jsonl',
});

function same(a: DataEntropies, b: DataEntropies): void {
  assert.equal([a.split, a.distribution], [b.split, b.distribution]);
  const all = (from: DataEntropies, i: number) =>
    from.of(i).map(({ entropies, high, learned }) => [[...entropies], [...high], [...learned]]);
  for (const i of data.train) assert.equal(all(a, i), all(b, i));
}

function memory(): { host: ReturnType<typeof memoryHost>; store: EntryStore; names: () => Promise<string[]> } {
  const host = memoryHost();
  const names = async () => (await host.files('blobs')).map(({ name }) => name);
  return { host, store: entryStore(host, 'entropies'), names };
}

const plain = await dataEntropies(model, data, {});

test('of answers, as an audit has them, with the cut of all of them', async () => {
  assert.equal(plain.examples, { computed: 130, found: 0, damaged: 0 });
  const [own] = plain.of(7);
  const ids = [...model.encode(rows[7]!.prompt + rows[7]!.answer), model.tokenizer.eosId!];
  const { texts } = await auditEntropy(model, ids, { cut: plain.split.cut, fallback: false });
  const audited = texts[0]!.tokens;
  assert.equal(
    [...own!.entropies].slice(1),
    audited.slice(1).map(({ entropy }) => entropy),
  );
  assert.equal(
    [...own!.high],
    audited.map(({ high }) => Number(high === true)),
  );
  assert.ok(Number.isNaN(own!.entropies[0]));
  const before = model.encode(rows[7]!.prompt).length;
  assert.equal(
    [...own!.learned],
    ids.map((_, t) => Number(t >= before)),
  );
  assert.is(
    plain.split.tokens,
    data.train.reduce((sum, i) => sum + plain.of(i)[0]!.learned.reduce((a, b) => a + b, 0), 0),
  );
  assert.throws(() => plain.of(130));
});

test('of a text that is longer than the context, as training cuts it', async () => {
  const text = 'The cat sat. '.repeat(560);
  const long = await openTrainingData(new TextEncoder().encode(text), { format: 'text', pieceLength: 10_000 });
  const blocks = (await dataEntropies(model, long, { q: 0.5 })).of(0);
  const { maxPositions } = model.config;
  const tokens = model.encode(text).length + 1;
  assert.equal(
    blocks.map(({ entropies }) => entropies.length),
    [maxPositions + 1, tokens - maxPositions],
  );
  const scored = await model.score(model.encode(text).slice(0, maxPositions), { tsallisOrder: 0.5 });
  assert.ok(Math.abs(blocks[0]!.entropies[maxPositions]! - scored.at(-1)!.tsallis!) < 1e-4);
  await long.close();
});

test('a second run finds them; another order, another cut and other tokens', async () => {
  const { store, names } = memory();
  same(await dataEntropies(model, data, { store }), plain);
  assert.is((await names()).length, 3);
  const again = await dataEntropies(model, data, { store });
  assert.equal(again.examples, { computed: 0, found: 130, damaged: 0 });
  same(again, plain);
  // a cut needs nothing computed
  const cut = await dataEntropies(model, data, { store, percentile: 30 });
  assert.is(cut.examples.found, 130);
  assert.is(cut.split.rule, 'percentile');
  for (const options of [{ q: 1.4 }, { end: false }] satisfies DataEntropyOptions[]) {
    assert.is((await dataEntropies(model, data, { store, ...options })).examples.computed, 130);
  }
  const some = await dataEntropies(model, data, { store }, data.train.slice(0, 64));
  assert.equal(some.examples, { computed: 0, found: 64, damaged: 0 });
});

test('what was interrupted goes on where it was', async () => {
  const { store, names } = memory();
  const stop = new AbortController();
  const onProgress = (done: number) => done >= 64 && stop.abort();
  await rejects('E_ABORTED', () => dataEntropies(model, data, { store, signal: stop.signal, onProgress }));
  assert.is((await names()).length, 1);
  const rest = await dataEntropies(model, data, { store });
  assert.equal(rest.examples, { computed: 66, found: 64, damaged: 0 });
  same(rest, plain);
});

test('what is damaged is said, and computed again', async () => {
  const { host, store, names } = memory();
  await dataEntropies(model, data, { store });
  const [first, second] = (await names()) as [string, string];
  const source = (await host.open('blobs', first))!;
  const bytes = new Uint8Array(source.size);
  await source.readInto(0, bytes);
  bytes[10]! ^= 1;
  await host.replace('blobs', first, bytes);
  await host.replace('blobs', second, bytes.slice(0, 20));
  const warnings: EspalierError[] = [];
  const mended = await dataEntropies(model, data, { store, onWarning: (warning) => warnings.push(warning) });
  assert.is(mended.examples.damaged, mended.examples.computed);
  assert.is(warnings.length, 2);
  for (const { code, message } of warnings) {
    assert.is(code, 'E_FILE_READ');
    assert.match(message, /examples \d+ to \d+ in .* are damaged/);
  }
  same(mended, plain);
  assert.is((await dataEntropies(model, data, { store })).examples.found, 130);
});

test('a store that fails is as good as none, and says so once', async () => {
  const { store } = memory();
  const write = () => Promise.reject(new Error('no'));
  const warnings: EspalierError[] = [];
  const found = await dataEntropies(model, data, {
    store: { ...store, write },
    onWarning: (warning) => warnings.push(warning),
  });
  same(found, plain);
  assert.equal(
    warnings.map(({ code }) => code),
    ['E_FILE_WRITE'],
  );
});

test('what is wrong is refused before anything is computed', async () => {
  await rejects('E_ARGUMENT', () => dataEntropies(model, data, { q: 2 }));
  await rejects('E_ARGUMENT', () => dataEntropies(model, data, { maxTokens: 1 << 20 }));
  await rejects('E_ARGUMENT', () => dataEntropies(model, data, { store: {} as never }));
  await rejects('E_DATA_INVALID', () => dataEntropies(model, data, { maxTokens: 2 }));
  await rejects('E_ARGUMENT', () => dataEntropies(model, data, {}, new Uint32Array(0)));
});

test.run();
