import { elements } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { kernel, variants } from './kernel.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 256;
/** Logits of a workgroup that counts. */
const PIECE = 8192;
/** Digits of a rank of 32 bits, from the top: how far it is shifted, and how many values it has. */
const DIGITS = [
  { shift: 21, size: 2048 },
  { shift: 10, size: 2048 },
  { shift: 0, size: 1024 },
] as const;
const BUCKETS = 2048;
/** Of a thread that looks for the digit of the last that is chosen. */
const EACH = BUCKETS / WORKGROUP;
/** Words of the state: by digit what is known of the last one's rank, and how many of those that share it are chosen; how many were found. */
const [STATE_WORDS, FOUND] = [8, 6];

/**
 * `rankOf(bits)` of a logit: a number that is the lower the larger the logit is, equal for both zeros, highest for NaN. Logits are bound as their bits,
 * which no compiler's view of infinities changes.
 */
export const RANK = `fn rankOf(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  if ((bits & 0x7fffffffu) == 0u) { return 0x7fffffffu; }
  return select(bits, 0x7fffffffu - bits, bits < 0x80000000u);
}`;

/**
 * `scan(own, li)`: of numbers of a workgroup those up to each, in `sums`. `find(level, need, li)`: of the counts of all pieces of a digit, the digit of the `need`th lowest rank, and how many ranks are below that digit:
 * `foundDigit`, `foundBelow`.
 */
const FIND = `var<workgroup> sums: array<u32, ${WORKGROUP}>;
var<workgroup> foundDigit: u32;
var<workgroup> foundBelow: u32;
fn scan(own: u32, li: u32) {
  sums[li] = own;
  workgroupBarrier();
  for (var step = 1u; step < ${WORKGROUP}u; step <<= 1u) {
    let before = select(0u, sums[max(li, step) - step], li >= step);
    workgroupBarrier();
    sums[li] += before;
    workgroupBarrier();
  }
}
fn find(level: u32, need: u32, li: u32) {
  var own: array<u32, ${EACH}>;
  var all = 0u;
  for (var b = 0u; b < ${EACH}u; b++) {
    var count = 0u;
    for (var p = 0u; p < u.pieces; p++) {
      count += counts[u.countsAt + (level * u.pieces + p) * ${BUCKETS}u + li * ${EACH}u + b];
    }
    own[b] = count;
    all += count;
  }
  scan(all, li);
  var below = sums[li] - all;
  if (below < need && need <= sums[li]) {
    var b = 0u;
    while (b < ${EACH - 1}u && below + own[b] < need) {
      below += own[b];
      b++;
    }
    foundDigit = li * ${EACH}u + b;
    foundBelow = below;
  }
  workgroupBarrier();
}`;

const COUNT_NUMBERS = ['count: u32', 'pieces: u32', 'k: u32'] as const;

/**
 * What is known after the digits before `level`: `known`, the beginning of the last one's rank, and `need`, how many are wanted of those that have it.
 * By digit it stands in the state.
 */
function known(level: number, load: (word: number) => string): string {
  if (level === 0) return 'let known = 0u;\n  let need = u.k;';
  const last = level - 1;
  return `let known0 = ${last === 0 ? '0u' : load(2 * last - 2)};
  let need0 = ${last === 0 ? 'u.k' : load(2 * last - 1)};
  find(${last}u, need0, li);
  let known = known0 | (foundDigit << ${DIGITS[last]!.shift}u);
  let need = need0 - foundBelow;`;
}

/** Counts, of the logits of each piece whose rank begins as what is known, those of each next digit. */
const COUNT = variants('topK count', (_, level: number) => {
  const { shift, size } = DIGITS[level]!;
  const before = level === 0 ? 32 : DIGITS[level - 1]!.shift;
  const mine = level === 0 ? 'true' : `(rank >> ${before}u) == (known >> ${before}u)`;
  const kept = `state[u.stateAt + ${2 * level - 2}u] = known;
    state[u.stateAt + ${2 * level - 1}u] = need;`;
  return {
    buffers: [
      ['logits', 'u32', 'read'],
      ['counts', 'u32', 'write'],
      ['state', 'u32', 'write'],
    ],
    numbers: COUNT_NUMBERS,
    workgroup: WORKGROUP,
    declarations: `${RANK}
${level > 0 ? FIND : ''}
var<workgroup> mine: array<atomic<u32>, ${BUCKETS}>;`,
    body: `if (group >= u.pieces) { return; }
  ${known(level, (word) => `state[u.stateAt + ${word}u]`)}
  if (group == 0u && li == 0u) {
    ${level === 0 ? `state[u.stateAt + ${FOUND}u] = 0u;` : kept}
  }
  let last = min((group + 1u) * ${PIECE}u, u.count);
  for (var i = group * ${PIECE}u + li; i < last; i += ${WORKGROUP}u) {
    let rank = rankOf(logits[u.logitsAt + i]);
    if (${mine}) { atomicAdd(&mine[(rank >> ${shift}u) & ${size - 1}u], 1u); }
  }
  workgroupBarrier();
  let to = u.countsAt + (${level}u * u.pieces + group) * ${BUCKETS}u;
  for (var b = li; b < ${BUCKETS}u; b += ${WORKGROUP}u) { counts[to + b] = atomicLoad(&mine[b]); }`,
  };
});

