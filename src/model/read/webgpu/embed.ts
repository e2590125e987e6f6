/** Vectors of several texts on a device that computes while it is told what: short ones share passes. */
import type { Tensor } from '../../../device/device.ts';
import type { Decoder } from '../../decoder.ts';
import { checkComputed } from '../../finite.ts';
import type { EmbedOptions } from '../../options.ts';
import { passingOf, readTogether } from '../together.ts';

export type Pool = NonNullable<EmbedOptions['pool']>;

/**
 * Of the normalised states of the last layer; as `embedTokens`, within rounding.
 * @param one embeds a text that goes alone
 */
export async function embedTogether(
  decoder: Decoder,
  texts: readonly (readonly number[])[],
  pool: Pool,
  { signal, onProgress }: Pick<EmbedOptions, 'signal' | 'onProgress'>,
  one: (ids: readonly number[], onProgress: (done: number) => void) => Promise<Float32Array>,
): Promise<Float32Array[]> {
  const { hiddenSize: width } = decoder.config;
  const lengths = texts.map(({ length }) => length);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const vectors: Float32Array[] = [];
  let before = 0;
  for (const { first, end } of passingOf(decoder, lengths)) {
    const some = texts.slice(first, end);
    const tokens = some.reduce((sum, { length }) => sum + length, 0);
    const told = (done: number) => onProgress?.(before + done, total);
    if (some.length === 1) vectors.push(await one(some[0]!, told));
    else {
      let states = new Float32Array(0);
      const take = async (hidden: Tensor): Promise<void> => {
        states = (await decoder.device.read(hidden)) as Float32Array<ArrayBuffer>;
      };
      await readTogether(decoder, some, take, { signal, output: pool === 'last' ? 'last' : 'all' });
      checkComputed(states, 'hidden states');
      let at = 0;
      for (const { length } of some) {
        const rows = pool === 'last' ? 1 : length;
        vectors.push(pooled(states.subarray(at * width, (at + rows) * width), width, pool));
        at += rows;
      }
      told(tokens);
    }
    before += tokens;
  }
  return vectors;
}

function pooled(states: Float32Array, width: number, pool: Pool): Float32Array {
  switch (pool) {
    case 'none':
    case 'last':
      return states.slice();
    case 'mean': {
      const sums = new Float64Array(width);
      for (let i = 0; i < states.length; i++) sums[i % width]! += states[i]!;
      return Float32Array.from(sums, (sum) => (sum * width) / states.length);
    }
    default:
      return pool satisfies never;
  }
}
