/** Sums over rows and over everything, in an order that depends on sizes alone: pieces first, then the sums of pieces. */
import { heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { isAligned } from './elementwise.ts';
import { type Kernel, kernel, reduction, variants } from './kernel.ts';
import { byElements, byRows } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

/** Rows of a piece of a sum over rows. */
const PIECE = 64;
/** Columns, and invocations that share the rows of a piece, of a workgroup. */
const [COLUMNS, SHARES] = [64, 4];

/**
 * A kernel that sums `value` over pieces of rows, partial[piece, column] = or += Σ: WGSL of an f32, where `place` is row · width + column of
 * `x` [rows, width] and `row` the row. Buffers: x, the others, partial.
 */
export function rowSum(name: string, others: readonly string[], value: string): Kernel {
  return kernel(name, () => ({
    buffers: [
      ['x', 'f32', 'read'],
      ...others.map((other) => [other, 'f32', 'read'] as const),
      ['partial', 'f32', 'write'],
    ],
    numbers: ['rows: u32', 'width: u32', 'each: u32', 'accumulate: u32'],
    workgroup: [COLUMNS, SHARES],
    declarations: `var<workgroup> shares: array<f32, ${COLUMNS * SHARES}>;`,
    body: `let column = wid.x * ${COLUMNS}u + lid.x;
  let first = wid.y * u.each;
  let end = min(first + u.each, u.rows);
  var sum = 0.0;
  if (column < u.width) {
    for (var row = first + lid.y; row < end; row += ${SHARES}u) {
      let place = row * u.width + column;
      sum += ${value};
    }
  }
  shares[li] = sum;
  workgroupBarrier();
  if (lid.y > 0u || column >= u.width) { return; }
  var all = (shares[li] + shares[li + ${COLUMNS}u]) + (shares[li + ${2 * COLUMNS}u] + shares[li + ${3 * COLUMNS}u]);
  let at = u.partialAt + wid.y * u.width + column;
  if (u.accumulate == 1u) { all += partial[at]; }
  partial[at] = all;`,
  }));
}

const ITSELF = rowSum('columnSum', [], 'x[u.xAt + place]');

/** out[width] += Σ over rows of what the kernel says, with `bound` for `x` and the others. */
export function sumRows(
  { commands, arena }: GpuParts,
  sum: Kernel,
  bound: readonly Bound[],
  rows: number,
  width: number,
  out: Bound,
): void {
  if (rows === 0 || width === 0) return;
  const across = Math.ceil(width / COLUMNS);
  const mark = arena.mark();
  let [of, from, left] = [sum, bound, rows];
  while (left > PIECE) {
    const each = Math.max(PIECE, Math.ceil(left / 65_535));
    const pieces = Math.ceil(left / each);
    const byteLength = 4 * pieces * width;
    const partial: Bound = { memory: arena.take(byteLength), offset: 0, byteLength };
    commands.run(of, [...from, partial], [left, width, each, 0], [across, pieces]);
    [of, from, left] = [ITSELF, [partial], pieces];
  }
  commands.run(of, [...from, out], [left, width, left, 1], [across, 1]);
  arena.reset(mark);
}

export function columnSum(parts: GpuParts, x: Tensor, out: Tensor): void {
  if (heightOf(x) === 0) return;
  for (const { bound, rows } of byRows(parts.commands.bindingLimit, [x])) {
    sumRows(parts, ITSELF, bound, rows, widthOf(x), out as GpuTensor);
  }
}

const WORKGROUP = 256;
/** Workgroups that share the elements of `sumSquares`, at most, and what one takes before another is worth it. */
const [SUM_GROUPS, LEAST] = [1024, 8 * WORKGROUP];

/** Of sixteen elements, or sixteen times four, before they go to the sum: sums of many keep their digits so. */
const SQUARE_PARTS = variants('squareParts', (_, wide: boolean) => ({
  buffers: [
    ['x', wide ? 'vec4f' : 'f32', 'read'],
    ['partial', 'f32', 'write'],
  ],
  numbers: ['count: u32'],
  workgroup: WORKGROUP,
  declarations: reduction('total', WORKGROUP, 'sum'),
  body: `var sum = ${wide ? 'vec4f()' : '0.0'};
  let stride = nw.x * ${WORKGROUP}u;
  var i = group * ${WORKGROUP}u + li;
  while (i < u.count) {
    var few = ${wide ? 'vec4f()' : '0.0'};
    for (var k = 0u; k < 16u && i < u.count; k++) {
      let value = x[u.xAt + i];
      few = fma(value, value, few);
      i += stride;
    }
    sum += few;
  }
  let all = total(${wide ? '(sum.x + sum.y) + (sum.z + sum.w)' : 'sum'}, li);
  if (li == 0u) { partial[u.partialAt + group] = all; }`,
}));

const PARTS_SUM = kernel('partsSum', () => ({
  buffers: [
    ['partial', 'f32', 'read'],
    ['y', 'f32', 'write'],
  ],
  numbers: ['count: u32'],
  workgroup: WORKGROUP,
  declarations: reduction('total', WORKGROUP, 'sum'),
  body: `var sum = 0.0;
  for (var i = li; i < u.count; i += ${WORKGROUP}u) { sum += partial[u.partialAt + i]; }
  let all = total(sum, li);
  if (li == 0u) { y[u.yAt] += all; }`,
}));

/**
 * In f32, by a tree: a binding's elements, a thousand million at most, meet 16 + 256 + 8 + 4 + 8 additions, whose error stays below 1e-6 of
 * the sum, where the CPU sums in f64.
 */
export function sumSquares({ commands, arena }: GpuParts, x: Tensor, out: Tensor): void {
  for (const { bound, count } of byElements(commands.bindingLimit, [x])) {
    const wide = count % 4 === 0 && isAligned(bound[0]!);
    const groups = Math.min(SUM_GROUPS, Math.ceil(count / LEAST));
    const mark = arena.mark();
    const partial: Bound = { memory: arena.take(4 * groups), offset: 0, byteLength: 4 * groups };
    commands.run(SQUARE_PARTS(wide), [bound[0]!, partial], [wide ? count / 4 : count], [groups, 1]);
    commands.run(PARTS_SUM, [partial, out as GpuTensor], [groups], 1);
    arena.reset(mark);
  }
}
