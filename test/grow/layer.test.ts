/** Grown layers: T5 to T7 and T10 of the specification on the embedded model's weights, and the same bits everywhere. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { floatToHalf } from '../../src/checkpoint/quantised/half.ts';
import { DOT, MICRO } from '../../src/device/wasm/kernels.ts';
import type { EspalierError } from '../../src/errors.ts';
import { growLayer } from '../../src/grow/methods/layer.ts';
import type { GrowRecipe } from '../../src/grow/plan/options.ts';
import { resolveOptions } from '../../src/grow/plan/recipe.ts';
import { PROJECTIONS } from '../../src/grow/types.ts';
import { spread } from '../../src/grow/verify/diversity.ts';
import { createHasher } from '../../src/runtime/files/hash.ts';
import { Worst } from '../device/devices.ts';
import { lanesPossible, normal } from '../svd/algebras.ts';
import {
  chosen,
  feedForward,
  type Ground,
  ground,
  grow,
  inner,
  type Mixture,
  mixture,
  mixtureOutput,
  nanoLayer,
  norm,
  relative,
  rowBytes,
} from './layers.ts';

const worst = new Worst();
const on = await ground();
const dense = await nanoLayer(3);
const inputs = [1, 2, 3].map((seed) => normal(dense.hidden, seed));

/** Rows of all experts and the router of several plans: the same in every runtime, for any number of lanes. */
const PINNED = '967c2918acf937e0891b64b437dd1fcd65f2528f75e7fb873532ae7bdb839722';

test('T5: diversity of eight experts in pairs, with the noise of the paper and without', async () => {
  const plain = await mixture(on, dense, { noise: { kind: 'relative', ratio: 0.4387 } }, 'bf16');
  const { diversity } = plain.record;
  assert.ok(diversity >= 0.879 && diversity <= 0.881, `${diversity}`);
  // all of such a matrix is looked at: the same from the definition
  let cosines = 0;
  for (let i = 0; i < 8; i++) {
    for (let j = i + 1; j < 8; j++) {
      const [x, y] = [plain.experts[i]!.down, plain.experts[j]!.down];
      cosines += inner(x, y) / (norm(x) * norm(y));
    }
  }
  assert.ok(worst.within('T5 against the definition', Math.abs(diversity - (1 - cosines / 28)), 1e-12));
  const silent = await mixture(on, dense, { noise: { kind: 'none' } }, 'bf16');
  assert.ok(worst.within('T5 without noise', Math.abs(silent.record.diversity - 24 / 28), 1e-6));
  const loud = await mixture(on, dense, { noise: { kind: 'relative', ratio: 1 } }, 'bf16');
  assert.ok(loud.record.diversity > 0.9, 'more noise is seen');
  const [down] = plain.record.projections;
  assert.ok(Math.abs(down!.noiseRatio - 0.4387) < 1e-12);
});

test('another order of neurons changes the diversity of the paper, not that of outputs', async () => {
  const naive = await mixture(on, dense, { method: 'naive' });
  assert.ok(Math.abs(naive.record.diversity) < 1e-12);
  assert.ok(Math.abs(naive.record.outputDiversity) < 1e-12);
  const turned = await mixture(on, dense, { method: 'noise', sigma: 0, ratio: 0 });
  assert.ok(Math.abs(turned.record.diversity - 1) < 0.01);
  assert.ok(worst.within('output diversity of permuted copies', Math.abs(turned.record.outputDiversity), 1e-6));
  const spri = await mixture(on, dense, {});
  assert.ok(spri.record.outputDiversity > 0.5);
  // no pair of zeros differs
  const zero = await mixture(on, dense, { method: 'zero-delta' });
  assert.is(zero.record.diversity, 0);
  assert.is(zero.record.outputDiversity, 0);
});

test('runs of rows are spread over a matrix, all of it where it is small', () => {
  assert.equal(spread(20, 100), [
    [0, 8],
    [8, 16],
    [16, 20],
  ]);
  assert.equal(spread(64, 16), [
    [0, 8],
    [32, 40],
  ]);
  assert.equal(spread(4096, 19).length, 3);
});

