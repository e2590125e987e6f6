import { storedType } from '../checks/stored-rows.ts';
import { heightOf, widthOf } from '../checks/tensor.ts';
import type { PlaceArguments, StoredRows, Tensor } from '../device.ts';
import { ROPE_LAYOUT, ROW_TYPE } from './kernels.ts';
import type { Lanes } from './lanes.ts';
import type { Arena, WasmMemory } from './memory.ts';
import { overRows } from './over-rows.ts';
import { addressOf } from './tensor.ts';

/** As Device.storeRows. */
export function storeRows(
  arena: Arena,
  lanes: Lanes,
  from: Tensor,
  to: StoredRows,
  toRow: number,
  heads: number,
): void {
  const [rows, width] = [heightOf(from), widthOf(from)];
  const at = addressOf(to.data) + (to.data.byteLength / heightOf(to.data)) * toRow;
  const scales = to.scales ? addressOf(to.scales) + heads * toRow : 0;
  const mark = arena.mark();
  const { at: work, stride } = lanes.scratch(arena, (4 * width) / heads);
  const type = ROW_TYPE[storedType(to, width)];
  const values = [0, 0, heads, width / heads, type, addressOf(from), at, scales, work] as const;
  overRows(lanes, 'storeRows', rows, width, values, { own: { index: 8, stride } });
  arena.reset(mark);
}

/** As Device.placeRows. */
export function placeRows(arena: Arena, memory: WasmMemory, lanes: Lanes, args: PlaceArguments): void {
  const { from, to, layers, toRow, factor, tables } = args;
  const { heads, headDim, rotaryDims, layout } = args.layout;
  const all = heightOf(from.data);
  const capacity = heightOf(to) / layers;
  const mark = arena.mark();
  const list = tables ? arena.allocate(4 * layers) : 0;
  if (tables) new Uint32Array(memory.memory.buffer, list, layers).set(tables.map(addressOf));
  const interleaved = ROPE_LAYOUT[layout];
  const shape = [0, 0, all / layers, heads, headDim, rotaryDims, interleaved] as const;
  const source = [ROW_TYPE[storedType(from, heads * headDim)], addressOf(from.data), addressOf(from.scales)] as const;
  const target = [factor, list, addressOf(to), capacity, toRow] as const;
  overRows(lanes, 'placeRows', all, heads * headDim, [...shape, ...source, ...target]);
  arena.reset(mark);
}
