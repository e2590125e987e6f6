import { widthOf } from '../checks/tensor.ts';
import { STAT, STAT_NUMBERS, STAT_PLACE, STAT_PLACES } from '../device.ts';
import type { DrawArguments } from '../fused-device.ts';
import { DRAW_FIELDS, DRAW_KIND, DRAW_RULE } from './draw-rule.ts';
import { variants } from './kernel.ts';
import { fourBuffer, fourGet, isWide, LEAST } from './logit-rows.ts';
import { exponential } from './math.ts';
import { byRows } from './pieces.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 256;
/** Bits of -∞. */
const NONE = '0xff800000u';
/** What stands for a logit's distance from the largest where that is -∞: no temperature gives such a token any weight. */
const FAR = '-1e29';

/** A field of the row's rule. */
const rule = (field: keyof typeof DRAW_RULE): string =>
  `rules[u.rulesAt + group * ${DRAW_FIELDS}u + ${DRAW_RULE[field]}u]`;

function kindOf(name: keyof typeof DRAW_KIND): string {
  return `${DRAW_KIND[name]}.0`;
}

/**
 * A workgroup a row. Each invocation has neighbouring tokens, so that a scan over invocations goes through the row in the order of ids, as `Sampler` does;
 * who holds the place that was drawn walks there. Sums are f32, of some 200 terms and then of 256.
 */
const DRAW = variants('drawRows', (_, wide: boolean, listed: boolean) => ({
  buffers: [
    fourBuffer('logits', wide, 'read'),
    ['numbers', 'f32', 'read'],
    ['places', 'i32', 'read'],
    ['rules', 'f32', 'read'],
    ...(listed
      ? ([
          ['values', 'f32', 'read'],
          ['listed', 'i32', 'read'],
        ] as const)
      : []),
    ['ids', 'i32', 'write'],
    ['drawn', 'f32', 'write'],
  ],
  numbers: ['rows: u32', 'width: u32', 'count: u32'],
  workgroup: WORKGROUP,
  declarations: `${fourGet('logits', wide, LEAST)}
${exponential('exp4', 'vec4f')}
${exponential('exp1', 'f32')}
var<workgroup> sums: array<f32, ${WORKGROUP}>;
var<workgroup> first: atomic<u32>;
var<workgroup> last: atomic<u32>;
fn weights(row: u32, i: u32, top: f32, inverse: f32) -> vec4f {
  let raw = logitsGet(row, i);
  let least = vec4f(${LEAST});
  let x = select(raw, least, bitcast<vec4u>(raw) == vec4u(${NONE}));
  return exp4(max(x - vec4f(top), vec4f(${FAR})) * inverse);
}`,
  body: `if (group >= u.rows) { return; }
  let kind = ${rule('kind')};
  let inverse = ${rule('inverse')};
  let top = numbers[u.numbersAt + group * ${STAT_NUMBERS}u + ${STAT.max}u];
  let each = 4u * ((u.width + ${4 * WORKGROUP - 1}u) / ${4 * WORKGROUP}u);
  let start = min(li * each, u.width);
  // the mass of the row is asked for by who draws from it, and by top-p where more than what is listed may be drawn
  let asks = kind == ${kindOf('whole')} || (kind == ${kindOf('listed')} && ${rule('limited')} == 0.0);
  let end = select(start, min(start + each, u.width), asks);
  var own = 0.0;
  for (var i = start; i < end; i += 4u) {
    let w = weights(group, i, top, inverse);
    own += (w.x + w.y) + (w.z + w.w);
  }
  sums[li] = own;
  if (li == 0u) {
    atomicStore(&first, ${WORKGROUP}u);
    atomicStore(&last, 0u);
  }
  workgroupBarrier();
  for (var step = 1u; step < ${WORKGROUP}u; step <<= 1u) {
    let before = select(0.0, sums[max(li, step) - step], li >= step);
    workgroupBarrier();
    sums[li] += before;
    workgroupBarrier();
  }
  let mass = sums[${WORKGROUP - 1}];
  let wanted = ${rule('uniform')} * mass;
  // sums of f32 need not grow with every term, and the last may be below what was drawn of it
  if (own > 0.0) {
    atomicMax(&last, li);
    if (wanted < sums[li]) { atomicMin(&first, li); }
  }
  workgroupBarrier();
  let holder = min(atomicLoad(&first), atomicLoad(&last));
  if (kind == ${kindOf('whole')} && li == holder) {
    var sum = select(0.0, sums[max(li, 1u) - 1u], li > 0u);
    var id = start;
    var done = false;
    for (var i = start; i < end && !done; i += 4u) {
      let w = weights(group, i, top, inverse);
      for (var j = 0u; j < 4u; j++) {
        if (!done && w[j] > 0.0) {
          sum += w[j];
          id = i + j;
          done = wanted < sum;
        }
      }
    }
    ids[u.idsAt + group] = i32(id);
    drawn[u.drawnAt + group] = logitsGet(group, id & ~3u)[id & 3u];
  }
  if (kind == ${kindOf('likeliest')} && li == 0u) {
    ids[u.idsAt + group] = places[u.placesAt + group * ${STAT_PLACES}u + ${STAT_PLACE.argmax}u];
    drawn[u.drawnAt + group] = top;
  }
  ${listed ? LISTED : ''}`,
}));

