/** The kernels of attention's way forward; attention-text.ts says what is alike in them. */
import {
  BLOCK_NUMBERS,
  blockRows,
  DOWN,
  dots,
  dotsPool,
  each,
  elementOf,
  LEAST,
  loader,
  NOTHING,
  quarters,
  RANGES,
  saver,
  sharesOf,
  TILE,
  type Tile,
  weigh,
  weighPool,
} from './attention-text.ts';
import { kernel, variants } from './kernel.ts';

/** Queries, scaled, and what the cache has; zero where there is nothing. */
const OPERANDS = `fn query(r: u32, i: u32) -> vec4f {
  let at = place(r);
  if (at == NOWHERE) { return vec4f(0.0); }
  return load_q(at, i) * u.factor;
}
fn cacheRow(j: i32, kv: u32) -> u32 { return u32(j - u.keyFirst) * u.nKvHeads + kv; }`;

/** Bound in any case: one kernel less for each; where there is no mask, to what is not read. */
const MASK = ['mask', 'i32', 'read'] as const;

/**
 * A block of rows of heads that share a KV head against all tiles of positions that it sees (Milakov and Gimelshein 2018; Dao et al. 2022):
 * groups [blocks of queries, nKvHeads · headBlocks].
 */
export const ATTENTION_TILES = variants(
  'attentionTiles',
  (_, rows: number, headDim: number, wide: boolean, sums: boolean) => {
    const tile: Tile = { rows, keys: TILE, headDim, wide };
    const element = elementOf(tile);
    const shares = sharesOf(tile, 16);
    return {
      buffers: [
        ['q', element, 'read'],
        ['keys', element, 'read'],
        ['values', element, 'read'],
        MASK,
        ['out', element, 'write'],
        ...(sums ? [['sums', 'f32', 'write'] as const] : []),
      ],
      numbers: [...BLOCK_NUMBERS, 'unit: f32'],
      workgroup: (rows * TILE) / 16,
      declarations: `var<workgroup> pool: array<vec4f, ${Math.max(dotsPool(tile), weighPool(tile))}>;
var<workgroup> part: array<f32, ${rows * 17}>;
var<workgroup> largest: array<f32, ${rows}>;
var<workgroup> total: array<f32, ${rows}>;
${blockRows(rows)}
${RANGES}
${loader('q', tile)}
${loader('keys', tile)}
${loader('values', tile)}
${saver('out', tile)}
${DOWN}
${OPERANDS}
fn key(j: i32, kv: u32, i: u32) -> vec4f {
  if (j >= u.keys) { return vec4f(0.0); }
  return load_keys(cacheRow(j, kv), i);
}
fn value(j: i32, kv: u32, i: u32) -> vec4f {
  if (j >= u.keys) { return vec4f(0.0); }
  return load_values(cacheRow(j, kv), i);
}`,
      body: `let tx = li % 16u;
  let ty = li / 16u;
  let kv = wid.y / u.headBlocks;
  if (li < ${rows}u) {
    look(li, nw.x - 1u - wid.x, wid.y); // those that see most begin
    joinRange(li);
  }
  workgroupBarrier();
  if (li == 0u) { closeRanges(); }
  let low = workgroupUniformLoad(&rangeLow);
  let high = workgroupUniformLoad(&rangeHigh);
  let end = max(max(high.x, high.y), high.z);
  var most = vec4f(${NOTHING});
  var sum = vec4f(0.0);
  ${each(4, (r) => each(shares, (v) => `var t${r}_${v} = vec4f(0.0);`))}
  for (var j0 = min(min(low.x, low.y), low.z) / ${TILE} * ${TILE}; j0 < end; j0 += ${TILE}) {
    if (!any((low < vec3i(j0 + ${TILE})) & (high > vec3i(j0)))) { continue; }
    ${dots(tile, 's', 'query(r, i)', 'key(j0 + i32(k), kv, i)')}
    let j = vec4i(j0 + 4 * i32(tx)) + vec4i(0, 1, 2, 3);
    ${each(
      4,
      (r) => `let seen${r} = sees(4u * ty + ${r}u, j);
    s${r} = select(vec4f(${NOTHING}), s${r}, seen${r});
    part[(4u * ty + ${r}u) * 17u + tx] = max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w));`,
    )}
    workgroupBarrier();
    if (li < ${rows}u) {
      var m = ${LEAST};
      for (var x = 0u; x < u.across; x++) { m = max(m, part[li * 17u + x]); }
      largest[li] = select(${NOTHING}, m, seesTile(li, j0, ${TILE}));
    }
    workgroupBarrier();
    ${each(
      4,
      (r) => `let m${r} = largest[4u * ty + ${r}u];
    let p${r} = select(vec4f(0.0), exp2(s${r} - vec4f(m${r})), seen${r});
    pool[(4u * ty + ${r}u) * 17u + tx] = p${r};
    part[(4u * ty + ${r}u) * 17u + tx] = ((p${r}.x + p${r}.y) + p${r}.z) + p${r}.w;`,
    )}
    ${each(4, (r) => each(shares, (v) => `var c${r}_${v} = vec4f(0.0);`))}
    ${weigh(
      tile,
      'c',
      'value(j0 + i32(k), kv, i)',
      `if (li < ${rows}u) {
      var all = 0.0;
      for (var x = 0u; x < u.across; x++) { all += part[li * 17u + x]; }
      total[li] = all;
    }`,
    )}
    ${each(
      4,
      (r) => `if (m${r} != ${NOTHING}) {
      let now = max(most[${r}], m${r});
      let before = shrink(most[${r}], now);
      let by = shrink(m${r}, now);
      most[${r}] = now;
      sum[${r}] = fma(sum[${r}], before, total[4u * ty + ${r}u] * by);
      ${each(shares, (v) => `t${r}_${v} = fma(t${r}_${v}, vec4f(before), c${r}_${v} * by);`)}
    }`,
    )}
  }
  ${each(
    4,
    (r) => `{
    let at = place(4u * ty + ${r}u);
    if (at != NOWHERE) {
      let inverse = select(1.0 / sum[${r}], 0.0, sum[${r}] == 0.0);
      ${each(shares, (v) => `if (${v * 16}u + tx < ${quarters(headDim)}u) { save_out(at, ${v * 16}u + tx, t${r}_${v} * inverse); }`)}
      ${sums ? `if (tx == 0u) { sums[u.sumsAt + at] = select(most[${r}] + log2(sum[${r}]), ${NOTHING}, sum[${r}] == 0.0) * u.unit; }` : ''}
    }
  }`,
  )}`,
    };
  },
);

