/**
 * Products of few rows: some lanes share each sum over k and read the weight's row together, each lane for several outputs and rows at a time. A sum is
 * made in one way, by length and type alone: how many rows and weights a kernel has changes no bit of a row's results.
 */
import type { GatedActivation } from '../device.ts';
import { gatedText } from './activation.ts';
import { DOWN, NOTHING } from './attention-text.ts';
import { EXPERT_NUMBERS, expertText, offsetText } from './experts.ts';
import { type Access, type GpuTraits, type Kernel, type KernelText, variants } from './kernel.ts';
import type { Reading } from './operand.ts';
import { PAIR, pairsOf, quadsOf, type Source } from './quads.ts';

export interface RowShape {
  /** Lanes of a sum, outputs and rows of a lane. */
  readonly lanes: number;
  readonly outputs: number;
  readonly rows: number;
  /** How many weights meet the rows. */
  readonly weights: number;
  /** Whether rows belong to experts; one row a lane then. */
  readonly grouped: boolean;
  /** Whether x is normed as it is read: invocations of the kernel of `rmsNorm` whose bits it gets, or 0. */
  readonly norm: number;
  /** Vectors of four that a row has room for which tiles of attention give when they are put together, or 0: x is stored. */
  readonly joined: number;
  /** Whether two weights give one output, act(first) · second. */
  readonly gate: GatedActivation | 'none';
}

const WORKGROUP = 64;
/** Tiles of all heads, at most, of a row that is joined. */
export const MOST_JOINED = 256;

/** Outputs of a workgroup. */
export function outputsOf({ lanes, outputs }: RowShape): number {
  return (WORKGROUP / lanes) * outputs;
}

export function rowKernel(shape: RowShape, x: Reading, weight: Reading): Kernel {
  const { lanes, outputs, rows, weights, grouped, norm, joined, gate } = shape;
  return ROWS(lanes, outputs, rows, weights, grouped, norm, joined, gate, x, weight);
}

const ROWS = variants(
  'rows',
  (
    traits,
    lanes: number,
    outputs: number,
    rows: number,
    weights: number,
    grouped: boolean,
    norm: number,
    joined: number,
    gate: RowShape['gate'],
    x: Reading,
    weight: Reading,
  ) => text(traits, { lanes, outputs, rows, weights, grouped, norm, joined, gate }, x, weight),
);

function text(traits: GpuTraits, shape: RowShape, xReading: Reading, weight: Reading): KernelText {
  const { lanes, rows, weights, grouped, norm, joined, gate } = shape;
  const x = quadsOf('x', xReading);
  const each = Array.from({ length: weights }, (_, i) => pairsOf(`w${i}`, weight));
  const outs = gate === 'none' ? weights : 1;
  const subgroups = traits.subgroupSize >= lanes;
  const sums = shape.outputs * rows * (weights / outs);
  const jobs = Array.from({ length: outs }, (_, i) => i);
  return {
    buffers: [
      ...x.buffers,
      ...(grouped ? [['offsets', 'i32', 'read'] as const] : []),
      ...each.flatMap((of) => of.buffers),
      ...(norm ? [['norm', 'vec4f', 'read'] as const] : []),
      ...(joined > 0 ? [['stats', 'vec2<f32>', 'read'] as const] : []),
      ...jobs.map((i) => [`y${i}`, 'f32', 'write' as Access] as const),
    ],
    numbers: [
      'rows: u32',
      'pairs: u32',
      'alpha: f32',
      'accumulate: u32',
      ...(grouped ? EXPERT_NUMBERS : []),
      ...(norm ? ['eps: f32'] : []),
      ...(joined > 0 ? ['tiles: u32', 'heads: u32', 'headQuads: u32'] : []),
      ...x.numbers,
      // of each weight: outputs, workgroups, numbers from one row of y to the next
      ...each.flatMap((of, i) => [`n${i}: u32`, `groups${i}: u32`, `y${i}Stride: u32`, ...of.numbers]),
    ],
    workgroup: WORKGROUP,
    ...(subgroups ? { enable: ['subgroups'] } : {}),
    declarations: `${PAIR}\n${x.text}\n${each.map((of: Source) => of.text).join('\n')}
${joined > 0 ? joinedText(joined) : someText(xReading, norm > 0)}
fn chain(w: vec4f, x: vec4f, sum: f32) -> f32 { return fma(w.w, x.w, fma(w.z, x.z, fma(w.y, x.y, fma(w.x, x.x, sum)))); }
${grouped ? offsetText('rows') : ''}
${norm ? rootsText(rows, norm) : ''}
${gate === 'none' ? '' : `alias T = f32;\n${gatedText(gate)}`}
${subgroups ? '' : `var<workgroup> partial: array<f32, ${WORKGROUP * sums}>;`}
${jobs.map(putText).join('\n')}`,
    body: `var block = wid.z * nw.x + wid.x;
  let row0 = wid.y * ${rows}u;
  let lane = li % ${lanes}u;
  let slot = li / ${lanes}u;
  ${grouped ? EXPERT : 'let wFrom = 0u;'}
  ${norm ? 'findRoots(row0, li);' : ''}
  ${joined > 0 ? 'join(li);' : ''}
  ${jobs.map((i) => `if (block < u.groups${i}) { ${weightText(shape, i, subgroups)} return; }\n  block -= u.groups${i};`).join('\n  ')}`,
  };
}

