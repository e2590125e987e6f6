import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import { STAT, STAT_NUMBERS, STAT_PLACE, STAT_PLACES, type Tensor } from '../device.ts';
import type { Bound } from './commands.ts';
import { type Kernel, type KernelText, kernel, reduction, variants } from './kernel.ts';
import { fourBuffer, fourGet, fourSet, isWide, LEAST } from './logit-rows.ts';
import { exponential, orderNumbers, powerGap } from './math.ts';
import { byRows } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 256;
/** Logits of a workgroup. */
const TILE = 4096;

type Buffers = KernelText['buffers'];

interface RowText {
  /** Buffers of rows of logits that are read alone, and whether `dLogits`, which is written, was there before. */
  readonly reads: readonly string[];
  readonly adds?: boolean;
  /** What else is bound. */
  readonly beside: Buffers;
  readonly numbers?: readonly string[];
  readonly declarations?: string;
  /** Of a row, before its elements; they are passed over where it does not say `asked = true`, or become 0 where nothing is added. */
  readonly row: string;
  /** `value`, four columns from `i` on, given `logits`, or what else is read by its name, and `before` where it adds. */
  readonly element: string;
  readonly after?: string;
}

/**
 * A kernel over rows of logits, a workgroup a tile of a row: `u.tiles` of them. In place, what is read first is what is written. `columns`: of the four.
 */
function rowwise(wide: boolean, inPlace: boolean, text: RowText): KernelText {
  const { reads, adds = false, beside, numbers = [], declarations = '', row, element, after = '' } = text;
  const source = (name: string) => (inPlace && name === reads[0] ? 'dLogits' : name);
  const bound = inPlace ? reads.slice(1) : reads;
  const readers = [...new Set([...reads.map(source), ...(adds ? ['dLogits'] : [])])];
  return {
    buffers: [...bound.map((name) => fourBuffer(name, wide, 'read')), fourBuffer('dLogits', wide, 'write'), ...beside],
    numbers: ['rows: u32', 'width: u32', 'tiles: u32', ...numbers],
    workgroup: WORKGROUP,
    declarations: `${readers.map((name) => fourGet(name, wide, LEAST)).join('\n')}
${fourSet('dLogits', wide)}
${exponential('exp4', 'vec4f')}
${exponential('exp1', 'f32')}
${declarations}`,
    body: `if (group >= u.rows * u.tiles) { return; }
  let row = group / u.tiles;
  var asked = false;
  ${row}
  let first = (group % u.tiles) * ${TILE}u;
  let last = min(first + ${TILE}u, u.width);
  for (var i = first + 4u * li; i < last; i += ${4 * WORKGROUP}u) {
    if (asked) {
      let columns = vec4i(i32(i)) + vec4i(0, 1, 2, 3);
      ${reads.map((name) => `let ${name}4 = ${source(name)}Get(row, i);`).join('\n      ')}
      ${adds ? 'let before = dLogitsGet(row, i);' : ''}
      ${element}
      dLogitsSet(row, i, value);
    }${adds ? '' : ' else {\n      dLogitsSet(row, i, vec4f());\n    }'}
  }
  ${after}`,
  };
}

/** Runs it over rows: first those of logits, the written ones last, then what has a number or more a row. */
function overRows(
  { commands }: GpuParts,
  of: (wide: boolean) => Kernel,
  logits: readonly Tensor[],
  beside: readonly Tensor[],
  numbers: readonly number[] = [],
): void {
  const width = widthOf(logits[0]!);
  if (width === 0) return;
  const tiles = Math.ceil(width / TILE);
  for (const { bound, rows } of byRows(commands.bindingLimit, [...logits, ...beside])) {
    const wide = isWide(width, ...bound.slice(0, logits.length));
    commands.run(of(wide), bound, [rows, width, tiles, ...numbers], rows * tiles);
  }
}

/** Whether they are one: checks let nothing else through that begins alike. */
function isSame(a: Tensor, b: Tensor): boolean {
  return a.storage === b.storage && a.offset === b.offset;
}

