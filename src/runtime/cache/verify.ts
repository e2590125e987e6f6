import { throwIfAborted } from '../../errors.ts';
import { createHasher } from '../files/hash.ts';
import type { CacheFault, CacheFile, CacheHost, CacheRef, HostFile, VerifyOptions } from './types.ts';

const PIECE = 4 << 20;

/** As `Cache.verify`. */
export async function verifyBlobs(
  host: CacheHost,
  refs: readonly CacheRef[],
  { signal, onProgress }: VerifyOptions = {},
): Promise<CacheFault[]> {
  const files = await host.files('blobs');
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const faults: CacheFault[] = [];
  let done = 0;
  for (const file of files) {
    const wanted = refs.flatMap((ref) => ref.files.filter(({ blob }) => blob === file.name));
    const fault = await faultOf(host, file, wanted, (bytes) => {
      throwIfAborted(signal);
      done += bytes;
      onProgress?.(done, total);
    });
    if (fault === null) continue;
    const models = refs.filter((ref) => ref.files.some(({ blob }) => blob === file.name)).map(({ name }) => name);
    faults.push({ key: `blobs/${file.name}`, models: [...new Set(models)], fault });
  }
  return faults;
}

async function faultOf(
  host: CacheHost,
  { name, bytes, isOdd }: HostFile,
  wanted: readonly CacheFile[],
  onRead: (bytes: number) => void,
): Promise<CacheFault['fault'] | null> {
  if (isOdd) return 'kind';
  const [, kind, digits] = /^(sha256|git|url)-([0-9a-f]{40,64})$/.exec(name) ?? [];
  if (kind === undefined) return 'unknown';
  if (wanted.some(({ size }) => size !== bytes)) return 'size';
  const sums = kind === 'url' ? wanted.flatMap(({ sha256 }) => sha256 ?? []) : [digits!];
  const isGit = kind === 'git' && digits!.length === 40;
  const source = await host.open('blobs', name).catch(() => undefined);
  if (source === undefined) return 'unreadable';
  if (source === null) return null; // removed meanwhile
  try {
    const hasher = await createHasher(isGit ? 'sha1' : 'sha256');
    if (kind === 'git') hasher.update(new TextEncoder().encode(`blob ${source.size}\0`));
    const piece = new Uint8Array(Math.min(PIECE, source.size));
    for (let at = 0; at < source.size; at += piece.byteLength) {
      const part = piece.subarray(0, source.size - at);
      onRead(0); // looks at the signal
      try {
        await source.readInto(at, part);
      } catch {
        return 'unreadable';
      }
      hasher.update(part);
      onRead(part.byteLength);
    }
    if (sums.length === 0) return 'unknown';
    const hex = hasher.hex();
    return sums.every((sum) => sum === hex) ? null : 'content';
  } finally {
    await source.close();
  }
}
