/** Between the projections and attention: queries and keys rotated, keys and values to their rows of the cache. One dispatch. */
import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { CacheRowsArguments } from '../device.ts';
import type { Bound } from './commands.ts';
import { variants } from './kernel.ts';
import { part } from './pieces.ts';
import { rope } from './rope.ts';
import { copyRows } from './rows.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 64;

/**
 * Of each row first the pairs of the keys' heads, then the numbers of keys that do not rotate, then the values, then the pairs of the queries' heads: an
 * invocation each.
 */
const CACHE_ROWS = variants('cacheRows', (_, queries: boolean) => ({
  buffers: [
    ['table', 'f32', 'read'],
    ['positions', 'u32', 'read'],
    ['k', 'f32', 'read'],
    ['v', 'f32', 'read'],
    ['keys', 'f32', 'write'],
    ['values', 'f32', 'write'],
    ...(queries ? [['q', 'f32', 'write'] as const] : []),
  ],
  numbers: [
    ...['rows: u32', 'each: u32', 'keyPairs: u32', 'keyRest: u32', 'width: u32', 'queryWidth: u32', 'headDim: u32'],
    // pairs of a head, where the second of a pair stands, and how far pairs are apart
    ...['half: u32', 'other: u32', 'step: u32', 'tableRows: u32'],
  ],
  workgroup: WORKGROUP,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.rows * u.each) { return; }
  let row = i / u.each;
  var j = i % u.each;
  let angles = u.tableAt + min(positions[u.positionsAt + row], u.tableRows - 1u) * 2u * u.half;
  if (j < u.keyPairs) {
    let pair = j % u.half;
    let at = row * u.width + (j / u.half) * u.headDim + pair * u.step;
    let c = table[angles + pair];
    let s = table[angles + u.half + pair];
    let a = k[u.kAt + at];
    let b = k[u.kAt + at + u.other];
    keys[u.keysAt + at] = fma(a, c, -(b * s));
    keys[u.keysAt + at + u.other] = fma(b, c, a * s);
    return;
  }
  j -= u.keyPairs;
  if (j < u.keyRest) {
    let rest = u.headDim - 2u * u.half;
    let at = row * u.width + (j / rest) * u.headDim + 2u * u.half + j % rest;
    keys[u.keysAt + at] = k[u.kAt + at];
    return;
  }
  j -= u.keyRest;
  if (j < u.width) {
    values[u.valuesAt + row * u.width + j] = v[u.vAt + row * u.width + j];
    return;
  }
  ${
    queries
      ? `j -= u.width;
  let pair = j % u.half;
  let at = u.qAt + row * u.queryWidth + (j / u.half) * u.headDim + pair * u.step;
  let c = table[angles + pair];
  let s = table[angles + u.half + pair];
  let a = q[at];
  let b = q[at + u.other];
  q[at] = fma(a, c, -(b * s));
  q[at + u.other] = fma(b, c, a * s);`
      : ''
  }`,
}));

export function cacheRows(parts: GpuParts, args: CacheRowsArguments): void {
  const { q, k, v, keys, values, toRow, table, positions, queryLayout, keyLayout } = args;
  const [rows, width] = [heightOf(k), widthOf(k)];
  if (rows === 0) return;
  const { commands } = parts;
  const { heads, headDim, rotaryDims, layout } = keyLayout;
  const bytes = 4 * width;
  const isLarge = [q, k, v].some((t) => t && t.byteLength + 256 > commands.bindingLimit);
  if (!table || rotaryDims === 0 || isLarge) {
    if (table && q) rope(parts, q, table, positions, queryLayout);
    if (table) rope(parts, k, table, positions, keyLayout);
    copyRows(parts, k, keys, toRow);
    copyRows(parts, v, values, toRow);
    return;
  }
  const half = rotaryDims / 2;
  const [keyPairs, keyRest] = [heads * half, heads * (headDim - rotaryDims)];
  const each = keyPairs + keyRest + width + (q ? queryLayout.heads * half : 0);
  const [other, step] = layout === 'half' ? [half, 1] : [1, 2];
  const bound: Bound[] = [table, positions, k, v].map((t) => t as GpuTensor);
  bound.push(...[keys, values].map((t) => part(t as GpuTensor, toRow * bytes, rows * bytes)));
  if (q) bound.push(q as GpuTensor);
  commands.run(
    CACHE_ROWS(q !== null),
    bound,
    [
      ...[rows, each, keyPairs, keyRest, width, q ? widthOf(q) : 0, headDim],
      ...[half, other, step, elements(table.shape) / rotaryDims],
    ],
    Math.ceil((rows * each) / WORKGROUP),
  );
}
