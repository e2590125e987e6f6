/** The baselines on the embedded model's weights: what each changes, and where it computes the dense function. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { permutation } from '../../src/grow/methods/noise.ts';
import type { GrowRecipe } from '../../src/grow/plan/options.ts';
import { resolveOptions } from '../../src/grow/plan/recipe.ts';
import { PROJECTIONS, type Projection } from '../../src/grow/types.ts';
import { Worst } from '../device/devices.ts';
import { code } from '../errors.ts';
import { normal } from '../svd/algebras.ts';
import { feedForward, ground, type Mixture, mixture, mixtureOutput, nanoLayer, norm, relative } from './layers.ts';

const worst = new Worst();
const on = await ground();
const dense = await nanoLayer(3);
const { hidden: d, intermediate: m } = dense;
const x = normal(d, 1);
const exact = feedForward(x, dense);

/** ||mixture - dense|| / ||dense|| for one input. */
async function deviation(options: GrowRecipe): Promise<number> {
  const mix = await mixture(on, dense, options);
  return relative(mixtureOutput(x, dense, mix, options.topK ?? 2), exact);
}

/** Neuron i of a projection: a row of gate and up, a column of down. */
function neuron(w: Float32Array, projection: Projection, i: number, size = m): Float32Array {
  return projection === 'down'
    ? Float32Array.from({ length: d }, (_, r) => w[r * size + i]!)
    : w.slice(i * d, (i + 1) * d);
}

/** For each neuron of an expert the dense neuron that it is, or -1. */
function origins(mix: Mixture, expert: number, projection: Projection): number[] {
  const known = new Map<string, number>();
  for (let i = 0; i < m; i++) known.set(neuron(dense[projection], projection, i).join(), i);
  const w = mix.experts[expert]![projection];
  return Array.from({ length: mix.size }, (_, i) => known.get(neuron(w, projection, i, mix.size).join()) ?? -1);
}

test('copies: twice the dense output as published, the dense output when both branches are halved', async () => {
  assert.ok(Math.abs((await deviation({ method: 'naive' })) - 1) < 1e-9);
  const halved = { method: 'naive', preserve: 'function-preserving' } as const;
  assert.ok(worst.within('naive, halved', await deviation(halved), 1e-12));
  assert.ok(worst.within('naive, no shared', await deviation({ method: 'naive', anchor: 'none' }), 1e-12));
  assert.ok(worst.within('naive, routed', await deviation({ method: 'naive', anchor: 'routed' }), 1e-12));
  const mix = await mixture(on, dense, halved, 'bf16');
  assert.is(mix.shared, 0.5);
  // halving is exact in the type of the source
  assert.ok(mix.experts[3]!.down.every((v, i) => v === dense.down[i]! / 2));
  assert.is(mix.experts[3]!.gate, dense.gate);
});

test('scaled: the halves of what preserves the function, for what changes it too', async () => {
  for (const method of ['noise', 'drop', 'naive', 'virtual-group'] as const) {
    const given = method === 'virtual-group' ? ({ method, granularity: 1 } as const) : { method };
    const whole = await mixture(on, dense, given);
    const mix = await mixture(on, dense, { ...given, preserve: 'scaled' });
    assert.is(mix.shared, 0.5, method);
    for (const [e, expert] of mix.experts.entries()) {
      assert.ok(
        expert.down.every((v, i) => v === whole.experts[e]!.down[i]! / 2),
        method,
      );
      assert.equal(expert.gate, whole.experts[e]!.gate, method);
    }
  }
  // sizes of the dense output, whatever noise changes: as published twice as much
  const size = await deviation({ method: 'noise', sigma: 1e-6, preserve: 'scaled' });
  assert.ok(size < 1e-3, `${size}`);
  for (const method of ['split', 'spri', 'scaled-copy', 'zero-delta'] as const) {
    assert.throws(() => resolveOptions({ method, preserve: 'scaled' }), code('E_ARGUMENT'));
  }
});

test('noise: half of the neurons, chosen apart in each matrix, get the deviation that was asked for', async () => {
  const mix = await mixture(on, dense, { method: 'noise', permute: false });
  const sets = PROJECTIONS.map((projection) => {
    const made = mix.experts[2]![projection];
    const added: number[] = [];
    const changed = new Set<number>();
    for (let i = 0; i < m; i++) {
      const from = neuron(dense[projection], projection, i);
      const off = Array.from(neuron(made, projection, i), (v, j) => v - from[j]!);
      if (norm(off) === 0) continue;
      changed.add(i);
      added.push(...off);
    }
    assert.is(changed.size, m / 2);
    assert.ok(worst.within('deviation of noise', Math.abs(norm(added) / Math.sqrt(added.length) / 0.02 - 1), 0.01));
    return changed;
  });
  const both = [...sets[0]!].filter((i) => sets[2]!.has(i)).length;
  assert.ok(both > m / 8 && both < (3 * m) / 8, `${both} of ${m / 2} in both`);
  assert.ok(mix.record.diversity > 0 && mix.record.diversity < 0.9);
});

test('noise, permuted as released: another order in each expert, the same in its three matrices', async () => {
  const mix = await mixture(on, dense, { method: 'noise', sigma: 0 });
  const orders = [0, 1].map((e) => {
    const order = origins(mix, e, 'gate');
    assert.equal(origins(mix, e, 'up'), order);
    assert.equal(origins(mix, e, 'down'), order);
    assert.is(new Set(order).size, m);
    assert.not.ok(order.includes(-1));
    return order;
  });
  assert.not.equal(orders[0], orders[1]);
  const turned = { method: 'noise', sigma: 0, preserve: 'function-preserving' } as const;
  assert.ok(worst.within('permuted neurons', await deviation(turned), 1e-12));
  assert.ok((await deviation({ method: 'noise' })) > 0.01);
});

