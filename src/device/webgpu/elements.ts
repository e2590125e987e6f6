import { heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { type Kernel, kernel, reduction } from './kernel.ts';
import { byElements, byRows } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 256;
/** Elements of an invocation, a workgroup apart each. */
const EACH = 4;

/** A kernel in which each element is by itself: \`i\` is its number. */
function elementwise(name: string, others: readonly string[], numbers: readonly string[], body: string): Kernel {
  return kernel(name, () => ({
    buffers: [...others.map((x) => [x, 'f32', 'read'] as const), ['y', 'f32', 'write']],
    numbers: ['count: u32', ...numbers],
    workgroup: WORKGROUP,
    body: `for (var e = 0u; e < ${EACH}u; e++) {
    let i = (group * ${EACH}u + e) * ${WORKGROUP}u + li;
    if (i < u.count) { ${body} }
  }`,
  }));
}

const ADD = elementwise('add', ['x'], [], 'y[u.yAt + i] += x[u.xAt + i];');
const AXPY = elementwise('axpy', ['x'], ['alpha: f32'], 'y[u.yAt + i] = fma(u.alpha, x[u.xAt + i], y[u.yAt + i]);');
const SCALE = elementwise('scale', [], ['factor: f32'], 'y[u.yAt + i] *= u.factor;');
const FILL = elementwise('fill', [], ['value: f32'], 'y[u.yAt + i] = u.value;');
const ADD_BIAS = elementwise('addBias', ['bias'], ['width: u32'], 'y[u.yAt + i] += bias[u.biasAt + i % u.width];');

function overElements(
  { commands }: GpuParts,
  of: Kernel,
  tensors: readonly Tensor[],
  numbers: readonly number[],
): void {
  for (const { bound, count } of byElements(commands.bindingLimit, tensors)) {
    commands.run(of, bound, [count, ...numbers], Math.ceil(count / (WORKGROUP * EACH)));
  }
}

export function add(parts: GpuParts, x: Tensor, y: Tensor): void {
  overElements(parts, ADD, [x, y], []);
}

export function axpy(parts: GpuParts, alpha: number, x: Tensor, y: Tensor): void {
  overElements(parts, AXPY, [x, y], [alpha]);
}

export function scale(parts: GpuParts, x: Tensor, factor: number): void {
  overElements(parts, SCALE, [x], [factor]);
}

export function fill(parts: GpuParts, x: Tensor, value: number): void {
  overElements(parts, FILL, [x], [value]);
}

export function addBias({ commands }: GpuParts, bias: Tensor, y: Tensor): void {
  const width = widthOf(y);
  for (const { bound, rows } of byRows(commands.bindingLimit, [y])) {
    const count = rows * width;
    const groups = Math.ceil(count / (WORKGROUP * EACH));
    commands.run(ADD_BIAS, [bias as GpuTensor, bound[0]!], [count, width], groups);
  }
}

/** Rows of a piece of `columnSum`: each piece is summed by itself, and the sums after that. */
const SUM_ROWS = 64;

/** Sums of pieces of rows: partial[piece, column]. */
const COLUMN_PARTS = kernel('columnParts', () => ({
  buffers: [
    ['x', 'f32', 'read'],
    ['partial', 'f32', 'write'],
  ],
  numbers: ['rows: u32', 'width: u32', 'each: u32', 'accumulate: u32'],
  workgroup: 64,
  body: `let column = wid.x * 64u + li;
  if (column >= u.width) { return; }
  let first = wid.y * u.each;
  var sum = 0.0;
  for (var row = first; row < min(first + u.each, u.rows); row++) { sum += x[u.xAt + row * u.width + column]; }
  let at = u.partialAt + wid.y * u.width + column;
  if (u.accumulate == 1u) { sum += partial[at]; }
  partial[at] = sum;`,
}));

export function columnSum({ commands, arena }: GpuParts, x: Tensor, out: Tensor): void {
  const [rows, width] = [heightOf(x), widthOf(x)];
  if (rows === 0) return;
  const columns = Math.ceil(width / 64);
  const pieces = Math.ceil(rows / SUM_ROWS);
  if (pieces === 1) {
    commands.run(COLUMN_PARTS, [x as GpuTensor, out as GpuTensor], [rows, width, rows, 1], [columns, 1]);
    return;
  }
  const mark = arena.mark();
  const memory = arena.take(4 * pieces * width);
  const partial: Bound = { memory, offset: 0, byteLength: 4 * pieces * width };
  commands.run(COLUMN_PARTS, [x as GpuTensor, partial], [rows, width, SUM_ROWS, 0], [columns, pieces]);
  commands.run(COLUMN_PARTS, [partial, out as GpuTensor], [pieces, width, pieces, 1], [columns, 1]);
  arena.reset(mark);
}

/** Workgroups that share the elements of `sumSquares`. */
const SUM_GROUPS = 128;

const SQUARE_PARTS = kernel('squareParts', () => ({
  buffers: [
    ['x', 'f32', 'read'],
    ['partial', 'f32', 'write'],
  ],
  numbers: ['count: u32'],
  workgroup: WORKGROUP,
  declarations: reduction('total', WORKGROUP, 'sum'),
  body: `var sum = 0.0;
  for (var i = group * ${WORKGROUP}u + li; i < u.count; i += nw.x * ${WORKGROUP}u) {
    let value = x[u.xAt + i];
    sum = fma(value, value, sum);
  }
  let all = total(sum, li);
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

/** In f32, by a tree of at most count / 32,768 + 8 + 7 + 8 additions, whose error grows so slowly that f64 is not missed: 1e-6 of the sum. */
export function sumSquares({ commands, arena }: GpuParts, x: Tensor, out: Tensor): void {
  for (const { bound, count } of byElements(commands.bindingLimit, [x])) {
    const groups = Math.min(SUM_GROUPS, Math.ceil(count / (8 * WORKGROUP)));
    const mark = arena.mark();
    const partial: Bound = { memory: arena.take(4 * groups), offset: 0, byteLength: 4 * groups };
    commands.run(SQUARE_PARTS, [bound[0]!, partial], [count], [groups, 1]);
    commands.run(PARTS_SUM, [partial, out as GpuTensor], [groups], 1);
    arena.reset(mark);
  }
}
