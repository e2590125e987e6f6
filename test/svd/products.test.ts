/** The f64 kernels against plain loops, on every SIMD variant. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { plain, transposed, Workspace } from '../../src/svd/blas.ts';
import { LinearAlgebra } from '../../src/svd/index.ts';
import { reflector } from '../../src/svd/reflectors.ts';
import { Worst } from '../device/devices.ts';
import { readText } from '../files.ts';
import { algebras, difference, kernelSets, lanesPossible, normal, product, transpose } from './algebras.ts';

const sets = await kernelSets();
const worst = new Worst();
const EPS = 2 ** -53;

/** Shapes around the tiles' (5, 6 and 4), the blocks' (120, 256) and beyond the columns of a block (1024). */
const SHAPES = [
  [1, 1, 1],
  [6, 4, 3],
  [5, 8, 2],
  [7, 9, 5],
  [12, 3, 300],
  [121, 31, 17],
  [64, 65, 257],
  [130, 1030, 20],
] as const;

test('gemm64: every layout, alpha, accumulation', () => {
  for (const { name, blas } of sets) {
    for (const [m, n, k] of SHAPES) {
      const workspace = new Workspace(blas.memory);
      const a = normal(m * k, m);
      const b = normal(k * n, n + 1);
      const c0 = normal(m * n, k + 2);
      const want = product(m, n, k, a, b);
      const put = (x: Float64Array) => {
        const at = workspace.numbers(x.length);
        blas.heap.set(x, at / 8);
        return at;
      };
      const as = [plain(put(a), 8 * k), transposed(put(transpose(m, k, a)), 8 * m)];
      const bs = [plain(put(b), 8 * n), transposed(put(transpose(k, n, b)), 8 * k)];
      const c = workspace.numbers(m * n);
      for (const x of as) {
        for (const y of bs) {
          blas.gemm(m, n, k, 1, x, y, c, 8 * n, false);
          const error = difference(blas.view(c, m * n), want) / Math.sqrt(k);
          assert.ok(worst.within('product, over sqrt K', error, 5e-15), `${name} ${m} ${n} ${k}: ${error}`);
          blas.heap.set(c0, c / 8);
          blas.gemm(m, n, k, -0.5, x, y, c, 8 * n, true);
          const sum = want.map((v, i) => c0[i]! - 0.5 * v);
          const added = difference(blas.view(c, m * n), sum) / Math.sqrt(k);
          assert.ok(worst.within('product, over sqrt K', added, 5e-15), `${name} ${m} ${n} ${k} accumulated: ${added}`);
        }
      }
      workspace.release();
    }
  }
});

test('gemm64 with a diagonal computes the upper triangle and leaves most of the rest alone', () => {
  for (const { name, blas } of sets) {
    const workspace = new Workspace(blas.memory);
    const [n, k] = [150, 9];
    const a = normal(n * k, 3);
    const at = workspace.numbers(n * k);
    const c = workspace.numbers(n * n);
    blas.heap.set(a, at / 8);
    blas.heap.fill(7, c / 8, c / 8 + n * n);
    blas.gemm(n, n, k, 1, plain(at, 8 * k), transposed(at, 8 * k), c, 8 * n, false, 0);
    const want = product(n, n, k, a, transpose(n, k, a));
    const got = blas.view(c, n * n);
    for (let i = 0; i < n; i++) {
      for (let j = i; j < n; j++) assert.ok(Math.abs(got[i * n + j]! - want[i * n + j]!) < 1e-13, `${name} ${i} ${j}`);
      for (let j = 0; j < i - 9; j++) assert.is(got[i * n + j], 7, `${name} ${i} ${j}`);
    }
    blas.kernels.mirror64(n, c, 8 * n);
    assert.ok(difference(blas.view(c, n * n), want) < 1e-13);
    workspace.release();
  }
});

