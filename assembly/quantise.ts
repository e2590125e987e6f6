/**
 * Activations to integers: per row and block of 32, scale = max|x| / most and code = round(x / scale), half to even. most is
 * 32767 for the 16-bit (`wide`) kernels, whose products cost the same whatever the codes are, and 127 for the 8-bit ones.
 *
 * Eight bits are few where one channel towers over its block, as trained models' do. So the 8-bit kernels keep such channels
 * apart, as f32: their codes are 0 and their products are added exactly. A single row (decoding) keeps the largest channel of
 * every block apart. In tiles a group of rows agrees on the channels, so that the weights they meet are gathered once, and only
 * the quarter of the blocks that gain most have one. That lowers SmolLM2's mean divergence from the exact model several times.
 */

import { rowsByFour } from './gemv-parts';
import { EXP, MASKS, WINDOW, madd, maxLanes } from './math';

/**
 * The rows that share a channel apart. A prompt can be cut between two groups, so that fewer rows make more of it usable again; more rows gather
 * less.
 */
export const GROUP: i32 = 40; // a multiple of 4 and 5

/**
 * Eight codes as i16: adding `magic`, 1.5 · 2^23, rounds to even and leaves the integer in the low bits (as in exp4).
 */
// @ts-ignore: decorator
@inline
function eight(a: v128, b: v128, inverse: v128, magic: v128): v128 {
  return i16x8.narrow_i32x4_s(i32x4.sub(madd(a, inverse, magic), magic), i32x4.sub(madd(b, inverse, magic), magic));
}

