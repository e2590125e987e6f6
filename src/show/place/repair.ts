import type { Decoder } from '../../model/decoder.ts';
import type { KvCache } from '../../model/kv-cache.ts';
import { MOST_ROWS } from '../pool/encode.ts';

/** The first tokens of a shot that stands in a cache from `row` on. */
export interface Head {
  readonly ids: readonly number[];
  readonly row: number;
}

/**
 * Computes the first tokens of shots again, where they stand: each sees all rows before it, other repaired ones as they come out in the same
 * layer (LegoLink of EPIC, arXiv 2410.15332). Rows and positions must rise together. `factor` multiplies the new keys, as it
 * did the old; they see each other before.
 * @returns how many tokens
 * @throws E_OUT_OF_MEMORY, E_ABORTED; the rows are of no use then
 */
export async function repairRows(
  decoder: Decoder,
  cache: KvCache,
  heads: readonly Head[],
  factor: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { device, config } = decoder;
  const tokens = heads.flatMap(({ ids, row }) => ids.map((id, i) => ({ id, row: row + i })));
  for (let first = 0; first < tokens.length; first += MOST_ROWS) {
    const some = tokens.slice(first, first + MOST_ROWS);
    await decoder.forward(
      some.map(({ id }) => id),
      cache,
      {
        signal,
        output: 'last',
        rows: some.map(({ row }) => row),
        positions: some.map(({ row }) => cache.positions[row]!),
        mask: Int32Array.from(some.flatMap(({ row }) => [0, 0, 0, 0, 0, row])),
      },
    );
  }
  if (factor !== 1) {
    for (let layer = 0; layer < config.nLayers; layer++) {
      for (const { ids, row } of heads) device.scale(device.rows(cache.keys(layer), row, ids.length), factor);
    }
  }
  return tokens.length;
}
