/**
 * c = x · Wᵀ on matrix units: a workgroup computes a tile of c, each subgroup some blocks of it, from panels of both in workgroup memory. Beside it the
 * kernel that makes rows of x f16.
 */
import { type Kernel, type KernelText, kernel, variants } from './kernel.ts';
import type { MatrixShape } from './matrix-shape.ts';
import type { Reading } from './operand.ts';
import { TO_F16 } from './pack.ts';
import { quadsOf } from './quads.ts';

/** How a workgroup computes a tile of c, counted in shapes of the units. */
export interface MatrixTile {
  /** Of a subgroup, along m and n. */
  readonly blocksM: number;
  readonly blocksN: number;
  /** Subgroups, along m and n. */
  readonly subgroupsM: number;
  readonly subgroupsN: number;
  /** How deep panels are. */
  readonly depth: number;
  /** Vectors of eight f16 behind each row of a panel, against equal banks. */
  readonly padding: number;
  /** Whether there are two panels, of which one is filled while the other is read. */
  readonly double: boolean;
  /** Whether panels are vectors of eight; else they are filled number by number. */
  readonly vectors: boolean;
  /** Whether a panel of weights has a row for each k, as units take it that read rows alone; it is filled number by number then. */
  readonly turned: boolean;
  /** Tile rows that are computed beside each other. */
  readonly tall: number;
}

const WORKGROUP = 256;

/**
 * A workgroup a row: times a power of two with which its largest number is from 2^14 to 2^15, rounded to f16 to the nearest, ties to even; what it is to be
 * multiplied with afterwards stands in `scales`. So no number overflows, and those down to 2^-28 of the largest are normal. What is no number stays none.
 */
export const HALVES = variants('halves of rows', (_, reading: Reading) => {
  const x = quadsOf('x', reading);
  return {
    buffers: [...x.buffers, ['halves', 'vec2u', 'write'], ['scales', 'f32', 'write']],
    // quads of a row of x, the last of which may be a part, and of one in f16, which ends with zeros
    numbers: ['rows: u32', 'quads: u32', 'stride: u32', ...x.numbers],
    workgroup: WORKGROUP,
    declarations: `${x.text}
var<workgroup> most: atomic<u32>;
${TO_F16}
fn word(a: f32, b: f32) -> u32 { return rounded(bitcast<u32>(a)) | (rounded(bitcast<u32>(b)) << 16u); }`,
    body: `if (group >= u.rows) { return; }
  var own = 0u;
  for (var q = li; q < u.quads; q += ${WORKGROUP}u) {
    let bits = bitcast<vec4u>(x_quad(group, q)) & vec4u(0x7fffffffu);
    own = max(own, max(max(bits.x, bits.y), max(bits.z, bits.w)));
  }
  atomicMax(&most, own);
  workgroupBarrier();
  let field = atomicLoad(&most) >> 23u;
  // of infinities and NaN the factor is 1
  let power = select(clamp(field, 15u, 254u), 141u, field == 255u);
  let factor = bitcast<f32>((268u - power) << 23u);
  if (li == 0u) { scales[u.scalesAt + group] = bitcast<f32>((power - 14u) << 23u); }
  for (var q = li; q < u.stride; q += ${WORKGROUP}u) {
    var v = vec4f();
    if (q < u.quads) { v = x_quad(group, q) * factor; }
    halves[u.halvesAt + group * u.stride + q] = vec2u(word(v.x, v.y), word(v.z, v.w));
  }`,
  };
});

/**
 * @param across blocks of c that are put back beside each other
 * @param whole k is whole panels
 */
export function matrixKernel(shape: MatrixShape, tile: MatrixTile, across: number, whole: boolean): Kernel {
  const { blocksM, blocksN, subgroupsM, subgroupsN, depth, padding, double, vectors, turned, tall } = tile;
  const name = [
    `matrix units ${shape.m}x${shape.n}x${shape.k} of ${shape.lanes}`,
    `${blocksM}x${blocksN} blocks, ${subgroupsM}x${subgroupsN} subgroups, ${depth} deep, ${padding} behind`,
    `${double ? 'two panels' : 'one panel'} of ${vectors ? 'vectors' : 'numbers'}${turned ? ', turned' : ''}, ${tall} tall, ${across} across`,
    whole ? 'whole' : 'tail',
  ];
  return kernel(name.join(', '), () => text(shape, tile, across, whole));
}

