/** Mixtures of experts: which experts a token visits, its slots by expert, and the sum of what comes back. */
import { add } from './activation';
import { madd, sigmoid4, sum4 } from './math';

/** Numbers of the rules for scores, as src/device/wasm/kernels.ts has them. */
export const enum Score {
  Softmax = 0,
  SelectedSoftmax = 1,
  Sigmoid = 2,
}

/**
 * Puts v among the `size` largest so far (of at most `most`), descending, the first of equals first; the new size. NaN counts as
 * the smallest, so that there are always as many as were asked for.
 */
// @ts-ignore: decorator
@inline
function insert(values: usize, places: usize, size: i32, most: i32, v: f32, at: i32): i32 {
  if (v != v) v = -Infinity;
  if (size == most) {
    if (!(v > load<f32>(values + (<usize>(most - 1) << 2)))) return size;
    size--;
  }
  let i = <usize>size << 2;
  for (; i > 0 && v > load<f32>(values + i - 4); i -= 4) {
    store<f32>(values + i, load<f32>(values + i - 4));
    store<i32>(places + i, load<i32>(places + i - 4));
  }
  store<f32>(values + i, v);
  store<i32>(places + i, at);
  return size + 1;
}

/** What a group of n experts is worth: its largest choice, or the sum of its two largest. */
function groupWorth(choices: usize, n: i32, top2: i32): f32 {
  let first: f32 = -Infinity, second: f32 = -Infinity;
  for (const end = choices + (<usize>n << 2); choices < end; choices += 4) {
    const v = load<f32>(choices);
    if (v > first) {
      second = first;
      first = v;
    } else if (v > second) second = v;
  }
  return top2 && n > 1 ? first + second : first;
}

/** Bytes of scratch for route. */
export function routeScratch(experts: i32): usize {
  return <usize>experts << 4;
}

/**
 * The k experts of each of the rows first..last-1 and their weights. logits: [rows][e] f32; bias: [e] f32 added for choosing, or
 * 0; groups: into which the experts are divided evenly, and topGroups of them are looked into; to places [rows][k] i32, by
 * descending choice, the lower expert first of equals, and weights [rows][k] f32. Scores are rounded to f32 before they are
 * compared, as in transformers. What is added to a sum of zero weights keeps the quotient a number.
 */
export function route(
  first: i32, last: i32, e: i32, k: i32, logits: usize, bias: usize, score: i32, renormalise: i32, scale: f32, groups: i32,
  topGroups: i32, top2: i32, places: usize, weights: usize, scratch: usize,
): void {
  const width = <usize>e << 2, inGroup = e / groups;
  const choices = scratch, worths = choices + width, found = worths + width, open = found + width;
  for (let r = first; r < last; r++) {
    const z = logits + <usize>r * width, place = places + (<usize>(r * k) << 2), weight = weights + (<usize>(r * k) << 2);
    let most: f64 = -Infinity, sum: f64 = 0;
    for (let i: usize = 0; i < width; i += 4) most = max(most, <f64>load<f32>(z + i));
    if (score == Score.Softmax) for (let i: usize = 0; i < width; i += 4) sum += Math.exp(<f64>load<f32>(z + i) - most);
    for (let i: usize = 0; i < width; i += 4) {
      const own = scoreOf(load<f32>(z + i), most, sum, score);
      store<f32>(choices + i, bias ? own + load<f32>(bias + i) : own);
    }
    if (topGroups < groups) {
      let size = 0;
      for (let g = 0; g < groups; g++) {
        store<i32>(open + (<usize>g << 2), 0);
        size = insert(worths, found, size, topGroups, groupWorth(choices + (<usize>(g * inGroup) << 2), inGroup, top2), g);
      }
      for (let g: usize = 0; g < <usize>size; g++) store<i32>(open + (<usize>load<i32>(found + (g << 2)) << 2), 1);
    }
    let size = 0;
    for (let i = 0; i < e; i++) {
      if (topGroups < groups && !load<i32>(open + (<usize>(i / inGroup) << 2))) continue;
      size = insert(weight, place, size, k, load<f32>(choices + (<usize>i << 2)), i);
    }
    weigh(k, z, place, weight, most, sum, score, renormalise, scale);
  }
}

