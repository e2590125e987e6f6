/** What a layer of the decoder is told: of the model, and of a pass. */
import type { ModelConfig, RouterRule } from '../checkpoint/types.ts';
import type { GatedActivation, Precision, RopeLayout, Tensor } from '../device/device.ts';

/** What one layer needs to know of the configuration. */
export interface LayerFacts {
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly eps: number;
  readonly queryLayout: RopeLayout;
  readonly keyLayout: RopeLayout;
  /** Of q · k. */
  readonly attentionScale: number;
  /** Of what attention and feed-forward add. */
  readonly residualScale: number;
  /** A query sees at most this many positions, its own included; 0: all. */
  readonly window: number;
  /** Of the feed-forward. */
  readonly activation: GatedActivation;
  /** Of a layer with experts. */
  readonly router: RouterRule | null;
}

/** Of each layer. */
export function layerFacts(config: ModelConfig): LayerFacts[] {
  const { nHeads, nKvHeads, headDim, rope } = config;
  const windowed = new Set(config.windowLayers);
  const sparse = new Set(config.moe?.layers);
  const layout = { headDim, rotaryDims: rope.rotaryDims, layout: rope.layout };
  const common = {
    nHeads,
    nKvHeads,
    headDim,
    eps: config.rmsNormEps,
    queryLayout: { heads: nHeads, ...layout },
    keyLayout: { heads: nKvHeads, ...layout },
    attentionScale: config.attentionScale ?? 1 / Math.sqrt(headDim),
    residualScale: config.residualScale,
    activation: config.activation,
  };
  return Array.from({ length: config.nLayers }, (_, i) => ({
    ...common,
    window: windowed.has(i) ? (config.slidingWindow ?? 0) : 0,
    router: sparse.has(i) ? config.moe!.router : null,
  }));
}

export interface LayerHooks {
  /**
   * Called at once, in each layer, with keys as they stand before RoPE (after norm and bias) and values, [t, nKvHeads · headDim] each, of
   * rows firstRow .. of the text. They are scratch: enqueue what shall be done with them before it returns.
   */
  readonly onKeys?: (layer: number, keys: Tensor, values: Tensor, firstRow: number) => void;
  /** The same for queries, [t, nHeads · headDim]. Not with `output: 'last'`. */
  readonly onQueries?: (layer: number, queries: Tensor, firstRow: number) => void;
}

/** Rows that go to the cache together: `count` from `first` on to `row`. */
export interface Stretch {
  readonly first: number;
  readonly count: number;
  readonly row: number;
}

/** Rows of a pass that are tokens of one sequence, and what they see. */
export interface SequenceRows {
  /** Cache of this layer, [capacity, nKvHeads · headDim], keys rotated. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** Where keys and values go in it, by rows of the pass. */
  readonly stretches: readonly Stretch[];
  /** Of the rows whose result is wanted: which are of this sequence, */
  readonly first: number;
  readonly count: number;
  /** and where the first of them stands in the cache, as attention counts. */
  readonly base: number;
  /** RoPE position of the first row, for a sequence of one. */
  readonly position: number;
}

/** One pass of t tokens through one layer. */
export interface LayerRun {
  readonly index: number;
  /** One, or several with nothing but the weights in common; masks are for one alone. */
  readonly sequences: readonly SequenceRows[];
  /** Whether no row has company, as in `Device.linear`: one token of each sequence. */
  readonly alone: boolean;
  /** Angles by position, [positions, 2, rotaryDims/2]; null: the layer rotates nothing. */
  readonly table: Tensor | null;
  /** Of the split's part of the cache, see `Device.attention`. */
  readonly splitFactor: number;
  readonly precision: Precision;
  /** Row of the text that the first token is. */
  readonly firstRow: number;
  readonly hooks: LayerHooks;
  /** Whether it runs again for its way back, which does not read `feedForwardOut`: that is left undefined then. */
  readonly again?: boolean;
}

/** Where rows first .. of a pass go in the cache: behind `base`, or to the given places. */
export function stretches(rows: readonly number[] | undefined, first: number, count: number, base: number): Stretch[] {
  if (!rows) return [{ first, count, row: base }];
  const list: { first: number; count: number; row: number }[] = [];
  for (const [i, row] of rows.entries()) {
    const last = list.at(-1);
    if (last && last.row + last.count === row) last.count++;
    else list.push({ first: first + i, count: 1, row });
  }
  return list;
}
