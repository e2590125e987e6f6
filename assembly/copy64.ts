/** f64 matrices transposed and mirrored, and their largest magnitude. ld in bytes between rows. */

/**
 * Rows first .. last - 1 of a [rows, cols] become columns of `to` [cols, rows]; in squares of 8, since rows a multiple of 4 KiB apart
 * share the eight lines of one set of level 1.
 */
export function transpose64(first: i32, last: i32, cols: i32, a: usize, ld: usize, to: usize, ldTo: usize): void {
  for (let i = first; i < last; i += 8) {
    const rows = min(8, last - i);
    for (let j = 0; j < cols; j += 8) {
      const n = min(8, cols - j);
      const from = a + <usize>i * ld + (<usize>j << 3), out = to + <usize>j * ldTo + (<usize>i << 3);
      if (rows == 8 && n == 8) {
        for (let c: usize = 0; c < 8; c += 2) {
          let x = from + (c << 3), y = out + c * ldTo;
          for (let r = 0; r < 8; r += 2, x += 2 * ld, y += 16) {
            const u = v128.load(x), v = v128.load(x + ld);
            v128.store(y, v128.shuffle<f64>(u, v, 0, 2));
            v128.store(y + ldTo, v128.shuffle<f64>(u, v, 1, 3));
          }
        }
        continue;
      }
      for (let r: usize = 0; r < <usize>rows; r++) {
        for (let c: usize = 0; c < <usize>n; c++) {
          store<f64>(out + c * ldTo + (r << 3), load<f64>(from + r * ld + (c << 3)));
        }
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
  const zero = f64x2.splat(0);
  // x - x is 0 but for infinity and NaN
  let most = zero, wrong = zero, i = n;
  for (; i >= 2; i -= 2, x += 16) {
    const v = v128.load(x);
    most = f64x2.pmax(most, f64x2.abs(v));
    wrong = v128.or(wrong, f64x2.ne(f64x2.sub(v, v), zero));
  }
  let value = max(f64x2.extract_lane(most, 0), f64x2.extract_lane(most, 1));
  if (i > 0) {
    const v = load<f64>(x);
    value = max(value, abs(v));
    if (v - v != 0) return Infinity;
  }
  return v128.any_true(wrong) ? Infinity : value;
}
