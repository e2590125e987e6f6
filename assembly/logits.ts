/** What generation and scoring want of a row of logits, without copying the row out. */
import { exp4, madd, max4, sum4 } from './math';

/** Columns of a row's numbers, f32. */
export const enum Stat {
  Max = 0,
  LogSumExp = 1,
  Shannon = 2,
  Tsallis = 3,
  Target = 4,
  RunnerUp = 5,
  Count = 6,
}

/** Columns of its places, i32. */
export const enum Place {
  ArgMax = 0,
  RunnerUp = 1,
  Count = 2,
}

/** Elements whose statistics are gathered before the running ones are rescaled: stays in level 1. */
const CHUNK: i32 = 4096;

/**
 * Statistics of rows first..last-1 of n logits. To numbers [rows][Stat.Count] f32: maximum, log-sum-exp (natural), Shannon entropy in
 * nats, Tsallis entropy of order q ((1 - sum p^q) / (q - 1); Shannon's when q = 1), log-probability of the target, second
 * largest logit; to places [rows][Place.Count] i32 where the largest and the second stand (the first of equals). targets: [rows] i32,
 * or 0. One pass over memory: each chunk is read three times while it is in level 1.
 */
export function logitStats(
  first: i32, last: i32, n: i32, x: usize, stride: usize, targets: usize, q: f64, numbers: usize, places: usize,
): void {
  for (let r = first; r < last; r++) {
    const target = targets ? load<i32>(targets + (<usize>r << 2)) : -1;
    const to = numbers + (<usize>(r * Stat.Count) << 2), placesTo = places + (<usize>(r * Place.Count) << 2);
    rowStats(n, x + <usize>r * stride, target, q, to, placesTo);
  }
}

/**
 * With u = e^(x - max) and Z = sum u, S_q = (1 - Z^(1 - q)) / (q - 1) - Z^-q · sum (u^q - u) / (q - 1): both terms are at least 0, so nothing
 * cancels, whatever q is, and at q = 1 it is ln Z - sum u ln u / Z.
 */
function rowStats(n: i32, x: usize, target: i32, q: f64, numbers: usize, places: usize): void {
  const nothing = -Infinity as f32;
  let most: f32 = nothing, z: f64 = 0, weighted: f64 = 0, gaps: f64 = 0;
  let best: f32 = nothing, second: f32 = nothing, bestAt = -1, secondAt = -1;
  for (let start = 0; start < n; start += CHUNK) {
    const from = x + (<usize>start << 2), count = min(CHUNK, n - start), whole = from + (<usize>(count & ~3) << 2);
    const end = from + (<usize>count << 2);
    let m1 = f32x4.splat(nothing), m2 = m1;
    for (let p = from; p < whole; p += 16) {
      const v = v128.load(p);
      m2 = f32x4.pmax(m2, f32x4.pmin(m1, v));
      m1 = f32x4.pmax(m1, v);
    }
    let chunkMost = max4(m1);
    for (let p = whole; p < end; p += 4) chunkMost = max(chunkMost, load<f32>(p));
    // places: only a chunk that beats the second so far is searched
    if (chunkMost > second) {
      const second4 = f32x4.splat(second);
      for (let p = from; p < end; p += 16) {
        if (p < whole && !v128.any_true(f32x4.gt(v128.load(p), f32x4.splat(second)))) continue;
        for (let i: usize = 0; i < 16 && p + i < end; i += 4) {
          const v = load<f32>(p + i);
          if (v > best) {
            second = best;
            secondAt = bestAt;
            best = v;
            bestAt = <i32>((p + i - x) >> 2);
          } else if (v > second) {
            second = v;
            secondAt = <i32>((p + i - x) >> 2);
          }
        }
      }
    }
    if (chunkMost > most) {
      const shift = <f64>chunkMost - <f64>most, factor = z > 0 ? Math.exp(-shift) : 0;
      // sum p x is kept as sum e^(x - most) · (x - most): moving the base subtracts shift from every factor
      weighted = factor * (weighted - (z > 0 ? shift * z : 0));
      if (q != 1) gaps = z > 0 ? gaps * Math.exp(-shift * q) + z * powerGap(-shift, q) : 0;
      z *= factor;
      most = chunkMost;
    }
    // while nothing is finite yet: of -Infinity and itself there is no difference
    const origin: f32 = most > nothing ? most : 0, base = f32x4.splat(origin);
    let s = f32x4.splat(0), w = s;
    for (let p = from; p < whole; p += 16) {
      const d = f32x4.sub(v128.load(p), base), e = exp4(d);
      s = f32x4.add(s, e);
      w = f32x4.add(w, f32x4.mul(e, f32x4.pmax(d, f32x4.splat(-100))));
    }
    z += sum4(s);
    weighted += sum4(w);
    if (q != 1) gaps += powerGaps(from, whole, base, sum4(s), q);
    for (let p = whole; p < end; p += 4) {
      const d = <f64>load<f32>(p) - <f64>origin, e = Math.exp(d);
      z += e;
      if (e > 0) weighted += e * d;
      if (q != 1) gaps += powerGap(d, q);
    }
  }
  const logZ = Math.log(z), lse = <f64>most + logZ;
  store<f32>(numbers, most, Stat.Max << 2);
  store<f32>(numbers, <f32>lse, Stat.LogSumExp << 2);
  const shannon = max(0, logZ - weighted / z);
  store<f32>(numbers, <f32>shannon, Stat.Shannon << 2);
  const tsallis = q == 1 ? shannon : max(0, Math.expm1((1 - q) * logZ) / (1 - q) - gaps * Math.exp(-q * logZ));
  store<f32>(numbers, <f32>tsallis, Stat.Tsallis << 2);
  const own: f32 = target >= 0 && target < n ? <f32>(<f64>load<f32>(x + (<usize>target << 2)) - lse) : 0;
  store<f32>(numbers, own, Stat.Target << 2);
  store<f32>(numbers, second, Stat.RunnerUp << 2);
  store<i32>(places, bestAt, Place.ArgMax << 2);
  store<i32>(places, secondAt, Place.RunnerUp << 2);
}

