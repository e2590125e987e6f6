import type { ConfigRemarks } from '../config/config.ts';
import { configInvalid, unsupported } from '../config/faults.ts';
import { ARCHITECTURES, familyOf, isFamily, type StockArchitecture } from '../families/families.ts';
import type { GgufFamily } from '../families/family.ts';
import { checkConfig, MAX_LAYERS } from '../limits.ts';
import type { TensorTable } from '../tensor-table.ts';
import type { ModelConfig, RopeScaling } from '../types.ts';
import { endTokens } from './end-tokens.ts';
import type { GgufValue } from './gguf.ts';
import { GGUF_TYPE } from './reader.ts';

/** The architecture that a GGUF file states, and how its family is stored. @throws E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED */
export function ggufArchitecture(
  metadata: ReadonlyMap<string, GgufValue>,
  name: string,
): { readonly architecture: StockArchitecture; readonly family: GgufFamily } {
  const architecture = metadata.get('general.architecture');
  if (typeof architecture !== 'string') throw configInvalid(name, 'general.architecture is missing');
  const family = isFamily(architecture) ? familyOf(architecture).gguf : null;
  if (family) return { architecture: architecture as StockArchitecture, family };
  throw unsupported(
    name,
    `its architecture is ${architecture.slice(0, 100)}`,
    ARCHITECTURES.filter((type) => isFamily(type) && familyOf(type).gguf),
  );
}

/**
 * The model's configuration from GGUF metadata and from which tensors there are (biases, an output matrix of its own).
 *
 * @param types ggml's numbers of the metadata's types
 * @param table tensors by canonical name
 * @param frequencyDivisors content of `rope_freqs.weight`, or null
 * @param remarks gets what is said beside
 * @throws E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED
 */
export function configFromGguf(
  metadata: ReadonlyMap<string, GgufValue>,
  types: ReadonlyMap<string, number>,
  table: TensorTable,
  frequencyDivisors: Float32Array | null,
  name: string,
  remarks: ConfigRemarks = { ignoredKeys: [], notes: [] },
): ModelConfig {
  const { architecture, family } = ggufArchitecture(metadata, name);
  const read = new Reader(metadata, types, architecture, name);
  const has = (tensor: string) => table.tensors.has(tensor) || table.unsupported.has(tensor);
  const attention = 'model.layers.0.self_attn';
  if ((read.whole('expert_count') ?? 0) > 0) throw unsupported(name, 'it is a mixture of experts');

  const hiddenSize = read.need('embedding_length');
  const nLayers = read.need('block_count');
  const nHeads = read.eachLayer('attention.head_count', nLayers) ?? read.missing('attention.head_count');
  const headDim = read.whole('attention.key_length') ?? hiddenSize / nHeads;
  if (!Number.isInteger(headDim)) {
    throw configInvalid(name, `a hidden size of ${hiddenSize} does not divide into ${nHeads} heads`);
  }
  const valueDim = read.whole('attention.value_length') ?? headDim;
  if (valueDim !== headDim) throw unsupported(name, 'its keys and values differ in length');
  const rotaryDims = read.whole('rope.dimension_count') ?? headDim;
  // llama.cpp pairs neighbours there, and the converter's order of rows matches only when all dimensions rotate
  if (family.permuted && rotaryDims < headDim) throw unsupported(name, 'only part of each head rotates');
  const maxPositions = read.need('context_length');
  const window = read.whole('attention.sliding_window') ?? 0;
  if (metadata.get(`${architecture}.attention.causal`) === false) {
    throw unsupported(name, 'it is not causal: tokens would see those behind them');
  }

  const vocabSize = vocabularySize(metadata, read, table, name);
  const special = (key: string): number | null => {
    const id = read.token(key);
    if (id === null || (id >= 0 && id < vocabSize)) return id;
    // as llama.cpp does
    remarks.notes.push(
      `${name}: tokenizer.ggml.${key} is ${id}, outside the vocabulary of ${vocabSize}; it is ignored.`,
    );
    return null;
  };

  const config = checkConfig(
    {
      architecture,
      vocabSize,
      hiddenSize,
      intermediateSize: read.eachLayer('feed_forward_length', nLayers) ?? read.missing('feed_forward_length'),
      nLayers,
      nHeads,
      nKvHeads: read.eachLayer('attention.head_count_kv', nLayers) ?? nHeads,
      headDim,
      rmsNormEps: read.number('attention.layer_norm_rms_epsilon') ?? read.missing('attention.layer_norm_rms_epsilon'),
      maxPositions,
      rope: {
        theta: read.number('rope.freq_base') ?? 10_000,
        rotaryDims,
        layout: 'half', // rows of q and k are brought into that order while loading
        scaling: scalingOf(read, maxPositions, name),
        frequencyDivisors,
      },
      tiedEmbeddings: !has('lm_head.weight'),
      headless: false,
      qkvBias: has(`${attention}.q_proj.bias`),
      outputBias: has(`${attention}.o_proj.bias`),
      mlpBias: has('model.layers.0.mlp.gate_proj.bias'),
      qkNorm: family.qkNorm,
      slidingWindow: window === 0 ? null : window,
      windowLayers: window === 0 ? [] : Array.from({ length: Math.min(nLayers, MAX_LAYERS) }, (_, i) => i),
      moe: null,
      embeddingScale: 1,
      residualScale: 1,
      logitScale: 1,
      attentionScale: null,
      bosId: special('bos_token_id'),
      eosIds: [...['eos_token_id', 'eot_token_id', 'eom_token_id'].map(special), ...endTokens(metadata)].filter(
        (id, i, ids): id is number => id !== null && ids.indexOf(id) === i,
      ),
      padId: special('padding_token_id'),
    },
    name,
  );
  remarks.ignoredKeys.push(...read.unread.filter((key) => !NEUTRAL.has(key.slice(architecture.length + 1))));
  return config;
}

