import type { Checkpoint, ModelConfig } from '../checkpoint/types.ts';
import type { Tensor } from '../device/device.ts';
import { exclusive } from '../device/exclusive.ts';
import type { TrainDevice } from '../device/train-device.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { type TermsByLayer, withTerms } from '../model/adapters.ts';
import { type DecoderGradients, trainsLayer } from '../model/gradients.ts';
import { decoderLayer, decoderLayerBackward } from '../model/layer.ts';
import { keptBuffers, type LayerBuffers, sharedBuffers } from '../model/layer-buffers.ts';
import { type LayerFacts, layerFacts } from '../model/layer-run.ts';
import { hasExperts } from '../model/lora.ts';
import { lossHead, lossHeadBackward, lossRuns } from '../model/loss-head.ts';
import { type Master, MasterLoader } from '../model/masters.ts';
import { type LayerTables, ModelRopes } from '../model/model-ropes.ts';
import { type NamedTensor, namedWeights } from '../model/named-weights.ts';
import { tokenEmbeddingBackward } from '../model/token-embedding.ts';
import { type DecoderWeights, type LayerWeights, type LoadOptions, loadWeights } from '../model/weights.ts';
import { Pace } from '../runtime/host/yielding.ts';
import { type BatchInputs, batchInputs, checkBatch } from './batch-inputs.ts';
import { decoderGradients } from './decoder-gradients.ts';
import { lossRows, type ReferencePass, rowsWithLoss } from './loss-rows.ts';
import { type PackedModel, packedForward, packedRun } from './packed-pass.ts';
import { type AskedLosses, readLosses } from './read-losses.ts';
import { type Steering, steer, steeringOf } from './steering.ts';
import type { MicroBatch, Parameter, PassLosses, PassOptions, Trainable } from './trainable.ts';

export interface DecoderTrainableOptions extends LoadOptions {
  /**
   * By a weight's name, what may be trained at some time: it is held in f32, twice. The rest stays as it is stored. Default: all. Of the
   * experts of a layer the names are those without a number, `model.layers.0.mlp.experts.gate_proj.weight`.
   */
  readonly trainable?: (name: string) => boolean;
  /** Terms on the matrices, which end with the trainable. They need not be frozen for it, but usually `trainable` says false of all else. */
  readonly adapter?: TrainedTerms | undefined;
  readonly reference?: ReferencePass | undefined;
}

/** Terms of adapters that are trained, and their factors: f32 rows, which are read as they stand. */
export interface TrainedTerms {
  readonly terms: TermsByLayer;
  /** By PEFT's names. A term may have some rows of one of them. */
  readonly factors: readonly Master[];
  dispose(): void;
}

class Trained implements Parameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly value: Tensor;
  readonly packed: Tensor | null;
  readonly decay: boolean;
  gradient: Tensor | null = null;

  constructor({ name, shape, value, packed }: Master) {
    this.name = name;
    this.shape = shape;
    this.value = value;
    this.packed = packed;
    this.decay = shape.length > 1;
  }
}

/** Which layers a pass goes through. */
interface Depth {
  /** Layers that are run, the first ones. */
  readonly top: number;
  /** The first layer that something is trained in, or the number of layers. */
  readonly lowest: number;
  readonly embedding: boolean;
}

/** A decoder that is trained: weights, gradients, and the way forward and back through all layers. */
export class DecoderTrainable implements Trainable {
  readonly device: TrainDevice;
  readonly config: ModelConfig;
  readonly parameters: readonly Parameter[];
  readonly #weights: DecoderWeights;
  readonly #layers: readonly LayerWeights[];
  readonly #facts: readonly LayerFacts[];
  readonly #ropes: ModelRopes;
  readonly #trained: readonly Trained[];
  readonly #options: DecoderTrainableOptions;
  #gradients: DecoderGradients;

