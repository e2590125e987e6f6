import type { StepArguments } from '../device.ts';
import { checkRotation } from './layers.ts';
import { checkApart, checkFloats, elements, heightOf, shapeError, widthOf } from './tensor.ts';

export function checkAttendEach(args: StepArguments): void {
  const { q, k, v, out, table, rotation, sequences, nHeads, nKvHeads, headDim } = args;
  checkFloats('attendEach', q, k, v, out);
  checkFloats('attendEach', table);
  const [rows, width, cacheWidth] = [sequences.length, nHeads * headDim, nKvHeads * headDim];
  const fits = (rowsOf: number, widthIs: number, wanted: number) => rowsOf === rows && widthIs === wanted;
  if (
    !fits(heightOf(q), widthOf(q), width) ||
    !fits(heightOf(out), widthOf(out), width) ||
    !fits(heightOf(k), widthOf(k), cacheWidth) ||
    !fits(heightOf(v), widthOf(v), cacheWidth) ||
    nHeads % nKvHeads !== 0
  ) {
    throw shapeError('attendEach', `${rows} sequences, and q [${heightOf(q)}, ${widthOf(q)}]`);
  }
  // a layout of other heads may be given
  checkRotation('attendEach', width, { ...rotation, heads: nHeads, headDim });
  checkRotation('attendEach', cacheWidth, { ...rotation, heads: nKvHeads, headDim });
  const tableRows = table ? elements(table.shape) / rotation.rotaryDims : 0;
  for (const { keys, values, base, position } of sequences) {
    checkFloats('attendEach', keys, values);
    const room = Math.min(heightOf(keys), heightOf(values));
    if (widthOf(keys) !== cacheWidth || widthOf(values) !== cacheWidth || !isBelow(base, room)) {
      throw shapeError('attendEach', `row ${base} of a cache [${room}, ${widthOf(keys)}]`);
    }
    if (table && !isBelow(position, tableRows)) {
      throw shapeError('attendEach', `row ${position} of a table of ${tableRows}`);
    }
    checkApart('attendEach', keys, q, k, v, out);
    checkApart('attendEach', values, q, k, v, out);
    checkApart('attendEach', keys, values, table);
    checkApart('attendEach', values, table);
  }
  checkApart('attendEach', out, q, k, v, table);
  checkApart('attendEach', q, k, v, table);
  checkApart('attendEach', k, v, table);
}

function isBelow(n: number, end: number): boolean {
  return Number.isInteger(n) && n >= 0 && n < end;
}