/** Whose the row is; rows of nobody stay as they are. */
const EXPERT = `if (row0 < offset(0u) || row0 >= offset(u.experts)) { return; }
  ${expertText('offset(middle) <= row0')}
  let wFrom = expert * u.rowsOfExpert;`;

function putText(i: number): string {
  return `fn put${i}(output: u32, row: u32, sum: f32) {
  if (output >= u.n${i} || row >= u.rows) { return; }
  let at = u.y${i}At + row * u.y${i}Stride + output;
  var old = 0.0;
  if (u.accumulate == 1u) { old = y${i}[at]; }
  y${i}[at] = fma(u.alpha, sum, old);
}`;
}

/** \`x_some(row, quad, r)\`: four numbers of x, zeros behind the row's end; normed they are multiplied by r and the norm's weight. */
function someText(reading: Reading, normed: boolean): string {
  const value = normed ? 'x_quad(row, quad) * r * norm[u.normAt + quad]' : 'x_quad(row, quad)';
  const some = reading === 'f32' ? `select(vec4f(), ${value}, 4u * quad < u.xColumns)` : value;
  return `fn x_some(row: u32, quad: u32, r: f32) -> vec4f { return ${some}; }`;
}

/** Tiles whose numbers are on their way at once. */
const UNDER_WAY = 4;

/** Bytes of workgroup memory, at most, where a row of so many vectors of four is joined. */
export const joinedBytes = (quads: number): number => 16 * quads + 12 * MOST_JOINED + 4 * 4 * WORKGROUP;

/**
 * The same of a row that is joined from tiles, once by the workgroup for all who share its sums: of each head and tile what the sum so far and the tile are multiplied by, the first
 * below 0 where the row sees nothing of the tile, as in `ATTENTION_TOGETHER`, whose bits it has.
 */
