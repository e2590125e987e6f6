/** Every public function of espalier/show checks what it is given before it works: names, types, ranges, and what options mean together. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { EspalierError } from '../../src/errors.ts';
import { checkStorage } from '../../src/show/pool/stored.ts';
import * as show from '../../src/show.ts';
import { tinyModel } from './models.ts';

const device = await WasmDevice.create();
const model = await tinyModel('llama-gqa', device);
const shots = ['ab: one;', 'cd: two;', 'ef: one;'].map((text, i) => ({
  id: `${i}`,
  text,
  label: i === 1 ? 'two' : 'one',
}));
const label = { preset: 'label', labels: ['one', 'two'], rank: 'bm25' } as const;
const pool = await show.ShotPool.build(model, shots);
const chain = await show.Chain.create(model, shots);
const answering = await show.Show.create(pool, { ...label, grid: [1, 2] });
const task = { kind: 'labels', labels: ['one', 'two'], train: [] } as const;
const evaluation = { arms: show.parseArms('vote:2'), template: show.TEMPLATES.plain, pool: 2, test: 1 };

/** By what is wrong: the call, and what its message must hold. */
const WRONG: Readonly<
  Record<string, readonly (readonly [call: (wrong: never) => unknown, wrong: unknown, says: RegExp])[]>
