import { GATE_INPUTS, type GateInput, type GateInputs } from '../../checkpoint/adapter/gate-kinds.ts';
import type { RoutingRule } from '../../checkpoint/adapter/routing.ts';
import type { ModelConfig } from '../../checkpoint/types.ts';
import type { Device, Precision, Tensor } from '../../device/device.ts';
import { type FusedDevice, fusedOf } from '../../device/fused-device.ts';
import { EspalierError } from '../../errors.ts';
import { Decoder, type EachOptions, type ForwardOptions, type SequencePart } from '../decoder.ts';
import type { KvCache } from '../kv-cache.ts';
import type { DecoderWeights } from '../weights.ts';
import { RoutedCache, unsupported } from './cache.ts';
import { alignedEntropy, predictionEntropies, unknownEntropy } from './entropies.ts';
import { type GateWeights, gateForward, slotsOf } from './gate.ts';
import { meanShares } from './means.ts';
import { coefficientsOf, type TokenRouting, tokenRouting } from './rule.ts';
import { loadOnDevice, type OnDevice } from './webgpu/load.ts';
import type { ChosenRows } from './webgpu/on-device.ts';

/** Who chooses experts: a gate, and by which rule. */
export interface Router {
  readonly gate: GateWeights;
  readonly rule: RoutingRule;
  dispose(): void;
}

/** Loaded where experts are first chosen by it: later passes wait for nothing. */
let onDevice: OnDevice | null = null;

/**
 * A decoder whose terms of experts act by position. The same tokens go through the unadapted model first: the gate reads its last hidden states,
 * their running mean or its entropies, the rule its entropies. So each token costs two passes, and a sequence has two caches.
 */
export class RoutedDecoder extends Decoder {
  /** The unadapted model; shares its weights. */
  readonly base: Decoder;
  readonly #router: Router;

  /** @param weights those of `base`, with terms */
  constructor(
    device: Device,
    config: ModelConfig,
    weights: DecoderWeights,
    base: Decoder,
    router: Router,
    precision: Precision,
  ) {
    super(device, config, weights, precision);
    this.base = base;
    this.#router = router;
  }

  /** Means of hidden states are summed by pieces, and a last row whose entropy is computed by itself gets other bits. */
  override get piecesIndependent(): boolean {
    return false;
  }

  get experts(): number {
    return slotsOf(this.#router.gate) - 1;
  }

  override cache(capacity = 0, mostRows?: number): RoutedCache {
    const base = this.base.cache(0, mostRows);
    return new RoutedCache(this.device, this.config, this.ropes, base, capacity, mostRows, this.#reads('mean'));
  }

  #reads(input: GateInput): boolean {
    return GATE_INPUTS[this.#router.gate.kind].includes(input);
  }

  /** As `Decoder.forward`. @throws E_ADAPTER for masks and rows, which leave open what came before */
  override async forward(
    ids: readonly number[] | Int32Array,
    cache: KvCache,
    options: ForwardOptions = {},
  ): Promise<void> {
    const own = routed(cache);
    if (ids.length === 0) return super.forward(ids, own, options);
    if (options.mask || options.rows || options.split) {
      throw unsupported(
        'Tokens beside each other cannot go through a model whose experts are chosen by what came before.',
      );
    }
    const before = own.length;
    const mark = this.device.mark();
    try {
      const routing = this.device.scratch('f32', [ids.length, this.experts]);
      await this.#route(ids, own, options, routing);
      await super.forward(ids, own, { ...options, routing });
    } catch (error) {
      forget(own, before);
      throw error;
    } finally {
      this.device.reset(mark);
    }
  }

  /**
   * Coefficients of the experts at each position of a text [T, experts], those that `forward` computes with.
   * @param cache of this decoder, in use by nobody: it holds nothing before and behind
   * @throws E_ARGUMENT for another model's cache; as `forward`
   */
  async coefficients(
    ids: readonly number[] | Int32Array,
    cache: KvCache,
    options: Pick<ForwardOptions, 'signal' | 'precision'> = {},
  ): Promise<Float32Array> {
    const own = routed(cache);
    own.truncate(0);
    const mark = this.device.mark();
    try {
      const routing = this.device.scratch('f32', [ids.length, this.experts]);
      await this.#route(ids, own, options, routing);
      return (await this.device.read(routing)) as Float32Array;
    } finally {
      forget(own, 0);
      this.device.reset(mark);
    }
  }

  /** The tokens through the unadapted model, and what is chosen by it. */
  async #route(
    ids: readonly number[] | Int32Array,
    own: RoutedCache,
    {
      positions,
      signal,
      precision,
      onRouting,
    }: Pick<ForwardOptions, 'positions' | 'signal' | 'precision' | 'onRouting'>,
    routing: Tensor,
  ): Promise<void> {
    const before = own.length;
    await this.base.forward(ids, own.base, {
      ...(positions && { positions }),
      ...(precision && { precision }),
      signal,
      onChunk: async (hidden, firstRow) => {
        own.reserve(before + ids.length);
        await this.#choose(own, before + firstRow, hidden, precision, routing, firstRow, onRouting);
      },
    });
  }

  /** What chooses without a readback, if it can: a rule that goes by what is predicted needs nothing that only the host knows. */
  get #chooser(): FusedDevice | null {
    return this.#router.rule.alignment === 'predictive' ? fusedOf(this.device) : null;
  }

