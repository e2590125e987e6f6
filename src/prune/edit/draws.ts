import { orderOf } from '../../datasets/training/stream.ts';
import { uniform } from '../../random.ts';
import type { PruneSchedule } from './options.ts';

/** Tells draws of one seed apart. */
const STREAM = { structure: 141, retain: 143 } as const;

interface Draws {
  readonly seed: number;
  /** Sequences of a step. */
  readonly batch: number;
}

/** What one step forgets. */
export interface ForgetBatch<T = unknown> {
  readonly domain: number;
  readonly sequences: readonly T[];
}

/** Steps from whose tokens of high entropy A learns. @param batches of what is to be forgotten, in an epoch */
export function structureCount({ schedule, structureSteps, epochs }: Schedule, batches: number): number {
  switch (schedule) {
    case 'phases':
      return structureSteps;
    case 'interleaved':
      return epochs * batches;
    default:
      return schedule satisfies never;
  }
}

interface Schedule {
  readonly schedule: PruneSchedule;
  readonly structureSteps: number;
  readonly epochs: number;
}

/** Batches of an epoch: each of one sub-domain. @param lengths how many sequences each has */
export function batchCount(lengths: readonly number[], batch: number): number {
  return lengths.reduce((sum, length) => sum + Math.ceil(length / batch), 0);
}

/**
 * The sequences of each step that keeps structure, by their numbers among all: those to forget, by sub-domain, and then those to keep. Theirs alone are the
 * entropies that it needs.
 */
export function structureDraws(
  { seed, batch, structureSteps: steps }: Draws & { readonly structureSteps: number },
  count: number,
): Uint32Array[] {
  return Array.from({ length: steps }, (_, step) =>
    Uint32Array.from({ length: batch }, (_, i) =>
      Math.floor(uniform(seed, step * batch + i, STREAM.structure) * count),
    ),
  );
}

/** What A learns from. */
export interface StructureDraws<T, S> {
  readonly all: readonly T[];
  /** By sequence, where it is from. */
  readonly sources: readonly S[];
  /** By step, of all. */
  readonly draws: readonly Uint32Array[];
}

/**
 * What A learns from, step by step.
 * @param sides by sub-domain what is to be forgotten, and last what is kept
 * @param names of each side
 */
export function structureSequences<T, S>(
  sides: readonly (readonly T[])[],
  names: readonly S[],
  settings: Draws & Schedule,
): StructureDraws<T, S> {
  const all = sides.flat();
  const lengths = sides.slice(0, -1).map(({ length }) => length);
  const structureSteps = structureCount(settings, batchCount(lengths, settings.batch));
  return {
    all,
    sources: sides.flatMap((list, side) => list.map(() => names[side]!)),
    draws: structureDraws({ ...settings, structureSteps }, all.length),
  };
}

/** What is kept in a step of Phase II, by its number among so many. */
export function retainDraw({ seed, batch }: Draws, step: number, count: number): Uint32Array {
  return Uint32Array.from({ length: batch }, (_, i) =>
    Math.floor(uniform(seed, step * batch + i, STREAM.retain) * count),
  );
}

/** What is to be forgotten, in batches of one sub-domain each, all of them in an order of seed and epoch. @param forget by sub-domain */
export function forgetBatches<T>(
  forget: readonly (readonly T[])[],
  { seed, batch }: Draws,
  epoch: number,
): ForgetBatch<T>[] {
  const shuffled = <U>(list: readonly U[]): U[] =>
    Array.from(orderOf(Uint32Array.from(list.keys()), seed, epoch), (i) => list[i]!);
  const list = forget.flatMap((sequences, domain) => {
    const own = shuffled(sequences);
    return Array.from({ length: Math.ceil(own.length / batch) }, (_, i) => ({
      domain,
      sequences: own.slice(i * batch, (i + 1) * batch),
    }));
  });
  return shuffled(list);
}
