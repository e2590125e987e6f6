import { elements, heightOf, widthOf } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import { kernel } from './kernel.ts';
import { rowsWithin } from './operand.ts';
import { part } from './pieces.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

const WORKGROUP = 256;

/**
 * A workgroup a token. That of the first token with an id adds the rows of all tokens with it, in their order; the others find out that they are
 * not the first. An id that is none is taken for the last row.
 */
const EMBED_BACKWARD = kernel('embedBackward', () => ({
  buffers: [
    ['ids', 'i32', 'read'],
    ['dY', 'f32', 'read'],
    ['dW', 'f32', 'write'],
  ],
  // rows of dW that are bound, and how many there are; tokens
  numbers: ['count: u32', 'width: u32', 'first: u32', 'rows: u32', 'all: u32'],
  workgroup: WORKGROUP,
  declarations: `var<workgroup> earlier: atomic<u32>;
var<workgroup> found: u32;
var<workgroup> same: array<atomic<u32>, ${WORKGROUP / 32}>;
fn row_of(t: u32) -> u32 { return min(u32(ids[u.idsAt + t]), u.all - 1u); }`,
  body: `if (group >= u.count) { return; }
  let row = row_of(group);
  if (row - u.first >= u.rows) { return; }
  for (var t = li; t < group; t += ${WORKGROUP}u) {
    if (row_of(t) == row) { atomicStore(&earlier, 1u); break; }
  }
  workgroupBarrier();
  if (li == 0u) { found = atomicLoad(&earlier); }
  if (workgroupUniformLoad(&found) == 1u) { return; }
  let at = u.dWAt + (row - u.first) * u.width;
  for (var t0 = group; t0 < u.count; t0 += ${WORKGROUP}u) {
    if (li < ${WORKGROUP / 32}u) { atomicStore(&same[li], 0u); }
    workgroupBarrier();
    if (t0 + li < u.count && row_of(t0 + li) == row) { atomicOr(&same[li / 32u], 1u << (li % 32u)); }
    workgroupBarrier();
    for (var word = 0u; word < ${WORKGROUP / 32}u; word++) {
      for (var left = atomicLoad(&same[word]); left != 0u; left &= left - 1u) {
        let from_row = u.dYAt + (t0 + 32u * word + firstTrailingBit(left)) * u.width;
        for (var i = li; i < u.width; i += ${WORKGROUP}u) { dW[at + i] += dY[from_row + i]; }
      }
    }
    workgroupBarrier();
  }`,
}));

export function embedBackward({ commands }: GpuParts, ids: Tensor, dY: Tensor, dW: Tensor): void {
  const [tokens, width, rows] = [elements(ids.shape), widthOf(dY), heightOf(dW)];
  const step = rowsWithin(commands.bindingLimit, 4 * width);
  for (let t = 0; t < tokens; t += step) {
    const count = Math.min(step, tokens - t);
    const [some, from] = [
      part(ids as GpuTensor, 4 * t, 4 * count),
      part(dY as GpuTensor, 4 * t * width, 4 * count * width),
    ];
    for (let first = 0; first < rows; first += step) {
      const held = Math.min(step, rows - first);
      const to = part(dW as GpuTensor, 4 * first * width, 4 * held * width);
      commands.run(EMBED_BACKWARD, [some, from, to], [count, width, first, held, rows], count);
    }
  }
}