/** 1, 1/2!, …, 1/7!: of (e^y - 1) / y. */
const EXPM1: usize = memory.data<f32>([
  1, 0.5, 0.16666666666666666, 0.041666666666666664, 0.008333333333333333, 0.001388888888888889, 0.0001984126984126984,
]);

/** Below this (q - 1) · d is a small number: the difference of two powers would lose its digits. */
const SMALL: f32 = 0.5;

/** From this |q - 1| on what it loses is no more than the powers themselves are off by. */
const WIDE: f64 = 0.25;

// @ts-ignore: decorator
@inline
function inverseOf(q: f64): f32 {
  return q == 1 ? 0 : <f32>(1 / (q - 1));
}

/**
 * (e^(q d) - e^d) / (q - 1) for d <= 0, with e = e^d, rest = q - 1 and inverse = 1 / rest (0 for q = 1, where the limit is e^d · d). Where (q - 1) d
 * is small it is e^d · d · (e^y - 1) / y, y = (q - 1) d, by Taylor's series. -Infinity gives 0.
 */
// @ts-ignore: decorator
@inline
function powerGap4(d: v128, e: v128, order: v128, rest: v128, inverse: v128): v128 {
  const y = f32x4.mul(d, rest);
  let p = v128.load32_splat(EXPM1, 24);
  p = madd(p, y, v128.load32_splat(EXPM1, 20));
  p = madd(p, y, v128.load32_splat(EXPM1, 16));
  p = madd(p, y, v128.load32_splat(EXPM1, 12));
  p = madd(p, y, v128.load32_splat(EXPM1, 8));
  p = madd(p, y, v128.load32_splat(EXPM1, 4));
  p = madd(p, y, v128.load32_splat(EXPM1));
  const near = f32x4.mul(f32x4.mul(e, d), p), far = f32x4.mul(f32x4.sub(exp4(f32x4.mul(d, order)), e), inverse);
  return v128.bitselect(near, far, f32x4.lt(f32x4.abs(y), f32x4.splat(SMALL)));
}

