import {
  AT,
  denseShape,
  EMBEDDING,
  expertShapes,
  FEED_FORWARD_PARTS,
  type FeedForwardShape,
  FINAL_NORM,
  HEAD,
  isPresent,
  LAYER_PARTS,
  MIXTURE_PARTS,
  type Parts,
  type PartTable,
  partName,
} from '../checkpoint/layer-tensors.ts';
import { dequantise } from '../checkpoint/quantised/dequantise.ts';
import { repackRows } from '../checkpoint/quantised/repack.ts';
import { storedKind } from '../checkpoint/quantised/stored-types.ts';
import { requiredTensors } from '../checkpoint/required.ts';
import { storedRow } from '../checkpoint/row-order.ts';
import type { Checkpoint, ModelConfig, MoeConfig, TensorEntry } from '../checkpoint/types.ts';
import type { Device, Tensor, WeightSource } from '../device/device.ts';
import { byteLengthOf } from '../element-types.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import type { LoraTerms } from './lora.ts';

/** Weights of one decoder layer, of the shapes that `LAYER_PARTS` says. Matrices in panels; vectors f32. */
export interface LayerWeights extends Parts<typeof LAYER_PARTS, Tensor> {
  readonly feedForward: FeedForwardWeights | MixtureWeights;
  /** What adapters add to its matrices. */
  readonly lora?: LoraTerms<'q' | 'k' | 'v' | 'o'>;
}

/** A gated feed-forward of some inner size: of a dense layer, or the shared expert. */
export interface FeedForwardWeights extends Parts<typeof FEED_FORWARD_PARTS, Tensor> {
  readonly kind: 'dense';
  readonly lora?: LoraTerms<'gate' | 'up' | 'down'>;
}

/** The experts of a layer, each projection one stack by the number of the expert. */
export interface MixtureWeights extends Parts<typeof MIXTURE_PARTS, Tensor> {
  readonly kind: 'mixture';
  readonly gate: Tensor; // [experts, expertSize, hidden]
  readonly up: Tensor; // [experts, expertSize, hidden]
  readonly down: Tensor; // [experts, hidden, expertSize]
  readonly shared: FeedForwardWeights | null; // of sharedSize
}

/** The layers of a decoder: all on the device, or read as they are asked for. */
export interface LayerStore {
  readonly count: number;
  /** The weights of a layer; those of another that were handed out before may be gone then. */
  get(index: number): LayerWeights | Promise<LayerWeights>;
}

export interface DecoderWeights {
  readonly embedding: Tensor; // [vocab, hidden]
  readonly layers: LayerStore;
  readonly norm: Tensor; // [hidden]
  /** [vocab, hidden]; the embedding itself when tied; null where the model has none. */
  readonly head: Tensor | null;
  dispose(): void;
}

/** Whether a matrix holds codes of four bits, which activations of eight meet in groups of rows; of weights that come layer by layer, true. */
export function hasFourBits({ layers, head }: DecoderWeights): boolean {
  const isFour = ({ type }: Tensor) => type === 'q4_0' || type === 'q4_1';
  if (head && isFour(head)) return true;
  for (let i = 0; i < layers.count; i++) {
    const layer = layers.get(i);
    if (layer instanceof Promise) return true;
    const { q, k, v, o, feedForward } = layer;
    if ([q, k, v, o, feedForward.gate, feedForward.up, feedForward.down].some(isFour)) return true;
  }
  return false;
}

export interface LoadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after each tensor with bytes read so far and in all. */
  readonly onProgress?: ((loaded: number, total: number) => void) | undefined;
}

/** Where tensors go: the device itself, or what keeps more of them. */
export type WeightLoader = Pick<Device, 'loadMatrix' | 'loadMatrices' | 'loadVector'>;

/**
 * Reads all weights onto the device, tensor by tensor, straight into its memory.
 * @throws E_TENSOR_MISSING, E_TENSOR_TYPE, E_TENSOR_VALUE, E_OUT_OF_MEMORY, E_ABORTED; nothing is left allocated then
 */
export async function loadWeights(
  device: WeightLoader,
  checkpoint: Checkpoint,
  options: LoadOptions = {},
): Promise<DecoderWeights> {
  const loader = new Loader(device, checkpoint, options);
  try {
    const embedding = await loader.load(EMBEDDING);
    const layers: LayerWeights[] = [];
    for (let i = 0; i < checkpoint.config.nLayers; i++) layers.push(await loader.layer(i));
    return { embedding, layers: resident(layers), ...(await loader.end(embedding)), dispose: loader.release() };
  } catch (error) {
    loader.dispose();
    throw error;
  }
}

