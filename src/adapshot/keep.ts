import type { LocalModel } from '../model/model.ts';
import type { Encoded } from './encode.ts';
import { shotIdentity } from './identity.ts';
import { bytesOf, shotOf } from './stored.ts';
import type { PrefixMode, ShotStore, StorageType } from './types.ts';
import type { PoolUnit } from './units.ts';

/** Encoded units of one pool between runs: into a store and out of it, by their identity. */
export class Keeper {
  readonly #model: LocalModel;
  readonly #store: ShotStore;
  readonly #prefix: PrefixMode;
  readonly #prefixIds: readonly number[];
  readonly #storage: StorageType;

  constructor(
    model: LocalModel,
    store: ShotStore,
    pool: { readonly prefix: PrefixMode; readonly prefixIds: readonly number[]; readonly storage: StorageType },
  ) {
    this.#model = model;
    this.#store = store;
    this.#prefix = pool.prefix;
    this.#prefixIds = pool.prefixIds;
    this.#storage = pool.storage;
  }

  /** Null when it is not there, or not what it should be. @throws E_OUT_OF_MEMORY */
  async load(unit: PoolUnit): Promise<Encoded | null> {
    const { device, config } = this.#model;
    const bytes = await this.#store.read(await this.#identity(unit));
    // the model may have been closed meanwhile
    this.#model.checkOpen();
    if (bytes === null) return null;
    const each = config.nLayers * config.nKvHeads * config.headDim;
    const wanted = { length: unit.length, storage: this.#storage, pooled: each * unit.entries.length };
    const found = shotOf(device, config, bytes, wanted);
    return (
      found && {
        shot: found.shot,
        pooled: unit.entries.map((_, i) => found.pooled.slice(i * each, (i + 1) * each)),
      }
    );
  }

  /** @throws E_STORAGE_FULL, E_FILE_WRITE */
  async save(unit: PoolUnit, { shot, pooled }: Encoded): Promise<void> {
    const all = new Float32Array(pooled.reduce((sum, list) => sum + list.length, 0));
    for (const [k, list] of pooled.entries()) all.set(list, k * list.length);
    await this.#store.write(await this.#identity(unit), await bytesOf(this.#model.device, shot, all));
  }

  async #identity(unit: PoolUnit): Promise<string> {
    const model = this.#model;
    const bare = this.#prefix === 'bare';
    return shotIdentity({
      weights: model.identity,
      tokenizer: await model.tokenizerIdentity(),
      precision: model.decoder.precision,
      rope: model.config.rope,
      prefix: bare ? [] : this.#prefixIds,
      shots: unit.entries.map(({ ids }) => ids),
      mode: bare ? 'bare' : unit.entries.length > 1 ? 'block' : 'prefixed',
      storage: this.#storage,
    });
  }
}
