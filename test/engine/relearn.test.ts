/** Relearning in a worker: what it gives is what one thread gives; data, models and adapters cross, and so do progress, aborts and errors. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { routedFiles } from '../../src/checkpoint/adapter/routed-write.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { type Relearned, type RelearnOptions, type RelearnProgress, relearn } from '../../src/index.ts';
import { relearn as relearnHere } from '../../src/prune.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { filesOf, routedAdapter } from '../model/routed-fixture.ts';
import { bytesOf } from '../train/texts.ts';
import { tinyFiles } from './tiny-model.ts';

const rows = ['ball', 'dog', 'tree', 'boat'].map((thing) => ({ prompt: `A ${thing}`, answer: ' is good.' }));
const data = bytesOf(rows.map((row) => JSON.stringify(row)).join('\n'));
const base = await tinyFiles('llama-gqa');
const { config, close } = await openCheckpoint(base);
await close();
const adapter = filesOf(routedFiles(routedAdapter(config, { size: 0.5 })));
const OPTIONS = {
  ...{
    data,
    format: 'jsonl' as const,
    lanes: 1,
    learningRate: 1e-4,
    batch: 2,
    every: 2,
    steps: 4,
    share: 0.5,
    fraction: 1,
  },
  adapters: [{ from: adapter, weight: 0.3 }],
} as const;
const worst = new Worst();

/**
 * The worst difference of numbers, relative; all else is the same. A second thread may have timed other kernels as the fastest,
 * which it tells and which round otherwise; cut to a few digits, two numbers that hardly differ may lie on two sides of a cut.
 */
function worstOf(found: Relearned, here: Relearned): number {
  const parts = ({ device: { gemm: _, dot: __, ...device }, ...of }: Relearned): { all: number[]; rest: unknown } => {
    const all: number[] = [];
    const number = (_: string, value: unknown) => (typeof value === 'number' ? `number ${all.push(value)}` : value);
    return { all, rest: JSON.parse(JSON.stringify({ ...of, device }, number)) };
  };
  const [there, mine] = [parts(found), parts(here)];
  assert.equal(there.rest, mine.rest);
  return Math.max(...mine.all.map((value, i) => Math.abs(there.all[i]! - value) / Math.max(Math.abs(value), 1e-30)));
}

test('the same as in one thread, with bytes for data, original and adapter, which stay the caller’s', async () => {
  const seen = new Set<RelearnProgress['stage']>();
  const options = { ...OPTIONS, original: base };
  const found = await relearn(base, { ...options, onProgress: ({ stage }) => void seen.add(stage) });
  const error = worstOf(found, await relearnHere(base, options));
  assert.ok(worst.within('number of a worker against one thread', error, 1e-3), `${error}`);
  worst.print();
  assert.equal([...seen].sort(), ['loading', 'measuring', 'reading', 'relearning', 'routing']);
  assert.ok(data.length > 0 && adapter['alter.json']!.length > 0);
  assert.equal([found.steps, found.trained.n, found.held!.n], [4, 2, 2]);
});

test('an abort is heard within a second, errors keep their code', async () => {
  const abort = new AbortController();
  const long: RelearnOptions = { ...OPTIONS, steps: 100_000, every: 100_000, learningRate: 1e-9 };
  let at = 0;
  const onProgress = ({ stage }: RelearnProgress) => {
    if (stage !== 'relearning' || at > 0) return;
    at = performance.now();
    abort.abort();
  };
  await rejects('E_ABORTED', () => relearn(base, { ...long, signal: abort.signal, onProgress }));
  assert.ok(performance.now() - at < 1000);
  await rejects('E_ARGUMENT', () => relearn(base, { data, format: 'jsonl' }));
  await rejects('E_DATA_INVALID', () => relearn(base, { ...OPTIONS, data: bytesOf('{"prompt": 1}') }));
  await rejects('E_ARGUMENT', () => relearn(base, { ...OPTIONS, out: 'x' } as never));
});

test.run();
