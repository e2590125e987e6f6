import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Precision, Tensor } from '../device/device.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { Pace } from '../runtime/pace.ts';
import { KvCache } from './kv-cache.ts';
import { RopeTable } from './rope-table.ts';
import type { DecoderWeights, LayerWeights } from './weights.ts';

/** Rows that go through the layers together: bounds scratch memory and the time between looks at the abort signal. */
const CHUNK = 512;

export interface ForwardOptions {
  /** RoPE position of each token; default: following the cache. */
  readonly positions?: readonly number[];
  /** Prefix-limit mask, [T, 3] (from, limit, self) as in `Device.attention`, T at most 512; default: causal. */
  readonly mask?: Int32Array;
  readonly precision?: Precision;
  readonly signal?: AbortSignal | undefined;
  /**
   * Called with the residual stream [t, hidden] after the embedding (index 0) and after layer index - 1; rows firstRow .. of the
   * text. The tensor is scratch: read it before the promise resolves.
   */
  readonly onHidden?: (index: number, hidden: Tensor, firstRow: number) => Promise<void> | void;
  /** Called with the normalised last hidden states [t, hidden] of each chunk; the tensor is scratch. */
  readonly onChunk?: (hidden: Tensor, firstRow: number) => Promise<void> | void;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * A decoder-only transformer of the Llama shape: pre-norm blocks of grouped-query attention with RoPE and a SiLU-gated
 * feed-forward, as in llama, mistral, qwen2 (biases) and qwen3 (norms of q and k).
 */
export class Decoder {
  readonly device: Device;
  readonly config: ModelConfig;
  readonly weights: DecoderWeights;
  readonly rope: RopeTable;
  /** Default of every forward. */
  readonly precision: Precision;

  constructor(device: Device, config: ModelConfig, weights: DecoderWeights, precision: Precision) {
    this.device = device;
    this.config = config;
    this.weights = weights;
    this.rope = new RopeTable(device, config.rope, config.maxPositions);
    this.precision = precision;
  }

  cache(capacity = 0): KvCache {
    return new KvCache(this.device, this.config, this.rope, capacity);
  }

