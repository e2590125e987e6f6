/**
 * Products by tiles: a workgroup computes a tile of c [m, n], each invocation a block of it in registers, from panels of a and b in workgroup
 * memory, four numbers along k at a time. Every shape of tile adds each element of c over k in the same order by fma, so all give the same bits.
 */
import { EXPERT_NUMBERS, expertText, offsetText } from './experts.ts';
import { type Access, type Kernel, type KernelText, variants } from './kernel.ts';
import type { Reading } from './operand.ts';
import { quadsOf } from './quads.ts';
import type { Tile } from './tile.ts';

/** How deep panels are. */
export const DEPTH = 16;
const QUADS = DEPTH / 4;
/** Tile rows that are computed beside each other: what they read of b is in the cache by then. */
const TALL = 8;

/**
 * `plain`: all rows; the third dimension of workgroups shares out k. `rows`: rows of a and c belong to experts, each of which has rows of b: offsets
 * tell. `inner`: experts share out k, and each has a matrix of c.
 */
export type Grouping = 'plain' | 'rows' | 'inner';

/** How a and b are read: `along` where rows run along k. */
export interface TileReading {
  readonly a: Reading;
  readonly b: Reading;
  readonly aAlong: boolean;
  readonly bAlong: boolean;
  /** Whether c is written as vectors. */
  readonly vector: boolean;
  readonly grouping: Grouping;
  /** Whether all that k is cut into are whole panels. */
  readonly whole: boolean;
}

export function tileKernel(tile: Tile, of: TileReading): Kernel {
  const { m, n, blockM, blockN } = tile;
  return TILE(m, n, blockM, blockN, of.a, of.b, of.aAlong, of.bAlong, of.vector, of.grouping, of.whole);
}

const TILE = variants(
  'tile',
  (
    _,
    m: number,
    n: number,
    blockM: number,
    blockN: number,
    a: Reading,
    b: Reading,
    aAlong: boolean,
    bAlong: boolean,
    vector: boolean,
    grouping: Grouping,
    whole: boolean,
  ) => text({ m, n, blockM, blockN }, { a, b, aAlong, bAlong, vector, grouping, whole }),
);

function text(tile: Tile, of: TileReading): KernelText {
  const { m, n, blockM, blockN } = tile;
  const threads = (m / blockM) * (n / blockN);
  const [a, b] = [quadsOf('a', of.a), quadsOf('b', of.b)];
  const grouped = of.grouping !== 'plain';
  const loads = loadsOf(tile, of, threads);
  const place = placeOf(tile);
  return {
    buffers: [
      ...a.buffers,
      ...b.buffers,
      ...(grouped ? [['offsets', 'i32', 'read'] as const] : []),
      ['c', of.vector ? 'vec4f' : 'f32', 'write' as Access],
    ],
    numbers: [
      'm: u32', // rows of c, columns of it, length of sums
      'n: u32',
      'k: u32',
      'tilesM: u32',
      'tilesN: u32',
      'cStride: u32', // of its elements, from one row to the next, and from one matrix of c to the next
      'cMatrix: u32',
      'alpha: f32',
      'accumulate: u32',
      ...(grouped ? EXPERT_NUMBERS : ['share: u32']), // of k
      ...a.numbers,
      ...b.numbers,
    ],
    workgroup: threads,
    declarations: `${a.text}\n${b.text}
var<workgroup> aPanel: array<vec4f, ${DEPTH * strideOf(m)}>;
var<workgroup> bPanel: array<vec4f, ${DEPTH * strideOf(n)}>;
${grouped ? offsetText(of.grouping === 'rows' ? 'm' : 'k') : ''}
${putText(of.vector)}`,
    body: `if (group >= u.tilesM * u.tilesN) { return; }
  let band = group / (${TALL}u * u.tilesN) * ${TALL}u;
  let tall = min(u.tilesM - band, ${TALL}u);
  let within = group - band * u.tilesN;
  let tileM = band + within % tall;
  let n0 = within / tall * ${n}u;
  ${rangeText(of.grouping, m)}
  ${place.text}
  ${loads.declared}
  ${blockText(tile, (r, j) => `var sum${r}_${j} = vec4f();`)}
  var k0 = kFrom;
  ${loads.load}
  for (var panel = kFrom; panel < kEnd; panel += ${DEPTH}u) {
    ${loads.store}
    workgroupBarrier();
    // while one panel is computed the next one is on its way
    k0 = select(panel, panel + ${DEPTH}u, panel + ${DEPTH}u < kEnd);
    ${loads.load}
    ${Array.from({ length: DEPTH }, (_, k) => stepText(tile, k)).join('\n    ')}
    workgroupBarrier();
  }
  ${blockText(tile, (r, j) => {
    const row = `m0 + 4u * (am + ${Math.floor(r / 4) * place.lanesM}u) + ${r % 4}u`;
    return `put(cFrom, ${row}, mEnd, n0 / 4u + bn + ${j * place.lanesN}u, sum${r}_${j});`;
  })}`,
  };
}

