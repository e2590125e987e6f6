import { checkpointIdentity } from '../checkpoint/identity.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { sha256 } from '../runtime/hash.ts';

/** What decides the content of a job's output: its options and its source. A journal of another identity is not resumed. */
export async function sourceIdentity(checkpoint: Checkpoint, options: unknown): Promise<string> {
  return sha256(JSON.stringify([options, await checkpointIdentity(checkpoint)]));
}
