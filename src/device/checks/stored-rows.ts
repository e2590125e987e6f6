import type { PlaceArguments, StoredRows, Tensor } from '../device.ts';
import { checkRotation } from './layers.ts';
import { checkApart, checkFloats, checkRowMajor, elements, heightOf, shapeError, widthOf } from './tensor.ts';

/**
 * `int8`: to nearest of 255 steps up to the largest number of a head of a row, a scale that may be an eighth too large. `int4`: of 16 steps, after a
 * Walsh-Hadamard transform, by the scale with the least error; an even headDim. Of either a head with a number that is none, or too large, is NaN.
 */
export type StoredType = 'f32' | 'f16' | 'int8' | 'int4';

export function checkStoreRows(from: Tensor, to: StoredRows, toRow: number, heads: number): void {
  checkFloats('storeRows', from);
  const [rows, width] = [heightOf(from), widthOf(from)];
  checkStored('storeRows', to, width, heads);
  const room = heightOf(to.data);
  if (!Number.isInteger(toRow) || toRow < 0 || toRow + rows > room || width % heads !== 0) {
    throw shapeError('storeRows', `[${rows}, ${width}] to row ${toRow} of ${room}`);
  }
  checkApart('storeRows', to.data, from);
  if (to.scales) {
    checkApart('storeRows', to.scales, from, to.data);
  }
}

export function checkPlaceRows({ from, to, layers, toRow, layout, tables }: PlaceArguments): void {
  const width = layout.heads * layout.headDim;
  checkStored('placeRows', from, width, layout.heads);
  checkFloats('placeRows', to);
  checkRotation('placeRows', widthOf(to), layout);
  const [all, room] = [heightOf(from.data), heightOf(to)];
  const [rows, capacity] = [all / layers, room / layers];
  const whole = Number.isInteger(rows) && Number.isInteger(capacity) && Number.isInteger(toRow);
  if (!whole || toRow < 0 || toRow + rows > capacity) {
    throw shapeError('placeRows', `${all} rows of ${layers} layers to row ${toRow} of each of ${room}`);
  }
  checkApart('placeRows', to, from.data, from.scales);
  if (tables === null) return;
  if (tables.length !== layers) throw shapeError('placeRows', `${tables.length} tables of ${layers} layers`);
  for (let layer = 0; layer < layers; layer++) {
    const table = tables[layer]!;
    if (table === null) continue;
    checkFloats('placeRows', table);
    if (elements(table.shape) !== rows * layout.rotaryDims) {
      const angles = elements(table.shape);
      throw shapeError('placeRows', `a table of ${angles} for ${rows} rows of ${layout.rotaryDims} rotating`);
    }
    checkApart('placeRows', to, table);
  }
}

/** How rows of `width` numbers are stored. */
export function storedType({ data }: StoredRows, width: number): StoredType {
  if (data.type === 'f32' || data.type === 'f16') return data.type;
  return 2 * widthOf(data) === width ? 'int4' : 'int8';
}

function checkStored(operation: string, stored: StoredRows, width: number, heads: number): void {
  const { data, scales } = stored;
  checkRowMajor(operation, data, 'f32', 'f16', 'i8');
  if (scales) checkRowMajor(operation, scales, 'i8');
  const scaled = data.type === 'i8';
  const isPacked = storedType(stored, width) === 'int4' && (width / heads) % 2 === 0;
  if (
    (widthOf(data) !== width && !isPacked) ||
    scaled !== (scales !== null) ||
    (scales && elements(scales.shape) !== heightOf(data) * heads)
  ) {
    throw shapeError(
      operation,
      `stored rows of ${widthOf(data)} in ${data.type}, wanted are ${width} of ${heads} heads`,
    );
  }
}