function text(shape: MatrixShape, tile: MatrixTile, across: number, whole: boolean): KernelText {
  const { blocksM, blocksN, subgroupsM, subgroupsN } = tile;
  const [m, n] = [shape.m * blocksM * subgroupsM, shape.n * blocksN * subgroupsN];
  const threads = subgroupsM * subgroupsN * shape.lanes;
  const sides = [sideOf('a', m, shape, tile), sideOf('b', n, shape, tile)] as const;
  const [a, b] = sides;
  const of = (what: (side: Side) => (q: number) => string): string =>
    sides
      .flatMap((side) => Array.from({ length: Math.ceil(side.vectors / threads) }, (_, q) => what(side)(q)))
      .join('\n    ');
  const load = of((side) => (q) => loadText(side, q, whole));
  const store = of((side) => (q) => storeText(side, tile, q, threads));
  const blocks = forBlocks(tile, (i, j) => `var sum${i}_${j}: subgroup_matrix_result<f32, ${shape.n}, ${shape.m}>;`);
  const compute = Array.from({ length: tile.depth }, (_, step) => stepText(shape, tile, a, b, step)).join('\n    ');
  return {
    enable: ['f16', 'subgroups', 'chromium_experimental_subgroup_matrix'],
    buffers: [
      ['a', 'vec4u', 'read'], // rows of x in f16
      ['scales', 'f32', 'read'],
      ['b', 'vec4u', 'read'], // rows of weights
      ['c', 'vec4f', 'write'],
    ],
    // rows and quads of c; vectors of eight of a row of b, and panels; tiles; from one row to the next, in elements
    numbers: [
      ...['m: u32', 'n: u32', 'k: u32', 'panels: u32', 'tilesM: u32', 'tilesN: u32'],
      ...['aStride: u32', 'bStride: u32', 'cStride: u32'],
    ],
    workgroup: threads,
    builtins: '@builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32',
    declarations: `${sides.map((side) => panelText(side, tile)).join('\n')}
var<workgroup> back: array<array<vec4f, ${backOf(shape, across).size}>, ${subgroupsM * subgroupsN}>;`,
    body: `if (group >= u.tilesM * u.tilesN) { return; }
  let band = group / (${tile.tall}u * u.tilesN) * ${tile.tall}u;
  let high = min(u.tilesM - band, ${tile.tall}u);
  let within = group - band * u.tilesN;
  let m0 = (band + within % high) * ${m}u;
  let n0 = within / high * ${n}u;
  // which of the subgroups, and its blocks of the tile: by remainders, which bound them, so that Tint clamps no number of a block, and blocks stand at constant distances
  let own = subgroup % ${subgroupsM * subgroupsN}u;
  let ownM = own / ${subgroupsN}u * ${blocksM}u;
  let ownN = own % ${subgroupsN}u * ${blocksN}u;
  ${of((side) => (q) => placeText(side, q, threads))}
  ${blocks}
  var at = 0u; // of the panel in a row
  ${load}
  ${
    tile.double
      ? `var base = 0u; // of the one that is read
  ${store}
  for (var panel = 0u; panel < u.panels; panel++) {
    workgroupBarrier();
    at = min(panel + 1u, u.panels - 1u) * ${a.deep}u;
    ${load}
    let other = (panel + 1u) & 1u;
    ${compute}
    base = other;
    ${store}
  }`
      : `for (var panel = 0u; panel < u.panels; panel++) {
    ${store}
    workgroupBarrier();
    // while one panel is computed the next one is on its way
    at = min(panel + 1u, u.panels - 1u) * ${a.deep}u;
    ${load}
    ${compute}
    workgroupBarrier();
  }`
  }
  ${backText(shape, tile, across)}`,
  };
}

/**
 * What a panel of one operand is: blocks as units take them, each an array of its own. Where Tint knows the length of the array, the offset and the stride of
 * what units read, it reads without asking whether that is within bounds (its transform "robustness"); a panel that is one array was asked at every block, and
 * products at 8192 went by half the rate on an H200.
 */
