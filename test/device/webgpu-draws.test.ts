// device: webgpu — only there the device draws tokens
/** Tokens that the GPU draws, against `Sampler`, which draws them of the same logits in f64. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { STAT_NUMBERS, STAT_PLACES } from '../../src/device/device.ts';
import { WebGpuDevice } from '../../src/device/webgpu/webgpu-device.ts';
import type { Draw } from '../../src/model/generate/draw.ts';
import type { SamplingOptions } from '../../src/model/generate/options.ts';
import { Sampler } from '../../src/model/generate/sampler.ts';
import { drawAhead, drawsAhead } from '../../src/model/generate/webgpu/draw-ahead.ts';
import { uniform } from '../../src/random.ts';
import { rejects } from '../errors.ts';
import { put, testNothingLeft } from './devices.ts';
import { noise } from './reference.ts';

const device = await WebGpuDevice.create({ debug: true });
/** What sums of f32 may move a border by, of the whole mass. */
const BORDER = 3e-6;
const none = Number.NEGATIVE_INFINITY;
const WIDTHS = [1, 2, 5, 255, 1028, 8192, 49_152];
const OPTIONS: readonly SamplingOptions[] = [
  { temperature: 1 },
  { temperature: 0.3 },
  { temperature: 7 },
  { temperature: 1e-9 },
  { temperature: 0 },
  { temperature: 1, topK: 5 },
  { temperature: 0.8, topK: 40, topP: 0.9 },
  { temperature: 1, topK: 200, minP: 0.05 },
  { temperature: 1, topK: 256, topP: 0.5, minP: 0.01 },
  { temperature: 0.7, topP: 0.95 },
  { temperature: 1, topP: 0.2 },
  { temperature: 100, topP: 0.99 },
  { temperature: 1, minP: 0.02 },
  { temperature: 30, minP: 0.001 },
];

function logitsOf(width: number, kind: number): Float32Array {
  const next = noise(100 * width + kind);
  const x = Float32Array.from({ length: width }, () => 4 * next());
  if (kind === 1) for (let i = 0; i < width; i += 2) if (width > 1) x[i] = none;
  if (kind === 2) x.fill(-3);
  if (kind === 3) for (let i = 0; i < width; i++) x[i] = x[i]! * 30 - 400;
  return x;
}

/** Whether the Sampler draws this token with a number that close to that of the draw. */
function isNear(sampler: Sampler, logits: Float32Array, count: number, id: number): boolean {
  const { ids, probabilities } = sampler.distribution(logits);
  const at = ids.indexOf(id);
  if (at < 0) return false;
  const drawn = uniform(sampler.options.seed, count);
  let below = 0;
  for (let i = 0; i < at; i++) below += probabilities[i]!;
  return drawn > below - BORDER && drawn < below + probabilities[at]! + BORDER;
}

async function draw(rows: readonly Float32Array[], draws: readonly Draw[]) {
  const mark = device.mark();
  const width = rows[0]!.length;
  const logits = put(device, [rows.length, width], Float32Array.from(rows.flatMap((row) => [...row])));
  const ids = device.tensor('i32', [rows.length]);
  const outcomes = await drawAhead(device, logits, draws, ids);
  const onDevice = (await device.read(ids)) as Int32Array;
  logits.dispose();
  ids.dispose();
  device.reset(mark);
  return { outcomes, onDevice };
}

let [same, near, unproven] = [0, 0, 0];

for (const width of WIDTHS) {
  test(`${width} tokens, with every option, of rows together`, async () => {
    const seen: ReadonlySet<number> = new Set();
    for (const kind of [0, 1, 2, 3]) {
      const rows = OPTIONS.map(() => logitsOf(width, kind));
      const draws = OPTIONS.map((options, i) => ({
        sampler: new Sampler({ ...options, seed: 7 * kind + i }),
        count: i,
        seen,
      }));
      assert.ok(draws.every((one) => drawsAhead(device, one)));
      const { outcomes, onDevice } = await draw(rows, draws);
      for (const [row, { sampler, count }] of draws.entries()) {
        const outcome = outcomes[row]!;
        assert.ok('drawn' in outcome, 'error' in outcome ? String(outcome.error) : '');
        const { id, logprob } = outcome.drawn;
        const what = `${width} kind ${kind} ${JSON.stringify(OPTIONS[row])}`;
        if (onDevice[row] === -1) unproven++;
        else assert.is(onDevice[row], id, what);
        const x = rows[row]!;
        if (id === (sampler.greedy ? x.indexOf(x.reduce((a, b) => Math.max(a, b))) : sampler.sampleFull(x, count)))
          same++;
        else {
          near++;
          assert.ok(isNear(sampler, x, count, id), `${what}: ${id}`);
        }
        const top = x.reduce((a, b) => Math.max(a, b));
        let mass = 0;
        for (const v of x) mass += Math.exp(v - top);
        const want = x[id]! - top - Math.log(mass);
        assert.ok(
          Math.abs(logprob - want) <= 2e-6 * Math.max(1, Math.abs(want), Math.abs(top)),
          `${what}: ${logprob}, not ${want}`,
        );
      }
    }
  });
}

