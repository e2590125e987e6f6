import type { KernelName, Kernels } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';

/** Elements below which an operation on rows is not worth a command to the lanes. */
const FEW = 1 << 14;
/** Elements of a range without rows, in whole cache lines. */
export const LINE = 16;

/** As `Lanes.run`, for `rows` rows of `width` elements; few of them stay in this thread. */
export function overRows<K extends KernelName>(
  lanes: Lanes,
  name: K,
  rows: number,
  width: number,
  args: (first: number, last: number) => Readonly<Parameters<Kernels[K]>>,
  align = 1,
): void {
  lanes.run(name, evenly(rows, lanes.parts(rows * width, FEW, 2), align), args);
}
