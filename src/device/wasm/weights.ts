import { byteLengthOf } from '../../element-types.ts';
import { notFinite } from '../checks/memory.ts';
import type { WeightSource } from '../device.ts';
import { type Kernels, PANEL_TYPE } from './kernels.ts';
import type { Lanes } from './lanes.ts';
import type { WasmMemory } from './memory.ts';

/** Numbers below which packing is not worth a command to the lanes. */
const FEW = 1 << 15;
/** Bytes read at a time, unless one group of rows is larger. */
const STAGING = 1 << 20;

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** Reads until the bytes are really in the memory: growth during the read detaches the view that was being filled. */
async function readStaged(memory: WasmMemory, at: number, bytes: number, read: (target: Uint8Array) => Promise<void>) {
  for (;;) {
    const view = memory.u8;
    await read(view.subarray(at, at + bytes));
    if (memory.u8 === view) return;
  }
}

/** What panels are filled with: the kernels, shared out to the lanes. */
export interface Loading {
  readonly kernels: Kernels;
  readonly memory: WasmMemory;
  readonly lanes: Lanes;
}

/** Fills panels at `at` from the source, while the rows behind are being read. Returns the shift of the scales. @throws E_TENSOR_VALUE */
export async function readPanels(
  { kernels, memory, lanes }: Loading,
  source: WeightSource,
  at: number,
): Promise<number> {
  const type = PANEL_TYPE[source.type];
  const { rows, columns } = source;
  const panelBytes = kernels.panelBytes(type, columns);
  const rowBytes = byteLengthOf(source.type, columns);
  const group = source.order ? (8 * source.orderGroup) / greatestCommonDivisor(8, source.orderGroup) : 8;
  const chunkRows = Math.min(
    Math.ceil(rows / group) * group,
    Math.max(1, Math.floor(STAGING / (rowBytes * group))) * group,
  );
  const stagingBytes = Math.min(rows, chunkRows) * rowBytes;
  const chunkPanels = Math.ceil(chunkRows / 8);
  // one is read into while the other is packed
  const stagings = [stagingBytes, rows > chunkRows ? stagingBytes : 0].map((bytes) => memory.allocate(bytes));
  const mostAt = memory.allocate(4 * chunkPanels);
  const orderAt = source.order ? memory.allocate(32 * chunkPanels) : 0;
  const countFrom = (first: number) => Math.min(chunkRows, rows - first);
  const read = (first: number): Promise<void> => {
    const to = stagings[(first / chunkRows) % 2]!;
    return readStaged(memory, to, countFrom(first) * rowBytes, (target) => source.read(first, target));
  };
  const bad = source.type === 'f32' || source.type === 'bf16' ? 255 : 31;
  let next: Promise<void> | null = null;
  try {
    let most = 0;
    next = read(0);
    for (let first = 0; first < rows; first += chunkRows) {
      await next;
      const behind = first + chunkRows;
      next = behind < rows ? read(behind) : null;
      const count = countFrom(first);
      const panels = Math.ceil(count / 8);
      const { buffer } = memory.memory;
      if (source.order) {
        const table = new Uint32Array(buffer, orderAt, count);
        for (let i = 0; i < count; i++) table[i] = source.order(first + i) - first;
      }
      const staging = stagings[(first / chunkRows) % 2]!;
      const values = [type, 0, 0, count, columns, staging, orderAt, mostAt, at + (first / 8) * panelBytes] as const;
      const parts = lanes.parts(count * columns, FEW, 2);
      lanes.share(panels, parts, [{ name: 'packPanels', values, range: 1, before: 0, count: panels }]);
      for (const exponent of new Int32Array(buffer, mostAt, panels)) most = Math.max(most, exponent);
      if (most === bad) throw notFinite(source.name);
    }
    if (source.type === 'f32' || source.type === 'bf16' || source.type === 'f16') return 0;
    const shift = 29 - most; // the largest scale lands in [2^14, 2^15)
    const all = Math.ceil(rows / 8);
    const values = [type, 0, 0, at, columns, shift] as const;
    const parts = lanes.parts(rows * columns, FEW, 2);
    lanes.share(all, parts, [{ name: 'shiftScales', values, range: 1, before: 0, count: all }]);
    return shift;
  } finally {
    // what is still being read would be written into memory of somebody else
    await next?.catch(() => {});
    for (const one of [...stagings, mostAt, orderAt]) if (one !== 0) memory.free(one);
  }
}

/** Reads one row of f32, f16 or bf16 as f32 to `at`. @throws E_TENSOR_VALUE */
export async function readVector(
  kernels: Kernels,
  memory: WasmMemory,
  source: WeightSource,
  at: number,
): Promise<void> {
  const n = source.columns;
  const bytes = byteLengthOf(source.type, n);
  const staging = memory.allocate(bytes);
  try {
    await readStaged(memory, staging, bytes, (target) => source.read(0, target));
    if (source.type === 'f32') memory.u8.copyWithin(at, staging, staging + bytes);
    else if (source.type === 'f16') kernels.f16ToF32(n, staging, at);
    else kernels.bf16ToF32(n, staging, at);
    if (source.order) {
      const values = new Float32Array(memory.memory.buffer, at, n);
      const stored = values.slice();
      for (let i = 0; i < n; i++) values[i] = stored[source.order(i)]!;
    }
    if (kernels.notFinite(n, at)) throw notFinite(source.name);
  } finally {
    memory.free(staging);
  }
}