> = {
  'Show.create': [
    ...[null, [], {}, 'pool', shots].map((source) => create(source, label, /The examples are .*ShotPool/)),
    create(pool, undefined, /preset/),
    create(pool, 5, /options of Show\.create\(\) are 5/),
    create(pool, { ...label, label: ['one'] }, /no option label; did you mean labels/),
    create(pool, { ...label, threshhold: 1 }, /did you mean threshold/),
    create(pool, { ...label, max_tokens: 1 }, /did you mean maxTokens/),
    create(pool, { ...label, preset: 'labels' }, /preset is "labels"/),
    create(pool, { labels: ['one', 'two'] }, /There is no preset/),
    ...[[1, 2], ['one'], ['one', null], ['one', ''], ['one', 'one'], 'one', {}, [], new Array(3), new Set(['a'])].map(
      (labels) => create(pool, { ...label, labels }, /label/i),
    ),
    ...['tf-idf', 5, null, [], { random: 'x' }, { random: -1 }, { seed: 1 }, {}].map((rank) =>
      create(pool, { ...label, rank }, /rank/),
    ),
    ...[[], [-1], [1.5], [Number.NaN], ['4'], 'geometric', 4, { kind: 'cubic' }, { kind: 'geometric', step: 2 }].map(
      (grid) => create(pool, { ...label, grid }, /grid|step/),
    ),
    create(pool, { ...label, grid: { kind: 'geometric', first: 8, most: 4 } }, /grid begins beyond/),
    ...[Number.NaN, -1, '0.3', null, Number.POSITIVE_INFINITY].map((threshold) =>
      create(pool, { ...label, threshold }, /threshold/),
    ),
    ...[0, -1, 1000, Number.NaN, '1'].map((temperature) => create(pool, { ...label, temperature }, /temperature/)),
    ...[0, 'one', {}, { neighbours: 4 }, { neighbours: 0, weight: 1 }, { neighbours: 4, weight: -1 }].map((vote) =>
      create(pool, { ...label, vote }, /vote/),
    ),
    ...['least', { shots: -1 }, {}, 4].map((fallback) => create(pool, { ...label, fallback }, /fallback/)),
    create(pool, { ...label, leastMass: 2 }, /leastMass/),
    create(pool, { ...label, onlyYes: 'no' }, /onlyYes/),
    create(pool, { ...label, room: 1e9 }, /room/),
    create(pool, { ...label, entropy: 'bits' }, /entropy/),
    create(pool, { ...label, ensemble: 'all', scoring: 'greedy' }, /averaged/),
    create(pool, { ...label, calibration: { labels: ['one', 'two'] } }, /calibration/),
    create(pool, { ...label, stop: [1] }, /stop/),
    create(pool, { ...label, sampling: { temprature: 1 } }, /did you mean temperature/),
    create(pool, { ...label, order: 'nearest' }, /order/),
  ],
  'ShotPool.build': [
    ...[null, {}, 'model'].map(
      (wrong) => [(m: never) => show.ShotPool.build(m, shots), wrong, /The model is/] as const,
    ),
    ...[
      null,
      'ab',
      {},
      [1],
      [null],
      [{ id: 1, text: 'ab' }],
      [{ id: 'a' }],
      [{ id: '', text: 'ab' }],
      [{ id: 'a', text: '' }],
    ].map((wrong) => [(s: never) => show.ShotPool.build(model, s), wrong, /shot/i] as const),
    [(s: never) => show.ShotPool.build(model, s), [{ ...shots[0], label: 3 }], /label is 3/],
    [(s: never) => show.ShotPool.build(model, s), [shots[0], shots[0]], /two shots with the id/],
    ...Object.entries({
      storage: 'f64',
      prefix: 'none',
      grow: { first: 3 },
      byteLimit: 0,
      store: {},
      onProgress: 5,
      instruction: 5,
      signal: {},
    }).map(([name, value]) => build({ [name]: value }, new RegExp(`${name}|first`))),
    ...[{ blocks: 0 }, { repair: -1 }, {}, { blocks: 2, repair: 1 }, { block: 2 }, null].map((prefix) =>
      build({ prefix }, /prefix/),
    ),
    ...[{ most: 0 }, { initial: -1 }, { step: Number.NaN }, 3].map((grow) => build({ grow }, /grow/)),
    build({ storge: 'f16' }, /did you mean storage/),
  ],
  'pool.add, rank, encodeQuery': [
    [(s: never) => pool.add(s), 'ab', /shots/],
    [(s: never) => pool.add(s), [shots[0]], /two shots/],
    [
      (r: never) => pool.rank({ text: 'ab', ids: [1], vector: null, centre: null, features: null }, r),
      'cosine',
      /ranking/,
    ],
    [(q: never) => pool.rank(q, 'bm25'), { text: 'ab' }, /query/],
    [(q: never) => pool.rank(q, 'bm25'), null, /query/],
    [(q: never) => pool.encodeQuery(q), 5, /query/],
    [(o: never) => pool.encodeQuery('ab', o), { withvector: false }, /did you mean withVector/],
  ],
  ask: [
    ...[5, null, undefined, ['ab'], { query: 'ab' }].map(
      (q) => [(query: never) => answering.ask(query), q, /query/] as const,
    ),
    ...Object.entries({ shots: -1, exclude: 'a', ranking: [1], compare: 'yes', input: 5, signal: 'x' }).map(
      ([name, value]) => [(o: never) => answering.ask('ab', o), { [name]: value }, new RegExp(name)] as const,
    ),
    [(o: never) => answering.ask('ab', o), { shot: 2 }, /did you mean shots/],
    [(o: never) => answering.ask('ab', o), { shots: 99 }, /99 shots/],
    [(o: never) => answering.ask('ab', o), { ranking: ['nobody'] }, /nobody/],
    [(o: never) => answering.ask(o), '', /no tokens/],
  ],
  calibrate: [
    ...[null, 'ab', [], [1], [{ query: 'ab' }], [{ query: 5, label: 'one' }], [{ query: 'ab', label: 'three' }]].map(
      (dev) => [(list: never) => answering.calibrate(list), dev, /dev|development|label/] as const,
    ),
    [(o: never) => answering.calibrate([{ query: 'ab', label: 'one' }], o), { fit: 'bias' }, /fit is "bias"/],
    [(o: never) => answering.calibrate([{ query: 'ab', label: 'one' }], o), { fitt: 'all' }, /did you mean fit/],
  ],
  'Chain and Chains': [
    [(s: never) => show.Chain.create(model, s), 'ab', /shots/],
    [(s: never) => show.Chain.create(model, s), [shots[0], shots[0]], /two shots/],
    [(o: never) => show.Chain.create(model, shots, o), { clusters: 2 }, /no option clusters/],
    [(m: never) => show.Chain.create(m, shots), null, /model/],
    ...[0, 257, 1.5, '4'].map((clusters) => chains({ clusters }, /clusters/)),
    chains({ most: 0 }, /most/),
    [(s: never) => show.Chains.create(model, s), [], /no shots/],
  ],
  encodeShots: [
    [(s: never) => show.encodeShots('nowhere', s), [{ id: 1 }], /shots\[0\]\.id/],
    ...[0, -1, 'many', Number.NaN].map((workers) => encode({ workers }, /workers/)),
    encode({ store: {} }, /store/),
    encode({ worker: 2 }, /did you mean workers/),
  ],
  data: [
    [(f: never) => show.readTask(f, { path: 'x' }), 'trek', /format is "trek"/i],
    [(o: never) => show.readTask('trec', o), {}, /path/],
    [(o: never) => show.readTask('trec', o), { path: 5 }, /path is 5/],
    [(o: never) => show.readTask('trec', o), { path: 'x', train: 'y' }, /no option train/],
    [(f: never) => show.parseData(f, new Uint8Array()), 'csv', /format/i],
    [(b: never) => show.parseData('trec', b), 'text', /data are/],
    ...[-1, 1.5, '4', Number.NaN].map(
      (n) => [(p: never) => show.splitExamples({ train: [] }, p), { pool: n, test: 0 }, /pool/] as const,
    ),
    [(p: never) => show.splitExamples({ train: [] }, p), { pool: 0 }, /test/],
    [(s: never) => show.splitExamples(s, { pool: 0, test: 0 }), {}, /train/],
    [(s: never) => show.splitExamples(s, { pool: 0, test: 0 }), { train: [{ input: 'a' }] }, /output/],
    [(e: never) => show.shotsOf(show.TEMPLATES.plain, e), [{}], /input/],
    [(t: never) => show.shotsOf(t, []), 'plain', /template/],
    [(t: never) => show.namedTemplate(t), 5, /template/],
    [(q: never) => show.renderQuery(show.TEMPLATES.plain, q), 5, /query/],
    [(f: never) => show.openShotStore(f), 5, /folder/],
    [(o: never) => new show.Bm25(o), { k1: -1 }, /k1/],
    [(o: never) => new show.Bm25(o), { k: 1 }, /no option k/],
  ],
  evaluate: [
    [(m: never) => show.evaluate(m, task, evaluation), {}, /model/],
    ...[{}, null, { kind: 'text' }].map(
      (t) => [(wrong: never) => show.evaluate(model, wrong, evaluation), t, /labels/] as const,
    ),
    ...Object.entries({
      arms: 'label',
      pool: 0,
      test: Number.NaN,
      seeds: 0,
      scoring: 'mean',
      shard: { part: 3, of: 2 },
      template: 'plain',
      rank: 'cosine',
      fidelity: -1,
      items: 5,
    }).map(([name, value]) => {
      return [(o: never) => show.evaluate(model, task, o), { ...evaluation, [name]: value }, new RegExp(name)] as const;
    }),
    [(a: never) => show.parseArms(a), 5, /arms/],
    [(a: never) => show.parseArms(a), 'labell', /labell/],
    [(c: never) => show.parseArms('full', c), [0], /counts/],
    [(a: never) => show.reportArms(a, []), [], /arms/],
    [(o: never) => show.reportArms(evaluation.arms, [], o), { level: 2 }, /level/],
  ],
};

