/** Rotary position embedding (Su et al. 2021), and its way back. */
import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { RopeLayout, Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { type Kernel, variants } from './kernel.ts';
import { byRows, part } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 128;

/** An invocation a pair of numbers. With positions each row has its own angles, else all have those of one row. */
const ROPE = variants('rope', (_, way: 'there' | 'back', positions: boolean) => ({
  buffers: [
    ['table', 'f32', 'read'],
    ['x', 'f32', 'write'],
    ...(positions ? [['positions', 'u32', 'read'] as const] : []),
  ],
  numbers: [
    ...['count: u32', 'heads: u32', 'headDim: u32', 'half: u32'],
    // where the second of a pair stands, and how far pairs are apart
    ...['other: u32', 'step: u32', 'tableRows: u32'],
  ],
  workgroup: WORKGROUP,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.count) { return; }
  let j = i % u.half;
  let head = i / u.half;
  let row = head / u.heads;
  ${
    positions
      ? `// a position that is none takes some row of the table
  let angles = u.tableAt + min(positions[u.positionsAt + row], u.tableRows - 1u) * 2u * u.half;`
      : 'let angles = u.tableAt;'
  }
  let c = table[angles + j];
  let s = ${way === 'back' ? '-' : ''}table[angles + u.half + j];
  let at = u.xAt + head * u.headDim + j * u.step;
  let a = x[at];
  let b = x[at + u.other];
  x[at] = fma(a, c, -(b * s));
  x[at + u.other] = fma(b, c, a * s);`,
}));

export function rope(parts: GpuParts, x: Tensor, table: Tensor, positions: Tensor | number, layout: RopeLayout): void {
  turn(parts, 'there', x, table, positions, layout);
}

/** The angles of the same table negated. */
export function ropeBackward(
  parts: GpuParts,
  dX: Tensor,
  table: Tensor,
  positions: Tensor | number,
  layout: RopeLayout,
): void {
  turn(parts, 'back', dX, table, positions, layout);
}

function turn(
  { commands }: GpuParts,
  way: 'there' | 'back',
  x: Tensor,
  table: Tensor,
  positions: Tensor | number,
  { heads, headDim, rotaryDims, layout }: RopeLayout,
): void {
  if (heightOf(x) === 0 || widthOf(x) === 0 || rotaryDims === 0) return;
  const half = rotaryDims / 2;
  const fixed = typeof positions === 'number';
  const angles = fixed ? part(table as GpuTensor, 4 * rotaryDims * positions, 4 * rotaryDims) : (table as GpuTensor);
  const of: Kernel = ROPE(way, !fixed);
  const [other, step] = layout === 'half' ? [half, 1] : [1, 2];
  const tableRows = elements(table.shape) / rotaryDims;
  for (const { bound, first, rows } of byRows(commands.bindingLimit, [x])) {
    const count = rows * heads * half;
    const all: Bound[] = [angles, bound[0]!];
    if (!fixed) all.push(part(positions as GpuTensor, 4 * first, 4 * rows));
    commands.run(of, all, [count, heads, headDim, half, other, step, tableRows], Math.ceil(count / WORKGROUP));
  }
}
