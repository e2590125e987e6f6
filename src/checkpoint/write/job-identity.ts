import { EspalierError, throwIfAborted } from '../../errors.ts';
import { sha256 } from '../../runtime/files/hash.ts';
import { headerIdentity, type TensorDigest, type TensorDigests } from '../identity.ts';
import type { Checkpoint } from '../types.ts';
import type { OutputGroup } from './write-checkpoint.ts';

/**
 * What decides the content of a job's output, as far as it is known before weights are read: its options, and the source's configuration
 * and tensors by name, type and shape. A journal of another identity is not resumed.
 */
export async function jobIdentity(checkpoint: Checkpoint, options: unknown): Promise<string> {
  return sha256(JSON.stringify([options, await headerIdentity(checkpoint)]));
}

interface WithSource {
  readonly source?: readonly TensorDigest[];
}

/** The same groups, whose records also tell what of the source they were made from. */
export function withSource(groups: readonly OutputGroup[], digests: TensorDigests): OutputGroup[] {
  return groups.map((group) => ({
    ...group,
    end: async () => ({ ...((await group.end?.()) as object | undefined), source: await digests.take() }),
  }));
}

/**
 * Whether the source is the one that an earlier run has read, byte by byte, as far as it has read it; files that are as they were
 * then are not read again.
 * @throws E_ARGUMENT when it is not; E_ABORTED
 */
export async function checkSource(
  records: readonly unknown[],
  digests: TensorDigests,
  name: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const read = (records as readonly WithSource[]).flatMap(({ source }) => source ?? []);
  const changed = await digests.changed(read, () => throwIfAborted(signal));
  if (changed === null) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `The output is half written from another model: ${changed} of ${name} is not what it was then.`,
    'Go on with that model, pass `restart: true` to throw the work away, or choose another folder.',
  );
}
