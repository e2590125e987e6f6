import { heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { AddWholeOptions, DigitArguments } from '../digit-device.ts';
import type { Bound } from './commands.ts';
import { elementwise, overElements } from './elementwise.ts';
import { kernel, variants } from './kernel.ts';
import { rowsWithin } from './operand.ts';
import { byRows, part } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 256;

/**
 * An invocation a number, of which x holds the bits: a whole number below 2^24 times a power of two, since a GPU may flush what is subnormal. All
 * that follows is exact. A `round` that is off by one beside a half gives other digits of the same number.
 */
const DIGIT = kernel('digit', () => ({
  buffers: [
    ['x', 'u32', 'read'],
    ['exponents', 'i32', 'read'],
    ['out', 'f32', 'write'],
  ],
  // rows and numbers of them; of x and out from one row to the next, of x from one number to the next; which row is the first of x
  numbers: ['rows: u32', 'count: u32', 'place: u32', 'outRow: u32', 'xRow: u32', 'xStep: u32', 'firstRow: u32'],
  workgroup: WORKGROUP,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.rows * u.count) { return; }
  let row = i / u.count;
  let k = i % u.count;
  let bits = x[u.xAt + (row + u.firstRow) * u.xRow + k * u.xStep];
  let field = (bits >> 23u) & 0xffu;
  let whole = (bits & 0x7fffffu) | select(0u, 0x800000u, field > 0u);
  // of the first digit's unit: x is whole * 2^(field - 150)
  let power = i32(max(field, 1u)) - 143 - exponents[u.exponentsAt + row];
  var z = 0.0;
  if (power >= -126) { z = f32(whole) * bitcast<f32>(u32(min(power, 127) + 127) << 23u); }
  var q = round(z);
  for (var s = 0u; s < u.place; s++) {
    z = (z - q) * 256.0;
    q = round(z);
  }
  out[u.outAt + row * u.outRow + k] = select(q, -q, (bits >> 31u) == 1u);`,
}));

export function takeDigit({ commands }: GpuParts, args: DigitArguments): void {
  const { x, along, exponents, first, place, out } = args;
  const limit = commands.bindingLimit;
  const [width, all] = [widthOf(x), widthOf(out)];
  if (heightOf(out) === 0 || all === 0) return;
  const run = (bound: readonly Bound[], rows: number, count: number, ofX: readonly number[]): void =>
    commands.run(DIGIT, bound, [rows, count, place, all, ...ofX], Math.ceil((rows * count) / WORKGROUP));
  if (along === 'rows') {
    for (const { bound, rows } of byRows(limit, [out, exponents, x])) {
      const [to, own, from] = bound as [Bound, Bound, Bound];
      run([part(from, 4 * first, from.byteLength - 4 * first), own, to], rows, all, [width, 1, 0]);
    }
    return;
  }
  // rows of x that are taken stand behind one another
  const step = rowsWithin(limit, 4 * width);
  for (let k = 0; k < all; k += step) {
    const count = Math.min(step, all - k);
    const from = part(x as GpuTensor, 4 * (first + k) * width, 4 * count * width);
    for (const { bound, first: firstRow, rows } of byRows(limit, [out, exponents])) {
      const [to, own] = bound as [Bound, Bound];
      run([from, own, part(to, 4 * k, to.byteLength - 4 * k)], rows, count, [1, width, firstRow]);
    }
  }
}

const ADD_WHOLE = variants('addWhole', (_, wide: boolean) =>
  elementwise(wide, {
    buffers: [
      ['x', 'read'],
      ['sums', 'write', wide ? 'vec4i' : 'i32'],
    ],
    numbers: ['factor: i32', 'accumulate: u32'],
    body: `let whole = u.factor * ${wide ? 'vec4i' : 'i32'}(x[u.xAt + i]);
      if (u.accumulate == 1u) { sums[u.sumsAt + i] += whole; } else { sums[u.sumsAt + i] = whole; }`,
  }),
);

export function addWhole(parts: GpuParts, x: Tensor, sums: Tensor, { factor, accumulate }: AddWholeOptions): void {
  overElements(parts, ADD_WHOLE, [x, sums], [factor, accumulate ? 1 : 0]);
}
