/** Symmetric eigenvalues against LAPACK's, and what eigenvectors must be. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SymmetricEig } from '../../src/svd/index.ts';
import { Worst } from '../device/devices.ts';
import { readJson } from '../files.ts';
import { algebras, descending, difference, normal, product, transpose } from './algebras.ts';

interface Case {
  name: string;
  n: number;
  a: number[];
  values: number[];
  vectors?: number[];
}

const { eig } = (await readJson('test/fixtures/svd.json')) as { eig: Case[] };
const all = await algebras();
const worst = new Worst();

/** Bit for bit. */
function same(x: SymmetricEig<Float64Array>, y: SymmetricEig<Float64Array>): void {
  assert.is(difference(x.values, y.values), 0);
  assert.is(difference(x.vectors, y.vectors), 0);
}

/** A random symmetric matrix. */
function symmetric(n: number, seed: number): Float64Array<ArrayBuffer> {
  const x = normal(n * n, seed);
  return x.map((_, i) => x[Math.min(i, (i % n) * n + Math.floor(i / n))]!);
}

/** Q L Q^T for given eigenvalues, with a product of reflectors as Q. */
function withValues(values: readonly number[], seed: number): Float64Array<ArrayBuffer> {
  const n = values.length;
  const a = new Float64Array(n * n);
  values.forEach((v, i) => {
    a[i * (n + 1)] = v;
  });
  for (let r = 0; r < 3; r++) {
    const v = normal(n, seed + r);
    const factor = 2 / v.reduce((sum, x) => sum + x * x, 0);
    for (const side of [0, 1]) {
      for (let i = 0; i < n; i++) {
        const at = (j: number) => (side ? j * n + i : i * n + j);
        let dot = 0;
        for (let j = 0; j < n; j++) dot += a[at(j)]! * v[j]!;
        for (let j = 0; j < n; j++) a[at(j)]! -= factor * dot * v[j]!;
      }
    }
  }
  return a.map((_, i) => (a[i]! + a[(i % n) * n + Math.floor(i / n)]!) / 2);
}

test('values and vectors of small awkward matrices are LAPACK’s', async () => {
  for (const { name: variant, algebra } of all) {
    for (const { name, n, a, values, vectors } of eig) {
      const result = await algebra.symmetricEig(Float64Array.from(a), { n, quality: true });
      const most = Math.max(...values.map(Math.abs)) || 1;
      const error = difference(result.values, values) / most;
      assert.ok(worst.within('values, of the largest', error, 3e-15), `${variant}, ${name}: ${error}`);
      assert.ok(descending(result.values), name);
      const { residual, orthogonality } = result.quality!;
      assert.ok(worst.within('small: residual', residual, 5e-15), `${variant}, ${name}: ${residual}`);
      assert.ok(worst.within('small: orthogonality', orthogonality, 5e-15), `${variant}, ${name}: ${orthogonality}`);
      if (vectors) {
        for (let i = 0; i < n; i++) {
          let dot = 0;
          for (let j = 0; j < n; j++) dot += result.vectors[i * n + j]! * vectors[i * n + j]!;
          assert.ok(
            worst.within('vectors, 1 - |cos|', Math.abs(1 - Math.abs(dot)), 1e-14),
            `${variant}, ${name}: ${i}`,
          );
        }
      }
      assert.is(algebra.stats().bytesInUse, idle.get(algebra), 'memory is returned');
    }
  }
});

const idle = new Map(all.map(({ algebra }) => [algebra, algebra.stats().bytesInUse]));