/** Sum of 32 codes. ones: eight halves of 1. */
// @ts-ignore: decorator
@inline
function sumCodes(q0: v128, q1: v128, q2: v128, q3: v128, ones: v128): f32 {
  const a = i32x4.add(i32x4.dot_i16x8_s(q0, ones), i32x4.dot_i16x8_s(q1, ones));
  const b = i32x4.add(i32x4.dot_i16x8_s(q2, ones), i32x4.dot_i16x8_s(q3, ones));
  let w = i32x4.add(a, b);
  w = i32x4.add(w, v128.shuffle<i32>(w, w, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.convert_i32x4_s(i32x4.add(w, v128.shuffle<i32>(w, w, 1, 0, 3, 2))), 0);
}

/** Pairs (k0, k2), (k1, k3) of every four: the order in which `wide` kernels meet the halves of a byte. */
// @ts-ignore: decorator
@inline
function evenOdd(v: v128): v128 {
  return v128.shuffle<i16>(v, v, 0, 2, 1, 3, 4, 6, 5, 7);
}

/** Largest magnitudes of the 32 channels of a block over `rows` rows, to temp [32]. */
function channelMaxima(x: usize, stride: usize, rows: i32, temp: usize): void {
  const positive = v128.load(MASKS, 80); // f32x4.abs makes its mask anew each time
  let m0 = f32x4.splat(0), m1 = m0, m2 = m0, m3 = m0, m4 = m0, m5 = m0, m6 = m0, m7 = m0;
  for (let r = 0; r < rows; r++, x += stride) {
    m0 = f32x4.pmax(m0, v128.and(v128.load(x), positive));
    m1 = f32x4.pmax(m1, v128.and(v128.load(x, 16), positive));
    m2 = f32x4.pmax(m2, v128.and(v128.load(x, 32), positive));
    m3 = f32x4.pmax(m3, v128.and(v128.load(x, 48), positive));
    m4 = f32x4.pmax(m4, v128.and(v128.load(x, 64), positive));
    m5 = f32x4.pmax(m5, v128.and(v128.load(x, 80), positive));
    m6 = f32x4.pmax(m6, v128.and(v128.load(x, 96), positive));
    m7 = f32x4.pmax(m7, v128.and(v128.load(x, 112), positive));
  }
  v128.store(temp, m0);
  v128.store(temp, m1, 16);
  v128.store(temp, m2, 32);
  v128.store(temp, m3, 48);
  v128.store(temp, m4, 64);
  v128.store(temp, m5, 80);
  v128.store(temp, m6, 96);
  v128.store(temp, m7, 112);
}

/**
 * Codes of a block as i16 [32], to `to`, with what `window` hides (math.ts) as 0; window 0 hides nothing. Returns the scale.
 */
// @ts-ignore: decorator
@inline
function quantiseBlock(x: usize, window: usize, most: f32, to: usize): f32 {
  let v0 = v128.load(x), v1 = v128.load(x, 16), v2 = v128.load(x, 32), v3 = v128.load(x, 48);
  let v4 = v128.load(x, 64), v5 = v128.load(x, 80), v6 = v128.load(x, 96), v7 = v128.load(x, 112);
  if (window) {
    v0 = v128.and(v0, v128.load(window));
    v1 = v128.and(v1, v128.load(window, 16));
    v2 = v128.and(v2, v128.load(window, 32));
    v3 = v128.and(v3, v128.load(window, 48));
    v4 = v128.and(v4, v128.load(window, 64));
    v5 = v128.and(v5, v128.load(window, 80));
    v6 = v128.and(v6, v128.load(window, 96));
    v7 = v128.and(v7, v128.load(window, 112));
  }
  const positive = v128.load(MASKS, 80), magic = v128.load32_splat(EXP, 12), zero = f32x4.splat(0);
  const a = f32x4.pmax(f32x4.pmax(v128.and(v0, positive), v128.and(v1, positive)), f32x4.pmax(v128.and(v2, positive), v128.and(v3, positive)));
  const b = f32x4.pmax(f32x4.pmax(v128.and(v4, positive), v128.and(v5, positive)), f32x4.pmax(v128.and(v6, positive), v128.and(v7, positive)));
  const largest = maxLanes(f32x4.pmax(a, b));
  const inverse = v128.and(f32x4.div(f32x4.splat(most), largest), f32x4.gt(largest, zero));
  v128.store(to, eight(v0, v1, inverse, magic));
  v128.store(to, eight(v2, v3, inverse, magic), 16);
  v128.store(to, eight(v4, v5, inverse, magic), 32);
  v128.store(to, eight(v6, v7, inverse, magic), 48);
  return f32x4.extract_lane(largest, 0) / most;
}

/** Blocks of a row that have a channel apart in the tile kernels. */
export function apartBlocks(k: i32): i32 {
  return max(1, k >> 7);
}

/** The channel with the largest of the maxima, which becomes -1, so that a second call finds the second. */
function takeLargest(temp: usize): usize {
  let most = v128.load(temp);
  for (let i: usize = 16; i < 128; i += 16) most = f32x4.pmax(most, v128.load(temp + i));
  const value = f32x4.extract_lane(maxLanes(most), 0);
  let i: usize = 0;
  while (i < 124 && load<f32>(temp + i) != value) i += 4;
  store<f32>(temp + i, -1);
  return i >> 2;
}

/**
 * One row for the matrix-vector kernels. x [K]; codes: [K] i8, or with wide [K] i16 in even-odd order; blocks [K/32][4]: scale ·
 * 2^56, 2^56 · the sum of what the codes stand for, 2^56 · the channel apart (f32; 2^56: see gemv.ts), and where its codes begin
 * among those of a panel's block (i32). temp: 128 bytes.
 */
export function quantiseRow(x: usize, k: i32, wide: i32, codes: usize, blocks: usize, temp: usize): void {
  const up = reinterpret<f32>((56 + 127) << 23), most: f32 = wide ? 32767 : 127;
  for (let b = k >> 5; b > 0; b--, x += 128, blocks += 16) {
    let apart: f32 = 0, window: usize = 0, channel: usize = 0;
    if (!wide) {
      channelMaxima(x, 0, 1, temp);
      channel = takeLargest(temp);
      apart = load<f32>(x + (channel << 2));
      window = WINDOW + 256 - (channel << 2);
    }
    const scale = quantiseBlock(x, window, most, temp);
    const q0 = v128.load(temp), q1 = v128.load(temp, 16), q2 = v128.load(temp, 32), q3 = v128.load(temp, 48);
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
    store<f32>(blocks, (scale * sumCodes(q0, q1, q2, q3, v128.load(MASKS, 96)) + apart) * up, 4);
    store<f32>(blocks, apart * up, 8);
    store<i32>(blocks, <i32>(((channel >> 2) << 4) + (channel & 3)), 12);
  }
}

/**
 * Rows of x, K f32 each, for matvecQuantised: those that go by four (gemv.ts) interleaved, codes by 4 bytes and blocks by 16, rows beyond
 * the end zero; then the others as quantiseRow has them. temp: 128 bytes, and for rows that go by four room for one row's codes and blocks.
 */
export function quantiseRows(x: usize, rows: i32, k: i32, wide: i32, codes: usize, blocks: usize, temp: usize): void {
  const rowBytes = <usize>k << 2, codeBytes = <usize>k << wide, blockBytes = <usize>k >> 1, many = rowsByFour(rows);
  const rowCodes = temp + 128, rowBlocks = rowCodes + codeBytes;
  let r = 0;
  for (; r < many; r++, x += rowBytes) {
    const lane = <usize>(r & 3), group = <usize>(r & ~3);
    quantiseRow(x, k, wide, rowCodes, rowBlocks, temp);
    let to = codes + group * codeBytes + (lane << 2);
    for (let i: usize = 0; i < codeBytes; i += 16, to += 64) scatter(to, 16, v128.load(rowCodes + i));
    to = blocks + group * blockBytes + (lane << 4);
    for (let i: usize = 0; i < blockBytes; i += 16, to += 64) v128.store(to, v128.load(rowBlocks + i));
  }
  for (let left = r; left & 3; left++) {
    const lane = <usize>(left & 3), group = <usize>(left & ~3);
    let to = codes + group * codeBytes + (lane << 2);
    for (let i: usize = 0; i < codeBytes; i += 4, to += 16) store<i32>(to, 0);
    to = blocks + group * blockBytes + (lane << 4);
    for (let i: usize = 0; i < blockBytes; i += 16, to += 64) v128.store(to, i32x4.splat(0));
  }
  const before = <usize>((many + 3) & ~3);
  codes += before * codeBytes;
  blocks += before * blockBytes;
  for (; r < rows; r++, x += rowBytes, codes += codeBytes, blocks += blockBytes) {
    quantiseRow(x, k, wide, codes, blocks, temp);
  }
}

/**
 * Rows for the tile kernels, mr to a tile, for the tiles first..last-1; rows beyond the end are zero. x: row-major, stride bytes
 * apart, `rows` in all. By tile: codes [K/4][mr][4] i8, or with wide [K/2][mr][2] i16 in even-odd order; scales [K/32][mr] f32; sums
 * [K/32][mr] f32 of what the codes stand for, then (not wide) [apartBlocks][mr] f32: the channels apart, in the order of their
 * blocks. places (not wide): from placeChannels. temp: 128 bytes of its own for each lane.
 */
export function quantiseTiles(
  x: usize, stride: usize, rows: i32, k: i32, mr: i32, wide: i32, first: i32, last: i32, codes: usize, scales: usize,
  sums: usize, places: usize, temp: usize,
): void {
  const tileBytes = <usize>(k * mr) << (wide ? 1 : 0), scaleBytes = <usize>((k >> 5) * mr) << 2;
  const sumBytes = wide ? scaleBytes : scaleBytes + (<usize>(apartBlocks(k) * mr) << 2);
  for (let t = first; t < last; t++) {
    const i = t * mr, at = <usize>t;
    const group = places + (<usize>((i / GROUP) * (k >> 5)) << 2);
    quantiseTile(
      x + <usize>i * stride, stride, min(mr, rows - i), k, mr, wide, codes + at * tileBytes, scales + at * scaleBytes,
      sums + at * sumBytes, group, temp,
    );
  }
}

/**
 * The channels apart of the groups first..last-1 of GROUP rows. places [group][K/32] i32: where the codes of the block's channel
 * apart begin among those of an unpacked block, or -1 for none. temp: 128 + K/8 bytes of its own for each lane.
 */
export function placeChannels(
  x: usize, stride: usize, rows: i32, k: i32, first: i32, last: i32, places: usize, temp: usize,
): void {
  for (let g = first; g < last; g++) {
    const i = g * GROUP;
    choosePlaces(x + <usize>i * stride, stride, min(GROUP, rows - i), k, places + (<usize>(g * (k >> 5)) << 2), temp);
  }
}

/** The blocks whose noise (the square of the largest left) falls most without their largest channel, and that channel. */
function choosePlaces(x: usize, stride: usize, rows: i32, k: i32, places: usize, temp: usize): void {
  const end = <usize>(k >> 5) << 2, gains = temp + 128;
  for (let b: usize = 0; b < end; b += 4) {
    channelMaxima(x + (b << 5), stride, rows, temp);
    const before = blockMax(temp), channel = takeLargest(temp), after = blockMax(temp);
    store<i32>(places + b, <i32>(((channel >> 2) << 5) + (channel & 3)));
    store<f32>(gains + b, before * before - after * after);
  }
  // the quarter with the largest gains becomes negative, and what stays goes without
  for (let n = apartBlocks(k); n > 0; n--) {
    let best: usize = 0, most: f32 = -1;
    for (let b: usize = 0; b < end; b += 4) {
      const gain = load<f32>(gains + b);
      if (gain > most) {
        most = gain;
        best = b;
      }
    }
    store<f32>(gains + best, -2);
  }
  for (let b: usize = 0; b < end; b += 4) if (load<f32>(gains + b) != -2) store<i32>(places + b, -1);
}

// @ts-ignore: decorator
@inline
function blockMax(x: usize): f32 {
  let m = v128.load(x);
  for (let i: usize = 16; i < 128; i += 16) m = f32x4.pmax(m, v128.load(x + i));
  return f32x4.extract_lane(maxLanes(m), 0);
}

function quantiseTile(
  x: usize, stride: usize, n: i32, k: i32, mr: i32, wide: i32, codes: usize, scales: usize, sums: usize, places: usize,
  temp: usize,
): void {
  const step = <usize>mr << 2;
  const most: f32 = wide ? 32767 : 127, ones = v128.load(MASKS, 96);
  let apartAt = sums + (<usize>((k >> 5) * mr) << 2);
  for (let b = 0; b < k >> 5; b++, x += 128) {
    const place = wide ? -1 : load<i32>(places + (<usize>b << 2));
    const channel = <usize>(((place >> 5) << 2) + (place & 3)) << 2, window: usize = place < 0 ? 0 : WINDOW + 256 - channel;
    for (let r = 0; r < mr; r++) {
      const at = <usize>(b * mr + r) << 2, from = x + <usize>r * stride;
      let q0 = i16x8.splat(0), q1 = q0, q2 = q0, q3 = q0, scale: f32 = 0, apart: f32 = 0;
      if (r < n) {
        if (place >= 0) apart = load<f32>(from + channel);
        scale = quantiseBlock(from, window, most, temp);
        q0 = v128.load(temp);
        q1 = v128.load(temp, 16);
        q2 = v128.load(temp, 32);
        q3 = v128.load(temp, 48);
      }
      if (place >= 0) {
        store<f32>(apartAt, apart);
        apartAt += 4;
      }
      store<f32>(scales + at, scale);
      store<f32>(sums + at, scale * sumCodes(q0, q1, q2, q3, ones) + apart);
      if (wide) {
        let out = codes + (<usize>b << 4) * step + (<usize>r << 2);
        out = scatter(out, step, evenOdd(q0));
        out = scatter(out, step, evenOdd(q1));
        out = scatter(out, step, evenOdd(q2));
        scatter(out, step, evenOdd(q3));
      } else {
        const out = scatter(codes + (<usize>b << 3) * step + (<usize>r << 2), step, i8x16.narrow_i16x8_s(q0, q1));
        scatter(out, step, i8x16.narrow_i16x8_s(q2, q3));
      }
    }
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
