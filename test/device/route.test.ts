/** Operations of mixtures of experts: routing against transformers and plain JavaScript, and a mixture from end to end. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, RouteRule, Tensor } from '../../src/device/device.ts';
import { code } from '../errors.ts';
import { fixture } from '../model/shared-files.ts';
import { devices, put, putInts, testNothingLeft, Worst } from './devices.ts';
import { noise, product, randomF32, worstError } from './reference.ts';
import { stored } from './sources.ts';

interface Case {
  readonly name: string;
  readonly rule: RouteRule & { readonly selectionBias: boolean };
  readonly k: number;
  readonly experts: number;
  readonly tokens: number;
  readonly logits: number[];
  readonly bias: number[] | null;
  readonly places: number[];
  readonly weights: number[];
}

const oracle = (await fixture('route.json')) as Case[];
const all = await devices();
const worst = new Worst();

const floats = async (device: Device, t: Tensor) => (await device.read(t)) as Float32Array;
const ints = async (device: Device, t: Tensor) => (await device.read(t)) as Int32Array;
const dispose = (...tensors: Tensor[]) => {
  for (const t of tensors) t.dispose();
};

const plain: RouteRule = {
  score: 'softmax',
  renormalise: true,
  scale: 1,
  groups: 1,
  topGroups: 1,
  groupScore: 'max',
};

async function route(device: Device, logits: number[][], bias: number[] | null, rule: RouteRule, k: number) {
  const [t, e] = [logits.length, logits[0]!.length];
  const z = put(device, [t, e], logits.flat());
  const b = bias && put(device, [e], bias);
  const [places, weights] = [device.tensor('i32', [t, k]), device.tensor('f32', [t, k])];
  device.route(z, b, rule, places, weights);
  const result = { places: [...(await ints(device, places))], weights: [...(await floats(device, weights))] };
  dispose(z, places, weights, ...(b ? [b] : []));
  return result;
}

/** The rule, straight from its description, in f64 but for scores that are rounded to f32 before they are compared. */
function reference(z: readonly number[], bias: readonly number[] | null, rule: RouteRule, k: number) {
  const exps = z.map((x) => Math.exp(x - Math.max(...z)));
  const sum = exps.reduce((a, b) => a + b);
  const scores = z.map((x, i) => {
    if (rule.score === 'softmax') return Math.fround(exps[i]! / sum);
    return rule.score === 'sigmoid' ? Math.fround(1 / (1 + Math.exp(-x))) : x;
  });
  const choices = scores.map((s, i) => Math.fround(s + (bias ? Math.fround(bias[i]!) : 0)));
  const size = z.length / rule.groups;
  const worths = Array.from({ length: rule.groups }, (_, g) => {
    const inside = choices.slice(g * size, (g + 1) * size).sort((a, b) => b - a);
    return rule.groupScore === 'top2' && size > 1 ? Math.fround(inside[0]! + inside[1]!) : inside[0]!;
  });
  // Array.sort is stable: of equals the lower number comes first
  const groups = worths.map((_, g) => g).sort((a, b) => worths[b]! - worths[a]!);
  const open = new Set(groups.slice(0, rule.topGroups));
  const places = z
    .map((_, i) => i)
    .filter((i) => open.has(Math.floor(i / size)))
    .sort((a, b) => choices[b]! - choices[a]!)
    .slice(0, k);
  const chosen = places.map((i) => (rule.score === 'selected-softmax' ? exps[i]! : scores[i]!));
  const whole = rule.renormalise || rule.score === 'selected-softmax' ? chosen.reduce((a, b) => a + b) : 1;
  return { places, weights: chosen.map((w) => (w / whole) * rule.scale) };
}

/** What each device gives for one mixture, for comparing lanes. */
const outputs = new Map<string, Float32Array>();

