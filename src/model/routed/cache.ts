import type { ModelConfig } from '../../checkpoint/types.ts';
import type { Device, Tensor } from '../../device/device.ts';
import { EspalierError } from '../../errors.ts';
import { KvCache, type KvPiece } from '../kv-cache.ts';
import type { ModelRopes } from '../model-ropes.ts';

/**
 * The cache of a sequence of a model whose experts are chosen by the model without them: beside its own keys and values those of the
 * unadapted model, and by row what choosing needs.
 */
export class RoutedCache extends KvCache {
  /** Of the unadapted model; as long as this one between passes. */
  readonly base: KvCache;
  /** Entropy of the unadapted model by row; of rows in use, but for those of which only the device knows it. */
  readonly entropies: number[] = [];
  readonly #device: Device;
  readonly #width: number;
  readonly #keepsMeans: boolean;
  /** [capacity, hidden]: the mean of its normalised last hidden states up to each row, for gates that read it. */
  #means: Tensor | null = null;

  constructor(
    device: Device,
    config: ModelConfig,
    ropes: ModelRopes,
    base: KvCache,
    capacity: number,
    mostRows: number | undefined,
    keepsMeans: boolean,
  ) {
    super(device, config, ropes, 0, mostRows);
    this.base = base;
    this.#keepsMeans = keepsMeans;
    this.#device = device;
    this.#width = config.hiddenSize;
    if (capacity > 0) this.reserve(capacity);
  }

  override get byteLength(): number {
    return super.byteLength + this.base.byteLength + (this.#means?.byteLength ?? 0);
  }

  /** Rows `first` .. of the means, where they are kept. */
  means(first: number, count: number): Tensor {
    return this.#device.rows(this.#means!, first, count);
  }

  override reserve(capacity: number): void {
    super.reserve(capacity);
    this.base.reserve(capacity);
    const rows = Math.min(this.capacity, this.base.capacity);
    if (!this.#keepsMeans || (this.#means && this.#means.shape[0]! >= capacity)) return;
    const grown = this.#device.tensor('f32', [rows, this.#width]);
    if (this.#means && this.length > 0) this.#device.copyRows(this.means(0, this.length), grown, 0);
    this.#means?.dispose();
    this.#means = grown;
  }

  override advanceAhead(): void {
    super.advanceAhead();
    this.base.advanceAhead();
  }

  override truncate(length: number): void {
    super.truncate(length);
    this.base.truncate(length);
    this.entropies.length = Math.min(length, this.entropies.length);
  }

  override copyFrom(other: KvCache, count: number): void {
    if (!(other instanceof RoutedCache)) throw unsupported('Rows of a cache without experts cannot be copied here.');
    const before = this.length;
    super.copyFrom(other, count);
    if (count === 0) return;
    this.base.copyFrom(other.base, count);
    if (this.#means) this.#device.copyRows(other.means(0, count), this.#means, before);
    this.entropies.push(...other.entropies.slice(0, count));
  }

  override extract(): KvPiece {
    throw unsupported('Keys and values of a model with chosen experts cannot be taken out.');
  }
  override place(): void {
    throw unsupported('Keys and values cannot be placed in a model with chosen experts.');
  }
  override placeStored(): void {
    throw unsupported('Keys and values cannot be placed in a model with chosen experts.');
  }
  override shift(): void {
    throw unsupported('Rows of a model with chosen experts cannot be moved.');
  }

  override dispose(): void {
    super.dispose();
    this.base.dispose();
    this.#means?.dispose();
    this.#means = null;
  }
}

/** What a choice by position rules out: who came before decides which experts act. */
export function unsupported(what: string): EspalierError {
  return new EspalierError(
    'E_ADAPTER',
    what,
    'Write it as folders of PEFT (`espalier export`, exportAdapter) and use static/, which acts alike everywhere, or the model without it.',
  );
}