/** Vectors from one row of a panel, which holds one number along k of all of the tile's rows or columns, to the next: odd, against equal banks. */
export function strideOf(width: number): number {
  return width / 4 + 1;
}

/**
 * Which of the tile's quads of rows and of columns an invocation has: `am` and every lanesM-th behind it, `bn` and every lanesN-th. The 32
 * that run in step have a part of the tile that is as square as can be, so that what they read of the panels is least.
 */
function placeOf({ n, blockM, blockN }: Tile) {
  const [quadsM, quadsN] = [blockM / 4, blockN / 4];
  const lanesN = Math.min(8, n / blockN);
  const lanesM = 32 / lanesN;
  const across = n / blockN / lanesN;
  const text = `let lane = li % 32u;
  let am = li / 32u / ${across}u * ${lanesM * quadsM}u + lane / ${lanesN}u;
  let bn = li / 32u % ${across}u * ${lanesN * quadsN}u + lane % ${lanesN}u;`;
  return { lanesM, lanesN, text };
}

/** For each row and each four columns of an invocation's block. */
function blockText({ blockM, blockN }: Tile, of: (row: number, quad: number) => string): string {
  const lines: string[] = [];
  for (let r = 0; r < blockM; r++) for (let j = 0; j < blockN / 4; j++) lines.push(of(r, j));
  return lines.join('\n  ');
}

/** One step along k: all rows of the block meet all columns. */
function stepText(tile: Tile, k: number): string {
  const { m, n, blockM, blockN } = tile;
  const { lanesM, lanesN } = placeOf(tile);
  const lines: string[] = [];
  for (let i = 0; i < blockM / 4; i++) lines.push(`let a${i} = aPanel[${k * strideOf(m) + i * lanesM}u + am];`);
  for (let j = 0; j < blockN / 4; j++) lines.push(`let b${j} = bPanel[${k * strideOf(n) + j * lanesN}u + bn];`);
  const sums = blockText(tile, (r, j) => {
    const sum = `sum${r}_${j}`;
    return `${sum} = fma(vec4f(a${Math.floor(r / 4)}.${'xyzw'[r % 4]}), b${j}, ${sum});`;
  });
  return `{ ${lines.join(' ')} ${sums} }`;
}

/** Quads of both panels on their way from matrices through registers to workgroup memory, shared out to the invocations. */
function loadsOf(tile: Tile, of: TileReading, threads: number) {
  const declared: string[] = [];
  const store: string[] = [];
  const load: string[] = [];
  for (const side of [
    { name: 'a', width: tile.m, along: of.aAlong },
    { name: 'b', width: tile.n, along: of.bAlong },
  ] as const) {
    const quads = side.width * QUADS;
    for (let q = 0; q * threads < quads; q++) {
      const name = `${side.name}${q}`;
      const some = (q + 1) * threads > quads ? `if (${name}Id < ${quads}u) ` : '';
      declared.push(`let ${name}Id = li + ${q * threads}u;`, placeText(side, name), `var ${name} = vec4f();`);
      load.push(`${some}{ ${loadText(side, name, of.whole)} }`);
      store.push(`${some}{ ${storeText(side, name)} }`);
    }
  }
  return {
    declared: declared.join('\n  '),
    store: store.join('\n    '),
    load: load.join('\n    '),
  };
}

interface Panel {
  readonly name: 'a' | 'b';
  readonly width: number;
  readonly along: boolean;
}

/**
 * Of each quad which row of the matrix it is in, and where in a panel it goes: of rows along k four numbers of k, which go to one place in four of the
 * panel's rows, else four rows or columns of c, which are a vector of it. Neighbours read neighbours.
 */