function resident(layers: readonly LayerWeights[]): LayerStore {
  return { count: layers.length, get: (i) => layers[i]! };
}

/** Frees tensors, and holds nothing else: not the checkpoint that they came from, which may hold a file's bytes. */
function disposer(made: readonly Tensor[]): () => void {
  return () => {
    for (const tensor of made) tensor.dispose();
  };
}

/**
 * Weights of a model that need not fit the memory: embedding and output matrix are read now, a layer when it is asked for, in place of the
 * one before. The checkpoint must stay open. Good for a few passes over long texts; `onProgress` is not called.
 * @throws as `loadWeights`, and so do the layers
 */
export async function streamWeights(
  device: Device,
  checkpoint: Checkpoint,
  options: Pick<LoadOptions, 'signal'> = {},
): Promise<DecoderWeights> {
  const outer = new Loader(device, checkpoint, options);
  let held: { readonly index: number; readonly loader: Loader; readonly weights: LayerWeights } | null = null;
  const drop = () => {
    held?.loader.dispose();
    held = null;
  };
  const get = async (index: number): Promise<LayerWeights> => {
    if (held?.index === index) return held.weights;
    drop();
    const loader = new Loader(device, checkpoint, options);
    try {
      const weights = await loader.layer(index);
      held = { index, loader, weights };
      return weights;
    } catch (error) {
      loader.dispose();
      throw error;
    }
  };
  try {
    const embedding = await outer.load(EMBEDDING);
    const dispose = () => {
      drop();
      outer.dispose();
    };
    return { embedding, layers: { count: checkpoint.config.nLayers, get }, ...(await outer.end(embedding)), dispose };
  } catch (error) {
    outer.dispose();
    throw error;
  }
}

/** Reads tensors by name and remembers them, to free them together. */
class Loader {
  readonly #device: WeightLoader;
  readonly #checkpoint: Checkpoint;
  readonly #options: LoadOptions;
  readonly #made: Tensor[] = [];
  readonly #sparse: ReadonlySet<number>;
  readonly #total: number;
  #loaded = 0;

  constructor(device: WeightLoader, checkpoint: Checkpoint, options: LoadOptions) {
    this.#device = device;
    this.#checkpoint = checkpoint;
    this.#options = options;
    this.#sparse = new Set(checkpoint.config.moe?.layers);
    let total = 0;
    // an optional tensor is not read
    for (const { name, optional } of requiredTensors(checkpoint.config)) {
      if (!optional) total += checkpoint.tensors.get(name)?.byteLength ?? 0;
    }
    this.#total = total;
  }

  /** @param norm whether it is the weight of a norm */
  async load(name: string, norm = false): Promise<Tensor> {
    throwIfAborted(this.#options.signal);
    const entry = this.#entry(name);
    const { config } = this.#checkpoint;
    const source = norm && config.normOffset !== 0 ? raised(entry, config.normOffset) : weightSource(entry, config);
    const one = entry.shape.length === 1;
    const tensor = one ? await this.#device.loadVector(source) : await this.#device.loadMatrix(source);
    this.#made.push(tensor);
    this.#count(entry);
    return tensor;
  }

  #entry(name: string): TensorEntry {
    const entry = this.#checkpoint.tensors.get(name);
    if (entry) return entry;
    throw new EspalierError('E_TENSOR_MISSING', `The checkpoint has no ${name}.`, 'Get the whole model.');
  }