// @ts-ignore: decorator
@inline
function scoreOf(z: f32, most: f64, sum: f64, score: i32): f32 {
  if (score == Score.Softmax) return <f32>(Math.exp(<f64>z - most) / sum);
  if (score == Score.Sigmoid) return <f32>(1 / (1 + Math.exp(-(<f64>z))));
  return z;
}

/** Weights of the k chosen of one row, from its logits: the bias has no part in them. */
function weigh(
  k: i32, z: usize, place: usize, weight: usize, most: f64, sum: f64, score: i32, renormalise: i32, scale: f32,
): void {
  const end = <usize>k << 2;
  let all: f64 = 0, top: f64 = -Infinity;
  if (score == Score.SelectedSoftmax) {
    for (let i: usize = 0; i < end; i += 4) top = max(top, <f64>load<f32>(z + (<usize>load<i32>(place + i) << 2)));
  }
  for (let i: usize = 0; i < end; i += 4) {
    const own = load<f32>(z + (<usize>load<i32>(place + i) << 2));
    const w = score == Score.SelectedSoftmax ? <f32>Math.exp(<f64>own - top) : scoreOf(own, most, sum, score);
    store<f32>(weight + i, w);
    all += w;
  }
  const factor = <f64>scale / (score == Score.SelectedSoftmax || renormalise ? all + 1e-20 : 1);
  for (let i: usize = 0; i < end; i += 4) store<f32>(weight + i, <f32>(<f64>load<f32>(weight + i) * factor));
}

/**
 * Of the weights of route, by the logits, over rows first..last-1: dLogits [rows][e] += the gradient, from that by the chosen weights, dWeights
 * [rows][k]. The choice itself has no gradient. With p the scores of the chosen c: of weights s p (softmax) dL_i = s p_i ([i in c] dW_i -
 * Σ_c dW_j p_j), of s p (sigmoid) s p_i (1 - p_i) dW_i; of s p / Σ_c p with q = p / Σ_c p, s q_i (dW_i - Σ_c dW_j q_j), times 1 - p_i for a sigmoid.
 */
export function routeBackward(
  first: i32, last: i32, e: i32, k: i32, logits: usize, score: i32, renormalise: i32, scale: f32, places: usize,
  dWeights: usize, dLogits: usize,
): void {
  const width = <usize>e << 2, chosen = <usize>k << 2, shared = score == Score.SelectedSoftmax || renormalise != 0;
  for (let r = first; r < last; r++) {
    const z = logits + <usize>r * width, to = dLogits + <usize>r * width;
    const place = places + <usize>r * chosen, d = dWeights + <usize>r * chosen;
    let most: f64 = -Infinity, sum: f64 = 0, inner: f64 = 0;
    if (shared) {
      for (let j: usize = 0; j < chosen; j += 4) most = max(most, <f64>load<f32>(z + placeOf(place + j, e)));
      for (let j: usize = 0; j < chosen; j += 4) sum += part(load<f32>(z + placeOf(place + j, e)), most, score);
      sum += 1e-20;
    } else if (score == Score.Softmax) {
      for (let i: usize = 0; i < width; i += 4) most = max(most, <f64>load<f32>(z + i));
      for (let i: usize = 0; i < width; i += 4) sum += part(load<f32>(z + i), most, score);
    } else sum = 1;
    for (let j: usize = 0; j < chosen; j += 4) {
      inner += <f64>load<f32>(d + j) * part(load<f32>(z + placeOf(place + j, e)), most, score) / sum;
    }
    // weights of a sigmoid that are not made to sum to 1 know nothing of each other
    if (!shared && score == Score.Sigmoid) inner = 0;
    if (!shared && score == Score.Softmax) {
      for (let i: usize = 0; i < width; i += 4) {
        const p = part(load<f32>(z + i), most, score) / sum;
        store<f32>(to + i, <f32>(<f64>load<f32>(to + i) - <f64>scale * p * inner));
      }
      inner = 0;
    }
    for (let j: usize = 0; j < chosen; j += 4) {
      const at = placeOf(place + j, e), own = load<f32>(z + at), p = part(own, most, score);
      let slope = <f64>scale * p / sum;
      if (score == Score.Sigmoid) slope *= part(-own, most, score);
      store<f32>(to + at, <f32>(<f64>load<f32>(to + at) + slope * (<f64>load<f32>(d + j) - inner)));
    }
  }
}

