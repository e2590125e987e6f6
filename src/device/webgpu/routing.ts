import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { RouteRule, Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { elementwise, overRowElements } from './elementwise.ts';
import { kernel, reduction, variants } from './kernel.ts';
import { LEAST } from './logit-rows.ts';
import { exponential, QUOTIENT, SIGMOID } from './math.ts';
import { byRows } from './pieces.ts';
import { overSlots } from './slots.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';
import { RANK } from './top-k.ts';

/** Invocations of a token: as many as it has choices at most. */
export const ROUTING = 64;
/** Experts whose ranks stand in workgroup memory; those of more stand in scratch. */
const HELD = 1024;
/** Ranks of -∞, which NaN shares, and of an expert whose group is not looked into. */
const [NOTHING, CLOSED] = ['0xff800000u', '0xffffffffu'];

/** What the score of a logit takes: `score(z, top, all)`, top and all being the largest logit and Σ e^(z - top) where it is a softmax. */
export const SCORES = `${exponential('exp1', 'f32')}
${QUOTIENT}
${SIGMOID}
${reduction('largest', ROUTING, 'max')}
${reduction('total', ROUTING, 'sum')}`;

/** `top` and `all` of the softmax over a token's experts, whose logits begin at `start`. */
export const SOFTMAX = `var most = ${LEAST};
  for (var i = li; i < u.experts; i += ${ROUTING}u) { most = max(most, logits[start + i]); }
  let top = largest(most, li);
  var part = 0.0;
  for (var i = li; i < u.experts; i += ${ROUTING}u) { part += exp1(logits[start + i] - top); }
  let all = total(part, li);`;

function scoreOf(score: RouteRule['score'], z: string): string {
  switch (score) {
    case 'softmax':
      return `quotient(exp1(${z} - top), all)`;
    case 'sigmoid':
      return `sigmoid(${z})`;
    case 'selected-softmax':
      return z;
    default:
      return score satisfies never;
  }
}

/** Of a group of experts: its best, or the sum of its two best, as a rank; then groups that are not among the best close theirs. */
function grouping(rank: (i: string) => string, worth: (g: string) => string, barrier: string, top2: boolean): string {
  return `let inGroup = u.experts / u.groups;
  for (var g = li; g < u.groups; g += ${ROUTING}u) {
    var best = ${NOTHING};
    var second = ${NOTHING};
    for (var i = g * inGroup; i < (g + 1u) * inGroup; i++) {
      let r = ${rank('i')};
      second = min(second, max(best, r));
      best = min(best, r);
    }
    ${
      top2
        ? `let both = min(rankOf(bitcast<u32>(numberOf(best) + numberOf(second))), ${NOTHING});
    ${worth('g')} = select(best, both, inGroup > 1u);`
        : `${worth('g')} = best;`
    }
  }
  ${barrier}
  for (var g = li; g < u.groups; g += ${ROUTING}u) {
    let own = ${worth('g')};
    var better = 0u;
    for (var h = 0u; h < u.groups; h++) {
      let other = ${worth('h')};
      better += select(0u, 1u, other < own || (other == own && h < g));
    }
    if (better >= u.topGroups) {
      for (var i = g * inGroup; i < (g + 1u) * inGroup; i++) { ${rank('i')} = ${CLOSED}; }
    }
  }
  ${barrier}`;
}

/** A workgroup a token. An expert's slot is how many experts are better: nothing is sorted. */
const ROUTE = variants(
  'route',
  (_, score: RouteRule['score'], shared: boolean, grouped: boolean, top2: boolean, biased: boolean, held: boolean) => {
    const rank = (i: string) => (held ? `ranks[${i}]` : `ranks[own0 + ${i}]`);
    const worth = (g: string) => (held ? `worths[${g}]` : `ranks[own0 + u.experts + ${g}]`);
    const barrier = `workgroupBarrier();${held ? '' : '\n  storageBarrier();'}`;
    const selected = score === 'selected-softmax';
    return {
      buffers: [
        ['logits', 'f32', 'read'],
        ['places', 'i32', 'write'],
        ['weights', 'f32', 'write'],
        ...(biased ? [['bias', 'f32', 'read'] as const] : []),
        ...(held ? [] : [['ranks', 'u32', 'write'] as const]),
      ],
      numbers: ['rows: u32', 'experts: u32', 'k: u32', 'scale: f32', 'groups: u32', 'topGroups: u32'],
      workgroup: ROUTING,
      declarations: `${SCORES}
${RANK}
fn numberOf(rank: u32) -> f32 { return bitcast<f32>(select(rank, 0x7fffffffu - rank, rank < 0x80000000u)); }
var<workgroup> chosen: array<u32, ${ROUTING}>;
${held ? `var<workgroup> ranks: array<u32, ${HELD}>;` : ''}
${held && grouped ? `var<workgroup> worths: array<u32, ${HELD}>;` : ''}`,
      body: `if (group >= u.rows) { return; }
  let start = u.logitsAt + group * u.experts;
  ${held ? '' : 'let own0 = u.ranksAt + 2u * group * u.experts;'}
  ${score === 'softmax' ? SOFTMAX : ''}
  for (var i = li; i < u.experts; i += ${ROUTING}u) {
    let choice = ${scoreOf(score, 'logits[start + i]')}${biased ? ' + bias[u.biasAt + i]' : ''};
    ${rank('i')} = min(rankOf(bitcast<u32>(choice)), ${NOTHING});
  }
  ${barrier}
  ${grouped ? grouping(rank, worth, barrier, top2) : ''}
  for (var i = li; i < u.experts; i += ${ROUTING}u) {
    let own = ${rank('i')};
    var better = select(0u, u.k, own == ${CLOSED});
    for (var j = 0u; j < u.experts && better < u.k; j++) {
      let other = ${rank('j')};
      better += select(0u, 1u, other < own || (other == own && j < i));
    }
    if (better < u.k) {
      chosen[better] = i;
      places[u.placesAt + group * u.k + better] = i32(i);
    }
  }
  workgroupBarrier();
  let isSlot = li < u.k;
  let z = logits[start + chosen[min(li, u.k - 1u)]];
  ${
    selected
      ? `let high = largest(select(${LEAST}, z, isSlot), li);
  let w = exp1(z - high);`
      : `let w = ${scoreOf(score, 'z')};`
  }
  let sum = total(select(0.0, w, isSlot), li);
  if (isSlot) { weights[u.weightsAt + group * u.k + li] = ${shared ? 'quotient(w * u.scale, sum + 1e-20)' : 'w * u.scale'}; }`,
    };
  },
);

export function route(
  { commands, arena }: GpuParts,
  logits: Tensor,
  bias: Tensor | null,
  rule: RouteRule,
  places: Tensor,
  weights: Tensor,
): void {
  const { score, renormalise, scale, groups, topGroups, groupScore } = rule;
  const [experts, k] = [widthOf(logits), widthOf(places)];
  const shared = renormalise || score === 'selected-softmax';
  const [grouped, held] = [topGroups < groups, experts <= HELD];
  const of = ROUTE(score, shared, grouped, grouped && groupScore === 'top2', bias !== null, held);
  // of a token the ranks of its experts and the worths of its groups
  const bytes = held ? 0 : 8 * experts;
  const mark = arena.mark();
  for (const { bound, rows } of byRows(commands.bindingLimit, [logits, places, weights], bytes)) {
    const ranks = held ? [] : [{ memory: arena.take(rows * bytes), offset: 0, byteLength: rows * bytes }];
    const given = [...bound, ...(bias ? [bias as GpuTensor] : []), ...ranks];
    commands.run(of, given, [rows, experts, k, scale, groups, topGroups], rows);
    arena.reset(mark);
  }
}

const SORTING = 256;
/** Slots that one workgroup sorts at once, each comparing with all. */
const FEW = 2 * SORTING;

/** An expert that is none counts as the last: what is sorted is an order in any case. */
const EXPERT_OF = 'fn expertOf(slot: u32) -> u32 { return min(places[u.placesAt + slot], u.experts - 1u); }';

/** All at once: a slot stands behind those of lower experts, and of its own those before it. */
const DISPATCH_FEW = kernel('dispatch few', () => ({
  buffers: [
    ['places', 'u32', 'read'],
    ['order', 'u32', 'write'],
    ['offsets', 'u32', 'write'],
  ],
  numbers: ['slots: u32', 'experts: u32'],
  workgroup: SORTING,
  declarations: `var<workgroup> experts: array<u32, ${FEW}>;
${EXPERT_OF}`,
  body: `for (var s = li; s < u.slots; s += ${SORTING}u) { experts[s] = expertOf(s); }
  workgroupBarrier();
  for (var s = li; s < u.slots; s += ${SORTING}u) {
    let own = experts[s];
    var before = 0u;
    for (var t = 0u; t < u.slots; t++) {
      let other = experts[t];
      before += select(0u, 1u, other < own || (other == own && t < s));
    }
    order[u.orderAt + before] = s;
  }
  for (var e = li; e <= u.experts; e += ${SORTING}u) {
    var before = 0u;
    for (var t = 0u; t < u.slots; t++) { before += select(0u, 1u, experts[t] < e); }
    offsets[u.offsetsAt + e] = before;
  }`,
}));

/** `ranked`: of the slots of a workgroup how many before it have its expert, and how many at all. */
const RANKED = `var<workgroup> experts: array<u32, ${SORTING}>;
${EXPERT_OF}
fn ranked(slot: u32, li: u32) -> vec2u {
  experts[li] = select(${CLOSED}, expertOf(min(slot, u.slots - 1u)), slot < u.slots);
  workgroupBarrier();
  let own = experts[li];
  var counts = vec2u();
  for (var j = 0u; j < ${SORTING}u; j++) {
    if (experts[j] == own) { counts += vec2u(select(0u, 1u, j < li), 1u); }
  }
  return counts;
}`;

/** counts[piece, expert]: slots of a piece that have it. */
const DISPATCH_COUNT = kernel('dispatch count', () => ({
  buffers: [
    ['places', 'u32', 'read'],
    ['counts', 'u32', 'write'],
  ],
  numbers: ['slots: u32', 'experts: u32', 'pieces: u32'],
  workgroup: SORTING,
  declarations: RANKED,
  body: `if (group >= u.pieces) { return; }
  let to = u.countsAt + group * u.experts;
  for (var e = li; e < u.experts; e += ${SORTING}u) { counts[to + e] = 0u; }
  workgroupBarrier();
  storageBarrier();
  let slot = group * ${SORTING}u + li;
  let all = ranked(slot, li);
  if (slot < u.slots && all.x == 0u) { counts[to + experts[li]] = all.y; }`,
}));

/** Counts of pieces become where their slots begin, one workgroup for all; and offsets. */
const DISPATCH_BEGIN = kernel('dispatch begin', () => ({
  buffers: [
    ['counts', 'u32', 'write'],
    ['offsets', 'u32', 'write'],
  ],
  numbers: ['experts: u32', 'pieces: u32'],
  workgroup: SORTING,
  declarations: `var<workgroup> sums: array<u32, ${SORTING}>;`,
  body: `var carried = 0u;
  for (var first = 0u; first < u.experts; first += ${SORTING}u) {
    let e = first + li;
    var all = 0u;
    if (e < u.experts) {
      for (var p = 0u; p < u.pieces; p++) { all += counts[u.countsAt + p * u.experts + e]; }
    }
    sums[li] = all;
    workgroupBarrier();
    for (var step = 1u; step < ${SORTING}u; step <<= 1u) {
      let before = select(0u, sums[max(li, step) - step], li >= step);
      workgroupBarrier();
      sums[li] += before;
      workgroupBarrier();
    }
    if (e < u.experts) {
      var begin = carried + sums[li] - all;
      offsets[u.offsetsAt + e] = begin;
      for (var p = 0u; p < u.pieces; p++) {
        let at = u.countsAt + p * u.experts + e;
        let count = counts[at];
        counts[at] = begin;
        begin += count;
      }
    }
    carried += sums[${SORTING - 1}];
    workgroupBarrier();
  }
  if (li == 0u) { offsets[u.offsetsAt + u.experts] = carried; }`,
}));

const DISPATCH_PLACE = kernel('dispatch place', () => ({
  buffers: [
    ['places', 'u32', 'read'],
    ['counts', 'u32', 'read'],
    ['order', 'u32', 'write'],
  ],
  numbers: ['slots: u32', 'experts: u32', 'pieces: u32'],
  workgroup: SORTING,
  declarations: RANKED,
  body: `if (group >= u.pieces) { return; }
  let slot = group * ${SORTING}u + li;
  let all = ranked(slot, li);
  if (slot < u.slots) { order[u.orderAt + counts[u.countsAt + group * u.experts + experts[li]] + all.x] = slot; }`,
}));

/** A counting sort in pieces of slots: stable, and the same in every run, since nothing is counted by who comes first. */
export function dispatch({ commands, arena }: GpuParts, places: Tensor, order: Tensor, offsets: Tensor): void {
  const [slots, experts] = [elements(places.shape), elements(offsets.shape) - 1];
  const [from, to, begins] = [places, order, offsets] as [GpuTensor, GpuTensor, GpuTensor];
  if (slots <= FEW) {
    commands.run(DISPATCH_FEW, [from, to, begins], [slots, experts], 1);
    return;
  }
  const pieces = Math.ceil(slots / SORTING);
  const byteLength = 4 * pieces * experts;
  const mark = arena.mark();
  const counts: Bound = { memory: arena.take(byteLength), offset: 0, byteLength };
  commands.run(DISPATCH_COUNT, [from, counts], [slots, experts, pieces], pieces);
  commands.run(DISPATCH_BEGIN, [counts, begins], [experts, pieces], 1);
  commands.run(DISPATCH_PLACE, [from, counts, to], [slots, experts, pieces], pieces);
  arena.reset(mark);
}

const GATHER = variants('gatherRows', (_, wide: boolean) =>
  elementwise(wide, {
    buffers: [
      ['y', 'write'],
      ['order', 'read', 'u32'],
      ['x', 'read'],
    ],
    numbers: ['width: u32', 'k: u32', 'first: u32', 'tokens: u32', 'all: u32'],
    body: `let token = min(order[u.orderAt + i / u.width] / u.k, u.all - 1u) - u.first;
    if (token < u.tokens) { y[u.yAt + i] = x[u.xAt + token * u.width + i % u.width]; }`,
  }),
);

export function gatherRows(parts: GpuParts, x: Tensor, order: Tensor, out: Tensor): void {
  const all = heightOf(x);
  if (all === 0) return;
  const k = heightOf(out) / all;
  // tokens before a piece of x wrap around, and are none of its
  for (const { bound, first, rows } of byRows(parts.commands.bindingLimit, [x])) {
    overRowElements(parts, GATHER, [out], { beside: [order], whole: bound, numbers: [k, first, rows, all] });
  }
}

export function combine(parts: GpuParts, y: Tensor, order: Tensor, weights: Tensor, out: Tensor): void {
  overSlots(parts, y, order, weights, out);
}

const SIGMOID_SCALE = variants('sigmoidScale', (_, wide: boolean) =>
  elementwise(wide, {
    buffers: [
      ['x', 'write'],
      ['gate', 'read', 'f32'],
    ],
    numbers: ['width: u32'],
    declarations: `${exponential('exp1', 'f32')}\n${QUOTIENT}\n${SIGMOID}`,
    body: 'x[u.xAt + i] *= sigmoid(gate[u.gateAt + i / u.width]);',
  }),
);

export function sigmoidScale(parts: GpuParts, gate: Tensor, x: Tensor): void {
  overRowElements(parts, SIGMOID_SCALE, [x], { beside: [gate] });
}