interface Side {
  readonly name: 'a' | 'b';
  /** Rows of it. */
  readonly rows: number;
  /** Vectors of eight of a row, without and with what is behind it, and of a panel without. */
  readonly deep: number;
  readonly vectors: number;
  /** Numbers of an element of the panel: eight, or one. */
  readonly unit: 1 | 8;
  /** Whether it has a row for each k. */
  readonly turned: boolean;
  /** Blocks, and rows of c that meet one. */
  readonly blocks: number;
  readonly block: number;
  /** Elements from one row of a block to the next, and of a block. */
  readonly stride: number;
  readonly size: number;
}

/** Bytes of the panels of a tile. */
export function panelBytes(shape: MatrixShape, tile: MatrixTile): number {
  const { blocksM, blocksN, subgroupsM, subgroupsN } = tile;
  const [m, n] = [shape.m * blocksM * subgroupsM, shape.n * blocksN * subgroupsN];
  const bytes = [sideOf('a', m, shape, tile), sideOf('b', n, shape, tile)].map(
    ({ blocks, size, unit }) => 2 * unit * size * blocks,
  );
  return (tile.double ? 2 : 1) * (bytes[0]! + bytes[1]!);
}

function sideOf(name: 'a' | 'b', rows: number, shape: MatrixShape, tile: MatrixTile): Side {
  const { depth, padding } = tile;
  const deep = (shape.k * depth) / 8;
  const turned = name === 'b' && tile.turned;
  const unit = tile.vectors && !turned ? 8 : 1;
  const block = name === 'a' ? shape.m : shape.n;
  const stride = ((turned ? block : 8 * deep) + 8 * padding) / unit;
  const size = stride * (turned ? 8 * deep : block);
  return { name, rows, deep, vectors: rows * deep, unit, turned, blocks: rows / block, block, stride, size };
}

function panelText({ name, blocks, size, unit }: Side, tile: MatrixTile): string {
  return `var<workgroup> ${name}Panel: array<array<${unit === 8 ? 'vec4u' : 'f16'}, ${size}>, ${(tile.double ? 2 : 1) * blocks}>;`;
}

/** Where an invocation's vector is read and put; rows behind the last are the last, and come to nothing. */
function placeText(
  { name, rows, deep, block, stride, vectors, unit, turned }: Side,
  q: number,
  threads: number,
): string {
  const id = `${name}${q}`;
  // invocations beside each other fill a row of a panel
  const [first, last] = name === 'a' ? ['m0', 'u.m - 1u'] : ['n0', '4u * u.n - 1u'];
  return `let ${id}Id = ${(q + 1) * threads > vectors ? `min(li + ${q * threads}u, ${vectors - 1}u)` : `li + ${q * threads}u`};
  let ${id}Deep = ${id}Id ${turned ? `/ ${rows}u` : `% ${deep}u`};
  let ${id}Row = ${id}Id ${turned ? `% ${rows}u` : `/ ${deep}u`};
  let ${id}At = u.${name}At + min(${first} + ${id}Row, ${last}) * u.${name}Stride + ${id}Deep;
  let ${id}Block = ${id}Row / ${block}u;
  let ${id}Slot = ${turned ? `${id}Deep * ${8 * stride}u + ${id}Row % ${block}u` : `${id}Row % ${block}u * ${stride}u + ${id}Deep * ${8 / unit}u`};
  var ${id} = vec4u();`;
}

function loadText({ name }: Side, q: number, whole: boolean): string {
  const id = `${name}${q}`;
  // rows of x in f16 are whole panels in any case
  if (whole || name === 'a') return `${id} = ${name}[${id}At + at];`;
  return `${id} = select(vec4u(), ${name}[${id}At + at], at + ${id}Deep < u.k);`;
}