function joinedText(quads: number): string {
  const each = Array.from({ length: UNDER_WAY }, (_, i) => i);
  return `var<workgroup> factors: array<vec2f, ${MOST_JOINED}>;
var<workgroup> inverses: array<f32, ${MOST_JOINED}>;
var<workgroup> joined: array<vec4f, ${quads}>;
${DOWN}
fn join(li: u32) {
  for (var head = li; head < u.heads; head += ${WORKGROUP}u) {
    var last = ${NOTHING};
    var sum = 0.0;
    for (var tile = 0u; tile < u.tiles; tile++) {
      let own = stats[u.statsAt + tile * u.heads + head];
      let now = max(last, own.x);
      let f = vec2f(select(-1.0, shrink(last, now), own.x != ${NOTHING}), shrink(own.x, now));
      sum = select(sum, fma(sum, f.x, own.y * f.y), f.x != -1.0);
      factors[head * u.tiles + tile] = f;
      last = now;
    }
    inverses[head] = select(1.0 / sum, 0.0, sum == 0.0);
  }
  workgroupBarrier();
  for (var quad = li; 4u * quad < u.xColumns; quad += ${WORKGROUP}u) {
    let head = quad / u.headQuads;
    var t = vec4f();
    for (var tile = 0u; tile < u.tiles; tile += ${UNDER_WAY}u) {
      ${each.map((i) => `let some${i} = x_quad(min(tile + ${i}u, u.tiles - 1u), quad);`).join(' ')}
      ${each.map((i) => `t = added(t, tile + ${i}u, head, some${i});`).join(' ')}
    }
    joined[quad] = t * inverses[head];
  }
  workgroupBarrier();
}
fn added(t: vec4f, tile: u32, head: u32, some: vec4f) -> vec4f {
  if (tile >= u.tiles) { return t; }
  let f = factors[head * u.tiles + tile];
  return select(t, fma(t, vec4f(f.x), some * f.y), f.x != -1.0);
}
fn x_some(row: u32, quad: u32, r: f32) -> vec4f {
  if (4u * quad >= u.xColumns) { return vec4f(); }
  return joined[quad];
}`;
}

/** Rows whose squares are summed between two barriers. */
const ROOTS = 4;

/**
 * \`findRoots(row0, li)\`: 1 / rms of each row to \`roots\`, in the order of the kernel of `rmsNorm` of so many invocations, of which each has four here.
 */
function rootsText(rows: number, size: number): string {
  const some = Math.min(rows, ROOTS);
  return `var<workgroup> squares: array<vec4f, ${some * WORKGROUP}>;
var<workgroup> roots: array<f32, ${rows}>;
fn findRoots(row0: u32, li: u32) {
  for (var first = 0u; first < ${rows}u; first += ${some}u) {
    for (var m = 0u; m < ${some}u; m++) {
      let row = min(row0 + first + m, u.rows - 1u);
      var sum = vec4f();
      if (li < ${size / 4}u) {
        for (var quad = li; 4u * quad < u.xColumns; quad += ${size / 4}u) {
          let value = x_quad(row, quad);
          sum = fma(value, value, sum);
        }
      }
      squares[m * ${WORKGROUP}u + li] = sum;
    }
    workgroupBarrier();
    for (var width = ${WORKGROUP / 2}u; width > 0u; width >>= 1u) {
      for (var m = 0u; m < ${some}u; m++) {
        let at = m * ${WORKGROUP}u + li;
        if (li < width) { squares[at] += squares[at + width]; }
      }
      workgroupBarrier();
    }
    if (li < ${some}u) {
      let all = squares[li * ${WORKGROUP}u];
      roots[first + li] = 1.0 / sqrt(((all.x + all.z) + (all.y + all.w)) / f32(u.xColumns) + u.eps);
    }
    workgroupBarrier();
  }
}`;
}

