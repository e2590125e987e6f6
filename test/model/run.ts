import type { Device } from '../../src/device/device.ts';
import type { Decoder } from '../../src/model/decoder.ts';

/** Everything a forward pass gives: logits [T, vocab] and the residual stream after each layer (0: the embedding). */
export async function runAll(decoder: Decoder, ids: readonly number[]) {
  const { device } = decoder;
  const { hiddenSize, vocabSize, nLayers } = decoder.config;
  const logits = new Float32Array(ids.length * vocabSize);
  const hidden = Array.from({ length: nLayers + 1 }, () => new Float32Array(ids.length * hiddenSize));
  const normed = new Float32Array(ids.length * hiddenSize);
  const cache = decoder.cache();
  await decoder.forward(ids, cache, {
    onHidden: async (layer, t, first) => hidden[layer]!.set((await device.read(t)) as Float32Array, first * hiddenSize),
    onChunk: async (t, first) => {
      normed.set((await device.read(t)) as Float32Array, first * hiddenSize);
      const mark = device.mark();
      logits.set((await device.read(decoder.logits(t))) as Float32Array, first * vocabSize);
      device.reset(mark);
    },
  });
  cache.dispose();
  return { logits, hidden, normed };
}

/** Relative L2 distance. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`lengths differ: ${a.length}, ${b.length}`);
  let error = 0;
  let size = 0;
  for (let i = 0; i < a.length; i++) {
    error += (a[i]! - b[i]!) ** 2;
    size += b[i]! ** 2;
  }
  return Math.sqrt(error / size);
}

export type { Device };
