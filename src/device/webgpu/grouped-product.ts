/** Products of rows that belong to experts, whose offsets only the GPU knows: workgroups are counted for the worst case, and find their expert. */
import { elements, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { spread } from './kernel.ts';
import { columnsOf, isVector, type Operand, operandOf, rowsOf, rowsWithin } from './operand.ts';
import { part } from './pieces.ts';
import { sourceNumbers } from './quads.ts';
import { FEW_ROWS, rowProduct } from './row-product.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';
import { DEPTH, tileKernel } from './tile-kernel.ts';
import { chooseTile } from './tile-shape.ts';

/** Rows of x [R, K] meet the matrices of their experts, [E, N, K]. Few rows for each expert are computed one by one. */
export function groupedRows(
  parts: GpuParts,
  x: Tensor,
  offsets: Tensor,
  stack: Tensor,
  out: Tensor,
  alone: boolean,
): void {
  const rows = operandOf(x);
  const experts = elements(offsets.shape) - 1;
  if (experts === 0 || rows.rows === 0 || widthOf(out) === 0) return;
  if (!alone && rows.rows > FEW_ROWS && rows.rows > 2 * experts) {
    groupedTiles(parts, x, offsets, stack, out, true, false);
    return;
  }
  const meeting = { weight: operandOf(stack), out: out as GpuTensor };
  rowProduct(parts, rows, [meeting], { alpha: 1, accumulate: false }, { offsets, rows: widthOf(out) });
}

/** c [R, n] = a · the expert's matrix, transposed where its rows are `along` k (+ c); stack [E, N, K]. */
export function groupedTiles(
  { commands, context }: GpuParts,
  a: Tensor,
  offsets: Tensor,
  stack: Tensor,
  c: Tensor,
  along: boolean,
  accumulate: boolean,
): void {
  const limit = commands.bindingLimit;
  const [left, right] = [operandOf(a), operandOf(stack)];
  const [n, k] = [widthOf(c), left.columns];
  const matrixRows = along ? n : k;
  const experts = elements(offsets.shape) - 1;
  if (experts === 0 || left.rows === 0 || n === 0) return;
  const rowStep = rowsWithin(limit, Math.max(left.rowBytes, 4 * n));
  const held = rowsWithin(limit, right.rowBytes);
  const expertStep = Math.max(1, Math.floor(held / Math.max(1, matrixRows)));
  // of a matrix that is larger than a binding, some rows at a time
  const size = held >= matrixRows ? Math.max(1, matrixRows) : Math.max(4, 4 * Math.floor(held / 4));
  for (let row = 0; row < left.rows; row += rowStep) {
    const rows = Math.min(rowStep, left.rows - row);
    const [of, to] = [rowsOf(left, row, rows), part(c as GpuTensor, 4 * row * n, 4 * rows * n)];
    for (let e = 0; e < experts; e += expertStep) {
      const count = Math.min(expertStep, experts - e);
      for (let first = 0; first < matrixRows || first === 0; first += size) {
        const some = Math.min(size, matrixRows - first);
        const matrices = rowsOf(right, e * matrixRows + first, some < matrixRows ? some : count * matrixRows);
        const [nCount, kCount] = along ? [some, k] : [n, some];
        const left1 = along ? of : columnsOf(of, first, some);
        const out = along ? part(to, 4 * first, to.byteLength - 4 * first) : to;
        const tile = chooseTile(context, Math.ceil(left.rows / experts), nCount, count);
        const vector = isVector(out, n) && nCount % 4 === 0;
        const readings = { a: left1.reading, b: matrices.reading, aAlong: true, bAlong: along };
        const [tilesM, tilesN] = [Math.floor(rows / tile.m) + count, Math.ceil(nCount / tile.n)];
        const adding = accumulate || (!along && first > 0);
        const numbers = [rows, nCount, kCount, tilesM, tilesN, n / (vector ? 4 : 1), 0, 1, adding ? 1 : 0];
        numbers.push(row, e, count, matrixRows, ...sourceNumbers(left1, 1), ...sourceNumbers(matrices, 1));
        const bound = [left1.data, ...bounds(matrices), offsets as GpuTensor, out];
        const [x, y] = spread(tilesM * tilesN);
        const whole = kCount % DEPTH === 0;
        commands.run(tileKernel(tile, { ...readings, vector, grouping: 'rows', whole }), bound, numbers, [x, y]);
      }
    }
  }
}

/** c[e] [m, n] += a_eᵀ · b_e over the rows of expert e: a [R, m], b [R, n], c [E, m, n]. */
export function groupedInner({ commands, context }: GpuParts, a: Tensor, offsets: Tensor, b: Tensor, c: Tensor): void {
  const limit = commands.bindingLimit;
  const [left, right] = [operandOf(a), operandOf(b)];
  const [m, n] = [left.columns, right.columns];
  const experts = elements(offsets.shape) - 1;
  if (experts === 0 || left.rows === 0 || m === 0 || n === 0) return;
  const rowStep = rowsWithin(limit, Math.max(left.rowBytes, right.rowBytes));
  const held = rowsWithin(limit, 4 * n);
  const expertStep = Math.min(MOST_MATRICES, Math.max(1, Math.floor(held / m)));
  const size = held >= m ? m : Math.max(4, 4 * Math.floor(held / 4));
  for (let row = 0; row < left.rows; row += rowStep) {
    const rows = Math.min(rowStep, left.rows - row);
    const of = rowsOf(right, row, rows);
    for (let e = 0; e < experts; e += expertStep) {
      const count = Math.min(expertStep, experts - e);
      for (let first = 0; first < m; first += size) {
        const some = Math.min(size, m - first);
        const left1 = columnsOf(rowsOf(left, row, rows), first, some);
        const length = 4 * n * (some < m ? some : count * m);
        const out = part(c as GpuTensor, 4 * n * (e * m + first), length);
        const tile = chooseTile(context, some, n, count);
        const vector = isVector(out, n);
        const readings = { a: left1.reading, b: of.reading, aAlong: false, bAlong: false };
        const [tilesM, tilesN] = [Math.ceil(some / tile.m), Math.ceil(n / tile.n)];
        const width = vector ? 4 : 1;
        const numbers = [some, n, rows, tilesM, tilesN, n / width, (m * n) / width, 1, 1, row, e, count, 0];
        numbers.push(...sourceNumbers(left1, 1), ...sourceNumbers(of, 1));
        const [x, y] = spread(tilesM * tilesN);
        const kernel = tileKernel(tile, { ...readings, vector, grouping: 'inner', whole: false });
        commands.run(kernel, [left1.data, of.data, offsets as GpuTensor, out], numbers, [x, y, count]);
      }
    }
  }
}

/** Workgroups of the third dimension. */
const MOST_MATRICES = 65_535;

const bounds = (of: Operand): Bound[] => (of.scales ? [of.data, of.scales] : [of.data]);
