/** Codes of keys and values at rest, of 8 and of 4 bits, and their scales: the formats of assembly/rest-codes.ts, a head of a row at a time. */
import type { StoredType } from '../checks/stored-rows.ts';
import { scratch } from './attention.ts';
import { inWords } from './bytes.ts';
import type { Bound } from './commands.ts';
import { variants } from './kernel.ts';
import type { GpuParts } from './tensor-store.ts';

export type CodeType = Extract<StoredType, 'int8' | 'int4'>;

const WORKGROUP = 128;

/** Of a scale's byte. */
const SCALE = `fn scaleOf(b: u32) -> f32 {
  return select(bitcast<f32>(select((b + 871u) << 20u, 0x7fc00000u, b == 255u)), 0.0, b == 0u);
}`;

/** Byte e of words that begin \`skipped\` bytes into the first. */
const byteOf = (name: string, skipped: string): string =>
  `fn ${name}Byte(e: u32) -> u32 { return (${name}[u.${name}At + (e + u.${skipped}) / 4u] >> (8u * ((e + u.${skipped}) & 3u))) & 255u; }`;

/** Number k of a head, of those that \`value(k)\` gives, after the transform: blocks as long as the largest power of two that divides headDim. */
const transformed = (value: string): string => `fn transformed(c: u32) -> f32 {
  let block = u.headDim & (~u.headDim + 1u);
  let first = c - c % block;
  var sum = 0.0;
  for (var k = 0u; k < block; k++) {
    let x = ${value};
    sum += select(x, -x, (countOneBits((c % block) & k) & 1u) == 1u);
  }
  return sum / sqrt(f32(block));
}`;

/** An invocation a number: what its head's numbers are after the transform. */
const TRANSFORM = variants('transformRows', () => ({
  buffers: [
    ['source', 'f32', 'read'],
    ['to', 'f32', 'write'],
  ],
  numbers: ['count: u32', 'headDim: u32'],
  workgroup: WORKGROUP,
  declarations: `var<private> head: u32;
${transformed('source[u.sourceAt + head + first + k]')}`,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.count) { return; }
  head = i - i % u.headDim;
  to[u.toAt + i] = transformed(i % u.headDim);`,
}));

/** An invocation a head of a row: its scale's byte, in a word of its own. */
const SCALES = variants('rowScales', (_, type: CodeType) => ({
  buffers: [
    ['source', 'f32', 'read'],
    ['to', 'u32', 'write'],
  ],
  numbers: ['count: u32', 'headDim: u32'],
  workgroup: WORKGROUP,
  declarations: SCALE,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.count) { return; }
  let first = u.sourceAt + i * u.headDim;
  var most = 0u; // as bits, of which those of NaN are the largest
  for (var c = 0u; c < u.headDim; c++) { most = max(most, bitcast<u32>(source[first + c]) & 0x7fffffffu); }
  let wanted = (bitcast<u32>(bitcast<f32>(most) / ${type === 'int8' ? '127.0' : '7.5'}) + 0xfffffu) >> 20u;
  let top = select(select(clamp(i32(wanted) - 871, 1, 255), 255, most >= 0x7f800000u), 0, most == 0u);
  var best = top;
  ${
    type === 'int8'
      ? ''
      : `var least = 3e38;
  for (var b = top; b > max(0, top - 7) && top < 255; b--) {
    let s = scaleOf(u32(b));
    var error = 0.0;
    for (var c = 0u; c < u.headDim; c++) {
      let x = source[first + c];
      let d = (clamp(floor(x / s) + 8.0, 0.0, 15.0) - 7.5) * s - x;
      error += d * d;
    }
    if (error < least) { least = error; best = b; }
  }`
  }
  to[u.toAt + i] = u32(best);`,
}));

