/** Products of many rows with weights in f16 on matrix units, in pieces that bindings hold. */
import type { Bound } from './commands.ts';
import { spread } from './kernel.ts';
import { HALVES } from './matrix-kernel.ts';
import { HALVES_ALIGN, type MatrixWay, matrixUnitsOf } from './matrix-units.ts';
import { isVector, type Operand, rowsOf, rowsWithin } from './operand.ts';
import { part } from './pieces.ts';
import { sourceNumbers } from './quads.ts';
import type { Meeting } from './row-product.ts';
import type { GpuParts } from './tensor-store.ts';

/** Fewer rows are left to f32. */
const LEAST_ROWS = 64;
/** Workgroups that a large GPU computes at once; WebGPU does not tell. */
const UNITS = 128;

/** Rows of x in f16, and what each is to be multiplied with afterwards. */
export interface Halves {
  readonly data: Bound;
  readonly scales: Bound;
  /** Bytes from one row to the next. */
  readonly rowBytes: number;
}

/**
 * out [rows, n] = x · weightᵀ for those of the meetings that matrix units can compute, x rounded to f16 times a power of two a row and sums in f32.
 * @returns the others
 */
export function matrixProduct(parts: GpuParts, x: Operand, meetings: readonly Meeting[]): readonly Meeting[] {
  const units = x.rows < LEAST_ROWS ? null : matrixUnitsOf(parts.context);
  if (!units?.proved) return meetings;
  const mine = meetings.filter((meeting) => suits(parts, x, meeting));
  if (mine.length > 0) {
    multiply(parts, x, mine, (rows, columns) => best(units.ways, rows, columns));
  }
  return meetings.filter((meeting) => !mine.includes(meeting));
}

/** Whether rows of c are vectors, and a row of each is no more than a binding holds. */
function suits({ commands }: GpuParts, x: Operand, { weight, out }: Meeting): boolean {
  if (weight.reading !== 'f16' || weight.rows === 0 || x.columns === 0 || !isVector(out, weight.rows)) return false;
  return Math.max(x.rowBytes, weight.rowBytes, 4 * weight.rows) + 2 * HALVES_ALIGN + 256 <= commands.bindingLimit;
}

/** The same by a way that is told. */
export function multiply(
  parts: GpuParts,
  x: Operand,
  meetings: readonly Meeting[],
  choose: (rows: number, columns: number) => MatrixWay,
): void {
  const { commands, arena } = parts;
  const limit = commands.bindingLimit;
  const rowBytes = halfBytes(x.columns);
  const widest = Math.max(x.rowBytes, rowBytes, ...meetings.map(({ weight }) => 4 * weight.rows));
  const mStep = rowsWithin(limit, widest);
  for (let m0 = 0; m0 < x.rows; m0 += mStep) {
    const rows = rowsOf(x, m0, Math.min(mStep, x.rows - m0));
    const mark = arena.mark();
    const halves = halvesOf(parts, rows, rowBytes);
    for (const { weight, out } of meetings) {
      const n = weight.rows;
      const held = rowsWithin(limit, weight.rowBytes);
      const nStep = held < n ? Math.max(4, 4 * Math.floor(held / 4)) : n;
      for (let n0 = 0; n0 < n; n0 += nStep) {
        const count = Math.min(nStep, n - n0);
        const to = part(out, 4 * (m0 * n + n0), 4 * ((rows.rows - 1) * n + count));
        meet(parts, choose(rows.rows, count), halves, rows.rows, rowsOf(weight, n0, count), to, n);
      }
    }
    arena.reset(mark);
  }
}

/** Bytes of a row in f16. */
export const halfBytes = (columns: number): number => 2 * HALVES_ALIGN * Math.ceil(columns / HALVES_ALIGN);

/** In scratch. */
export function halvesOf({ commands, arena }: GpuParts, x: Operand, rowBytes: number): Halves {
  const take = (byteLength: number): Bound => ({ memory: arena.take(byteLength), offset: 0, byteLength });
  const [data, scales] = [take(x.rows * rowBytes), take(4 * x.rows)];
  const numbers = [x.rows, Math.ceil(x.columns / 4), rowBytes / 8, ...sourceNumbers(x, 1)];
  commands.run(HALVES(x.reading), [x.data, data, scales], numbers, x.rows);
  return { data, scales, rowBytes };
}

/** c [m, n] = rows · weightᵀ. @param width numbers from one row of c to the next */
export function meet(
  { commands }: GpuParts,
  way: MatrixWay,
  { data, scales, rowBytes }: Halves,
  m: number,
  weight: Operand,
  c: Bound,
  width: number,
): void {
  const [n, k] = [weight.rows, weight.columns];
  const [tilesM, tilesN] = [Math.ceil(m / way.m), Math.ceil(n / way.n)];
  const numbers = [m, n / 4, weight.rowBytes / 16, Math.ceil(k / way.panel), tilesM, tilesN];
  numbers.push(rowBytes / 16, weight.rowBytes / 16, width / 4);
  const kernel = weight.rowBytes % (2 * way.panel) === 0 ? way.whole : way.tail;
  commands.run(kernel, [data, scales, weight.data, c], numbers, spread(tilesM * tilesN));
}

function best(ways: readonly MatrixWay[], rows: number, columns: number): MatrixWay {
  let [least, found] = [Number.POSITIVE_INFINITY, ways[0]!];
  for (const way of ways) {
    const groups = Math.ceil(rows / way.m) * Math.ceil(columns / way.n);
    const cost = (Math.ceil(groups / UNITS) * way.m * way.n) / way.rate;
    if (cost < least) [least, found] = [cost, way];
  }
  return found;
}