  /**
   * Runs tokens through the layers behind what the cache holds and appends their keys and values to it. Results come by
   * `onChunk` and `onHidden`. When it throws, the cache holds what it held before.
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED
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
    if (options.mask && (options.mask.length !== 3 * ids.length || ids.length > CHUNK)) {
      throw new EspalierError(
        'E_ARGUMENT',
        `A mask of ${options.mask.length} numbers does not fit ${ids.length} tokens.`,
        `Give three numbers a token, and at most ${CHUNK} tokens with a mask.`,
      );
    }
    const before = cache.length;
    const next = (cache.positions.at(-1) ?? -1) + 1;
    const positions = options.positions ?? Array.from({ length: ids.length }, (_, i) => next + i);
    this.#checkPositions(positions, ids.length);
    cache.reserve(before + ids.length);
    const mark = this.device.mark();
    const pace = new Pace();
    try {
      for (let first = 0; first < ids.length; first += CHUNK) {
        const end = Math.min(ids.length, first + CHUNK);
        await this.#chunk(
          Int32Array.from(ids.slice(first, end)),
          positions.slice(first, end),
          first,
          cache,
          options,
          pace,
        );
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

  async #chunk(
    ids: Int32Array,
    positions: readonly number[],
    firstRow: number,
    cache: KvCache,
    options: ForwardOptions,
    pace: Pace,
  ): Promise<void> {
    const { device, config, weights } = this;
    const t = ids.length;
    const precision = options.precision ?? this.precision;
    const scratch = (width: number) => device.scratch('f32', [t, width]);
    const upload = (data: Int32Array, shape: readonly number[]) => {
      const tensor = device.scratch('i32', shape);
      device.write(tensor, data);
      return tensor;
    };
    const buffers: Buffers = {
      positions: upload(Int32Array.from(positions), [t]),
      mask: options.mask ? upload(options.mask, [t, 3]) : null,
      table: this.rope.forward(Math.max(...positions) + 1),
      hidden: scratch(config.hiddenSize),
      normed: scratch(config.hiddenSize),
      q: scratch(config.nHeads * config.headDim),
      k: scratch(config.nKvHeads * config.headDim),
      v: scratch(config.nKvHeads * config.headDim),
      attended: scratch(config.nHeads * config.headDim),
      delta: scratch(config.hiddenSize),
      gate: scratch(config.intermediateSize),
      up: scratch(config.intermediateSize),
    };
    const base = cache.length;
    const { hidden, normed, delta } = buffers;
    device.embed(upload(ids, [t]), weights.embedding, hidden);
    await options.onHidden?.(0, hidden, firstRow);
    device.rmsNorm(hidden, weights.layers[0]!.inputNorm, normed, config.rmsNormEps);
    for (const [i, layer] of weights.layers.entries()) {
      throwIfAborted(options.signal);
      // what is lost in the first and the last layer weighs several times what is lost in another
      const outer = i === 0 || i === weights.layers.length - 1;
      this.#layer(i, layer, buffers, cache, base, precision === 'int8' && outer ? 'int16' : precision);
      // the norm before the next block shares the pass that adds this block's result
      const next = weights.layers[i + 1]?.inputNorm ?? weights.norm;
      device.addRmsNorm(delta, hidden, next, normed, config.rmsNormEps);
      await options.onHidden?.(i + 1, hidden, firstRow);
      await pace.breathe();
    }
    throwIfAborted(options.signal);
    cache.advance(positions);
    await options.onChunk?.(normed, firstRow);
  }

  /** normed -> delta: what one block adds to the residual stream, but for its own first half, which it adds itself. */
  #layer(index: number, layer: LayerWeights, b: Buffers, cache: KvCache, base: number, precision: Precision): void {
    const { device, config } = this;
    const { nHeads, nKvHeads, headDim, rmsNormEps, rope } = config;
    device.linear(b.normed, [layer.q, layer.k, layer.v], [b.q, b.k, b.v], precision);
    if (layer.qBias) device.addBias(layer.qBias, b.q);
    if (layer.kBias) device.addBias(layer.kBias, b.k);
    if (layer.vBias) device.addBias(layer.vBias, b.v);
    if (layer.qNorm) device.rmsNorm(b.q, layer.qNorm, b.q, rmsNormEps);
    if (layer.kNorm) device.rmsNorm(b.k, layer.kNorm, b.k, rmsNormEps);
    const rotary = { headDim, rotaryDims: rope.rotaryDims, layout: rope.layout };
    device.rope(b.q, b.table, b.positions, { heads: nHeads, ...rotary });
    device.rope(b.k, b.table, b.positions, { heads: nKvHeads, ...rotary });
    device.copyRows(b.k, cache.keys(index), base);
    device.copyRows(b.v, cache.values(index), base);
    device.attention({
      q: b.q,
      keys: cache.keys(index),
      values: cache.values(index),
      out: b.attended,
      base,
      nHeads,
      nKvHeads,
      headDim,
      scale: 1 / Math.sqrt(headDim),
      window: config.slidingWindow !== null && index >= config.slidingWindowFrom ? config.slidingWindow : 0,
      mask: b.mask,
    });
    device.linear(b.attended, [layer.o], [b.delta], precision);
    if (layer.oBias) device.addBias(layer.oBias, b.delta);
    device.addRmsNorm(b.delta, b.hidden, layer.postNorm, b.normed, rmsNormEps);
    device.linear(b.normed, [layer.gate, layer.up], [b.gate, b.up], precision);
    if (layer.gateBias) device.addBias(layer.gateBias, b.gate);
    if (layer.upBias) device.addBias(layer.upBias, b.up);
    device.siluMultiply(b.gate, b.up, b.gate);
    device.linear(b.gate, [layer.down], [b.delta], precision);
    if (layer.downBias) device.addBias(layer.downBias, b.delta);
  }

  /** Logits [t, vocab] of normalised hidden states [t, hidden], in scratch memory. */
  logits(normed: Tensor, precision: Precision = this.precision): Tensor {
    const out = this.device.scratch('f32', [normed.shape[0]!, this.config.vocabSize]);
    this.device.linear(normed, [this.weights.head], [out], precision);
    return out;
  }

  dispose(): void {
    this.weights.dispose();
    this.rope.dispose();
  }
}

/** Scratch of one chunk of t tokens. */
interface Buffers {
  readonly positions: Tensor; // [t] i32
  readonly mask: Tensor | null; // [t, 3] i32
  readonly table: Tensor; // [positions, 2, rotaryDims/2]
  readonly hidden: Tensor; // [t, hidden]: the residual stream
  readonly normed: Tensor; // [t, hidden]
  readonly q: Tensor; // [t, nHeads · headDim]
  readonly k: Tensor; // [t, nKvHeads · headDim]
  readonly v: Tensor; // [t, nKvHeads · headDim]
  readonly attended: Tensor; // [t, nHeads · headDim]
  readonly delta: Tensor; // [t, hidden]
  readonly gate: Tensor; // [t, intermediate]
  readonly up: Tensor; // [t, intermediate]
}