/** The sum of powerGap4 over from..whole of logits less `base`, whose exponentials sum to `exponentials`. */
function powerGaps(from: usize, whole: usize, base: v128, exponentials: f32, q: f64): f64 {
  const order = f32x4.splat(<f32>q), rest = f32x4.splat(<f32>(q - 1)), inverse = f32x4.splat(inverseOf(q));
  let sum = f32x4.splat(0);
  if (Math.abs(q - 1) >= WIDE) {
    for (let p = from; p < whole; p += 16) sum = f32x4.add(sum, exp4(f32x4.mul(f32x4.sub(v128.load(p), base), order)));
    return (<f64>sum4(sum) - exponentials) / (q - 1);
  }
  for (let p = from; p < whole; p += 16) {
    const d = f32x4.sub(v128.load(p), base);
    sum = f32x4.add(sum, powerGap4(d, exp4(d), order, rest, inverse));
  }
  return sum4(sum);
}

/** The same of one number, in f64. */
function powerGap(d: f64, q: f64): f64 {
  const y = (q - 1) * d;
  if (Math.abs(y) < SMALL) return (Math.exp(d) * Math.expm1(y)) / (q - 1);
  return (Math.exp(q * d) - Math.exp(d)) / (q - 1);
}

/**
 * Of Σ weights · S_q, or with a reference [rows] of Σ weights · (S_q - reference)², rows first..last-1 of n logits, numbers: of logitStats of that
 * order. By a logit S_q has the slope -q (p ln_q p + p S_q), where p ln_q p = (p^q - p) / (q - 1). dLogits is added to; a row of weight 0 is passed over.
 */
export function entropyBackward(
  first: i32, last: i32, n: i32, q: f64, logits: usize, numbers: usize, reference: usize, weights: usize, dLogits: usize,
): void {
  const bytes = <usize>n << 2;
  const order = f32x4.splat(<f32>q), rest = f32x4.splat(<f32>(q - 1)), inverse = f32x4.splat(inverseOf(q));
  for (let r = first; r < last; r++) {
    const at = <usize>r << 2, stats = numbers + (<usize>(r * Stat.Count) << 2);
    const entropy = load<f32>(stats, Stat.Tsallis << 2), lse = load<f32>(stats, Stat.LogSumExp << 2);
    let w = load<f32>(weights + at);
    // before its reference is looked at, which may be no number
    if (w == 0) continue;
    if (reference) w *= 2 * (entropy - load<f32>(reference + at));
    if (w == 0) continue;
    const base = f32x4.splat(lse), s = f32x4.splat(entropy), w4 = f32x4.splat(-w * <f32>q);
    const x = logits + <usize>r * bytes, to = dLogits + <usize>r * bytes;
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) {
      v128.store(to + i, madd(entropySlope(f32x4.sub(v128.load(x + i), base), s, order, rest, inverse), w4, v128.load(to + i)));
    }
    for (; i < bytes; i += 4) {
      const slope = entropySlope(f32x4.splat(load<f32>(x + i) - lse), s, order, rest, inverse);
      v128.store32_lane(to + i, madd(slope, w4, v128.load32_splat(to + i)), 0);
    }
  }
}

/** p ln_q p + p S_q of a log-probability. */
// @ts-ignore: decorator
@inline
function entropySlope(d: v128, entropy: v128, order: v128, rest: v128, inverse: v128): v128 {
  const p = exp4(d);
  return madd(p, entropy, powerGap4(d, p, order, rest, inverse));
}

/**
 * Of Σ weights · cross-entropy, rows first..last-1 of n logits: dLogits = weight · (e^(logit - logSumExp) - 1 at the target); numbers: of
 * logitStats. A row without a target, or of weight 0, becomes 0. dLogits may be logits.
 */
export function crossEntropyBackward(
  first: i32, last: i32, n: i32, logits: usize, numbers: usize, targets: usize, weights: usize, dLogits: usize,
): void {
  const bytes = <usize>n << 2;
  for (let r = first; r < last; r++) {
    const target = load<i32>(targets + (<usize>r << 2)), w = load<f32>(weights + (<usize>r << 2));
    const x = logits + <usize>r * bytes, to = dLogits + <usize>r * bytes;
    if (target < 0 || target >= n || w == 0) {
      memory.fill(to, 0, bytes);
      continue;
    }
    const lse = load<f32>(numbers + (<usize>(r * Stat.Count) << 2), Stat.LogSumExp << 2);
    const base = f32x4.splat(lse), w4 = f32x4.splat(w);
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(to + i, f32x4.mul(w4, exp4(f32x4.sub(v128.load(x + i), base))));
    for (; i < bytes; i += 4) store<f32>(to + i, w * exp1(load<f32>(x + i) - lse));
    const at = to + (<usize>target << 2);
    store<f32>(at, load<f32>(at) - w);
  }
}

