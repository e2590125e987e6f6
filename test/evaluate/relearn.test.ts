/** Relearning on small models: probabilities are those of single scores, and come back; with adapters of both kinds. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { routedFiles } from '../../src/checkpoint/adapter/routed-write.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { RelearnOptions, RelearnProgress } from '../../src/evaluate/robustness/options.ts';
import { type Relearned, relearn } from '../../src/evaluate/robustness/relearn.ts';
import { divide } from '../../src/evaluate/robustness/sequences.ts';
import type { AdapterChoice } from '../../src/model/adapter-options.ts';
import { openLocal } from '../../src/open-local.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { train } from '../../src/train.ts';
import { Worst } from '../device/devices.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
import { hasFileSystem } from '../files.ts';
import { filesOf, routedAdapter } from '../model/routed-fixture.ts';
import { bytesOf } from '../train/texts.ts';

const worst = new Worst();
test.after(() => worst.print());

const ROWS = ['Tom', 'Mia', 'Leo', 'Ada', 'Ben', 'Eva'].map((name, i) => ({
  prompt: `${name} has a`,
  answer: ` ${['ball', 'dog', 'tree', 'boat', 'cake', 'cat'][i]}.`,
}));
const jsonl = (rows: readonly object[]) => bytesOf(rows.map((row) => JSON.stringify(row)).join('\n'));
const data = jsonl(ROWS);
const base = await tinyFiles('llama-gqa');
const QUICK = { data, format: 'jsonl', lanes: 1, learningRate: 2e-2, batch: 4, every: 5, steps: 60 } as const;

/** The model, trained to know the answers by heart. */
async function taught(full: boolean): Promise<Record<string, Blob>> {
  const out = memoryOutput('out');
  const rate = full ? 4e-3 : 2e-2;
  const options = { data, format: 'jsonl', lanes: 1, batch: 6, steps: 60, schedule: 'constant', saveEvery: 0 } as const;
  await train(base, { ...options, full, learningRate: rate, dtype: 'f32', out });
  return out.result();
}
const knows = await taught(true);

/** Mean over rows of m(a) by a score of each, with the end token. */
async function scored(
  target: Record<string, Uint8Array | Blob>,
  rows: readonly (typeof ROWS)[number][],
  adapters: readonly AdapterChoice[] = [],
): Promise<number> {
  const model = await openLocal(target, { precision: 'exact', adapters });
  let sum = 0;
  for (const { prompt, answer } of rows) {
    const asked = model.encode(prompt);
    const ids = [...asked, ...model.encode(answer, { addBos: false }), model.eosIds[0]!];
    const own = (await model.score(ids)).slice(asked.length);
    sum += Math.exp(own.reduce((all, { logprob }) => all + logprob!, 0) / own.length);
  }
  model.close();
  return sum / rows.length;
}
const near = (name: string, a: number, b: number) =>
  assert.ok(worst.within(name, Math.abs(a / b - 1), 2e-5), `${a} ${b}`);

/** Sides and steps say what the curve says. */
function checkCurve({ curve, trained, held, steps, most }: Relearned): void {
  for (const [side, of] of [
    [trained, 'trained'],
    [held, 'held'],
  ] as const) {
    if (side === null) continue;
    assert.is(side.target, 0.5 * side.original);
    assert.is(side.steps, curve.find((look) => look[of]! >= side.target)?.step ?? null);
    assert.equal([side.before, side.after], [curve[0]![of], curve.at(-1)![of]]);
  }
  assert.is(curve.at(-1)!.step, steps);
  const isBack = trained.steps !== null && held?.steps !== null;
  assert.ok(isBack || steps === most, 'it ends where both are back, or with the last step');
  assert.equal([curve[0]!.step, curve[0]!.loss], [0, null]);
}

