/**
 * Rows of keys or values at rest: [rows][heads][headDim] in f32, f16, or codes of 8 or 4 bits with one scale a row and head (rest-codes.ts).
 * They are written once and never changed; whoever uses them gets f32, keys rotated to where they shall stand.
 */
import { floatToHalf, halves } from './panel';
import { loadCodes4, storeCodes4, storeCodes8, unitOf } from './rest-codes';

const enum Row {
  F32 = 0,
  F16 = 1,
  I8 = 2,
  I4 = 3,
}

/** Bytes of so many numbers. */
// @ts-ignore: decorator
@inline
function bytesOf(type: i32, n: usize): usize {
  return type == Row.F32 ? n << 2 : type == Row.F16 ? n << 1 : type == Row.I8 ? n : n >> 1;
}

/** 2^112: what `halves` leaves out. */
const HALF: f32 = reinterpret<f32>(0x77800000);

/**
 * Stored rows first..last-1 of several layers, layerRows each, to f32 [layers][capacity][heads][headDim]: row r of layer l to its row
 * toRow + r. Everything is multiplied by factor. tables: 0, or by layer the address (u32) of a table that has one row
 * [2][rotaryDims/2], cos and then sin, for each of the layerRows, by which it is rotated, or 0: not. interleaved: pairs (2j, 2j + 1),
 * else (j, j + rotaryDims/2).
 */
export function placeRows(
  first: i32, last: i32, layerRows: i32, heads: i32, headDim: i32, rotaryDims: i32, interleaved: i32, type: i32, from: usize,
  scales: usize, factor: f32, tables: usize, to: usize, capacity: i32, toRow: i32,
): void {
  const width = <usize>(heads * headDim), headBytes = bytesOf(type, headDim), bytes = headBytes * heads;
  let layer = first / layerRows, r = first % layerRows;
  for (let row = first; row < last; row++) {
    const table: usize = tables ? <usize>load<u32>(tables + (<usize>layer << 2)) : 0;
    const turning = table ? rotaryDims : 0, half = <usize>(turning >> 1);
    const angles = table + <usize>(r * rotaryDims) * 4;
    let out = to + (<usize>(layer * capacity + toRow + r) * width << 2), at = from + <usize>row * bytes;
    for (let h = 0; h < heads; h++, at += headBytes, out += <usize>headDim << 2) {
      if (type == Row.F16) {
        if (turning && !interleaved) turnHalves<u16>(at, out, angles, half, factor * HALF);
        else widen<u16>(at, out, turning, factor * HALF);
        widen<u16>(at + (<usize>turning << 1), out + (<usize>turning << 2), headDim - turning, factor * HALF);
      } else if (type == Row.I8) {
        const scale = factor * unitOf(scales + <usize>(row * heads + h));
        if (turning && !interleaved) turnHalves<i8>(at, out, angles, half, scale);
        else widen<i8>(at, out, turning, scale);
        widen<i8>(at + <usize>turning, out + (<usize>turning << 2), headDim - turning, scale);
      } else if (type == Row.I4) {
        loadCodes4(at, headDim, scales + <usize>(row * heads + h), factor, out);
        if (turning && !interleaved) turnHalves<f32>(out, out, angles, half, 1);
      } else {
        if (turning && !interleaved) turnHalves<f32>(at, out, angles, half, factor);
        else widen<f32>(at, out, turning, factor);
        widen<f32>(at + (<usize>turning << 2), out + (<usize>turning << 2), headDim - turning, factor);
      }
      if (turning && interleaved) turnNeighbours(out, angles, half);
    }
    if (++r == layerRows) {
      r = 0;
      layer++;
    }
  }
}

/** Four stored elements as f32, but for the factor of their type. */
// @ts-ignore: decorator
@inline
function four<T>(at: usize): v128 {
  if (sizeof<T>() == 2) return wide(halves(at));
  if (sizeof<T>() == 1) {
    const wide = i16x8.extend_low_i8x16_s(v128.load32_zero(at));
    return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide));
  }
  return v128.load(at);
}

// @ts-ignore: decorator
@inline
function one<T>(at: usize): f32 {
  if (sizeof<T>() == 2) return f32x4.extract_lane(halfOne(at), 0);
  if (sizeof<T>() == 1) return <f32>load<i8>(at);
  return load<f32>(at);
}

