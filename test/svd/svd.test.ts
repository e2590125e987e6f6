/** Thin SVD against LAPACK's, against high precision where small values must keep their digits, and what the factors must be. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Svd } from '../../src/svd/index.ts';
import { Worst } from '../device/devices.ts';
import { readJson } from '../files.ts';
import { algebras, descending, difference, measured, normal, product, transpose } from './algebras.ts';

interface Case {
  name: string;
  rows: number;
  columns: number;
  a: number[];
  s: number[];
  u?: number[];
  vt?: number[];
}

const fixture = (await readJson('test/fixtures/svd.json')) as { svd: Case[]; relative: Case[] };
const all = await algebras();
const idle = new Map(all.map(({ algebra }) => [algebra, algebra.stats().bytesInUse]));
const worst = new Worst();

/** Largest |1 - |u_i · w_i|| of columns, sign-free. */
function apart(rows: number, k: number, u: ArrayLike<number>, w: ArrayLike<number>): number {
  let most = 0;
  for (let j = 0; j < k; j++) {
    let dot = 0;
    for (let i = 0; i < rows; i++) dot += u[i * k + j]! * w[i * k + j]!;
    most = Math.max(most, Math.abs(1 - Math.abs(dot)));
  }
  return most;
}

for (const accuracy of ['norm', 'relative'] as const) {
  test(`${accuracy}: values and vectors of small awkward matrices are LAPACK’s`, async () => {
    for (const { name: variant, algebra } of all) {
      for (const { name, rows, columns, a, s, u, vt } of fixture.svd) {
        const where = `${variant}, ${name}`;
        const k = s.length;
        const result = await algebra.svd(Float64Array.from(a), { rows, columns, accuracy, quality: true });
        assert.is(result.u.length, rows * k);
        assert.is(result.vt.length, k * columns);
        assert.ok(descending(result.s) && result.s.at(-1)! >= 0, where);
        const error = difference(result.s, s) / (s[0] || 1);
        assert.ok(worst.within(`${accuracy}: values, of the largest`, error, 5e-15), `${where}: ${error}`);
        const { residual, orthogonality } = result.quality!;
        assert.ok(worst.within(`${accuracy}, small: residual`, residual, 5e-15), `${where}: ${residual}`);
        assert.ok(
          worst.within(`${accuracy}, small: orthogonality`, orthogonality, 5e-15),
          `${where}: ${orthogonality}`,
        );
        if (u && vt) {
          const angle = Math.max(
            apart(rows, k, result.u, u),
            apart(columns, k, transpose(k, columns, result.vt), transpose(k, columns, vt)),
          );
          assert.ok(worst.within('vectors, 1 - |cos|', angle, 1e-14), `${where}: ${angle}`);
        }
        assert.is(algebra.stats().bytesInUse, idle.get(algebra), 'memory is returned');
      }
    }
  });
}

test('relative: every digit of small singular values of column-graded matrices, which ‘norm’ loses', async () => {
  for (const { name: variant, algebra } of all) {
    for (const { name, rows, columns, a, s } of fixture.relative) {
      const error = (result: Svd<Float64Array>) => Math.max(...s.map((v, i) => Math.abs(result.s[i]! / v - 1)));
      const options = { rows, columns, quality: true };
      const result = await algebra.svd(Float64Array.from(a), { ...options, accuracy: 'relative' });
      const own = error(result);
      assert.ok(worst.within('relative: error of each value', own, 1e-13), `${variant}, ${name}: ${own}`);
      assert.ok(worst.within('relative: orthogonality', result.quality!.orthogonality, 5e-15), `${variant}, ${name}`);
      // the fixtures would prove nothing if the usual way passed them
      assert.ok(error(await algebra.svd(Float64Array.from(a), options)) > 1e-9, name);
    }
  }
});

test('relative: vectors of column-graded matrices have a small residual column by column', async () => {
  const { algebra } = all[0]!;
  for (const { name, rows, columns, a } of fixture.relative) {
    if (rows < columns) continue;
    const { u, s, vt } = await algebra.svd(Float64Array.from(a), { rows, columns, accuracy: 'relative' });
    const k = s.length;
    const us = u.map((v, i) => v * s[i % k]!);
    const c = product(rows, columns, k, us, vt);
    // A V = U S row by row of S: the residual belonging to s_i is small beside s_i
    const av = product(rows, k, columns, a, transpose(k, columns, vt));
    let most = 0;
    for (let i = 0; i < rows * k; i++) most = Math.max(most, Math.abs(av[i]! - us[i]!) / s[0]!);
    assert.ok(worst.within('relative: ||A V - U S||', Math.max(most, difference(c, a) / s[0]!), 1e-14), name);
  }
});

