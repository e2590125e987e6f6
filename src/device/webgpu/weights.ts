import { BLOCK_SIZE, byteLengthOf } from '../../element-types.ts';
import { notFinite } from '../checks/memory.ts';
import { shapeError } from '../checks/tensor.ts';
import type { ElementType, WeightSource } from '../device.ts';
import type { Bound } from './commands.ts';
import type { GpuMemory } from './memory.ts';
import { GpuTensor } from './tensor.ts';

/** Bytes read and uploaded at a time, unless one group of rows is larger. */
const STAGING = 4 << 20;
/** Rows of weights begin at multiples of this: a vec4 of f32. */
const ROW_ALIGN = 16;

/**
 * How matrices [rows, K] of a type stand in a buffer. Plain numbers: row by row, each padded with zeros to 16 bytes. Quantised ones: the codes of all
 * blocks as in the file, 32 or 16 bytes each, row by row; behind them, from `scalesAt` on, what stood before each block's codes, a scale in f16 or a scale and a
 * minimum: 2 or 4 bytes a block, in the same order, each row from a whole word of 4 bytes on.
 */
export interface PanelLayout {
  readonly rowBytes: number;
  /** Bytes of a row's scales; 0: none. */
  readonly scaleBytes: number;
  /** Where they begin; the end of the codes or numbers. */
  readonly scalesAt: number;
  readonly bytes: number;
}

export function panelLayout(type: ElementType, rows: number, columns: number): PanelLayout {
  const block = BLOCK_SIZE[type];
  if (block.elements === 1) {
    const rowBytes = aligned(byteLengthOf(type, columns), ROW_ALIGN);
    return { rowBytes, scaleBytes: 0, scalesAt: rows * rowBytes, bytes: rows * rowBytes };
  }
  const blocks = columns / block.elements;
  const head = headOf(type);
  const rowBytes = blocks * (block.bytes - head);
  const scalesAt = aligned(rows * rowBytes, 256);
  const scaleBytes = aligned(blocks * head, 4);
  return { rowBytes, scaleBytes, scalesAt, bytes: scalesAt + rows * scaleBytes };
}

/** Bytes before the codes of a block: a scale, or a scale and a minimum. @throws E_SHAPE for a type that has none */
function headOf(type: ElementType): number {
  switch (type) {
    case 'q4_0':
    case 'q8_0':
      return 2;
    case 'q4_1':
    case 'q8_1':
      return 4;
    case 'f32':
    case 'f16':
    case 'bf16':
    case 'i32':
    case 'u32':
    case 'i8':
      throw shapeError('loadMatrix', `${type} has no blocks`);
    default:
      return type satisfies never;
  }
}

/** A weight in panels, or a view of one of a stack. */
export class GpuPanels extends GpuTensor {
  readonly plan: PanelLayout;
  /** Which row of the buffer its first one is: blocks are counted from the buffer's first row. */
  readonly firstRow: number;

  constructor(
    type: ElementType,
    shape: readonly number[],
    memory: GpuMemory,
    plan: PanelLayout,
    firstRow: number,
    release: ((tensor: GpuTensor) => void) | null,
    owner: GpuTensor | null = null,
  ) {
    const columns = shape[shape.length - 1]!;
    const rows = columns === 0 ? 0 : shape.slice(0, -1).reduce((a, b) => a * b, 1);
    super(type, shape, 'panels', memory, firstRow * plan.rowBytes, rows * plan.rowBytes, release, owner);
    this.plan = plan;
    this.firstRow = firstRow;
  }

  /** Codes or numbers of some of its rows. */
  part(first: number, rows: number): Bound {
    const { rowBytes } = this.plan;
    return { memory: this.memory, offset: this.offset + first * rowBytes, byteLength: rows * rowBytes };
  }

  /** What scales the blocks of some of its rows; null for plain numbers. */
  scalesPart(first: number, rows: number): Bound | null {
    const { scalesAt, scaleBytes } = this.plan;
    if (scaleBytes === 0) return null;
    const offset = scalesAt + (this.firstRow + first) * scaleBytes;
    return { memory: this.memory, offset, byteLength: rows * scaleBytes };
  }
}

/** What takes rows of weights on their way to the GPU. */
export type Upload = (offset: number, bytes: Uint8Array<ArrayBuffer>) => void;

