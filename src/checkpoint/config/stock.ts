import type { Architecture } from '../types.ts';

/** An architecture of transformers; our own config names one that its layers are built like. */
export type StockArchitecture = Exclude<Architecture, 'espalier_moe'>;

/** What a configuration class of transformers assumes where config.json is silent, and how it reads what differs among classes. */
export interface StockConfig {
  readonly vocab: number;
  readonly hidden: number;
  readonly inner: number;
  readonly layers: number;
  readonly heads: number;
  /** Null: as many as heads. */
  readonly kvHeads: number | null;
  /** Whether null is allowed for the number of key and value heads, and means as many as heads. */
  readonly kvHeadsNull: boolean;
  /** Null: hidden size by heads, rounded down. */
  readonly headDim: number | null;
  /** Whether null is allowed for the head size, and means the same as its absence. */
  readonly headDimNull: boolean;
  readonly positions: number;
  readonly eps: number;
  readonly theta: number;
  readonly bos: number | null;
  readonly eos: number | null;
}

const LLAMA: StockConfig = {
  vocab: 32_000,
  hidden: 4096,
  inner: 11_008,
  layers: 32,
  heads: 32,
  kvHeads: null,
  kvHeadsNull: true,
  headDim: null,
  headDimNull: true,
  positions: 2048,
  eps: 1e-6,
  theta: 10_000,
  bos: 1,
  eos: 2,
};
const MISTRAL: StockConfig = { ...LLAMA, inner: 14_336, kvHeads: 8, kvHeadsNull: false, positions: 131_072 };
const QWEN2: StockConfig = {
  ...LLAMA,
  vocab: 151_936,
  inner: 22_016,
  kvHeads: 32,
  headDimNull: false,
  positions: 32_768,
  bos: null,
  eos: null,
};
const QWEN2_MOE: StockConfig = {
  ...QWEN2,
  hidden: 2048,
  inner: 5632,
  layers: 24,
  heads: 16,
  kvHeads: 16,
  kvHeadsNull: false,
};

/** The classes of transformers 5.24; those of 4.57 have the same defaults where both have the key. */
export const STOCK: Readonly<Record<StockArchitecture, StockConfig>> = {
  llama: LLAMA,
  mistral: MISTRAL,
  qwen2: QWEN2,
  qwen3: { ...QWEN2, headDim: 128 },
  granitemoeshared: { ...LLAMA, headDimNull: false },
  mixtral: { ...MISTRAL, eps: 1e-5, theta: 1_000_000 },
  qwen2_moe: QWEN2_MOE,
  qwen3_moe: { ...QWEN2_MOE, inner: 6144, heads: 32, kvHeads: 4 },
};

/** Dense architectures, which layers of our own configuration are built like. */
export const BASES: readonly StockArchitecture[] = ['llama', 'mistral', 'qwen2', 'qwen3'];

/** Names of classes, without what they are made for (`ForCausalLM`, `Model`). */
export const CLASSES: ReadonlyMap<string, Architecture> = new Map([
  ['Llama', 'llama'],
  ['Mistral', 'mistral'],
  ['Qwen2', 'qwen2'],
  ['Qwen3', 'qwen3'],
  ['GraniteMoeShared', 'granitemoeshared'],
  ['Mixtral', 'mixtral'],
  ['Qwen2Moe', 'qwen2_moe'],
  ['Qwen3Moe', 'qwen3_moe'],
]);

/**
 * Keys that no answer depends on: where a file comes from, how it was trained, how its weights are stored, what other programs do with
 * it. They are not named as ignored, since every file has some.
 */
export const NEUTRAL: ReadonlySet<string> = new Set([
  '_attn_implementation_autoset',
  '_commit_hash',
  '_name_or_path',
  'architectures',
  'attention_dropout',
  'attn_implementation',
  'auto_map',
  'chunk_size_feed_forward',
  'dtype',
  'id2label',
  'initializer_range',
  'is_causal',
  'is_encoder_decoder',
  'label2id',
  'model_type',
  'name_or_path',
  'output_attentions',
  'output_hidden_states',
  'output_router_logits',
  'pretraining_tp',
  'return_dict',
  'router_aux_loss_coef',
  'router_jitter_noise',
  'torch_dtype',
  'transformers_version',
  'use_cache',
]);