test('random matrices of every shape around the panels and the tall limit', async () => {
  const shapes = [
    [6, 5],
    [31, 31],
    [32, 32],
    [33, 33],
    [65, 64],
    [64, 65],
    [95, 64],
    [96, 64],
    [97, 64],
    [200, 33],
    [33, 200],
    [130, 129],
    [300, 210],
    [210, 300],
  ] as const;
  for (const { name, algebra } of all) {
    for (const [rows, columns] of name.includes('lanes') ? shapes.slice(-2) : shapes) {
      const a = normal(rows * columns, rows + columns);
      const result = await algebra.svd(a, { rows, columns, quality: true });
      const { residual, orthogonality } = result.quality!;
      assert.ok(descending(result.s), `${name} ${rows} ${columns}`);
      const energy = Math.sqrt(result.s.reduce((sum, v) => sum + v * v, 0) / a.reduce((sum, v) => sum + v * v, 0));
      assert.ok(Math.abs(energy - 1) < 1e-13);
      assert.ok(worst.within('random: residual', residual, 1e-14), `${name} ${rows} ${columns}: ${residual}`);
      assert.ok(worst.within('random: orthogonality', orthogonality, 1e-14), `${name} ${rows} ${columns}`);
    }
  }
});

test('spectra that deflate: equal, clustered, graded to 1e-15 and to 1e-40, few, two scales', async () => {
  const [rows, columns] = [150, 120];
  const spectra: Record<string, (i: number) => number> = {
    equal: () => 3,
    clustered: (i) => 1 - 1e-14 * i,
    'ten clusters': (i) => 10 - Math.floor(i / 12) - 1e-11 * i,
    'graded to 1e-15': (i) => 10 ** ((-15 * i) / 119),
    'graded to 1e-40': (i) => 10 ** ((-40 * i) / 119),
    'rank 5': (i) => (i < 5 ? 5 - i : 0),
    'two scales': (i) => (i < 60 ? 1 - i / 1000 : 1e-12 * (1 - i / 1000)),
  };
  const { algebra: maker } = all[0]!;
  const { u, vt } = await maker.svd(normal(rows * columns, 1), { rows, columns });
  for (const { name: variant, algebra } of all) {
    for (const [name, value] of Object.entries(spectra)) {
      const s = Float64Array.from({ length: columns }, (_, i) => value(i));
      const us = u.map((v, i) => v * s[i % columns]!);
      const a = product(rows, columns, columns, us, vt) as Float64Array<ArrayBuffer>;
      for (const accuracy of ['norm', 'relative'] as const) {
        if (accuracy === 'relative' && variant.includes('lanes')) continue;
        const result = await algebra.svd(a, { rows, columns, accuracy, quality: true });
        const error = difference(result.s, s) / s[0]!;
        const where = `${variant}, ${name}, ${accuracy}`;
        assert.ok(worst.within('spectra: values, of the largest', error, 2e-14), `${where}: ${error}`);
        assert.ok(
          worst.within('spectra: residual', result.quality!.residual, 1e-14),
          `${where}: ${result.quality!.residual}`,
        );
        assert.ok(worst.within('spectra: orthogonality', result.quality!.orthogonality, 1e-14), where);
      }
    }
  }
});

test('denormal numbers: as good as their own few digits', async () => {
  const [rows, columns] = [9, 6];
  const whole = normal(rows * columns, 4).map((v) => Math.round(v * 1000));
  const tiny = 2 ** -1070;
  for (const { algebra } of all) {
    for (const accuracy of ['norm', 'relative'] as const) {
      const { s: want } = await algebra.svd(whole, { rows, columns, accuracy });
      const { s, u, vt, quality } = await algebra.svd(
        whole.map((v) => v * tiny),
        { rows, columns, accuracy, quality: true },
      );
      assert.is(
        difference(
          s,
          want.map((v) => v * tiny),
        ),
        0,
      );
      assert.ok(quality!.orthogonality < 5e-15 && u.every(Number.isFinite) && vt.every(Number.isFinite));
      // singular values are rounded to denormal ones
      assert.ok(quality!.residual < 1e-3, String(quality!.residual));
    }
  }
});

test('quality is what plain loops measure; f32 in gives f32 out', async () => {
  const [rows, columns] = [50, 30];
  const a = Float32Array.from(normal(rows * columns, 8));
  for (const { name, algebra } of all) {
    for (const [x, m, n] of [
      [a, rows, columns],
      [a, columns, rows],
    ] as const) {
      const result = await algebra.svd(x, { rows: m, columns: n, quality: true });
      assert.ok(result.u instanceof Float32Array && result.vt instanceof Float32Array);
      assert.ok(result.s instanceof Float64Array);
      const plain = measured(m, n, x, result);
      assert.ok(worst.within('f32: residual', plain.residual, 3e-7), `${name}: ${plain.residual}`);
      assert.ok(worst.within('f32: orthogonality', plain.orthogonality, 1e-6), `${name}: ${plain.orthogonality}`);
      assert.ok(Math.abs(plain.residual - result.quality!.residual) < 1e-13);
      assert.ok(Math.abs(plain.orthogonality - result.quality!.orthogonality) < 1e-13);
    }
  }
});

test('lanes do not change a bit', async () => {
  const [rows, columns] = [400, 200];
  const a = normal(rows * columns, 12);
  for (const { name, algebra } of all) {
    if (!name.includes('lanes')) continue;
    const one = await all.find((x) => x.name === name.split(',')[0])!.algebra.svd(a, { rows, columns });
    const two = await algebra.svd(a, { rows, columns });
    for (const key of ['u', 's', 'vt'] as const) assert.is(difference(one[key], two[key]), 0, `${name}: ${key}`);
  }
});

test.after(() => {
  for (const { algebra } of all) algebra.close();
  worst.print();
});
test.run();