test('random matrices of every size around the panels and blocks', async () => {
  for (const { name, algebra } of all) {
    const sizes = name.includes('lanes') ? [130, 300] : [4, 5, 6, 7, 31, 32, 33, 63, 64, 65, 66, 97, 130, 300];
    for (const n of sizes) {
      const a = symmetric(n, n);
      const { values, quality } = await algebra.symmetricEig(a, { n, quality: true });
      assert.ok(descending(values));
      const trace = values.reduce((x, y) => x + y, 0);
      let want = 0;
      for (let i = 0; i < n; i++) want += a[i * (n + 1)]!;
      assert.ok(Math.abs(trace - want) < 1e-12 * n, `${name} ${n}`);
      assert.ok(worst.within('random: residual', quality!.residual, 1e-14), `${name} ${n}: ${quality!.residual}`);
      assert.ok(worst.within('random: orthogonality', quality!.orthogonality, 1e-14), `${name} ${n}`);
    }
  }
});

test('spectra that deflate: equal, clustered, graded, few, one far away', async () => {
  const n = 150;
  const spectra: Record<string, (i: number) => number> = {
    equal: () => 3,
    'two values': (i) => (i % 2 ? 1 : -2),
    clustered: (i) => 1 + 1e-14 * i,
    'ten clusters': (i) => (i % 10) + 1e-11 * i,
    graded: (i) => 10 ** (-0.11 * i),
    'rank 5': (i) => (i < 5 ? i + 1 : 0),
    'one far away': (i) => (i === 0 ? 1e12 : i / n),
    integers: (i) => i - 70,
  };
  for (const { name: variant, algebra } of all) {
    for (const [name, value] of Object.entries(spectra)) {
      const wanted = Array.from({ length: n }, (_, i) => value(i));
      const { values, quality } = await algebra.symmetricEig(withValues(wanted, 77), { n, quality: true });
      const sorted = Float64Array.from(wanted).sort().reverse();
      const error = difference(values, sorted) / Math.max(...wanted.map(Math.abs));
      assert.ok(worst.within('spectra: values, of the largest', error, 2e-14), `${variant}, ${name}: ${error}`);
      assert.ok(
        worst.within('spectra: residual', quality!.residual, 1e-14),
        `${variant}, ${name}: ${quality!.residual}`,
      );
      assert.ok(worst.within('spectra: orthogonality', quality!.orthogonality, 1e-14), `${variant}, ${name}`);
    }
  }
});

test('quality is what plain loops measure, and small for f32 as well', async () => {
  const { algebra } = all[0]!;
  const n = 40;
  const a = Float32Array.from(symmetric(n, 5));
  const result = await algebra.symmetricEig(a, { n, quality: true });
  assert.ok(result.vectors instanceof Float32Array);
  const av = product(n, n, n, result.vectors, a);
  let missed = 0;
  for (let i = 0; i < n * n; i++) missed += (av[i]! - result.values[Math.floor(i / n)]! * result.vectors[i]!) ** 2;
  const residual = Math.sqrt(missed / a.reduce((sum, v) => sum + v * v, 0));
  assert.ok(Math.abs(residual - result.quality!.residual) < 1e-12);
  assert.ok(worst.within('f32: residual', residual, 1e-6));
  const gram = product(n, n, n, result.vectors, transpose(n, n, result.vectors));
  const identity = gram.map((_, i) => (i % (n + 1) === 0 ? 1 : 0));
  assert.ok(Math.abs(difference(gram, identity) - result.quality!.orthogonality) < 1e-12);
  assert.is((await algebra.symmetricEig(a, { n })).quality, null);
});

test('only the upper triangle is read', async () => {
  const { algebra } = all[0]!;
  const n = 37;
  const a = symmetric(n, 6);
  const upper = a.map((v, i) => (i % n < Math.floor(i / n) ? 1e5 : v));
  same(await algebra.symmetricEig(upper, { n }), await algebra.symmetricEig(a, { n }));
});

test('lanes do not change a bit', async () => {
  for (const { name, algebra } of all) {
    if (!name.includes('lanes')) continue;
    const one = all.find((x) => x.name === name.split(',')[0])!.algebra;
    const a = symmetric(260, 8);
    same(await algebra.symmetricEig(a, { n: 260 }), await one.symmetricEig(a, { n: 260 }));
  }
});

test.after(() => {
  for (const { algebra } of all) algebra.close();
  worst.print();
});
test.run();
