import { throwIfAborted } from '../../errors.ts';
import { ByteDigest } from '../../runtime/files/byte-digest.ts';
import { equalBytes } from '../../runtime/files/bytes.ts';
import type { ByteSource } from '../../runtime/files/source.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';
import type { JournalGroup } from './journal.ts';
import type { Layout } from './layout.ts';

/** Bytes that are read at a time. */
const PIECE = 4 << 20;

/**
 * Of groups whose bytes are there, the leading ones whose bytes are those that were written: disks err, and people change files. All
 * that is kept is read once.
 * @throws E_FILE_READ, E_ABORTED
 */
export async function intactGroups(
  out: OutputFolder,
  plan: Layout,
  groups: readonly JournalGroup[],
  signal: AbortSignal | undefined,
): Promise<readonly JournalGroup[]> {
  if (groups.length === 0) return groups;
  const files = await out.files();
  const opened = new Map<number, ByteSource>();
  const piece = new Uint8Array(PIECE);

  /** A shard whose header is as it was written, or null. */
  const open = async (index: number): Promise<ByteSource | null> => {
    const known = opened.get(index);
    if (known) return known;
    const { name, header } = plan.shards[index]!;
    const source = await files.open(name);
    opened.set(index, source);
    const found = new Uint8Array(header.byteLength);
    await source.readInto(0, found);
    return equalBytes(found, header) ? source : null;
  };
  const isIntact = async (index: number): Promise<boolean> => {
    const digest = new ByteDigest();
    for (const { shard, offset, bytes } of plan.rangesOf[index]!) {
      const source = await open(shard);
      if (source === null) return false;
      for (let at = 0; at < bytes; at += PIECE) {
        throwIfAborted(signal);
        const part = piece.subarray(0, Math.min(PIECE, bytes - at));
        await source.readInto(offset + at, part);
        await digest.update(part);
      }
    }
    return (await digest.hex()) === groups[index]!.sum;
  };
  try {
    for (let index = 0; index < groups.length; index++) {
      if (!(await isIntact(index))) return groups.slice(0, index);
    }
    return groups;
  } finally {
    await Promise.all([...opened.values()].map((source) => source.close()));
  }
}
