import type { Device, Tensor } from './device.ts';

/**
 * A device that takes numbers apart into digits so short that products of them are summed exactly in f32, in whatever order and however an
 * addition and a multiplication are fused: of these sums more digits than f32 has are put together again (svd/gram-by-digits.ts). Growing asks for it.
 */
export interface DigitDevice extends Device {
  /**
   * A digit of each number, out[i, k] = q_place of x = 2^e · Σ_s q_s · 2^(-7 - 8 s), whole numbers |q_s| <= 128: the first is x · 2^(7 - e) rounded, each
   * further one what is left times 256. Exact for subnormal numbers, too; e is the exponent of the number's row or column, and what
   * `digits` digits leave is at most 2^(e - 8 digits).
   */
  takeDigit(args: DigitArguments): void;
  /** sums = factor · x, or with `accumulate` sums += factor · x. Of x f32, whole numbers below 2^31, and sums i32, of as many elements. */
  addWhole(x: Tensor, sums: Tensor, options: AddWholeOptions): void;
}

export interface DigitArguments {
  /** f32 [rows, columns], finite. */
  readonly x: Tensor;
  /** Whether sums will run along the rows of x or along its columns: the other index is i. */
  readonly along: 'rows' | 'columns';
  /** i32, one for each i: no number there is larger than 2^e. The caller's promise. */
  readonly exponents: Tensor;
  /** First of those places along the sum that are taken, k = 0. */
  readonly first: number;
  /** Number of the digit, 0 to 11. */
  readonly place: number;
  /** f32, [rows, count] along rows, [columns, count] along columns. */
  readonly out: Tensor;
}

export interface AddWholeOptions {
  /** A whole number. */
  readonly factor: number;
  readonly accumulate: boolean;
}

/** Digits that there are: beyond them numbers would be subnormal. */
export const MOST_DIGITS = 12;