function placeText({ name: side, width, along }: Panel, name: string): string {
  const [first, end] = side === 'a' ? ['m0', 'mEnd'] : ['n0', 'u.n'];
  const from = side === 'b' ? 'bFrom + ' : '';
  if (!along) {
    return `let ${name}Quad = ${first} / 4u + ${name}Id % ${width / 4}u;
  let ${name}Slot = ${name}Id / ${width / 4}u * ${strideOf(width)}u + ${name}Id % ${width / 4}u;`;
  }
  return `let ${name}Row = ${from}min(${first} + ${name}Id / ${QUADS}u, ${end} - 1u);
  let ${name}Slot = ${name}Id % ${QUADS}u * ${4 * strideOf(width)}u + ${name}Id / ${4 * QUADS}u;`;
}

/** @param whole k ends with a panel */
function loadText({ name: side, width, along }: Panel, name: string, whole: boolean): string {
  if (along) {
    const quad = `${side}_quad(${name}Row, k0 / 4u + ${name}Id % ${QUADS}u)`;
    return whole
      ? `${name} = ${quad};`
      : `${name} = select(vec4f(), ${quad}, k0 + 4u * (${name}Id % ${QUADS}u) < kEnd);`;
  }
  const from = side === 'b' ? 'bFrom + ' : '';
  const k = `k0 + ${name}Id / ${width / 4}u`;
  const quad = `${side}_quad(${from}${k}, ${name}Quad)`;
  return whole ? `${name} = ${quad};` : `${name} = select(vec4f(), ${quad}, ${k} < kEnd);`;
}

function storeText({ name: side, width, along }: Panel, name: string): string {
  const panel = `${side}Panel`;
  if (!along) return `${panel}[${name}Slot] = ${name};`;
  const place = `[(${name}Id / ${QUADS}u) & 3u]`;
  return [0, 1, 2, 3]
    .map((i) => `${panel}[${name}Slot + ${i * strideOf(width)}u]${place} = ${name}.${'xyzw'[i]};`)
    .join(' ');
}

/**
 * Which rows of c, and which k. In `rows`, expert e has the tiles from floor(o / m) + e on, o being rows of experts before it: enough of them,
 * found by halving, and without knowing how many any other has.
 */
function rangeText(grouping: Grouping, m: number): string {
  switch (grouping) {
    case 'plain':
      return `let m0 = tileM * ${m}u;
  let mEnd = u.m;
  let bFrom = 0u;
  let cFrom = wid.z * u.cMatrix;
  let kFrom = wid.z * u.share;
  let kEnd = min(kFrom + u.share, u.k);`;
    case 'rows':
      return `let base = offset(0u);
  ${expertText(`(offset(middle) - base) / ${m}u + middle <= tileM`)}
  let begin = offset(expert);
  let mEnd = offset(expert + 1u);
  let m0 = begin + (tileM - (begin - base) / ${m}u - expert) * ${m}u;
  if (m0 >= mEnd) { return; }
  let bFrom = expert * u.rowsOfExpert;
  let cFrom = 0u;
  let kFrom = 0u;
  let kEnd = u.k;`;
    case 'inner':
      return `let m0 = tileM * ${m}u;
  let mEnd = u.m;
  let bFrom = 0u;
  let cFrom = wid.z * u.cMatrix;
  let kFrom = offset(wid.z);
  let kEnd = offset(wid.z + 1u);
  if (kFrom >= kEnd) { return; }`;
    default:
      return grouping satisfies never;
  }
}

function putText(vector: boolean): string {
  const head = 'fn put(matrix: u32, row: u32, end: u32, quad: u32, sum: vec4f)';
  if (vector) {
    return `${head} {
  if (row >= end || 4u * quad >= u.n) { return; }
  let at = u.cAt + matrix + row * u.cStride + quad;
  var old = vec4f();
  if (u.accumulate == 1u) { old = c[at]; }
  c[at] = fma(vec4f(u.alpha), sum, old);
}`;
  }
  return `fn put1(at: u32, sum: f32) {
  var old = 0.0;
  if (u.accumulate == 1u) { old = c[at]; }
  c[at] = fma(u.alpha, sum, old);
}
${head} {
  if (row >= end) { return; }
  let at = u.cAt + matrix + row * u.cStride + 4u * quad;
  ${[0, 1, 2, 3].map((i) => `if (4u * quad + ${i}u < u.n) { put1(at + ${i}u, sum.${'xyzw'[i]}); }`).join('\n  ')}
}`;
}