const WEIGHT = 'let weight = weights[u.weightsAt + row];';
/** The target of a row that is asked. */
const WANTED = `let wanted = targets[u.targetsAt + row];
  asked = weight != 0.0 && wanted >= 0 && wanted < i32(u.width);`;
const logSumExp = (numbers: string): string =>
  `${numbers}[u.${numbers}At + row * ${STAT_NUMBERS}u + ${STAT.logSumExp}u]`;

const CROSS_ENTROPY = variants('crossEntropyBackward', (_, wide: boolean, inPlace: boolean) =>
  rowwise(wide, inPlace, {
    reads: ['logits'],
    beside: [
      ['numbers', 'f32', 'read'],
      ['targets', 'i32', 'read'],
      ['weights', 'f32', 'read'],
    ],
    row: `${WEIGHT}
  ${WANTED}
  let lse = ${logSumExp('numbers')};`,
    element: `let p = exp4(logits4 - vec4f(lse));
      let value = weight * select(p, p - 1.0, columns == vec4i(wanted));`,
  }),
);

export function crossEntropyBackward(
  parts: GpuParts,
  logits: Tensor,
  numbers: Tensor,
  targets: Tensor,
  weights: Tensor,
  dLogits: Tensor,
): void {
  const inPlace = isSame(logits, dLogits);
  const rows = inPlace ? [dLogits] : [logits, dLogits];
  overRows(parts, (wide) => CROSS_ENTROPY(wide, inPlace), rows, [numbers, targets, weights]);
}

/** Where the model's probability is 0 and the reference's too, nothing is lost. */
const DIVERGENCE = variants('divergenceBackward', (_, wide: boolean) =>
  rowwise(wide, false, {
    reads: ['reference', 'logits'],
    adds: true,
    beside: [
      ['referenceNumbers', 'f32', 'read'],
      ['numbers', 'f32', 'read'],
      ['weights', 'f32', 'read'],
      ['losses', 'f32', 'write'],
    ],
    declarations: reduction('total', WORKGROUP, 'sum'),
    row: `${WEIGHT}
  asked = weight != 0.0;
  let lse = ${logSumExp('numbers')};
  let other = ${logSumExp('referenceNumbers')};
  var sum = vec4f();`,
    element: `let a = logits4 - vec4f(lse);
      let b = reference4 - vec4f(other);
      let q = exp4(b);
      sum += select(q * (b - a), vec4f(), q == vec4f());
      let value = fma(vec4f(weight), exp4(a) - q, before);`,
    after: `let all = total((sum.x + sum.y) + (sum.z + sum.w), li);
  if (li == 0u) { losses[u.lossesAt + group] = all; }`,
  }),
);

/** Invocations that sum the tiles of a row. */
const SUMMING = 32;

const ROW_SUMS = kernel('divergenceBackward sums', () => ({
  buffers: [
    ['partial', 'f32', 'read'],
    ['losses', 'f32', 'write'],
  ],
  numbers: ['rows: u32', 'tiles: u32'],
  workgroup: SUMMING,
  declarations: reduction('total', SUMMING, 'sum'),
  body: `if (group >= u.rows) { return; }
  var sum = 0.0;
  for (var i = li; i < u.tiles; i += ${SUMMING}u) { sum += partial[u.partialAt + group * u.tiles + i]; }
  let all = total(sum, li);
  if (li == 0u) { losses[u.lossesAt + group] = all; }`,
}));

