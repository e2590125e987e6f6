import type { ByteSource } from '../runtime/files/source.ts';
import type { MoeConfig } from './experts.ts';
import type { Architecture } from './families/families.ts';
import type { LayerParts, LayerScales, LayerWindows } from './families/family.ts';
import type { StoredType } from './quantised/stored-types.ts';
import type { LayerRopes, RopeConfig } from './rope/types.ts';
import type { RowOrder } from './row-order.ts';

export type { MoeConfig, RouterRule } from './experts.ts';
export type { Architecture } from './families/families.ts';
export type { StoredType } from './quantised/stored-types.ts';
export type { RopeConfig, RopeScaling } from './rope/types.ts';

/** One tensor of a checkpoint: where its bytes are. Nothing has been read of it yet. */
export interface TensorEntry {
  /** Canonical name: Hugging Face's (`model.layers.0.self_attn.q_proj.weight`), whatever the file calls it. */
  readonly name: string;
  readonly type: StoredType;
  /** Outermost dimension first; rows of the last dimension are contiguous. A linear layer is `[out, in]`. */
  readonly shape: readonly number[];
  readonly source: ByteSource;
  /** Byte offset inside the source, and length. */
  readonly offset: number;
  readonly byteLength: number;
  /** `llama-permuted`: q and k of the families that llama.cpp's converter reorders; `storedRow` says how. */
  readonly rowOrder: RowOrder;
}

/** All that the decoder needs to know about a model, from config.json or GGUF metadata. */
export interface ModelConfig extends LayerParts, LayerWindows, LayerRopes, LayerScales {
  readonly architecture: Architecture;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly nLayers: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  readonly maxPositions: number;
  readonly rope: RopeConfig;
  /** Whether logits come from the embedding matrix. What the file holds decides: an output matrix of its own that differs is used. */
  readonly tiedEmbeddings: boolean;
  /** There is no output matrix at all (the export of a base model that is not tied): it embeds texts, and predicts nothing. */
  readonly headless: boolean;
  /** Null: every layer has a dense feed-forward. */
  readonly moe: MoeConfig | null;
  readonly bosId: number | null;
  readonly eosIds: readonly number[];
  readonly padId: number | null;
}

/** What the text side needs: a Hugging Face tokenizer.json and tokenizer_config.json, read or made from GGUF's vocabulary. */
export interface TokenizerSpec {
  readonly tokenizerJson: object;
  readonly tokenizerConfig: object;
  /** Jinja source, or null when the model has none: where there are several, the one called `default`. */
  readonly chatTemplate: string | null;
  /** Jinja sources of the others by name, such as `tool_use`. */
  readonly namedTemplates?: ReadonlyMap<string, string>;
  /**
   * SentencePiece's scores by id, and which tokens merges may lead to, where the file has these and no merges. The text side
   * then merges by them; `model.merges` of tokenizerJson says the same for other programs, and is computed when it is read.
   */
  readonly scores?: { readonly scores: ArrayLike<number>; readonly mergeable: readonly boolean[] };
  /** What is doubtful about it, as sentences. */
  readonly warnings?: readonly string[];
}

/** Linear layers that were rounded while they were read, of all that there are. */
export interface RoundedLayers {
  readonly rounded: number;
  readonly linear: number;
}

/** An opened checkpoint. Its header is checked; its tensors' bytes are not yet read. */
export interface Checkpoint {
  readonly name: string;
  readonly format: 'safetensors' | 'gguf';
  readonly config: ModelConfig;
  /** By canonical name. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Tensors that are there in an element type we do not read: canonical name to the file's own name of that type. */
  readonly unsupported: ReadonlyMap<string, string>;
  /** Bytes of all files together. */
  readonly byteLength: number;
  /** Keys of config.json that the architecture makes no use of. */
  readonly ignoredKeys: readonly string[];
  /** Tensors of the file that the model is not computed from, by the file's names in Hugging Face's spelling. */
  readonly unusedTensors: readonly string[];
  /** What was found and left out or taken otherwise than it stands there, a sentence each. */
  readonly notes: readonly string[];
  /** Where rounding was asked for. */
  readonly rounded?: RoundedLayers;
  /** @throws E_TOKENIZER_INVALID, E_FILE_NOT_FOUND */
  tokenizer(): Promise<TokenizerSpec>;
  close(): Promise<void>;
}
