/** Pruning in a worker: what it gives is what one thread gives, and what crosses: data, models, progress, aborts and errors. Nothing outlives a call. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { open, type PruneOptions, type PruneProgress, planPrune, prune } from '../../src/index.ts';
import { PRUNE_FILE, planPrune as planHere } from '../../src/prune.ts';
import { host, setHost } from '../../src/runtime/host/host.ts';
import type { Host } from '../../src/runtime/host/types.ts';
import { rejects } from '../errors.ts';
import { FORGET, knowingFiles, RETAIN, run, SETTINGS, strangerFiles } from '../prune/jobs.ts';

const real = await host();
let living = 0;
const kinds: string[] = [];
const watched: Host = {
  ...real,
  spawn: (kind, location) => {
    const handle = real.spawn(kind, location);
    kinds.push(kind);
    living++;
    handle.onLost(() => living--);
    return handle;
  },
};
test.before.each(() => {
  setHost(watched);
  kinds.length = 0;
});

const model = await knowingFiles();
const OPTIONS: PruneOptions = { ...SETTINGS, reference: await strangerFiles() };

test('a plan is that of one thread', async () => {
  const plan = await planPrune(model, OPTIONS);
  assert.equal(kinds, ['prune']);
  assert.is(living, 0);
  const options = { ...SETTINGS, reference: await strangerFiles() };
  assert.equal(plan, JSON.parse(JSON.stringify(await planHere(model, options))));
});

test('it gives what one thread gives, and the adapter is opened as it comes', async () => {
  const seen: PruneProgress[] = [];
  const got = await prune(model, { ...OPTIONS, onProgress: (told) => seen.push(told) });
  assert.equal(kinds, ['prune']);
  assert.is(living, 0);
  assert.equal(JSON.parse(await got.files[PRUNE_FILE]!.text()), JSON.parse(JSON.stringify(got.receipt)));
  const want = await run({ ...OPTIONS, reference: await strangerFiles() } as Parameters<typeof run>[0]);
  // two threads may have timed other kernels as the fastest, which round otherwise
  for (const side of ['forget', 'retain'] as const) {
    assert.ok(Math.abs(got.receipt.after[side] - want.receipt.after[side]) < 0.02, side);
  }
  assert.equal(got.receipt.options, want.receipt.options);
  const stages = new Set(seen.map(({ stage }) => stage));
  for (const stage of ['reading', 'measuring', 'training', 'looking', 'gating', 'checking'] as const) {
    assert.ok(stages.has(stage), stage);
  }
  const opened = await open(model, { adapters: [{ from: got.files }], lanes: 1 });
  const says = async (prompt: string) => (await opened.generate(prompt, { maxTokens: 5 }).result()).text;
  const known = async (list: typeof FORGET) => {
    let count = 0;
    for (const { prompt, answer } of list) if (answer.startsWith(await says(prompt))) count++;
    return count;
  };
  const [kept, left] = [await known(RETAIN), await known(FORGET)];
  await opened.close();
  assert.is(kept, RETAIN.length);
  assert.ok(left <= 2, `${left} of ${FORGET.length} are still said`);
});

test('an abort is heard within a second, in any stage', async () => {
  for (const stage of ['measuring', 'training', 'gating'] as const) {
    const abort = new AbortController();
    let at = 0;
    const onProgress = (told: PruneProgress) => {
      if (told.stage !== stage || at !== 0) return;
      at = performance.now();
      abort.abort();
    };
    const short = stage === 'gating' ? { epochs: 1, gateSteps: 20_000 } : {};
    await rejects('E_ABORTED', () => prune(model, { ...OPTIONS, ...short, onProgress, signal: abort.signal }));
    const late = performance.now() - at;
    console.log(`  worst milliseconds from an abort to its answer: ${late.toExponential(1)} (bound 1.0e+3)`);
    assert.ok(late < 1000, `${stage}: ${late} ms`);
    assert.is(living, 0);
  }
});

test('errors cross as they are', async () => {
  const { forget: _, ...none } = OPTIONS;
  await rejects('E_ARGUMENT', () => prune(model, none));
  await rejects('E_ARGUMENT', () => prune(model, { ...OPTIONS, gate: 'local' as never }));
  await rejects('E_DATA_INVALID', () => prune(model, { ...OPTIONS, retain: OPTIONS.forget! }));
  assert.is(living, 0);
});

test.run();
