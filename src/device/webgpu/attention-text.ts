/**
 * WGSL that the kernels of attention share: what a row sees, how rows of heads are read, and products of tiles.
 *
 * The arithmetic of a row is the same in all kernels of the way forward, whatever its company: positions come in tiles of 64 that begin at multiples
 * of 64; of each there are the largest score, the sum of 2^(score - largest) and the values weighted so, each from nothing on and in one order; and tiles
 * that the row sees are put together in their order. So a row gets the same bits in any call, whichever kernel computes it. Products are written
 * as `fma`, so that no compiler fuses some and not others.
 */

/** Positions of a tile of the way forward. */
export const TILE = 64;
/** The score of what is hidden, and what stands for the largest of a row that sees nothing. */
export const NOTHING = -1e30;
/** The largest score of a row that sees something is at least this, so that NaNs are not taken for nothing. */
export const LEAST = -5e29;

/** 2^x of what is at most 0. Far below it is 0 anyway, and nothing is said of what a GPU makes of -1e30. */
export const DOWN = `fn down(x: f32) -> f32 { return exp2(max(x, -256.0)); }
fn shrink(before: f32, now: f32) -> f32 { return select(down(before - now), 1.0, before == now); }`;

/** `f(0)` .. `f(n - 1)`, a line each: what is not left to a compiler to unroll. */
export function each(n: number, f: (i: number) => string): string {
  return Array.from({ length: n }, (_, i) => f(i)).join('\n');
}

export interface HeadRows {
  readonly headDim: number;
  /** Whether buffers are bound by four numbers. */
  readonly wide: boolean;
}

/** Four numbers of a vector. */
export const quarters = (headDim: number): number => Math.ceil(headDim / 4);

export const elementOf = ({ wide }: HeadRows): string => (wide ? 'vec4<f32>' : 'f32');

/** \`load_NAME(row, i)\`: numbers 4 i .. 4 i + 3 of a row of `headDim`, zero beyond its end. */
export function loader(name: string, { headDim, wide }: HeadRows): string {
  const at = `u.${name}At + row * ${wide ? quarters(headDim) : headDim}u`;
  if (wide) return `fn load_${name}(row: u32, i: u32) -> vec4f { return ${name}[${at} + i]; }`;
  const one = (n: number) => {
    const value = `${name}[at + ${n}u]`;
    return headDim % 4 === 0 || n === 0 ? value : `select(0.0, ${value}, 4u * i + ${n}u < ${headDim}u)`;
  };
  return `fn load_${name}(row: u32, i: u32) -> vec4f {
  let at = ${at} + 4u * i;
  return vec4f(${[0, 1, 2, 3].map(one).join(', ')});
}`;
}

/** \`save_NAME(row, i, value)\`, and `add` adds. */
export function saver(name: string, { headDim, wide }: HeadRows): string {
  const at = `u.${name}At + row * ${wide ? quarters(headDim) : headDim}u`;
  if (wide) return `fn save_${name}(row: u32, i: u32, value: vec4f) { ${name}[${at} + i] = value; }`;
  const one = (n: number) => {
    const save = `${name}[at + ${n}u] = value[${n}];`;
    return headDim % 4 === 0 || n === 0 ? save : `if (4u * i + ${n}u < ${headDim}u) { ${save} }`;
  };
  return `fn save_${name}(row: u32, i: u32, value: vec4f) {
  let at = ${at} + 4u * i;
  ${each(4, one)}
}`;
}

/** Numbers that say what rows see, and which rows of heads are a block's. */
export const BLOCK_NUMBERS = [
  ...['rows: u32', 'nHeads: u32', 'nKvHeads: u32', 'group: u32'],
  // heads of a block, blocks of heads of a group, and queries of a block
  ...['heads: u32', 'headBlocks: u32', 'queries: u32'],
  // row 0 stands at `base`; there are positions 0 .. keys - 1, and what is bound begins with `keyFirst`
  ...['base: i32', 'keys: i32', 'keyFirst: i32', 'window: i32', 'maskWidth: u32', 'factor: f32'],
  // bounds of inner loops, given as numbers so that no compiler unrolls them whole: some take minutes over that
  ...['across: u32', 'chunk: u32', 'turns: u32'],
];

/**
 * The rows of a block, in workgroup memory: row r is query \`block * queries + r / heads\` of head \`r % heads\` of the block's, and sees positions a.x .. a.y - 1,
 * a.z .. a.w - 1 and b.x .. b.y.
 * - \`look(r, block, part)\`: for r below `most`, by one invocation each, where part is KV head · headBlocks + block of heads
 * - \`place(r)\`: which row of [queries, heads] it is, or NOWHERE
 * - \`sees(r, j)\`: whether it sees four positions; \`seesTile(r, j0, n)\`: any of n
 */
