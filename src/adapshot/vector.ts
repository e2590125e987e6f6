import type { Decoder } from '../model/decoder.ts';
import type { KvCache } from '../model/kv-cache.ts';

/**
 * Mean queries before RoPE (after QK-norm) over the tokens, summed over the heads that share a KV head:
 * [layers · nKvHeads · headDim]. The tokens run behind what the cache holds, which holds the same afterwards.
 * @throws E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED
 */
export async function queryVector(
  decoder: Decoder,
  cache: KvCache,
  ids: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const { device, config } = decoder;
  const { nLayers, nHeads, nKvHeads, headDim } = config;
  const before = cache.length;
  const means = device.tensor('f32', [nLayers, nHeads * headDim]);
  try {
    await decoder.forward(ids, cache, {
      signal,
      onQueries: (layer, queries) => {
        const count = queries.shape[0]!;
        const mark = device.mark();
        const share = device.scratch('f32', [1, count]);
        device.write(share, new Float32Array(count).fill(1 / ids.length));
        device.matmul(share, queries, device.rows(means, layer, 1), { accumulate: true });
        device.reset(mark);
      },
    });
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
