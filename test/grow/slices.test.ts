/** The slices of a projection: T1 to T4 of the specification, and partitions. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EspalierError } from '../../src/errors.ts';
import { shapeOf } from '../../src/grow/methods/method.ts';
import { evenSplit, partitionSpectrum } from '../../src/grow/methods/partition.ts';
import { Slices } from '../../src/grow/methods/slices.ts';
import type { GrowRecipe } from '../../src/grow/plan/options.ts';
import { resolveOptions } from '../../src/grow/plan/recipe.ts';
import type { Partition, Projection } from '../../src/grow/types.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { readJson } from '../files.ts';
import { normal, product } from '../svd/algebras.ts';
import { ground, inner, nanoLayer, norm, relative } from './layers.ts';

const worst = new Worst();
const on = await ground();
const golden = await readJson('test/fixtures/spri.json');

async function slices(
  w: Float32Array,
  rows: number,
  columns: number,
  options: GrowRecipe = {},
  projection: Projection = 'down',
  blocks = 4,
): Promise<{ made: Slices; r: Float32Array[] }> {
  const plan = resolveOptions(options);
  const made = await Slices.make({ ...on, plan, layer: 3, projection, blocks, w, rows, columns });
  const r: Float32Array[] = [];
  for (let g = 0; g < blocks; g++) r.push((await on.device.read(await made.slice(g))) as Float32Array);
  made.dispose();
  return { made, r };
}

const sum = (r: readonly Float32Array[]) =>
  Float64Array.from({ length: r[0]!.length }, (_, i) => r.reduce((s, x) => s + x[i]!, 0));
const largestCosine = (r: readonly Float32Array[]) =>
  r.reduce(
    (most, x, g) => r.slice(g + 1).reduce((m, y) => Math.max(m, Math.abs(inner(x, y)) / (norm(x) * norm(y))), most),
    0,
  );

/** Orthonormal factors, and singular values from 1 to 1e-6. */
async function graded(rows: number, columns: number): Promise<Float32Array> {
  const r = Math.min(rows, columns);
  const { u, vt } = await on.algebra.svd(normal(rows * columns, 9), { rows, columns });
  const scaled = u.map((x, i) => x * 10 ** ((-6 * (i % r)) / (r - 1)));
  return Float32Array.from(product(rows, columns, r, scaled, vt));
}

test('T4: alphas, energies, gaps and slices are those of LAPACK, without fixing signs', async () => {
  for (const one of golden.cases) {
    const dense = await nanoLayer(one.layer);
    const projection = one.projection as Projection;
    const [rows, columns] = shapeOf(projection, dense.hidden, dense.intermediate);
    const name = `${one.layer} ${projection}`;
    const { made, r } = await slices(dense[projection], rows, columns, {}, projection);
    assert.is(made.record.decomposition, 'gram');
    assert.ok(worst.within('largest singular value', Math.abs(made.record.largest! / one.s[0] - 1), 1e-13), name);
    assert.ok(worst.within('smallest singular value', Math.abs(made.record.smallest! / one.s.at(-1) - 1), 1e-12), name);
    assert.ok(worst.within('norm', Math.abs(made.record.norm / one.norm - 1), 1e-13), name);
    made.record.boundaryGaps.forEach((gap, i) => {
      assert.ok(worst.within('boundary gap', Math.abs(gap - one.gaps[i]), 1e-12), name);
    });
    assert.is(made.record.boundaryGaps.length, 3);
    for (const [g, slice] of one.slices.entries()) {
      assert.ok(worst.within('alpha', Math.abs(made.alphas[g]! / slice.alpha - 1), 1e-12), name);
      assert.ok(worst.within('block energy', Math.abs(made.record.blockEnergies[g]! / slice.energy - 1), 1e-12), name);
      assert.ok(worst.within('slice norm', Math.abs(norm(r[g]!) / slice.norm - 1), 1e-6), name);
      const typical = slice.norm / Math.sqrt(rows * columns);
      slice.entries.forEach((x: number, i: number) => {
        const got = r[g]![((37 * i) % rows) * columns + ((101 * i) % columns)]!;
        assert.ok(worst.within('slice entry, of a typical one', Math.abs(got - x) / typical, 1e-5), name);
      });
      let checksum = 0;
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) checksum += Math.cos(i) * r[g]![i * columns + j]! * Math.sin(j);
      }
      assert.ok(worst.within('checksum, of the norm', Math.abs(checksum - slice.checksum) / slice.norm, 1e-5), name);
    }
    // another partition is seen
    const strided = await slices(dense[projection], rows, columns, { partition: 'strided' }, projection);
    assert.ok(Math.abs(strided.made.alphas[0]! / one.slices[0].alpha - 1) > 0.1, name);
  }
});

