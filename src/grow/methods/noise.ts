import type { Tensor } from '../../device/device.ts';
import type { ExactDevice } from '../../device/exact-device.ts';
import { philox4x32 } from '../../random.ts';
import type { Projection } from '../types.ts';

/**
 * Random numbers of growing: by counter, so that what one expert gets does not depend on what was drawn before, on lanes or on the runtime.
 * A stream is two words: layer · 65536 + expert, and what the numbers are for. 0 and 1 belong to sampling and to sketches.
 */
export const PURPOSE = {
  gate: 16,
  up: 17,
  down: 18,
  router: 19,
  permutation: 20,
  /** Neurons that change: for all three matrices together, or 22 to 24 for each. */
  choice: 21,
  choiceGate: 22,
  choiceUp: 23,
  choiceDown: 24,
  /** Order of singular components, and of blocks; of the layer. */
  partitionGate: 25,
  partitionUp: 26,
  partitionDown: 27,
  shuffle: 28,
  basisGate: 29,
  basisUp: 30,
  basisDown: 31,
  /** Inputs that diversity is measured on. */
  probe: 32,
  /** Sets of neurons of `split`. */
  split: 33,
  /** Signs with which products of a GPU are probed. */
  probeOfGpu: 34,
} as const;

export type Stream = readonly [number, number];

/** Layers and experts up to 65535. */
export function streamOf(layer: number, expert: number, purpose: number): Stream {
  return [layer * 65536 + expert, purpose];
}

export function ofProjection(kind: 'choice' | 'partition' | 'basis', projection: Projection): number {
  const name = { gate: 'Gate', up: 'Up', down: 'Down' } as const;
  return PURPOSE[`${kind}${name[projection]}`];
}

/** Uniform numbers i, i + 1, … of a stream, 53 bits each, in [0, 1): two a counter. @param seed 0 to 2^53 - 1 */
export function uniforms(count: number, seed: number, [word0, word1]: Stream): Float64Array {
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32)] as const;
  const to = new Float64Array(count);
  for (let i = 0; i < count; i += 2) {
    const [a, b, c, d] = philox4x32([i >>> 1, 0, word0, word1], key);
    to[i] = ((a >>> 5) * 2 ** 26 + (b >>> 6)) / 2 ** 53;
    if (i + 1 < count) to[i + 1] = ((c >>> 5) * 2 ** 26 + (d >>> 6)) / 2 ** 53;
  }
  return to;
}

/** A random order of 0 .. n - 1 (Fisher and Yates), the same for a seed and a stream. */
export function permutation(n: number, seed: number, stream: Stream): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  const drawn = uniforms(n, seed, stream);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(drawn[i]! * (i + 1));
    const x = order[i]!;
    order[i] = order[j]!;
    order[j] = x;
  }
  return order;
}

/** Standard normal numbers first, first + 1, … of a stream, from the device's kernel. */
export async function normals(
  device: ExactDevice,
  count: number,
  seed: number,
  stream: Stream,
  first = 0,
): Promise<Float32Array> {
  const to: Tensor = device.tensor('f32', [count]);
  try {
    device.perturb({ to, from: null, std: 1, seed, stream, first });
    return (await device.read(to)) as Float32Array;
  } finally {
    to.dispose();
  }
}
