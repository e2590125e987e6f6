/**
 * The kernels of attention's way back (Dao et al. 2022, section 3.1): probabilities are computed again from the log-sum-exp, tile by tile, once for the
 * queries' gradient and once for that of keys and values, so that each sum is one invocation's and its order is fixed.
 */
import {
  BLOCK_NUMBERS,
  blockRows,
  dots,
  dotsPool,
  each,
  elementOf,
  loader,
  quarters,
  RANGES,
  saver,
  sharesOf,
  type Tile,
  weigh,
  weighPool,
  weightStride,
} from './attention-text.ts';
import { type KernelText, kernel, variants } from './kernel.ts';

const LANES = 16;

/** stats [rows · nHeads] = (log2 of the sum of exponentials, dOut · out): sixteen invocations a row of a head. */
export const ATTENTION_INNER = kernel('attentionInner', () => ({
  buffers: [
    ['out', 'f32', 'read'],
    ['dOut', 'f32', 'read'],
    ['logSumExp', 'f32', 'read'],
    ['stats', 'vec2<f32>', 'write'],
  ],
  numbers: ['count: u32', 'headDim: u32', 'unit: f32'],
  workgroup: 256,
  declarations: 'var<workgroup> part: array<f32, 256>;',
  body: `let row = group * ${256 / LANES}u + li / ${LANES}u;
  var sum = 0.0;
  if (row < u.count) {
    for (var c = li % ${LANES}u; c < u.headDim; c += ${LANES}u) {
      let at = row * u.headDim + c;
      sum = fma(out[u.outAt + at], dOut[u.dOutAt + at], sum);
    }
  }
  part[li] = sum;
  workgroupBarrier();
  if (li % ${LANES}u == 0u && row < u.count) {
    for (var n = 1u; n < ${LANES}u; n++) { sum += part[li + n]; }
    stats[u.statsAt + row] = vec2f(logSumExp[u.logSumExpAt + row] * u.unit, sum);
  }`,
}));

/** What both kernels begin with: operands, and what stands for them where there is nothing. */
function frame(tile: Tile): Pick<KernelText, 'buffers' | 'numbers' | 'declarations'> {
  const element = elementOf(tile);
  const { rows } = tile;
  return {
    buffers: [
      ['q', element, 'read'],
      ['keys', element, 'read'],
      ['values', element, 'read'],
      ['dOut', element, 'read'],
      ['stats', 'vec2<f32>', 'read'],
      ['mask', 'i32', 'read'],
    ],
    // positions of what is bound end with keyEnd - 1
    numbers: [...BLOCK_NUMBERS, 'keyEnd: i32', 'scale: f32'],
    declarations: `var<workgroup> pool: array<vec4f, ${Math.max(dotsPool(tile), weighPool(tile), overRowsPool(tile))}>;
var<workgroup> stat: array<vec2f, ${rows}>;
${blockRows(rows)}
${['q', 'keys', 'values', 'dOut'].map((name) => loader(name, tile)).join('\n')}
fn lookBack(r: u32, block: u32, part: u32) {
  look(r, block, part);
  stat[r] = vec2f(0.0);
  if (place(r) != NOWHERE) { stat[r] = stats[u.statsAt + place(r)]; }
}
fn query(r: u32, i: u32) -> vec4f {
  if (place(r) == NOWHERE) { return vec4f(0.0); }
  return load_q(place(r), i);
}
fn gradient(r: u32, i: u32) -> vec4f {
  if (place(r) == NOWHERE) { return vec4f(0.0); }
  return load_dOut(place(r), i);
}
fn cacheRow(j: i32, kv: u32) -> u32 { return u32(j - u.keyFirst) * u.nKvHeads + kv; }
fn key(j: i32, kv: u32, i: u32) -> vec4f {
  if (j >= u.keyEnd) { return vec4f(0.0); }
  return load_keys(cacheRow(j, kv), i);
}
fn value(j: i32, kv: u32, i: u32) -> vec4f {
  if (j >= u.keyEnd) { return vec4f(0.0); }
  return load_values(cacheRow(j, kv), i);
}`,
  };
}

/** \`p0\` .. \`p3\` and \`d0\` .. \`d3\`: probabilities and the gradients by the scores, but for the scale, of the tile that begins with \`j0\`. */
function differentiated(tile: Tile): string {
  return `${dots(tile, 's', 'query(r, i) * u.factor', 'key(j0 + i32(k), kv, i)')}
    ${dots(tile, 'g', 'gradient(r, i)', 'value(j0 + i32(k), kv, i)')}
    let j = vec4i(j0 + 4 * i32(tx)) + vec4i(0, 1, 2, 3);
    ${each(
      4,
      (r) => `let seen${r} = sees(4u * ty + ${r}u, j);
    let of${r} = stat[4u * ty + ${r}u];
    let p${r} = select(vec4f(0.0), exp2(s${r} - vec4f(of${r}.x)), seen${r});
    let d${r} = select(vec4f(0.0), p${r} * (g${r} - vec4f(of${r}.y)), seen${r});`,
    )}
    workgroupBarrier();`;
}

