import { attendEachApart } from '../attend-each.ts';
import { widthOf } from '../checks/tensor.ts';
import type { Device, StepArguments } from '../device.ts';
import { FEW } from './attention.ts';
import type { Call, SharedCall } from './calls.ts';
import { evenly } from './lanes.ts';
import { rotateEach } from './layers.ts';
import type { Parts } from './parts.ts';
import { addressOf } from './tensor.ts';

/**
 * As Device.attendEach. The chunks of all sequences' positions, end to end, are one command: a lane has as many positions as another, however they are
 * spread over the sequences, and each chunk is summed as `attention` sums it.
 */
export function attendEach(device: Device, parts: Parts, args: StepArguments): void {
  const { q, k, v, out, sequences, nHeads, nKvHeads, headDim, scale, window } = args;
  if (headDim % 4 !== 0 || sequences.length === 1) {
    attendEachApart(device, args);
    return;
  }
  const { arena, kernels, lanes, memory } = parts;
  const mark = arena.mark();
  rotateEach(parts, args);
  const [width, kvWidth] = [4 * widthOf(q), 4 * widthOf(k)];
  const [qAt, kAt, vAt, outAt] = [q, k, v, out].map(addressOf) as [number, number, number, number];
  const { at, stride } = lanes.scratch(arena, kernels.attentionDecodeScratch(nHeads));
  const own = { index: 13, stride };
  const shared: SharedCall[] = [];
  const merges: Call[] = [];
  let [units, positions] = [0, 0];
  for (const [i, { keys, values, base }] of sequences.entries()) {
    const [keysAt, valuesAt] = [addressOf(keys), addressOf(values)];
    memory.u8.copyWithin(keysAt + kvWidth * base, kAt + kvWidth * i, kAt + kvWidth * (i + 1));
    memory.u8.copyWithin(valuesAt + kvWidth * base, vAt + kvWidth * i, vAt + kvWidth * (i + 1));
    const end = base + 1;
    const start = window > 0 ? Math.max(0, end - window) : 0;
    const chunks = kernels.decodeChunks(end - start);
    const outs = arena.allocate(chunks * width);
    const stats = arena.allocate(8 * chunks * nHeads);
    const range = [0, 0, start, end, nHeads, nKvHeads, headDim, scale] as const;
    const memories = [qAt + width * i, keysAt, valuesAt, outs, stats, at] as const;
    shared.push({
      name: 'attentionDecode',
      values: [...range, ...memories],
      range: 0,
      before: units,
      count: chunks,
      own,
    });
    merges.push(['mergeDecode', [chunks, nHeads, headDim, outs, stats, outAt + width * i]]);
    units += chunks;
    positions += end - start;
  }
  const count = lanes.parts((positions * width) / 4, FEW);
  lanes.share(units, Math.min(count, units), shared);
  const bounds = evenly(merges.length, Math.min(count, merges.length));
  lanes.dispatchLong(bounds.slice(1).map((end, part) => merges.slice(bounds[part], end)));
  arena.reset(mark);
}
