/** What the kernels of one row and of four share (gemv.ts, gemv-four.ts). Not exported by the module: some of it takes vectors. */
import { anyHalves, bfloats } from './panel';
import { MASKS } from './math';

/** Writes 8 results; the last panel of a matrix may have fewer. */
// @ts-ignore: decorator
@inline
export function storeEight(y: usize, n: i32, v0: v128, v1: v128): void {
  if (n >= 8) {
    v128.store(y, v0);
    v128.store(y, v1, 16);
    return;
  }
  for (let i = 0; i < n; i++) {
    store<f32>(y + (<usize>i << 2), f32x4.extract_lane(i < 4 ? v0 : v1, 0));
    if (i < 4) v0 = v128.shuffle<f32>(v0, v0, 1, 2, 3, 0);
    else v1 = v128.shuffle<f32>(v1, v1, 1, 2, 3, 0);
  }
}

// @ts-ignore: decorator
@inline
export function loadFour<T>(p: usize): v128 {
  if (sizeof<T>() == 4) return v128.load(p);
  if (isSigned<T>()) return bfloats(p);
  return anyHalves(p);
}

/** How many of `rows` rows go by fours; the last four may be three. The others go one by one. */
// @ts-ignore: decorator
@inline
export function rowsByFour(rows: i32): i32 {
  return min(rows, (rows + 1) & ~3);
}

/** 2^(56 - shift): what makes quantised results right (gemv.ts). */
// @ts-ignore: decorator
@inline
export function finish(shift: i32): v128 {
  return f32x4.splat(<f32>reinterpret<f64>((<u64>(1023 + 56 - shift)) << 52));
}

/** One step of 4 k by 8 columns. */
// @ts-ignore: decorator
@inline
export function low4(w: v128): v128 {
  return v128.and(w, v128.load(MASKS));
}
// @ts-ignore: decorator
@inline
export function high4(w: v128): v128 {
  return v128.and(i16x8.shr_u(w, 4), v128.load(MASKS));
}