/** Logits of an invocation that collects, which are neighbours. */
const RUN = PIECE / WORKGROUP;

/**
 * The k of the lowest rank, as rank and place: those below the last one's rank in any order, and behind them, of those that have it, the first by
 * place, which a scan over neighbours numbers.
 */
const COLLECT = kernel('topK collect', () => ({
  buffers: [
    ['logits', 'u32', 'read'],
    ['counts', 'u32', 'read'],
    ['state', 'atomic<u32>', 'write'],
    ['chosen', 'vec2u', 'write'],
  ],
  numbers: COUNT_NUMBERS,
  workgroup: WORKGROUP,
  declarations: `${RANK}
${FIND}`,
  body: `if (group >= u.pieces) { return; }
  ${known(DIGITS.length, (word) => `atomicLoad(&state[u.stateAt + ${word}u])`)}
  let first = group * ${PIECE}u + li * ${RUN}u;
  let last = min(first + ${RUN}u, u.count);
  var equals = 0u;
  for (var i = first; i < last; i++) { equals += select(0u, 1u, rankOf(logits[u.logitsAt + i]) == known); }
  scan(equals, li);
  var place = u.k - need + sums[li] - equals;
  for (var p = 0u; p < group; p++) {
    place += counts[u.countsAt + (${DIGITS.length - 1}u * u.pieces + p) * ${BUCKETS}u + (known & ${DIGITS[2].size - 1}u)];
  }
  for (var i = first; i < last; i++) {
    let rank = rankOf(logits[u.logitsAt + i]);
    if (rank < known) {
      chosen[u.chosenAt + atomicAdd(&state[u.stateAt + ${FOUND}u], 1u)] = vec2u(rank, i);
    } else if (rank == known) {
      if (place < u.k) { chosen[u.chosenAt + place] = vec2u(rank, i); }
      place++;
    }
  }`,
}));

/** Each of the chosen goes to where as many are better: nothing is sorted, and it does not matter how they stood. */
const ORDER = kernel('topK order', () => ({
  buffers: [
    ['logits', 'u32', 'read'],
    ['chosen', 'vec2u', 'read'],
    ['values', 'u32', 'write'],
    ['places', 'u32', 'write'],
  ],
  numbers: ['k: u32'],
  workgroup: WORKGROUP,
  declarations: `var<workgroup> tile: array<vec2u, ${WORKGROUP}>;`,
  body: `let i = group * ${WORKGROUP}u + li;
  let own = chosen[u.chosenAt + min(i, u.k - 1u)];
  var better = 0u;
  for (var first = 0u; first < u.k; first += ${WORKGROUP}u) {
    tile[li] = chosen[u.chosenAt + min(first + li, u.k - 1u)];
    workgroupBarrier();
    let count = min(${WORKGROUP}u, u.k - first);
    for (var j = 0u; j < count; j++) {
      let other = tile[j];
      better += select(0u, 1u, other.x < own.x || (other.x == own.x && other.y < own.y));
    }
    workgroupBarrier();
  }
  if (i < u.k) {
    values[u.valuesAt + better] = logits[u.logitsAt + own.y];
    places[u.placesAt + better] = own.y;
  }`,
}));

/**
 * The rank of the last that is chosen is found digit by digit (radix select), its equals are taken by place, and the k are put in order by k² comparisons:
 * five kernels, whatever the logits are. NaN counts as less than everything.
 */
export function topK({ commands, arena }: GpuParts, logits: Tensor, k: number, values: Tensor, places: Tensor): void {
  const count = elements(logits.shape);
  const pieces = Math.ceil(count / PIECE);
  const mark = arena.mark();
  const scratch = (byteLength: number): Bound => ({ memory: arena.take(byteLength), offset: 0, byteLength });
  const counts = scratch(4 * DIGITS.length * pieces * BUCKETS);
  const [state, chosen] = [scratch(4 * STATE_WORDS), scratch(8 * k)];
  const numbers = [count, pieces, k];
  const x = logits as GpuTensor;
  for (let level = 0; level < DIGITS.length; level++) commands.run(COUNT(level), [x, counts, state], numbers, pieces);
  commands.run(COLLECT, [x, counts, state, chosen], numbers, pieces);
  const given = [x, chosen, values as GpuTensor, places as GpuTensor];
  commands.run(ORDER, given, [k], Math.ceil(k / WORKGROUP));
  arena.reset(mark);
}
