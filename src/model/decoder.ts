import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Precision, Tensor } from '../device/device.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { Pace } from '../runtime/host/yielding.ts';
import type { RoutingTensors } from './experts.ts';
import { KvCache } from './kv-cache.ts';
import { decoderLayer, type LayerFacts, type LayerHooks, layerFacts, stretches } from './layer.ts';
import { type LayerBuffers, lastRows, sharedBuffers } from './layer-buffers.ts';
import { ModelRopes } from './model-ropes.ts';
import type { DecoderWeights } from './weights.ts';

/** Rows that go through the layers together: bounds scratch memory and the time between looks at the abort signal. */
const CHUNK = 512;

export interface ForwardOptions extends LayerHooks {
  /** RoPE position of each token; default: following the cache. */
  readonly positions?: readonly number[];
  /** Prefix-limit mask, [T, 3] or [T, 6] as in `Device.attention`, T at most 512; default: causal. */
  readonly mask?: Int32Array;
  /**
   * The mask of layers with a sliding window, as long as `mask`, which says nothing of windows. Needed where a position lies beyond the
   * window: until then it would be the same.
   */
  readonly windowMask?: Int32Array | undefined;
  /** A part of the cache with a softmax of its own, as in `Device.attention`; its mask is as long as `mask`. */
  readonly split?: { readonly mask: Int32Array; readonly factor: number } | undefined;
  /**
   * Cache rows that the tokens are written to, in place of what stands there, instead of behind all others; the cache stays as long as it
   * is. With a mask of six numbers a token, T at most 512. When it throws, these rows hold nothing of use.
   */
  readonly rows?: readonly number[];
  readonly precision?: Precision;
  readonly signal?: AbortSignal | undefined;
  /**
   * Called with the residual stream [t, hidden] after the embedding (index 0) and after layer index - 1; rows firstRow .. of the
   * text. The tensor is scratch: read it before the promise resolves.
   */
  readonly onHidden?: (index: number, hidden: Tensor, firstRow: number) => Promise<void> | void;
  /**
   * Called after each layer with experts: how many tokens of the chunk each expert had, [experts], and how they were routed.
   * With `output: 'last'` the last layer routes no more than that row.
   */
  readonly onExperts?: (layer: number, counts: Int32Array, routing: RoutingTensors) => Promise<void> | void;
  /**
   * `all` (default): `onChunk` sees every row. `last`: only the last row of the text, once; the last layer then computes no more
   * than that row and the keys and values of the others. Not together with `onHidden`.
   */
  readonly output?: 'all' | 'last';
  /** Called with the normalised last hidden states [t, hidden] of each chunk; the tensor is scratch. */
  readonly onChunk?: (hidden: Tensor, firstRow: number) => Promise<void> | void;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * A decoder-only transformer of the Llama shape: pre-norm blocks of grouped-query attention with RoPE and a gated feed-forward or experts in its
 * place. What families differ in is in the configuration: biases, norms of q and k and behind blocks, factors, windows, and RoPE by layer.
 */
export class Decoder {
  readonly device: Device;
  readonly config: ModelConfig;
  readonly weights: DecoderWeights;
  readonly ropes: ModelRopes;
  /** Default of every forward. */
  readonly precision: Precision;
  readonly #facts: readonly LayerFacts[];

  constructor(device: Device, config: ModelConfig, weights: DecoderWeights, precision: Precision) {
    this.device = device;
    this.config = config;
    this.weights = weights;
    this.ropes = new ModelRopes(device, config);
    this.precision = precision;
    this.#facts = layerFacts(config);
  }

  cache(capacity = 0, mostRows?: number): KvCache {
    return new KvCache(this.device, this.config, this.ropes, capacity, mostRows);
  }

