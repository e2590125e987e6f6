import { orderOf } from '../../datasets/training/stream.ts';
import { uniform } from '../../random.ts';

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

/**
 * The sequences of each step of Phase I, by their numbers among all: those to forget, by sub-domain, and then those to keep. Theirs alone are the
 * entropies that it needs.
 */
export function structureDraws(
  { seed, batch, structureSteps }: Draws & { readonly structureSteps: number },
  count: number,
): Uint32Array[] {
  return Array.from({ length: structureSteps }, (_, step) =>
    Uint32Array.from({ length: batch }, (_, i) =>
      Math.floor(uniform(seed, step * batch + i, STREAM.structure) * count),
    ),
  );
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