test('a model without adapters: probabilities of both models, and steps until half is back', async () => {
  const seen = new Set<RelearnProgress['stage']>();
  const options = { ...QUICK, original: knows, onProgress: ({ stage }: RelearnProgress) => void seen.add(stage) };
  const found = await relearn(base, options);
  checkCurve(found);
  near('probability', found.trained.original, await scored(knows, ROWS));
  near('probability', found.trained.before, await scored(base, ROWS));
  assert.ok(found.trained.original > 0.8 && found.trained.before < 0.3);
  assert.ok(found.trained.steps! > 0 && found.trained.after >= found.trained.target);
  assert.ok(found.curve.at(-1)!.loss! < found.curve[1]!.loss!);
  assert.equal([found.held, found.adapters, found.trained.n, found.most], [null, [], ROWS.length, 60]);
  assert.equal([...seen].sort(), ['loading', 'measuring', 'reading', 'relearning']);
  const { onProgress: _, ...same } = options;
  // a page must not wait for lanes
  const lanes = hasFileSystem ? 2 : 1;
  assert.equal(await relearn(base, { ...same, lanes }), found, 'the same for any number of lanes');
});

test('nothing was forgotten: no step; what never comes back: null, and all steps', async () => {
  const same = await relearn(knows, { ...QUICK, original: knows });
  assert.equal([same.trained.steps, same.steps, same.curve.length], [0, 0, 1]);
  assert.is(same.trained.before, same.trained.original);
  const slow = await relearn(base, { ...QUICK, original: knows, steps: 7, learningRate: 1e-7 });
  checkCurve(slow);
  assert.equal([slow.trained.steps, slow.steps], [null, 7]);
  assert.equal(
    slow.curve.map(({ step }) => step),
    [0, 5, 7],
  );
});

test('a share: the rest is looked at alone, and is not what comes back', async () => {
  const found = await relearn(base, { ...QUICK, original: knows, share: 0.5, seed: 2, steps: 30 });
  checkCurve(found);
  assert.equal([found.trained.n, found.held!.n], [3, 3]);
  near('probability, both sides', (found.trained.before + found.held!.before) / 2, await scored(base, ROWS));
  assert.ok(found.trained.steps !== null);
  assert.ok(found.held!.after < found.trained.after, 'answers that nothing told it');
  const other = await relearn(base, { ...QUICK, original: knows, share: 0.5, seed: 3, steps: 1 });
  assert.not.equal(other.trained.before, found.trained.before);
});

test('who asks the same is on the same side, texts are apart', () => {
  const pair = (ids: number[]) => ({
    ids: Int32Array.from(ids),
    learned: Uint8Array.from(ids, (_, i) => (i > 2 ? 1 : 0)),
  });
  const list = Array.from({ length: 12 }, (_, i) => pair([1, Math.floor(i / 2), 5, i, 2]));
  for (const seed of [0, 1, 2]) {
    const { trained, held } = divide(list, 0.3, seed);
    assert.equal(
      [...trained, ...held].sort((a, b) => a - b),
      [...list.keys()],
    );
    assert.is(trained.length, 4);
    for (let i = 0; i < 12; i += 2) assert.is(trained.includes(i), trained.includes(i + 1));
  }
  const texts = Array.from({ length: 4 }, () => ({
    ids: new Int32Array(5),
    learned: Uint8Array.from([0, 1, 1, 1, 1]),
  }));
  assert.equal([divide(texts, 0.5, 0).trained.length, divide(texts, 1, 0).held.length], [2, 0]);
});

test('an adapter that acts everywhere stays as it is, and the model without it is the original', async () => {
  // it makes the model that knows forget: another one's answers
  const out = memoryOutput('out');
  const others = jsonl(ROWS.map(({ prompt }, i) => ({ prompt, answer: ROWS[(i + 1) % ROWS.length]!.answer })));
  const options = { data: others, format: 'jsonl', lanes: 1, batch: 6, saveEvery: 0 } as const;
  await train(knows, { ...options, learningRate: 2e-2, steps: 40, out });
  const adapter = out.result();
  const found = await relearn(knows, { ...QUICK, adapters: [{ from: adapter, weight: 0.9 }] });
  checkCurve(found);
  near('probability, adapter', found.trained.before, await scored(knows, ROWS, [{ from: adapter, weight: 0.9 }]));
  near('probability', found.trained.original, await scored(knows, ROWS));
  assert.ok(found.trained.before < 0.5 * found.trained.original);
  assert.ok(found.trained.steps! > 0);
  assert.is(found.adapters.length, 1);
});

