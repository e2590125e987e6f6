/**
 * Products by tiles: a workgroup computes a tile of c [m, n], each invocation a block of it in registers, from panels of a and b in workgroup
 * memory, four numbers along k at a time. Every shape of tile adds each element of c over k in the same order by fma, so all give the same bits.
 */
import { EXPERT_NUMBERS, expertText, offsetText } from './experts.ts';
import { type Access, type Kernel, type KernelText, variants } from './kernel.ts';
import type { Reading } from './operand.ts';
import { quadsOf } from './quads.ts';

export interface Tile {
  /** Rows and columns of c. */
  readonly m: number;
  readonly n: number;
  /** Of an invocation's block: 4 or 8 each. */
  readonly blockM: number;
  readonly blockN: number;
}

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
}

export function tileKernel(tile: Tile, of: TileReading): Kernel {
  const { m, n, blockM, blockN } = tile;
  return TILE(m, n, blockM, blockN, of.a, of.b, of.aAlong, of.bAlong, of.vector, of.grouping);
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
  ) => text({ m, n, blockM, blockN }, { a, b, aAlong, bAlong, vector, grouping }),
);

function text(tile: Tile, of: TileReading): KernelText {
  const { m, n, blockM, blockN } = tile;
  const threads = (m / blockM) * (n / blockN);
  const [a, b] = [quadsOf('a', of.a), quadsOf('b', of.b)];
  const grouped = of.grouping !== 'plain';
  const loads = loadsOf(tile, of, threads);
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
var<workgroup> aPanel: array<vec4f, ${(DEPTH * m) / 4}>;
var<workgroup> bPanel: array<vec4f, ${(DEPTH * n) / 4}>;
${grouped ? offsetText(of.grouping === 'rows' ? 'm' : 'k') : ''}
${putText(of.vector)}`,
    body: `if (group >= u.tilesM * u.tilesN) { return; }
  let band = group / (${TALL}u * u.tilesN) * ${TALL}u;
  let tall = min(u.tilesM - band, ${TALL}u);
  let within = group - band * u.tilesN;
  let tileM = band + within % tall;
  let n0 = within / tall * ${n}u;
  ${rangeText(of.grouping, m)}
  let tx = li % ${n / blockN}u;
  let ty = li / ${n / blockN}u;
  ${loads.declared}
  ${blockText(tile, (r, j) => `var sum${r}_${j} = vec4f();`)}
  let panels = (kEnd - kFrom + ${DEPTH - 1}u) / ${DEPTH}u;
  // while one panel is computed the next one is on its way
  for (var panel = 0u; panel <= panels; panel++) {
    let k0 = kFrom + panel * ${DEPTH}u;
    if (panel < panels) { ${loads.load} }
    if (panel > 0u) {
      for (var quad = 0u; quad < ${QUADS}u; quad++) {
        let aMix = ${mixed('quad', m)};
        let bMix = ${mixed('quad', n)};
        ${[0, 1, 2, 3].map((step) => stepText(tile, step)).join('\n        ')}
      }
    }
    workgroupBarrier();
    ${loads.store}
    workgroupBarrier();
  }
  ${blockText(tile, (r, j) => {
    const row = `m0 + 4u * (ty + ${Math.floor(r / 4) * (m / blockM)}u) + ${r % 4}u`;
    return `put(cFrom, ${row}, mEnd, n0 / 4u + tx + ${j * (n / blockN)}u, sum${r}_${j});`;
  })}`,
  };
}

/** For each row and each four columns of an invocation's block. */
function blockText({ blockM, blockN }: Tile, of: (row: number, quad: number) => string): string {
  const lines: string[] = [];
  for (let r = 0; r < blockM; r++) for (let j = 0; j < blockN / 4; j++) lines.push(of(r, j));
  return lines.join('\n  ');
}

/** One step along k: four rows of a at a time meet all columns. */
function stepText(tile: Tile, step: number): string {
  const { m, n, blockM, blockN } = tile;
  const [x, y] = [n / blockN, m / blockM];
  const lines = [`let k = 4u * quad + ${step}u;`];
  for (let j = 0; j < blockN / 4; j++) lines.push(`let b${j} = bPanel[k * ${n / 4}u + ((tx + ${j * x}u) ^ bMix)];`);
  for (let i = 0; i < blockM / 4; i++) lines.push(`let a${i} = aPanel[k * ${m / 4}u + ((ty + ${i * y}u) ^ aMix)];`);
  const sums = blockText(tile, (r, j) => {
    const sum = `sum${r}_${j}`;
    return `${sum} = fma(vec4f(a${Math.floor(r / 4)}.${'xyzw'[r % 4]}), b${j}, ${sum});`;
  });
  return `{ ${lines.join(' ')} ${sums} }`;
}

/** Where quads of a panel's rows stand is mixed by k, so that those that are written together fall into different banks. */
function mixed(quad: string, width: number): string {
  return `((${quad} << 1u) & ${Math.min(6, width / 4 - 2)}u)`;
}

/** Blocks of four by four numbers of both panels, shared out to the invocations, through registers. */
function loadsOf(tile: Tile, of: TileReading, threads: number) {
  const sides = [
    { name: 'a', width: tile.m, along: of.aAlong, blocks: (tile.m / 4) * QUADS },
    { name: 'b', width: tile.n, along: of.bAlong, blocks: (tile.n / 4) * QUADS },
  ] as const;
  const total = sides[0].blocks + sides[1].blocks;
  const declared: string[] = [];
  const store: string[] = [];
  const load: string[] = [];
  for (let q = 0; q * threads < total; q++) {
    const [first, last] = [q * threads, (q + 1) * threads];
    declared.push(`let id${q} = li + ${first}u;`);
    for (let i = 0; i < 4; i++) declared.push(`var p${q}_${i} = vec4f();`);
    /** The side's own code, and where a round has blocks of both the choice between them. */
    const either = (code: (side: (typeof sides)[number], id: string) => string): string => {
      const aBlocks = sides[0].blocks;
      const [a, b] = [() => code(sides[0], `id${q}`), () => code(sides[1], `(id${q} - ${aBlocks}u)`)];
      if (last <= aBlocks) return a();
      const ofB = last <= total ? b() : `if (id${q} < ${total}u) { ${b()} }`;
      return first >= aBlocks ? ofB : `if (id${q} < ${aBlocks}u) { ${a()} } else { ${ofB} }`;
    };
    load.push(either((side, id) => loadText(side, id, q)));
    store.push(either((side, id) => storeText(side, id, q)));
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

/** Which four rows or columns of c, and which four of k, a block is. Neighbours read neighbours. */
function placeText({ width, along }: Panel, id: string): string {
  const [inner, outer] = along ? [QUADS, `${id} / ${QUADS}u`] : [width / 4, `${id} % ${width / 4}u`];
  return `let outer = ${outer}; let quad = ${along ? `${id} % ${inner}u` : `${id} / ${inner}u`};`;
}

function loadText(side: Panel, id: string, q: number): string {
  const { name, along } = side;
  const [first, end] = name === 'a' ? ['m0', 'mEnd'] : ['n0', 'u.n'];
  const lines = [placeText(side, id)];
  for (let i = 0; i < 4; i++) {
    const at = along
      ? { row: `min(${first} + 4u * outer + ${i}u, ${end} - 1u)`, quad: `k0 / 4u + quad`, k: `k0 + 4u * quad` }
      : { row: `k0 + 4u * quad + ${i}u`, quad: `${first} / 4u + outer`, k: `k0 + 4u * quad + ${i}u` };
    const row = name === 'b' ? `bFrom + ${at.row}` : at.row;
    lines.push(`p${q}_${i} = select(vec4f(), ${name}_quad(${row}, ${at.quad}), ${at.k} < kEnd);`);
  }
  return `{ ${lines.join(' ')} }`;
}

function storeText(side: Panel, id: string, q: number): string {
  const { name, width, along } = side;
  const lines = [placeText(side, id), `let slot = 4u * quad * ${width / 4}u + (outer ^ ${mixed('quad', width)});`];
  for (let i = 0; i < 4; i++) {
    const c = 'xyzw'[i];
    const value = along ? `vec4f(p${q}_0.${c}, p${q}_1.${c}, p${q}_2.${c}, p${q}_3.${c})` : `p${q}_${i}`;
    lines.push(`${name}Panel[slot + ${(i * width) / 4}u] = ${value};`);
  }
  return `{ ${lines.join(' ')} }`;
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