/**
 * Of Σ weights · KL(reference ‖ model), rows first..last-1 of n logits each, with the numbers of their logitStats: dLogits += weight ·
 * (softmax(logits) - softmax(reference)), losses [rows] = the divergence in nats. A row of weight 0 is passed over; its loss is 0.
 */
export function divergenceBackward(
  first: i32, last: i32, n: i32, reference: usize, referenceNumbers: usize, logits: usize, numbers: usize, weights: usize,
  dLogits: usize, losses: usize,
): void {
  const bytes = <usize>n << 2;
  for (let r = first; r < last; r++) {
    const w = load<f32>(weights + (<usize>r << 2)), w4 = f32x4.splat(w), at = <usize>r * bytes;
    const stats = <usize>(r * Stat.Count + Stat.LogSumExp) << 2;
    const lse = load<f32>(numbers + stats), other = load<f32>(referenceNumbers + stats);
    const base = f32x4.splat(lse), base2 = f32x4.splat(other), x = logits + at, y = reference + at, to = dLogits + at;
    let sum: f64 = 0;
    for (let start: usize = 0; w != 0 && start < bytes; start += CHUNK << 2) {
      const end = min(start + (CHUNK << 2), bytes);
      let s = f32x4.splat(0), i = start;
      for (; i + 16 <= end; i += 16) {
        const a = f32x4.sub(v128.load(x + i), base), b = f32x4.sub(v128.load(y + i), base2), q = exp4(b);
        s = f32x4.add(s, f32x4.mul(q, f32x4.sub(b, a)));
        v128.store(to + i, f32x4.add(v128.load(to + i), f32x4.mul(w4, f32x4.sub(exp4(a), q))));
      }
      sum += sum4(s);
      for (; i < end; i += 4) {
        const a = load<f32>(x + i) - lse, b = load<f32>(y + i) - other, q = exp1(b);
        sum += q * (b - a);
        store<f32>(to + i, load<f32>(to + i) + w * (exp1(a) - q));
      }
    }
    store<f32>(losses + (<usize>r << 2), <f32>sum);
  }
}

/**
 * losses [rows] = 1 + p(target) - p(best other), rows first..last-1, from the numbers and places of logitStats, which had the targets; 0 without
 * a target.
 */
export function hingeLoss(first: i32, last: i32, numbers: usize, places: usize, targets: usize, losses: usize): void {
  for (let r = first; r < last; r++) {
    const at = <usize>r << 2, stats = numbers + (<usize>(r * Stat.Count) << 2);
    const target = load<i32>(targets + at), isMost = load<i32>(places + (<usize>(r * Place.Count) << 2)) == target;
    const other = isMost ? load<f32>(stats, Stat.RunnerUp << 2) : load<f32>(stats, Stat.Max << 2);
    const q = exp1(other - load<f32>(stats, Stat.LogSumExp << 2)), p = exp1(load<f32>(stats, Stat.Target << 2));
    store<f32>(losses + at, target < 0 ? 0 : 1 + p - q);
  }
}

/**
 * Of Σ weights · hingeLoss, rows first..last-1 of n logits: with P the target's probability and Q the best other's, dLogits = weight ·
 * (p (Q - P) + P at the target - Q at the other). A row without a target, or of weight 0, becomes 0. dLogits may be logits.
 */