test('matrix times vector: rows, columns, symmetric, rank one', () => {
  for (const { name, blas } of sets) {
    const { kernels } = blas;
    for (const [m, n] of [
      [1, 1],
      [4, 4],
      [7, 5],
      [9, 16],
      [33, 50],
    ] as const) {
      const workspace = new Workspace(blas.memory);
      const a = workspace.numbers(m * n);
      const x = workspace.numbers(n);
      const y = workspace.numbers(m);
      const square = workspace.numbers(n * n);
      const z = workspace.numbers(n);
      const [va, vx, vy, vs] = [normal(m * n, 1), normal(n, 2), normal(m, 3), normal(n * n, 4)];
      blas.heap.set(va, a / 8);
      blas.heap.set(vx, x / 8);
      blas.heap.set(vy, y / 8);
      blas.heap.set(vs, square / 8);
      const within = (got: ArrayLike<number>, want: ArrayLike<number>, what: string) => {
        const error = difference(got, want);
        assert.ok(worst.within('matrix times vector', error, 1e-13), `${name} ${what} ${m} ${n}: ${error}`);
      };
      const ax = product(m, 1, n, va, vx);
      kernels.gemv64(0, m, n, 2, a, 8 * n, x, y, 1);
      within(
        blas.view(y, m),
        ax.map((v, i) => vy[i]! + 2 * v),
        'gemv64',
      );
      blas.heap.set(vy, y / 8);
      kernels.gemvT64(m, n, -1, a, 8 * n, y, x);
      const aty = product(1, n, m, vy, va);
      within(
        blas.view(x, n),
        aty.map((v, i) => vx[i]! - v),
        'gemvT64',
      );
      blas.heap.set(vx, x / 8);
      kernels.ger64(0, m, n, 3, y, x, a, 8 * n);
      within(
        blas.view(a, m * n),
        va.map((v, i) => v + 3 * vy[Math.floor(i / n)]! * vx[i % n]!),
        'ger64',
      );
      const full = vs.map((_, i) => vs[Math.min(Math.floor(i / n), i % n) * n + Math.max(Math.floor(i / n), i % n)]!);
      blas.heap.fill(0, z / 8, z / 8 + n);
      kernels.symv64(0, n >> 1, n, square, 8 * n, x, z);
      kernels.symv64(n >> 1, n, n, square, 8 * n, x, z);
      within(blas.view(z, n), product(n, 1, n, full, vx), 'symv64 in two ranges');
      workspace.release();
    }
  }
});

test('vectors of any length: dot, axpy, scale, rotation, largest', () => {
  for (const { name, blas } of sets) {
    const { kernels } = blas;
    for (const n of [0, 1, 2, 3, 7, 8, 9, 31]) {
      const workspace = new Workspace(blas.memory);
      const [x, y] = [workspace.numbers(n + 1), workspace.numbers(n + 1)];
      const [vx, vy] = [normal(n, 5), normal(n, 6)];
      // what lies behind the vectors stays
      blas.heap.set([...vx, 99], x / 8);
      blas.heap.set([...vy, 99], y / 8);
      const dot = vx.reduce((sum, v, i) => sum + v * vy[i]!, 0);
      assert.ok(Math.abs(kernels.dot64(n, x, y) - dot) < 1e-14, `${name} ${n}`);
      assert.is(kernels.largest64(n, x), Math.max(0, ...vx.map(Math.abs)));
      kernels.rotate64(n, x, y, 0.6, 0.8);
      kernels.axpy64(n, 2, x, y);
      kernels.scale64(n, 3, x);
      const turned = vx.map((v, i) => 0.6 * v + 0.8 * vy[i]!);
      const other = vy.map((v, i) => 0.6 * v - 0.8 * vx[i]! + 2 * turned[i]!);
      assert.ok(difference(blas.view(x, n + 1), [...turned.map((v) => 3 * v), 99]) < 1e-14, `${name} ${n}`);
      assert.ok(difference(blas.view(y, n + 1), [...other, 99]) < 1e-14, `${name} ${n}`);
      workspace.release();
    }
    const bad = new Workspace(blas.memory);
    const at = bad.numbers(3);
    for (const v of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      blas.heap.set([1, v, 2], at / 8);
      assert.is(blas.kernels.largest64(3, at), Number.POSITIVE_INFINITY);
    }
    bad.release();
  }
});

