import type { Hasher, HashName } from './hasher.ts';

export async function hasher(name: HashName): Promise<Hasher> {
  return (await hashers())(name);
}

/** Makes hashers at once. */
export async function hashers(): Promise<(name: HashName) => Hasher> {
  const { createHash } = await import('node:crypto');
  return (name) => {
    const hash = createHash(name);
    return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
  };
}