  #count({ byteLength }: TensorEntry): void {
    this.#loaded += byteLength;
    this.#options.onProgress?.(this.#loaded, this.#total);
  }

  async layer(index: number): Promise<LayerWeights> {
    const { config } = this.#checkpoint;
    const at = `model.layers.${index}.`;
    const parts = await this.#parts(LAYER_PARTS, at, config);
    const feedForward =
      config.moe && this.#sparse.has(index)
        ? await this.#mixture(at, config.moe)
        : await this.#feedForward(at + AT.feedForward, denseShape(config));
    return { ...parts, feedForward };
  }

  /** What follows the layers. */
  async end(embedding: Tensor): Promise<{ norm: Tensor; head: Tensor | null }> {
    const norm = await this.load(FINAL_NORM, true);
    const { tiedEmbeddings, headless } = this.#checkpoint.config;
    return { norm, head: tiedEmbeddings ? embedding : headless ? null : await this.load(HEAD) };
  }

  dispose(): void {
    this.release()();
  }

  /** What frees all that was loaded, when the loader is gone. */
  release(): () => void {
    return disposer(this.#made);
  }

  /** The tensors of a table, null where the configuration has none. */
  async #parts<Of, Table extends PartTable<Of>>(table: Table, at: string, of: Of): Promise<Parts<Table, Tensor>> {
    const loaded: Record<string, Tensor | null> = {};
    for (const [part, spec] of Object.entries(table)) {
      loaded[part] = isPresent(spec, of) ? await this.load(at + partName(spec, of), spec.norm) : null;
    }
    return loaded as Parts<Table, Tensor>;
  }

  async #feedForward(at: string, shape: FeedForwardShape): Promise<FeedForwardWeights> {
    return { kind: 'dense', ...(await this.#parts(FEED_FORWARD_PARTS, at, shape)) };
  }

  async #mixture(at: string, moe: MoeConfig): Promise<MixtureWeights> {
    const { hiddenSize: hidden } = this.#checkpoint.config;
    const parts = await this.#parts(MIXTURE_PARTS, at + AT.feedForward, { ...moe, hidden });
    const stack = ({ name }: { readonly name: string }) =>
      this.#stack(Array.from({ length: moe.experts }, (_, e) => at + AT.expert(e) + name));
    return {
      kind: 'mixture',
      ...parts,
      gate: await stack(FEED_FORWARD_PARTS.gate),
      up: await stack(FEED_FORWARD_PARTS.up),
      down: await stack(FEED_FORWARD_PARTS.down),
      shared: moe.sharedSize > 0 ? await this.#feedForward(at + AT.shared, expertShapes(hidden, moe).shared) : null,
    };
  }

  /** Several of the checkpoint as one of the device; signal and progress see each of them. */
  async #stack(names: readonly string[]): Promise<Tensor> {
    const entries = names.map((name) => this.#entry(name));
    let counted = 0;
    const sources = entries.map((entry, i): WeightSource => {
      const source = weightSource(entry, this.#checkpoint.config);
      const read: WeightSource['read'] = (firstRow, target) => {
        while (counted < i) this.#count(entries[counted++]!); // those before it are there
        throwIfAborted(this.#options.signal);
        return source.read(firstRow, target);
      };
      return { ...source, read };
    });
    const tensor = await this.#device.loadMatrices(sources);
    this.#made.push(tensor);
    while (counted < entries.length) this.#count(entries[counted++]!);
    return tensor;
  }
}

/** A vector with a number added to each element, in f32. */
function raised(entry: TensorEntry, by: number): WeightSource {
  const columns = entry.shape[0]!;
  const read: WeightSource['read'] = async (_, target) => {
    const stored = new Uint8Array(entry.byteLength);
    await entry.source.readInto(entry.offset, stored);
    const values = dequantise(entry.type, stored, columns).map((value) => value + by);
    target.set(new Uint8Array(values.buffer));
  };
  return { name: entry.name, type: 'f32', rows: 1, columns, order: null, orderGroup: 1, read };
}

/** A tensor of a file as the device wants it: q and k rows in Hugging Face's order, other block formats repacked. */
export function weightSource(entry: TensorEntry, config: ModelConfig): WeightSource {
  const columns = entry.shape.at(-1)!;
  const rows = entry.shape.length === 1 ? 1 : entry.shape[0]!;
  const size = rows * columns === 0 ? 0 : entry.byteLength / rows;
  const { device: type, repack } = storedKind(entry.type);
  const { headDim } = config;
  const { rowOrder } = entry;
  const order = rowOrder === 'plain' ? null : (row: number) => storedRow(rowOrder, row, headDim);
  const read = (firstRow: number, target: Uint8Array) => entry.source.readInto(entry.offset + firstRow * size, target);
  const common = { name: entry.name, rows, columns, order, orderGroup: headDim };
  if (repack === null) return { ...common, type, read };
  return {
    ...common,
    type,
    read: async (firstRow, target) => {
      const count = Math.round(target.byteLength / byteLengthOf(type, columns));
      const stored = new Uint8Array(count * size);
      await read(firstRow, stored);
      target.set(repackRows(entry.type, stored, count * columns));
    },
  };
}
