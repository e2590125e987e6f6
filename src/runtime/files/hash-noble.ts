import { sha1 } from '@noble/hashes/legacy.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import type { Hasher, HashName } from './hasher.ts';

export async function hasher(name: HashName): Promise<Hasher> {
  const hash = name === 'sha256' ? sha256.create() : sha1.create();
  return { update: (bytes) => void hash.update(bytes), hex: () => bytesToHex(hash.digest()) };
}
