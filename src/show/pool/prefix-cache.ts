import { exclusive } from '../../device/exclusive.ts';
import { EspalierError } from '../../errors.ts';
import type { KvCache } from '../../model/kv-cache.ts';
import type { LocalModel } from '../../model/model.ts';
import { MOST_ROWS } from './encode.ts';

/** A cache with a pool's prefix, made when it is first needed; what is computed behind the prefix is forgotten. */
export class PrefixCache {
  readonly #model: LocalModel;
  readonly #ids: readonly number[];
  #cache: KvCache | null = null;
  #closed = false;

  constructor(model: LocalModel, ids: readonly number[]) {
    this.#model = model;
    this.#ids = ids;
  }

  /** Runs `work`, alone on the device, over a cache that holds the prefix. @throws E_DISPOSED, E_OUT_OF_MEMORY */
  run<T>(work: (cache: KvCache) => Promise<T>): Promise<T> {
    const { decoder, device, config } = this.#model;
    return exclusive(device, async () => {
      if (this.#closed) throw new EspalierError('E_DISPOSED', 'The pool is closed.', 'Build it again.');
      this.#model.checkOpen();
      if (!this.#cache) {
        // units beside each other may need more rows than there are positions
        const cache = decoder.cache(0, this.#ids.length + config.maxPositions + MOST_ROWS);
        try {
          if (this.#ids.length > 0) await decoder.forward(this.#ids, cache, { output: 'last' });
        } catch (error) {
          cache.dispose();
          throw error;
        }
        this.#cache = cache;
      }
      try {
        return await work(this.#cache);
      } finally {
        this.#cache?.truncate(this.#ids.length);
      }
    });
  }

  dispose(): void {
    this.#closed = true;
    this.#cache?.dispose();
    this.#cache = null;
  }
}
