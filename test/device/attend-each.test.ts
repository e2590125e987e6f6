/**
 * A token of each of several sequences through attention: against a plain f64 program, and to the bit what `rope`, `copyRows` and `attention` give each of them
 * alone; over caches that stand together and apart.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attendEachApart } from '../../src/device/attend-each.ts';
import type { Device, RopeLayout, StepArguments, Tensor } from '../../src/device/device.ts';
import { code } from '../errors.ts';
import { devices, onGpu, put, testNothingLeft, testsOn, Worst } from './devices.ts';
import { randomF32, worstError } from './reference.ts';

const all = await devices();
const worst = new Worst();

interface Case {
  readonly bases: readonly number[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rotaryDims: number;
  readonly layout: RopeLayout['layout'];
  readonly window: number;
}

const half = { layout: 'half', window: 0 } as const;
const CASES: readonly Case[] = [
  // SmolLM2's heads: within a tile, and with tiles of which some sequences see nothing
  { bases: [5], heads: 9, kvHeads: 3, headDim: 64, rotaryDims: 64, ...half },
  { bases: [0, 63, 12], heads: 9, kvHeads: 3, headDim: 64, rotaryDims: 64, ...half },
  { bases: [64, 0, 200, 127, 128], heads: 9, kvHeads: 3, headDim: 64, rotaryDims: 64, ...half },
  // heads that no vector of four fits, of which a part rotates
  { bases: [70, 3], heads: 4, kvHeads: 2, headDim: 6, rotaryDims: 4, layout: 'interleaved', window: 0 },
  { bases: [65, 64, 2], heads: 2, kvHeads: 1, headDim: 6, rotaryDims: 6, ...half },
  // more than four and eight heads of a KV head, and more than a dispatch has
  { bases: [66, 1], heads: 6, kvHeads: 1, headDim: 8, rotaryDims: 8, ...half },
  { bases: [66, 130], heads: 12, kvHeads: 1, headDim: 8, rotaryDims: 4, ...half },
  { bases: [3, 67], heads: 17, kvHeads: 1, headDim: 8, rotaryDims: 8, ...half },
  // windows: of one position, across tiles, and one that begins with a tile
  { bases: [150, 10], heads: 2, kvHeads: 2, headDim: 8, rotaryDims: 8, layout: 'half', window: 1 },
  { bases: [150, 10, 79], heads: 2, kvHeads: 1, headDim: 8, rotaryDims: 8, layout: 'half', window: 16 },
  { bases: [191, 63, 64], heads: 2, kvHeads: 1, headDim: 8, rotaryDims: 0, layout: 'half', window: 64 },
  // more sequences than a dispatch takes
  { bases: Array.from({ length: 70 }, (_, i) => i), heads: 2, kvHeads: 1, headDim: 8, rotaryDims: 8, ...half },
];

/** Where caches stand: each by itself, in a pool, or as layers of tensors of a pool. */
type Place = 'apart' | 'pool' | 'layers';

function setUp(device: Device, c: Case, place: Place) {
  const { bases, heads, kvHeads, headDim, rotaryDims, layout, window } = c;
  const [rows, width, queryWidth] = [bases.length, kvHeads * headDim, heads * headDim];
  const made: Tensor[] = [];
  const own = (t: Tensor): Tensor => {
    made.push(t);
    return t;
  };
  const [q, k, v] = [queryWidth, width, width].map((n, i) => own(put(device, [rows, n], randomF32(rows * n, i + 1))));
  const out = own(device.tensor('f32', [rows, queryWidth]));
  const table = rotaryDims > 0 ? own(put(device, [9, 2, rotaryDims / 2], randomF32(9 * rotaryDims, 5))) : null;
  const sequences = bases.map((base, i) => {
    const [capacity, layers] = [base + 3, place === 'layers' ? 2 : 1];
    const [keys, values] = ['keys', 'values'].map((name, side) => {
      const shape = [layers * capacity, width];
      const more = rows - 1 - i;
      const t = own(place === 'apart' ? device.tensor('f32', shape) : device.tensor('f32', shape, { name, more }));
      device.write(t, randomF32(layers * capacity * width, 100 + 2 * i + side));
      return layers === 1 ? t : device.rows(t, capacity, capacity);
    });
    return { keys: keys!, values: values!, base, position: (3 * i) % 9 };
  });
  const args: StepArguments = {
    ...{ q: q!, k: k!, v: v!, out, table, rotation: { rotaryDims, layout }, sequences },
    ...{ nHeads: heads, nKvHeads: kvHeads, headDim, scale: 0.3, window },
  };
  return { args, made, dispose: () => void made.map((t) => t.dispose()) };
}