test('reflectors are orthogonal and clear the vector at any scale', () => {
  for (const { name, blas } of sets) {
    for (const scale of [1, 1e-130, 1e-160, 1e-250, 1e120]) {
      for (const n of [2, 3, 10]) {
        const workspace = new Workspace(blas.memory);
        const at = workspace.numbers(n);
        const x = normal(n, n).map((v) => v * scale);
        blas.heap.set(x, at / 8);
        const { beta, tau } = reflector(blas, n, at);
        const v = [1, ...blas.view(at, n).subarray(1)];
        const square = v.reduce((sum, w) => sum + w * w, 0);
        assert.ok(Math.abs(tau * square - 2) < 16 * EPS, `${name} ${scale} ${n}: tau ||v||^2 = ${tau * square}`);
        const vx = v.reduce((sum, w, i) => sum + w * (x[i]! / scale), 0);
        const hx = v.map((w, i) => x[i]! / scale - tau * vx * w);
        assert.ok(difference(hx, [beta / scale, ...new Array(n - 1).fill(0)]) < 1e-14, `${name} ${scale} ${n}`);
        workspace.release();
      }
    }
  }
});

test('gram: both sides, f32 summed in f64, on all lanes with the same bits', async () => {
  const all = await algebras();
  const [rows, columns] = [130, 700];
  const a = Float32Array.from(normal(rows * columns, 9));
  const left = product(rows, rows, columns, a, transpose(rows, columns, a));
  const right = product(columns, columns, rows, transpose(rows, columns, a), a);
  const first = new Map<string, Float64Array>();
  for (const { name, algebra } of all) {
    const got = await algebra.gram(a, { rows, columns, side: 'left' });
    assert.ok(worst.within('gram, of the largest', difference(got, left) / columns, 3e-15), name);
    const other = await algebra.gram(a, { rows, columns, side: 'right' });
    assert.ok(worst.within('gram, of the largest', difference(other, right) / rows, 3e-15), name);
    const simd = name.split(',')[0]!;
    const before = first.get(simd);
    if (before) assert.is(difference(got, before), 0, 'lanes do not change a bit');
    else first.set(simd, got);
    assert.is(algebra.lanes, lanesPossible && name.includes('lanes') ? 2 : 1);
    algebra.close();
  }
});

test('a closed workspace says so', async () => {
  const algebra = await LinearAlgebra.create();
  algebra.close();
  algebra.close();
  await algebra.gram(new Float64Array(1), { rows: 1, columns: 1, side: 'left' }).then(
    () => assert.unreachable(),
    (error) => assert.is(error.code, 'E_DISPOSED'),
  );
});

test('the fused micro-kernel keeps its instructions and fits V8’s 15 vector registers', async () => {
  const text = await readText('build/kernels.plain.relaxed.wat');
  const start = text.indexOf(' (func $assembly/gemm64/micro64Fused (');
  assert.ok(start >= 0, 'it is a function of its own');
  const code = text.slice(start, text.indexOf('\n )\n', start));
  const loop = code.slice(code.indexOf('loop '));
  const count = (instruction: string) => loop.split('\n').filter((line) => line.trim() === instruction).length;
  const starting = (instruction: string) =>
    loop.split('\n').filter((line) => line.trim().startsWith(instruction)).length;
  assert.is(count('f64x2.relaxed_madd'), 12);
  assert.is(starting('v128.load64_splat'), 6);
  assert.ok((code.match(/\(local \$\S+ v128\)/g) ?? []).length <= 15);
});

test.after(() => worst.print());
test.run();
