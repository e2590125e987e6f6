/**
 * Rotary position embedding (Su et al. 2021). The table holds, for each position, cos then sin of its angles:
 * [positions][2][rotaryDims/2] f32, computed in f64 by JavaScript, since f32 angles lose digits at long contexts.
 */

/**
 * Rotates rows first..last-1 of x [rows][heads][headDim] (rows stride bytes apart) in place. positions: [rows] i32, or 0: every
 * row uses row `fixed` of the table (a shift by one delta; its table carries no attention factor), which has tableRows. interleaved: pairs
 * (2j, 2j + 1), else (j, j + rotaryDims/2). Dimensions from rotaryDims on stay.
 */
export function rope(
  first: i32, last: i32, heads: i32, headDim: i32, rotaryDims: i32, interleaved: i32, x: usize, stride: usize,
  positions: usize, fixed: i32, table: usize, tableRows: i32,
): void {
  turn(1, first, last, heads, headDim, rotaryDims, interleaved, x, stride, positions, fixed, table, tableRows);
}

/** Of rope: x, a gradient, is rotated by the transpose, which is the angles negated; a factor that the table carries stays. */
export function ropeBackward(
  first: i32, last: i32, heads: i32, headDim: i32, rotaryDims: i32, interleaved: i32, x: usize, stride: usize,
  positions: usize, fixed: i32, table: usize, tableRows: i32,
): void {
  turn(-1, first, last, heads, headDim, rotaryDims, interleaved, x, stride, positions, fixed, table, tableRows);
}

function turn(
  sign: f32, first: i32, last: i32, heads: i32, headDim: i32, rotaryDims: i32, interleaved: i32, x: usize, stride: usize,
  positions: usize, fixed: i32, table: usize, tableRows: i32,
): void {
  const half = rotaryDims >> 1, tableRow = <usize>rotaryDims << 2;
  for (let r = first; r < last; r++) {
    // a position that is none reads some row of the table, never other memory
    const position = positions ? min(load<u32>(positions + (<usize>r << 2)), <u32>(tableRows - 1)) : <u32>fixed;
    const cos = table + <usize>position * tableRow, sin = cos + (<usize>half << 2);
    let head = x + <usize>r * stride;
    for (let h = 0; h < heads; h++, head += <usize>headDim << 2) {
      if (interleaved) rotateInterleaved(sign, head, cos, sin, half);
      else rotateHalves(sign, head, cos, sin, half);
    }
  }
}

// @ts-ignore: decorator
@inline
function rotateHalves(sign: f32, x: usize, cos: usize, sin: usize, half: i32): void {
  const bytes = <usize>half << 2, y = x + bytes, signs = f32x4.splat(sign);
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) {
    const a = v128.load(x + i), b = v128.load(y + i), c = v128.load(cos + i), s = f32x4.mul(v128.load(sin + i), signs);
    v128.store(x + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(y + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
  for (; i < bytes; i += 4) {
    const a = load<f32>(x + i), b = load<f32>(y + i), c = load<f32>(cos + i), s = load<f32>(sin + i) * sign;
    store<f32>(x + i, a * c - b * s);
    store<f32>(y + i, b * c + a * s);
  }
}

// @ts-ignore: decorator
@inline
function rotateInterleaved(sign: f32, x: usize, cos: usize, sin: usize, half: i32): void {
  for (let j: usize = 0; j < <usize>half; j++) {
    const at = x + (j << 3), a = load<f32>(at), b = load<f32>(at, 4);
    const c = load<f32>(cos + (j << 2)), s = load<f32>(sin + (j << 2)) * sign;
    store<f32>(at, a * c - b * s);
    store<f32>(at, b * c + a * s, 4);
  }
}