type Wrong = readonly [call: (wrong: never) => unknown, wrong: unknown, says: RegExp];

function create(source: unknown, options: unknown, says: RegExp): Wrong {
  return [(given: never) => show.Show.create(source as never, given), options, says];
}
function build(options: unknown, says: RegExp): Wrong {
  return [(given: never) => show.ShotPool.build(model, shots, given), options, says];
}
function chains(options: unknown, says: RegExp): Wrong {
  return [(given: never) => show.Chains.create(model, shots, given), options, says];
}
function encode(options: unknown, says: RegExp): Wrong {
  return [(given: never) => show.encodeShots('nowhere', shots, given), options, says];
}

for (const [name, list] of Object.entries(WRONG)) {
  test(`${name}: what is wrong is E_ARGUMENT and is named`, async () => {
    const { tensors } = device.stats();
    for (const [call, wrong, says] of list) {
      let got: unknown = null;
      try {
        await call(wrong as never);
      } catch (error) {
        got = error;
      }
      const text = `${JSON.stringify(wrong)}: ${String(got)}`;
      assert.ok(got instanceof EspalierError && got.code === 'E_ARGUMENT', text);
      assert.match(`${got}`, says, text);
    }
    assert.is(device.stats().tensors, tensors, 'tensors left');
  });
}

test('what is right is taken, and what is undefined is not given', async () => {
  const options = { ...label, threshold: undefined, grid: { kind: 'geometric', first: 1, most: 2 } } as never;
  const other = await show.Show.create(pool, options);
  assert.is(other.threshold, 0.6);
  assert.is((await other.ask('ab:', { input: undefined, shots: 1 } as never)).receipt.chosen, 1);
  const { labels, threshold, fallback, vote, ridge, bias } = await other.calibrate([{ query: 'ab:', label: 'one' }]);
  other.close();
  const again = await show.Show.create(pool, {
    ...label,
    calibration: { labels, threshold, fallback, vote, ridge, bias },
    stop: ';',
  });
  assert.is(again.threshold, threshold);
  again.close();
  // a mean caller's list
  const list = ['one', 'two'];
  const own = await show.Show.create(pool, { ...label, labels: list });
  list.push('three');
  assert.equal(own.settings.labels, ['one', 'two']);
  own.close();
});

test.after(() => {
  answering.close();
  chain.close();
  pool.close();
  model.close();
});
test('four bits hold pairs', () => {
  const config = { ...model.config, headDim: 7 };
  assert.throws(
    () => checkStorage('int4', config),
    (error: EspalierError) => error.code === 'E_ARGUMENT',
  );
  for (const storage of ['int8', 'f16', 'f32'] as const) checkStorage(storage, config);
  checkStorage('int4', model.config);
});

test.run();
