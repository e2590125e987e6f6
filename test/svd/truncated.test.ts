/** Leading singular triplets, exact and from a sketch, and the errors that they state; the normal numbers behind the sketch. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fillNormal } from '../../src/svd/normal.ts';
import { Worst } from '../device/devices.ts';
import { algebras, descending, difference, measured, normal, product } from './algebras.ts';

const all = await algebras();
const worst = new Worst();
const [rows, columns] = [180, 110];

/** Random singular vectors with these values. */
async function withValues(value: (i: number) => number): Promise<Float64Array<ArrayBuffer>> {
  const { u, vt } = await all[0]!.algebra.svd(normal(rows * columns, 1), { rows, columns });
  const us = u.map((v, i) => v * value(i % columns));
  return product(rows, columns, columns, us, vt) as Float64Array<ArrayBuffer>;
}

const tail = (s: Float64Array, rank: number) => Math.sqrt(s.slice(rank).reduce((sum, v) => sum + v * v, 0));

test('truncated: the leading part of the full decomposition, with the exact error', async () => {
  const a = normal(rows * columns, 3);
  const energy = Math.sqrt(a.reduce((sum, v) => sum + v * v, 0));
  for (const { name, algebra } of all) {
    const full = await algebra.svd(a, { rows, columns });
    for (const accuracy of ['norm', 'relative'] as const) {
      for (const rank of [1, 37, columns]) {
        const result = await algebra.truncatedSvd(a, { rows, columns, rank, accuracy, quality: true });
        assert.is(result.u.length, rows * rank);
        assert.is(result.vt.length, rank * columns);
        assert.ok(difference(result.s, full.s.slice(0, rank)) < 1e-12, name);
        assert.ok(Math.abs(result.error.frobenius - tail(full.s, rank)) < 1e-11, name);
        assert.ok(Math.abs(result.error.spectral - (full.s[rank] ?? 0)) < 1e-11, name);
        const { residual } = measured(rows, columns, a, result);
        assert.ok(Math.abs(residual - result.error.frobenius / energy) < 1e-13, name);
        assert.ok(worst.within('truncated: orthogonality', result.quality!.orthogonality, 1e-14), name);
      }
    }
  }
});

test('randomized: near the best where values fall, with an error that holds', async () => {
  const spectra: Record<string, (i: number) => number> = {
    'falling fast': (i) => 0.7 ** i,
    'falling slowly': (i) => 1 / (i + 1),
    'rank 12': (i) => (i < 12 ? 12 - i : 0),
    noise: (i) => 1 - i / 500,
  };
  for (const [name, value] of Object.entries(spectra)) {
    const a = await withValues(value);
    for (const { name: variant, algebra } of all) {
      for (const [rank, powerIterations] of [
        [15, 0],
        [15, 2],
        [1, 1],
      ] as const) {
        const where = `${variant}, ${name}, rank ${rank}, ${powerIterations} iterations`;
        const result = await algebra.randomizedSvd(a, { rows, columns, rank, powerIterations, seed: 7, quality: true });
        const best = Float64Array.from({ length: columns }, (_, i) => value(i));
        assert.ok(descending(result.s), where);
        assert.ok(worst.within('randomized: orthogonality', result.quality!.orthogonality, 1e-14), where);
        // the error it states is the error it has
        const { residual } = measured(rows, columns, a, result);
        const stated = result.error.frobenius / Math.sqrt(best.reduce((sum, v) => sum + v * v, 0));
        assert.ok(Math.abs(residual - stated) < 1e-13 + 1e-6 * stated, `${where}: ${residual} ${stated}`);
        const best2 = value(rank);
        const missed = await spectralError(a, result, rank);
        assert.ok(missed <= result.error.spectral + 1e-13, `${where}: ${missed} above ${result.error.spectral}`);
        assert.ok(result.error.spectral <= result.error.frobenius && result.error.failure <= 1e-9);
        if (powerIterations === 2) {
          const off = residual - tail(best, rank) / Math.sqrt(best.reduce((sum, v) => sum + v * v, 0));
          assert.ok(
            worst.within('randomized: residual beyond the best, two iterations', off, 1e-2),
            `${where}: ${off}`,
          );
          assert.ok(missed <= 1.1 * best2 + 1e-12, `${where}: ${missed} ${best2}`);
        }
      }
    }
  }
});

async function spectralError(
  a: Float64Array,
  result: { u: Float64Array; s: Float64Array; vt: Float64Array },
  rank: number,
): Promise<number> {
  const us = result.u.map((v, i) => v * result.s[i % rank]!);
  const rest = product(rows, columns, rank, us, result.vt).map((v, i) => a[i]! - v) as Float64Array<ArrayBuffer>;
  return (await all[0]!.algebra.svd(rest, { rows, columns })).s[0]!;
}

test('randomized: wide, all of the rank, f32, and zero', async () => {
  for (const { algebra } of all) {
    const a = normal(40 * 90, 5);
    const wide = await algebra.randomizedSvd(a, { rows: 40, columns: 90, rank: 40, quality: true });
    assert.ok(wide.quality!.residual < 1e-13 && wide.error.frobenius < 1e-12, String(wide.quality!.residual));
    const { s } = await algebra.svd(a, { rows: 40, columns: 90 });
    assert.ok(difference(wide.s, s) < 1e-12);
    const single = await algebra.randomizedSvd(Float32Array.from(a), { rows: 40, columns: 90, rank: 40 });
    assert.ok(single.u instanceof Float32Array && difference(single.s, s) < 1e-5);
    const zero = await algebra.randomizedSvd(new Float64Array(30), { rows: 5, columns: 6, rank: 2, quality: true });
    assert.equal([...zero.s], [0, 0]);
    assert.equal(zero.quality, { residual: 0, orthogonality: 0 });
    assert.is(zero.error.frobenius, 0);
  }
});

test('randomized: the seed decides, and nothing else', async () => {
  const a = normal(rows * columns, 6);
  const { algebra } = all[0]!;
  const run = (seed: number) => algebra.randomizedSvd(a, { rows, columns, rank: 5, powerIterations: 0, seed });
  const [one, again, other] = [await run(1), await run(1), await run(2)];
  assert.is(difference(one.u, again.u), 0);
  assert.ok(difference(one.s, other.s) > 1e-6);
});

test('normal numbers: moments, streams, and by counter', () => {
  const n = 100_000;
  const x = new Float64Array(n);
  fillNormal(x, 42);
  const moment = (p: number) => x.reduce((sum, v) => sum + v ** p, 0) / n;
  // five standard errors
  assert.ok(Math.abs(moment(1)) < 5 / Math.sqrt(n));
  assert.ok(Math.abs(moment(2) - 1) < 5 * Math.sqrt(2 / n));
  assert.ok(Math.abs(moment(3)) < 5 * Math.sqrt(15 / n));
  assert.ok(Math.abs(moment(4) - 3) < 5 * Math.sqrt(96 / n));
  let lagged = 0;
  for (let i = 1; i < n; i++) lagged += x[i]! * x[i - 1]!;
  assert.ok(Math.abs(lagged / n) < 5 / Math.sqrt(n));
  const short = new Float64Array(7);
  fillNormal(short, 42);
  assert.equal(short, x.slice(0, 7));
  fillNormal(short, 42, 1);
  assert.ok(difference(short, x.slice(0, 7)) > 0.1);
  fillNormal(short, 2 ** 40 + 42);
  assert.ok(difference(short, x.slice(0, 7)) > 0.1);
});

test.after(() => {
  for (const { algebra } of all) algebra.close();
  worst.print();
});
test.run();
