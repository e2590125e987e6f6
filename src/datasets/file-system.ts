import { EspalierError } from '../errors.ts';
import { hasNode } from '../runtime/host/types.ts';

/** @throws E_ARGUMENT where the host has none */
export async function fileSystem(): Promise<typeof import('node:fs/promises')> {
  if (hasNode()) return import('node:fs/promises');
  throw new EspalierError('E_ARGUMENT', 'This host has no file system.', 'Pass the bytes or a Blob of the file.');
}