test('T1, T2, T3: slices sum to W, are orthogonal, and alpha scales each to rho ||W||', async () => {
  const dense = await nanoLayer(3);
  const cases: [name: string, w: Float32Array, rows: number, columns: number][] = [
    ['down', dense.down, 256, 768],
    ['gate', dense.gate, 768, 256],
    ['graded', await graded(96, 160), 96, 160],
    ['graded, tall', await graded(160, 96), 160, 96],
  ];
  const partitions: Partition[] = ['contiguous', 'equal-energy', 'strided', 'random', 'random-orthogonal'];
  for (const [name, w, rows, columns] of cases) {
    for (const partition of partitions) {
      const { made, r } = await slices(w, rows, columns, { partition });
      const label = `${name}, ${partition}`;
      assert.ok(worst.within('T1 sum of slices', relative(sum(r), w), 1e-5), label);
      assert.ok(worst.within('T2 cosine of slices', largestCosine(r), 1e-6), label);
      r.forEach((x, g) => {
        assert.ok(worst.within('T3 norm', Math.abs((made.alphas[g]! * norm(x)) / (1e-3 * norm(w)) - 1), 1e-4), label);
      });
      assert.ok(Math.abs(made.record.blockEnergies.reduce((a, b) => a + b) - 1) < 1e-5, label);
    }
    // what must fail
    const { made, r } = await slices(w, rows, columns, { normalise: 'global' });
    assert.ok(relative(sum(r.slice(0, 3)), w) > 1e-5 || name.startsWith('graded'), name);
    assert.ok(relative(sum(r.slice(1)), w) > 0.1, name);
    assert.ok(largestCosine([w, ...r]) > 0.1, name);
    assert.ok(
      r.some((x, g) => Math.abs((made.alphas[g]! * norm(x)) / (1e-3 * norm(w)) - 1) > 0.1),
      name,
    );
  }
});

test('a graded matrix is decomposed in full, and its small blocks keep their digits', async () => {
  const [rows, columns] = [96, 160];
  const w = await graded(rows, columns);
  const { made, r } = await slices(w, rows, columns);
  assert.is(made.record.decomposition, 'svd');
  const exact = Float64Array.from(w);
  const { u, s, vt } = await on.algebra.svd(exact, { rows, columns });
  for (const [g, [from, to]] of evenSplit(rows, 4).entries()) {
    const block = new Float64Array(rows * columns);
    for (let j = from; j < to; j++) {
      for (let i = 0; i < rows; i++) {
        for (let c = 0; c < columns; c++) block[i * columns + c]! += u[i * rows + j]! * s[j]! * vt[j * columns + c]!;
      }
    }
    assert.ok(worst.within('graded slice', relative(r[g]!, block), 1e-5), `${g}`);
  }
  // in f32, taken out of W, the last block is mostly rounding
  const last = Float32Array.from(u.filter((_, i) => i % rows >= 72));
  const [basis, across, back] = [
    on.device.tensor('f32', [rows, 24]),
    on.device.tensor('f32', [24, columns]),
    on.device.tensor('f32', [rows, columns]),
  ];
  const full = on.device.tensor('f32', [rows, columns]);
  on.device.write(basis, last);
  on.device.write(full, w);
  on.device.matmul(basis, full, across, { transposeA: true });
  on.device.matmul(basis, across, back);
  assert.ok(relative((await on.device.read(back)) as Float32Array, r[3]!) > 1e-3);
  for (const t of [basis, across, back, full]) t.dispose();
});