/** Rows of a block of `ATTENTION_PARTS` for each of an invocation's. */
export const PART_LANES = 4;

/**
 * Few rows against one tile of positions: its largest score and its sum to stats [tiles, rows · nHeads], its weighted values to parts [tiles, rows · nHeads,
 * headDim]; groups [tiles, nKvHeads · headBlocks, blocks of rows]. An invocation computes the scores of one position for \`each\` of the block's rows, and after that
 * the sum of one column of the values. last: there is one tile, and what comes out is the result.
 */
export const ATTENTION_PARTS = variants(
  'attentionParts',
  (_, own: number, headDim: number, wide: boolean, last: boolean, sums: boolean) => {
    const head = { headDim, wide };
    const rows = own * PART_LANES;
    return {
      buffers: [
        ['q', elementOf(head), 'read'],
        ['keys', elementOf(head), 'read'],
        ['values', 'f32', 'read'],
        MASK,
        ['out', 'f32', 'write'],
        ...(last ? [] : [['stats', 'vec2<f32>', 'write'] as const]),
        ...(last && sums ? [['sums', 'f32', 'write'] as const] : []),
      ],
      numbers: [...BLOCK_NUMBERS, 'unit: f32', 'firstTile: u32', 'zeroTile: u32'],
      workgroup: TILE * PART_LANES,
      declarations: `var<workgroup> scores: array<f32, ${rows * TILE}>;
var<workgroup> weights: array<vec4f, ${rows * 16}>;
var<workgroup> part: array<f32, ${rows * 17}>;
var<workgroup> largest: array<f32, ${rows}>;
var<workgroup> total: array<f32, ${rows}>;
var<workgroup> live: u32;
${blockRows(rows)}
${loader('q', head)}
${loader('keys', head)}
${OPERANDS}`,
      body: `let tile = u.firstTile + wid.x;
  let j0 = i32(tile) * ${TILE};
  let kv = wid.y / u.headBlocks;
  if (li < ${rows}u) { look(li, wid.z, wid.y); }
  workgroupBarrier();
  let results = (tile - u.zeroTile) * u.rows * u.nHeads;
  ${
    last
      ? ''
      : `if (li == 0u) {
    for (var r = 0u; r < ${rows}u; r++) { live |= select(0u, 1u, seesTile(r, j0, ${TILE})); }
  }
  if (workgroupUniformLoad(&live) == 0u) {
    if (li < ${rows}u && place(li) != NOWHERE) { stats[u.statsAt + results + place(li)] = vec2f(${NOTHING}, 0.0); }
    return;
  }`
  }
  let lane = li / ${TILE}u * ${own}u;
  {
    let j = j0 + i32(li % ${TILE}u);
    let row = cacheRow(min(j, u.keys - 1), kv);
    ${each(own, (r) => `var s${r} = 0.0;`)}
    for (var i = 0u; i < u.chunk; i++) {
      let k = load_keys(row, i);
      ${each(
        own,
        (r) => `{ let q = query(lane + ${r}u, i);
      ${each(4, (n) => `s${r} = fma(q[${n}], k[${n}], s${r});`)} }`,
      )}
    }
    ${each(own, (r) => `scores[(lane + ${r}u) * ${TILE}u + li % ${TILE}u] = select(${NOTHING}, s${r}, sees(lane + ${r}u, vec4i(j)).x);`)}
  }
  workgroupBarrier();
  let r = li / 16u;
  let x = li % 16u;
  var s = vec4f(0.0);
  if (r < ${rows}u) {
    let at = r * ${TILE}u + 4u * x;
    s = vec4f(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]);
    part[r * 17u + x] = max(max(s.x, s.y), max(s.z, s.w));
  }
  workgroupBarrier();
  if (li < ${rows}u) {
    var m = ${LEAST};
    for (var x = 0u; x < u.across; x++) { m = max(m, part[li * 17u + x]); }
    largest[li] = select(${NOTHING}, m, seesTile(li, j0, ${TILE}));
  }
  workgroupBarrier();
  if (r < ${rows}u) {
    let j = vec4i(j0 + 4 * i32(x)) + vec4i(0, 1, 2, 3);
    let p = select(vec4f(0.0), exp2(s - vec4f(largest[r])), sees(r, j));
    weights[r * 16u + x] = p;
    part[r * 17u + x] = ((p.x + p.y) + p.z) + p.w;
  }
  workgroupBarrier();
  if (li < ${rows}u) {
    var all = 0.0;
    for (var x = 0u; x < u.across; x++) { all += part[li * 17u + x]; }
    let at = place(li);
    ${
      last
        ? `total[li] = select(1.0 / all, 0.0, all == 0.0);
    ${sums ? `if (at != NOWHERE) { sums[u.sumsAt + at] = select(largest[li] + log2(all), ${NOTHING}, all == 0.0) * u.unit; }` : ''}`
        : 'if (at != NOWHERE) { stats[u.statsAt + results + at] = vec2f(largest[li], all); }'
    }
  }
  ${last ? 'workgroupBarrier();' : ''}
  for (var c = li % ${TILE}u; c < ${headDim}u; c += ${TILE}u) {
    ${each(own, (r) => `var c${r} = 0.0;`)}
    // sixteen at a time, which are under way together
    for (var n = 0u; n < u.turns; n++) {
      ${each(16, (k) => `let v${k} = values[u.valuesAt + cacheRow(min(j0 + 16 * i32(n) + ${k}, u.keys - 1), kv) * ${headDim}u + c];`)}
      ${each(own, (r) =>
        each(
          4,
          (m) => `{ let w = weights[(lane + ${r}u) * 16u + 4u * n + ${m}u];
      ${each(4, (k) => `c${r} = fma(w[${k}], v${4 * m + k}, c${r});`)} }`,
        ),
      )}
    }
    ${each(
      own,
      (r) => `{ let at = place(lane + ${r}u);
    if (at != NOWHERE) { out[u.outAt + (results + at) * ${headDim}u + c] = c${r}${last ? ` * total[lane + ${r}u]` : ''}; } }`,
    )}
  }`,
    };
  },
);

