import { heightOf, widthOf } from '../checks/tensor.ts';
import { STAT, STAT_NUMBERS, STAT_PLACE, STAT_PLACES, type Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { variants } from './kernel.ts';
import { fourBuffer, fourGet, isWide, LEAST } from './logit-rows.ts';
import { exponential, LOG1P, orderNumbers, powerGap, QUOTIENT } from './math.ts';
import { byRows } from './pieces.ts';
import type { GpuParts } from './tensor-store.ts';

/** Invocations of a workgroup: those of a short row would have nothing to do. */
const sizeOf = (width: number): number => (width <= 256 ? 32 : width <= 1024 ? 64 : 256);
/** Logits of a workgroup. A row has as many pieces as its width asks for, so that its sums do not depend on how many rows there are. */
const PIECE = 8192;
/** Invocations that join the pieces of a row. */
const JOINING = 64;
/** What stands for d of a logit of -∞: so far off that no order of an entropy sees it. */
const FAR = '-1e30';
/** Words of a piece: largest, its place, second, its place, what sums there are, whether a logit is none. */
const PIECE_WORDS = 8;

/**
 * With d = x - max and u = e^d: R = Σ u over all but the largest, so that ln Z = log1p(R) keeps the digits of a row that is nearly certain;
 * W = Σ u d; G = Σ (u^q - u) / (q - 1). Then Shannon's entropy is ln Z - W / Z, and Tsallis's (1 - Z^(1 - q)) / (q - 1) - Z^-q G: no term of either
 * cancels another (assembly/logits.ts). A row with NaN or +∞, or without anything finite, gets NaN for all of them.
 */
const STATE = `struct State { best: f32, bestAt: i32, second: f32, secondAt: i32 }
fn beats(v: f32, at: i32, other: f32, otherAt: i32) -> bool { return v > other || (v == other && at < otherAt); }
fn joined(a: State, b: State) -> State {
  if (beats(b.best, b.bestAt, a.best, a.bestAt)) {
    if (beats(a.best, a.bestAt, b.second, b.secondAt)) { return State(b.best, b.bestAt, a.best, a.bestAt); }
    return b;
  }
  if (beats(b.best, b.bestAt, a.second, a.secondAt)) { return State(a.best, a.bestAt, b.best, b.bestAt); }
  return a;
}`;

/** Over a workgroup of `size`: `joinAll(state, li)` and `sumAll(sums, li)`, in an order that depends on nothing else. */
function overGroup(size: number): string {
  const tree = (name: string, type: string, join: string) => `var<workgroup> ${name}_parts: array<${type}, ${size}>;
fn ${name}(value: ${type}, li: u32) -> ${type} {
  ${name}_parts[li] = value;
  workgroupBarrier();
  for (var width = ${size / 2}u; width > 0u; width >>= 1u) {
    if (li < width) { ${name}_parts[li] = ${join}; }
    workgroupBarrier();
  }
  return ${name}_parts[0];
}`;
  return `${STATE}
${tree('joinAll', 'State', 'joined(joinAll_parts[li], joinAll_parts[li + width])')}
${tree('sumAll', 'vec4f', 'sumAll_parts[li] + sumAll_parts[li + width]')}`;
}

/** Bits of NaN and -∞, which WGSL cannot name as floats. */
const [NAN, NONE] = ['0x7fc00000u', '0xff800000u'];

/** `finish(row, all, sums)`: what a row gets. sums: R, W, G, and above 0 where a logit is none. */
function finish(tsallis: boolean, targets: boolean): string {
  return `${LOG1P}
${QUOTIENT}
fn shown(value: f32, ok: bool) -> u32 { return select(${NAN}, bitcast<u32>(value), ok); }
fn logit(value: f32) -> u32 { return select(${NONE}, bitcast<u32>(value), value > ${LEAST}); }
fn finish(row: u32, all: State, sums: vec4f) {
  let ok = sums.w == 0.0 && all.bestAt >= 0;
  let logZ = log1p(sums.x);
  let shannon = max(0.0, logZ - quotient(sums.y, 1.0 + sums.x));
  ${
    tsallis
      ? `let y = -u.rest * logZ;
  let whole = select((exp1(y) - 1.0) * -u.inverse, logZ * gapSeries(y), abs(y) < 0.5);
  let tsallis = max(0.0, whole - sums.z * exp1(-u.order * logZ));`
      : 'let tsallis = shannon;'
  }
  let to = u.numbersAt + row * ${STAT_NUMBERS}u;
  numbers[to + ${STAT.max}u] = logit(all.best);
  numbers[to + ${STAT.logSumExp}u] = shown(all.best + logZ, ok);
  numbers[to + ${STAT.shannon}u] = shown(shannon, ok);
  numbers[to + ${STAT.tsallis}u] = shown(tsallis, ok);
  numbers[to + ${STAT.runnerUp}u] = logit(all.second);
  ${
    targets
      ? `let wanted = targets[u.targetsAt + row];
  var own = 0u;
  if (wanted >= 0 && wanted < i32(u.width)) {
    let i = u32(wanted) & ~3u;
    let x = logitsGet(row, i)[u32(wanted) & 3u];
    own = shown((x - all.best) - logZ, ok);
    if (ok && x < ${LEAST}) { own = ${NONE}; }
  }
  numbers[to + ${STAT.targetLogProbability}u] = own;`
      : `numbers[to + ${STAT.targetLogProbability}u] = 0u;`
  }
  let at = u.placesAt + row * ${STAT_PLACES}u;
  places[at + ${STAT_PLACE.argmax}u] = all.bestAt;
  places[at + ${STAT_PLACE.runnerUp}u] = all.secondAt;
}`;
}

const FINISH_BUFFERS = (targets: boolean) =>
  [
    ...(targets ? [['targets', 'i32', 'read'] as const] : []),
    ['numbers', 'u32', 'write'] as const,
    ['places', 'i32', 'write'] as const,
  ] as const;
const ORDER_NUMBERS = ['order: f32', 'rest: f32', 'inverse: f32'] as const;

/** A workgroup a piece. With `whole`, a row is one piece, and is finished at once. */
const PIECES = variants(
  'logitStats',
  (_, size: number, wide: boolean, tsallis: boolean, whole: boolean, targets: boolean) => ({
    buffers: [
      fourBuffer('logits', wide, 'read'),
      ...(whole ? FINISH_BUFFERS(targets) : [['pieces', 'u32', 'write'] as const]),
    ],
    numbers: ['rows: u32', 'width: u32', 'each: u32', ...ORDER_NUMBERS],
    workgroup: size,
    declarations: `${fourGet('logits', wide, LEAST)}
${exponential('exp4', 'vec4f')}
${tsallis ? powerGap('gap4', 'vec4f', 'exp4') : ''}
${overGroup(size)}
fn all4(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }
${whole ? `${exponential('exp1', 'f32')}\n${tsallis ? powerGap('gap', 'f32', 'exp1') : ''}\n${finish(tsallis, targets)}` : ''}`,
    body: `if (group >= u.rows * u.each) { return; }
  let row = group / u.each;
  let first = (group % u.each) * ${PIECE}u;
  let last = min(first + ${PIECE}u, u.width);
  let least = vec4f(${LEAST});
  var own = State(${LEAST}, -1, ${LEAST}, -1);
  var strange = vec4<bool>(false);
  for (var i = first + 4u * li; i < last; i += ${4 * size}u) {
    let raw = logitsGet(row, i);
    let bits = bitcast<vec4u>(raw);
    let odd = ((bits & vec4u(0x7fffffffu)) >= vec4u(0x7f800000u)) & (bits != vec4u(${NONE}));
    strange = strange | odd;
    let v = select(raw, least, odd | (bits == vec4u(${NONE})));
    if (any(v > vec4f(own.second))) {
      ${[...'xyzw'].map((part, j) => `own = joined(own, State(v.${part}, i32(i) + ${j}, ${LEAST}, -1));`).join('\n      ')}
    }
  }
  let all = joinAll(own, li);
  var r = vec4f();
  var w = vec4f();
  var g = vec4f();
  for (var i = first + 4u * li; i < last; i += ${4 * size}u) {
    let raw = logitsGet(row, i);
    let d = max(select(raw, least, bitcast<vec4u>(raw) == vec4u(${NONE})) - vec4f(all.best), vec4f(${FAR}));
    let isBest = (vec4i(i32(i)) + vec4i(0, 1, 2, 3)) == vec4i(all.bestAt);
    let e = select(exp4(d), vec4f(0.0), isBest);
    r += e;
    w = fma(e, d, w);
    ${tsallis ? 'g += select(gap4(d, e, u.order, u.rest, u.inverse), vec4f(0.0), isBest);' : ''}
  }
  let total = sumAll(vec4f(all4(r), all4(w), all4(g), select(0.0, 1.0, any(strange))), li);
  if (li > 0u) { return; }
  ${
    whole
      ? 'finish(row, all, total);'
      : `let to = u.piecesAt + group * ${PIECE_WORDS}u;
  pieces[to] = bitcast<u32>(all.best);
  pieces[to + 1u] = bitcast<u32>(all.bestAt);
  pieces[to + 2u] = bitcast<u32>(all.second);
  pieces[to + 3u] = bitcast<u32>(all.secondAt);
  pieces[to + 4u] = bitcast<u32>(total.x);
  pieces[to + 5u] = bitcast<u32>(total.y);
  pieces[to + 6u] = bitcast<u32>(total.z);
  pieces[to + 7u] = bitcast<u32>(total.w);`
  }`,
  }),
);

/** A workgroup a row. Moving the base of a piece from its own largest to the row's takes that much from each of its d. */
const JOIN = variants('logitStats join', (_, wide: boolean, tsallis: boolean, targets: boolean) => ({
  buffers: [['pieces', 'u32', 'read'], fourBuffer('logits', wide, 'read'), ...FINISH_BUFFERS(targets)],
  numbers: ['rows: u32', 'width: u32', 'each: u32', ...ORDER_NUMBERS],
  workgroup: JOINING,
  declarations: `${fourGet('logits', wide, LEAST)}
${exponential('exp1', 'f32')}
${tsallis ? powerGap('gap', 'f32', 'exp1') : ''}
${overGroup(JOINING)}
${finish(tsallis, targets)}
fn number(at: u32) -> f32 { return bitcast<f32>(pieces[at]); }`,
  body: `if (group >= u.rows) { return; }
  let start = u.piecesAt + group * u.each * ${PIECE_WORDS}u;
  var own = State(${LEAST}, -1, ${LEAST}, -1);
  for (var p = li; p < u.each; p += ${JOINING}u) {
    let at = start + p * ${PIECE_WORDS}u;
    own = joined(own, State(number(at), bitcast<i32>(pieces[at + 1u]), number(at + 2u), bitcast<i32>(pieces[at + 3u])));
  }
  let all = joinAll(own, li);
  var sums = vec4f();
  for (var p = li; p < u.each; p += ${JOINING}u) {
    let at = start + p * ${PIECE_WORDS}u;
    let part = vec4f(number(at + 4u), number(at + 5u), number(at + 6u), number(at + 7u));
    if (bitcast<i32>(pieces[at + 1u]) == all.bestAt) {
      sums += part;
    } else {
      let d = max(number(at) - all.best, ${FAR});
      let f = exp1(d);
      let z = 1.0 + part.x;
      let gaps = ${tsallis ? 'fma(part.z, exp1(u.order * d), z * gap(d, f, u.order, u.rest, u.inverse))' : '0.0'};
      sums += vec4f(f * z, f * fma(d, z, part.y), gaps, part.w);
    }
  }
  let total = sumAll(sums, li);
  if (li == 0u) { finish(group, all, total); }`,
}));

export function logitStats(
  { commands, arena }: GpuParts,
  logits: Tensor,
  targets: Tensor | null,
  tsallisOrder: number,
  numbers: Tensor,
  places: Tensor,
): void {
  const width = widthOf(logits);
  if (heightOf(logits) === 0 || width === 0) return;
  const [each, size] = [Math.ceil(width / PIECE), sizeOf(width)];
  const order = orderNumbers(tsallisOrder);
  const [tsallis, targeted] = [tsallisOrder !== 1, targets !== null];
  const beside = [...(targets ? [targets] : []), numbers, places];
  const mark = arena.mark();
  for (const { bound, rows } of byRows(commands.bindingLimit, [logits, ...beside])) {
    const [x, ...given] = bound as [Bound, ...Bound[]];
    const wide = isWide(width, x);
    const words = [rows, width, each, ...order];
    if (each === 1) {
      commands.run(PIECES(size, wide, tsallis, true, targeted), bound, words, rows);
      continue;
    }
    const byteLength = 4 * PIECE_WORDS * rows * each;
    const pieces: Bound = { memory: arena.take(byteLength), offset: 0, byteLength };
    commands.run(PIECES(size, wide, tsallis, false, false), [x, pieces], words, rows * each);
    commands.run(JOIN(wide, tsallis, targeted), [pieces, x, ...given], words, rows);
    arena.reset(mark);
  }
}
