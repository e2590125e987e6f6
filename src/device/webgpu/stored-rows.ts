/** Rows of keys and values at rest: f32, f16, or i8 with a scale a row and head. */
import { heightOf, widthOf } from '../checks/tensor.ts';
import type { PlaceArguments, StoredRows, Tensor } from '../device.ts';
import { inWords } from './bytes.ts';
import { cast } from './cast.ts';
import type { Bound } from './commands.ts';
import { widening } from './halves.ts';
import { kernel, variants } from './kernel.ts';
import { part, rowsOf } from './pieces.ts';
import { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 128;

/** An invocation a head of a row: its largest number / 127. */
const SCALES = kernel('rowScales', () => ({
  buffers: [
    ['source', 'f32', 'read'],
    ['scales', 'f32', 'write'],
  ],
  numbers: ['count: u32', 'headDim: u32'],
  workgroup: WORKGROUP,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.count) { return; }
  var most = 0.0;
  for (var c = 0u; c < u.headDim; c++) { most = max(most, abs(source[u.sourceAt + i * u.headDim + c])); }
  scales[u.scalesAt + i] = most / 127.0;`,
}));

/** An invocation a word of four numbers, rounded to nearest even; bytes of the first or last word that are not written stay. */
const STORE_BYTES = kernel('storeBytes', () => ({
  buffers: [
    ['source', 'f32', 'read'],
    ['scales', 'f32', 'read'],
    ['to', 'u32', 'write'],
  ],
  numbers: ['count: u32', 'headDim: u32', 'skipped: u32', 'words: u32'],
  workgroup: WORKGROUP,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.words) { return; }
  var word = 0u;
  if (i == 0u || i == u.words - 1u) { word = to[u.toAt + i]; }
  for (var b = 0u; b < 4u; b++) {
    let e = 4u * i + b - u.skipped; // before the first it is far beyond the end
    if (e < u.count) {
      let scale = scales[u.scalesAt + e / u.headDim];
      let inverse = select(1.0 / scale, 0.0, scale == 0.0);
      let value = i32(clamp(round(source[u.sourceAt + e] * inverse), -127.0, 127.0));
      word = insertBits(word, u32(value), 8u * b, 8u);
    }
  }
  to[u.toAt + i] = word;`,
}));

export function storeRows(parts: GpuParts, from: Tensor, to: StoredRows, toRow: number, heads: number): void {
  const [rows, width] = [heightOf(from), widthOf(from)];
  if (rows === 0 || width === 0) return;
  const { commands } = parts;
  const data = to.data as GpuTensor;
  const bytes = data.byteLength / heightOf(data);
  if (!to.scales) {
    const { memory, offset, type } = data;
    const place = new GpuTensor(type, [rows, width], 'rows', memory, offset + bytes * toRow, bytes * rows, null, data);
    cast(parts, from, place);
    return;
  }
  const most = rowsOf('storeRows', commands.bindingLimit, 4 * width);
  for (let first = 0; first < rows; first += most) {
    const n = Math.min(most, rows - first);
    const source = part(from as GpuTensor, 4 * width * first, 4 * width * n);
    const scales = part(to.scales as GpuTensor, 4 * heads * (toRow + first), 4 * heads * n);
    const place = part(data, bytes * (toRow + first), bytes * n);
    const words = inWords(place);
    const [count, headDim] = [n * width, width / heads];
    commands.run(SCALES, [source, scales], [n * heads, headDim], Math.ceil((n * heads) / WORKGROUP));
    const numbers = [count, headDim, place.offset - words.offset, words.byteLength / 4];
    commands.run(STORE_BYTES, [source, scales, words], numbers, Math.ceil(words.byteLength / 4 / WORKGROUP));
  }
}

type RowType = 'f32' | 'f16' | 'i8';

/** \`stored(e)\`: element e of what begins \`skipped\` elements into the first word. */
const STORED: Readonly<Record<RowType, string>> = {
  f32: 'fn stored(e: u32) -> f32 { return bitcast<f32>(source[u.sourceAt + e]); }',
  f16: `${widening('f16')}
fn stored(e: u32) -> f32 {
  let at = e + u.skipped;
  return bitcast<f32>(widened(source[u.sourceAt + at / 2u] >> (16u * (at & 1u))));
}`,
  i8: `fn stored(e: u32) -> f32 {
  let at = e + u.skipped;
  return f32(extractBits(bitcast<i32>(source[u.sourceAt + at / 4u]), 8u * (at & 3u), 8u));
}`,
};