export function blockRows(most: number): string {
  return `const NOWHERE = 0xffffffffu;
var<workgroup> rowA: array<vec4i, ${most}>;
var<workgroup> rowB: array<vec2i, ${most}>;
var<workgroup> rowPlace: array<u32, ${most}>;
fn look(r: u32, block: u32, part: u32) {
  let query = block * u.queries + r / u.heads;
  let inGroup = (part % u.headBlocks) * u.heads + r % u.heads;
  var a = vec4i(0);
  var b = vec2i(1, 0);
  rowPlace[r] = NOWHERE;
  if (r < u.queries * u.heads && query < u.rows && inGroup < u.group) {
    rowPlace[r] = query * u.nHeads + (part / u.headBlocks) * u.group + inGroup;
    let own = u.base + i32(query);
    if (u.maskWidth == 0u) { b = vec2i(select(0, own + 1 - u.window, u.window > 0), own); }
    else {
      let at = u.maskAt + query * u.maskWidth;
      a.x = mask[at];
      a.y = mask[at + 1u];
      if (u.maskWidth == 6u) {
        a.z = mask[at + 2u];
        a.w = mask[at + 3u];
        b = vec2i(mask[at + 4u], mask[at + 5u]);
      } else { b = vec2i(mask[at + 2u], own); }
    }
    a = vec4i(max(a.x, 0), min(a.y, u.keys), max(a.z, 0), min(a.w, u.keys));
    b = vec2i(max(b.x, 0), min(b.y, u.keys - 1));
  }
  rowA[r] = a;
  rowB[r] = b;
}
fn place(r: u32) -> u32 { return rowPlace[r]; }
fn sees(r: u32, j: vec4i) -> vec4<bool> {
  let b = rowB[r];
  let near = (j >= vec4i(b.x)) & (j <= vec4i(b.y));
  if (u.maskWidth == 0u) { return near; }
  let a = rowA[r];
  return near | ((j >= vec4i(a.x)) & (j < vec4i(a.y))) | ((j >= vec4i(a.z)) & (j < vec4i(a.w)));
}
fn meets(start: i32, limit: i32, j0: i32, n: i32) -> bool { return max(start, j0) < min(limit, j0 + n); }
fn seesTile(r: u32, j0: i32, n: i32) -> bool {
  let a = rowA[r];
  let b = rowB[r];
  return meets(b.x, b.y + 1, j0, n) || meets(a.x, a.y, j0, n) || meets(a.z, a.w, j0, n);
}`;
}

/**
 * The positions that a block of rows sees, as three ranges, each what holds that of all rows: \`rangeLow\` .. \`rangeHigh\` - 1. \`joinRange(r)\` for each row by
 * one invocation, then a barrier, then \`closeRanges()\` by one, and they are there for \`workgroupUniformLoad\`.
 */
export const RANGES = `var<workgroup> rangeFar: array<atomic<i32>, 3>;
var<workgroup> rangeEnd: array<atomic<i32>, 3>;
var<workgroup> rangeLow: vec3i;
var<workgroup> rangeHigh: vec3i;
fn join(i: u32, start: i32, limit: i32) {
  if (start >= limit) { return; }
  atomicMax(&rangeFar[i], u.keys - start); // workgroup memory begins with zeros
  atomicMax(&rangeEnd[i], limit);
}
fn joinRange(r: u32) {
  let a = rowA[r];
  let b = rowB[r];
  join(0u, a.x, a.y);
  join(1u, a.z, a.w);
  join(2u, b.x, b.y + 1);
}
fn closeRanges() {
  rangeLow = vec3i(u.keys) - vec3i(atomicLoad(&rangeFar[0]), atomicLoad(&rangeFar[1]), atomicLoad(&rangeFar[2]));
  rangeHigh = vec3i(atomicLoad(&rangeEnd[0]), atomicLoad(&rangeEnd[1]), atomicLoad(&rangeEnd[2]));
}`;

/** A tile of `rows` rows and `keys` positions; (rows / 4) · (keys / 4) invocations have four by four of it each, \`ty\` and \`tx\`. */
export interface Tile extends HeadRows {
  readonly rows: number;
  readonly keys: number;
}

/** Vectors of four that a chunk of the products over headDim has, and from one row of a chunk to the next: odd, against bank conflicts. */
export const chunkOf = ({ headDim }: HeadRows): number => Math.min(8, quarters(headDim));
export const strideOf = (tile: HeadRows): number => chunkOf(tile) | 1;

/** Vectors of four that \`pool\` needs for \`dots\`. */
export const dotsPool = (tile: Tile): number => (tile.rows + tile.keys) * strideOf(tile);

