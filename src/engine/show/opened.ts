import { optionsOf } from '../../options/check.ts';
import { prefixOf } from '../../show/answer/prefix.ts';
import type { Shot } from '../../show/types.ts';
import type { Model } from '../model/model.ts';
import type { PoolOptions, ShowOptions } from './options.ts';
import { ShotPool } from './pool.ts';
import { Show } from './show.ts';

/** How queries are answered, and of the pool that is built for them: where it is kept, what hears of its work. */
export interface OpenShowOptions extends ShowOptions {
  /** Default: in memory, encoded as the preset has it. */
  readonly pool?: PoolOptions;
}

/** A pool of the shots and a `Show` over it, which closes the model with itself; the model is closed where that fails. */
export async function showOn(model: Model, shots: readonly Shot[], options: OpenShowOptions): Promise<Show> {
  try {
    const { pool, ...given } = optionsOf(options, 'show') as unknown as OpenShowOptions;
    const built = await ShotPool.build(model, shots, { prefix: prefixOf(given.preset), ...pool });
    return Show.owning(model, await Show.create(built, given));
  } catch (error) {
    await model.close();
    throw error;
  }
}
