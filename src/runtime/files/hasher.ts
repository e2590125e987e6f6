/** A hash, whoever computes it. */
export type HashName = 'sha256' | 'sha1';

/** A hash that takes its input piece by piece. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** The digest, in lower case. Call it once. */
  hex(): string;
}
