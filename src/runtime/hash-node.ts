import type { Hasher, HashName } from './hash.ts';

export async function hasher(name: HashName): Promise<Hasher> {
  const { createHash } = await import('node:crypto');
  const hash = createHash(name);
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
}
