import { EspalierError } from '../../errors.ts';
import { host } from './host.ts';
import type { Host } from './types.ts';

/** Most threads of an engine or a job. */
export const MOST_LANES = 256;

/**
 * How many threads compute: as asked for, or all that the host has where they can share memory.
 * @throws E_ARGUMENT; E_NO_ISOLATION for more than one where memory cannot be shared
 */
export function laneCount(
  wanted: number | 'auto',
  { cores, sharedMemory }: Pick<Host, 'cores' | 'sharedMemory'>,
): number {
  if (wanted === 'auto') return sharedMemory ? Math.min(MOST_LANES, Math.max(1, cores)) : 1;
  if (!(Number.isInteger(wanted) && wanted >= 1 && wanted <= MOST_LANES)) {
    throw new EspalierError(
      'E_ARGUMENT',
      `lanes is ${String(wanted)}.`,
      `Give an integer from 1 to ${MOST_LANES}, or "auto".`,
    );
  }
  if (wanted > 1 && !sharedMemory) {
    throw new EspalierError(
      'E_NO_ISOLATION',
      `${wanted} lanes need shared memory, and this page is not cross-origin isolated.`,
      'Serve it with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, or use one lane.',
    );
  }
  return wanted;
}

/**
 * Threads of a job in the thread that calls it.
 * @throws as `laneCount`
 */
export async function jobLanes(wanted: number | 'auto' = 'auto'): Promise<number> {
  // a page's main thread must not wait for others
  return wanted === 'auto' && 'document' in globalThis ? 1 : laneCount(wanted, await host());
}
