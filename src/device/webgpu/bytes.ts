/** Bytes from one place to another, at any offset: a GPU writes whole words of 4 bytes, and what else stands in one has to stay. */
import type { Bound, Commands } from './commands.ts';
import { variants } from './kernel.ts';
import { part } from './pieces.ts';

const WORKGROUP = 256;

/** With `one`, both places are parts of one buffer, bound as `to`; \`first\` is then where those that are read begin. */
const WORDS = variants('copy words', (_, wide: boolean, one: boolean) => ({
  buffers: [
    ...(one ? [] : [['source', wide ? 'vec4u' : 'u32', 'read'] as const]),
    ['to', wide ? 'vec4u' : 'u32', 'write'],
  ],
  numbers: ['count: u32', 'first: u32'],
  workgroup: WORKGROUP,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i < u.count) { to[u.toAt + i] = ${one ? 'to[u.first + i]' : 'source[u.sourceAt + i]'}; }`,
}));

/**
 * An invocation a word of `to`, whose first and last may keep other bytes. Byte b of what is copied goes to byte toByte + b of the words; the word
 * before it begins \`shift\` bytes into word i (or, where \`before\` is 1, i - 1) of `source`.
 */
const BYTES = variants('copy bytes', () => ({
  buffers: [
    ['source', 'u32', 'read'],
    ['to', 'u32', 'write'],
  ],
  numbers: ['words: u32', 'toByte: u32', 'end: u32', 'shift: u32', 'before: u32'],
  workgroup: WORKGROUP,
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.words) { return; }
  var low = 0u;
  if (i >= u.before) { low = source[u.sourceAt + i - u.before]; }
  var word = low;
  if (u.shift > 0u) { word = (low >> (8u * u.shift)) | (source[u.sourceAt + i + 1u - u.before] << (32u - 8u * u.shift)); }
  var mask = 0xffffffffu;
  if (i == 0u) { mask <<= 8u * u.toByte; }
  if (i == u.words - 1u && u.end > 0u) { mask &= (1u << (8u * u.end)) - 1u; }
  if (mask != 0xffffffffu) { word = (word & mask) | (to[u.toAt + i] & ~mask); }
  to[u.toAt + i] = word;`,
}));

/** Of places that do not overlap, whose buffers may be one. */
export function copyBytes({ commands }: { readonly commands: Commands }, from: Bound, to: Bound): void {
  const { bindingLimit } = commands;
  const whole = from.offset % 4 === 0 && to.offset % 4 === 0 && from.byteLength % 4 === 0;
  const most = bindingLimit - 512; // a binding begins at a multiple of 256, and a word may be begun
  for (let first = 0; first < from.byteLength; first += most) {
    const bytes = Math.min(most, from.byteLength - first);
    const [a, b] = [part(from, first, bytes), part(to, first, bytes)];
    if (whole) {
      const one = from.memory === to.memory && from.memory.size <= bindingLimit;
      const wide = (a.offset | b.offset | bytes) % 16 === 0;
      const [size, count] = wide ? [16, bytes / 16] : [4, bytes / 4];
      const numbers = [count, one ? a.offset / size : 0];
      commands.run(WORDS(wide, one), one ? [b] : [a, b], numbers, Math.ceil(count / WORKGROUP));
    } else copyShifted(commands, a, b);
  }
}

function copyShifted(commands: Commands, from: Bound, to: Bound): void {
  const [fromByte, toByte] = [from.offset % 4, to.offset % 4];
  const words = Math.ceil((toByte + to.byteLength) / 4);
  const shift = (fromByte - toByte + 4) % 4;
  const end = (toByte + to.byteLength) % 4;
  const bound = [inWords(from), inWords(to)];
  const numbers = [words, toByte, end, shift, fromByte < toByte ? 1 : 0];
  commands.run(BYTES(), bound, numbers, Math.ceil(words / WORKGROUP));
}

/** The whole words that bytes touch. */
export function inWords({ memory, offset, byteLength }: Bound): Bound {
  const skipped = offset % 4;
  return { memory, offset: offset - skipped, byteLength: Math.ceil((byteLength + skipped) / 4) * 4 };
}
