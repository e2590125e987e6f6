/** What kernels share in which each element is by itself: four of them at a time where memory is aligned so. */
import { heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import type { Access, Kernel, KernelText } from './kernel.ts';
import { byElements, byRows } from './pieces.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 256;
/** Elements of a workgroup. */
const GROUP_ELEMENTS = 4 * WORKGROUP;

export interface ElementwiseText {
  /** Those of type T, or of the type that is told. */
  readonly buffers: readonly (readonly [name: string, access: Access, element?: string])[];
  readonly numbers?: readonly string[];
  readonly declarations?: string;
  /** `i` is the number of the element, or of the four. */
  readonly body: string;
}

/** T is f32, or of a wide one vec4f. */
export function elementwise(wide: boolean, { buffers, numbers, declarations, body }: ElementwiseText): KernelText {
  const each = wide ? 1 : 4;
  return {
    buffers: buffers.map(([name, access, element]) => [name, element ?? (wide ? 'vec4f' : 'f32'), access] as const),
    numbers: ['count: u32', ...(numbers ?? [])],
    workgroup: WORKGROUP,
    declarations: `alias T = ${wide ? 'vec4f' : 'f32'};\n${declarations ?? ''}`,
    body: `for (var e = 0u; e < ${each}u; e++) {
    let i = (group * ${each}u + e) * ${WORKGROUP}u + li;
    if (i < u.count) { ${body} }
  }`,
  };
}

/** Runs it over the elements of tensors of equal length, bound in their order. */
export function overElements(
  { commands }: GpuParts,
  of: (wide: boolean) => Kernel,
  tensors: readonly Tensor[],
  numbers: readonly number[] = [],
): void {
  for (const { bound, count } of byElements(commands.bindingLimit, tensors)) {
    const wide = count % 4 === 0 && bound.every(isAligned);
    commands.run(of(wide), bound, [wide ? count / 4 : count, ...numbers], Math.ceil(count / GROUP_ELEMENTS));
  }
}

/**
 * The same over rows of equal width, with other tensors that have as many rows, bound behind them, and ones that are bound as a whole. The first two numbers
 * are the count and the width of a row, in T.
 */
export function overRowElements(
  { commands }: GpuParts,
  of: (wide: boolean) => Kernel,
  tensors: readonly Tensor[],
  {
    beside = [],
    whole = [],
    numbers = [],
  }: { beside?: readonly Tensor[]; whole?: readonly Bound[]; numbers?: number[] },
): void {
  const width = widthOf(tensors[0]!);
  if (width === 0 || heightOf(tensors[0]!) === 0) return;
  for (const { bound, rows } of byRows(commands.bindingLimit, [...tensors, ...beside])) {
    const wide = width % 4 === 0 && bound.slice(0, tensors.length).every(isAligned) && whole.every(isAligned);
    const unit = wide ? 4 : 1;
    const given = [(rows * width) / unit, width / unit, ...numbers];
    commands.run(of(wide), [...bound, ...whole], given, Math.ceil((rows * width) / GROUP_ELEMENTS));
  }
}

/** Whether it can be bound as vec4f. */
export function isAligned({ offset }: Bound): boolean {
  return offset % 16 === 0;
}