test('drop: half of the neurons are drawn anew, with mean and deviation of what they replace', async () => {
  for (const permute of [false, true]) {
    const mix = await mixture(on, dense, { method: 'drop', permute });
    const sets = PROJECTIONS.map((projection) => {
      const order = origins(mix, 4, projection);
      const fresh = order.flatMap((from, i) => (from === -1 ? [i] : []));
      assert.is(fresh.length, m / 2);
      const kept = order.filter((from) => from !== -1);
      assert.is(new Set(kept).size, m / 2);
      if (!permute) assert.ok(order.every((from, i) => from === -1 || from === i));
      const gone = permute ? null : fresh;
      const moments = (w: Float32Array, list: readonly number[]) => {
        const all = list.flatMap((i) => [...neuron(w, projection, i)]);
        const mean = all.reduce((a, b) => a + b, 0) / all.length;
        return { mean, std: norm(all.map((v) => v - mean)) / Math.sqrt(all.length) };
      };
      const now = moments(mix.experts[4]![projection], fresh);
      const before = moments(
        dense[projection],
        gone ?? Array.from({ length: m }, (_, i) => i).filter((i) => !kept.includes(i)),
      );
      assert.ok(worst.within('deviation of what is drawn anew', Math.abs(now.std / before.std - 1), 0.02));
      assert.ok(Math.abs(now.mean - before.mean) < 0.02 * before.std);
      return fresh.join();
    });
    // as the paper writes it the same neurons in all three, as released others in each
    assert.is(new Set(sets).size, permute ? 3 : 1);
    assert.ok(permute ? mix.record.diversity > 0.99 : mix.record.diversity < 0.8);
    assert.ok(mix.record.outputDiversity > 0.1);
  }
});

test('virtual groups: shards in order, tied rows of the router; exact with all of the scale on down', async () => {
  const options = { method: 'virtual-group', topK: 4, granularity: 4, anchor: 'none' } as const;
  const mix = await mixture(on, dense, { ...options, preserve: 'function-preserving' });
  assert.is(mix.size, m / 4);
  for (let e = 0; e < 8; e++) {
    assert.equal(
      origins(mix, e, 'gate'),
      Array.from({ length: m / 4 }, (_, i) => (e % 4) * (m / 4) + i),
    );
    assert.equal(mix.router.slice(e * d, (e + 1) * d), mix.router.slice((e - (e % 4)) * d, (e - (e % 4) + 1) * d));
  }
  assert.not.equal(mix.router.slice(0, d), mix.router.slice(4 * d, 5 * d));
  for (const anchor of ['none', 'shared'] as const) {
    for (const topK of [4, 8]) {
      const off = await deviation({ ...options, anchor, topK, preserve: 'function-preserving' });
      assert.ok(worst.within('virtual group, scaled on down', off, 1e-12), `${anchor} ${topK} ${off}`);
    }
  }
  // the cube root on each matrix is not exact with silu
  const published = await mixture(on, dense, options);
  assert.ok(Math.abs(published.experts[0]!.gate[0]! / dense.gate[0]! - Math.cbrt(4)) < 1e-6);
  assert.ok(Math.abs(published.experts[0]!.down[0]! / dense.down[0]! - Math.cbrt(4)) < 1e-6);
  assert.ok((await deviation(options)) > 0.01);
});

test('split: disjoint sets that cover all neurons, scaled by E / k', async () => {
  const mix = await mixture(on, dense, { method: 'split', anchor: 'none' });
  const sets = mix.experts.map((_, e) => origins(mix, e, 'gate'));
  assert.is(mix.size, m / 8);
  assert.equal(
    sets.flat().sort((a, b) => a - b),
    Array.from({ length: m }, (_, i) => i),
  );
  for (const set of sets)
    assert.equal(
      set,
      [...set].sort((a, b) => a - b),
    );
  const ratio = (from: Mixture) => from.experts[0]!.down[0]! / dense.down[sets[0]![0]!]!;
  assert.is(ratio(mix), 4);
  // chosen with equal weights, each as often as the others, the mean is k times the part that a token uses
  const mean = new Float64Array(d);
  for (const expert of mix.experts) for (const [i, v] of feedForward(x, expert).entries()) mean[i]! += (2 * v) / 8;
  assert.ok(worst.within('mean of split experts', relative(mean, exact), 1e-12));
});

test('permutations are even, and depend on seed and stream', () => {
  const places = Array.from({ length: 5 }, () => new Array(5).fill(0));
  const n = 4000;
  for (let seed = 0; seed < n; seed++) {
    for (const [i, v] of permutation(5, seed, [0, 20]).entries()) places[i]![v]++;
  }
  const chi = places.flat().reduce((sum, count) => sum + (count - n / 5) ** 2 / (n / 5), 0);
  assert.ok(worst.within('chi-square of places, 16 degrees of freedom', chi, 39.3)); // p = 0.001
  assert.not.equal(permutation(99, 0, [0, 20]), permutation(99, 0, [1, 20]));
  assert.not.equal(permutation(99, 0, [0, 20]), permutation(99, 2 ** 32, [0, 20]));
  assert.equal(permutation(1, 0, [0, 20]), Int32Array.of(0));
});

test('nothing is left on the device', () => {
  assert.equal(on.device.liveTensors(), []);
  on.algebra.close();
  on.device.close();
  worst.print();
});

test.run();