/** Keys of an architecture that no answer depends on. The vocabulary's size is its list's. */
const NEUTRAL: ReadonlySet<string> = new Set(['attention.causal', 'rope.scaling.finetuned', 'vocab_size']);

function vocabularySize(
  metadata: ReadonlyMap<string, GgufValue>,
  read: Reader,
  table: TensorTable,
  name: string,
): number {
  const tokens = metadata.get('tokenizer.ggml.tokens');
  if (Array.isArray(tokens)) return tokens.length;
  const size = read.whole('vocab_size') ?? table.tensors.get('model.embed_tokens.weight')?.shape[0];
  if (size === undefined) throw configInvalid(name, 'nothing tells the size of the vocabulary');
  return size;
}

function scalingOf(read: Reader, maxPositions: number, name: string): RopeScaling {
  const factor = read.number('rope.scaling.factor') ?? read.number('rope.scale_linear') ?? 0;
  // llama.cpp: a factor without a type is linear, a factor of 0 is none
  const type = read.text('rope.scaling.type') ?? 'linear';
  const extra = read.number('rope.scaling.yarn_attn_factor') ?? read.number('rope.scaling.attn_factor') ?? 1;
  // llama.cpp multiplies by it whatever the type
  if (type !== 'yarn' && extra !== 1) throw unsupported(name, `its RoPE has an attention factor of ${extra}`);
  switch (type) {
    case 'none':
      return { type: 'none' };
    case 'linear':
      return factor === 0 || factor === 1 ? { type: 'none' } : { type: 'linear', factor };
    case 'yarn': {
      if ((read.number('rope.scaling.yarn_ext_factor') ?? 1) !== 1)
        throw unsupported(name, 'its YaRN extrapolates partly');
      if ((read.number('rope.scaling.yarn_log_multiplier') ?? 0) !== 0) {
        throw unsupported(name, 'its YaRN has a logarithmic multiplier');
      }
      return {
        type: 'yarn',
        factor,
        originalMaxPositions: read.whole('rope.scaling.original_context_length') ?? maxPositions,
        betaFast: read.number('rope.scaling.yarn_beta_fast') ?? 32,
        betaSlow: read.number('rope.scaling.yarn_beta_slow') ?? 1,
        // ggml multiplies its own 1 + 0.1·ln(factor) by this
        attentionFactor: extra === 1 ? undefined : extra * (0.1 * Math.log(factor) + 1),
        truncate: true,
      };
    }
    default:
      throw unsupported(name, `its RoPE scaling is ${type.slice(0, 100)}`);
  }
}