/** One f16 as `halves` gives four: nothing beyond it is read. */
// @ts-ignore: decorator
@inline
function halfOne(at: usize): v128 {
  const x = <u32>load<u16>(at);
  return wide(i32x4.splat(((x & 0x7fff) << 13) | ((x & 0x8000) << 16)));
}

/** What `halves` gives, with infinities and NaN kept: it takes their exponent for one like others. */
// @ts-ignore: decorator
@inline
function wide(x: v128): v128 {
  const most = i32x4.splat(0x0f800000);
  return v128.or(x, v128.and(i32x4.eq(v128.and(x, most), most), i32x4.splat(0x7f800000)));
}

// @ts-ignore: decorator
@inline
function widen<T>(at: usize, out: usize, n: i32, factor: f32): void {
  const by = f32x4.splat(factor);
  for (; n >= 4; n -= 4, at += 4 * sizeof<T>(), out += 16) v128.store(out, f32x4.mul(four<T>(at), by));
  for (; n > 0; n--, at += sizeof<T>(), out += 4) store<f32>(out, one<T>(at) * factor);
}

/** Pairs (j, j + half). */
// @ts-ignore: decorator
@inline
function turnHalves<T>(at: usize, out: usize, cos: usize, half: usize, factor: f32): void {
  const by = f32x4.splat(factor), size = sizeof<T>();
  const other = at + half * size, out2 = out + (half << 2), sin = cos + (half << 2);
  let j: usize = 0;
  for (; j + 4 <= half; j += 4) {
    const x = f32x4.mul(four<T>(at + j * size), by), y = f32x4.mul(four<T>(other + j * size), by);
    const c = v128.load(cos + (j << 2)), s = v128.load(sin + (j << 2));
    v128.store(out + (j << 2), f32x4.sub(f32x4.mul(x, c), f32x4.mul(y, s)));
    v128.store(out2 + (j << 2), f32x4.add(f32x4.mul(y, c), f32x4.mul(x, s)));
  }
  for (; j < half; j++) {
    const x = one<T>(at + j * size) * factor, y = one<T>(other + j * size) * factor;
    const c = load<f32>(cos + (j << 2)), s = load<f32>(sin + (j << 2));
    store<f32>(out + (j << 2), x * c - y * s);
    store<f32>(out2 + (j << 2), y * c + x * s);
  }
}

/** Pairs (2j, 2j + 1), in place: four numbers hold two pairs. */
// @ts-ignore: decorator
@inline
function turnNeighbours(out: usize, cos: usize, half: usize): void {
  const sin = cos + (half << 2), signs = f32x4(-1, 1, -1, 1);
  let j: usize = 0;
  for (; j + 2 <= half; j += 2) {
    const x = v128.load(out + (j << 3)), c = v128.load64_zero(cos + (j << 2)), s = v128.load64_zero(sin + (j << 2));
    const swapped = f32x4.mul(v128.shuffle<f32>(x, x, 1, 0, 3, 2), signs);
    v128.store(
      out + (j << 3),
      f32x4.add(f32x4.mul(x, v128.shuffle<f32>(c, c, 0, 0, 1, 1)), f32x4.mul(swapped, v128.shuffle<f32>(s, s, 0, 0, 1, 1))),
    );
  }
  for (; j < half; j++) {
    const at = out + (j << 3), x = load<f32>(at), y = load<f32>(at, 4);
    const c = load<f32>(cos + (j << 2)), s = load<f32>(sin + (j << 2));
    store<f32>(at, x * c - y * s);
    store<f32>(at, y * c + x * s, 4);
  }
}

/** f32 rows first..last-1 [heads][headDim] to stored ones. work: headDim f32, for codes of 4 bits. */
export function storeRows(
  first: i32, last: i32, heads: i32, headDim: i32, type: i32, from: usize, to: usize, scales: usize, work: usize,
): void {
  const width = <usize>(heads * headDim), n = <usize>(last - first) * width;
  from += <usize>first * width << 2;
  to += bytesOf(type, <usize>first * width);
  if (type == Row.F32) {
    memory.copy(to, from, n << 2);
    return;
  }
  if (type == Row.F16) {
    for (let i: usize = 0; i < n; i++) store<u16>(to + (i << 1), floatToHalf(load<f32>(from + (i << 2))));
    return;
  }
  for (let h = first * heads; h < last * heads; h++, from += <usize>headDim << 2, to += bytesOf(type, headDim)) {
    if (type == Row.I8) storeCodes8(from, headDim, to, scales + h);
    else storeCodes4(from, headDim, to, scales + h, work);
  }
}