/** The tiles of `ATTENTION_PARTS` put together in their order: a group for 64 columns of a row of a head. */
export const ATTENTION_TOGETHER = variants('attentionTogether', (_, sums: boolean) => ({
  buffers: [
    ['parts', 'f32', 'read'],
    ['stats', 'vec2<f32>', 'read'],
    ['out', 'f32', 'write'],
    ...(sums ? [['sums', 'f32', 'write'] as const] : []),
  ],
  numbers: ['tiles: u32', 'count: u32', 'headDim: u32', 'columns: u32', 'unit: f32'],
  workgroup: 64,
  declarations: `var<workgroup> ahead: array<f32, 64>;
var<workgroup> factors: array<vec3f, 64>;
${DOWN}`,
  body: `let row = group / u.columns;
  if (row >= u.count) { return; }
  let c = group % u.columns * 64u + li;
  var most = ${NOTHING};
  var sum = 0.0;
  var t = 0.0;
  for (var first = 0u; first < u.tiles; first += 64u) {
    var own = vec2f(${NOTHING}, 0.0);
    if (first + li < u.tiles) { own = stats[u.statsAt + (first + li) * u.count + row]; }
    // the largest so far, of this tile and those before
    ahead[li] = own.x;
    workgroupBarrier();
    for (var d = 1u; d < 64u; d *= 2u) {
      var m = ahead[li];
      if (li >= d) { m = max(m, ahead[li - d]); }
      workgroupBarrier();
      ahead[li] = m;
      workgroupBarrier();
    }
    var last = most;
    if (li > 0u) { last = max(most, ahead[li - 1u]); }
    let now = max(last, own.x);
    // below 0: the row sees nothing of this tile
    factors[li] = vec3f(select(-1.0, shrink(last, now), own.x != ${NOTHING}), shrink(own.x, now), own.y);
    workgroupBarrier();
    most = max(most, ahead[63]);
    for (var n = 0u; n < min(64u, u.tiles - first); n++) {
      let f = factors[n];
      let x = parts[u.partsAt + ((first + n) * u.count + row) * u.headDim + min(c, u.headDim - 1u)];
      sum = select(sum, fma(sum, f.x, f.z * f.y), f.x != -1.0);
      t = select(t, fma(t, f.x, x * f.y), f.x != -1.0);
    }
    workgroupBarrier();
  }
  if (c < u.headDim) { out[u.outAt + row * u.headDim + c] = t * select(1.0 / sum, 0.0, sum == 0.0); }
  ${sums ? `if (c == 0u) { sums[u.sumsAt + row] = select(most + log2(sum), ${NOTHING}, sum == 0.0) * u.unit; }` : ''}`,
}));

/**
 * Two parts of the cache, a and out, with log2 of their sums: out = (2^(factor · sumsA) · a + 2^sumsB · out) / (2^(factor · sumsA) + 2^sumsB).
 */
export const ATTENTION_MERGE = kernel('attentionMerge', () => ({
  buffers: [
    ['a', 'f32', 'read'],
    ['sumsA', 'f32', 'read'],
    ['sumsB', 'f32', 'read'],
    ['out', 'f32', 'write'],
  ],
  numbers: ['count: u32', 'headDim: u32', 'factor: f32'],
  workgroup: 256,
  declarations: DOWN,
  body: `let i = group * 256u + li;
  if (i >= u.count) { return; }
  let row = i / u.headDim;
  let ofA = sumsA[u.sumsAAt + row];
  let b = sumsB[u.sumsBAt + row];
  // a part that is seen by nobody weighs nothing, whatever the factor
  let a0 = select(ofA * u.factor, ofA, ofA <= ${NOTHING});
  let most = max(a0, b);
  let wa = down(a0 - most);
  let wb = down(b - most);
  out[u.outAt + i] = (a[u.aAt + i] * wa + out[u.outAt + i] * wb) / (wa + wb);`,
}));