/** Top-k, top-p and min-p over tokens in order, as `Sampler`. -1 where they do not prove what the whole row would give. */
const LISTED = `workgroupBarrier();
  let at = group * u.count;
  let n0 = u32(${rule('count')});
  sums[li] = select(0.0, exp1(max(values[u.valuesAt + at + min(li, u.count - 1u)] - top, ${FAR}) * inverse), li < n0);
  workgroupBarrier();
  if (kind == ${kindOf('listed')} && li == 0u) {
    let topP = ${rule('topP')};
    let minP = ${rule('minP')};
    // of top-k only what is listed counts
    let limited = ${rule('limited')} > 0.0 || n0 == u.width;
    var n = n0;
    var proven = limited;
    if (topP < 1.0) {
      var all = mass;
      if (limited) {
        all = 0.0;
        for (var i = 0u; i < n0; i++) { all += sums[i]; }
      }
      var above = 0.0;
      n = 0u;
      while (n < n0 && (n == 0u || above < topP * all)) {
        above += sums[n];
        n++;
      }
      proven = proven || above >= topP * all;
    } else if (minP > 0.0) {
      proven = proven || sums[n0 - 1u] < minP;
    }
    if (minP > 0.0) { while (n > 1u && sums[n - 1u] < minP) { n--; } }
    var sum = 0.0;
    for (var i = 0u; i < n; i++) { sum += sums[i]; }
    let place = ${rule('uniform')} * sum;
    var chosen = 0u;
    var cumulative = 0.0;
    for (var i = 0u; i < n; i++) {
      if (sums[i] > 0.0) { chosen = i; }
      cumulative += sums[i];
      if (place < cumulative) { break; }
    }
    ids[u.idsAt + group] = select(-1, listed[u.listedAt + at + chosen], proven);
    drawn[u.drawnAt + group] = values[u.valuesAt + at + chosen];
  }`;

export function drawRows({ commands }: GpuParts, args: DrawArguments): void {
  const { logits, numbers, places, rules, listed, ids, drawn } = args;
  const width = widthOf(logits);
  const count = listed ? widthOf(listed.values) : 0;
  const all = [logits, numbers, places, rules, ...(listed ? [listed.values, listed.places] : []), ids, drawn];
  for (const { bound, rows } of byRows(commands.bindingLimit, all)) {
    commands.run(DRAW(isWide(width, bound[0]!), listed !== null), bound, [rows, width, count], rows);
  }
}