test('partitions: sizes, cuts, strides, and what they leave out', () => {
  const s = Float64Array.of(8, 4, 2, 2, 1, 1, 1, 1, 1, 1);
  const cut = (partition: Partition, blocks: number) => partitionSpectrum(s, partition, blocks, 1, [0, 0]);
  assert.equal(cut('contiguous', 4).members, [
    [0, 1, 2],
    [3, 4, 5],
    [6, 7],
    [8, 9],
  ]);
  assert.equal(cut('contiguous', 4).boundaries, [2, 5, 7]);
  // squares 64 16 4 4 1 1 1 1 1 1, 94 in all
  assert.equal(cut('equal-energy', 2).members, [[0], [1, 2, 3, 4, 5, 6, 7, 8, 9]]);
  assert.equal(cut('equal-energy', 4).members, [[0], [1], [2], [3, 4, 5, 6, 7, 8, 9]]);
  assert.equal(cut('strided', 3).members, [
    [0, 3, 6, 9],
    [1, 4, 7],
    [2, 5, 8],
  ]);
  assert.is(cut('strided', 3).boundaries.length, 9);
  assert.equal(cut({ tailDrop: 4 }, 2).members, [
    [4, 5, 6],
    [7, 8, 9],
  ]);
  assert.equal(cut({ tailDrop: 4 }, 2).boundaries, [3, 6]);
  assert.equal(cut({ headKeep: 3 }, 2).members, [[0, 1], [2]]);
  const random = cut('random', 3).members;
  assert.equal(
    random.flat().sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  assert.not.equal(random, cut('contiguous', 3).members);
  assert.equal(
    random.map((block) => block.length),
    [4, 3, 3],
  );
  assert.throws(
    () => cut({ headKeep: 3 }, 4),
    (error: EspalierError) => error.code === 'E_ARGUMENT',
  );
});

test('rules of alpha; blocks in another order; a matrix of low rank and one of zeros', async () => {
  const { down } = await nanoLayer(3);
  const plain = (await slices(down, 256, 768)).made;
  const by = async (options: GrowRecipe) => (await slices(down, 256, 768, options)).made;
  assert.equal((await by({ normalise: 'global' })).alphas, [1e-3, 1e-3, 1e-3, 1e-3]);
  assert.equal((await by({ normalise: 'none' })).alphas, [1, 1, 1, 1]);
  const spectral = await by({ normalise: 'spectral' });
  assert.is(spectral.alphas[0], 1e-3);
  assert.ok(spectral.alphas.every((a, g) => g === 0 || a > spectral.alphas[g - 1]!));
  // the largest singular value of every correction is rho s_1
  const s = golden.cases[1].s;
  for (const [g, a] of spectral.alphas.entries()) assert.ok(Math.abs((a * s[64 * g]) / (1e-3 * s[0]) - 1) < 1e-12);
  const shuffled = (await by({ shuffle: true, seed: 1 })).alphas;
  assert.not.equal(shuffled, plain.alphas);
  assert.equal([...shuffled].sort(), [...plain.alphas].sort());

  // rank 16 of 64: three of four blocks are nothing
  const low = Float32Array.from(product(64, 80, 16, normal(64 * 16, 1), normal(16 * 80, 2)));
  for (let i = 0; i < low.length; i++) low[i] = Math.round(low[i]! * 4) * (i % 80 < 8 ? 1 : 0);
  await rejects('E_ARGUMENT', () => slices(low, 64, 80));
  // so small a largest value would be made as large as the first: of rounding errors
  await rejects('E_ARGUMENT', () => slices(low, 64, 80, { normalise: 'spectral' }));
  assert.is((await slices(low, 64, 80, { partition: 'equal-energy' }, 'down', 2)).r.length, 2);
  for (const partition of ['contiguous', 'random-orthogonal', 'none'] as const) {
    const zero = await rejects('E_TENSOR_VALUE', () => slices(new Float32Array(64 * 80), 64, 80, { partition }));
    assert.match(zero.message, /all zeros/);
  }
});

test('nothing is left on the device', () => {
  assert.equal(on.device.liveTensors(), []);
  on.algebra.close();
  on.device.close();
  worst.print();
});

test.run();
