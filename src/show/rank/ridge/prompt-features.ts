import type { Decoder } from '../../../model/decoder.ts';
import type { KvCache } from '../../../model/kv-cache.ts';
import { featureLayers, KINDS, kindWeights } from './features.ts';

/** Rows that go through the layers together. */
const MOST_ROWS = 512;

/**
 * Features of a query, as `encodeUnits` has them of the prompts of shots: its tokens see the first `seen` rows of the cache, which holds the same
 * afterwards, and each other.
 * @throws E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED
 */
export async function promptFeatures(
  decoder: Decoder,
  cache: KvCache,
  ids: readonly number[],
  seen: number,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const { device, config } = decoder;
  const { nLayers, nKvHeads, headDim } = config;
  const looked = featureLayers(nLayers);
  const before = cache.length;
  const features = device.tensor('f32', [looked.length * KINDS, nKvHeads * headDim]);
  try {
    for (let first = 0; first < ids.length; first += MOST_ROWS) {
      const some = ids.slice(first, first + MOST_ROWS);
      await decoder.forward(some, cache, {
        signal,
        output: 'last',
        positions: some.map((_, i) => seen + first + i),
        mask: Int32Array.from(some.flatMap(() => [0, seen, before])),
        onKeys: (layer, keys) => {
          const place = looked.indexOf(layer);
          if (place < 0) return;
          const mark = device.mark();
          const weights = device.scratch('f32', [KINDS, some.length]);
          const each = some.map((_, i) => kindWeights(first + i, ids.length));
          device.write(
            weights,
            Float32Array.from({ length: KINDS * some.length }, (_, i) => {
              return each[i % some.length]![Math.floor(i / some.length) as 0 | 1];
            }),
          );
          device.matmul(weights, keys, device.rows(features, place * KINDS, KINDS), { accumulate: true });
          device.reset(mark);
        },
      });
    }
    return (await device.read(features)) as Float32Array;
  } finally {
    features.dispose();
    cache.truncate(before);
  }
}
