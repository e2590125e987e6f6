import type { Decoder } from '../../model/decoder.ts';
import type { KvCache } from '../../model/kv-cache.ts';
import { MOST_ROWS } from '../pool/encode.ts';

/**
 * Mean over texts of their mean query before RoPE (after QK-norm), summed over the heads that share a KV head: [layers · nKvHeads · headDim].
 * Each text runs behind what the cache holds and sees no other; the cache holds the same afterwards.
 * @throws E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED
 */
export async function meanQuery(
  decoder: Decoder,
  cache: KvCache,
  texts: readonly (readonly number[])[],
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const { device, config } = decoder;
  const { nLayers, nHeads, nKvHeads, headDim } = config;
  const before = cache.length;
  const rows: { readonly id: number; readonly at: number; readonly start: number; readonly weight: number }[] = [];
  for (const ids of texts) {
    const start = before + rows.length;
    const weight = 1 / (ids.length * texts.length);
    for (const [at, id] of ids.entries()) rows.push({ id, at, start, weight });
  }
  const means = device.tensor('f32', [nLayers, nHeads * headDim]);
  try {
    for (let first = 0; first < rows.length; first += MOST_ROWS) {
      const some = rows.slice(first, first + MOST_ROWS);
      await decoder.forward(
        some.map(({ id }) => id),
        cache,
        {
          signal,
          positions: some.map(({ at }) => before + at),
          mask: Int32Array.from(some.flatMap(({ start }) => [0, before, start])),
          onQueries: (layer, queries) => {
            const mark = device.mark();
            const share = device.scratch('f32', [1, some.length]);
            device.write(
              share,
              Float32Array.from(some, ({ weight }) => weight),
            );
            device.matmul(share, queries, device.rows(means, layer, 1), { accumulate: true });
            device.reset(mark);
          },
        },
      );
    }
    const all = (await device.read(means)) as Float32Array;
    const group = nHeads / nKvHeads;
    const vector = new Float32Array(nLayers * nKvHeads * headDim);
    for (let layer = 0; layer < nLayers; layer++) {
      for (let head = 0; head < nHeads; head++) {
        const from = (layer * nHeads + head) * headDim;
        const to = (layer * nKvHeads + Math.floor(head / group)) * headDim;
        for (let i = 0; i < headDim; i++) vector[to + i]! += all[from + i]!;
      }
    }
    return vector;
  } finally {
    means.dispose();
    cache.truncate(before);
  }
}