  /**
   * Runs tokens through the layers behind what the cache holds and appends their keys and values to it. Results come by
   * `onChunk` and `onHidden`. When it throws, the cache holds what it held before.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED; E_ARCHITECTURE_UNSUPPORTED for a mask alone where a position lies
   *   beyond the sliding window
   */
  async forward(ids: readonly number[] | Int32Array, cache: KvCache, options: ForwardOptions = {}): Promise<void> {
    const { vocabSize } = this.config;
    for (const id of ids) {
      if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
        throw new EspalierError(
          'E_ARGUMENT',
          `Token id ${id} lies outside the vocabulary of ${vocabSize}.`,
          'Encode the text with the tokenizer of this model.',
        );
      }
    }
    checkMasks(ids.length, cache.length, options);
    throwIfAborted(options.signal);
    const before = cache.length;
    const next = (cache.positions.at(-1) ?? -1) + 1;
    const positions = options.positions ?? Array.from({ length: ids.length }, (_, i) => next + i);
    this.#checkPositions(positions, ids.length);
    this.#checkWindow(positions, options);
    if (!options.rows) cache.reserve(before + ids.length);
    const mark = this.device.mark();
    const pace = new Pace();
    try {
      for (let first = 0; first < ids.length; first += CHUNK) {
        const end = Math.min(ids.length, first + CHUNK);
        const keep = options.output === 'last' ? (end === ids.length ? 1 : 0) : end - first;
        const some = Int32Array.from(ids.slice(first, end));
        await this.#chunk(some, positions.slice(first, end), first, keep, cache, options, pace);
        this.device.reset(mark);
        options.onProgress?.(end, ids.length);
      }
    } catch (error) {
      cache.truncate(before);
      throw error;
    } finally {
      this.device.reset(mark);
    }
  }

  #checkPositions(positions: readonly number[], count: number): void {
    if (positions.length !== count || !positions.every((p) => Number.isSafeInteger(p) && p >= 0)) {
      throw new EspalierError(
        'E_ARGUMENT',
        `The ${positions.length} positions do not fit ${count} tokens.`,
        'Give one integer from 0 on for each token.',
      );
    }
    const { maxPositions } = this.config;
    const beyond = positions.find((p) => p >= maxPositions);
    if (beyond !== undefined) {
      throw new EspalierError(
        'E_CONTEXT_LENGTH',
        `Position ${beyond} lies beyond the ${maxPositions} of the model.`,
        'Shorten the text or move it lower.',
      );
    }
  }

  /** A mask that knows no window must not be taken for one that does. */
  #checkWindow(positions: readonly number[], { mask, windowMask, split }: ForwardOptions): void {
    const { slidingWindow } = this.config;
    if (!mask || slidingWindow === null || (windowMask && !split)) return;
    const beyond = positions.find((position) => position >= slidingWindow);
    if (beyond === undefined) return;
    throw new EspalierError(
      'E_ARCHITECTURE_UNSUPPORTED',
      `Position ${beyond} lies beyond the model's sliding window of ${slidingWindow}, and the tokens have a mask without one.`,
      'Shorten the text, or use a chain of examples, which obeys the window.',
    );
  }

  async #chunk(
    ids: Int32Array,
    positions: readonly number[],
    firstRow: number,
    keep: number,
    cache: KvCache,
    options: ForwardOptions,
    pace: Pace,
  ): Promise<void> {
    const { device, config, weights } = this;
    const t = ids.length;
    const precision = options.precision ?? this.precision;
    const upload = (data: Int32Array, shape: readonly number[]) => {
      const tensor = device.scratch('i32', shape);
      device.write(tensor, data);
      return tensor;
    };
    const buffers = sharedBuffers(device, config, {
      positions: upload(Int32Array.from(positions), [t, 1]),
      mask: options.mask ? upload(options.mask, [t, options.mask.length / t]) : null,
      windowMask: options.windowMask ? upload(options.windowMask, [t, options.windowMask.length / t]) : null,
      split: options.split ? upload(options.split.mask, [t, options.split.mask.length / t]) : null,
    });
    const tables = this.ropes.forward(Math.max(...positions) + 1);
    const base = options.rows ? cache.length - t : cache.length;
    const common = {
      stretches: stretches(options.rows, t, base),
      base,
      splitFactor: options.split?.factor ?? 1,
      firstRow,
      hooks: options,
    };
    device.embed(upload(ids, [t]), weights.embedding, buffers.hidden);
    if (config.embeddingScale !== 1) device.scale(buffers.hidden, config.embeddingScale);
    await options.onHidden?.(0, buffers.hidden, firstRow);
    const { layers } = weights;
    // no await where all of them are there
    let got = layers.get(0);
    let layer = got instanceof Promise ? await got : got;
    device.rmsNorm(buffers.hidden, layer.inputNorm, buffers.normed, config.rmsNormEps);
    /** The rows that the last layer gives out. */
    let out: LayerBuffers | null = buffers;
    for (let i = 0; i < layers.count; i++) {
      throwIfAborted(options.signal);
      const last = i === layers.count - 1;
      if (last && keep < t) out = keep > 0 ? lastRows(device, config, buffers, keep) : null;
      // what is lost in the first and the last layer weighs several times what is lost in another
      const rounding = precision === 'int8' && (i === 0 || last) ? 'int16' : precision;
      const [keys, values] = [cache.keys(i), cache.values(i)];
      const run = { ...common, index: i, keys, values, table: tables[i]!, precision: rounding };
      decoderLayer(device, this.#facts[i]!, layer, buffers, out, run);
      if (!out) break;
      if (options.onExperts && layer.feedForward.kind === 'mixture') await this.#report(i, out, options.onExperts);
      // the norm before the next block shares the pass that adds this block's result
      if (!last) {
        got = layers.get(i + 1);
        layer = got instanceof Promise ? await got : got;
      }
      const norm = last ? weights.norm : layer.inputNorm;
      device.addRmsNorm(out.feedForwardOut, out.hidden, norm, out.normed, config.rmsNormEps);
      await options.onHidden?.(i + 1, out.hidden, firstRow);
      await pace.breathe();
    }
    throwIfAborted(options.signal);
    if (!options.rows) cache.advance(positions);
    if (out) await options.onChunk?.(out.normed, firstRow + t - keep);
  }

  /** Tells who computed what in a layer with experts. */
  async #report(layer: number, b: LayerBuffers, tell: NonNullable<ForwardOptions['onExperts']>): Promise<void> {
    const { routing } = b.mixture!;
    const offsets = (await this.device.read(routing.offsets)) as Int32Array;
    await tell(
      layer,
      offsets.subarray(1).map((end, e) => end - offsets[e]!),
      routing,
    );
  }

  /** Whether there is an output matrix, so that logits can be computed. @throws E_TENSOR_MISSING where there is none */
  checkHead(): void {
    if (this.weights.head !== null) return;
    throw new EspalierError(
      'E_TENSOR_MISSING',
      'The model has no lm_head.weight: it is the export of a base model, which embeds texts and predicts nothing.',
      'Use embed(), or get the model with its output matrix.',
    );
  }

  /** Logits [t, vocab] of normalised hidden states [t, hidden], in scratch memory. @throws E_TENSOR_MISSING as `checkHead` */
  logits(normed: Tensor, precision: Precision = this.precision): Tensor {
    this.checkHead();
    const out = this.device.scratch('f32', [normed.shape[0]!, this.config.vocabSize]);
    this.device.linear(normed, [this.weights.head!], [out], precision);
    if (this.config.logitScale !== 1) this.device.scale(out, 1 / this.config.logitScale);
    return out;
  }

  dispose(): void {
    this.weights.dispose();
    this.ropes.dispose();
  }
}