test('many draws of one row come as often as they should', async () => {
  const width = 40;
  const row = logitsOf(width, 0).map((v) => v / 4);
  const draws = 4000;
  for (const options of [
    { temperature: 1 },
    { temperature: 1.5, topK: 12 },
    { temperature: 1, topP: 0.7 },
  ] satisfies SamplingOptions[]) {
    const sampler = new Sampler({ ...options, seed: 3 });
    const counts = new Float64Array(width);
    for (let from = 0; from < draws; from += 500) {
      const list = Array.from({ length: 500 }, (_, i) => ({ sampler, count: from + i, seen: new Set<number>() }));
      for (const outcome of (
        await draw(
          list.map(() => row),
          list,
        )
      ).outcomes) {
        if ('drawn' in outcome) counts[outcome.drawn.id]!++;
      }
    }
    const { ids, probabilities } = sampler.distribution(row);
    const wanted = new Float64Array(width);
    for (const [i, id] of ids.entries()) wanted[id] = probabilities[i]!;
    let worst = 0;
    for (let i = 0; i < width; i++) {
      const deviation = Math.sqrt(draws * wanted[i]! * (1 - wanted[i]!)) || 1e-9;
      worst = Math.max(worst, Math.abs(counts[i]! - draws * wanted[i]!) / deviation);
    }
    assert.ok(worst < 4.5, `${JSON.stringify(options)}: ${worst} standard deviations`);
  }
});

test('rows that no binding holds together', async () => {
  const small = await WebGpuDevice.create({ debug: true, bindingLimit: 8192 });
  const rows = Array.from({ length: 37 }, (_, i) => logitsOf(515, i % 3));
  const draws = rows.map((_, i) => ({
    sampler: new Sampler({ temperature: 1, seed: i }),
    count: i,
    seen: new Set<number>(),
  }));
  const ids = small.tensor('i32', [rows.length]);
  const logits = put(small, [rows.length, 515], Float32Array.from(rows.flatMap((row) => [...row])));
  const got = await drawAhead(small, logits, draws, ids);
  const want = (await draw(rows, draws)).outcomes;
  assert.equal(got, want);
  logits.dispose();
  ids.dispose();
  small.close();
});

test('a row that holds NaN fails alone, and penalties are left to the program', async () => {
  const bad = logitsOf(300, 0);
  bad[17] = Number.NaN;
  const sampler = new Sampler({ temperature: 1, seed: 1 });
  const list = [0, 1].map((count) => ({ sampler, count, seen: new Set<number>() }));
  const { outcomes } = await draw([bad, logitsOf(300, 0)], list);
  assert.ok('error' in outcomes[0]! && 'drawn' in outcomes[1]!);
  const asks = (options: SamplingOptions) =>
    drawsAhead(device, { sampler: new Sampler(options), count: 0, seen: new Set() });
  assert.not(asks({ temperature: 1, repetitionPenalty: 1.2 }));
  assert.not(asks({ temperature: 1, topK: 257 }));
  assert.ok(asks({ temperature: 1, topK: 256 }));
});

test('shapes that do not fit are refused', async () => {
  const logits = put(device, [2, 8], new Float32Array(16));
  const of = (type: 'f32' | 'i32', ...shape: number[]) => device.tensor(type, shape);
  const [numbers, places] = [of('f32', 2, STAT_NUMBERS), of('i32', 2, STAT_PLACES)];
  const [rules, ids, drawn] = [of('f32', 2, 7), of('i32', 2), of('f32', 2)];
  const right = { logits, numbers, places, rules, listed: null, ids, drawn };
  const short = of('f32', 2, 6);
  const one = of('i32', 1);
  await rejects('E_SHAPE', async () => device.drawRows({ ...right, rules: short }));
  await rejects('E_SHAPE', async () => device.drawRows({ ...right, ids: one }));
  await rejects('E_SHAPE', async () => device.drawRows({ ...right, drawn: rules }));
  const [values, listed] = [of('f32', 2, 1), of('i32', 2, 1)];
  await rejects('E_SHAPE', async () => device.drawRows({ ...right, listed: { values, places: ids } }));
  await rejects('E_SHAPE', async () =>
    device.drawRows({ ...right, drawn: values, listed: { values, places: listed } }),
  );
  for (const t of [logits, numbers, places, rules, ids, drawn, short, one, values, listed]) t.dispose();
});

test('what was seen', () => {
  console.log(`${same} tokens as the Sampler's, ${near} beside a border within ${BORDER}, ${unproven} of the full row`);
  assert.ok(near * 50 < same && unproven > 0);
});

testNothingLeft([{ name: 'webgpu', device }]);
test.run();
