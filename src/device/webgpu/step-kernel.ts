/**
 * The kernel of `attendEach`: a token of each of several sequences against one tile of its positions, as `ATTENTION_PARTS` computes it, but that queries and keys
 * are rotated here and that keys and values of the token go to the cache from here. What a row gets has the same bits.
 */

import { PART_LANES } from './attention-kernels.ts';
import { each, elementOf, LEAST, loader, NOTHING, quarters, saver, TILE } from './attention-text.ts';
import { variants } from './kernel.ts';

/** Sequences of a dispatch, at most; each takes two rows of the list. */
export const MOST_SEQUENCES = 64;

/** Bytes of workgroup memory. @param own heads of a KV head, in fours */
export function stepBytes(own: number, headDim: number): number {
  const rows = own * PART_LANES;
  return 16 * rows * quarters(headDim) + 4 * rows * TILE + 16 * rows * 16 + 4 * rows * 17 + 8 * rows;
}

/** `four_x(at, i, angles)`: numbers 4 i .. 4 i + 3 of the head that begins at `at` of x, rotated; zeros behind its end. */
function turned(x: string, headDim: number, interleaved: boolean): string {
  return `fn turned_${x}(at: u32, j: u32, angles: u32) -> f32 {
  ${headDim % 4 === 0 ? '' : `if (j >= ${headDim}u) { return 0.0; }`}
  if (j >= 2u * u.half) { return ${x}[at + j]; }
  let pair = ${interleaved ? 'j / 2u' : 'j % u.half'};
  let c = table[angles + pair];
  let s = table[angles + u.half + pair];
  let a = ${x}[at + ${interleaved ? '2u * pair' : 'pair'}];
  let b = ${x}[at + ${interleaved ? '2u * pair + 1u' : 'pair + u.half'}];
  return select(fma(b, c, a * s), fma(a, c, -(b * s)), ${interleaved ? 'j % 2u == 0u' : 'j < u.half'});
}
fn four_${x}(at: u32, i: u32, angles: u32) -> vec4f {
  return vec4f(${[0, 1, 2, 3].map((n) => `turned_${x}(at, 4u * i + ${n}u, angles)`).join(', ')});
}`;
}