export function divergenceBackward(
  { commands, arena }: GpuParts,
  reference: Tensor,
  referenceNumbers: Tensor,
  logits: Tensor,
  numbers: Tensor,
  weights: Tensor,
  dLogits: Tensor,
  losses: Tensor,
): void {
  const width = widthOf(logits);
  if (width === 0) return;
  const tiles = Math.ceil(width / TILE);
  const mark = arena.mark();
  const tensors = [reference, logits, dLogits, referenceNumbers, numbers, weights, losses];
  for (const { bound, rows } of byRows(commands.bindingLimit, tensors)) {
    const wide = isWide(width, ...bound.slice(0, 3));
    const [given, to] = [bound.slice(0, -1), bound.at(-1)!];
    const byteLength = 4 * rows * tiles;
    const partial: Bound = tiles === 1 ? to : { memory: arena.take(byteLength), offset: 0, byteLength };
    commands.run(DIVERGENCE(wide), [...given, partial], [rows, width, tiles], rows * tiles);
    if (tiles > 1) commands.run(ROW_SUMS, [partial, to], [rows, tiles], rows);
    arena.reset(mark);
  }
}

/** `value`: of a row, by its own numbers, places and target; the likeliest other token is `other`, its logit `beside`. */
const OTHER = `let isMost = places[u.placesAt + row * ${STAT_PLACES}u + ${STAT_PLACE.argmax}u] == wanted;`;

const HINGE = kernel('hingeLoss', () => ({
  buffers: [
    ['numbers', 'f32', 'read'],
    ['places', 'i32', 'read'],
    ['targets', 'i32', 'read'],
    ['losses', 'f32', 'write'],
  ],
  numbers: ['rows: u32'],
  workgroup: WORKGROUP,
  declarations: exponential('exp1', 'f32'),
  body: `let row = group * ${WORKGROUP}u + li;
  if (row >= u.rows) { return; }
  let wanted = targets[u.targetsAt + row];
  ${OTHER}
  let at = u.numbersAt + row * ${STAT_NUMBERS}u;
  var loss = 0.0;
  if (wanted >= 0) {
    let beside = numbers[at + select(${STAT.max}u, ${STAT.runnerUp}u, isMost)];
    loss = 1.0 + exp1(numbers[at + ${STAT.targetLogProbability}u]) - exp1(beside - numbers[at + ${STAT.logSumExp}u]);
  }
  losses[u.lossesAt + row] = loss;`,
}));

export function hingeLoss(
  { commands }: GpuParts,
  numbers: Tensor,
  places: Tensor,
  targets: Tensor,
  losses: Tensor,
): void {
  const rows = elements(targets.shape);
  const bound = [numbers, places, targets, losses] as readonly Tensor[] as readonly GpuTensor[];
  commands.run(HINGE, bound, [rows], Math.ceil(rows / WORKGROUP));
}

/** Of a row w (Q - P), w P and w Q, from its logits before these may become their gradient. A vocabulary of one has no other. */
const HINGE_ROWS = kernel('hingeBackward rows', () => ({
  buffers: [
    ['logits', 'f32', 'read'],
    ['numbers', 'f32', 'read'],
    ['places', 'i32', 'read'],
    ['targets', 'i32', 'read'],
    ['weights', 'f32', 'read'],
    ['parts', 'vec4f', 'write'],
  ],
  numbers: ['rows: u32', 'width: u32'],
  workgroup: WORKGROUP,
  declarations: `${exponential('exp1', 'f32')}
fn probability(row: u32, column: i32) -> f32 {
  if (column < 0 || column >= i32(u.width)) { return 0.0; }
  return exp1(logits[u.logitsAt + row * u.width + u32(column)] - ${logSumExp('numbers')});
}`,
  body: `let row = group * ${WORKGROUP}u + li;
  if (row >= u.rows) { return; }
  ${WEIGHT}
  let wanted = targets[u.targetsAt + row];
  ${OTHER}
  let other = places[u.placesAt + row * ${STAT_PLACES}u + select(${STAT_PLACE.argmax}u, ${STAT_PLACE.runnerUp}u, isMost)];
  let p = probability(row, wanted);
  let q = probability(row, other);
  parts[u.partsAt + row] = vec4f(weight * (q - p), weight * p, weight * q, 0.0);`,
}));