test('T6: the function changes by about rho, and exactly in proportion to it', async () => {
  const at = async (rho: number) => mixture(on, dense, { rho });
  const [one, two, three, none] = [await at(1e-3), await at(2e-3), await at(3e-3), await at(0)];
  for (const x of inputs) {
    const exact = feedForward(x, dense);
    const off = (mix: Mixture) => mixtureOutput(x, dense, mix, 2).map((v, i) => v - exact[i]!);
    const change = norm(off(one)) / norm(exact);
    assert.ok(change > 0.3e-3 && change < 2e-3, `${change}`);
    assert.ok(
      worst.within(
        'T6 proportion',
        relative(
          off(three),
          off(one).map((v) => 3 * v),
        ),
        1e-5,
      ),
    );
    assert.is(norm(off(none)), 0);
  }
  // twice rho is twice every number, to the bit
  for (let e = 0; e < 8; e++) {
    assert.ok(two.experts[e]!.down.every((v, i) => v === 2 * one.experts[e]!.down[i]!));
  }
  // naive copies beside a shared one fail this: twice the dense output
  const naive = await mixture(on, dense, { method: 'naive' });
  const x = inputs[0]!;
  assert.ok(Math.abs(norm(mixtureOutput(x, dense, naive, 2)) / norm(feedForward(x, dense)) - 2) < 1e-9);
});

test('T7: folded equals shared, because the weights of the chosen sum to 1', async () => {
  const shared = await mixture(on, dense, {});
  const folded = await mixture(on, dense, { anchor: 'folded' });
  assert.is(folded.shared, 0);
  for (let e = 0; e < 8; e++) {
    const correction = shared.experts[e]!.down;
    assert.ok(
      folded.experts[e]!.down.every((v, i) => v === Math.fround(dense.down[i]! + correction[i]!)),
      `${e}`,
    );
  }
  // the identity itself, in f64
  const exact = folded.experts.map(({ gate, up }, e) => ({
    gate,
    up,
    down: Float64Array.from(dense.down, (v, i) => v + shared.experts[e]!.down[i]!),
  }));
  for (const x of inputs) {
    const weights = chosen(x, folded.router, 2);
    const sum = (scale: number) =>
      weights.reduce(
        (y, [e, weight]) => feedForward(x, exact[e]!).map((v, i) => y[i]! + scale * weight * v),
        new Float64Array(x.length),
      );
    const expected = mixtureOutput(x, dense, shared, 2);
    assert.ok(worst.within('T7 folded against shared', relative(sum(1), expected), 1e-12));
    assert.ok(relative(sum(0.999), expected) > 1e-4, 'weights that sum to 0.999 are seen');
  }
});

test('T10: groups of six and two share a slice', async () => {
  const { experts } = await mixture(on, dense, { topK: 6, noise: { kind: 'none' } });
  const same = (i: number, j: number) => norm(experts[i]!.down.map((v, n) => v - experts[j]!.down[n]!)) === 0;
  for (let e = 1; e < 8; e++) assert.is(same(0, e), e < 6, `${e}`);
  assert.ok(same(6, 7));
  assert.ok(Math.abs(inner(experts[0]!.down, experts[6]!.down)) < 1e-6 * norm(experts[0]!.down) ** 2);
});

test('noise: none in groups of one unless asked, of the size that was asked, other numbers for each expert', async () => {
  const slices = await mixture(on, dense, { groupSize: 1, noise: { kind: 'none' } });
  const single = await mixture(on, dense, { groupSize: 1 });
  for (let e = 0; e < 8; e++) assert.equal(single.experts[e]!.down, slices.experts[e]!.down);
  const all = await mixture(on, dense, { groupSize: 1, noiseAll: true });
  const noises = all.experts.map(({ down }, e) => down.map((v, i) => v - slices.experts[e]!.down[i]!));
  for (const [e, noise] of noises.entries()) {
    const ratio = norm(noise) / norm(slices.experts[e]!.down);
    assert.ok(worst.within('noise ratio', Math.abs(ratio / 0.44 - 1), 0.01), `${ratio}`);
    for (let j = 0; j < e; j++) {
      assert.ok(Math.abs(inner(noise, noises[j]!)) < 0.02 * norm(noise) * norm(noises[j]!));
    }
  }
  const absolute = await mixture(on, dense, { method: 'zero-delta', noise: { kind: 'absolute', sigma: 1e-5 } });
  const size = norm(absolute.experts[0]!.down) / Math.sqrt(dense.down.length);
  assert.ok(Math.abs(size / 1e-5 - 1) < 0.01);
  const gaussian = await mixture(on, dense, { method: 'zero-delta', noise: { kind: 'relative', ratio: 1 } });
  assert.ok(Math.abs(norm(gaussian.experts[0]!.down) / (1e-3 * norm(dense.down)) - 1) < 0.01);
  const other = await mixture(on, dense, { seed: 1 });
  assert.not.equal(other.experts[0]!.down, (await mixture(on, dense, {})).experts[0]!.down);
});

