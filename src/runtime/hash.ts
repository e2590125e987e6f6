import { hasNode } from './host.ts';

export type HashName = 'sha256' | 'sha1';

/** A hash that takes its input piece by piece. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** The digest, in lower case. Call it once. */
  hex(): string;
}

/** The host's own hash where it has one that streams; Web Crypto takes only whole inputs. */
export async function createHasher(name: HashName): Promise<Hasher> {
  const module = hasNode() ? await import('./hash-node.ts') : await import('./hash-noble.ts');
  return module.hasher(name);
}

export async function sha256(text: string): Promise<string> {
  const hasher = await createHasher('sha256');
  hasher.update(new TextEncoder().encode(text));
  return hasher.hex();
}
