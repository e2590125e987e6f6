import type { ModelConfig, MoeConfig } from './types.ts';

/** One tensor of a layer, as a configuration calls for it. */
export interface PartSpec<Of> {
  /** Behind `model.layers.0.`, or behind that and `mlp.` for parts of a feed-forward. */
  readonly name: string | ((of: Of) => string);
  /** Outermost dimension first. */
  readonly shape: (of: Of) => readonly number[];
  /** Whether it is the weight of an RMSNorm. */
  readonly norm?: true;
  /** Left out: always. */
  readonly present?: (of: Of) => boolean;
}

export type PartTable<Of> = Readonly<Record<string, PartSpec<Of>>>;

/** What a table describes, each as an `X`: null where it may be absent. */
export type Parts<Table, X> = {
  readonly [Part in keyof Table]: Table[Part] extends { readonly present: unknown } ? X | null : X;
};

/** Norms and attention of a layer, in the order of computing, but that its feed-forward stands before the last norm. */
export const LAYER_PARTS = {
  inputNorm: { norm: true, name: 'input_layernorm.weight', shape: (c) => [c.hiddenSize] },
  q: { name: 'self_attn.q_proj.weight', shape: (c) => [c.nHeads * c.headDim, c.hiddenSize] },
  qBias: { name: 'self_attn.q_proj.bias', shape: (c) => [c.nHeads * c.headDim], present: (c) => c.qkvBias },
  k: { name: 'self_attn.k_proj.weight', shape: (c) => [c.nKvHeads * c.headDim, c.hiddenSize] },
  kBias: { name: 'self_attn.k_proj.bias', shape: (c) => [c.nKvHeads * c.headDim], present: (c) => c.qkvBias },
  v: { name: 'self_attn.v_proj.weight', shape: (c) => [c.nKvHeads * c.headDim, c.hiddenSize] },
  vBias: { name: 'self_attn.v_proj.bias', shape: (c) => [c.nKvHeads * c.headDim], present: (c) => c.qkvBias },
  qNorm: { norm: true, name: 'self_attn.q_norm.weight', shape: (c) => [c.headDim], present: (c) => c.qkNorm },
  kNorm: { norm: true, name: 'self_attn.k_norm.weight', shape: (c) => [c.headDim], present: (c) => c.qkNorm },
  o: { name: 'self_attn.o_proj.weight', shape: (c) => [c.hiddenSize, c.nHeads * c.headDim] },
  oBias: { name: 'self_attn.o_proj.bias', shape: (c) => [c.hiddenSize], present: (c) => c.outputBias },
  postAttentionNorm: {
    norm: true,
    name: 'post_attention_layernorm.weight',
    shape: (c) => [c.hiddenSize],
    present: (c) => c.postNorms,
  },
  // Gemma uses the name that others have for it for the norm behind attention
  feedForwardNorm: {
    norm: true,
    name: (c) => (c.postNorms ? 'pre_feedforward_layernorm.weight' : 'post_attention_layernorm.weight'),
    shape: (c) => [c.hiddenSize],
  },
  postFeedForwardNorm: {
    norm: true,
    name: 'post_feedforward_layernorm.weight',
    shape: (c) => [c.hiddenSize],
    present: (c) => c.postNorms,
  },
} as const satisfies PartTable<ModelConfig>;

/** A gated feed-forward: of a dense layer, of an expert, or the shared expert. */
export interface FeedForwardShape {
  readonly hidden: number;
  readonly inner: number;
  readonly biases: boolean;
}

export const FEED_FORWARD_PARTS = {
  gate: { name: 'gate_proj.weight', shape: (f) => [f.inner, f.hidden] },
  gateBias: { name: 'gate_proj.bias', shape: (f) => [f.inner], present: (f) => f.biases },
  up: { name: 'up_proj.weight', shape: (f) => [f.inner, f.hidden] },
  upBias: { name: 'up_proj.bias', shape: (f) => [f.inner], present: (f) => f.biases },
  down: { name: 'down_proj.weight', shape: (f) => [f.hidden, f.inner] },
  downBias: { name: 'down_proj.bias', shape: (f) => [f.hidden], present: (f) => f.biases },
} as const satisfies PartTable<FeedForwardShape>;

/** What a mixture of experts has beside its feed-forwards. */
export interface MixtureShape extends MoeConfig {
  readonly hidden: number;
}

export const MIXTURE_PARTS = {
  router: { name: 'gate.weight', shape: (m) => [m.experts, m.hidden] },
  selectionBias: {
    name: 'gate.e_score_correction_bias',
    shape: (m) => [m.experts],
    present: (m) => m.router.selectionBias,
  },
  sharedGate: { name: 'shared_expert_gate.weight', shape: (m) => [1, m.hidden], present: (m) => m.sharedGate },
} as const satisfies PartTable<MixtureShape>;

export function partName<Of>(spec: PartSpec<Of>, of: Of): string {
  return typeof spec.name === 'string' ? spec.name : spec.name(of);
}

/** Whether a configuration calls for a part. */
export function isPresent<Of>(spec: PartSpec<Of>, of: Of): boolean {
  return spec.present?.(of) ?? true;
}

/** Where the parts of feed-forwards and mixtures stand, behind `model.layers.0.`. */
export const AT = {
  feedForward: 'mlp.',
  expert: (expert: number) => `mlp.experts.${expert}.`,
  shared: 'mlp.shared_expert.',
} as const;

/** The feed-forward of a dense layer. */
export function denseShape({ hiddenSize, intermediateSize, mlpBias }: ModelConfig): FeedForwardShape {
  return { hidden: hiddenSize, inner: intermediateSize, biases: mlpBias };
}

/** Each expert's, and the shared expert's: of inner size 0 where there is none. */
export function expertShapes(hidden: number, moe: MoeConfig): { expert: FeedForwardShape; shared: FeedForwardShape } {
  return {
    expert: { hidden, inner: moe.expertSize, biases: false },
    shared: { hidden, inner: moe.sharedSize, biases: false },
  };
}

/** Outside the layers. */
export const EMBEDDING = 'model.embed_tokens.weight';
export const FINAL_NORM = 'model.norm.weight';
export const HEAD = 'lm_head.weight';

/** A matrix of a dense layer's feed-forward. */
export function projectionName(layer: number, projection: 'gate' | 'up' | 'down'): string {
  return `model.layers.${layer}.${AT.feedForward}${FEED_FORWARD_PARTS[projection].name}`;
}
