import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, StoredRows, Tensor } from '../device/device.ts';
import { EspalierError } from '../errors.ts';
import type { ModelRopes } from './model-ropes.ts';

/**
 * Keys and values of a stretch of text, by layer, [T, nKvHeads · headDim] f32. Keys stand as they were BEFORE RoPE and without
 * its attention factor, so a piece can be placed at any position, any number of times, without loss.
 */
export class KvPiece {
  readonly length: number;
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];

  constructor(length: number, keys: readonly Tensor[], values: readonly Tensor[]) {
    this.length = length;
    this.keys = keys;
    this.values = values;
  }

  dispose(): void {
    for (const tensor of [...this.keys, ...this.values]) tensor.dispose();
  }
}

/**
 * One side of a cache, keys or values, of all layers in one tensor [layers · capacity, width] f32: row r of layer l is row
 * l · capacity + r, and a layer is a view.
 */
class Side {
  readonly #name: 'keys' | 'values';
  /** Rows that each layer has room for. */
  capacity = 0;
  tensor: Tensor | null = null;
  /** By layer, [capacity, width]: made once for each size, since every token asks for all of them. */
  layers: readonly Tensor[] = [];

  constructor(name: 'keys' | 'values') {
    this.#name = name;
  }

  /**
   * Makes room and keeps the first `used` rows of each layer. Both tensors exist while they are copied.
   * @param more caches that will ask for room, too
   * @throws E_OUT_OF_MEMORY
   */
  grow(device: Device, layers: number, width: number, capacity: number, used: number, more: number): void {
    // what holds nothing need not stand beside its successor
    if (used === 0) this.dispose();
    const tensor = device.tensor('f32', [layers * capacity, width], { name: this.#name, more });
    const views = Array.from({ length: layers }, (_, layer) => device.rows(tensor, layer * capacity, capacity));
    if (used > 0) for (const [i, to] of views.entries()) device.copyRows(device.rows(this.layers[i]!, 0, used), to, 0);
    this.tensor?.dispose();
    this.tensor = tensor;
    this.layers = views;
    this.capacity = capacity;
  }

  dispose(): void {
    this.tensor?.dispose();
    this.tensor = null;
    this.layers = [];
    this.capacity = 0;
  }
}

/** A cache that holds anything has room for so many. */
export const LEAST_ROWS = 64;

/** Caches of a model that have no room yet: what is said of them lets a device put them beside each other. */
const roomless = new WeakMap<ModelRopes, Set<KvCache>>();

/**
 * The working cache of one running sequence: rotated keys and values by layer, [capacity, nKvHeads · headDim] f32. Row i is the
 * i-th token of the sequence; the position its key was rotated to is `positions[i]`, usually i.
 */
export class KvCache {
  readonly #device: Device;
  readonly #config: ModelConfig;
  readonly #ropes: ModelRopes;
  readonly #keys = new Side('keys');
  readonly #values = new Side('values');
  #disposed = false;
  /** RoPE position of each row. */
  #positions: number[] = [];

  readonly #mostRows: number;

  /** @param mostRows more than the model has positions where branches beside each other share them */
  constructor(
    device: Device,
    config: ModelConfig,
    ropes: ModelRopes,
    capacity = 0,
    mostRows: number = config.maxPositions,
  ) {
    this.#mostRows = mostRows;
    this.#device = device;
    this.#config = config;
    this.#ropes = ropes;
    const siblings = roomless.get(ropes) ?? new Set();
    roomless.set(ropes, siblings.add(this));
    if (capacity > 0) this.reserve(capacity);
  }

  /** Rows in use. */
  get length(): number {
    return this.#positions.length;
  }
  get capacity(): number {
    return Math.min(this.#keys.capacity, this.#values.capacity);
  }
  get positions(): readonly number[] {
    return this.#positions;
  }
  /** Bytes on the device. */
  get byteLength(): number {
    return (this.#keys.tensor?.byteLength ?? 0) + (this.#values.tensor?.byteLength ?? 0);
  }

  keys(layer: number): Tensor {
    return this.#keys.layers[layer]!;
  }
  values(layer: number): Tensor {
    return this.#values.layers[layer]!;
  }

  /** Makes room for `capacity` rows; keeps what is there. @throws E_OUT_OF_MEMORY, E_CONTEXT_LENGTH */
  reserve(capacity: number): void {
    this.#check();
    if (capacity <= this.capacity) return;
    if (capacity > this.#mostRows) {
      throw new EspalierError(
        'E_CONTEXT_LENGTH',
        `The text needs ${capacity} positions and the model has ${this.#mostRows}.`,
        'Shorten the text or ask for fewer tokens.',
      );
    }
    const grown = Math.min(this.#mostRows, Math.max(capacity, Math.ceil(this.capacity * 1.5), LEAST_ROWS));
    try {
      this.#grow(grown);
    } catch (error) {
      if (grown === capacity || !(error instanceof EspalierError && error.code === 'E_OUT_OF_MEMORY')) throw error;
      this.#grow(capacity); // room for later is the first to go
    }
  }

  /** One side after the other, so that at most three of old and new stand beside each other, and the fourth when one is gone. */
  #grow(capacity: number): void {
    const { nLayers, nKvHeads, headDim } = this.#config;
    const siblings = roomless.get(this.#ropes)!;
    siblings.delete(this);
    for (const side of [this.#keys, this.#values]) {
      if (side.capacity >= capacity) continue;
      side.grow(this.#device, nLayers, nKvHeads * headDim, capacity, this.length, siblings.size);
    }
  }

  /** Records rows that the decoder has written behind the present ones. */
  advance(positions: readonly number[]): void {
    for (const position of positions) this.#positions.push(position);
  }

  /** Records the row that a pass ahead has written behind the present ones. */
  advanceAhead(): void {
    this.advance([(this.#positions.at(-1) ?? -1) + 1]);
  }

  /** Forgets all rows from `length` on. */
  truncate(length: number): void {
    this.#check();
    if (!Number.isInteger(length) || length < 0 || length > this.length) {
      throw new EspalierError(
        'E_ARGUMENT',
        `Cannot truncate a cache of ${this.length} rows to ${length}.`,
        'Give a length between 0 and the present one.',
      );
    }
    this.#positions.length = length;
  }

  /** Copies rows start .. end - 1 out as a piece whose keys stand before RoPE. The caller disposes it. */
  extract(start: number, end: number): KvPiece {
    this.#check();
    if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end > this.length || start >= end) {
      throw new EspalierError(
        'E_ARGUMENT',
        `Rows ${start} to ${end} do not lie in a cache of ${this.length}.`,
        'Give 0 <= start < end <= cache.length.',
      );
    }
    const device = this.#device;
    const rows = end - start;
    const mark = device.mark();
    const positions = this.#positionTensor(this.#positions.slice(start, end));
    const tables = this.#ropes.inverse(Math.max(...this.#positions.slice(start, end)) + 1);
    const copy = (t: Tensor) => {
      const to = device.tensor('f32', [rows, t.shape[1]!]);
      device.copyRows(device.rows(t, start, rows), to, 0);
      return to;
    };
    const keys = this.#keys.layers.map(copy);
    const values = this.#values.layers.map(copy);
    for (const [layer, table] of tables.entries()) {
      if (table) device.rope(keys[layer]!, table, positions, this.#layout());
    }
    device.reset(mark);
    return new KvPiece(rows, keys, values);
  }

  /** Appends a piece, its keys rotated to positions `position`, `position` + 1, … (default: following the last row). */
  place(piece: KvPiece, position: number = (this.#positions.at(-1) ?? -1) + 1): void {
    this.#check();
    if (!Number.isInteger(position) || position < 0 || position + piece.length > this.#config.maxPositions) {
      throw new EspalierError(
        'E_CONTEXT_LENGTH',
        `A piece of ${piece.length} at position ${position} leaves the ${this.#config.maxPositions} positions of the model.`,
        'Place it lower.',
      );
    }
    const base = this.length;
    this.reserve(base + piece.length);
    const device = this.#device;
    const list = Array.from({ length: piece.length }, (_, i) => position + i);
    const mark = device.mark();
    const positions = this.#positionTensor(list);
    const tables = this.#ropes.forward(position + piece.length);
    for (const [layer, keys] of piece.keys.entries()) {
      device.copyRows(keys, this.keys(layer), base);
      device.copyRows(piece.values[layer]!, this.values(layer), base);
      const table = tables[layer];
      if (table) device.rope(device.rows(this.keys(layer), base, piece.length), table, positions, this.#layout());
    }
    device.reset(mark);
    this.advance(list);
  }

  /**
   * Appends tokens at rest, keys before RoPE as in a piece, rotated to positions `position`, `position` + 1, …, and multiplied by
   * `keyFactor`.
   * @throws E_CONTEXT_LENGTH, E_OUT_OF_MEMORY
   */
  placeStored(keys: StoredRows, values: StoredRows, position: number, keyFactor = 1): void {
    this.#check();
    const { nLayers, maxPositions } = this.#config;
    const count = keys.data.shape[0]! / nLayers;
    if (!Number.isInteger(position) || position < 0 || position + count > maxPositions) {
      throw new EspalierError(
        'E_CONTEXT_LENGTH',
        `${count} tokens at position ${position} leave the ${maxPositions} positions of the model.`,
        'Use fewer of them.',
      );
    }
    const toRow = this.length;
    this.reserve(toRow + count);
    // a table is a row of cos and a row of sin for each position
    const views = new Map<Tensor, Tensor>();
    const view = (table: Tensor): Tensor => {
      const some = views.get(table) ?? this.#device.rows(table, 2 * position, 2 * count);
      views.set(table, some);
      return some;
    };
    const tables = this.#ropes.forward(position + count).map((table) => table && view(table));
    const common = { layers: nLayers, toRow, layout: this.#layout() };
    this.#device.placeRows({ ...common, from: keys, to: this.#keys.tensor!, factor: keyFactor, tables });
    this.#device.placeRows({ ...common, from: values, to: this.#values.tensor!, factor: 1, tables: null });
    this.advance(Array.from({ length: count }, (_, i) => position + i));
  }

  /** Appends the first `count` rows of another cache of the same model as they are. */
  copyFrom(other: KvCache, count: number): void {
    this.#check();
    if (!Number.isInteger(count) || count < 0 || count > other.length) {
      throw new EspalierError(
        'E_ARGUMENT',
        `There are no ${count} rows in a cache of ${other.length}.`,
        'Give a number from 0 to its length.',
      );
    }
    if (count === 0) return;
    const toRow = this.length;
    this.reserve(toRow + count);
    for (let layer = 0; layer < this.#config.nLayers; layer++) {
      this.#device.copyRows(this.#device.rows(other.keys(layer), 0, count), this.keys(layer), toRow);
      this.#device.copyRows(this.#device.rows(other.values(layer), 0, count), this.values(layer), toRow);
    }
    this.advance(other.positions.slice(0, count));
  }

  /** Moves rows start .. end - 1 by `delta` positions: one exact rotation in each layer that rotates, values untouched. */
  shift(start: number, end: number, delta: number): void {
    this.#check();
    const moved = this.#positions.slice(start, end).map((p) => p + delta);
    const whole = [start, end, delta].every(Number.isSafeInteger);
    const inside = start >= 0 && start <= end && end <= this.length;
    if (!whole || !inside || moved.some((p) => p < 0 || p >= this.#config.maxPositions)) {
      throw new EspalierError(
        'E_ARGUMENT',
        `Rows ${start} to ${end} cannot move by ${delta} positions.`,
        'Stay within the cache and within the positions of the model.',
      );
    }
    if (moved.length === 0 || delta === 0) return;
    const turn = this.#ropes.delta(delta);
    for (const [layer, table] of turn.tables.entries()) {
      if (table) this.#device.rope(this.#device.rows(this.keys(layer), start, end - start), table, 0, this.#layout());
    }
    turn.dispose();
    this.#positions.splice(start, moved.length, ...moved);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    roomless.get(this.#ropes)!.delete(this);
    this.#keys.dispose();
    this.#values.dispose();
  }

  #layout() {
    const { nKvHeads, headDim, rope } = this.#config;
    return { heads: nKvHeads, headDim, rotaryDims: rope.rotaryDims, layout: rope.layout };
  }

  #positionTensor(positions: readonly number[]): Tensor {
    const tensor = this.#device.scratch('i32', [positions.length]);
    this.#device.write(tensor, Int32Array.from(positions));
    return tensor;
  }

  #check(): void {
    if (this.#disposed) throw new EspalierError('E_DISPOSED', 'The cache was disposed.', 'Make a new one.');
  }
}