const storeWeights = (tile: Tile, name: string) =>
  each(4, (r) => `pool[(4u * ty + ${r}u) * ${weightStride(tile)}u + tx] = ${name}${r};`);

const invocations = ({ rows, keys }: Tile) => (rows * keys) / 16;

/** dQ: groups [blocks of queries, nKvHeads · headBlocks]. more: adds, where positions come in several pieces. */
export const ATTENTION_BACK_QUERIES = variants(
  'attentionBackQueries',
  (_, rows: number, keys: number, headDim: number, wide: boolean) => {
    const tile: Tile = { rows, keys, headDim, wide };
    const across = keys / 4;
    const shares = sharesOf(tile, across);
    const { buffers, numbers, declarations } = frame(tile);
    return {
      buffers: [...buffers, ['dQ', elementOf(tile), 'write']],
      numbers: [...numbers, 'more: u32'],
      workgroup: invocations(tile),
      declarations: `${declarations}
${RANGES}
${loader('dQ', tile)}
${saver('dQ', tile)}`,
      body: `let tx = li % ${across}u;
  let ty = li / ${across}u;
  let kv = wid.y / u.headBlocks;
  if (li < ${rows}u) {
    lookBack(li, nw.x - 1u - wid.x, wid.y);
    joinRange(li);
  }
  workgroupBarrier();
  if (li == 0u) { closeRanges(); }
  let low = workgroupUniformLoad(&rangeLow);
  let high = workgroupUniformLoad(&rangeHigh);
  let end = min(max(max(high.x, high.y), high.z), u.keyEnd);
  ${each(4, (r) => each(shares, (v) => `var t${r}_${v} = vec4f(0.0);`))}
  for (var j0 = max(min(min(low.x, low.y), low.z) / ${keys} * ${keys}, u.keyFirst); j0 < end; j0 += ${keys}) {
    if (!any((low < vec3i(j0 + ${keys})) & (high > vec3i(j0)))) { continue; }
    ${differentiated(tile)}
    ${storeWeights(tile, 'd')}
    ${weigh(tile, 't', 'key(j0 + i32(k), kv, i)')}
  }
  ${each(
    4,
    (r) => `{
    let at = place(4u * ty + ${r}u);
    if (at != NOWHERE) {
      ${each(
        shares,
        (v) => `if (${v * across}u + tx < ${quarters(headDim)}u) {
        var all = t${r}_${v} * u.scale;
        if (u.more == 1u) { all += load_dQ(at, ${v * across}u + tx); }
        save_dQ(at, ${v * across}u + tx, all);
      }`,
      )}
    }
  }`,
  )}`,
    };
  },
);

/** Rows whose vectors stand in \`pool\` at a time for \`overRows\`, and the vectors of four that they take. */
function rowChunk(tile: Tile): { readonly rows: number; readonly vectors: number } {
  const width = (tile.rows / 4) * sharesOf(tile, tile.rows / 4);
  const rows = Math.min(tile.rows, Math.max(1, 2 ** Math.floor(Math.log2(256 / width))));
  return { rows, vectors: rows * width };
}

export const rowTurns = (tile: Tile): number => rowChunk(tile).rows;

const overRowsPool = (tile: Tile) => tile.rows * weightStride(tile) + rowChunk(tile).vectors;

/**
 * \`NAMEk_v\`, of keys 4 ky .. 4 ky + 3 and vectors v · rows/4 + cx of the head, += Σ over the tile's rows, in their order, of weight · the row's vector. Weights
 * stand in \`pool\` as for \`weigh\`. A barrier at the end.
 */