/** The score of a logit before it is divided by a sum: e^(z - most), or its sigmoid. */
// @ts-ignore: decorator
@inline
function part(z: f32, most: f64, score: i32): f64 {
  return score == Score.Sigmoid ? 1 / (1 + Math.exp(-(<f64>z))) : Math.exp(<f64>z - most);
}

/** Bytes from a row's first number to that of an expert; one that is none is the last. */
// @ts-ignore: decorator
@inline
function placeOf(place: usize, e: i32): usize {
  return <usize>min(load<u32>(place), <u32>(e - 1)) << 2;
}

/** Bytes of scratch for routerLosses and routerLossesBackward. */
export function routerLossesScratch(experts: i32): usize {
  return <usize>experts << 4;
}

/** To shares [e] f64, of what share of the slots each expert has got. */
function sharesOf(e: i32, offsets: usize, shares: usize): void {
  const all = load<i32>(offsets + (<usize>e << 2)) - load<i32>(offsets);
  for (let i: usize = 0; i < <usize>e; i++) {
    const slots = load<i32>(offsets + (i << 2), 4) - load<i32>(offsets + (i << 2));
    store<f64>(shares + (i << 3), all > 0 ? <f64>slots / all : 0);
  }
}

/**
 * With p the softmax of each of `rows` rows of logits [rows][e] and f the share of each expert: to losses [2] f32 the balance (Fedus et al. 2021),
 * e Σ f_i mean p_i, and z (Zoph et al. 2022), mean logsumexp².
 */
export function routerLosses(rows: i32, e: i32, logits: usize, offsets: usize, losses: usize, scratch: usize): void {
  const shares = scratch, p = shares + (<usize>e << 3), width = <usize>e << 2;
  sharesOf(e, offsets, shares);
  let balance: f64 = 0, squares: f64 = 0;
  for (let r = 0; r < rows; r++) {
    const lse = softmaxOf(e, logits + <usize>r * width, p);
    squares += lse * lse;
    for (let i: usize = 0; i < <usize>e; i++) balance += load<f64>(shares + (i << 3)) * load<f64>(p + (i << 3));
  }
  store<f32>(losses, rows > 0 ? <f32>(balance * e / rows) : 0);
  store<f32>(losses, rows > 0 ? <f32>(squares / rows) : 0, 4);
}

/** Of balance · the first loss + z · the second: dLogits += p_i (balance e / T (f_i - Σ f_j p_j) + z 2 / T logsumexp), rows first..last-1 of T. */
export function routerLossesBackward(
  first: i32, last: i32, rows: i32, e: i32, balance: f32, z: f32, logits: usize, offsets: usize, dLogits: usize,
  scratch: usize,
): void {
  const shares = scratch, p = shares + (<usize>e << 3), width = <usize>e << 2;
  sharesOf(e, offsets, shares);
  for (let r = first; r < last; r++) {
    const lse = softmaxOf(e, logits + <usize>r * width, p), to = dLogits + <usize>r * width;
    let inner: f64 = 0;
    for (let i: usize = 0; i < <usize>e; i++) inner += load<f64>(shares + (i << 3)) * load<f64>(p + (i << 3));
    for (let i: usize = 0; i < <usize>e; i++) {
      const pull = <f64>balance * e * (load<f64>(shares + (i << 3)) - inner) + 2 * <f64>z * lse;
      const at = to + (i << 2);
      store<f32>(at, <f32>(<f64>load<f32>(at) + load<f64>(p + (i << 3)) * pull / rows));
    }
  }
}

