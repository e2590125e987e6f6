/** Attention of a layer, and its rows of the caches. */
import type { Device, StepArguments, Tensor } from '../device/device.ts';
import type { LayerBuffers } from './layer-buffers.ts';
import type { LayerFacts, LayerRun, SequenceRows } from './layer-run.ts';

/** Whether every row is the next token of a sequence of its own, and sees all before it. */
export function isStep(b: LayerBuffers, { sequences }: LayerRun): boolean {
  if (b.mask || b.windowMask || b.split || b.logSumExp || sequences.length !== b.q.shape[0]) return false;
  return sequences.every(({ first, count, base, stretches: [own, more] }, i) => {
    return first === i && count === 1 && !more && own?.first === i && own.count === 1 && own.row === base;
  });
}

/** What `Device.attendEach` is told of such rows. */
export function stepOf(facts: LayerFacts, b: LayerBuffers, { table, sequences }: LayerRun): StepArguments {
  const { nHeads, nKvHeads, headDim, window, attentionScale: scale, keyLayout: rotation } = facts;
  const { q, k, v, attended: out } = b;
  return { q, k, v, out, table, rotation, sequences, nHeads, nKvHeads, headDim, window, scale };
}

/**
 * Rotates keys, and puts them and values into the caches.
 * @param q queries of the same rows
 * @returns whether it has rotated them, too
 */
export function keep(device: Device, facts: LayerFacts, b: LayerBuffers, run: LayerRun, q: Tensor | null): boolean {
  const { table, sequences } = run;
  const { queryLayout, keyLayout } = facts;
  const [first, more] = sequences.flatMap(({ stretches }) => stretches);
  if (first && !more && first.count === b.k.shape[0]) {
    const { keys, values } = sequences.find(({ stretches }) => stretches.length > 0)!;
    const { k, v, positions } = b;
    device.cacheRows({ q, k, v, keys, values, toRow: first.row, table, positions, queryLayout, keyLayout });
    return q !== null;
  }
  if (table) device.rope(b.k, table, b.positions, keyLayout);
  for (const { keys, values, stretches } of sequences) {
    for (const { first: from, count, row } of stretches) {
      device.copyRows(device.rows(b.k, from, count), keys, row);
      device.copyRows(device.rows(b.v, from, count), values, row);
    }
  }
  return false;
}

/** Attention of the wanted rows of one sequence over its cache. */
export function attend(
  device: Device,
  facts: LayerFacts,
  o: LayerBuffers,
  of: SequenceRows,
  splitFactor: number,
): void {
  const { first, count, keys, values, base } = of;
  if (count === 0) return;
  const some = (t: Tensor): Tensor => (count === t.shape[0] ? t : device.rows(t, first, count));
  const { nHeads, nKvHeads, headDim, window } = facts;
  device.attention({
    q: some(o.q),
    keys,
    values,
    out: some(o.attended),
    base,
    nHeads,
    nKvHeads,
    headDim,
    scale: facts.attentionScale,
    window,
    mask: maskOf(facts, o),
    split: o.split && { mask: o.split, factor: splitFactor },
    logSumExp: o.logSumExp && some(o.logSumExp),
  });
}

/** Of a layer with a sliding window, and of others. */
export function maskOf(facts: LayerFacts, b: LayerBuffers): Tensor | null {
  return facts.window > 0 ? (b.windowMask ?? b.mask) : b.mask;
}