function overRows(tile: Tile, name: string, vector: string): string {
  const across = tile.rows / 4;
  const shares = sharesOf(tile, across);
  const { rows: some, vectors } = rowChunk(tile);
  const [width, stride] = [across * shares, weightStride(tile)];
  const at = tile.rows * stride;
  return `for (var first = 0u; first < ${tile.rows}u; first += ${some}u) {
      for (var n = li; n < ${vectors}u; n += ${invocations(tile)}u) {
        let r = first + n / ${width}u;
        let i = n % ${width}u;
        var four = vec4f(0.0);
        if (i < ${quarters(tile.headDim)}u) { four = ${vector}; }
        pool[${at}u + n] = four;
      }
      workgroupBarrier();
      for (var n = 0u; n < u.rowTurns; n++) {
        let w = pool[(first + n) * ${stride}u + ky];
        ${each(
          shares,
          (v) => `{ let x = pool[${at}u + n * ${width}u + ${v * across}u + cx];
        ${each(4, (k) => `${name}${k}_${v} = fma(vec4f(w[${k}]), x, ${name}${k}_${v});`)} }`,
        )}
      }
      workgroupBarrier();
    }`;
}

/**
 * dKeys and dValues of a tile of positions, summed over some of the blocks of rows: groups [tiles, nKvHeads, parts]; a part has `blocks` blocks of rows, counted by
 * queries and then by heads. parts: sums [parts, keyEnd - keyFirst, nKvHeads · headDim] by themselves, which are added up behind it; else it adds.
 */
export const ATTENTION_BACK_KEYS = variants(
  'attentionBackKeys',
  (_, rows: number, keys: number, headDim: number, wide: boolean) => {
    const tile: Tile = { rows, keys, headDim, wide };
    const across = keys / 4;
    const shares = sharesOf(tile, rows / 4);
    const { buffers, numbers, declarations } = frame(tile);
    const sums = ['dKeys', 'dValues'] as const;
    const save = (name: string, value: string, v: number) => `{
        var all = ${value};
        if (u.replace == 0u) { all += load_${name}(at, ${(v * rows) / 4}u + cx); }
        save_${name}(at, ${(v * rows) / 4}u + cx, all);
      }`;
    return {
      buffers: [...buffers, ...sums.map((name) => [name, elementOf(tile), 'write'] as const)],
      numbers: [...numbers, 'blocks: u32', 'allBlocks: u32', 'rowTurns: u32', 'replace: u32'],
      workgroup: invocations(tile),
      declarations: `${declarations}
${sums.map((name) => `${loader(name, tile)}\n${saver(name, tile)}`).join('\n')}
var<workgroup> seen: atomic<u32>;
var<workgroup> live: u32;`,
      body: `let tx = li % ${across}u;
  let ty = li / ${across}u;
  let cx = li % ${rows / 4}u;
  let ky = li / ${rows / 4}u;
  let kv = wid.y;
  let j0 = u.keyFirst + i32(wid.x) * ${keys};
  ${['k', 'v'].map((name) => each(4, (k) => each(shares, (v) => `var ${name}${k}_${v} = vec4f(0.0);`))).join('\n')}
  let last = min((wid.z + 1u) * u.blocks, u.allBlocks);
  for (var block = wid.z * u.blocks; block < last; block++) {
    if (li < ${rows}u) {
      lookBack(li, block / u.headBlocks, kv * u.headBlocks + block % u.headBlocks);
      if (seesTile(li, j0, ${keys})) { atomicOr(&seen, 1u); }
    }
    workgroupBarrier();
    if (li == 0u) {
      live = atomicLoad(&seen);
      atomicStore(&seen, 0u);
    }
    if (workgroupUniformLoad(&live) == 0u) { continue; }
    ${differentiated(tile)}
    ${storeWeights(tile, 'p')}
    ${overRows(tile, 'v', 'gradient(r, i)')}
    ${storeWeights(tile, 'd')}
    ${overRows(tile, 'k', 'query(r, i)')}
  }
  ${each(
    4,
    (k) => `if (j0 + i32(4u * ky) + ${k} < u.keyEnd) {
    let at = wid.z * u32(u.keyEnd - u.keyFirst) * u.nKvHeads + cacheRow(j0 + i32(4u * ky) + ${k}, kv);
    ${each(
      shares,
      (v) => `if (${(v * rows) / 4}u + cx < ${quarters(headDim)}u) {
      ${save('dKeys', `k${k}_${v} * u.scale`, v)}
      ${save('dValues', `v${k}_${v}`, v)}
    }`,
    )}
  }`,
  )}`,
    };
  },
);

/** y += the parts, in their order. */
export const ATTENTION_BACK_SUM = kernel('attentionBackSum', () => ({
  buffers: [
    ['parts', 'f32', 'read'],
    ['y', 'f32', 'write'],
  ],
  numbers: ['count: u32', 'number: u32'],
  workgroup: 256,
  body: `let i = group * 256u + li;
  if (i >= u.count) { return; }
  var sum = 0.0;
  for (var n = 0u; n < u.number; n++) { sum += parts[u.partsAt + n * u.count + i]; }
  y[u.yAt + i] += sum;`,
}));