/**
 * \`NAME0\` .. \`NAME3\`, declared: of rows 4 ty .. 4 ty + 3 the products with keys 4 tx .. 4 tx + 3 of a tile, each summed from the first number of the head to the last.
 * @param row text of vector \`i\` of row \`r\`, and `key` of key \`k\`, or zero; both vectors of four
 */
export function dots(tile: Tile, name: string, row: string, key: string): string {
  const { rows, keys, headDim } = tile;
  const [chunk, stride, all, size] = [chunkOf(tile), strideOf(tile), quarters(headDim), (rows * keys) / 16];
  const across = keys / 4;
  const load = (
    count: number,
    index: string,
    value: string,
    to: string,
  ) => `for (var n = li; n < ${count * chunk}u; n += ${size}u) {
      let ${index} = n / ${chunk}u;
      let c = n % ${chunk}u;
      let i = first + c;
      var four = vec4f(0.0);
      if (i < ${all}u) { four = ${value}; }
      pool[${to} + c] = four;
    }`;
  return `${each(4, (r) => `var ${name}${r} = vec4f(0.0);`)}
  for (var first = 0u; first < ${all}u; first += ${chunk}u) {
    workgroupBarrier();
    ${load(rows, 'r', row, `r * ${stride}u`)}
    ${load(keys, 'k', key, `(${rows}u + (k & 3u) * ${across}u + (k >> 2u)) * ${stride}u`)}
    workgroupBarrier();
    for (var i = 0u; i < u.chunk; i++) {
      ${each(4, (k) => `let k${k} = pool[(${rows + k * across}u + tx) * ${stride}u + i];`)}
      ${each(4, (n) => `let x${n} = vec4f(k0[${n}], k1[${n}], k2[${n}], k3[${n}]);`)}
      ${each(
        4,
        (r) => `let q${r} = pool[(4u * ty + ${r}u) * ${stride}u + i];
      ${each(4, (n) => `${name}${r} = fma(vec4f(q${r}[${n}]), x${n}, ${name}${r});`)}`,
      )}
    }
  }`;
}

/** Vectors of a head that an invocation has of a row where \`across\` of them share it. */
export const sharesOf = ({ headDim }: HeadRows, across: number): number => Math.ceil(quarters(headDim) / across);

/** Keys whose values stand in \`pool\` at a time, at least four, and the vectors of four that they take. */
export function weighChunk(tile: Tile): { readonly keys: number; readonly vectors: number } {
  const width = (tile.keys / 4) * sharesOf(tile, tile.keys / 4);
  const keys = Math.min(tile.keys, Math.max(4, 2 ** Math.floor(Math.log2(256 / width))));
  return { keys, vectors: keys * width };
}

/** Vectors of four from one row of weights in \`pool\` to the next. */
export const weightStride = ({ keys }: Tile): number => keys / 4 + 1;

export const weighPool = (tile: Tile): number => tile.rows * weightStride(tile) + weighChunk(tile).vectors;

/**
 * \`NAMEr_v\`, which are declared, += Σ over the keys of the tile, in their order, of weight · value. Weights stand in \`pool\`, a vector of four of row r at
 * r · weightStride + tx; \`value\` gives vector \`i\` of key \`k\`, or zero. A barrier at the end. @param meanwhile what one chunk's time is used for
 */
export function weigh(tile: Tile, name: string, value: string, meanwhile = ''): string {
  const { rows, keys, headDim } = tile;
  const across = keys / 4;
  const [size, stride, shares] = [(rows * keys) / 16, weightStride(tile), sharesOf(tile, across)];
  const { keys: some, vectors } = weighChunk(tile);
  const [width, at] = [across * shares, rows * stride];
  return `for (var first = 0u; first < ${keys}u; first += ${some}u) {
    for (var n = li; n < ${vectors}u; n += ${size}u) {
      let k = first + n / ${width}u;
      let i = n % ${width}u;
      var four = vec4f(0.0);
      if (i < ${quarters(headDim)}u) { four = ${value}; }
      pool[${at}u + n] = four;
    }
    workgroupBarrier();
    ${meanwhile && `if (first == 0u) { ${meanwhile} }`}
    for (var n = 0u; n < u.turns; n++) {
      ${each(4, (r) => `let w${r} = pool[(4u * ty + ${r}u) * ${stride}u + first / 4u + n];`)}
      ${each(4, (k) =>
        each(
          shares,
          (v) => `{ let x = pool[${at}u + (4u * n + ${k}u) * ${width}u + ${v * across}u + tx];
      ${each(4, (r) => `${name}${r}_${v} = fma(vec4f(w${r}[${k}]), x, ${name}${r}_${v});`)} }`,
        ),
      )}
    }
    workgroupBarrier();
  }`;
}
