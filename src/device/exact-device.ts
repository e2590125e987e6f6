import type { Device, Tensor } from './device.ts';

/**
 * A device whose results are the same bits on every machine and for any number of threads: what growing writes must be. Its
 * numbers are f32 in a stated order, its draws integers. A GPU may fuse a multiplication and an addition and flush small numbers, and
 * is none.
 */
export interface ExactDevice extends Device {
  /**
   * to[i] = anchor[i] + (scale · from[i] + std · normal(seed, stream, first + i)), each step in f32, rounded to the type of `to` once
   * (assembly/noise.ts).
   */
  perturb(args: PerturbArguments): void;
}

export interface PerturbArguments {
  /** f32, f16 or bf16 */
  readonly to: Tensor;
  /** f32 like `to`, or null for zeros; `to` may be it where that is f32. */
  readonly from: Tensor | null;
  /** Of `from`. Default 1. */
  readonly scale?: number;
  /** f32 like `to`, or null for zeros. */
  readonly anchor?: Tensor | null;
  /** Standard deviation of the normal numbers. Default 0: none are drawn. */
  readonly std?: number;
  /** 0 to 2^53 - 1 */
  readonly seed?: number;
  /** Two words of 32 bits that tell apart uses of one seed. */
  readonly stream?: readonly [number, number];
  /** Number of the first draw, 0 to 2^53 - 1: a part of a matrix gets what the whole would get there. */
  readonly first?: number;
}
