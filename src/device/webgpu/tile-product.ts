/** Products by tiles of whole matrices, in pieces that bindings hold. */
import type { Bound } from './commands.ts';
import { spread, variants } from './kernel.ts';
import { columnsOf, isVector, type Operand, rowsOf, rowsWithin } from './operand.ts';
import { part } from './pieces.ts';
import { sourceNumbers } from './quads.ts';
import type { GpuParts } from './tensor-store.ts';
import type { Tile } from './tile.ts';
import { DEPTH, tileKernel } from './tile-kernel.ts';
import { chooseShares, chooseTile } from './tile-shape.ts';

/** A matrix, and whether its rows run along k: a [m, k] or [k, m], b [n, k] or [k, n]. */
export interface Side {
  readonly of: Operand;
  readonly along: boolean;
}

export interface Scaling {
  readonly alpha: number;
  /** Whether c is added to. */
  readonly accumulate: boolean;
}

/** c [m, n] = alpha · a · b (+ c). @param shared whether sums over k may be cut into shares: fewer bits in common between sizes, more workgroups */
export function tileProduct(parts: GpuParts, a: Side, b: Side, c: Bound, scaling: Scaling, shared: boolean): void {
  const limit = parts.commands.bindingLimit;
  const [m, n] = [a.along ? a.of.rows : a.of.columns, b.along ? b.of.rows : b.of.columns];
  const k = a.along ? a.of.columns : a.of.rows;
  if (m === 0 || n === 0) return;
  parts.context.countTileProduct();
  const rows = (of: Operand) => rowsWithin(limit, of.rowBytes);
  const mStep = Math.min(m, rowsWithin(limit, 4 * n), a.along ? rows(a.of) : m);
  const nStep = b.along && rows(b.of) < n ? Math.max(1, 4 * Math.floor(rows(b.of) / 4)) : n;
  const kStep = Math.max(1, Math.min(k, a.along ? k : rows(a.of), b.along ? k : rows(b.of)));
  const cut = (side: Side, first: number, count: number, firstK: number, countK: number): Side => {
    const { of, along } = side;
    const [r, rCount, s, sCount] = along ? [first, count, firstK, countK] : [firstK, countK, first, count];
    return { of: cutOut(of, r, rCount, s, sCount), along };
  };
  for (let m0 = 0; m0 < m; m0 += mStep) {
    const mCount = Math.min(mStep, m - m0);
    for (let n0 = 0; n0 < n; n0 += nStep) {
      const nCount = Math.min(nStep, n - n0);
      const to = part(c, 4 * (m0 * n + n0), 4 * ((mCount - 1) * n + nCount));
      for (let k0 = 0; k0 < k || k0 === 0; k0 += kStep) {
        const kCount = Math.min(kStep, k - k0);
        const [aPart, bPart] = [cut(a, m0, mCount, k0, kCount), cut(b, n0, nCount, k0, kCount)];
        const piece = { m: mCount, n: nCount, k: kCount, stride: n };
        const adding = { ...scaling, accumulate: scaling.accumulate || k0 > 0 };
        if (!shared || nCount < n || !inShares(parts, aPart, bPart, to, piece, adding)) {
          plain(
            parts,
            chooseTile(parts.context, mCount, nCount),
            aPart,
            bPart,
            to,
            { ...piece, share: Math.max(1, kCount), matrix: 0 },
            adding,
          );
        }
      }
    }
  }
}

/** c [m, n] = a · b by a tile that is told, of what a binding holds. */
export function productByTile(parts: GpuParts, tile: Tile, a: Side, b: Side, c: Bound, m: number, n: number): void {
  const k = a.along ? a.of.columns : a.of.rows;
  plain(
    parts,
    tile,
    a,
    b,
    c,
    { m, n, k, stride: n, share: Math.max(1, k), matrix: 0 },
    { alpha: 1, accumulate: false },
  );
}

/** Rows and columns of an operand; columns only of plain f32 rows, whose rows are as long as the binding's pieces want. */
function cutOut(of: Operand, row: number, rows: number, column: number, columns: number): Operand {
  const some = rowsOf(of, row, rows);
  return column === 0 && columns === of.columns ? some : columnsOf(some, column, columns);
}

interface Piece {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Numbers from one row of c to the next. */
  readonly stride: number;
}

function plain(
  { commands }: GpuParts,
  tile: Tile,
  a: Side,
  b: Side,
  c: Bound,
  { m, n, k, stride, share, matrix }: Piece & { readonly share: number; readonly matrix: number },
  { alpha, accumulate }: Scaling,
): void {
  const [tilesM, tilesN] = [Math.ceil(m / tile.m), Math.ceil(n / tile.n)];
  const vector = isVector(c, stride) && n % 4 === 0;
  const width = vector ? 4 : 1;
  const of = kernelOf(tile, a, b, vector, k % DEPTH === 0);
  const numbers = [m, n, k, tilesM, tilesN, stride / width, matrix / width, alpha, accumulate ? 1 : 0, share];
  numbers.push(...sourceNumbers(a.of, 1), ...sourceNumbers(b.of, 1));
  const [x, y] = spread(tilesM * tilesN);
  commands.run(of, [...bounds(a), ...bounds(b), c], numbers, [x, y, Math.max(1, Math.ceil(k / share))]);
}

function kernelOf(tile: Tile, a: Side, b: Side, vector: boolean, whole: boolean) {
  const readings = { a: a.of.reading, b: b.of.reading, aAlong: a.along, bAlong: b.along };
  return tileKernel(tile, { ...readings, vector, grouping: 'plain', whole });
}

const bounds = ({ of }: Side): Bound[] => (of.scales ? [of.data, of.scales] : [of.data]);

/** Sums the shares of k in their order. */
const SUM_SHARES = variants('sumShares', (_, vector: boolean) => {
  const element = vector ? 'vec4f' : 'f32';
  return {
    buffers: [
      ['partial', element, 'read'],
      ['c', element, 'write'],
    ],
    numbers: ['count: u32', 'shares: u32', 'alpha: f32', 'accumulate: u32'],
    workgroup: 64,
    body: `let i = group * 64u + li;
  if (i >= u.count) { return; }
  var sum = ${element}();
  for (var share = 0u; share < u.shares; share++) { sum += partial[u.partialAt + share * u.count + i]; }
  var old = ${element}();
  if (u.accumulate == 1u) { old = c[u.cAt + i]; }
  c[u.cAt + i] = fma(${element}(u.alpha), sum, old);`,
  };
});

/** Whether it was worth it. */
function inShares(parts: GpuParts, a: Side, b: Side, c: Bound, piece: Piece, { alpha, accumulate }: Scaling): boolean {
  const { commands, arena } = parts;
  const { m, n, k } = piece;
  const { tile, share } = chooseShares(parts.context, m, n, k);
  const shares = Math.ceil(k / share);
  const byteLength = 4 * shares * m * n;
  if (shares < 2 || byteLength > commands.bindingLimit) return false;
  const mark = arena.mark();
  const partial: Bound = { memory: arena.take(byteLength), offset: 0, byteLength };
  plain(parts, tile, a, b, partial, { ...piece, stride: n, share, matrix: m * n }, { alpha: 1, accumulate: false });
  const vector = isVector(c, m * n);
  const count = (m * n) / (vector ? 4 : 1);
  const numbers = [count, shares, alpha, accumulate ? 1 : 0];
  commands.run(SUM_SHARES(vector), [partial, c], numbers, Math.ceil(count / 64));
  arena.reset(mark);
  return true;
}
