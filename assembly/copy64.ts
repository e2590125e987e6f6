/** f64 matrices transposed and mirrored, and their largest magnitude. ld in bytes between rows. */

/** Rows first .. last - 1 of a [rows, cols] become columns of `to` [cols, rows]; in squares of 16 that stay in level 1. */
export function transpose64(first: i32, last: i32, cols: i32, a: usize, ld: usize, to: usize, ldTo: usize): void {
  for (let i = first; i < last; i += 16) {
    const rows = min(16, last - i);
    for (let j = 0; j < cols; j += 16) {
      const n = min(16, cols - j);
      for (let r = 0; r < rows; r++) {
        let from = a + <usize>(i + r) * ld + (<usize>j << 3), out = to + <usize>j * ldTo + (<usize>(i + r) << 3);
        for (let c = 0; c < n; c++, from += 8, out += ldTo) store<f64>(out, load<f64>(from));
      }
    }
  }
}

/** Copies the upper triangle of a [n, n] to the lower one. */
export function mirror64(n: i32, a: usize, ld: usize): void {
  for (let i = 0; i < n; i += 16) {
    for (let j = i; j < n; j += 16) {
      const rows = min(n, i + 16), cols = min(n, j + 16);
      for (let r = i; r < rows; r++) {
        for (let c = max(j, r + 1); c < cols; c++) {
          store<f64>(a + <usize>c * ld + (<usize>r << 3), load<f64>(a + <usize>r * ld + (<usize>c << 3)));
        }
      }
    }
  }
}

/** Largest magnitude of n numbers; infinite where one is infinite or NaN. */
export function largest64(n: i32, x: usize): f64 {
  let most: f64 = 0;
  for (let i = n; i > 0; i--, x += 8) {
    const v = abs(load<f64>(x));
    if (!(v <= f64.MAX_VALUE)) return Infinity;
    if (v > most) most = v;
  }
  return most;
}
