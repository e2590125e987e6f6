import type { RopeLayout, Tensor } from '../device.ts';
import {
  checkApart,
  checkApartOrSame,
  checkFloats,
  checkInts,
  checkRowMajor,
  elements,
  heightOf,
  shapeError,
  widthOf,
} from './tensor.ts';

export function checkRmsNorm(x: Tensor, weight: Tensor, out: Tensor): void {
  checkFloats('rmsNorm', x, weight, out);
  const n = elements(weight.shape);
  const total = elements(x.shape);
  if (total % n !== 0 || elements(out.shape) !== total) {
    throw shapeError('rmsNorm', `${total} elements in groups of ${n} into ${elements(out.shape)}`);
  }
  checkApartOrSame('rmsNorm', out, x);
  checkApart('rmsNorm', out, weight);
}

export function checkRmsNormBackward(x: Tensor, weight: Tensor, dY: Tensor, dX: Tensor, dWeight: Tensor | null): void {
  const operation = 'rmsNormBackward';
  checkFloats(operation, x, weight, dY, dX);
  checkFloats(operation, dWeight);
  const [n, total] = [elements(weight.shape), elements(x.shape)];
  if (
    total % n !== 0 ||
    elements(dY.shape) !== total ||
    elements(dX.shape) !== total ||
    (dWeight && elements(dWeight.shape) !== n)
  ) {
    throw shapeError(operation, `${total} elements in groups of ${n}, their gradients ${elements(dY.shape)}`);
  }
  checkApart(operation, dX, x, weight, dY, dWeight);
  if (dWeight) checkApart(operation, dWeight, x, weight, dY);
}

export function checkAddRmsNorm(x: Tensor, residual: Tensor, weight: Tensor, out: Tensor): void {
  checkFloats('addRmsNorm', x, residual, weight, out);
  const size = elements(x.shape);
  const width = widthOf(x);
  if (elements(residual.shape) !== size || elements(out.shape) !== size || elements(weight.shape) !== width) {
    throw shapeError('addRmsNorm', `rows of ${width}, weight of ${elements(weight.shape)}`);
  }
  checkApart('addRmsNorm', residual, x, weight);
  checkApart('addRmsNorm', out, x, residual, weight);
}

/** Of `ropeBackward`, too. */
export function checkRope(
  x: Tensor,
  table: Tensor,
  positions: Tensor | number,
  layout: RopeLayout,
  operation: 'rope' | 'ropeBackward' = 'rope',
): void {
  checkFloats(operation, x, table);
  const [rows, width] = [heightOf(x), widthOf(x)];
  checkRotation(operation, width, layout);
  checkApart(operation, x, table);
  const tableRows = elements(table.shape) / layout.rotaryDims;
  if (typeof positions === 'number') {
    if (Number.isInteger(positions) && positions >= 0 && positions < tableRows) return;
    throw shapeError(operation, `row ${positions} of a table of ${tableRows}`);
  }
  checkInts(operation, positions);
  if (elements(positions.shape) !== rows) {
    throw shapeError(operation, `${elements(positions.shape)} positions of ${rows} rows`);
  }
  if (rows > 0 && tableRows < 1) throw shapeError(operation, 'a table without rows');
  checkApart(operation, x, positions);
}

/** Rows of heads, of which some dimensions rotate in pairs. */
export function checkRotation(operation: string, width: number, { heads, headDim, rotaryDims }: RopeLayout): void {
  if (width === heads * headDim && rotaryDims <= headDim && rotaryDims % 2 === 0) return;
  throw shapeError(operation, `rows of ${width} as ${heads} heads of ${headDim}, ${rotaryDims} rotating`);
}

export function checkGatedActivation(gate: Tensor, up: Tensor, out: Tensor): void {
  checkFloats('gatedActivation', gate, up, out);
  const size = elements(gate.shape);
  if (elements(up.shape) !== size || elements(out.shape) !== size) {
    throw shapeError('gatedActivation', 'gate, up and out differ');
  }
  checkApartOrSame('gatedActivation', out, gate);
  checkApart('gatedActivation', out, up);
}

