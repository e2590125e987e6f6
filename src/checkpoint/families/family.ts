import type { ConfigKeys } from '../config/keys.ts';
import type { MoeConfig } from '../experts.ts';
import type { GgufKeys } from '../gguf/keys.ts';
import type { LayerRopes, RopeConfig, RopeContext } from '../rope/types.ts';

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
  /** Whether the class refuses a hidden size that the heads do not divide, where no head size is given. */
  readonly headsDivide: boolean;
  readonly positions: number;
  readonly eps: number;
  readonly theta: number;
  readonly bos: number | null;
  readonly eos: number | null;
  readonly pad: number | null;
  /** Whether the embedding is the output matrix. */
  readonly tied: boolean;
}

/** What gates a feed-forward: x σ(x), or GELU in its tanh form. */
export type Activation = 'silu' | 'gelu-tanh';

/** Parts that the layers of some families have. */
export interface LayerParts {
  /** Biases of q, k and v; of o; of gate, up and down. */
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** RMSNorm over each head of q and k before RoPE (Qwen3, Gemma). */
  readonly qkNorm: boolean;
  /** RMSNorm over what attention and feed-forward give, before it is added (Gemma). */
  readonly postNorms: boolean;
  /** All norms multiply by their stored weight plus this: Gemma stores it less 1. */
  readonly normOffset: 0 | 1;
  readonly activation: Activation;
}

/** Which layers see a part of the text alone. */
export interface LayerWindows {
  /** A query sees at most this many positions, its own included, in the layers of `windowLayers`; null: all, in every layer. */
  readonly slidingWindow: number | null;
  /** The layers with the sliding window, ascending; empty exactly where `slidingWindow` is null. */
  readonly windowLayers: readonly number[];
}

/** Factors of Granite and Gemma; elsewhere `NO_SCALES`. */
export interface LayerScales {
  /** Of the embeddings, of what a block adds, and what logits are divided by. */
  readonly embeddingScale: number;
  readonly residualScale: number;
  readonly logitScale: number;
  /** Of q · k; null: headDim^-0.5. */
  readonly attentionScale: number | null;
}

/** What is read of a GGUF file before a family is asked for what it has of its own. */
export interface GgufFacts {
  readonly nLayers: number;
  readonly hiddenSize: number;
  readonly nHeads: number;
  readonly headDim: number;
  readonly rope: RopeConfig;
  readonly slidingWindow: number | null;
}

/** How llama.cpp stores a family. */
export interface GgufFamily {
  /** What `general.architecture` says; left out: the same name as in config.json. */
  readonly architecture?: string;
  /**
   * Whether its converter reorders rows of q and k, weights and biases, because its RoPE there turns neighbours; then whole heads rotate.
   */
  readonly permuted: boolean;
  /** Whether its layers have norms of q and k. */
  readonly qkNorm: boolean;
  /** Hugging Face's names within `model.layers.N` of tensors within `blk.N`, where they are not those of most families. */
  readonly names?: Readonly<Record<string, string>>;
  /**
   * What llama.cpp reads or assumes for this family alone, in place of what is common. Left out: nothing.
   * @throws E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED
   */
  own?(keys: GgufKeys, facts: GgufFacts, file: string): Partial<LayerParts & LayerWindows & LayerRopes & LayerScales>;
}

/** What a family of models is, as the stock class of transformers reads its config.json, and as llama.cpp stores it. */
export interface Family {
  /** Name of the class, without what it is made for (`ForCausalLM`, `Model`). */
  readonly className: string;
  readonly defaults: StockConfig;
  /** Whether layers of our own configuration (`espalier_moe`) may be built like it: a dense one. */
  readonly base: boolean;
  /** Null: no GGUF file of it is read. */
  readonly gguf: GgufFamily | null;
  /** All but the activation, which is asked for by itself. @throws E_CONFIG_INVALID */
  parts(keys: ConfigKeys): Omit<LayerParts, 'activation'>;
  /** Left out: SiLU, and no other is taken. @throws E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED */
  activation?(keys: ConfigKeys, file: string): Activation;
  /** @throws E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED for layers of another kind */
  windows(keys: ConfigKeys, nLayers: number, file: string): LayerWindows;
  /**
   * How layers rotate. Left out: all by the RoPE that `ropeFromConfig` reads.
   * @throws E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED
   */
  ropes?(
    keys: ConfigKeys,
    context: RopeContext,
    nLayers: number,
    file: string,
  ): LayerRopes & { readonly rope: RopeConfig };
  /** Left out: `NO_SCALES`. @throws E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED */
  scales?(keys: ConfigKeys, hiddenSize: number, file: string): LayerScales;
  /**
   * Of the values only types are checked, and what is counted with: `checkConfig` does the rest. Left out: no experts; null: in no layer.
   * @param intermediateSize of the configuration, which some families use for their experts
   * @throws E_CONFIG_INVALID
   */
  experts?(keys: ConfigKeys, nLayers: number, intermediateSize: number): MoeConfig | null;
}

export const NO_PARTS: LayerParts = {
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  qkNorm: false,
  postNorms: false,
  normOffset: 0,
  activation: 'silu',
};
export const NO_SCALES: LayerScales = { embeddingScale: 1, residualScale: 1, logitScale: 1, attentionScale: null };

/** `attention_bias` of q, k, v and o alike. */
export function attentionBias(keys: ConfigKeys): LayerParts {
  const given = keys.flag('attention_bias', false);
  return { ...NO_PARTS, qkvBias: given, outputBias: given };
}

export function allLayers(nLayers: number): number[] {
  return Array.from({ length: nLayers }, (_, i) => i);
}
