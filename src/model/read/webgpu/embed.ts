/** Vectors of several texts on a device that computes while it is told what: short ones share passes. */
import type { Tensor } from '../../../device/device.ts';
import type { Decoder } from '../../decoder.ts';
import { checkComputed } from '../../finite.ts';
import type { KvCache } from '../../kv-cache.ts';
import type { EmbedOptions } from '../../options.ts';
import { passingOf, readTogether } from '../together.ts';

export type Pool = NonNullable<EmbedOptions['pool']>;

/** Of the normalised states of the last layer; as `embedTokens`, within rounding. @param onProgress is told of tokens */
export async function embedTogether(
  decoder: Decoder,
  texts: readonly (readonly number[])[],
  pool: Pool,
  { signal, onProgress }: Pick<EmbedOptions, 'signal' | 'onProgress'>,
): Promise<Float32Array[]> {
  const { hiddenSize: width } = decoder.config;
  const lengths = texts.map(({ length }) => length);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const caches: KvCache[] = [];
  const vectors: Float32Array[] = [];
  let before = 0;
  try {
    for (const { first, end } of passingOf(decoder, lengths)) {
      const some = texts.slice(first, end);
      const rows = some.reduce((sum, { length }) => sum + length, 0);
      const states = new Float32Array(rows * width);
      const take = async (hidden: Tensor, row: number): Promise<void> => {
        states.set((await decoder.device.read(hidden)) as Float32Array, row * width);
      };
      const told = (done: number) => onProgress?.(before + done, total);
      await readTogether(decoder, some, caches, take, { signal, onProgress: told });
      checkComputed(states, 'hidden states');
      let at = 0;
      for (const { length } of some) {
        vectors.push(pooled(states.subarray(at * width, (at + length) * width), width, pool));
        at += length;
      }
      before += rows;
    }
  } finally {
    for (const cache of caches) cache.dispose();
  }
  return vectors;
}

function pooled(states: Float32Array, width: number, pool: Pool): Float32Array {
  switch (pool) {
    case 'none':
      return states.slice();
    case 'last':
      return states.slice(-width);
    case 'mean': {
      const sums = new Float64Array(width);
      for (let i = 0; i < states.length; i++) sums[i % width]! += states[i]!;
      return Float32Array.from(sums, (sum) => (sum * width) / states.length);
    }
    default:
      return pool satisfies never;
  }
}