  private constructor(
    device: TrainDevice,
    config: ModelConfig,
    weights: DecoderWeights,
    layers: readonly LayerWeights[],
    masters: readonly Master[],
    options: DecoderTrainableOptions,
  ) {
    this.device = device;
    this.config = config;
    this.#weights = weights;
    this.#layers = layers;
    this.#facts = layerFacts(config);
    this.#ropes = new ModelRopes(device, config);
    this.#trained = masters.map((master) => new Trained(master));
    this.parameters = this.#trained;
    this.#options = options;
    this.#gradients = this.#gradientsOf();
  }

  /**
   * Reads a model to be trained. Nothing is trained until `train` says what.
   * @throws E_TENSOR_MISSING for a model without an output matrix, and as `loadWeights`; nothing is left allocated then
   */
  static async load(
    device: TrainDevice,
    checkpoint: Checkpoint,
    options: DecoderTrainableOptions = {},
  ): Promise<DecoderTrainable> {
    const { config } = checkpoint;
    if (config.headless) {
      throw new EspalierError(
        'E_TENSOR_MISSING',
        `${checkpoint.name} has no lm_head.weight: it predicts nothing, and there is nothing to train it by.`,
        'Get the model with its output matrix.',
      );
    }
    const { reference } = options;
    if (reference && reference.vocabSize !== config.vocabSize) {
      throw new EspalierError(
        'E_ARGUMENT',
        `The reference has a vocabulary of ${reference.vocabSize}, and ${checkpoint.name} one of ${config.vocabSize}.`,
        'Use a reference with the same tokenizer.',
      );
    }
    return exclusive(device, async () => {
      const loader = new MasterLoader(device, options.trainable ?? (() => true));
      try {
        const loaded = await loadWeights(loader, checkpoint, options);
        const weights = options.adapter ? withTerms(loaded, options.adapter.terms) : loaded;
        const layers = await Promise.all(Array.from({ length: config.nLayers }, (_, i) => weights.layers.get(i)));
        return new DecoderTrainable(
          device,
          config,
          weights,
          layers,
          [...loader.masters, ...(options.adapter?.factors ?? [])],
          options,
        );
      } catch (error) {
        loader.dispose();
        throw error;
      }
    });
  }