/** @throws E_ARGUMENT for masks and rows that do not fit the tokens, or each other */
function checkMasks(
  count: number,
  held: number,
  { mask, windowMask, split, rows, output, onHidden, onQueries }: ForwardOptions,
): void {
  const refuse = (what: string, hint: string): never => {
    throw new EspalierError('E_ARGUMENT', what, hint);
  };
  if (mask && ((mask.length !== 3 * count && mask.length !== 6 * count) || count > CHUNK)) {
    refuse(
      `A mask of ${mask.length} numbers does not fit ${count} tokens.`,
      `Give three or six numbers a token, and at most ${CHUNK} tokens with a mask.`,
    );
  }
  if (windowMask && windowMask.length !== mask?.length) {
    refuse('The mask of windows differs in length from the mask.', 'Give both, as long as each other.');
  }
  if (split && split.mask.length !== mask?.length) {
    refuse('The mask of a split differs in length from the mask.', 'Give both, as long as each other.');
  }
  const inside = (row: number): boolean => Number.isInteger(row) && row >= 0 && row < held;
  if (rows && (mask?.length !== 6 * count || rows.length !== count || count > held || !rows.every(inside))) {
    refuse(
      `The ${rows.length} rows do not fit ${count} tokens and a cache of ${held}.`,
      'Give a row of the cache for each token, and a mask of six numbers.',
    );
  }
  if (output === 'last' && (onHidden || onQueries)) {
    refuse(
      'Hidden states or queries are asked for, and only the last row.',
      'Leave output at "all" with onHidden and onQueries.',
    );
  }
}