/** The softmax of e logits to p [e] f64; their log-sum-exp. */
function softmaxOf(e: i32, logits: usize, p: usize): f64 {
  let most: f64 = -Infinity, sum: f64 = 0;
  for (let i: usize = 0; i < <usize>e; i++) most = max(most, <f64>load<f32>(logits + (i << 2)));
  for (let i: usize = 0; i < <usize>e; i++) {
    const x = Math.exp(<f64>load<f32>(logits + (i << 2)) - most);
    store<f64>(p + (i << 3), x);
    sum += x;
  }
  for (let i: usize = 0; i < <usize>e; i++) store<f64>(p + (i << 3), load<f64>(p + (i << 3)) / sum);
  return most + Math.log(sum);
}

/**
 * Slots 0..slots-1 (a token's k slots one after another) by their expert, stable: to order [slots] i32, and to offsets [e + 1] i32
 * where each expert's begin. Where a place is no expert nothing is sorted.
 */
export function dispatchSlots(slots: i32, e: i32, places: usize, order: usize, offsets: usize): void {
  const width = <usize>e << 2;
  memory.fill(offsets, 0, width + 4);
  for (let s = 0; s < slots; s++) {
    const place = load<u32>(places + (<usize>s << 2));
    if (place >= <u32>e) return;
    const at = offsets + (<usize>place << 2) + 4;
    store<i32>(at, load<i32>(at) + 1);
  }
  for (let i: usize = 0; i < width; i += 4) store<i32>(offsets + i + 4, load<i32>(offsets + i) + load<i32>(offsets + i + 4));
  // each beginning moves to its end, which is the beginning of the next
  for (let s = 0; s < slots; s++) {
    const at = offsets + (<usize>load<i32>(places + (<usize>s << 2)) << 2), to = load<i32>(at);
    store<i32>(order + (<usize>to << 2), s);
    store<i32>(at, to + 1);
  }
  for (let i = width; i > 0; i -= 4) store<i32>(offsets + i, load<i32>(offsets + i - 4));
  store<i32>(offsets, 0);
}

/** Where each slot stands in order [slots] i32, to places [slots] i32. It ends at an entry that is no slot. */
export function invertOrder(slots: i32, order: usize, places: usize): void {
  // an order that names a slot twice leaves another out, which must not stand outside
  memory.fill(places, 0, <usize>slots << 2);
  for (let i = 0; i < slots; i++) {
    const s = load<u32>(order + (<usize>i << 2));
    if (s >= <u32>slots) return;
    store<i32>(places + (s << 2), i);
  }
}

/** Rows first..last-1 of out [slots][n] f32: row i is the row of x [rows][n] of the token that slot order[i] belongs to. */
export function gatherRows(first: i32, last: i32, rows: i32, k: i32, n: i32, x: usize, order: usize, out: usize): void {
  const bytes = <usize>n << 2;
  for (let i = first; i < last; i++) {
    // an order that is none reads some row, never other memory
    const token = min(load<u32>(order + (<usize>i << 2)) / <u32>k, <u32>(rows - 1));
    const from = x + <usize>token * bytes, to = out + <usize>i * bytes;
    let at: usize = 0;
    for (; at + 16 <= bytes; at += 16) v128.store(to + at, v128.load(from + at));
    for (; at < bytes; at += 4) store<f32>(to + at, load<f32>(from + at));
  }
}

/** Of gatherRows: rows first..last-1 of dX [rows][n] += the rows of dY of the token's k slots, in their order. slots: of invertOrder. */
export function gatherRowsBackward(first: i32, last: i32, k: i32, n: i32, dY: usize, slots: usize, dX: usize): void {
  const bytes = <usize>n << 2;
  for (let r = first; r < last; r++) {
    for (let j = 0; j < k; j++) add(n, dY + <usize>load<i32>(slots + (<usize>(r * k + j) << 2)) * bytes, dX + <usize>r * bytes);
  }
}