for (const { name, device } of all) {
  const on = (title: string, run: () => Promise<void>) => test(`${title} [${name}]`, run);

  on('routes are those of transformers', async () => {
    assert.is(oracle.length, 10);
    for (const c of oracle) {
      const rows = Array.from({ length: c.tokens }, (_, t) => c.logits.slice(t * c.experts, (t + 1) * c.experts));
      const got = await route(device, rows, c.bias, c.rule, c.k);
      assert.equal(got.places, c.places, c.name);
      assert.ok(worst.within('weights against transformers', worstError(got.weights, c.weights), 1e-6), c.name);
    }
  });

  on('routes are those of the description, for every rule and many experts', async () => {
    for (const [experts, k, groups, topGroups] of [
      [1, 1, 1, 1],
      [3, 3, 1, 1],
      [8, 2, 1, 1],
      [8, 2, 8, 2],
      [64, 64, 1, 1],
      [200, 13, 20, 4],
    ] as const) {
      for (const score of ['softmax', 'selected-softmax', 'sigmoid'] as const) {
        for (const biased of [false, true]) {
          const rule: RouteRule = {
            ...{ score, groups, topGroups, scale: 2.5 },
            renormalise: biased,
            groupScore: biased ? 'top2' : 'max',
          };
          const bias = biased ? [...randomF32(experts, 3, 0.3)] : null;
          const next = noise(experts + k);
          // some steps are coarse, so that scores tie
          const rows = Array.from({ length: 40 }, (_, t) =>
            Array.from({ length: experts }, () => (t % 2 ? Math.round(next() * 3) : next() * 6)).map(Math.fround),
          );
          const got = await route(device, rows, bias, rule, k);
          const want = rows.map((row) => reference(row, bias, rule, k));
          const what = `${score}, ${k} of ${experts}, bias ${biased}`;
          assert.equal(
            got.places,
            want.flatMap(({ places }) => places),
            what,
          );
          const error = worstError(
            got.weights,
            want.flatMap(({ weights }) => weights),
          );
          assert.ok(worst.within('weights against the description', error, 1e-6), `${what}: ${error}`);
        }
      }
    }
  });

  on('ties go to the lower number, and extremes stay numbers', async () => {
    const rows = [[0, 0, 0, 0, 0], [1, 3, 3, 1, 3], [-1e4, 0, 1e4, 0, -1e4], new Array(5).fill(-1e30)];
    for (const score of ['softmax', 'selected-softmax', 'sigmoid'] as const) {
      const { places, weights } = await route(device, rows, null, { ...plain, score }, 3);
      // by softmax all but one are 0 in the third row
      const third = score === 'softmax' ? [2, 0, 1] : [2, 1, 3];
      assert.equal(places, [0, 1, 2, 1, 2, 4, ...third, 0, 1, 2], score);
      assert.ok(
        weights.every((w) => w >= 0 && w <= 1),
        `${score}: ${weights}`,
      );
    }
    // all scores are 0: nothing to divide by
    const none = await route(device, [new Array(5).fill(-1e30)], null, { ...plain, score: 'sigmoid' }, 2);
    assert.equal(none, { places: [0, 1], weights: [0, 0] });
    // numbers that are none still name experts
    const wrong = await route(device, [[Number.NaN, 1, Number.NaN, 2], new Array(4).fill(Number.NaN)], null, plain, 3);
    for (const place of wrong.places) assert.ok(place >= 0 && place < 4);
    assert.is(new Set(wrong.places.slice(0, 3)).size, 3);
  });

  on('slots are sorted by expert, gathered and summed', async () => {
    const [t, k, d] = [300, 4, 67];
    const next = noise(8);
    for (const experts of [5, 90]) {
      // the first and the last expert have none
      const list = Array.from({ length: t * k }, () => 1 + Math.floor(((next() + 1) / 2) * (experts - 2)));
      const places = putInts(device, [t, k], list);
      const [order, offsets] = [device.tensor('i32', [t * k]), device.tensor('i32', [experts + 1])];
      device.dispatch(places, order, offsets);
      const slots = list.map((_, s) => s).sort((a, b) => list[a]! - list[b]!);
      assert.equal([...(await ints(device, order))], slots);
      assert.equal(
        [...(await ints(device, offsets))],
        Array.from({ length: experts + 1 }, (_, e) => list.filter((place) => place < e).length),
      );

      const values = randomF32(t * d, 5);
      const x = put(device, [t, d], values);
      const gathered = device.tensor('f32', [t * k, d]);
      device.gatherRows(x, order, gathered);
      const want = slots.flatMap((s) => {
        const token = Math.floor(s / k);
        return [...values.subarray(token * d, (token + 1) * d)];
      });
      assert.equal([...(await floats(device, gathered))], want);

      const back = randomF32(t * k * d, 6);
      const shares = randomF32(t * k, 7);
      const [y, w, out] = [put(device, [t * k, d], back), put(device, [t, k], shares), put(device, [t, d], values)];
      device.combine(y, order, w, out);
      const sums = new Float64Array(t * d);
      for (const [i, s] of slots.entries()) {
        for (let c = 0; c < d; c++) sums[Math.floor(s / k) * d + c]! += shares[s]! * back[i * d + c]!;
      }
      const error = worstError(await floats(device, out), sums);
      assert.ok(worst.within('combine', error, 1e-6), `${error}`);
      dispose(places, order, offsets, x, gathered, y, w, out);
    }
  });

  on('rows are scaled by the sigmoid of their gate', async () => {
    const [t, d] = [130, 259];
    const gates = [...randomF32(t - 2, 1, 8), 200, -200];
    const values = randomF32(t * d, 2);
    const [gate, x] = [put(device, [t, 1], gates), put(device, [t, d], values)];
    device.sigmoidScale(gate, x);
    const want = values.map((v, i) => v / (1 + Math.exp(-gates[Math.floor(i / d)]!)));
    assert.ok(worst.within('sigmoidScale', worstError(await floats(device, x), want), 1e-6));
    dispose(gate, x);
  });

  on('a mixture from end to end', async () => {
    const [t, experts, k, d, n] = [150, 6, 2, 128, 128];
    const values = randomF32(t * d, 1);
    const x = put(device, [t, d], values);
    const logits = put(device, [t, experts], randomF32(t * experts, 2, 2));
    const [places, weights] = [device.tensor('i32', [t, k]), device.tensor('f32', [t, k])];
    const [order, offsets] = [device.tensor('i32', [t * k]), device.tensor('i32', [experts + 1])];
    const [gathered, y] = [device.tensor('f32', [t * k, d]), device.tensor('f32', [t * k, n])];
    const out = device.tensor('f32', [t, n]);
    const stack = await device.loadMatrices(Array.from({ length: experts }, (_, e) => stored('f32', n, d, e + 1)));
    device.route(logits, null, plain, places, weights);
    device.dispatch(places, order, offsets);
    device.gatherRows(x, order, gathered);
    device.linearGrouped(gathered, offsets, [stack], [y], 'exact');
    device.combine(y, order, weights, out);
    const got = await floats(device, out);
    const [chosen, shares] = [await ints(device, places), await floats(device, weights)];
    const want = new Float64Array(t * n);
    for (let s = 0; s < t * k; s++) {
      const token = Math.floor(s / k);
      const row = values.subarray(token * d, (token + 1) * d);
      const one = product(1, n, d, row, randomF32(n * d, chosen[s]! + 1), { transposeB: true });
      for (let c = 0; c < n; c++) want[token * n + c]! += shares[s]! * one[c]!;
    }
    assert.ok(worst.within('mixture', worstError(got, want), 1e-6));
    outputs.set(name, got);
    dispose(x, logits, places, weights, order, offsets, gathered, y, out, stack);
  });

  on('what does not fit is refused', async () => {
    const [z, places, weights] = [
      device.tensor('f32', [4, 6]),
      device.tensor('i32', [4, 2]),
      device.tensor('f32', [4, 2]),
    ];
    const [order, offsets] = [device.tensor('i32', [8]), device.tensor('i32', [7])];
    const [x, y] = [device.tensor('f32', [4, 32]), device.tensor('f32', [8, 32])];
    const [out, wide, shares] = [
      [8, 24],
      [8, 32],
      [4, 2],
    ].map((shape) => device.tensor('f32', shape)) as [Tensor, Tensor, Tensor];
    const seven = device.tensor('i32', [7]);
    const refuses = (what: string, run: () => void) => assert.throws(run, code('E_SHAPE'), what);
    refuses('another number of tokens', () => device.route(device.rows(z, 0, 3), null, plain, places, weights));
    refuses('a bias of another length', () => device.route(z, x, plain, places, weights));
    refuses('groups that do not divide', () => device.route(z, null, { ...plain, groups: 4 }, places, weights));
    refuses('no group', () => device.route(z, null, { ...plain, groups: 3, topGroups: 0 }, places, weights));
    refuses('too few in a group', () => device.route(z, null, { ...plain, groups: 6 }, places, weights));
    refuses('floats for places', () => device.route(z, null, plain, shares, weights));
    refuses('an order of another length', () => device.dispatch(places, seven, offsets));
    refuses('another width', () => device.gatherRows(x, order, out));
    refuses('no whole number of slots', () => device.gatherRows(device.rows(y, 0, 3), order, wide));
    refuses('gates of another number', () => device.sigmoidScale(weights, x));
    dispose(z, places, weights, order, offsets, x, y, out, wide, shares, seven);
  });
}

test('lanes change nothing, not even the last bit', () => {
  let compared = 0;
  for (const [name, got] of outputs) {
    const alone = outputs.get(name.replace(/, \d lanes$/, ''));
    if (!alone || alone === got) continue;
    assert.equal(got, alone, name);
    compared++;
  }
  assert.is(compared, all.filter(({ name }) => name.endsWith('lanes')).length);
});

testNothingLeft(all, worst);

test.run();
