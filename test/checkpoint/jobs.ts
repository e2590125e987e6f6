/** Checkpoints to write: what they hold depends on a number alone. Needs nothing of node:. */
import { tensorBytes } from '../../src/checkpoint/write/shards.ts';
import type { OutputGroup, OutputTensor, TensorSpec } from '../../src/checkpoint/write/write-checkpoint.ts';
import { createHasher } from '../../src/runtime/files/hash.ts';
import { readWhole } from '../../src/runtime/files/model-files.ts';
import type { OutputFolder } from '../../src/runtime/output/output.ts';

/** Numbers from 0 to 2^32 - 1 (xorshift). */
export function numbers(seed: number): () => number {
  let state = (Math.imul(seed, 2654435761) ^ 0x5bd1e995) >>> 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>>= 0);
  };
  for (let i = 0; i < 8; i++) next(); // neighbours begin alike
  return next;
}

export function content(seed: number, length: number): Uint8Array {
  const next = numbers(seed);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = next() >>> 7;
  return bytes;
}

/** In pieces of uneven length. The array of a piece is overwritten when the next one is asked for. */
export async function* pieces(bytes: Uint8Array, seed: number): AsyncGenerator<Uint8Array> {
  const next = numbers(seed);
  for (let at = 0; at < bytes.byteLength; ) {
    const piece = bytes.slice(at, at + (next() % 3000));
    at += piece.byteLength;
    yield piece;
    piece.fill(0xee);
  }
}

export interface Job {
  readonly groups: readonly OutputGroup[];
  /** What was called of the groups. */
  readonly calls: string[];
}

const TYPES = ['bf16', 'f32', 'f16'] as const;

/** Tensors of a group: up to 6, of all types, some empty or a single number, at most some 10 kB each; every fifth group has none. */
export function specs(seed: number, group: number): TensorSpec[] {
  const next = numbers(seed * 1000 + group);
  return Array.from({ length: group % 5 === 3 ? 0 : 1 + (next() % 6) }, (_, i) => {
    const shapes = [[20 + (next() % 40), 30 + (next() % 40)], [], [next() % 700], [3, next() % 4, next() % 50]];
    const shape = shapes[i === 0 ? 0 : next() % 4]!;
    return { name: `layers.${group}.part "${i}"`, type: TYPES[next() % 3]!, shape };
  });
}

/** @param each called before each piece */
export function job(seed: number, count: number, each: (group: number) => void | Promise<void> = () => {}): Job {
  const calls: string[] = [];
  const groups = Array.from({ length: count }, (_, g): OutputGroup => {
    const tensors = specs(seed, g).map((spec, i): OutputTensor => {
      const key = seed * 100_000 + g * 100 + i;
      return {
        ...spec,
        bytes: async function* () {
          for await (const piece of pieces(content(key, tensorBytes(spec)), key)) {
            await each(g);
            yield piece;
          }
        },
      };
    });
    return {
      name: `group ${g}`,
      tensors,
      begin: async () => void calls.push(`begin ${g}`),
      end: async () => {
        calls.push(`end ${g}`);
        return g % 4 === 1 ? undefined : { group: g, text: 'ä\n', value: g / 3, infinite: g === 2 ? 1 / 0 : 1 };
      },
      dispose: () => void calls.push(`dispose ${g}`),
    };
  });
  return { groups, calls };
}

/** Of every file that the folder has now, by name. */
export async function sums(out: Pick<OutputFolder, 'files'>): Promise<Record<string, string>> {
  const files = await out.files();
  const found: Record<string, string> = {};
  for (const name of [...files.names].sort()) {
    const source = await files.open(name);
    const hasher = await createHasher('sha256');
    hasher.update(await readWhole(source, 1 << 30));
    found[name] = hasher.hex();
    await source.close();
  }
  return found;
}