/** Reads a matrix to rows `firstRow` .. of a buffer. @throws E_TENSOR_VALUE */
export async function readPanels(
  source: WeightSource,
  plan: PanelLayout,
  firstRow: number,
  upload: Upload,
): Promise<void> {
  const { rows, columns, type, order } = source;
  const fileRow = byteLengthOf(type, columns);
  const group = order ? source.orderGroup : 1;
  const most = Math.max(1, Math.floor(STAGING / (fileRow * group))) * group;
  for (let first = 0; first < rows; first += most) {
    const count = Math.min(most, rows - first);
    const read = new Uint8Array(count * fileRow);
    await source.read(first, read);
    let bytes = read;
    if (order) {
      bytes = new Uint8Array(read.length);
      for (let row = 0; row < count; row++) {
        const from = (order(first + row) - first) * fileRow;
        bytes.set(read.subarray(from, from + fileRow), row * fileRow);
      }
    }
    const at = firstRow + first;
    if (plan.scaleBytes > 0) splitBlocks(source, bytes, plan, at, upload);
    else {
      checkFinite(source, bytes);
      upload(at * plan.rowBytes, padRows(bytes, count, fileRow, plan.rowBytes));
    }
  }
}

/** A row of f32, f16 or bf16 as f32. @throws E_TENSOR_VALUE */
export async function readVector(source: WeightSource): Promise<Float32Array<ArrayBuffer>> {
  const n = source.columns;
  const bytes = new Uint8Array(byteLengthOf(source.type, n));
  await source.read(0, bytes);
  checkFinite(source, bytes);
  const stored = source.type === 'f32' ? new Float32Array(bytes.buffer) : widened(source.type, bytes);
  const { order } = source;
  return order ? Float32Array.from({ length: n }, (_, i) => stored[order(i)]!) : stored;
}

function widened(type: ElementType, bytes: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const halves = new Uint16Array(bytes.buffer);
  if (type === 'f16') return Float32Array.from(halves, f16ToNumber);
  const words = Uint32Array.from(halves, (half) => half << 16);
  return new Float32Array(words.buffer);
}

function f16ToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

function padRows(bytes: Uint8Array<ArrayBuffer>, count: number, from: number, to: number): Uint8Array<ArrayBuffer> {
  if (from === to) return bytes;
  const padded = new Uint8Array(count * to);
  for (let row = 0; row < count; row++) padded.set(bytes.subarray(row * from, (row + 1) * from), row * to);
  return padded;
}

/** Codes to their rows, and heads to theirs. */
function splitBlocks(
  source: WeightSource,
  bytes: Uint8Array<ArrayBuffer>,
  plan: PanelLayout,
  firstRow: number,
  upload: Upload,
): void {
  const block = BLOCK_SIZE[source.type].bytes;
  const head = headOf(source.type);
  const codes = block - head;
  const count = bytes.length / block;
  const blocks = source.columns / BLOCK_SIZE[source.type].elements;
  const [outCodes, outHeads] = [new Uint8Array(count * codes), new Uint8Array((count / blocks) * plan.scaleBytes)];
  for (let i = 0; i < count; i++) {
    const at = i * block;
    const to = Math.floor(i / blocks) * plan.scaleBytes + (i % blocks) * head;
    for (let b = 0; b < head; b++) outHeads[to + b] = bytes[at + b]!;
    outCodes.set(bytes.subarray(at + head, at + block), i * codes);
  }
  const halves = new Uint16Array(outHeads.buffer);
  for (const half of halves) if ((half & 0x7c00) === 0x7c00) throw notFinite(source.name);
  upload(firstRow * plan.rowBytes, outCodes);
  upload(plan.scalesAt + firstRow * plan.scaleBytes, outHeads);
}

function checkFinite({ name, type }: WeightSource, bytes: Uint8Array<ArrayBuffer>): void {
  if (type === 'f32') {
    for (const word of new Uint32Array(bytes.buffer)) if ((word & 0x7f800000) === 0x7f800000) throw notFinite(name);
    return;
  }
  const mask = type === 'bf16' ? 0x7f80 : 0x7c00;
  for (const half of new Uint16Array(bytes.buffer)) if ((half & mask) === mask) throw notFinite(name);
}

const aligned = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;