test('controls: scaled copies are rho W; no partition is the same for every group', async () => {
  const copy = await mixture(on, dense, { method: 'scaled-copy', noise: { kind: 'none' } });
  const rho = Math.fround(1e-3);
  for (const { down } of copy.experts) assert.ok(down.every((v, i) => v === Math.fround(rho * dense.down[i]!)));
  const none = await mixture(on, dense, { partition: 'none', noise: { kind: 'none' } });
  for (const { down } of none.experts) assert.ok(relative(down, copy.experts[0]!.down) < 1e-6);
  assert.is(none.record.projections[0]!.largest, null);
});

test('the output type rounds what f32 has, once and to nearest even', async () => {
  const layer = await grow(on, dense, { anchor: 'folded' });
  const exact = new Float32Array((await rowBytes(layer, 5, 'down', 'f32')).buffer);
  const bits = new Uint32Array(exact.buffer);
  const bf16 = Uint16Array.from(bits, (x) => (x + 0x7fff + ((x >>> 16) & 1)) >>> 16);
  assert.equal(new Uint16Array((await rowBytes(layer, 5, 'down', 'bf16')).buffer), bf16);
  assert.equal(new Uint16Array((await rowBytes(layer, 5, 'down', 'f16')).buffer), Uint16Array.from(exact, floatToHalf));
  layer.dispose();
});

test('experts may be asked for in any order, some never, and pieces do not matter', async () => {
  const layer = await grow(on, dense, {});
  const [late, early] = [await rowBytes(layer, 7, 'down', 'bf16'), await rowBytes(layer, 0, 'down', 'bf16')];
  const record = await layer.finish('bf16');
  layer.dispose();
  const again = await grow(on, dense, {});
  for (let e = 0; e < 8; e++) {
    const rows = await rowBytes(again, e, 'down', 'bf16');
    if (e === 0) assert.equal(rows, early);
    if (e === 7) assert.equal(rows, late);
  }
  assert.equal(await again.finish('bf16'), record);
  again.dispose();
  assert.equal(JSON.parse(JSON.stringify(record)), record);
});

/** One digest of all that several plans make. */
async function digestOf(at: Ground): Promise<string> {
  const hasher = await createHasher('sha256');
  const plans: GrowRecipe[] = [
    { seed: 2 ** 53 - 1 },
    { partition: 'random-orthogonal', router: { kind: 'orthogonal' } },
    { placement: ['gate'], partition: 'strided', router: { kind: 'uniform', std: 0.02 } },
    { method: 'noise' },
    { method: 'drop', permute: false },
    { method: 'virtual-group', router: { kind: 'kaiming-uniform' } },
    { method: 'split' },
  ];
  for (const plan of plans) {
    const layer = await grow(at, dense, plan);
    hasher.update(await layer.router('bf16'));
    for (let e = 0; e < layer.experts; e++) {
      for (const projection of PROJECTIONS) {
        if (layer.routed(e, projection).kind === 'copy') continue;
        for await (const piece of layer.rows(e, projection, 'bf16')) hasher.update(piece);
      }
    }
    const { layer: number, projections: all, diversity, outputDiversity } = await layer.finish('bf16');
    const projections = all.map(({ gpu, ...own }) => {
      assert.is(gpu, null);
      return own;
    });
    const record = { layer: number, projections, diversity, outputDiversity };
    hasher.update(new TextEncoder().encode(JSON.stringify(record)));
    layer.dispose();
  }
  return hasher.hex();
}

