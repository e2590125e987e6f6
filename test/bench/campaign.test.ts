// hosts: node — starts processes
/** The campaign's list of runs: what waits for what, that it goes on however it was stopped, which rate is chosen, and its tables. */
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bestLook } from '../../bench/campaign/choice.ts';
import { plot } from '../../bench/campaign/plot.ts';
import { obstacleOf, runAll } from '../../bench/campaign/pool.ts';
import { addResult, chosenRate, type Figures, foundOf, readResults } from '../../bench/campaign/results.ts';
import { idOf, type Run, runsOf } from '../../bench/campaign/runs.ts';
import type { Setting } from '../../bench/campaign/setting.ts';
import { tables } from '../../bench/campaign/tables.ts';

const CHOICE = {
  kinds: ['reference', 'before', 'sweep', 'unlearn'],
  splits: ['forget10', 'forget01'],
  methods: ['alter', 'npo'],
  seeds: [0, 1],
} as const;
const FIGURES: Figures = {
  ...{ p: 0.3, log10: -0.5, D: 0.1, forget: 0.01, truthRatio: 0.6, retain: 0.98, utility: 0.02, plainUtility: 0.36 },
  ...{ rouge: { forget: 0.2, retain: 0.9 }, perplexity: 12, repetition: 0.1, distinct2: 0.5 },
};

/** In place of a run: says what was asked for, fails for one rate, and takes as long as the file beside it says. */
const CHILD = `
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
const { run, before: { ratios }, rate } = JSON.parse(process.argv[2]);
const wait = Number(readFileSync(dirname(process.argv[1]) + '/wait', 'utf8'));
const figures = ${JSON.stringify(FIGURES)};
const relearning = { trained: 10, held: null, most: 100 };
const found = {
  reference: { rounds: 1, steps: 2, probability: 0.98 },
  before: { model: { ...figures, log10: -20, forget: 0.98 }, reference: figures, control: relearning, ratios: [1, run.split?.length] },
  sweep: { before: 1, seconds: 1, looks: [{ epoch: 1, log10: run.rate === 1e-4 ? -3 : -9, forget: 0.1, retain: 0.99 }] },
  unlearn: { rate, looks: [], left: { epoch: ratios.length, strength: 1 }, figures, relearning, trained: 5, seconds: 1 },
}[run.kind];
process.on('disconnect', () => process.exit());
setTimeout(() => process.send(run.rate === 3e-4 ? { error: 'it diverged' } : { found }), wait);
`;

interface Files {
  readonly folder: string;
  readonly child: URL;
  readonly results: string;
  readonly setting: Setting;
}

async function folderOf(wait: number): Promise<Files> {
  const folder = await mkdtemp(join(tmpdir(), 'campaign-'));
  await writeFile(join(folder, 'child.mjs'), CHILD);
  await writeFile(join(folder, 'wait'), String(wait));
  const work = join(folder, 'work');
  await mkdir(join(work, 'nano-tofu-retain99'), { recursive: true });
  await writeFile(join(work, 'nano-tofu-retain99/model.safetensors'), '');
  const common = { data: 'data', models: 'models', device: 'wasm', lanes: 1, written: 1, quick: true } as const;
  const child = pathToFileURL(join(folder, 'child.mjs'));
  return { folder, child, results: join(folder, 'results.jsonl'), setting: { ...common, work } };
}

const POOL = { jobs: 3, startFor: 60_000, endAfter: 60_000, again: false } as const;
const runs = runsOf(CHOICE);