/** All that is done for one output. Of each sum there are two parts, one for each quad of a pair; a gate's outputs stand behind one another, then those of what it gates. */
function weightText(shape: RowShape, i: number, subgroups: boolean): string {
  const { lanes, outputs, rows, norm, gate } = shape;
  const of = gate === 'none' ? [i] : [0, 1];
  const all = outputs * of.length;
  const lines: string[] = [`let first = (block * ${WORKGROUP / lanes}u + slot) * ${outputs}u;`];
  for (let r = 0; r < all; r++) {
    if (r < outputs) lines.push(`let at${r} = wFrom + min(first + ${r}u, u.n${i} - 1u);`);
    for (let m = 0; m < rows; m++) lines.push(`var a${r}_${m} = 0.0; var b${r}_${m} = 0.0;`);
  }
  lines.push(`for (var pair = lane; pair < u.pairs; pair += ${lanes}u) {`);
  for (let r = 0; r < all; r++) lines.push(`let p${r} = w${of[Math.floor(r / outputs)]}_pair(at${r % outputs}, pair);`);
  for (let m = 0; m < rows; m++) {
    const given = (quad: string) =>
      `x_some(min(row0 + ${m}u, u.rows - 1u), w${i}_${quad}(pair), ${norm ? `roots[${m}]` : '1.0'})`;
    lines.push(`{ let xa = ${given('first')}; let xb = ${given('second')};`);
    for (let r = 0; r < all; r++) {
      lines.push(`a${r}_${m} = chain(p${r}.a, xa, a${r}_${m}); b${r}_${m} = chain(p${r}.b, xb, b${r}_${m});`);
    }
    lines.push('}');
  }
  lines.push('}', subgroups ? bySubgroup(shape, i) : byMemory(shape, i));
  return lines.join('\n    ');
}

/** Lanes of a sum are neighbours in a subgroup, as all GPUs have them in a workgroup of one dimension. */
function bySubgroup({ lanes, outputs, rows, gate }: RowShape, i: number): string {
  const lines: string[] = [];
  for (let r = 0; r < outputs * (gate === 'none' ? 1 : 2); r++) {
    for (let m = 0; m < rows; m++) {
      lines.push(`var s${r}_${m} = a${r}_${m} + b${r}_${m};`);
      for (let width = lanes / 2; width >= 1; width /= 2) {
        lines.push(`s${r}_${m} += subgroupShuffleXor(s${r}_${m}, ${width}u);`);
      }
    }
  }
  // each lane writes one sum, or every so manieth
  const count = outputs * rows;
  const sum = (at: number) => `s${Math.floor(at / rows)}_${at % rows}`;
  const mine = (name: string, from: number, behind: number) => {
    lines.push(`var ${name} = ${sum(behind + from)};`);
    for (let at = from + 1; at < Math.min(from + lanes, count); at++) {
      lines.push(`${name} = select(${name}, ${sum(behind + at)}, lane == ${at - from}u);`);
    }
    return name;
  };
  for (let from = 0; from < count; from += lanes) {
    const first = mine(`mine${from}`, from, 0);
    const value = gate === 'none' ? first : `gated(${first}, ${mine(`other${from}`, from, count)})`;
    const one = `(lane + ${from}u)`;
    lines.push(`if (${one} < ${count}u) { put${i}(first + ${one} / ${rows}u, row0 + ${one} % ${rows}u, ${value}); }`);
  }
  return lines.join('\n    ');
}

function byMemory({ lanes, outputs, rows, gate }: RowShape, i: number): string {
  const slots = WORKGROUP / lanes;
  const count = outputs * rows;
  const lines: string[] = [];
  for (let r = 0; r < outputs * (gate === 'none' ? 1 : 2); r++) {
    for (let m = 0; m < rows; m++) {
      lines.push(`partial[(${(r * rows + m) * lanes}u + lane) * ${slots}u + slot] = a${r}_${m} + b${r}_${m};`);
    }
  }
  const sum = (name: string, from: number) => `var ${name} = 0.0;
      for (var part = 0u; part < ${lanes}u; part++) { ${name} += partial[((${from}u + one) * ${lanes}u + part) * ${slots}u + its]; }`;
  return `${lines.join('\n    ')}
    workgroupBarrier();
    for (var t = li; t < ${slots * count}u; t += ${WORKGROUP}u) {
      let one = t / ${slots}u;
      let its = t % ${slots}u;
      ${sum('sum', 0)}
      ${gate === 'none' ? '' : sum('other', count)}
      put${i}((block * ${slots}u + its) * ${outputs}u + one / ${rows}u, row0 + one % ${rows}u, ${gate === 'none' ? 'sum' : 'gated(sum, other)'});
    }`;
}
