import type { Tensor } from '../device/device.ts';
import { exclusive } from '../device/exclusive.ts';
import { EspalierError } from '../errors.ts';
import type { Decoder } from './decoder.ts';
import { checkComputed } from './finite.ts';
import type { EmbedOptions } from './options.ts';
import { loadEmbedding } from './read/webgpu/load.ts';

/**
 * One vector for each list of ids (or all its vectors, see `pool`), f32, from one forward pass each; on a GPU short texts share passes.
 * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY, E_TENSOR_VALUE for states that are not finite
 */
export async function embedTokens(
  decoder: Decoder,
  texts: readonly (readonly number[])[],
  options: EmbedOptions = {},
): Promise<Float32Array[]> {
  const { pool = 'mean', layer = null } = options;
  const { nLayers } = decoder.config;
  if (layer !== null && layer > nLayers) {
    throw new EspalierError('E_ARGUMENT', `layer is ${layer}.`, `Give an integer from 0 to ${nLayers}.`);
  }
  if (texts.some((ids) => ids.length === 0)) {
    throw new EspalierError('E_ARGUMENT', 'A text to embed has no tokens.', 'Leave empty texts out.');
  }
  const vectors =
    decoder.device.asynchronous && layer === null
      ? await (await loadEmbedding()).embedTogether(decoder, texts, pool, options, (ids, told) =>
          embedOne(decoder, ids, pool, layer, options.signal, told),
        )
      : await embedEach(decoder, texts, pool, layer, options);
  if (options.normalise) for (const vector of vectors) normalise(vector, decoder.config.hiddenSize);
  return vectors;
}

async function embedEach(
  decoder: Decoder,
  texts: readonly (readonly number[])[],
  pool: NonNullable<EmbedOptions['pool']>,
  layer: number | null,
  options: EmbedOptions,
): Promise<Float32Array[]> {
  const total = texts.reduce((sum, ids) => sum + ids.length, 0);
  let before = 0;
  const vectors: Float32Array[] = [];
  for (const ids of texts) {
    const onProgress = options.onProgress && ((done: number) => options.onProgress?.(before + done, total));
    vectors.push(await embedOne(decoder, ids, pool, layer, options.signal, onProgress));
    before += ids.length;
  }
  return vectors;
}

function embedOne(
  decoder: Decoder,
  ids: readonly number[],
  pool: NonNullable<EmbedOptions['pool']>,
  layer: number | null,
  signal: AbortSignal | undefined,
  onProgress: ((done: number) => void) | undefined,
): Promise<Float32Array> {
  const { device } = decoder;
  const { hiddenSize } = decoder.config;
  return exclusive(device, async () => {
    const cache = decoder.cache();
    const all = pool === 'none' ? new Float32Array(ids.length * hiddenSize) : null;
    // in double precision, so that a long text loses nothing
    const sums = new Float64Array(pool === 'mean' ? hiddenSize : 0);
    let last = new Float32Array(0);
    const take = async (hidden: Tensor, firstRow: number) => {
      const rows = hidden.shape[0]!;
      if (pool === 'last') {
        if (firstRow + rows < ids.length) return;
        last = (await device.read(device.rows(hidden, rows - 1, 1))) as Float32Array<ArrayBuffer>;
        return;
      }
      const values = (await device.read(hidden)) as Float32Array;
      if (all) all.set(values, firstRow * hiddenSize);
      else for (let i = 0; i < values.length; i++) sums[i % hiddenSize]! += values[i]!;
    };
    try {
      await decoder.forward(ids, cache, {
        signal,
        onProgress,
        ...(layer !== null
          ? { onHidden: (index, hidden, firstRow) => (index === layer ? take(hidden, firstRow) : undefined) }
          : { output: pool === 'last' ? 'last' : 'all', onChunk: take }),
      });
    } finally {
      cache.dispose();
    }
    const vector = pool === 'mean' ? Float32Array.from(sums, (sum) => sum / ids.length) : (all ?? last);
    checkComputed(vector, 'hidden states');
    return vector;
  });
}

/** Rows of `width` to length 1; a row of zeros stays. */
function normalise(vector: Float32Array, width: number): void {
  for (let at = 0; at < vector.length; at += width) {
    const row = vector.subarray(at, at + width);
    const length = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    if (length > 0) for (let i = 0; i < width; i++) row[i]! /= length;
  }
}