test('each begins when what it needs is there, by the rate that its sweep chose, and none twice', async () => {
  const { folder, setting, ...files } = await folderOf(1);
  try {
    const lines: string[] = [];
    const options = { ...POOL, ...files, say: (line: string) => void lines.push(line) };
    const first = await runAll(runs, setting, options);
    assert.equal(first, { done: runs.length - 1, failed: 1, left: 0 });
    const results = await readResults(files.results);
    assert.equal(new Set(results.keys()), new Set(runs.map(idOf)));
    assert.is(results.get('sweep npo 0.0003')!.error, 'it diverged');
    assert.is(chosenRate(results, 'npo'), 1e-4);
    const npo = foundOf<'unlearn'>(results, { kind: 'unlearn', method: 'npo', split: 'forget01', seed: 1 })!;
    assert.equal([npo.rate, npo.left.epoch], [1e-4, 2]);
    const order = lines.flatMap((line) => / min {2}(begins|done {2}|failed) {2}([^,]+)/.exec(line)?.slice(1) ?? []);
    const at = (what: string, id: string) =>
      order.findIndex((word, i) => i % 2 === 0 && word.startsWith(what) && order[i + 1] === id);
    assert.ok(at('done', 'reference forget01') < at('begins', 'before forget01'));
    assert.ok(at('done', 'before forget01') < at('begins', 'unlearn alter forget01 0'));
    assert.ok(at('failed', 'sweep npo 0.0003') < at('begins', 'unlearn npo forget10 0'));
    const before = await readFile(files.results, 'utf8');
    assert.equal(await runAll(runs, setting, options), { done: 0, failed: 0, left: 0 });
    assert.is(await readFile(files.results, 'utf8'), before);
    assert.equal(await runAll(runs, setting, { ...options, again: true }), { done: 0, failed: 1, left: 0 });
    // a reference that is not here any more is trained again
    await rm(setting.work, { recursive: true });
    assert.equal(await runAll(runs, setting, options), { done: 1, failed: 0, left: 0 });

    const text = tables(results);
    assert.match(text, /^\| NPO +\| 0\.0001 \| 2 +\| \.316 \/ \.316 \/ \.316 \| 99\.0 % /m);
    assert.match(text, /^\| NPO .*\| 10 \/ 10 \/ 10; over 100 \/ over 100 \/ over 100 \| 5 +\|/m);
    assert.match(text, /^\| NPO +\| 0\.0003 +\| failed /m);
    assert.match(text, /^- sweep npo 0\.0003: it diverged$/m);
    const drawn = plot(results, 'forget10')!;
    assert.is(drawn.match(/<title>/g)!.length, 1 + 2 * (2 + 4));
    assert.is(plot(results, 'forget05'), null);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('stopped in the middle, with a line that was cut off, it goes on where it was', async () => {
  const { folder, setting, ...files } = await folderOf(0);
  try {
    const options = { ...POOL, ...files, say: () => {} };
    await writeFile(join(folder, 'wait'), '60000');
    const began = performance.now();
    const cut = await runAll(runs, setting, { ...options, endAfter: 500 });
    assert.ok(performance.now() - began < 30_000);
    assert.equal(cut, { done: 0, failed: 0, left: runs.length });
    await writeFile(join(folder, 'wait'), '0');
    // none is started
    assert.is((await runAll(runs, setting, { ...options, startFor: 0 })).left, runs.length);
    await appendFile(files.results, '{"id":"before forget10","run":{"kind":"bef');
    assert.is((await readResults(files.results)).size, 0);
    assert.equal(await runAll(runs, setting, options), { done: runs.length - 1, failed: 1, left: 0 });
    assert.is((await readFile(files.results, 'utf8')).trimEnd().split('\n').length, runs.length + 1);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('what was measured by another rate than more of them have come to is measured again', async () => {
  const { folder, setting, ...files } = await folderOf(0);
  try {
    const options = { ...POOL, ...files, say: () => {} };
    const few = runsOf({ ...CHOICE, splits: ['forget10'], seeds: [0] });
    await runAll(few, setting, options);
    const sweep = { kind: 'sweep', method: 'npo', rate: 1e-5 } as const;
    const looks = [{ epoch: 1, log10: -1, forget: 0.1, retain: 0.99 }];
    await addResult(files.results, { id: idOf(sweep), run: sweep, wall: 1, found: { looks, before: 1, seconds: 1 } });
    const known = await readResults(files.results);
    const again = few.filter((run) => obstacleOf(run, known, false) === null);
    assert.equal(again.map(idOf), ['unlearn npo forget10 0']);
    assert.equal(await runAll(few, setting, options), { done: 1, failed: 0, left: 0 });
    const npo = { kind: 'unlearn', method: 'npo', split: 'forget10', seed: 0 } as const;
    assert.is(foundOf<'unlearn'>(await readResults(files.results), npo)!.rate, 1e-5);
    // a rate that was not tried yet decides nothing
    const fewer = new Map([...known].filter(([id]) => id !== idOf({ ...sweep, rate: 3e-5 })));
    assert.is(obstacleOf(npo, fewer, false), 'done');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('ours waits for a reference that was made elsewhere, a rival does not', async () => {
  const rivals = runsOf({ ...CHOICE, kinds: ['sweep'] });
  const before = { kind: 'before', split: 'forget01' } as const;
  const looks = [{ epoch: 1, log10: -1, forget: 0, retain: 1 }];
  const known = new Map(
    [...rivals, before].map((run) => [
      idOf(run),
      { id: idOf(run), run, wall: 0, found: { looks, before: 1 } as never },
    ]),
  );
  const about = { kind: 'unlearn', split: 'forget01', seed: 0 } as const;
  assert.is(obstacleOf({ ...about, method: 'alter' }, known, false), 'waits');
  assert.is(obstacleOf({ ...about, method: 'npo' }, known, false), null);
  const made = { kind: 'reference', split: 'forget01' } as const;
  known.set(idOf(made), { id: idOf(made), run: made, wall: 0, found: {} as never });
  assert.is(obstacleOf({ ...about, method: 'alter' }, known, false), null);
});

test('a child that ends without a word has failed, and who needs it waits in vain', async () => {
  const { folder, child, results, setting } = await folderOf(0);
  try {
    await writeFile(join(folder, 'child.mjs'), 'process.exit(3)');
    const of = runsOf({ ...CHOICE, kinds: ['before', 'unlearn'], splits: ['forget10'], methods: ['alter'] });
    const found = await runAll(of, setting, { ...POOL, child, results, say: () => {} });
    assert.equal(found, { done: 0, failed: 1, left: 2 });
    const known = await readResults(results);
    assert.is(known.get('before forget10')!.error, 'It ended with code 3.');
    assert.equal(
      of.map((run) => obstacleOf(run, known, false)),
      ['failed', 'in vain', 'in vain'],
    );
    assert.equal(
      of.map((run) => obstacleOf(run, known, true)),
      [null, 'in vain', 'in vain'],
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the best look is that of the highest quality among those that keep enough', () => {
  const looks = [
    { log10: -9, retain: 0.99 },
    { log10: -1, retain: 0.9 },
    { log10: -4, retain: 0.981 },
  ];
  assert.is(bestLook(looks, 1), looks[2]);
  assert.is(bestLook(looks, 0.9), looks[1]);
  // where none keeps enough, that which keeps most
  assert.is(bestLook(looks, 1.1), looks[0]);
  assert.is(bestLook([{ log10: -4, retain: 0.985 }, ...looks].slice().reverse(), 1)!.retain, 0.985);
  assert.is(bestLook([], 1), null);
});

test('runs have names of their own, and those that they need are among them', async () => {
  const all = runsOf({
    kinds: ['reference', 'before', 'sweep', 'unlearn', 'looks', 'sequence', 'smollm2'],
    splits: ['forget10', 'forget05', 'forget01'],
    methods: ['alter', 'alter-hinge', 'asymmetric', 'npo', 'rmu'],
    seeds: [0, 1, 2, 3, 4],
  });
  assert.is(new Set(all.map(idOf)).size, all.length);
  const done = new Set<string>();
  const results = new Map();
  for (;;) {
    const next = all.find((run: Run) => !done.has(idOf(run)) && obstacleOf(run, results, false) === null);
    if (next === undefined) break;
    const looks = [{ epoch: 1, log10: -1, forget: 0, retain: 1 }];
    results.set(idOf(next), { id: idOf(next), run: next, wall: 0, found: { looks, before: 1 } });
    done.add(idOf(next));
  }
  assert.is(done.size, all.length);
});

test('a line that is added behind one that was cut off is read', async () => {
  const { folder, results } = await folderOf(0);
  try {
    const run = { kind: 'before', split: 'forget10' } as const;
    const result = { id: idOf(run), run, wall: 1, error: 'x' };
    await addResult(results, result);
    await appendFile(results, '{"id"');
    await addResult(results, { ...result, error: 'y' });
    assert.equal([...(await readResults(results)).values()], [{ ...result, error: 'y' }]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.run();
