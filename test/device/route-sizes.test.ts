/** Routing of sizes that kernels tell apart: many experts, few slots and many, more tokens than workgroups in a row, parts of large tensors. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RouteRule } from '../../src/device/device.ts';
import type { TrainDevice } from '../../src/device/train-device.ts';
import { WebGpuTrainDevice } from '../../src/device/webgpu/webgpu-train-device.ts';
import { onGpu, put, putInts, testNothingLeft, testsOn, trainDevices, Worst } from './devices.ts';
import { disposeAll } from './gradients.ts';
import { noise, randomF32, worstError } from './reference.ts';

const all = await trainDevices();
const worst = new Worst();
const PLAIN = { renormalise: true, scale: 1, groups: 1, topGroups: 1, groupScore: 'max' } as const;

async function routed(device: TrainDevice, logits: Float32Array, experts: number, rule: RouteRule, k: number) {
  const rows = logits.length / experts;
  const [z, weights] = [put(device, [rows, experts], logits), device.tensor('f32', [rows, k])];
  const places = device.tensor('i32', [rows, k]);
  device.route(z, null, rule, places, weights);
  const [a, b] = await device.read([places, weights]);
  disposeAll(z, places, weights);
  return { places: a as Int32Array, weights: b as Float32Array };
}

/** Gradients and sums of a mixture, all that has slots in it. */
async function mixture(device: TrainDevice, tokens: number, k: number, experts: number, width: number) {
  const f = (seed: number, ...shape: number[]) =>
    put(
      device,
      shape,
      randomF32(
        shape.reduce((a, b) => a * b, 1),
        seed,
        2,
      ),
    );
  const [logits, x, gate] = [f(1, tokens, experts), f(2, tokens, width), f(3, tokens, 1)];
  const [weights, dWeights] = [f(4, tokens, k), f(5, tokens, k)];
  const [y, dY, out, dX] = [f(6, tokens * k, width), f(7, tokens * k, width), f(8, tokens, width), f(9, tokens, width)];
  const places = device.tensor('i32', [tokens, k]);
  const [order, offsets] = [device.tensor('i32', [tokens * k]), device.tensor('i32', [experts + 1])];
  const [dLogits, losses, dGate] = [f(10, tokens, experts), f(11, 2), f(12, tokens, 1)];
  const rule: RouteRule = { ...PLAIN, score: 'softmax', renormalise: false };
  device.route(logits, null, rule, places, weights);
  device.dispatch(places, order, offsets);
  device.gatherRows(x, order, y);
  const gathered = device.tensor('f32', [tokens * k, width]);
  device.gatherRows(x, order, gathered);
  device.combine(y, order, weights, out);
  device.combineBackward(x, y, order, weights, dY, dWeights);
  device.gatherRowsBackward(dY, order, dX);
  device.routeBackward(logits, rule, places, dWeights, dLogits);
  device.routerLosses(logits, offsets, losses);
  device.routerLossesBackward(logits, offsets, 0.5, 0.1, dLogits);
  device.sigmoidScaleBackward(gate, x, dX, dX, dGate);
  device.sigmoidScale(gate, x);
  const got = [places, order, offsets, weights, gathered, out, dY, dWeights, dX, dLogits, losses, x, dGate];
  const values = await device.read(got);
  disposeAll(...got, logits, gate, y);
  return values;
}

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('route: more experts than workgroup memory holds, in groups and not', async () => {
    for (const [experts, k, groups, topGroups] of [
      [1024, 64, 1, 1],
      [1500, 64, 1, 1],
      [1500, 7, 500, 3],
      [1500, 30, 30, 4],
    ] as const) {
      for (const score of ['softmax', 'selected-softmax', 'sigmoid'] as const) {
        // levels far enough apart that no rounding of scores changes their order; every third is shared
        const z = Float32Array.from({ length: 2 * experts }, (_, i) => {
          const level = (i * 7919) % experts;
          return ((level - (i % 3 === 0 ? level % 2 : 0)) / experts) * 8 - 4;
        });
        const { places, weights } = await routed(device, z, experts, { ...PLAIN, score, groups, topGroups }, k);
        const size = experts / groups;
        for (const row of [0, 1]) {
          const own = z.subarray(row * experts, (row + 1) * experts);
          const best = Array.from({ length: groups }, (_, g) => Math.max(...own.subarray(g * size, (g + 1) * size)));
          const open = new Set([...best.keys()].sort((a, b) => best[b]! - best[a]! || a - b).slice(0, topGroups));
          const want = [...own.keys()]
            .filter((i) => open.has(Math.floor(i / size)))
            .sort((a, b) => own[b]! - own[a]! || a - b)
            .slice(0, k);
          assert.equal([...places.subarray(row * k, (row + 1) * k)], want, `${score}, ${k} of ${experts} in ${groups}`);
          const scores = want.map((i) => (score === 'sigmoid' ? 1 / (1 + Math.exp(-own[i]!)) : Math.exp(own[i]!)));
          const sum = scores.reduce((a, b) => a + b);
          const error = worstError(
            weights.subarray(row * k, (row + 1) * k),
            scores.map((s) => s / sum),
          );
          assert.ok(worst.within('weights', error, 1e-6), `${score}, ${k} of ${experts}: ${error}`);
        }
      }
    }
  });

  on('dispatch: a counting sort of any number of slots and experts, the same in every run', async () => {
    for (const [slots, experts] of [
      [1, 1],
      [512, 5],
      [513, 5],
      [700, 300],
      [20_001, 3],
      [20_001, 513],
    ] as const) {
      const next = noise(slots + experts);
      const list = Array.from({ length: slots }, () => Math.floor(((next() + 1) / 2) * experts));
      const places = putInts(device, [slots, 1], list);
      const want = list.map((_, s) => s).sort((a, b) => list[a]! - list[b]! || a - b);
      const counts = new Int32Array(experts + 1);
      for (const e of list) counts[e + 1]!++;
      for (let e = 0; e < experts; e++) counts[e + 1]! += counts[e]!;
      for (let run = 0; run < 2; run++) {
        const [order, offsets] = [device.tensor('i32', [slots]), device.tensor('i32', [experts + 1])];
        device.dispatch(places, order, offsets);
        const [a, b] = await device.read([order, offsets]);
        assert.equal([...(a as Int32Array)], want, `order of ${slots} in ${experts}`);
        assert.equal(b as Int32Array, counts, `offsets of ${slots} in ${experts}`);
        disposeAll(order, offsets);
      }
      places.dispose();
    }
  });

  on('more tokens than workgroups in a row', async () => {
    const tokens = 65_537;
    const z = randomF32(2 * tokens, 3);
    const { places } = await routed(device, z, 2, { ...PLAIN, score: 'selected-softmax' }, 1);
    for (let t = 0; t < tokens; t++) assert.is(places[t], z[2 * t]! >= z[2 * t + 1]! ? 0 : 1);
    const order = putInts(
      device,
      [tokens],
      Array.from({ length: tokens }, (_, i) => (i * 7) % tokens),
    );
    const [y, weights] = [
      put(device, [tokens, 1], z.subarray(0, tokens)),
      put(device, [tokens, 1], z.subarray(tokens)),
    ];
    const [out, rows] = [device.tensor('f32', [tokens, 1]), device.tensor('f32', [tokens, 1])];
    device.combine(y, order, weights, out);
    device.gatherRows(y, order, rows);
    const [sums, gathered] = (await device.read([out, rows])) as Float32Array[];
    const want = new Float32Array(tokens);
    for (let i = 0; i < tokens; i++) want[(i * 7) % tokens] = z[i]! * z[tokens + ((i * 7) % tokens)]!;
    assert.equal(sums, want);
    for (let i = 0; i < tokens; i++) assert.is(gathered![i], z[(i * 7) % tokens]);
    disposeAll(order, y, weights, out, rows);
  });

  on('a mixture gives the same bits in every run', async () => {
    for (const [tokens, k, experts, width] of [
      [5, 3, 9, 64],
      [700, 4, 33, 31],
    ] as const) {
      const first = await mixture(device, tokens, k, experts, width);
      assert.equal(await mixture(device, tokens, k, experts, width), first);
      for (const values of first) assert.ok([...values].every(Number.isFinite));
    }
  });

  if (onGpu) {
    on('pieces that a binding holds give the same bits', async () => {
      const small = await WebGpuTrainDevice.create({ bindingLimit: 65_536 });
      for (const [tokens, k, experts, width] of [
        [90, 4, 33, 303],
        [600, 2, 40, 64],
        [20, 3, 2000, 700],
      ] as const) {
        const want = await mixture(device, tokens, k, experts, width);
        const got = await mixture(small, tokens, k, experts, width);
        for (const [i, values] of got.entries()) assert.equal(values, want[i], `result ${i} of ${tokens} by ${width}`);
      }
      small.close();
    });
  }
}

testNothingLeft(all, worst);

test.run();
