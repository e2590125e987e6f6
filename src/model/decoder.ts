import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Precision, Tensor } from '../device/device.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { Pace } from '../runtime/host/yielding.ts';
import type { RoutingTensors } from './experts.ts';
import { KvCache } from './kv-cache.ts';
import { type LayerFacts, type LayerHooks, layerFacts } from './layer-run.ts';
import { scoredRows } from './logit-stats.ts';
import { ModelRopes } from './model-ropes.ts';
import { type PassPart, runPass } from './pass.ts';
import type { TokenRouting } from './routed/rule.ts';
import { type DecoderWeights, hasFourBits } from './weights.ts';

/** Rows that go through the layers together: bounds scratch memory and the time between looks at the abort signal. */
export const CHUNK = 512;
/** The same where a device computes while the program goes on: there a pass of more rows costs the program no more. */
const ASYNCHRONOUS_CHUNK = 2048;

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
  /** Coefficients of terms of adapters that have an expert, by token, f32 [T, experts]; default: all 0. It stays as it is. */
  readonly routing?: Tensor | undefined;
  /** Of a `RoutedDecoder`, called with how the experts of rows firstRow .. of the tokens were chosen, before they act. */
  readonly onRouting?: ((choices: readonly TokenRouting[], firstRow: number) => void) | undefined;
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

/** Tokens of one of several sequences, behind what its cache holds. */
export interface SequencePart {
  readonly ids: readonly number[];
  readonly cache: KvCache;
  /** RoPE position of each; default: following the cache. */
  readonly positions?: readonly number[] | undefined;
  /** Whether the last of them is wanted with `output: 'last'`. Default true. */
  readonly wanted?: boolean;
}

export interface EachOptions extends Pick<ForwardOptions, 'precision' | 'signal' | 'output' | 'onRouting'> {
  /** As of `ForwardOptions`, of the tokens of all parts behind one another; so are the rows that `onRouting` is told of. */
  readonly routing?: Tensor | undefined;
  /**
   * Called with the normalised last hidden states of all rows of all parts, or of the last of each part whose last is wanted, in the order
   * of the parts; the tensor is scratch. Not called where none is wanted.
   */
  readonly onOutput?: (hidden: Tensor) => Promise<void> | void;
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
  /** Rows that go through the layers together, at most. */
  readonly chunk: number;
  /** Rows of logits that exist at once where text is scored. */
  readonly scoredRows: number;
  readonly #facts: readonly LayerFacts[];
  #independent: boolean | null = null;

  constructor(device: Device, config: ModelConfig, weights: DecoderWeights, precision: Precision) {
    this.device = device;
    this.config = config;
    this.weights = weights;
    this.ropes = new ModelRopes(device, config);
    this.precision = precision;
    this.#facts = layerFacts(config);
    this.chunk = device.asynchronous ? ASYNCHRONOUS_CHUNK : CHUNK;
    this.scoredRows = scoredRows(device, config.vocabSize);
  }

  /**
   * Whether a row among at least two of a pass gets the same bits whatever the others are: not where experts take rows together, nor where a
   * device may quantise activations by groups of rows (to eight bits, for weights of four), nor on a GPU, which has other kernels for few rows than for many.
   */
  get rowsIndependent(): boolean {
    this.#independent ??=
      this.device.kind === 'wasm' &&
      this.config.moe === null &&
      (this.precision !== 'int8' || !hasFourBits(this.weights));
    return this.#independent;
  }

  /** Whether short texts that are only read go through together: to the same bits, or on a GPU, which one does not keep busy, within rounding. */
  get readsTogether(): boolean {
    return this.device.asynchronous || this.rowsIndependent;
  }

  /** Whether rows get the same bits, too, where a text goes through in pieces of two rows or more. */
  get piecesIndependent(): boolean {
    return this.rowsIndependent;
  }

