import { heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { kernel } from './kernel.ts';
import { byRows, part } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 64;

/** Numbers of 32 bits, whatever they are. */
const COLUMN = kernel('column', () => ({
  buffers: [
    ['x', 'u32', 'read'],
    ['y', 'u32', 'write'],
  ],
  numbers: ['rows: u32', 'width: u32', 'column: u32'],
  workgroup: WORKGROUP,
  body: `let row = group * ${WORKGROUP}u + li;
  if (row < u.rows) { y[u.yAt + row] = x[u.xAt + row * u.width + u.column]; }`,
}));

export function takeColumn({ commands }: GpuParts, x: Tensor, column: number, out: Tensor): void {
  const width = widthOf(x);
  if (heightOf(x) === 0) return;
  for (const { bound, first, rows } of byRows(commands.bindingLimit, [x])) {
    const to = part(out as GpuTensor, 4 * first, 4 * rows);
    commands.run(COLUMN, [bound[0]!, to], [rows, width, column], Math.ceil(rows / WORKGROUP));
  }
}
