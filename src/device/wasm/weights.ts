import { byteLengthOf } from '../../element-types.ts';
import { notFinite } from '../checks/memory.ts';
import type { WeightSource } from '../device.ts';
import { type Kernels, PANEL_TYPE } from './kernels.ts';
import type { WasmMemory } from './memory.ts';

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

/** Fills panels at `at` from the source. Returns the shift of the scales. @throws E_TENSOR_VALUE */
export async function readPanels(
  kernels: Kernels,
  memory: WasmMemory,
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
  const staging = memory.allocate(stagingBytes);
  const orderAt = memory.allocate(32);
  try {
    let most = 0;
    for (let first = 0; first < rows; first += chunkRows) {
      const count = Math.min(chunkRows, rows - first);
      await readStaged(memory, staging, count * rowBytes, (target) => source.read(first, target));
      for (let row = 0; row < count; row += 8) {
        const here = Math.min(8, count - row);
        if (source.order) {
          const table = new Uint32Array(memory.memory.buffer, orderAt, 8);
          for (let i = 0; i < here; i++) table[i] = source.order(first + row + i) - first;
        }
        const from = source.order ? staging : staging + row * rowBytes;
        const to = at + ((first + row) / 8) * panelBytes;
        kernels.packPanel(type, from, source.order ? orderAt : 0, here, columns, to);
      }
      const panels = Math.ceil(count / 8);
      most = Math.max(most, kernels.largestExponent(type, at + (first / 8) * panelBytes, panels, columns));
      if (most === (source.type === 'f32' || source.type === 'bf16' ? 255 : 31)) throw notFinite(source.name);
    }
    if (source.type === 'f32' || source.type === 'bf16' || source.type === 'f16') return 0;
    const shift = 29 - most; // the largest scale lands in [2^14, 2^15)
    kernels.shiftScales(type, at, Math.ceil(rows / 8), columns, shift);
    return shift;
  } finally {
    memory.free(staging);
    memory.free(orderAt);
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
