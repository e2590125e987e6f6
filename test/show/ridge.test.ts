/** What is answered with ridge regression of a pool's labels. On nano-base. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { openLocal } from '../../src/open-local.ts';
import { featureLayers, KINDS } from '../../src/show/rank/ridge/features.ts';
import { Chain, ShotPool, Show, type ShowOptions } from '../../src/show.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';

const worst = new Worst();
const device = await WasmDevice.create();
const model = await openLocal(await modelTarget('models/nano-base'), { device, precision: 'exact' });
const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  return Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]!)));
};
const LABELS = ['play music', 'play', 'set an alarm', 'weather', 'call', 'news'];
const WORDS = ['songs', 'something', 'the morning', 'rain', 'my mother', 'the world'];
const shots = Array.from({ length: 48 }, (_, i) => ({
  id: String(i).padStart(2, '0'),
  input: `I want ${WORDS[i % 6]} number ${i}`,
  text: `utterance: I want ${WORDS[i % 6]} number ${i}\nintent: ${LABELS[i % 6]}\n==\n`,
  label: LABELS[i % 6]!,
}));
const query = (input: string) => `utterance: ${input}\nintent:`;
const ask = 'I want more rain now';
const base = { preset: 'label', labels: LABELS, prompt: 'intent:' } as const satisfies ShowOptions;
const own = { ...base, vote: null } as const;
const ridge = { weight: 1, modelWeight: 0.3, candidates: 3 };

test('features of a shot’s prompt are those of the query: means of keys, and the last one', async () => {
  const { config, decoder } = model;
  const { nLayers, nKvHeads, headDim } = config;
  const width = nKvHeads * headDim;
  for (const prefix of ['bare', 'prefixed', { repair: 2 }] as const) {
    const pool = await ShotPool.build(model, shots.slice(0, 3), { prefix, instruction: 'Name the intent.\n' });
    const text = shots[1]!.text.slice(0, shots[1]!.text.lastIndexOf(' play'));
    const { features, ids } = await pool.encodeQuery(text, { withVector: false, withFeatures: true });
    const stored = pool.features('01')!;
    const largest = Math.max(...stored.map(Math.abs));
    assert.ok(worst.within('query and shot', apart(features!, stored) / largest, 1e-5));
    if (prefix !== 'bare') continue;
    const want = new Float64Array(stored.length);
    const cache = decoder.cache();
    const keys: Promise<Float32Array>[] = [];
    await decoder.forward(ids, cache, {
      onKeys: (_, rows) => void keys.push(device.read(rows) as Promise<Float32Array>),
    });
    cache.dispose();
    for (const [at, layer] of featureLayers(nLayers).entries()) {
      const rows = await keys[layer]!;
      for (let i = 0; i < width; i++) {
        const place = at * KINDS * width + i;
        for (let t = 1; t < ids.length; t++) want[place]! += rows[t * width + i]! / (ids.length - 1);
        want[place + width] = rows[(ids.length - 1) * width + i]!;
      }
    }
    assert.ok(worst.within('means of keys', apart(want, stored) / largest, 1e-5));
    pool.close();
  }
});

test('what is sure is answered behind no example; else the likeliest labels alone are asked for', async () => {
  const pool = await ShotPool.build(model, shots);
  const sure = await Show.create(pool, { ...own, ridge, threshold: 5 });
  const tokens = model.encode(query(ask), { addBos: false }).length;
  const at = await sure.ask(query(ask), { input: ask, compare: true });
  assert.is(at.label, 'weather');
  assert.equal([at.receipt.shots, at.receipt.probes, at.receipt.averaged], [[], [], []]);
  assert.equal([at.receipt.chosen, at.receipt.fallback, at.receipt.comparison], [0, false, null]);
  assert.is(at.receipt.tokens.forwarded, tokens, 'one pass, for the features');
  const { entropy, ...told } = at.receipt.ridge!;
  assert.equal(told, { ...ridge, label: 'weather', sure: true, scored: 0 });
  const p = Object.values(at.probabilities!);
  assert.ok(worst.within('entropy', Math.abs(entropy + p.reduce((s, x) => s + x * Math.log(x), 0)), 1e-12));
  assert.ok(worst.within('sum', Math.abs(p.reduce((a, b) => a + b, 0) - 1), 1e-12));

  const never = await Show.create(pool, { ...own, ridge, threshold: 0, grid: [2, 4] });
  const shown = await never.ask(query(ask), { input: ask });
  assert.equal([shown.receipt.chosen, shown.receipt.ridge!.sure, shown.receipt.ridge!.scored], [4, false, 3]);
  const likely = LABELS.map((_, i) => i).sort((a, b) => p[b]! - p[a]!);
  const labels = shown.receipt.shots.map((id) => pool.shot(id).label!);
  const first = likely.slice(0, 3).map((i) => LABELS[i]!);
  assert.equal(labels.slice(0, 3), first, 'of each of the likeliest labels one, in turn');
  assert.is(new Set(labels).size, 4);
  const now = Object.values(shown.probabilities!);
  for (const i of likely.slice(3))
    assert.ok(worst.within('labels that nobody asked for', Math.abs(now[i]! - p[i]!), 1e-12));
  assert.ok(
    likely.slice(0, 3).some((i) => Math.abs(now[i]! - p[i]!) > 1e-6),
    'the model counts',
  );

  // with a weight of 0 the model says nothing, and all labels are what they were
  const mute = await Show.create(pool, { ...own, ridge: { ...ridge, modelWeight: 0 }, threshold: 0, grid: [2] });
  const same = Object.values((await mute.ask(query(ask), { input: ask })).probabilities!);
  assert.ok(worst.within('a mute model', apart(same, p), 1e-12));
  // all labels are candidates: none is left out
  const all = await Show.create(pool, { ...own, ridge: { ...ridge, candidates: 6 }, threshold: 0, grid: [2] });
  assert.is((await all.ask(query(ask), { input: ask })).receipt.ridge!.scored, 6);
  for (const show of [sure, never, mute, all]) show.close();
  pool.close();
});

test('what is excluded says nothing, in the regression either', async () => {
  const pool = await ShotPool.build(model, shots);
  const show = await Show.create(pool, { ...base, ridge, vote: null, threshold: 5 });
  const exclude = shots.filter(({ label }) => label === 'weather').map(({ id }) => id);
  const before = await show.ask(query(ask), { input: ask });
  const without = await show.ask(query(ask), { input: ask, exclude });
  assert.is(before.label, 'weather');
  assert.is.not(without.label, 'weather');
  assert.ok(without.probabilities!['weather']! < before.probabilities!['weather']! / 4);
  // other shots, another regression
  pool.remove(exclude);
  assert.is.not((await show.ask(query(ask), { input: ask })).label, 'weather');
  pool.add(shots.filter(({ id }) => exclude.includes(id)));
  assert.is((await show.ask(query(ask), { input: ask })).label, 'weather');
  // the same texts under other names
  const named = exclude.map((id) => ({ ...shots[Number(id)]!, id: `r${id}` }));
  pool.remove(exclude);
  pool.add(named);
  const renamed = await show.ask(query(ask), { input: ask, exclude: named.map(({ id }) => id) });
  const error = apart(Object.values(renamed.probabilities!), Object.values(without.probabilities!));
  assert.ok(worst.within('other names', error, 1e-4), `${error}`);
  show.close();
  pool.close();
});

test('many that are excluded are left out by another fit, which is kept', async () => {
  const many = Array.from({ length: 140 }, (_, i) => {
    const at = i % 6;
    return {
      id: `m${i}`,
      input: `I want ${WORDS[at]} number ${i}`,
      text: `utterance: I want ${WORDS[at]} number ${i}\nintent: ${LABELS[at]}\n==\n`,
      label: LABELS[at]!,
    };
  });
  const pool = await ShotPool.build(model, many, { grow: { initial: 0, most: 140 } });
  const show = await Show.create(pool, { ...own, ridge, threshold: 5 });
  const exclude = many.slice(60).map(({ id }) => id);
  const asked = await show.ask(query(ask), { input: ask, exclude });
  const again = await show.ask(query(ask), { input: ask, exclude });
  assert.equal(again.probabilities, asked.probabilities);
  assert.is(asked.label, 'weather');
  const whole = await show.ask(query(ask), { input: ask });
  assert.ok(Object.values(whole.probabilities!).some((p, i) => p !== Object.values(asked.probabilities!)[i]));
  show.close();
  pool.close();
});

test('shots that come and go while a query is answered count from the next one on', async () => {
  for (const turns of [0, 1, 2, 3, 5, 8, 13, 21, 40]) {
    const pool = await ShotPool.build(model, shots.slice(0, 30), { grow: { initial: 30 } });
    const show = await Show.create(pool, { ...base, ridge, threshold: turns % 2 === 0 ? 5 : 0 });
    const asked = show.ask(query(ask), { input: ask });
    for (let i = 0; i < turns; i++) await (i < 20 ? null : new Promise((resolve) => setTimeout(resolve, 1)));
    pool.add(shots.slice(30, 33));
    const answer = await asked;
    assert.ok(LABELS.includes(answer.label!));
    assert.ok(Object.values(answer.probabilities!).every((p) => Number.isFinite(p)));
    assert.ok(LABELS.includes((await show.ask(query(ask), { input: ask })).label!));
    show.close();
    pool.close();
  }
});

test('labels about which nothing is known are all asked for', async () => {
  const labels = Array.from({ length: 20 }, (_, i) => `kind ${String.fromCharCode(97 + i)}`);
  const some = shots.slice(0, 12).map((shot, i) => {
    const { id, text, input } = shot;
    return i % 2 === 0 ? { id, text, input } : { id, text, input, label: labels[19]! };
  });
  const pool = await ShotPool.build(model, some);
  const show = await Show.create(pool, { ...base, labels, threshold: 0, grid: [2] });
  const { receipt, probabilities } = await show.ask(query(ask), { input: ask });
  const shares = Object.values(probabilities!);
  if (receipt.ridge) assert.is(receipt.ridge.scored, 20);
  assert.is(new Set(shares.map((p) => p.toFixed(12))).size, 20, 'the model tells all of them apart');
  show.close();
  pool.close();
});

test('the prompt of a shot ends where its answer begins, wherever else its label stands', async () => {
  const prompt = 'Q: tell me of D-Day, human\nA:';
  const input = 'tell me of D-Day, human';
  const texts: [label: string, text: string, input: string | undefined][] = [
    ['human', `${prompt} human\n==\n`, input],
    ['human', `${prompt} human\n==\n`, undefined],
    ['human', `${prompt} HUMAN\n==\n`, input],
    ['D', `${prompt} D\nEND\n`, input],
  ];
  const list = texts.map(([label, text, own], i) => ({ id: `${i}`, label, text, ...(own && { input: own }) }));
  const pool = await ShotPool.build(model, list);
  const { features } = await pool.encodeQuery(prompt, { withVector: false, withFeatures: true });
  for (const { id } of list) assert.ok(apart(pool.features(id)!, features!) < 1e-4, id);
  // where the answer is not shown, all that stands before it is the input
  const hidden = { id: 'h', label: 'news', text: `${prompt} ?\n==\n`, input };
  pool.add([hidden]);
  await pool.prepare();
  const cut = await pool.encodeQuery(prompt.slice(0, -3), { withVector: false, withFeatures: true });
  assert.ok(apart(pool.features('h')!, cut.features!) < 1e-4);
  pool.close();
});

test('a pool without labels is answered by the model alone', async () => {
  const pool = await ShotPool.build(
    model,
    shots.map(({ id, text, input }) => ({ id, text, input })),
  );
  const show = await Show.create(pool, { ...base, threshold: 0, grid: [2] });
  const { receipt } = await show.ask(query(ask), { input: ask });
  assert.equal([receipt.ridge, receipt.chosen], [null, 2]);
  show.close();
  pool.close();
});

test('a label of which there is no example keeps an equal share', async () => {
  const some = shots.filter(({ label }) => label === 'weather' || label === 'news');
  const pool = await ShotPool.build(model, some);
  const show = await Show.create(pool, { ...own, ridge: { ...ridge, candidates: 6 }, threshold: 5 });
  const said = (await show.ask(query(ask), { input: ask })).probabilities!;
  for (const label of ['play music', 'play', 'set an alarm', 'call']) {
    assert.ok(worst.within('shares of labels without examples', Math.abs(said[label]! - 1 / 6), 1e-12));
  }
  const rest = said['weather']! + said['news']!;
  assert.ok(worst.within('shares of the others', Math.abs(rest - 2 / 6), 1e-12));
  show.close();
  pool.close();
});

test('a fit obeys a signal', async () => {
  const pool = await ShotPool.build(model, shots);
  await pool.prepare();
  const show = await Show.create(pool, { ...base, ridge, threshold: 5 });
  const abort = new AbortController();
  const asked = show.ask(query(ask), { input: ask, signal: abort.signal });
  abort.abort();
  await rejects('E_ABORTED', () => asked);
  assert.is((await show.ask(query(ask), { input: ask })).label, 'weather');
  show.close();
  pool.close();
});

test('calibration fits how much the model counts, and what it gave is used again', async () => {
  const pool = await ShotPool.build(model, shots);
  const dev = WORDS.map((word, i) => ({
    query: query(`${word}, I said`),
    input: `${word}, I said`,
    label: LABELS[i]!,
  }));
  const show = await Show.create(pool, base);
  const fitted = await show.calibrate(dev);
  assert.ok([0.15, 0.3, 0.6].includes(fitted.ridge!.modelWeight), `${fitted.ridge!.modelWeight}`);
  assert.is(fitted.bias === null || fitted.ridge!.candidates >= LABELS.length, true);
  let [right, used] = [0, 0];
  const again = await Show.create(pool, { ...base, calibration: fitted });
  for (const { query: text, input, label } of dev) {
    const answer = await again.ask(text, { input });
    if (answer.label === label) right++;
    used += answer.receipt.chosen;
    assert.equal((await show.ask(text, { input })).probabilities, answer.probabilities);
  }
  assert.ok(worst.within('accuracy as fitted', Math.abs(right / dev.length - fitted.accuracy), 1e-12));
  assert.ok(worst.within('shots as fitted', Math.abs(used / dev.length - fitted.meanShots), 1e-12));
  for (const one of [show, again]) one.close();
  pool.close();
});

test('what a calibration says of the regression goes before what is given', async () => {
  const pool = await ShotPool.build(model, shots);
  const fitted = { labels: LABELS, threshold: 5, fallback: 'most', vote: null, bias: null } as const;
  const told = { weight: 1, modelWeight: 0.6, candidates: 4 };
  const withIt = await Show.create(pool, { ...base, ridge: null, calibration: { ...fitted, ridge: told } });
  assert.equal((await withIt.ask(query(ask), { input: ask })).receipt.ridge?.modelWeight, 0.6);
  for (const calibration of [{ ...fitted, ridge: null }, fitted as never]) {
    const without = await Show.create(pool, { ...base, calibration });
    assert.equal([without.settings.ridge, without.settings.rank], [null, 'hybrid']);
    assert.is((await without.ask(query(ask), { input: ask })).receipt.ridge, null);
    without.close();
  }
  withIt.close();
  pool.close();
});

test('options that cannot be', async () => {
  const pool = await ShotPool.build(model, shots.slice(0, 4), { grow: { initial: 0 } });
  const blocks = await ShotPool.build(model, shots.slice(0, 4), { prefix: { blocks: 2 }, grow: { initial: 0 } });
  const chain = await Chain.create(model, shots.slice(0, 4));
  const refused: [ShotPool | Chain, Partial<ShowOptions>, RegExp][] = [
    [pool, { ridge: { ...ridge, candidates: 1 } }, /candidates/],
    [pool, { ridge: { ...ridge, weight: -1 } }, /weight/],
    [pool, { ridge: { weight: 1 } as never }, /modelWeight/],
    [pool, { ridge, scoring: 'greedy' }, /distributions/],
    [pool, { ridge, entropy: 'raw-nats', ensemble: 'one' }, /distributions/],
    [pool, { ridge: null, rank: 'contrast' }, /contrast/],
    [blocks, { ridge }, /blocks/],
    [chain, { ridge }, /chain/],
    [chain, { rank: 'contrast' }, /contrast/],
  ];
  for (const [source, options, message] of refused) {
    const error = await rejects('E_ARGUMENT', () => Show.create(source, { ...base, ...options }));
    assert.match(error.message, message);
  }
  for (const [source, options] of [
    [blocks, {}],
    [chain, {}],
    [pool, { scoring: 'greedy' }],
    [pool, { ridge: null }],
  ] as const) {
    const show = await Show.create(source, { ...base, ...options });
    assert.equal([show.settings.ridge, show.settings.rank], [null, 'hybrid']);
    show.close();
  }
  for (const one of [pool, blocks, chain]) one.close();
});

test.after(() => {
  model.close();
  device.close();
  worst.print();
});
test.run();