export function hingeBackward(
  first: i32, last: i32, n: i32, logits: usize, numbers: usize, places: usize, targets: usize, weights: usize, dLogits: usize,
): void {
  const bytes = <usize>n << 2;
  for (let r = first; r < last; r++) {
    const target = load<i32>(targets + (<usize>r << 2)), w = load<f32>(weights + (<usize>r << 2));
    const x = logits + <usize>r * bytes, to = dLogits + <usize>r * bytes;
    if (target < 0 || target >= n || w == 0) {
      memory.fill(to, 0, bytes);
      continue;
    }
    const lse = load<f32>(numbers + (<usize>(r * Stat.Count) << 2), Stat.LogSumExp << 2);
    const place = places + (<usize>(r * Place.Count) << 2), most = load<i32>(place, Place.ArgMax << 2);
    const other = most == target ? load<i32>(place, Place.RunnerUp << 2) : most;
    // a vocabulary of one has no other, and a place that is none reads nothing
    const exists = other >= 0 && other < n;
    const p = exp1(load<f32>(x + (<usize>target << 2)) - lse), q: f32 = exists ? exp1(load<f32>(x + (<usize>other << 2)) - lse) : 0;
    const base = f32x4.splat(lse), factor = w * (q - p), f4 = f32x4.splat(factor);
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) v128.store(to + i, f32x4.mul(f4, exp4(f32x4.sub(v128.load(x + i), base))));
    for (; i < bytes; i += 4) store<f32>(to + i, factor * exp1(load<f32>(x + i) - lse));
    const at = to + (<usize>target << 2);
    store<f32>(at, load<f32>(at) + w * p);
    if (exists) {
      const beside = to + (<usize>other << 2);
      store<f32>(beside, load<f32>(beside) - w * q);
    }
  }
}

// @ts-ignore: decorator
@inline
function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0);
}

/**
 * The k largest of n logits in descending order (ties: the lower place first): to values [k] f32 and places [k] i32.
 * A min-heap of the best so far, filled from memory four at a time.
 */
export function topK(n: i32, k: i32, x: usize, values: usize, places: usize): void {
  let size = 0;
  const end = n & ~3;
  let i = 0;
  for (; i < n; i += i < end ? 4 : 1) {
    const p = x + (<usize>i << 2);
    if (i < end && size == k && !v128.any_true(f32x4.gt(v128.load(p), f32x4.splat(load<f32>(values))))) continue;
    const count = i < end ? 4 : 1;
    for (let j = 0; j < count; j++) {
      const v = load<f32>(p + (<usize>j << 2));
      if (size < k) siftUp(values, places, size++, v, i + j);
      else if (v > load<f32>(values)) siftDown(values, places, k, v, i + j);
    }
  }
  // heap to descending order: the root is the least
  for (let m = size - 1; m > 0; m--) {
    const v = load<f32>(values), at = load<i32>(places);
    const lastV = load<f32>(values + (<usize>m << 2)), lastAt = load<i32>(places + (<usize>m << 2));
    siftDown(values, places, m, lastV, lastAt);
    store<f32>(values + (<usize>m << 2), v);
    store<i32>(places + (<usize>m << 2), at);
  }
}

/** Order of the heap: a is worse than b. */
// @ts-ignore: decorator
@inline
function worse(a: f32, atA: i32, b: f32, atB: i32): bool {
  return a < b || (a == b && atA > atB);
}

function siftUp(values: usize, places: usize, i: i32, v: f32, at: i32): void {
  while (i > 0) {
    const parent = <usize>((i - 1) >> 1) << 2;
    if (!worse(v, at, load<f32>(values + parent), load<i32>(places + parent))) break;
    store<f32>(values + (<usize>i << 2), load<f32>(values + parent));
    store<i32>(places + (<usize>i << 2), load<i32>(places + parent));
    i = (i - 1) >> 1;
  }
  store<f32>(values + (<usize>i << 2), v);
  store<i32>(places + (<usize>i << 2), at);
}

function siftDown(values: usize, places: usize, size: i32, v: f32, at: i32): void {
  let i = 0;
  while (true) {
    let child = 2 * i + 1;
    if (child >= size) break;
    let c = <usize>child << 2;
    if (child + 1 < size && worse(load<f32>(values + c + 4), load<i32>(places + c + 4), load<f32>(values + c), load<i32>(places + c))) {
      child++;
      c += 4;
    }
    if (!worse(load<f32>(values + c), load<i32>(places + c), v, at)) break;
    store<f32>(values + (<usize>i << 2), load<f32>(values + c));
    store<i32>(places + (<usize>i << 2), load<i32>(places + c));
    i = child;
  }
  store<f32>(values + (<usize>i << 2), v);
  store<i32>(places + (<usize>i << 2), at);
}