test('the same bits, records included, in every runtime and for any number of lanes', async () => {
  // whichever micro-kernel a device has timed as the fastest
  const ways: [lanes: number, micro: number][] = [MICRO.splat5, MICRO.splat6, MICRO.lane4].map((micro) => [1, micro]);
  if (lanesPossible) ways.push([2, MICRO.splat5]);
  for (const [lanes, micro] of ways) {
    const at = await ground(lanes, { micro, dot: DOT.wide });
    try {
      assert.is(await digestOf(at), PINNED, `${lanes} lanes, micro-kernel ${micro}`);
      assert.ok(lanes === 1 || at.device.helped > 0, 'the other lane did a part');
    } finally {
      at.algebra.close();
      at.device.close();
    }
  }
});

test('progress, aborts, and what is wrong with the weights', async () => {
  const { hidden, intermediate } = dense;
  const common = { ...on, plan: resolveOptions(), layer: 0, hidden, intermediate };
  const read = async () => dense.down;
  const seen: number[] = [];
  const layer = await growLayer({ ...common, read, onProgress: (x) => seen.push(x) });
  assert.ok(seen.length > 3 && seen.at(-1) === 1 && seen.every((x, i) => i === 0 || x >= seen[i - 1]!));
  layer.dispose();
  layer.dispose();
  const code = async (work: () => Promise<unknown>) => {
    try {
      await work();
    } catch (error) {
      return (error as EspalierError).code;
    }
    return '';
  };
  assert.is(await code(() => rowBytes(layer, 0, 'down', 'bf16')), 'E_DISPOSED');
  const stop = new AbortController();
  const aborted = growLayer({ ...common, read, signal: stop.signal, onProgress: (x) => x > 0.3 && stop.abort() });
  assert.is(await code(() => aborted), 'E_ABORTED');
  const broken = dense.down.slice();
  broken[12_345] = Number.NaN;
  assert.is(await code(() => growLayer({ ...common, read: async () => broken })), 'E_TENSOR_VALUE');
  const split = resolveOptions({ method: 'split', experts: 7 });
  assert.is(await code(() => growLayer({ ...common, plan: split, read })), 'E_ARGUMENT');
  const wide = resolveOptions({ router: { kind: 'orthogonal' }, experts: 300 });
  assert.is(await code(() => growLayer({ ...common, plan: wide, read })), 'E_ARGUMENT');
});

test('the router by each law', async () => {
  const rows = async (options: GrowRecipe) => {
    const layer = await grow(on, dense, options);
    const bytes = await layer.router('f32');
    layer.dispose();
    return new Float32Array(bytes.buffer);
  };
  const std = (x: Float32Array) => norm(x) / Math.sqrt(x.length);
  const most = (x: Float32Array) => x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  const usual = await rows({ experts: 64 });
  assert.ok(Math.abs(std(usual) / 0.02 - 1) < 0.03 && most(usual) > 0.06);
  const uniform = await rows({ experts: 64, router: { kind: 'uniform', std: 0.02 } });
  assert.ok(Math.abs(std(uniform) / 0.02 - 1) < 0.03 && most(uniform) <= 0.02 * Math.sqrt(3));
  assert.ok(Math.abs(std(await rows({ experts: 64, router: { kind: 'standard-normal' } })) - 1) < 0.03);
  const bound = 1 / Math.sqrt(dense.hidden);
  for (const kind of ['kaiming-uniform', 'inverse-sqrt-uniform'] as const) {
    const x = await rows({ experts: 64, router: { kind } });
    assert.ok(most(x) <= bound && most(x) > 0.99 * bound);
  }
  const orthogonal = await rows({ router: { kind: 'orthogonal' } });
  const row = (e: number) => orthogonal.subarray(e * dense.hidden, (e + 1) * dense.hidden);
  for (let i = 0; i < 8; i++) {
    for (let j = 0; j <= i; j++) {
      const error = Math.abs(inner(row(i), row(j)) - (i === j ? 1 : 0));
      assert.ok(worst.within('orthogonal rows', error, 1e-6));
    }
  }
});

test('nothing is left on the device', () => {
  assert.equal(on.device.liveTensors(), []);
  on.algebra.close();
  on.device.close();
  worst.print();
});

test.run();
