import { hasNode } from '../host/types.ts';
import type { Hasher, HashName } from './hasher.ts';

/** The host's own hash where it has one that streams; Web Crypto takes only whole inputs. */
export async function createHasher(name: HashName): Promise<Hasher> {
  const module = hasNode() ? await import('./hash-node.ts') : await import('./hash-noble.ts');
  return module.hasher(name);
}

/**
 * SHA-256 of a whole content, by the host's own hash, which works beside this thread; where there is none, as on pages that are not
 * secure, by ours. The content is copied before the call returns.
 */
export async function sha256Bytes(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  if (subtle) return new Uint8Array(await subtle.digest('SHA-256', bytes));
  const copy = bytes.slice();
  const hasher = await createHasher('sha256');
  hasher.update(copy);
  return bytesOfHex(hasher.hex());
}

/** The bytes that a text of hexadecimal digits stands for. */
export function bytesOfHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export async function sha256(text: string): Promise<string> {
  const hasher = await createHasher('sha256');
  hasher.update(new TextEncoder().encode(text));
  return hasher.hex();
}
