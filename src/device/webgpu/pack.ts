import type { Tensor } from '../device.ts';
import { type Access, variants } from './kernel.ts';
import { rowsWithin } from './operand.ts';
import { part } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';
import type { GpuPanels } from './weights.ts';

/** Words of a row of panels, an invocation each, the zeros behind its end too; numbers as bits, so that none changes on the way. */
const PACK = variants('pack', (_, type: 'f32' | 'f16' | 'bf16') => ({
  buffers: [
    ['master', 'u32', 'read'],
    ['panels', 'u32', 'write' as Access],
  ],
  numbers: ['count: u32', 'columns: u32', 'words: u32'],
  workgroup: 64,
  declarations: `fn number(row: u32, column: u32) -> u32 {
  if (column >= u.columns) { return 0u; }
  return master[u.masterAt + row * u.columns + column];
}
${type === 'f16' ? TO_F16 : TO_BF16}`,
  body: `let i = group * 64u + li;
  if (i >= u.count) { return; }
  let row = i / u.words;
  let word = i % u.words;
  panels[u.panelsAt + i] = ${
    type === 'f32'
      ? 'number(row, word)'
      : 'rounded(number(row, 2u * word)) | (rounded(number(row, 2u * word + 1u)) << 16u)'
  };`,
}));

/** To the nearest, ties to even; NaN stays one. */
const TO_BF16 = `fn rounded(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 64u; }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}`;

/** To f16, in integers: whether \`pack2x16float\` rounds to the nearest is the driver's affair, and some lose denormals. */
export const TO_F16 = `fn rounded(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return sign | 0x7e00u; }
  if (size >= 0x477ff000u) { return sign | 0x7c00u; }
  var fraction = size;
  var shift = 13u;
  if (size < 0x38800000u) {
    if (size < 0x33000000u) { return sign; }
    fraction = (size & 0x7fffffu) | 0x800000u;
    shift = 126u - (size >> 23u);
  } else {
    fraction = size - 0x38000000u;
  }
  let half = 1u << (shift - 1u);
  let odd = (fraction >> shift) & 1u;
  return sign | ((fraction + half - 1u + odd) >> shift);
}`;

export function pack({ commands }: GpuParts, from: Tensor, to: Tensor): void {
  const panels = to as GpuPanels;
  const { rowBytes } = panels.plan;
  const columns = to.shape[to.shape.length - 1]!;
  const rows = columns === 0 ? 0 : panels.byteLength / rowBytes;
  const step = rowsWithin(commands.bindingLimit, Math.max(rowBytes, 4 * columns));
  const words = rowBytes / 4;
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const source = part(from as GpuTensor, 4 * first * columns, 4 * count * columns);
    const of = PACK(panels.type as 'f32' | 'f16' | 'bf16');
    commands.run(
      of,
      [source, panels.part(first, count)],
      [count * words, columns, words],
      Math.ceil((count * words) / 64),
    );
  }
}
