import { BLOCK_SIZE, byteLengthOf } from '../../element-types.ts';
import type { ByteSource } from '../../runtime/files/source.ts';
import type { Checkpoint, TensorEntry } from '../types.ts';
import { dequantise } from './dequantise.ts';
import { quantise } from './quantise.ts';
import type { QuantisedType } from './quantised-types.ts';

/** Matrices of attention and feed-forwards, those of experts too. Routers are told apart by a hair, and small: they stay. */
const LINEAR = /^model\.layers\.\d+\..*_proj\.weight$/;

/**
 * A checkpoint whose linear layers are rounded to a type while they are read. As they were stay embedding, output matrix, norms, biases, routers, what
 * is of that type already, and matrices whose rows are no whole blocks.
 */
export function quantisedCheckpoint(checkpoint: Checkpoint, type: QuantisedType): Checkpoint {
  const tensors = new Map<string, TensorEntry>();
  const left: string[] = [];
  let [rounded, linear] = [0, 0];
  for (const [name, entry] of checkpoint.tensors) {
    const isLinear = LINEAR.test(name) && entry.shape.length === 2 && entry.byteLength > 0;
    const isOther = isLinear && entry.type !== type;
    const fits = isOther && entry.shape[1]! % BLOCK_SIZE[type].elements === 0;
    if (isOther && !fits) left.push(name);
    if (isLinear) linear++;
    if (fits) rounded++;
    tensors.set(name, fits ? quantisedEntry(entry, type) : entry);
  }
  const notes = [...checkpoint.notes];
  if (left.length > 0) {
    notes.push(
      `${left.length} linear layers are not rounded to ${type}, their rows being no whole blocks of ${BLOCK_SIZE[type].elements}: ${left[0]} is the first.`,
    );
  }
  return { ...checkpoint, tensors, notes, rounded: { rounded, linear } };
}

function quantisedEntry(entry: TensorEntry, type: QuantisedType): TensorEntry {
  const byteLength = byteLengthOf(type, entry.shape[0]! * entry.shape[1]!);
  return { ...entry, type, byteLength, offset: 0, source: quantisedSource(entry, type, byteLength) };
}

/** Any bytes of the rounded tensor, from as many of the stored one as make whole blocks of both types. */
function quantisedSource(entry: TensorEntry, type: QuantisedType, size: number): ByteSource {
  const [to, from] = [BLOCK_SIZE[type], BLOCK_SIZE[entry.type]];
  // each a multiple of the smaller one, and so is the number of all values
  const step = Math.max(to.elements, from.elements);
  const bytesOf = (elements: number): number => (elements / to.elements) * to.bytes;
  return {
    name: entry.source.name,
    size,
    readInto: async (offset, target) => {
      const first = Math.floor(offset / bytesOf(step)) * step;
      const end = Math.ceil((offset + target.byteLength) / bytesOf(step)) * step;
      const stored = new Uint8Array(byteLengthOf(entry.type, end - first));
      await entry.source.readInto(entry.offset + byteLengthOf(entry.type, first), stored);
      const blocks = quantise(type, dequantise(entry.type, stored, end - first));
      const at = offset - bytesOf(first);
      target.set(blocks.subarray(at, at + target.byteLength));
    },
    close: () => entry.source.close(),
  };
}
