import type { PlaceArguments, StoredRows, Tensor } from '../device.ts';
import { ROW_TYPE } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import type { Arena, WasmMemory } from './memory.ts';
import { addressOf, elements, rowsOf, shapeError } from './tensor.ts';

/** Elements below which the work is not worth a command to the lanes. */
const FEW = 1 << 14;

/** As Device.storeRows. @throws E_SHAPE, E_DISPOSED */
export function storeRows(lanes: Lanes, from: Tensor, to: StoredRows, toRow: number, heads: number): void {
  const { rows, width } = rowsOf(from);
  const { type, at, scales, rows: room } = addresses('storeRows', to, width, heads);
  if (!Number.isInteger(toRow) || toRow < 0 || toRow + rows > room || width % heads !== 0) {
    throw shapeError('storeRows', `[${rows}, ${width}] to row ${toRow} of ${room}`);
  }
  const source = addressOf(from, 'storeRows', 'f32');
  const bytes = to.data.byteLength / room;
  const scalesAt = scales && scales + 4 * heads * toRow;
  lanes.run('storeRows', evenly(rows, lanes.parts(rows * width, FEW, 2)), (first, last) => {
    return [first, last, heads, width / heads, ROW_TYPE[type], source, at + bytes * toRow, scalesAt];
  });
}

/** As Device.placeRows. @throws E_SHAPE, E_DISPOSED */
export function placeRows(arena: Arena, memory: WasmMemory, lanes: Lanes, args: PlaceArguments): void {
  const { from, to, layers, toRow, factor, tables } = args;
  const { heads, headDim, rotaryDims, layout } = args.layout;
  const width = heads * headDim;
  const { type, at, scales, rows: all } = addresses('placeRows', from, width, heads);
  const target = rowsOf(to);
  const [rows, capacity] = [all / layers, target.rows / layers];
  if (![rows, capacity, toRow].every(Number.isInteger) || rotaryDims > headDim || rotaryDims % 2 !== 0) {
    throw shapeError('placeRows', `${all} rows of ${layers} layers to row ${toRow} of ${target.rows}`);
  }
  if (target.width !== width || toRow < 0 || toRow + rows > capacity) {
    throw shapeError('placeRows', `${rows} rows of ${width} to row ${toRow} of [${capacity}, ${target.width}] a layer`);
  }
  if (tables && tables.length !== layers) {
    throw shapeError('placeRows', `${tables.length} tables of ${layers} layers`);
  }
  const angles = tables?.map((table) => {
    if (table && elements(table.shape) !== rows * rotaryDims) {
      throw shapeError('placeRows', `a table of ${elements(table.shape)} for ${rows} rows of ${rotaryDims} rotating`);
    }
    return table ? addressOf(table, 'placeRows', 'f32') : 0;
  });
  const toAt = addressOf(to, 'placeRows', 'f32');
  const mark = arena.mark();
  const list = angles ? arena.allocate(4 * layers) : 0;
  if (angles) new Uint32Array(memory.memory.buffer, list, layers).set(angles);
  const interleaved = layout === 'interleaved' ? 1 : 0;
  lanes.run('placeRows', evenly(all, lanes.parts(all * width, FEW, 2)), (first, last) => {
    const shape = [first, last, rows, heads, headDim, rotaryDims, interleaved] as const;
    return [...shape, ROW_TYPE[type], at, scales, factor, list, toAt, capacity, toRow];
  });
  arena.reset(mark);
}

function addresses(operation: string, stored: StoredRows, width: number, heads: number) {
  const { data, scales } = stored;
  const at = addressOf(data, operation, 'f32', 'f16', 'i8');
  const { rows, width: have } = rowsOf(data);
  if (
    have !== width ||
    (data.type === 'i8') !== (scales !== null) ||
    (scales && elements(scales.shape) !== rows * heads)
  ) {
    throw shapeError(operation, `stored rows of ${have} in ${data.type}, wanted are ${width} of ${heads} heads`);
  }
  return {
    type: data.type as 'f32' | 'f16' | 'i8',
    at,
    scales: scales ? addressOf(scales, operation, 'f32') : 0,
    rows,
  };
}
