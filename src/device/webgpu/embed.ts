/** Rows of a weight by their ids, and the way back. */
import { elements, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { type Access, variants } from './kernel.ts';
import { isVector, operandOf, type Reading, rowsOf, rowsWithin } from './operand.ts';
import { part } from './pieces.ts';
import { quadsOf, sourceNumbers } from './quads.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

/** Four numbers an invocation; ids of other rows than those of the piece are passed over, what is no id among them. */
const EMBED = variants('embed', (_, reading: Reading, vector: boolean) => {
  const weight = quadsOf('weight', reading);
  return {
    buffers: [['ids', 'i32', 'read'], ...weight.buffers, ['out', vector ? 'vec4f' : 'f32', 'write' as Access]],
    numbers: ['count: u32', 'width: u32', 'quads: u32', 'first: u32', 'rows: u32', ...weight.numbers],
    workgroup: 64,
    declarations: weight.text,
    body: `let i = group * 64u + li;
  if (i >= u.count) { return; }
  let t = i / u.quads;
  let quad = i % u.quads;
  let row = u32(ids[u.idsAt + t]) - u.first;
  if (row >= u.rows) { return; }
  let some = weight_quad(row, quad);
  ${vector ? 'out[u.outAt + i] = some;' : PUT_SOME}`,
  };
});

const PUT_SOME = `let left = u.width - 4u * quad;
  let at = u.outAt + t * u.width + 4u * quad;
  out[at] = some.x;
  if (left > 1u) { out[at + 1u] = some.y; }
  if (left > 2u) { out[at + 2u] = some.z; }
  if (left > 3u) { out[at + 3u] = some.w; }`;

export function embed({ commands }: GpuParts, ids: Tensor, weight: Tensor, out: Tensor): void {
  const { bindingLimit } = commands;
  const [tokens, width] = [elements(ids.shape), widthOf(out)];
  const whole = operandOf(weight);
  const vector = isVector(out as GpuTensor, width);
  const quads = Math.ceil(width / 4);
  const [rowStep, step] = [rowsWithin(bindingLimit, whole.rowBytes), rowsWithin(bindingLimit, 4 * width)];
  for (let t = 0; t < tokens; t += step) {
    const count = Math.min(step, tokens - t);
    const [idsPart, outPart] = [
      part(ids as GpuTensor, 4 * t, 4 * count),
      part(out as GpuTensor, 4 * t * width, 4 * count * width),
    ];
    for (let first = 0; first < whole.rows; first += rowStep) {
      const some = rowsOf(whole, first, Math.min(rowStep, whole.rows - first));
      const numbers = [count * quads, width, quads, first, some.rows, ...sourceNumbers(some, 1)];
      const bound = [idsPart, some.data, ...(some.scales ? [some.scales] : []), outPart];
      commands.run(EMBED(some.reading, vector), bound, numbers, Math.ceil((count * quads) / 64));
    }
  }
}