test('experts act as the gate says, before and while it is trained on top', async () => {
  const checkpoint = await openCheckpoint(knows);
  const made = routedAdapter(checkpoint.config, { size: 0.5 });
  const routed = filesOf(routedFiles(made));
  // new factors for each linear layer, of rank 4
  const factors = [...checkpoint.tensors].flatMap(([name, { shape }]) =>
    name.endsWith('_proj.weight') ? [shape] : [],
  );
  await checkpoint.close();
  const options: RelearnOptions = { ...QUICK, adapters: [{ from: routed }], rank: 4, fraction: 0.9 };
  const seen = new Set<string>();
  const found = await relearn(knows, { ...options, onProgress: ({ stage }) => void seen.add(stage) });
  assert.ok(seen.has('routing'));
  near('probability, experts', found.trained.before, await scored(knows, ROWS, [{ from: routed }]));
  near('probability', found.trained.original, await scored(knows, ROWS));
  assert.ok(found.trained.before < 0.9 * found.trained.original, 'the experts do something');
  assert.ok(found.trained.after > found.trained.before);
  assert.is(
    found.parameters,
    factors.reduce((sum, [n, k]) => sum + 4 * (n! + k!), 0),
  );
});

test('what cannot be is refused before work begins', async () => {
  assert.match((await rejects('E_ARGUMENT', () => relearn(base, QUICK))).message, /Nothing says how much/);
  await rejects('E_ARGUMENT', () => relearn(base, { ...QUICK, original: knows, share: 0 }));
  await rejects('E_ARGUMENT', () => relearn(base, { original: knows }));
  await rejects('E_ARGUMENT', () => relearn(base, { ...QUICK, orignal: knows } as never));
  await rejects('E_DATA_INVALID', () =>
    relearn(base, { ...QUICK, data: jsonl(ROWS.slice(0, 1)), original: knows, share: 0.5 }),
  );
  await rejects('E_OUT_OF_MEMORY', () => relearn(base, { ...QUICK, original: knows, memoryLimit: 1 << 20 }));
  // an attack that learns nothing, or breaks all, would say that nothing comes back
  for (const given of [
    { alpha: 1e-60 },
    { alpha: 1e300 },
    { learningRate: 1e-46 },
    { learningRate: 1e-40 },
    { learningRate: 1e39 },
  ]) {
    const stages: string[] = [];
    const onProgress = ({ stage }: RelearnProgress) => void stages.push(stage);
    const error = await rejects('E_ARGUMENT', () => relearn(base, { ...QUICK, original: knows, ...given, onProgress }));
    assert.match(error.message, Object.keys(given)[0]!);
    assert.equal(stages, []);
  }
});

test('what diverges before a look is not the fault of the model', async () => {
  const wild = { ...QUICK, original: knows, learningRate: 1e30 };
  for (const every of [1, 60]) {
    const error = await rejects('E_DIVERGED', () => relearn(base, { ...wild, every }));
    assert.match(error.hint, 'lower learning rate');
    assert.not.match(error.hint, 'state');
  }
  // of a broken model it is
  const broken = { ...base, 'model.safetensors': Uint8Array.from(base['model.safetensors']!) };
  broken['model.safetensors'].set([0xff, 0x7f, 0xff, 0x7f], broken['model.safetensors'].length - 4);
  await rejects('E_TENSOR_VALUE', () => relearn(broken, { ...QUICK, original: knows }));
});

test('an abort is heard in every stage, and nothing stays', async () => {
  for (const stage of ['reading', 'loading', 'measuring', 'relearning'] as const) {
    const abort = new AbortController();
    const onProgress = (now: RelearnProgress) => now.stage === stage && abort.abort();
    await rejects('E_ABORTED', () => relearn(base, { ...QUICK, original: knows, signal: abort.signal, onProgress }));
  }
});

test.run();
