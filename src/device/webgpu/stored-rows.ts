/** Rows of keys and values at rest: f32, f16, or codes (rest-codes.ts). */
import { type StoredType, storedType } from '../checks/stored-rows.ts';
import { heightOf, widthOf } from '../checks/tensor.ts';
import type { PlaceArguments, StoredRows, Tensor } from '../device.ts';
import { inWords } from './bytes.ts';
import { cast } from './cast.ts';
import type { Bound } from './commands.ts';
import { widening } from './halves.ts';
import { variants } from './kernel.ts';
import { part, rowsOf } from './pieces.ts';
import { type CodeType, LOADED, storeCodes } from './rest-codes.ts';
import { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 128;

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
  const type = storedType(to, width) as CodeType;
  const most = rowsOf('storeRows', commands.bindingLimit, 4 * width);
  for (let first = 0; first < rows; first += most) {
    const n = Math.min(most, rows - first);
    const source = part(from as GpuTensor, 4 * width * first, 4 * width * n);
    const scales = part(to.scales as GpuTensor, heads * (toRow + first), heads * n);
    const place = part(data, bytes * (toRow + first), bytes * n);
    storeCodes(parts, type, { from: source, data: place, scales }, n * heads, width / heads);
  }
}

/** \`stored(first, c)\`: number c of a head, in elements from what begins \`skipped\` elements into the first word. */
const STORED: Readonly<Record<StoredType, string>> = {
  f32: 'fn stored(first: u32, c: u32) -> f32 { return bitcast<f32>(source[u.sourceAt + first + c]); }',
  f16: `${widening('f16')}
fn stored(first: u32, c: u32) -> f32 {
  let at = first + c + u.skipped;
  return bitcast<f32>(widened(source[u.sourceAt + at / 2u] >> (16u * (at & 1u))));
}`,
  ...LOADED,
};
const isCodes = (type: StoredType): type is CodeType => type === 'int8' || type === 'int4';

/** An invocation a number of what is placed, of some layers whose tables are one. */
const PLACE = variants('placeRows', (_, type: StoredType, turning: boolean) => ({
  buffers: [
    ['source', 'u32', 'read'],
    ...(isCodes(type) ? [['scales', 'u32', 'read'] as const] : []),
    ...(turning ? [['table', 'f32', 'read'] as const] : []),
    ['to', 'f32', 'write'],
  ],
  numbers: [
    ...['count: u32', 'rows: u32', 'heads: u32', 'headDim: u32', 'skipped: u32', 'factor: f32'],
    ...(isCodes(type) ? ['scalesSkipped: u32'] : []),
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
  var value = stored(first, c) * u.factor;
  ${
    turning
      ? `if (c < 2u * u.half) {
    let pair = select(c % u.half, c / 2u, u.interleaved == 1u);
    let second = select(c >= u.half, c % 2u == 1u, u.interleaved == 1u);
    let step = select(u.half, 1u, u.interleaved == 1u);
    let other = stored(first, select(c + step, c - step, second)) * u.factor;
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
  const scales = from.scales && stretch(from.scales, heads, layerRows, first);
  const bytes = scales && inWords(scales);
  if (bytes) bound.push(bytes);
  if (table) bound.push(part(table as GpuTensor, 4 * rotaryDims * first, 4 * rotaryDims * count));
  bound.push(place);
  const all = (end - layer) * count * width;
  const type = storedType(from, width);
  commands.run(
    PLACE(type, table !== null),
    bound,
    [
      ...[all, count, heads, headDim, (source.offset - words.offset) / (isCodes(type) ? 1 : size / width), factor],
      ...(scales && bytes ? [scales.offset - bytes.offset] : []),
      ...[layerRows, capacity, rotaryDims / 2, layout === 'interleaved' ? 1 : 0],
    ],
    Math.ceil(all / WORKGROUP),
  );
}