const HINGE_BACKWARD = variants('hingeBackward', (_, wide: boolean, inPlace: boolean) =>
  rowwise(wide, inPlace, {
    reads: ['logits'],
    beside: [
      ['numbers', 'f32', 'read'],
      ['places', 'i32', 'read'],
      ['targets', 'i32', 'read'],
      ['weights', 'f32', 'read'],
      ['parts', 'vec4f', 'read'],
    ],
    row: `${WEIGHT}
  ${WANTED}
  ${OTHER}
  let other = places[u.placesAt + row * ${STAT_PLACES}u + select(${STAT_PLACE.argmax}u, ${STAT_PLACE.runnerUp}u, isMost)];
  let parts4 = parts[u.partsAt + row];
  let lse = ${logSumExp('numbers')};`,
    element: `var value = parts4.x * exp4(logits4 - vec4f(lse));
      value = select(value, value + parts4.y, columns == vec4i(wanted));
      value = select(value, value - parts4.z, columns == vec4i(other));`,
  }),
);

export function hingeBackward(
  { commands, arena }: GpuParts,
  logits: Tensor,
  numbers: Tensor,
  places: Tensor,
  targets: Tensor,
  weights: Tensor,
  dLogits: Tensor,
): void {
  const width = widthOf(logits);
  if (width === 0 || heightOf(logits) === 0) return;
  const inPlace = isSame(logits, dLogits);
  const tiles = Math.ceil(width / TILE);
  const mark = arena.mark();
  for (const { bound, rows } of byRows(commands.bindingLimit, [logits, dLogits, numbers, places, targets, weights])) {
    const [x, to, ...beside] = bound as [Bound, Bound, ...Bound[]];
    const byteLength = 16 * rows;
    const parts: Bound = { memory: arena.take(byteLength), offset: 0, byteLength };
    commands.run(HINGE_ROWS, [x, ...beside, parts], [rows, width], Math.ceil(rows / WORKGROUP));
    const given = inPlace ? [to, ...beside, parts] : [x, to, ...beside, parts];
    commands.run(HINGE_BACKWARD(isWide(width, x, to), inPlace), given, [rows, width, tiles], rows * tiles);
    arena.reset(mark);
  }
}

const ENTROPY = variants('entropyBackward', (_, wide: boolean, referred: boolean) =>
  rowwise(wide, false, {
    reads: ['logits'],
    adds: true,
    beside: [
      ['numbers', 'f32', 'read'],
      ...(referred ? [['reference', 'f32', 'read'] as const] : []),
      ['weights', 'f32', 'read'],
    ],
    numbers: ['order: f32', 'rest: f32', 'inverse: f32'],
    declarations: powerGap('gap4', 'vec4f', 'exp4'),
    // a row of weight 0 may hold anything: not even its reference is looked at
    row: `var weight = weights[u.weightsAt + row];
  let lse = ${logSumExp('numbers')};
  let entropy = numbers[u.numbersAt + row * ${STAT_NUMBERS}u + ${STAT.tsallis}u];
  asked = weight != 0.0;
  ${
    referred
      ? `if (asked) { weight *= 2.0 * (entropy - reference[u.referenceAt + row]); }
  asked = asked && weight != 0.0;`
      : ''
  }
  weight *= -u.order;`,
    element: `let d = max(logits4 - vec4f(lse), vec4f(-1e30));
      let p = exp4(d);
      let slope = fma(p, vec4f(entropy), gap4(d, p, u.order, u.rest, u.inverse));
      let value = fma(vec4f(weight), slope, before);`,
  }),
);

export function entropyBackward(
  parts: GpuParts,
  logits: Tensor,
  numbers: Tensor,
  tsallisOrder: number,
  reference: Tensor | null,
  weights: Tensor,
  dLogits: Tensor,
): void {
  const beside = [numbers, ...(reference ? [reference] : []), weights];
  overRows(parts, (wide) => ENTROPY(wide, reference !== null), [logits, dLogits], beside, orderNumbers(tsallisOrder));
}