const FLOATS: ReadonlySet<number | undefined> = new Set([GGUF_TYPE.f32, GGUF_TYPE.f64]);

class Reader {
  readonly #metadata: ReadonlyMap<string, GgufValue>;
  readonly #types: ReadonlyMap<string, number>;
  readonly #architecture: string;
  readonly #name: string;
  readonly #asked = new Set<string>();

  constructor(
    metadata: ReadonlyMap<string, GgufValue>,
    types: ReadonlyMap<string, number>,
    architecture: string,
    name: string,
  ) {
    this.#metadata = metadata;
    this.#types = types;
    this.#architecture = architecture;
    this.#name = name;
  }

  /** Keys of this architecture that nobody has asked for. */
  get unread(): string[] {
    return [...this.#metadata.keys()].filter(
      (key) => key.startsWith(`${this.#architecture}.`) && !this.#asked.has(key),
    );
  }

  /** A number of this architecture. */
  number(key: string): number | undefined {
    return this.#number(`${this.#architecture}.${key}`);
  }

  /** A number of an integer type: 2.0 is none, as in llama.cpp. */
  whole(key: string): number | undefined {
    const full = `${this.#architecture}.${key}`;
    const value = this.#number(full);
    if (value !== undefined && FLOATS.has(this.#types.get(full))) {
      throw configInvalid(this.#name, `${full} is stored as a floating point number, ${value}, not as a whole one`);
    }
    return value;
  }

  /** A whole number, or one for each layer, which must be the same here. */
  eachLayer(key: string, nLayers: number): number | undefined {
    const full = `${this.#architecture}.${key}`;
    const value = this.#value(full);
    if (!ArrayBuffer.isView(value)) return this.whole(key);
    const list = value as ArrayLike<number | bigint>;
    if (list.length < nLayers || list.length === 0) {
      throw configInvalid(this.#name, `${full} has ${list.length} entries for ${nLayers} layers`);
    }
    for (let i = 1; i < list.length; i++) {
      if (list[i] !== list[0]) throw unsupported(this.#name, `${full} differs from layer to layer`);
    }
    return Number(list[0]);
  }

  need(key: string): number {
    return this.whole(key) ?? this.missing(key);
  }

  missing(key: string): never {
    throw configInvalid(this.#name, `${this.#architecture}.${key} is missing`);
  }

  text(key: string): string | undefined {
    const full = `${this.#architecture}.${key}`;
    const value = this.#value(full);
    if (value !== undefined && typeof value !== 'string') throw configInvalid(this.#name, `${full} is not a text`);
    return value;
  }

  token(key: string): number | null {
    const full = `tokenizer.ggml.${key}`;
    const value = this.#number(full);
    if (value === undefined) return null;
    if (FLOATS.has(this.#types.get(full))) throw configInvalid(this.#name, `${full} is ${value}, not a whole number`);
    return value;
  }

  #value(full: string): GgufValue | undefined {
    this.#asked.add(full);
    return this.#metadata.get(full);
  }

  #number(full: string): number | undefined {
    const value = this.#value(full);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' && typeof value !== 'bigint') {
      throw configInvalid(this.#name, `${full} is not a number`);
    }
    const number = Number(value);
    if (!Number.isFinite(number)) throw configInvalid(this.#name, `${full} is ${number}`);
    return number;
  }
}
