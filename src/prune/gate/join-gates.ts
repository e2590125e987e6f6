import { type GateOf, type GateWeightName, gateEntries, gateFrom } from '../../checkpoint/adapter/gate-kinds.ts';
import { EspalierError } from '../../errors.ts';

/** Weights of a gate as numbers, row by row. */
export type GateValues = GateOf<Float32Array>;

/** Weights that have a row for each slot; the others belong to the layer between, a row a unit. */
const BY_SLOT: ReadonlySet<GateWeightName> = new Set<GateWeightName>(['out', 'entropy', 'outBias']);

/**
 * A gate of each request beside those of earlier ones, as one gate. What an expert's logit says is how far it is above its own gate's null slot, so
 * that slot's row becomes zeros; units between stand behind one another, and an expert has weights for those of its own request alone. Taking a
 * request out again leaves the numbers of the others as they were.
 * @param earlier null: there is none
 * @param slots of the new gate, its null slot counted
 * @throws E_ARGUMENT for gates of two kinds
 */
export function joinGates(earlier: GateValues | null, own: GateValues, slots: number): GateValues {
  const added = aboveNull(own, slots);
  if (earlier === null) return added;
  if (earlier.kind !== own.kind) {
    throw new EspalierError(
      'E_ARGUMENT',
      `The gate of the earlier adapter is ${earlier.kind}, and the new one ${own.kind}.`,
      `Give \`gate: "${earlier.kind}"\`.`,
    );
  }
  const [before, behind] = [new Map(gateEntries(earlier)), new Map(gateEntries(added))];
  return gateFrom(own.kind, (name) => {
    const [first, second] = [before.get(name)!, behind.get(name)!];
    if (!BY_SLOT.has(name)) return joined(first, second);
    const width = second.length / slots;
    if (name !== 'out' || own.kind !== 'global' || earlier.kind !== 'global') {
      return joined(first, second.subarray(width)); // the null slot is there
    }
    const units = earlier.bias.length;
    const few = first.length / units;
    const all = new Float32Array((few + slots - 1) * (units + width));
    for (let slot = 0; slot < few; slot++) {
      all.set(first.subarray(slot * units, (slot + 1) * units), slot * (units + width));
    }
    for (let slot = 1; slot < slots; slot++) {
      all.set(second.subarray(slot * width, (slot + 1) * width), (few + slot - 1) * (units + width) + units);
    }
    return all;
  });
}

/**
 * A gate without some experts, and without the units that no other expert reads.
 * @param experts that it has
 * @param taken their numbers, from 0 on
 */
export function withoutExperts(gate: GateValues, experts: number, taken: ReadonlySet<number>): GateValues {
  const kept = Array.from({ length: experts + 1 }, (_, slot) => slot).filter(
    (slot) => slot === 0 || !taken.has(slot - 1),
  );
  const pick = (values: Float32Array, rows: readonly number[], count: number): Float32Array => {
    const width = values.length / count;
    return joined(...rows.map((row) => values.subarray(row * width, (row + 1) * width)));
  };
  const weights = new Map(gateEntries(gate));
  const bySlot = (name: GateWeightName) => pick(weights.get(name)!, kept, experts + 1);
  if (gate.kind !== 'global') return gateFrom(gate.kind, bySlot);
  const units = gate.bias.length;
  const out = bySlot('out');
  const read = Array.from({ length: units }, (_, unit) => unit).filter((unit) =>
    kept.some((_, row) => out[row * units + unit] !== 0),
  );
  return gateFrom('global', (name) => {
    if (name === 'out')
      return Float32Array.from(kept.flatMap((_, row) => read.map((unit) => out[row * units + unit]!)));
    return BY_SLOT.has(name) ? bySlot(name) : pick(weights.get(name)!, read, units);
  });
}

/** Rows of slots less that of the null slot. */
function aboveNull(gate: GateValues, slots: number): GateValues {
  const weights = new Map(gateEntries(gate));
  return gateFrom(gate.kind, (name) => {
    const values = weights.get(name)!;
    if (!BY_SLOT.has(name)) return values;
    const width = values.length / slots;
    return values.map((value, i) => value - values[i % width]!);
  });
}

function joined(...parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