  /** Every weight of the model without the adapter, trained or not, as layers compute with it. */
  get baseWeights(): readonly NamedTensor[] {
    return namedWeights(this.#weights, this.#layers);
  }

  /** Whether divergences, distillations and hidden states of a reference can be asked for. */
  get hasReference(): boolean {
    return this.#options.reference !== undefined;
  }

  train(wanted: (parameter: Parameter) => boolean): void {
    for (const parameter of this.#trained) {
      parameter.gradient?.dispose();
      parameter.gradient = null;
    }
    try {
      for (const parameter of this.#trained) {
        if (wanted(parameter)) parameter.gradient = this.device.tensor('f32', parameter.shape);
      }
    } finally {
      this.#gradients = this.#gradientsOf();
    }
  }

  #gradientsOf(): DecoderGradients {
    const gradients = new Map(this.#trained.map(({ value, packed, gradient }) => [packed ?? value, gradient]));
    return decoderGradients(this.#weights, this.#layers, {
      weight: (weight) => gradients.get(weight) ?? null,
      term: ({ a, b }) => ({ a: this.#gradientAt(a), b: this.#gradientAt(b) }),
    });
  }

  /** The rows of a gradient that are by these rows of a factor. */
  #gradientAt(rows: Tensor): Tensor | null {
    const holds = ({ value }: Trained): boolean =>
      value.storage === rows.storage &&
      value.offset <= rows.offset &&
      rows.offset + rows.byteLength <= value.offset + value.byteLength;
    const found = this.#trained.find(holds);
    if (!found?.gradient) return null;
    const first = (rows.offset - found.value.offset) / (4 * rows.shape.at(-1)!);
    return this.device.rows(found.gradient, first, rows.shape[0]!);
  }

  async step(batch: MicroBatch, options: PassOptions): Promise<PassLosses> {
    return this.#pass(batch, options, async (inputs, tables, asked) => {
      const { device, config } = this;
      const { rows } = asked;
      const dRouting = options.onRouting && inputs.routing ? device.scratch('f32', inputs.routing.shape) : null;
      if (dRouting) device.fill(dRouting, 0);
      const depth = this.#depth(asked, dRouting !== null);
      const buffers = this.#kept(inputs, depth, options.recompute ?? true);
      const end = device.scratch('f32', buffers.at(-1)!.middle.shape);
      await this.#forward(inputs, tables, buffers, end, options, asked);
      const dResidual = device.scratch('f32', end.shape);
      const below = depth.lowest < depth.top || depth.embedding;
      if (rows) {
        const to = below ? dResidual : null;
        await lossHeadBackward(device, config, this.#weights, this.#gradients, end, rows, to, options.signal);
      } else if (below) device.fill(dResidual, 0);
      await this.#layersBackward(tables, buffers, depth, dResidual, dRouting, asked.steering, options);
      if (this.#gradients.embedding) {
        tokenEmbeddingBackward(device, config, inputs.ids, dResidual, this.#gradients.embedding);
      }
      if (dRouting) options.onRouting!((await device.read(dRouting)) as Float32Array);
    });
  }

  async evaluate(batch: MicroBatch, options: PassOptions): Promise<PassLosses> {
    return this.#pass(batch, options, async (inputs, tables, asked) => {
      const { device, config } = this;
      const { rows } = asked;
      const shared = sharedBuffers(device, config, inputs);
      const buffers = Array.from({ length: this.#depth(asked).top }, () => shared);
      await this.#forward(inputs, tables, buffers, shared.hidden, options, asked);
      if (rows) await lossHead(device, config, this.#weights, shared.hidden, rows, options.signal);
    });
  }

  zeroGradients(): void {
    for (const { gradient } of this.#trained) if (gradient) this.device.fill(gradient, 0);
  }

  repack(): void {
    for (const { value, packed } of this.#trained) if (packed) this.device.pack(value, packed);
  }

  dispose(): void {
    for (const { value, packed, gradient } of this.#trained) {
      gradient?.dispose();
      if (packed) value.dispose();
    }
    this.#weights.dispose();
    this.#options.adapter?.dispose();
    this.#ropes.dispose();
  }

  /** Checks a batch, puts it on the device, computes, and reads the losses back, once. */
  #pass(
    batch: MicroBatch,
    options: PassOptions,
    compute: (inputs: BatchInputs, tables: LayerTables, asked: AskedLosses) => Promise<void>,
  ): Promise<PassLosses> {
    const { device, config } = this;
    checkBatch(batch, config);
    return exclusive(device, async () => {
      throwIfAborted(options.signal);
      const mark = device.mark();
      try {
        const inputs = batchInputs(device, config, batch);
        const runs = lossRuns(rowsWithLoss(batch, options));
        const { reference } = this.#options;
        const rows = await lossRows(device, batch, runs, options, reference);
        const steering = await steeringOf(device, config, batch, reference, options.signal);
        const sparse = config.moe?.layers.length ?? 0;
        const routers = sparse > 0 ? device.scratch('f32', [sparse, 2]) : null;
        const asked = { rows, routers, steering };
        await compute(inputs, this.#ropes.forward(inputs.positionCount), asked);
        return await readLosses(device, batch, asked, options.onRows);
      } finally {
        device.reset(mark);
      }
    });
  }

  /** @param routed whether coefficients of experts get a gradient, for which all layers that experts act in count as trained */
  #depth({ rows, routers, steering }: AskedLosses, routed = false): Depth {
    const { layers, embedding } = this.#gradients;
    // routers of all layers have losses
    const top = steering && !rows && !routers ? steering.layer + 1 : layers.length;
    const first = layers.findIndex((layer, i) => trainsLayer(layer) || (routed && isRouted(this.#layers[i]!)));
    if (embedding) return { top, lowest: 0, embedding: true };
    return { top, lowest: first < 0 ? layers.length : first, embedding: false };
  }

  /**
   * Buffers of each layer. Below the lowest that is trained nothing is kept: these go on in one residual stream. Of the others only the
   * residual stream before each is kept where they are run forward again, and else everything.
   */
  #kept(inputs: BatchInputs, { top, lowest }: Depth, recompute: boolean): LayerBuffers[] {
    const { device, config } = this;
    const stream = () => device.scratch('f32', [inputs.ids.shape[0]!, config.hiddenSize]);
    const sparse = new Set(config.moe?.layers);
    const below = stream();
    const again = recompute || lowest > 0;
    const kinds = { dense: sparse.size < config.nLayers, mixture: sparse.size > 0 };
    const set = again ? keptBuffers(device, config, inputs, below, kinds) : null;
    return Array.from({ length: top }, (_, i) => {
      if (set && i < lowest) return { ...set, hidden: below, middle: below };
      const hidden = i === lowest ? below : stream();
      if (set && recompute) return { ...set, hidden };
      return keptBuffers(device, config, inputs, hidden, { dense: !sparse.has(i), mixture: sparse.has(i) });
    });
  }

  #forward(
    inputs: BatchInputs,
    tables: LayerTables,
    buffers: readonly LayerBuffers[],
    end: Tensor,
    { signal, onMixture }: PassOptions,
    { routers, steering }: AskedLosses,
  ): Promise<void> {
    const { device, config } = this;
    const sparse = config.moe?.layers ?? [];
    const onLayer = (layer: number): void => {
      const at = sparse.indexOf(layer);
      if (at < 0) return;
      const mixture = buffers[layer]!.mixture!;
      const { logits, offsets } = mixture.routing;
      device.routerLosses(logits, offsets, device.rows(routers!, at, 1));
      onMixture?.(layer, mixture);
    };
    return packedForward(this.#model(), inputs, tables, buffers, end, signal, onLayer, (layer, hidden) => {
      if (layer === steering?.layer) steer(device, steering, hidden);
    });
  }

  #model(): PackedModel {
    const { device, config } = this;
    return { device, config, facts: this.#facts, weights: this.#weights, layers: this.#layers };
  }

  /** From the gradient by the residual stream behind the last layer to that before the lowest that is trained. */
  async #layersBackward(
    tables: LayerTables,
    buffers: readonly LayerBuffers[],
    { top, lowest, embedding }: Depth,
    dResidual: Tensor,
    dRouting: Tensor | null,
    steering: Steering | null,
    { recompute = true, balance = 0, z = 0, signal }: PassOptions,
  ): Promise<void> {
    const { device, config } = this;
    const pace = new Pace();
    for (let i = top - 1; i >= lowest; i--) {
      throwIfAborted(signal);
      if (i === steering?.layer) device.add(steering.gradient, dResidual);
      const [facts, weights, b, table] = [this.#facts[i]!, this.#layers[i]!, buffers[i]!, tables[i]!];
      // what the last layer computed still stands
      if (recompute && i < top - 1) {
        device.rmsNorm(b.hidden, weights.inputNorm, b.normed, config.rmsNormEps);
        decoderLayer(device, facts, weights, b, b, packedRun(i, b, table, true));
      }
      const below = i > lowest || embedding || dRouting !== null;
      const way = { table, below, router: { balance, z }, dRouting };
      decoderLayerBackward(device, facts, weights, this.#gradients.layers[i]!, b, dResidual, way);
      await pace.breathe();
    }
  }
}

/** Whether terms of experts act in a layer. */
function isRouted({ lora, feedForward }: LayerWeights): boolean {
  const inner = feedForward.kind === 'dense' ? feedForward : feedForward.shared;
  return hasExperts(lora) || hasExperts(inner?.lora);
}
