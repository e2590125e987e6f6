import { type ErrorCode, EspalierError } from '../../errors.ts';
import type { LocalModel } from '../../model/model.ts';
import { featureCount } from '../rank/ridge/features.ts';
import type { PrefixMode, ShotStore, StorageType } from '../types.ts';
import type { Encoded } from './encode.ts';
import { shotIdentity } from './identity.ts';
import { modeFacts } from './prefix-mode.ts';
import { bytesOf, entryBytes, shotOf } from './stored.ts';
import type { PoolUnit } from './units.ts';

/** Entries in a row that could not be written, after which no more are tried. */
const PATIENCE = 3;

/** What the place for files says is meant for models. */
const HINTS: Readonly<Partial<Record<ErrorCode, string>>> = {
  E_STORAGE_FULL: 'Free space there, or give another place.',
  E_FILE_WRITE: 'Check permissions there, or give another place.',
};

/** Encoded units of one pool between runs: into a store and out of it, by their identity. A store that fails is as good as none. */
export class Keeper {
  /** The first failure of the store; null: it does what it should. */
  warning: EspalierError | null = null;
  #unwritten = 0;
  readonly #warn: ((warning: EspalierError) => void) | undefined;
  readonly #model: LocalModel;
  readonly #store: ShotStore;
  readonly #prefix: PrefixMode;
  readonly #prefixIds: readonly number[];
  readonly #storage: StorageType;

  constructor(
    model: LocalModel,
    store: ShotStore,
    pool: { readonly prefix: PrefixMode; readonly prefixIds: readonly number[]; readonly storage: StorageType },
    warn: ((warning: EspalierError) => void) | undefined,
  ) {
    this.#warn = warn;
    this.#model = model;
    this.#store = store;
    this.#prefix = pool.prefix;
    this.#prefixIds = pool.prefixIds;
    this.#storage = pool.storage;
  }

  /** Null when it is not there, or not what it should be. @throws E_OUT_OF_MEMORY */
  async load(unit: PoolUnit): Promise<Encoded | null> {
    const { device, config } = this.#model;
    const keys = config.nLayers * config.nKvHeads * config.headDim;
    const each = keys + featureCount(config);
    const wanted = { length: unit.length, storage: this.#storage, pooled: each * unit.entries.length };
    const size = entryBytes(config, wanted.length, wanted.storage, wanted.pooled);
    const key = await this.#identity(unit);
    const bytes = await this.#read(key, size);
    // the model may have been closed meanwhile
    this.#model.checkOpen();
    if (bytes === null) return null;
    const found = shotOf(device, config, bytes, wanted);
    return (
      found && {
        shot: found.shot,
        pooled: unit.entries.map((_, i) => ({
          keys: found.pooled.slice(i * each, i * each + keys),
          features: found.pooled.slice(i * each + keys, (i + 1) * each),
        })),
      }
    );
  }

  /** A store may be anybody's: it fails before it returns a promise, or gives what is no bytes. */
  async #read(key: string, size: number): Promise<Uint8Array<ArrayBuffer> | null> {
    try {
      const bytes: unknown = await this.#store.read(key, size);
      return bytes instanceof Uint8Array ? (bytes as Uint8Array<ArrayBuffer>) : null;
    } catch (cause) {
      this.#failed('E_FILE_READ', 'read', cause);
      return null;
    }
  }

  async save(unit: PoolUnit, { shot, pooled }: Encoded): Promise<void> {
    if (this.#unwritten >= PATIENCE) return;
    const lists = pooled.flatMap(({ keys, features }) => [keys, features]);
    const all = new Float32Array(lists.reduce((sum, list) => sum + list.length, 0));
    let at = 0;
    for (const list of lists) {
      all.set(list, at);
      at += list.length;
    }
    const [key, bytes] = [await this.#identity(unit), await bytesOf(this.#model.device, shot, all)];
    try {
      await this.#store.write(key, bytes);
      this.#unwritten = 0;
    } catch (cause) {
      this.#unwritten++;
      this.#failed('E_FILE_WRITE', 'written', cause);
    }
  }

  /** Once is enough. */
  #failed(code: 'E_FILE_READ' | 'E_FILE_WRITE', done: string, cause: unknown): void {
    if (this.warning) return;
    const known = cause instanceof EspalierError ? cause : null;
    const hint = HINTS[known?.code ?? code] ?? known?.hint ?? '';
    this.warning = new EspalierError(
      known?.code ?? code,
      `The store ${this.#store.name} cannot be ${done}: ${known?.message ?? String(cause)}`,
      `Examples are encoded again in the next run. ${hint}`.trim(),
      { cause },
    );
    this.#warn?.(this.warning);
  }

  async #identity(unit: PoolUnit): Promise<string> {
    const model = this.#model;
    const bare = !modeFacts(this.#prefix).seesPrefix;
    return shotIdentity({
      weights: model.identity,
      tokenizer: await model.tokenizerIdentity(),
      precision: model.decoder.precision,
      rope: model.config.rope,
      prefix: bare ? [] : this.#prefixIds,
      shots: unit.entries.map(({ ids }) => ids),
      prompts: unit.entries.map(({ prompt }) => prompt),
      mode: bare ? 'bare' : unit.entries.length > 1 ? 'block' : 'prefixed',
      storage: this.#storage,
    });
  }
}