/** Groups [tiles, nKvHeads, sequences]. last: there is one tile, and what comes out is the result. */
export const STEP_PARTS = variants(
  'stepParts',
  (_, own: number, headDim: number, wide: boolean, last: boolean, interleaved: boolean) => {
    const head = { headDim, wide };
    const rows = own * PART_LANES;
    const size = TILE * PART_LANES;
    return {
      buffers: [
        ['q', 'f32', 'read'],
        ['k', 'f32', 'read'],
        ['v', 'f32', 'read'],
        ['table', 'f32', 'read'],
        ['keys', elementOf(head), 'write'],
        ['values', 'f32', 'write'],
        ['out', 'f32', 'write'],
        ...(last ? [] : [['stats', 'vec2<f32>', 'write'] as const]),
      ],
      numbers: [
        ...['rows: u32', 'nHeads: u32', 'nKvHeads: u32', 'group: u32', 'half: u32', 'window: u32', 'zeroTile: u32'],
        // bounds of inner loops, as of `BLOCK_NUMBERS`
        ...['factor: f32', 'across: u32', 'chunk: u32', 'turns: u32'],
      ],
      list: 2 * MOST_SEQUENCES,
      workgroup: size,
      declarations: `var<workgroup> queries: array<vec4f, ${rows * quarters(headDim)}>;
var<workgroup> scores: array<f32, ${rows * TILE}>;
var<workgroup> weights: array<vec4f, ${rows * 16}>;
var<workgroup> part: array<f32, ${rows * 17}>;
var<workgroup> largest: array<f32, ${rows}>;
var<workgroup> total: array<f32, ${rows}>;
${loader('keys', head).replaceAll('u.keysAt + ', 'u.keysAt + keysFrom + ')}
${saver('keys', head).replaceAll('u.keysAt + ', 'u.keysAt + keysFrom + ')}
${turned('q', headDim, interleaved)}
${turned('k', headDim, interleaved)}
var<private> keysFrom: u32;`,
      body: `let own = u.list[2u * wid.z];
  let row = own.x; // of all rows
  let base = own.y;
  keysFrom = own.z;
  let valuesFrom = u.valuesAt + own.w;
  let angles = u.tableAt + u.list[2u * wid.z + 1u].x * 2u * u.half;
  let kv = wid.y;
  let tile = u.zeroTile + wid.x;
  let j0 = tile * ${TILE}u;
  let start = select(0u, base + 1u - u.window, u.window > 0u && base >= u.window);
  let result = (wid.x * u.rows + row) * u.nHeads + kv * u.group;
  if (j0 > base || j0 + ${TILE}u <= start) {
    ${last ? '' : `if (li < u.group) { stats[u.statsAt + result + li] = vec2f(${NOTHING}, 0.0); }`}
    return;
  }
  if (base - j0 < ${TILE}u) {
    let kept = base * u.nKvHeads + kv;
    let given = (row * u.nKvHeads + kv) * ${headDim}u;
    for (var i = li; i < ${quarters(headDim)}u; i += ${size}u) {
      save_keys(kept, i, four_k(u.kAt + given, i, angles));
    }
    for (var c = li; c < ${headDim}u; c += ${size}u) { values[valuesFrom + kept * ${headDim}u + c] = v[u.vAt + given + c]; }
  }
  for (var n = li; n < ${rows * quarters(headDim)}u; n += ${size}u) {
    let i = n % ${quarters(headDim)}u;
    let h = n / ${quarters(headDim)}u;
    var value = vec4f(0.0);
    if (h < u.group) {
      value = four_q(u.qAt + (row * u.nHeads + kv * u.group + h) * ${headDim}u, i, angles);
    }
    queries[n] = value * u.factor;
  }
  storageBarrier();
  workgroupBarrier();
  let lane = li / ${TILE}u * ${own}u;
  let mine = j0 + li % ${TILE}u;
  {
    let key = min(mine, base) * u.nKvHeads + kv;
    ${each(own, (r) => `var s${r} = 0.0;`)}
    for (var i = 0u; i < u.chunk; i++) {
      let k = load_keys(key, i);
      ${each(
        own,
        (r) => `{ let q = queries[(lane + ${r}u) * ${quarters(headDim)}u + i];
      ${each(4, (n) => `s${r} = fma(q[${n}], k[${n}], s${r});`)} }`,
      )}
    }
    let seen = mine >= start && mine <= base;
    ${each(own, (r) => `scores[(lane + ${r}u) * ${TILE}u + li % ${TILE}u] = select(${NOTHING}, s${r}, seen);`)}
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
    largest[li] = m;
  }
  workgroupBarrier();
  if (r < ${rows}u) {
    let j = vec4u(j0 + 4u * x) + vec4u(0u, 1u, 2u, 3u);
    let p = select(vec4f(0.0), exp2(s - vec4f(largest[r])), (j >= vec4u(start)) & (j <= vec4u(base)));
    weights[r * 16u + x] = p;
    part[r * 17u + x] = ((p.x + p.y) + p.z) + p.w;
  }
  workgroupBarrier();
  if (li < ${rows}u) {
    var all = 0.0;
    for (var x = 0u; x < u.across; x++) { all += part[li * 17u + x]; }
    ${
      last
        ? 'total[li] = select(1.0 / all, 0.0, all == 0.0);'
        : 'if (li < u.group) { stats[u.statsAt + result + li] = vec2f(largest[li], all); }'
    }
  }
  ${last ? 'workgroupBarrier();' : ''}
  for (var c = li % ${TILE}u; c < ${headDim}u; c += ${TILE}u) {
    ${each(own, (r) => `var c${r} = 0.0;`)}
    // sixteen at a time, which are under way together
    for (var n = 0u; n < u.turns; n++) {
      ${each(16, (k) => `let v${k} = values[valuesFrom + (min(j0 + 16u * n + ${k}u, base) * u.nKvHeads + kv) * ${headDim}u + c];`)}
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
      (r) =>
        `if (lane + ${r}u < u.group) { out[u.outAt + (result + lane + ${r}u) * ${headDim}u + c] = c${r}${last ? ` * total[lane + ${r}u]` : ''}; }`,
    )}
  }`,
    };
  },
);