/** An invocation a word: its bytes are the lowest of four words; bytes of the first or last word that are not written stay. */
const PACK = variants('packScales', () => ({
  buffers: [
    ['source', 'u32', 'read'],
    ['to', 'u32', 'write'],
  ],
  numbers: ['count: u32', 'skipped: u32', 'words: u32'],
  workgroup: WORKGROUP,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.words) { return; }
  var word = 0u;
  if (i == 0u || i == u.words - 1u) { word = to[u.toAt + i]; }
  for (var b = 0u; b < 4u; b++) {
    let e = 4u * i + b - u.skipped; // before the first it is far beyond the end
    if (e < u.count) { word = insertBits(word, source[u.sourceAt + e], 8u * b, 8u); }
  }
  to[u.toAt + i] = word;`,
}));

/** An invocation a word of four bytes, one code each or two. */
const CODES = variants('storeCodes', (_, type: CodeType) => ({
  buffers: [
    ['source', 'f32', 'read'],
    ['scales', 'u32', 'read'],
    ['to', 'u32', 'write'],
  ],
  numbers: ['count: u32', 'headDim: u32', 'skipped: u32', 'words: u32'],
  workgroup: WORKGROUP,
  declarations: `${SCALE}
fn code(e: u32, head: u32) -> u32 {
  let b = scales[u.scalesAt + head];
  if (b == 0u || b == 255u) { return 0u; }
  let value = source[u.sourceAt + e] / scaleOf(b);
  ${
    type === 'int8'
      ? 'return u32(i32(clamp(round(value), -127.0, 127.0))) & 255u;'
      : 'return u32(clamp(floor(value) + 8.0, 0.0, 15.0));'
  }
}`,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.words) { return; }
  var word = 0u;
  if (i == 0u || i == u.words - 1u) { word = to[u.toAt + i]; }
  let half = u.headDim / 2u;
  for (var b = 0u; b < 4u; b++) {
    let e = 4u * i + b - u.skipped; // before the first it is far beyond the end
    if (e < u.count) {
      ${
        type === 'int8'
          ? 'let byte = code(e, e / u.headDim);'
          : `let head = e / half;
      let low = head * u.headDim + e % half;
      let byte = code(low, head) | (code(low + half, head) << 4u);`
      }
      word = insertBits(word, byte, 8u * b, 8u);
    }
  }
  to[u.toAt + i] = word;`,
}));

/** Heads of rows to codes and scales: what is bound is theirs alone. @param from f32 [heads · headDim] */
export function storeCodes(
  parts: GpuParts,
  type: CodeType,
  { from, data, scales }: { readonly from: Bound; readonly data: Bound; readonly scales: Bound },
  heads: number,
  headDim: number,
): void {
  const { arena, commands } = parts;
  const mark = arena.mark();
  const groups = (count: number) => Math.ceil(count / WORKGROUP);
  const count = heads * headDim;
  let source = from;
  if (type === 'int4') {
    source = scratch(parts, count);
    commands.run(TRANSFORM(), [from, source], [count, headDim], groups(count));
  }
  const wide = scratch(parts, heads);
  commands.run(SCALES(type), [source, wide], [heads, headDim], groups(heads));
  const [bytes, words] = [inWords(scales), inWords(data)];
  const packed = [heads, scales.offset - bytes.offset, bytes.byteLength / 4];
  commands.run(PACK(), [wide, bytes], packed, groups(bytes.byteLength / 4));
  const stored = [data.byteLength, headDim, data.offset - words.offset, words.byteLength / 4];
  commands.run(CODES(type), [source, wide, words], stored, groups(words.byteLength / 4));
  arena.reset(mark);
}

/** \`stored(first, c)\`: number c of the head whose first number is \`first\`; \`skipped\` and \`scalesSkipped\` are bytes. */
export const LOADED: Readonly<Record<CodeType, string>> = {
  int8: `${SCALE}
${byteOf('source', 'skipped')}
${byteOf('scales', 'scalesSkipped')}
fn stored(first: u32, c: u32) -> f32 {
  return f32(extractBits(bitcast<i32>(sourceByte(first + c)), 0u, 8u)) * scaleOf(scalesByte(first / u.headDim));
}`,
  int4: `${SCALE}
${byteOf('source', 'skipped')}
${byteOf('scales', 'scalesSkipped')}
var<private> head: u32;
fn level(k: u32) -> f32 {
  let half = u.headDim / 2u;
  let byte = sourceByte(head / 2u + k % half);
  return f32(select(byte & 15u, byte >> 4u, k >= half)) - 7.5;
}
${transformed('level(first + k)')}
fn stored(first: u32, c: u32) -> f32 {
  head = first;
  return transformed(c) * scaleOf(scalesByte(first / u.headDim));
}`,
};
