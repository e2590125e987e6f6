/**
 * Activations to integers: per row and block of 32, scale = max|x| / most and code = round(x / scale), half to even; most is 127
 * for the 8-bit kernels and 32767 for the 16-bit (`wide`) ones, whose products cost the same whatever the codes are.
 */

// @ts-ignore: decorator
@inline
function maxLane(v: v128): f32 {
  const w = f32x4.pmax(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return max(f32x4.extract_lane(w, 0), f32x4.extract_lane(w, 1));
}

// @ts-ignore: decorator
@inline
function blockMax(x: usize): f32 {
  let m = f32x4.abs(v128.load(x));
  for (let i: usize = 16; i < 128; i += 16) m = f32x4.pmax(m, f32x4.abs(v128.load(x + i)));
  return maxLane(m);
}

/** Eight codes as i16. */
// @ts-ignore: decorator
@inline
function eight(x: usize, inverse: v128): v128 {
  const a = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x), inverse)));
  const b = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x, 16), inverse)));
  return i16x8.narrow_i32x4_s(a, b);
}

// @ts-ignore: decorator
@inline
function sumLanes(v: v128): i32 {
  let w = i32x4.extadd_pairwise_i16x8_s(v);
  w = i32x4.add(w, v128.shuffle<i32>(w, w, 2, 3, 0, 1));
  return i32x4.extract_lane(w, 0) + i32x4.extract_lane(w, 1);
}

/** Pairs (k0, k2), (k1, k3) of every four: the order in which `wide` kernels meet the halves of a byte. */
// @ts-ignore: decorator
@inline
function evenOdd(v: v128): v128 {
  return v128.shuffle<i16>(v, v, 0, 2, 1, 3, 4, 6, 5, 7);
}

/**
 * One row for the matrix-vector kernels. x [K]; codes: [K] i8, or with wide [K] i16 in even-odd order; blocks [K/32][2] f32:
 * scale · 2^56 and scale · 2^56 · sum of the codes (2^56: see gemv.ts).
 */
export function quantiseRow(x: usize, k: i32, wide: i32, codes: usize, blocks: usize): void {
  const up = reinterpret<f32>((56 + 127) << 23), most: f32 = wide ? 32767 : 127;
  for (let b = k >> 5; b > 0; b--) {
    const scale = blockMax(x) / most, inverse = f32x4.splat(scale > 0 ? 1 / scale : 0);
    const q0 = eight(x, inverse), q1 = eight(x + 32, inverse), q2 = eight(x + 64, inverse), q3 = eight(x + 96, inverse);
    if (wide) {
      v128.store(codes, evenOdd(q0));
      v128.store(codes, evenOdd(q1), 16);
      v128.store(codes, evenOdd(q2), 32);
      v128.store(codes, evenOdd(q3), 48);
      codes += 64;
    } else {
      v128.store(codes, i8x16.narrow_i16x8_s(q0, q1));
      v128.store(codes, i8x16.narrow_i16x8_s(q2, q3), 16);
      codes += 32;
    }
    store<f32>(blocks, scale * up);
    store<f32>(blocks, scale * up * <f32>(sumLanes(q0) + sumLanes(q1) + sumLanes(q2) + sumLanes(q3)), 4);
    x += 128;
    blocks += 8;
  }
}

/**
 * Rows for the tile kernels, mr to a tile; rows beyond the end are zero. x: row-major, stride bytes apart. By tile:
 * codes [K/4][mr][4] i8, or with wide [K/2][mr][2] i16 in even-odd order; scales and sums [K/32][mr] f32, sum = scale · sum of
 * the codes.
 */
export function quantiseTiles(
  x: usize, stride: usize, rows: i32, k: i32, mr: i32, wide: i32, codes: usize, scales: usize, sums: usize,
): void {
  const tileBytes = <usize>(k * mr) << (wide ? 1 : 0), scaleBytes = <usize>((k >> 5) * mr) << 2, step = <usize>mr << 2;
  for (let i = 0; i < rows; i += mr) {
    for (let r = 0; r < mr; r++) {
      let from = x + <usize>(i + r) * stride;
      let out = codes + (<usize>r << 2), scaleAt = scales + (<usize>r << 2), sumAt = sums + (<usize>r << 2);
      for (let b = k >> 5; b > 0; b--, scaleAt += step, sumAt += step) {
        let q0 = i16x8.splat(0), q1 = q0, q2 = q0, q3 = q0;
        let scale: f32 = 0;
        if (i + r < rows) {
          scale = blockMax(from) / (wide ? <f32>32767 : <f32>127);
          const inverse = f32x4.splat(scale > 0 ? 1 / scale : 0);
          q0 = eight(from, inverse);
          q1 = eight(from + 32, inverse);
          q2 = eight(from + 64, inverse);
          q3 = eight(from + 96, inverse);
          from += 128;
        }
        store<f32>(scaleAt, scale);
        store<f32>(sumAt, scale * <f32>(sumLanes(q0) + sumLanes(q1) + sumLanes(q2) + sumLanes(q3)));
        if (wide) {
          out = scatter(out, step, evenOdd(q0));
          out = scatter(out, step, evenOdd(q1));
          out = scatter(out, step, evenOdd(q2));
          out = scatter(out, step, evenOdd(q3));
        } else {
          out = scatter(out, step, i8x16.narrow_i16x8_s(q0, q1));
          out = scatter(out, step, i8x16.narrow_i16x8_s(q2, q3));
        }
      }
    }
    codes += tileBytes;
    scales += scaleBytes;
    sums += scaleBytes;
  }
}

/** Four 32-bit lanes, `step` bytes apart; returns where the fifth would go. */
// @ts-ignore: decorator
@inline
function scatter(to: usize, step: usize, v: v128): usize {
  v128.store32_lane(to, v, 0);
  v128.store32_lane(to + step, v, 1);
  v128.store32_lane(to + 2 * step, v, 2);
  v128.store32_lane(to + 3 * step, v, 3);
  return to + 4 * step;
}
