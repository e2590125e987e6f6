/**
 * Products of few rows: some lanes share each sum over k and read the weight's row together, each lane for several outputs and rows at a time. A sum is
 * made in one way, by length and type alone: how many rows and weights a kernel has changes no bit of a row's results.
 */
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
}

const WORKGROUP = 64;

/** Outputs of a workgroup. */
export function outputsOf({ lanes, outputs }: RowShape): number {
  return (WORKGROUP / lanes) * outputs;
}

export function rowKernel(shape: RowShape, x: Reading, weight: Reading): Kernel {
  return ROWS(shape.lanes, shape.outputs, shape.rows, shape.weights, shape.grouped, x, weight);
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
    x: Reading,
    weight: Reading,
  ) => text(traits, { lanes, outputs, rows, weights, grouped }, x, weight),
);

function text(traits: GpuTraits, shape: RowShape, xReading: Reading, weight: Reading): KernelText {
  const { lanes, rows, weights, grouped } = shape;
  const x = quadsOf('x', xReading);
  const each = Array.from({ length: weights }, (_, i) => pairsOf(`w${i}`, weight));
  const subgroups = traits.subgroupSize >= lanes;
  const sums = shape.outputs * rows;
  return {
    buffers: [
      ...x.buffers,
      ...(grouped ? [['offsets', 'i32', 'read'] as const] : []),
      ...each.flatMap((of) => of.buffers),
      ...each.map((_, i) => [`y${i}`, 'f32', 'write' as Access] as const),
    ],
    numbers: [
      'rows: u32',
      'pairs: u32',
      'alpha: f32',
      'accumulate: u32',
      ...(grouped ? EXPERT_NUMBERS : []),
      ...x.numbers,
      // of each weight: outputs, workgroups, numbers from one row of y to the next
      ...each.flatMap((of, i) => [`n${i}: u32`, `groups${i}: u32`, `y${i}Stride: u32`, ...of.numbers]),
    ],
    workgroup: WORKGROUP,
    ...(subgroups ? { enable: ['subgroups'] } : {}),
    declarations: `${PAIR}\n${x.text}\n${each.map((of: Source) => of.text).join('\n')}
${xReading === 'f32' ? 'fn x_some(row: u32, quad: u32) -> vec4f { return select(vec4f(), x_quad(row, quad), 4u * quad < u.xColumns); }' : 'fn x_some(row: u32, quad: u32) -> vec4f { return x_quad(row, quad); }'}
fn chain(w: vec4f, x: vec4f, sum: f32) -> f32 { return fma(w.w, x.w, fma(w.z, x.z, fma(w.y, x.y, fma(w.x, x.x, sum)))); }
${grouped ? offsetText('rows') : ''}
${subgroups ? '' : `var<workgroup> partial: array<f32, ${WORKGROUP * sums}>;`}
${each.map((_, i) => putText(i)).join('\n')}`,
    body: `var block = wid.z * nw.x + wid.x;
  let row0 = wid.y * ${rows}u;
  let lane = li % ${lanes}u;
  let slot = li / ${lanes}u;
  ${grouped ? EXPERT : 'let wFrom = 0u;'}
  ${each.map((_, i) => `if (block < u.groups${i}) { ${weightText(shape, i, subgroups)} return; }\n  block -= u.groups${i};`).join('\n  ')}`,
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

/** All that is done for one weight. Of each sum there are two parts, one for each quad of a pair. */
function weightText(shape: RowShape, i: number, subgroups: boolean): string {
  const { lanes, outputs, rows } = shape;
  const w = `w${i}`;
  const lines: string[] = [`let first = (block * ${WORKGROUP / lanes}u + slot) * ${outputs}u;`];
  for (let r = 0; r < outputs; r++) {
    lines.push(`let at${r} = wFrom + min(first + ${r}u, u.n${i} - 1u);`);
    for (let m = 0; m < rows; m++) lines.push(`var a${r}_${m} = 0.0; var b${r}_${m} = 0.0;`);
  }
  lines.push(`for (var pair = lane; pair < u.pairs; pair += ${lanes}u) {`);
  for (let r = 0; r < outputs; r++) lines.push(`let p${r} = ${w}_pair(at${r}, pair);`);
  for (let m = 0; m < rows; m++) {
    const row = `min(row0 + ${m}u, u.rows - 1u)`;
    lines.push(`{ let xa = x_some(${row}, ${w}_first(pair)); let xb = x_some(${row}, ${w}_second(pair));`);
    for (let r = 0; r < outputs; r++) {
      lines.push(`a${r}_${m} = chain(p${r}.a, xa, a${r}_${m}); b${r}_${m} = chain(p${r}.b, xb, b${r}_${m});`);
    }
    lines.push('}');
  }
  lines.push('}', subgroups ? bySubgroup(shape, i) : byMemory(shape, i));
  return lines.join('\n    ');
}

/** Lanes of a sum are neighbours in a subgroup, as all GPUs have them in a workgroup of one dimension. */
function bySubgroup({ lanes, outputs, rows }: RowShape, i: number): string {
  const lines: string[] = [];
  for (let r = 0; r < outputs; r++) {
    for (let m = 0; m < rows; m++) {
      lines.push(`var s${r}_${m} = a${r}_${m} + b${r}_${m};`);
      for (let width = lanes / 2; width >= 1; width /= 2) {
        lines.push(`s${r}_${m} += subgroupShuffleXor(s${r}_${m}, ${width}u);`);
      }
    }
  }
  // each lane writes one sum, or every so manieth
  const sums = Array.from({ length: outputs * rows }, (_, at) => `s${Math.floor(at / rows)}_${at % rows}`);
  for (let from = 0; from < sums.length; from += lanes) {
    lines.push(`var mine${from} = ${sums[from]};`);
    for (let at = from + 1; at < Math.min(from + lanes, sums.length); at++) {
      lines.push(`mine${from} = select(mine${from}, ${sums[at]}, lane == ${at - from}u);`);
    }
    const one = `(lane + ${from}u)`;
    lines.push(
      `if (${one} < ${sums.length}u) { put${i}(first + ${one} / ${rows}u, row0 + ${one} % ${rows}u, mine${from}); }`,
    );
  }
  return lines.join('\n    ');
}

function byMemory({ lanes, outputs, rows }: RowShape, i: number): string {
  const slots = WORKGROUP / lanes;
  const lines: string[] = [];
  for (let r = 0; r < outputs; r++) {
    for (let m = 0; m < rows; m++) {
      lines.push(`partial[(${(r * rows + m) * lanes}u + lane) * ${slots}u + slot] = a${r}_${m} + b${r}_${m};`);
    }
  }
  return `${lines.join('\n    ')}
    workgroupBarrier();
    for (var t = li; t < ${slots * outputs * rows}u; t += ${WORKGROUP}u) {
      let one = t / ${slots}u;
      let its = t % ${slots}u;
      var sum = 0.0;
      for (var part = 0u; part < ${lanes}u; part++) { sum += partial[(one * ${lanes}u + part) * ${slots}u + its]; }
      put${i}((block * ${slots}u + its) * ${outputs}u + one / ${rows}u, row0 + one % ${rows}u, sum);
    }`;
}
