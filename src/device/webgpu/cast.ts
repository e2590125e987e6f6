import { elements } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { copyBytes, inWords } from './bytes.ts';
import type { Bound } from './commands.ts';
import { narrowing, widening } from './halves.ts';
import { variants } from './kernel.ts';
import { part } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 256;

/** An invocation an element; the first stands \`skipped\` halves into the first word. */
const WIDEN = variants('widen', (_, type: 'f16' | 'bf16') => ({
  buffers: [
    ['source', 'u32', 'read'],
    ['to', 'u32', 'write'],
  ],
  numbers: ['count: u32', 'skipped: u32'],
  workgroup: WORKGROUP,
  declarations: widening(type),
  body: `let i = group * ${WORKGROUP}u + li;
  if (i >= u.count) { return; }
  let at = i + u.skipped;
  to[u.toAt + i] = widened(source[u.sourceAt + at / 2u] >> (16u * (at & 1u)));`,
}));

/** An invocation a word of two; the half of the first or last word that is not written stays. */
const NARROW = variants('narrow', (_, type: 'f16' | 'bf16') => ({
  buffers: [
    ['source', 'u32', 'read'],
    ['to', 'u32', 'write'],
  ],
  numbers: ['count: u32', 'skipped: u32'],
  workgroup: WORKGROUP,
  declarations: narrowing(type),
  body: `let i = group * ${WORKGROUP}u + li;
  let end = u.count + u.skipped;
  if (2u * i >= end) { return; }
  let before = i == 0u && u.skipped == 1u;
  let behind = 2u * i + 1u >= end;
  var word = 0u;
  if (before || behind) { word = to[u.toAt + i]; }
  if (!before) { word = (word & 0xffff0000u) | narrowed(source[u.sourceAt + 2u * i - u.skipped]); }
  if (!behind) { word = (word & 0xffffu) | (narrowed(source[u.sourceAt + 2u * i + 1u - u.skipped]) << 16u); }
  to[u.toAt + i] = word;`,
}));

export function cast(parts: GpuParts, from: Tensor, to: Tensor): void {
  const { commands } = parts;
  const [a, b] = [from as GpuTensor, to as GpuTensor];
  if (from.type === to.type) {
    copyBytes(parts, a, b);
    return;
  }
  const all = elements(from.shape);
  const most = commands.bindingLimit / 4 - 128; // a binding begins at a multiple of 256, and a word may be begun
  for (let first = 0; first < all; first += most) {
    const count = Math.min(most, all - first);
    const floats = (t: Bound) => part(t, 4 * first, 4 * count);
    const halves = (t: Bound) => inWords(part(t, 2 * first, 2 * count));
    if (from.type === 'f16' || from.type === 'bf16') {
      const skipped = (a.offset / 2) % 2;
      commands.run(WIDEN(from.type), [halves(a), floats(b)], [count, skipped], Math.ceil(count / WORKGROUP));
    } else if (to.type === 'f16' || to.type === 'bf16') {
      const skipped = (b.offset / 2) % 2;
      const words = Math.ceil((count + skipped) / 2);
      commands.run(NARROW(to.type), [floats(a), halves(b)], [count, skipped], Math.ceil(words / WORKGROUP));
    }
  }
}