/**
 * Rows first..last-1 of out [rows][n]: the sum over a token's k slots, in their order, of weight · y[where the slot stands].
 * slots: [rows][k] i32 of invertOrder.
 */
export function combine(
  first: i32, last: i32, k: i32, n: i32, y: usize, slots: usize, weights: usize, out: usize,
): void {
  const bytes = <usize>n << 2;
  for (let r = first; r < last; r++) {
    const to = out + <usize>r * bytes;
    memory.fill(to, 0, bytes);
    for (let j = 0; j < k; j++) {
      const slot = <usize>(r * k + j) << 2, w = load<f32>(weights + slot), w4 = f32x4.splat(w);
      const from = y + <usize>load<i32>(slots + slot) * bytes;
      let at: usize = 0;
      for (; at + 16 <= bytes; at += 16) v128.store(to + at, madd(v128.load(from + at), w4, v128.load(to + at)));
      for (; at < bytes; at += 4) store<f32>(to + at, load<f32>(from + at) * w + load<f32>(to + at));
    }
  }
}

/**
 * Of combine, tokens first..last-1: where a slot stands, dY = weight · dOut, and dWeights of the slot = dOut · y. slots: of invertOrder. dY may be y.
 */
export function combineBackward(
  first: i32, last: i32, k: i32, n: i32, dOut: usize, y: usize, slots: usize, weights: usize, dY: usize, dWeights: usize,
): void {
  const bytes = <usize>n << 2;
  for (let r = first; r < last; r++) {
    for (let j = 0; j < k; j++) {
      const slot = <usize>(r * k + j) << 2, at = <usize>load<i32>(slots + slot) * bytes;
      store<f32>(dWeights + slot, dotScaled(n, load<f32>(weights + slot), dOut + <usize>r * bytes, y + at, dY + at));
    }
  }
}

/** to = factor · x over n elements, and x · y before that: to may be x or y. */
function dotScaled(n: i32, factor: f32, x: usize, y: usize, to: usize): f32 {
  const f = f32x4.splat(factor);
  let sum = f32x4.splat(0);
  for (; n >= 4; n -= 4, x += 16, y += 16, to += 16) {
    const v = v128.load(x);
    sum = madd(v, v128.load(y), sum);
    v128.store(to, f32x4.mul(v, f));
  }
  let total = sum4(sum);
  for (; n > 0; n--, x += 4, y += 4, to += 4) {
    const v = load<f32>(x);
    total += v * load<f32>(y);
    store<f32>(to, v * factor);
  }
  return total;
}

/** Rows first..last-1 of x [rows][n] *= sigmoid(gate[row]). */
export function sigmoidScale(first: i32, last: i32, n: i32, gate: usize, x: usize): void {
  const bytes = <usize>n << 2;
  for (let r = first; r < last; r++) {
    const s4 = sigmoid4(v128.load32_splat(gate + (<usize>r << 2))), s = f32x4.extract_lane(s4, 0);
    const row = x + <usize>r * bytes;
    let at: usize = 0;
    for (; at + 16 <= bytes; at += 16) v128.store(row + at, f32x4.mul(v128.load(row + at), s4));
    for (; at < bytes; at += 4) store<f32>(row + at, load<f32>(row + at) * s);
  }
}

/** Of sigmoidScale, x as it stood before: dX = σ(gate) · dOut, dGate = σ (1 - σ) Σ dOut · x, 1 - σ being σ(-gate). dX may be dOut. */
export function sigmoidScaleBackward(
  first: i32, last: i32, n: i32, gate: usize, x: usize, dOut: usize, dX: usize, dGate: usize,
): void {
  const bytes = <usize>n << 2;
  for (let r = first; r < last; r++) {
    const g = v128.load32_splat(gate + (<usize>r << 2)), at = <usize>r * bytes;
    const s = f32x4.extract_lane(sigmoid4(g), 0), rest = f32x4.extract_lane(sigmoid4(f32x4.neg(g)), 0);
    store<f32>(dGate + (<usize>r << 2), s * rest * dotScaled(n, s, dOut + at, x + at, dX + at));
  }
}