  get #model() {
    return { device: this.device, config: this.config, weights: this.weights, ropes: this.ropes, facts: this.#facts };
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
    this.#checkIds(ids);
    checkMasks(ids.length, cache.length, options);
    checkRouting(ids.length, options.routing);
    throwIfAborted(options.signal);
    const before = cache.length;
    const positions = options.positions ?? following(cache, ids.length);
    this.#checkPositions(positions, ids.length);
    this.#checkWindow(positions, options);
    if (!options.rows) cache.reserve(before + ids.length);
    const mark = this.device.mark();
    const pace = new Pace();
    try {
      for (let first = 0; first < ids.length; first += this.chunk) {
        const end = Math.min(ids.length, first + this.chunk);
        const hidden = await runPass(this.#model, {
          ids: Int32Array.from(ids.slice(first, end)),
          parts: [{ cache, first: 0, positions: positions.slice(first, end), rows: options.rows }],
          wanted: options.output !== 'last' ? null : end === ids.length ? [end - first - 1] : [],
          alone: false,
          firstRow: first,
          precision: options.precision ?? this.precision,
          masks: options,
          routing: options.routing ? this.device.rows(options.routing, first, end - first) : null,
          hooks: options,
          pace,
        });
        if (hidden) await options.onChunk?.(hidden, end - hidden.shape[0]!);
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

  /**
   * Runs tokens of several sequences through the layers together, each behind what its own cache holds, and appends to the caches: the
   * weights are read once for all of them. Where every part is one token, each gets the bits that `forward` gives it alone. When it throws,
   * the caches hold what they held before.
   * @throws as `forward`; E_ARGUMENT for parts without tokens, with one cache, or with more tokens in all than `chunk`
   */
  async forwardEach(parts: readonly SequencePart[], options: EachOptions = {}): Promise<void> {
    const ids = parts.flatMap((part) => [...part.ids]);
    this.#checkIds(ids);
    checkRouting(ids.length, options.routing);
    const caches = new Set(parts.map(({ cache }) => cache));
    if (caches.size < parts.length || ids.length > this.chunk || parts.some((part) => part.ids.length === 0)) {
      throw new EspalierError(
        'E_ARGUMENT',
        `${parts.length} sequences of ${ids.length} tokens and ${caches.size} caches cannot go together.`,
        `Give each at least one token and a cache of its own, and at most ${this.chunk} tokens in all.`,
      );
    }
    throwIfAborted(options.signal);
    const rows: PassPart[] = [];
    const wanted: number[] = [];
    let first = 0;
    for (const part of parts) {
      const { cache } = part;
      const count = part.ids.length;
      const positions = part.positions ?? following(cache, count);
      this.#checkPositions(positions, count);
      rows.push({ cache, first, positions });
      first += count;
      if (part.wanted !== false) wanted.push(first - 1);
    }
    const before = parts.map(({ cache }) => cache.length);
    const mark = this.device.mark();
    try {
      for (const [i, { cache }] of parts.entries()) cache.reserve(before[i]! + rows[i]!.positions.length);
      const hidden = await runPass(this.#model, {
        ids: Int32Array.from(ids),
        parts: rows,
        wanted: options.output === 'last' ? wanted : null,
        alone: ids.length === parts.length,
        firstRow: 0,
        precision: options.precision ?? this.precision,
        masks: {},
        routing: options.routing ?? null,
        hooks: { signal: options.signal },
        pace: new Pace(),
      });
      if (hidden) await options.onOutput?.(hidden);
    } catch (error) {
      for (const [i, { cache }] of parts.entries()) cache.truncate(before[i]!);
      throw error;
    } finally {
      this.device.reset(mark);
    }
  }

  /** Whether `forwardAhead` computes what `forwardEach` would. */
  get canRunAhead(): boolean {
    return this.device.asynchronous;
  }

  /**
   * As `forwardEach` with the next token of each sequence, which is still on the device: ids i32 [sequences]. Keys and values go
   * behind what the caches hold, which have room for them and do not know them: `KvCache.advanceAhead` tells them, where the tokens turn out to be so.
   * @param routing as of `EachOptions`
   * @throws as `forwardEach`
   */
  async forwardAhead(
    caches: readonly KvCache[],
    ids: Tensor,
    onOutput: (hidden: Tensor) => void,
    routing: Tensor | null = null,
  ): Promise<void> {
    const mark = this.device.mark();
    try {
      const parts = caches.map((cache, first) => {
        const positions = following(cache, 1);
        this.#checkPositions(positions, 1);
        return { cache, first, positions, unknown: true };
      });
      const hidden = await runPass(this.#model, {
        ...{ ids, parts, wanted: parts.map(({ first }) => first), alone: true, firstRow: 0 },
        ...{ precision: this.precision, masks: {}, routing, hooks: {}, pace: new Pace() },
      });
      onOutput(hidden!);
    } finally {
      this.device.reset(mark);
    }
  }

  /** @throws E_ARGUMENT */
  #checkIds(ids: readonly number[] | Int32Array): void {
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

  /** Whether there is an output matrix, so that logits can be computed. @throws E_TENSOR_MISSING where there is none */
  checkHead(): void {
    if (this.weights.head !== null) return;
    throw new EspalierError(
      'E_TENSOR_MISSING',
      'The model has no lm_head.weight: it is the export of a base model, which embeds texts and predicts nothing.',
      'Use embed(), or get the model with its output matrix.',
    );
  }

  /**
   * Logits [t, vocab] of normalised hidden states [t, hidden], in scratch memory; alone: as in `Device.linear`.
   * @throws E_TENSOR_MISSING as `checkHead`
   */
  logits(normed: Tensor, precision: Precision = this.precision, alone = false): Tensor {
    this.checkHead();
    const out = this.device.scratch('f32', [normed.shape[0]!, this.config.vocabSize]);
    this.device.linear(normed, [this.weights.head!], [out], precision, alone);
    if (this.config.logitScale !== 1) this.device.scale(out, 1 / this.config.logitScale);
    return out;
  }

  dispose(): void {
    this.weights.dispose();
    this.ropes.dispose();
  }
}

/** Positions of so many tokens behind a cache. */
function following(cache: KvCache, count: number): number[] {
  const next = (cache.positions.at(-1) ?? -1) + 1;
  return Array.from({ length: count }, (_, i) => next + i);
}

/** Rows of the last layer may be found from the end: with another height they would get others' coefficients. @throws E_ARGUMENT */
function checkRouting(count: number, routing: Tensor | undefined): void {
  if (!routing || (routing.shape.length === 2 && routing.shape[0] === count)) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `Routing of shape [${routing.shape.join(', ')}] does not fit ${count} tokens.`,
    'Give a row of coefficients for each token.',
  );
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
