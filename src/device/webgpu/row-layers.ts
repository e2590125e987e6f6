/** Layers that go row by row: `scaleRows` with its way back, and `softmax`. */
import { heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { isSame } from './activation.ts';
import { elementwise, overRowElements } from './elementwise.ts';
import { reduction, variants } from './kernel.ts';
import { byRows } from './pieces.ts';
import type { GpuParts } from './tensor-store.ts';

const FACTOR = 'coefficients[u.coefficientsAt + (i / u.width) * u.experts + u.column]';
const FACTOR_NUMBERS = ['width: u32', 'experts: u32', 'column: u32'] as const;

/** With `inPlace`, x is out. */
const SCALE_ROWS = variants('scaleRows', (_, wide: boolean, inPlace: boolean) => {
  return elementwise(wide, {
    buffers: [...(inPlace ? [] : [['x', 'read'] as const]), ['y', 'write'], ['coefficients', 'read', 'f32']],
    numbers: FACTOR_NUMBERS,
    body: `y[u.yAt + i] = ${FACTOR} * ${inPlace ? 'y[u.yAt + i]' : 'x[u.xAt + i]'};`,
  });
});

export function scaleRows(parts: GpuParts, x: Tensor, coefficients: Tensor, column: number, out: Tensor): void {
  const inPlace = isSame(x, out);
  const numbers = [widthOf(coefficients), column];
  overRowElements(parts, (wide) => SCALE_ROWS(wide, inPlace), inPlace ? [out] : [x, out], {
    beside: [coefficients],
    numbers,
  });
}

const SCALE_ROWS_BACKWARD = variants('scaleRowsBackward', (_, wide: boolean) => {
  return elementwise(wide, {
    buffers: [
      ['dY', 'read'],
      ['dX', 'write'],
      ['coefficients', 'read', 'f32'],
    ],
    numbers: FACTOR_NUMBERS,
    body: `dX[u.dXAt + i] = fma(T(${FACTOR}), dY[u.dYAt + i], dX[u.dXAt + i]);`,
  });
});

/** A workgroup a row. */
const COEFFICIENT_SUM = variants('scaleRowsBackward coefficients', (_, size: number) => ({
  buffers: [
    ['x', 'f32', 'read'],
    ['dY', 'f32', 'read'],
    ['sums', 'f32', 'write'],
  ],
  numbers: ['rows: u32', 'width: u32', 'experts: u32', 'column: u32'],
  workgroup: size,
  declarations: reduction('total', size, 'sum'),
  body: `if (group >= u.rows) { return; }
  let at = group * u.width;
  var sum = 0.0;
  for (var i = li; i < u.width; i += ${size}u) { sum = fma(x[u.xAt + at + i], dY[u.dYAt + at + i], sum); }
  let all = total(sum, li);
  if (li == 0u) { sums[u.sumsAt + group * u.experts + u.column] += all; }`,
}));

export function scaleRowsBackward(
  parts: GpuParts,
  x: Tensor,
  coefficients: Tensor,
  column: number,
  dY: Tensor,
  dX: Tensor | null,
  dCoefficients: Tensor | null,
): void {
  const numbers = [widthOf(coefficients), column];
  if (dX) overRowElements(parts, SCALE_ROWS_BACKWARD, [dY, dX], { beside: [coefficients], numbers });
  if (!dCoefficients || heightOf(x) === 0) return;
  const { commands } = parts;
  for (const { bound, rows } of byRows(commands.bindingLimit, [x, dY, dCoefficients])) {
    commands.run(COEFFICIENT_SUM(sizeOf(widthOf(x))), bound, [rows, widthOf(x), ...numbers], rows);
  }
}

/**
 * A workgroup a row, which it reads three times and writes once. An element far below the largest is e^-200, 0; one that is no number is not compared with
 * anything and makes its row such.
 */
const SOFTMAX = variants('softmax', (_, size: number) => ({
  buffers: [['x', 'f32', 'write']],
  numbers: ['rows: u32', 'width: u32'],
  workgroup: size,
  declarations: `${reduction('largest', size, 'max')}
${reduction('total', size, 'sum')}
fn power(d: f32) -> f32 { return exp(select(d, -200.0, d < -200.0)); }`,
  body: `if (group >= u.rows) { return; }
  let at = u.xAt + group * u.width;
  var most = -3.40282346e38;
  for (var i = li; i < u.width; i += ${size}u) { most = max(most, x[at + i]); }
  most = largest(most, li);
  var sum = 0.0;
  for (var i = li; i < u.width; i += ${size}u) { sum += power(x[at + i] - most); }
  let factor = 1.0 / total(sum, li);
  for (var i = li; i < u.width; i += ${size}u) { x[at + i] = power(x[at + i] - most) * factor; }`,
}));

export function softmax({ commands }: GpuParts, x: Tensor): void {
  const width = widthOf(x);
  if (width === 0 || heightOf(x) === 0) return;
  for (const { bound, rows } of byRows(commands.bindingLimit, [x])) {
    commands.run(SOFTMAX(sizeOf(width)), bound, [rows, width], rows);
  }
}

/** Invocations for a row. */
function sizeOf(width: number): number {
  return width <= 128 ? 32 : 256;
}