/** The formulas, in f64, from what `setUp` puts. */
function reference(c: Case): Float64Array {
  const { bases, heads, kvHeads, headDim, rotaryDims, layout, window } = c;
  const [rows, width, queryWidth] = [bases.length, kvHeads * headDim, heads * headDim];
  const [q, k, v] = [queryWidth, width, width].map((n, i) => randomF32(rows * n, i + 1));
  const table = randomF32(9 * rotaryDims, 5);
  const out = new Float64Array(rows * queryWidth);
  const turn = (x: Float32Array, at: number, position: number): number[] => {
    const head = Array.from(x.subarray(at, at + headDim));
    for (let p = 0; p < rotaryDims / 2; p++) {
      const [a, b] = layout === 'half' ? [p, p + rotaryDims / 2] : [2 * p, 2 * p + 1];
      const [cos, sin] = [table[position * rotaryDims + p]!, table[position * rotaryDims + rotaryDims / 2 + p]!];
      [head[a], head[b]] = [head[a]! * cos - head[b]! * sin, head[b]! * cos + head[a]! * sin];
    }
    return head;
  };
  for (const [i, base] of bases.entries()) {
    const position = (3 * i) % 9;
    const [keys, values] = [0, 1].map((side) => randomF32((base + 3) * width, 100 + 2 * i + side));
    for (let h = 0; h < heads; h++) {
      const kv = Math.floor(h / (heads / kvHeads));
      const query = turn(q!, i * queryWidth + h * headDim, position);
      const scores: number[] = [];
      const start = window > 0 ? Math.max(0, base + 1 - window) : 0;
      for (let j = start; j <= base; j++) {
        const at = j * width + kv * headDim;
        const key =
          j === base ? turn(k!, i * width + kv * headDim, position) : Array.from(keys!.subarray(at, at + headDim));
        scores.push(0.3 * query.reduce((sum, x, d) => sum + x * key[d]!, 0));
      }
      const most = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - most));
      const total = weights.reduce((a, b) => a + b);
      for (let d = 0; d < headDim; d++) {
        let sum = 0;
        for (const [n, w] of weights.entries()) {
          const j = start + n;
          sum += w * (j === base ? v![i * width + kv * headDim + d]! : values![j * width + kv * headDim + d]!);
        }
        out[i * queryWidth + h * headDim + d] = sum / total;
      }
    }
  }
  return out;
}

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('attendEach equals a plain f64 program', async () => {
    for (const [n, c] of CASES.entries()) {
      for (const place of ['apart', 'pool'] as const) {
        const { args, dispose } = setUp(device, c, place);
        device.attendEach(args);
        const error = worstError((await device.read(args.out)) as Float32Array, reference(c));
        assert.ok(worst.within('attendEach', error, 3e-6), `case ${n}, ${place}: ${error}`);
        dispose();
      }
    }
  });

  on('attendEach is rope, copyRows and attention of each alone, to the bit', async () => {
    for (const [n, c] of CASES.entries()) {
      const results: unknown[] = [];
      for (const [place, run] of [
        ['apart', (args: StepArguments) => attendEachApart(device, args)],
        ['apart', (args: StepArguments) => device.attendEach(args)],
        ['pool', (args: StepArguments) => device.attendEach(args)],
      ] as const) {
        const { args, dispose } = setUp(device, c, place);
        run(args);
        const caches = args.sequences.flatMap(({ keys, values }) => [keys, values]);
        results.push(await device.read([args.out, ...caches]));
        dispose();
      }
      for (const result of results) assert.equal(result, results[0], `case ${n}`);
    }
  });

  on('attendEach leaves other layers and other sequences as they are', async () => {
    const c = CASES[2]!;
    const { args, made, dispose } = setUp(device, c, 'layers');
    const before = (await device.read(made)) as Float32Array[];
    device.attendEach(args);
    const behind = (await device.read(made)) as Float32Array[];
    const width = c.kvHeads * c.headDim;
    // q, k, v, out and the table stand before the caches
    for (let i = 5; i < made.length; i++) {
      const base = c.bases[Math.floor((i - 5) / 2)]!;
      const row = (base + 3 + base) * width;
      for (let at = 0; at < before[i]!.length; at++) {
        if (at >= row && at < row + width) continue;
        if (behind[i]![at] !== before[i]![at]) assert.unreachable(`cache ${i - 5}, number ${at}`);
      }
    }
    dispose();
  });

  on('attendEach refuses what does not fit', async () => {
    const { args, dispose } = setUp(device, CASES[1]!, 'pool');
    const [one, ...others] = args.sequences;
    const f = (...shape: number[]) => device.tensor('f32', shape);
    const bad = [f(3, 64), f(2, 192), f(5, 64)] as const;
    for (const change of [
      { sequences: others },
      { sequences: [{ ...one!, base: 3 }, ...others] },
      { sequences: [{ ...one!, base: -1 }, ...others] },
      { sequences: [{ ...one!, base: 0.5 }, ...others] },
      { sequences: [{ ...one!, position: 9 }, ...others] },
      { sequences: [{ ...one!, keys: bad[2] }, ...others] },
      { sequences: [{ ...one!, values: one!.keys }, ...others] },
      { sequences: [{ ...one!, values: args.v }, ...others] },
      { k: bad[0] },
      { v: bad[1] },
      { k: args.v },
      { out: args.q },
      { nKvHeads: 2 },
      { rotation: { rotaryDims: 66, layout: 'half' as const } },
    ]) {
      assert.throws(
        () => device.attendEach({ ...args, ...change }),
        code('E_SHAPE'),
        JSON.stringify(Object.keys(change)),
      );
    }
    for (const t of bad) t.dispose();
    dispose();
    assert.throws(() => device.attendEach(args), code('E_DISPOSED'));
  });

  if (onGpu) {
    on('tensors of a pool stand in few buffers, and are zero when they come', async () => {
      const pool = (more: number) => ({ name: 'test', more });
      const first = device.tensor('f32', [300], pool(3));
      device.write(first, new Float32Array(300).fill(7));
      const rest = [2, 1, 0].map((more) => device.tensor('f32', [300], pool(more)));
      assert.is(new Set([first, ...rest].map((t) => t.storage)).size, 1);
      const { offset } = first;
      first.dispose();
      const again = device.tensor('f32', [290], pool(0));
      assert.is(again.storage, rest[0]!.storage);
      assert.is(again.offset, offset);
      assert.equal(await device.read(again), new Float32Array(290));
      // what comes without being announced has room for half as much as there is
      const more = Array.from({ length: 40 }, () => device.tensor('f32', [300], pool(0)));
      const buffers = new Set(more.map((t) => t.storage)).size;
      assert.ok(buffers <= 8, `${buffers} buffers`);
      for (const t of [again, ...rest, ...more]) t.dispose();
    });
  }
}

testNothingLeft(all, worst);

test.run();
