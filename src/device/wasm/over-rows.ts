import type { LaneScratch, SharedCall } from './calls.ts';
import type { KernelName, Kernels } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';

/** Elements below which an operation on rows is not worth a command to the lanes. */
const FEW = 1 << 14;
/** Elements of a range without rows, in whole cache lines. */
export const LINE = 16;

/**
 * A kernel over `rows` rows of `width` elements, shared out by rows; few of them stay in this thread.
 * @param values its arguments, of which two, the range of rows, are replaced
 * @param range which they are @param align what ranges are multiples of @param own memory of each lane: see `LaneScratch`
 */
export function overRows<K extends KernelName>(
  lanes: Lanes,
  name: K,
  rows: number,
  width: number,
  values: Readonly<Parameters<Kernels[K]>>,
  { range = 0, align = 1, own }: { readonly range?: number; readonly align?: number; readonly own?: LaneScratch } = {},
): void {
  const call = { name, values, range, before: 0, count: rows, own } as unknown as SharedCall;
  lanes.share(rows, lanes.parts(rows * width, FEW, 2), [call], align);
}

/** A kernel that takes a count of elements, and addresses that are so many bytes further on; ranges are whole cache lines. */
export function overElements<K extends KernelName>(
  lanes: Lanes,
  name: K,
  count: number,
  args: (count: number, bytes: number) => Readonly<Parameters<Kernels[K]>>,
): void {
  const bounds = evenly(count, lanes.parts(count, FEW, 2), LINE);
  lanes.run(name, bounds, (first, last) => args(last - first, 4 * first));
}
