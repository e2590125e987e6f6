/** What products read: a matrix by rows, f32 as it is or a weight in panels, and parts of it. */
import { heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { part } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuPanels } from './weights.ts';

/** How a kernel reads four numbers of a row: `f32` as one vector; `f32 by one` where rows do not begin at 16 bytes. */
export type Reading = 'f32' | 'f32 by one' | 'f16' | 'bf16' | 'q8_0' | 'q8_1' | 'q4_0' | 'q4_1';

export interface Operand {
  readonly reading: Reading;
  readonly rows: number;
  readonly columns: number;
  /** Bytes from one row to the next, of numbers or codes and of scales. */
  readonly rowBytes: number;
  readonly scaleBytes: number;
  readonly data: Bound;
  /** Null for plain numbers. */
  readonly scales: Bound | null;
}

/** A row-major tensor of f32, or a weight [N, K], or a stack of them as [E · N, K]. */
export function operandOf(t: Tensor): Operand {
  const [rows, columns] = [heightOf(t), widthOf(t)];
  if (t.layout === 'rows') return floatRows(t as GpuTensor, rows, columns);
  const panels = t as GpuPanels;
  const { rowBytes, scaleBytes } = panels.plan;
  return {
    reading: panels.type as Reading,
    rows,
    columns,
    rowBytes,
    scaleBytes,
    data: panels.part(0, rows),
    scales: panels.scalesPart(0, rows),
  };
}

/** f32 [rows, columns], each row `stride` numbers behind the one before. */
export function floatRows(data: Bound, rows: number, columns: number, stride = columns): Operand {
  const reading = isVector(data, columns) && stride % 4 === 0 ? 'f32' : 'f32 by one';
  return { reading, rows, columns, rowBytes: 4 * stride, scaleBytes: 0, data, scales: null };
}

/** Whether rows of f32 are whole vectors of four. */
export function isVector({ offset }: Bound, columns: number): boolean {
  return columns % 4 === 0 && offset % 16 === 0;
}

export function rowsOf(of: Operand, first: number, rows: number): Operand {
  if (first === 0 && rows === of.rows) return of;
  const { data, scales, rowBytes, scaleBytes } = of;
  return {
    ...of,
    rows,
    data: part(data, first * rowBytes, rows * rowBytes),
    scales: scales && part(scales, first * scaleBytes, rows * scaleBytes),
  };
}

/** Columns of f32 rows. */
export function columnsOf(of: Operand, first: number, columns: number): Operand {
  if (first === 0 && columns === of.columns) return of;
  const { data, rowBytes } = of;
  return floatRows(part(data, 4 * first, data.byteLength - 4 * first), of.rows, columns, rowBytes / 4);
}

/** How many rows of so many bytes a binding holds; it begins at a multiple of 256 bytes. */
export function rowsWithin(bindingLimit: number, rowBytes: number): number {
  return Math.max(1, Math.floor((bindingLimit - 256) / Math.max(1, rowBytes)));
}