/** An invocation a number of what is placed, of some layers whose tables are one. */
const PLACE = variants('placeRows', (_, type: RowType, turning: boolean) => ({
  buffers: [
    ['source', 'u32', 'read'],
    ...(type === 'i8' ? [['scales', 'f32', 'read'] as const] : []),
    ...(turning ? [['table', 'f32', 'read'] as const] : []),
    ['to', 'f32', 'write'],
  ],
  numbers: [
    ...['count: u32', 'rows: u32', 'heads: u32', 'headDim: u32', 'skipped: u32', 'factor: f32'],
    // rows from one layer to the next
    ...['layerRows: u32', 'capacity: u32', 'half: u32', 'interleaved: u32'],
  ],
  workgroup: WORKGROUP,
  declarations: STORED[type],
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.count) { return; }
  let width = u.heads * u.headDim;
  let row = i / width % u.rows;
  let layer = i / width / u.rows;
  let c = i % u.headDim;
  let stands = layer * u.layerRows + row;
  let first = stands * width + i % width - c; // of the head
  ${type === 'i8' ? 'let by = u.factor * scales[u.scalesAt + stands * u.heads + i % width / u.headDim];' : 'let by = u.factor;'}
  var value = stored(first + c) * by;
  ${
    turning
      ? `if (c < 2u * u.half) {
    let pair = select(c % u.half, c / 2u, u.interleaved == 1u);
    let second = select(c >= u.half, c % 2u == 1u, u.interleaved == 1u);
    let step = select(u.half, 1u, u.interleaved == 1u);
    let other = stored(first + select(c + step, c - step, second)) * by;
    let angle = u.tableAt + row * 2u * u.half + pair;
    let s = table[angle + u.half];
    value = fma(value, table[angle], other * select(-s, s, second));
  }`
      : ''
  }
  to[u.toAt + (layer * u.capacity + row) * width + i % width] = value;`,
}));

export function placeRows(parts: GpuParts, args: PlaceArguments): void {
  const { from, to, layers, tables } = args;
  const rows = heightOf(from.data) / layers;
  if (rows === 0 || widthOf(to) === 0) return;
  for (let layer = 0, end = 1; layer < layers; layer = end++) {
    while (end < layers && tables?.[end] === tables?.[layer]) end++;
    placeLayers(parts, args, layer, end, 0, rows);
  }
}

/** Rows first .. first + count - 1 of some layers that rotate alike; halves of it, where a binding does not hold them. */
function placeLayers(
  parts: GpuParts,
  args: PlaceArguments,
  layer: number,
  end: number,
  first: number,
  count: number,
): void {
  const { from, to, layers, toRow, factor, tables } = args;
  const { heads, headDim, rotaryDims, layout } = args.layout;
  const { commands } = parts;
  const width = heads * headDim;
  const [layerRows, capacity] = [heightOf(from.data) / layers, heightOf(to) / layers];
  const size = from.data.byteLength / heightOf(from.data);
  /** From the first row to the last, in a tensor of so many rows a layer. */
  const stretch = (t: Tensor, bytes: number, each: number, before: number): Bound =>
    part(t as GpuTensor, bytes * (layer * each + before), bytes * ((end - layer - 1) * each + count));
  const place = stretch(to, 4 * width, capacity, toRow + first);
  const source = stretch(from.data, size, layerRows, first);
  if (
    Math.max(place.byteLength, source.byteLength + 4) + 256 > commands.bindingLimit &&
    (end - layer > 1 || count > 1)
  ) {
    if (end - layer > 1) {
      const middle = (layer + end) >> 1;
      placeLayers(parts, args, layer, middle, first, count);
      placeLayers(parts, args, middle, end, first, count);
    } else {
      const half = count >> 1;
      placeLayers(parts, args, layer, end, first, half);
      placeLayers(parts, args, layer, end, first + half, count - half);
    }
    return;
  }
  const table = rotaryDims > 0 ? (tables?.[layer] ?? null) : null;
  const words = inWords(source);
  const bound: Bound[] = [words];
  if (from.scales) bound.push(stretch(from.scales, 4 * heads, layerRows, first));
  if (table) bound.push(part(table as GpuTensor, 4 * rotaryDims * first, 4 * rotaryDims * count));
  bound.push(place);
  const all = (end - layer) * count * width;
  commands.run(
    PLACE(from.data.type as RowType, table !== null),
    bound,
    [
      ...[all, count, heads, headDim, (source.offset - words.offset) / (size / width), factor],
      ...[layerRows, capacity, rotaryDims / 2, layout === 'interleaved' ? 1 : 0],
    ],
    Math.ceil(all / WORKGROUP),
  );
}