function storeText(side: Side, tile: MatrixTile, q: number, threads: number): string {
  const { name, stride, vectors: all, unit, turned } = side;
  const id = `${name}${q}`;
  const to = blockText(side, tile, `${id}Block`);
  const some = (q + 1) * threads > all ? `if (li + ${q * threads}u < ${all}u) ` : '';
  if (unit === 8) return `${some}{ ${to}[${id}Slot] = ${id}; }`;
  const next = turned ? stride : 1;
  const stores = [0, 1, 2, 3].map((i) => {
    const [x, y] = [2 * i, 2 * i + 1].map((j) => `${to}[${id}Slot + ${j * next}u]`);
    return `{ let pair = bitcast<vec2<f16>>(${id}.${'xyzw'[i]}); ${x} = pair.x; ${y} = pair.y; }`;
  });
  return `${some}{ ${stores.join(' ')} }`;
}

/** A block of the panel that is read or filled. */
function blockText({ name, blocks }: Side, { double }: MatrixTile, block: string): string {
  return `${name}Panel[${double ? `base * ${blocks}u + ` : ''}${block}]`;
}

/** For each block of a subgroup. */
function forBlocks({ blocksM, blocksN }: MatrixTile, of: (i: number, j: number) => string): string {
  const lines: string[] = [];
  for (let i = 0; i < blocksM; i++) for (let j = 0; j < blocksN; j++) lines.push(of(i, j));
  return lines.join('\n    ');
}

/** One step along k: all blocks of rows meet all of columns. Offsets and strides are counted in elements of the panel. */
function stepText(shape: MatrixShape, tile: MatrixTile, a: Side, b: Side, step: number): string {
  /** Panel, offset and stride. */
  const read = (side: Side, block: string): string => {
    const along = step * shape.k;
    const at = side.turned ? along * side.stride : along / side.unit;
    return `&${blockText(side, tile, block)}, ${at}u, ${side.stride}u`;
  };
  const lines: string[] = [];
  for (let j = 0; j < tile.blocksN; j++) {
    const type = `subgroup_matrix_right<f16, ${shape.n}, ${shape.k}>`;
    lines.push(
      `let b${j}_ = subgroupMatrixLoad<${type}, ${b.turned ? 'row_major' : 'col_major'}>(${read(b, `ownN + ${j}u`)});`,
    );
  }
  for (let i = 0; i < tile.blocksM; i++) {
    const type = `subgroup_matrix_left<f16, ${shape.k}, ${shape.m}>`;
    lines.push(`let a${i}_ = subgroupMatrixLoad<${type}, row_major>(${read(a, `ownM + ${i}u`)});`);
    for (let j = 0; j < tile.blocksN; j++) {
      const sum = `sum${i}_${j}`;
      lines.push(`${sum} = subgroupMatrixMultiplyAccumulate(a${i}_, b${j}_, ${sum});`);
    }
  }
  return `{ ${lines.join('\n      ')} }`;
}

/** Quads of a row that a subgroup puts back at once, and of all of them. */
function backOf(
  shape: MatrixShape,
  across: number,
): { readonly quads: number; readonly stride: number; readonly size: number } {
  const quads = (across * shape.n) / 4;
  return { quads, stride: quads + 1, size: shape.m * (quads + 1) };
}

/** Blocks go to c by workgroup memory, each row times its scale and as far as c goes. */
function backText(shape: MatrixShape, { blocksM, blocksN }: MatrixTile, across: number): string {
  const { quads, stride } = backOf(shape, across);
  const lines: string[] = [];
  for (let i = 0; i < blocksM; i++) {
    for (let first = 0; first < blocksN; first += across) {
      const stores = Array.from({ length: across }, (_, j) => {
        const at = `${(j * shape.n) / 4}u`;
        return `subgroupMatrixStore<row_major>(&back[own], ${at}, sum${i}_${first + j}, ${stride}u);`;
      });
      lines.push(`workgroupBarrier();
  ${stores.join('\n  ')}
  workgroupBarrier();
  for (var e = lane; e < ${shape.m * quads}u; e += ${shape.lanes}u) {
    let row = m0 + (ownM + ${i}u) * ${shape.m}u + e / ${quads}u;
    let quad = n0 / 4u + (ownN + ${first}u) * ${shape.n / 4}u + e % ${quads}u;
    if (row < u.m && quad < u.n) {
      c[u.cAt + row * u.cStride + quad] = back[own][e / ${quads}u * ${stride}u + e % ${quads}u] * scales[u.scalesAt + row];
    }
  }`);
    }
  }
  return lines.join('\n  ');
}