export function checkGatedActivationBackward(gate: Tensor, up: Tensor, dY: Tensor, dGate: Tensor, dUp: Tensor): void {
  const operation = 'gatedActivationBackward';
  checkFloats(operation, gate, up, dY, dGate);
  checkFloats(operation, dUp);
  const size = elements(gate.shape);
  if ([up, dY, dGate, dUp].some((t) => elements(t.shape) !== size)) {
    throw shapeError(operation, 'gate, up and the gradients differ');
  }
  checkApartOrSame(operation, dGate, gate);
  checkApartOrSame(operation, dUp, up);
  checkApart(operation, dGate, up, dY, dUp);
  checkApart(operation, dUp, gate, dY);
}

/** Of `axpy`, too. */
export function checkAdd(x: Tensor, y: Tensor, operation: 'add' | 'axpy' = 'add'): void {
  checkFloats(operation, x, y);
  const n = elements(x.shape);
  if (n !== elements(y.shape)) throw shapeError(operation, `${n} elements to ${elements(y.shape)}`);
  checkApart(operation, y, x);
}

export function checkAddBias(bias: Tensor, y: Tensor): void {
  checkFloats('addBias', bias, y);
  const n = elements(bias.shape);
  if (n !== widthOf(y)) throw shapeError('addBias', `bias of ${n}, rows of ${widthOf(y)}`);
  checkApart('addBias', y, bias);
}

export function checkColumnSum(x: Tensor, out: Tensor): void {
  checkFloats('columnSum', x, out);
  const n = widthOf(x);
  if (elements(out.shape) !== n) throw shapeError('columnSum', `rows of ${n} into ${elements(out.shape)}`);
  checkApart('columnSum', out, x);
}

export function checkScaleRows(x: Tensor, coefficients: Tensor, column: number, out: Tensor): void {
  checkCoefficients('scaleRows', x, coefficients, column);
  checkSameRows('scaleRows', x, out);
  checkApartOrSame('scaleRows', out, x);
  checkApart('scaleRows', out, coefficients);
}

export function checkScaleRowsBackward(
  x: Tensor,
  coefficients: Tensor,
  column: number,
  dY: Tensor,
  dX: Tensor | null,
  dCoefficients: Tensor | null,
): void {
  const operation = 'scaleRowsBackward';
  checkCoefficients(operation, x, coefficients, column);
  checkSameRows(operation, x, dY);
  if (dX) {
    checkSameRows(operation, x, dX);
    checkApart(operation, dX, x, coefficients, dY, dCoefficients);
  }
  if (dCoefficients) {
    checkSameRows(operation, coefficients, dCoefficients);
    checkApart(operation, dCoefficients, x, coefficients, dY);
  }
}

function checkCoefficients(operation: string, x: Tensor, coefficients: Tensor, column: number): void {
  checkFloats(operation, x, coefficients);
  const [rows, height, width] = [heightOf(x), heightOf(coefficients), widthOf(coefficients)];
  if (height !== rows || !Number.isInteger(column) || column < 0 || column >= width) {
    throw shapeError(operation, `column ${column} of [${height}, ${width}] for ${rows} rows`);
  }
}

function checkSameRows(operation: string, x: Tensor, y: Tensor): void {
  checkFloats(operation, y);
  const [rows, width] = [heightOf(x), widthOf(x)];
  if (heightOf(y) === rows && widthOf(y) === width) return;
  throw shapeError(operation, `[${heightOf(y)}, ${widthOf(y)}] of [${rows}, ${width}]`);
}

/** Of `scale` and `softmax`, which take any shape. */
export function checkInPlace(operation: 'scale' | 'softmax' | 'fill', x: Tensor): void {
  checkRowMajor(operation, x, 'f32');
}