  /** Who acts on a token is decided from what the unadapted model makes of it: that must stay on the device. */
  override get canRunAhead(): boolean {
    return super.canRunAhead && this.#chooser !== null;
  }

  override async forwardAhead(
    caches: readonly KvCache[],
    ids: Tensor,
    onOutput: (hidden: Tensor) => void,
  ): Promise<void> {
    onDevice ??= await loadOnDevice();
    const own = caches.map(routed);
    const mark = this.device.mark();
    try {
      const routing = this.device.scratch('f32', [own.length, this.experts]);
      const bases = own.map(({ base }) => base);
      const parts = own.map((cache) => ({ cache, count: 1 }));
      await this.base.forwardAhead(bases, ids, (hidden) =>
        this.#chooseTogether(parts, hidden, this.precision, routing),
      );
      await super.forwardAhead(own, ids, onOutput, routing);
    } finally {
      this.device.reset(mark);
    }
  }

  /** Of the next tokens of several sequences. @returns whether it was done: without a readback, or not at all */
  #chooseTogether(
    parts: readonly ChosenRows[],
    hidden: Tensor,
    precision: Precision | undefined,
    routing: Tensor,
  ): boolean {
    const { gate, rule } = this.#router;
    const device = this.#chooser;
    if (device) onDevice!.chooseOnDevice(device, this.base, gate, rule, parts, hidden, routing, precision);
    return device !== null;
  }

  /** As `Decoder.forwardEach`: each sequence gets the bits that it gets alone; of several tokens on a GPU the numbers, within rounding. */
  override async forwardEach(parts: readonly SequencePart[], options: EachOptions = {}): Promise<void> {
    if (this.#chooser) onDevice ??= await loadOnDevice();
    const own = parts.map(({ cache }) => routed(cache));
    const before = own.map(({ length }) => length);
    const total = parts.reduce((sum, { ids }) => sum + ids.length, 0);
    const mark = this.device.mark();
    try {
      const routing = this.device.scratch('f32', [Math.max(1, total), this.experts]);
      const { signal, precision, onRouting } = options;
      await this.base.forwardEach(
        parts.map(({ ids, positions }, i) => ({ ids, positions, cache: own[i]!.base })),
        {
          ...(precision && { precision }),
          signal,
          onOutput: async (hidden) => {
            for (const [i, { ids }] of parts.entries()) own[i]!.reserve(before[i]! + ids.length);
            const next = parts.map(({ ids }, i) => ({ cache: own[i]!, count: ids.length }));
            // a prompt by itself is chosen for as `forward` does it
            const isMany = total === parts.length || parts.length > 1;
            if (isMany && !onRouting && this.#chooseTogether(next, hidden, precision, routing)) return;
            let first = 0;
            for (const [i, { ids }] of parts.entries()) {
              const rows = this.device.rows(hidden, first, ids.length);
              await this.#choose(own[i]!, before[i]!, rows, precision, routing, first, onRouting);
              first += ids.length;
            }
          },
        },
      );
      await super.forwardEach(parts, { ...options, routing });
    } catch (error) {
      for (const [i, cache] of own.entries()) forget(cache, before[i]!);
      throw error;
    } finally {
      this.device.reset(mark);
    }
  }

  /**
   * Coefficients of some rows of a sequence, into the routing from its row `to` on.
   * @param row of the sequence that the first is
   * @param hidden [t, hidden] of the unadapted model
   * @param tell if there is somebody who asks how they were chosen
   */
  async #choose(
    cache: RoutedCache,
    row: number,
    hidden: Tensor,
    precision: Precision | undefined,
    routing: Tensor,
    to: number,
    tell: ForwardOptions['onRouting'],
  ): Promise<void> {
    const { device } = this;
    const { gate, rule } = this.#router;
    const t = hidden.shape[0]!;
    const mark = device.mark();
    let known: readonly (number | null)[] = [];
    if (rule.cut !== null || this.#reads('entropy')) {
      cache.entropies.length = row;
      cache.entropies.push(...(await predictionEntropies(this.base, hidden, rule.order, precision)));
      known = Array.from({ length: t }, (_, i) => alignedEntropy(rule, cache.entropies, row + i));
    }
    const unknown = unknownEntropy(rule, this.config.vocabSize);
    const entropies = Float32Array.from({ length: t }, (_, i) => known[i] ?? unknown);
    const logits = device.scratch('f32', [t, this.experts + 1]);
    gateForward(device, gate, this.#inputs(cache, row, hidden, entropies), logits);
    const chosen = (await device.read(logits)) as Float32Array;
    const coefficients = new Float32Array(t * this.experts);
    const told: TokenRouting[] = [];
    for (let i = 0; i < t; i++) {
      const of = chosen.subarray(i * (this.experts + 1), (i + 1) * (this.experts + 1));
      const own = coefficients.subarray(i * this.experts, (i + 1) * this.experts);
      coefficientsOf(rule, of, entropies[i]!, own);
      if (tell) told.push(tokenRouting(rule, of, known[i] ?? null, own));
    }
    tell?.(told, to);
    device.write(device.rows(routing, to, t), coefficients);
    device.reset(mark);
  }

  #inputs(cache: RoutedCache, row: number, hidden: Tensor, entropies: Float32Array): GateInputs<Tensor> {
    const mean = this.#reads('mean') && { mean: this.#means(cache, row, hidden) };
    if (!this.#reads('entropy')) return { now: hidden, ...mean };
    const entropy = this.device.scratch('f32', [entropies.length, 1]);
    this.device.write(entropy, entropies);
    return { now: hidden, ...mean, entropy };
  }

  /** Means of hidden states up to each row, which the cache keeps. */
  #means(cache: RoutedCache, row: number, hidden: Tensor): Tensor {
    const { device } = this;
    const [t, width] = [hidden.shape[0]!, hidden.shape[1]!];
    const behind = row > 0 ? 1 : 0;
    const columns = t + behind;
    const mixed = device.scratch('f32', [t, columns]);
    device.write(mixed, meanShares(row, t));
    const states = device.scratch('f32', [columns, width]);
    if (behind) device.copyRows(cache.means(row - 1, 1), states, 0);
    device.copyRows(hidden, states, behind);
    const means = cache.means(row, t);
    device.matmul(mixed, states, means);
    return means;
  }

  override dispose(): void {
    super.dispose();
    this.base.ropes.dispose(); // its weights are this one's
    this.#router.dispose();
  }
}

/** @throws E_ARGUMENT */
function routed(cache: KvCache): RoutedCache {
  if (cache instanceof RoutedCache) return cache;
  throw new EspalierError('E_ARGUMENT', 'The cache is that of another model.', 'Make one with `decoder.cache()`.');
}

/** Back to what it held, wherever a pass broke off. */
function forget(cache: RoutedCache, length: number): void {
  if (cache.length > length) cache.truncate(length);
  if (cache.base.length > length) cache.base.truncate(length);
  cache.entropies.length = Math.min(cache.entropies.length, length);
}
