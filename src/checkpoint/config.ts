import * as v from 'valibot';
import type { EspalierError } from '../errors.ts';
import { jsonObject, parseJson } from './json.ts';
import { checkConfig, configInvalid, unsupported } from './limits.ts';
import { moeFromConfig } from './moe-config.ts';
import { ropeFromConfig } from './rope-config.ts';
import type { Architecture, ModelConfig } from './types.ts';

/** An architecture of transformers; our own config names one that its layers are built like. */
type StockArchitecture = Exclude<Architecture, 'espalier_moe'>;

interface Defaults {
  /** Null: as many as heads. */
  readonly kvHeads: number | null;
  readonly positions: number;
  /** Null: hidden size by heads. */
  readonly headDim: number | null;
  readonly eps: number;
  readonly theta: number;
}

const PLAIN: Defaults = { kvHeads: null, positions: 2048, headDim: null, eps: 1e-6, theta: 10_000 };
/** What transformers assumes where config.json is silent; by architecture where it differs. */
const DEFAULTS: Readonly<Record<StockArchitecture, Defaults>> = {
  llama: PLAIN,
  mistral: { ...PLAIN, kvHeads: 8, positions: 131_072 },
  qwen2: { ...PLAIN, kvHeads: 32, positions: 32_768 },
  qwen3: { ...PLAIN, kvHeads: 32, positions: 32_768, headDim: 128 },
  granitemoeshared: PLAIN,
  mixtral: { ...PLAIN, kvHeads: 8, positions: 131_072, eps: 1e-5, theta: 1_000_000 },
  qwen2_moe: { ...PLAIN, kvHeads: 16, positions: 32_768 },
  qwen3_moe: { ...PLAIN, kvHeads: 4, positions: 32_768 },
};
const BASES: readonly StockArchitecture[] = ['llama', 'mistral', 'qwen2', 'qwen3'];
const CLASSES: ReadonlyMap<string, Architecture> = new Map([
  ['LlamaForCausalLM', 'llama'],
  ['MistralForCausalLM', 'mistral'],
  ['Qwen2ForCausalLM', 'qwen2'],
  ['Qwen3ForCausalLM', 'qwen3'],
  ['GraniteMoeSharedForCausalLM', 'granitemoeshared'],
  ['MixtralForCausalLM', 'mixtral'],
  ['Qwen2MoeForCausalLM', 'qwen2_moe'],
  ['Qwen3MoeForCausalLM', 'qwen3_moe'],
]);
const DEFAULT_WINDOW = 4096;
const DEFAULT_WINDOW_LAYERS = 28;

const tokenId = v.nullish(v.pipe(v.number(), v.integer()));
const tokenIds = v.nullish(v.union([v.pipe(v.number(), v.integer()), v.array(v.pipe(v.number(), v.integer()))]));
const count = v.pipe(v.number(), v.integer());

/** The fields of config.json that change what is computed. Others may be there. */
const ConfigSchema = v.looseObject({
  model_type: v.optional(v.string()),
  architectures: v.nullish(v.array(v.string())),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: v.nullish(count),
  head_dim: v.nullish(count),
  hidden_act: v.optional(v.string(), 'silu'),
  max_position_embeddings: v.optional(count),
  rms_norm_eps: v.optional(v.number()),
  tie_word_embeddings: v.optional(v.boolean(), false),
  attention_bias: v.optional(v.boolean(), false),
  qkv_bias: v.optional(v.boolean(), true),
  mlp_bias: v.optional(v.boolean(), false),
  sliding_window: v.nullish(count),
  use_sliding_window: v.optional(v.boolean(), false),
  max_window_layers: v.optional(count, DEFAULT_WINDOW_LAYERS),
  layer_types: v.nullish(v.array(v.string())),
  base_model_type: v.optional(v.string()),
  embedding_multiplier: v.nullish(v.number()),
  residual_multiplier: v.nullish(v.number()),
  logits_scaling: v.nullish(v.number()),
  attention_multiplier: v.nullish(v.number()),
  bos_token_id: tokenId,
  eos_token_id: tokenIds,
  pad_token_id: tokenId,
});
export type HfConfig = v.InferOutput<typeof ConfigSchema>;

const GenerationSchema = v.looseObject({ eos_token_id: tokenIds });

/**
 * The model's configuration from Hugging Face's config.json, and the ends of text from generation_config.json where there is
 * one. Defaults are those of transformers.
 *
 * @throws E_CONFIG_INVALID for values that are missing, absurd or contradictory; E_ARCHITECTURE_UNSUPPORTED for another family,
 *   activation, quantisation or RoPE variant
 */
export function configFromJson(json: Uint8Array, generationJson: Uint8Array | null = null): ModelConfig {
  const name = 'config.json';
  const raw = object(json, name);
  const architecture = architectureOf(raw, name);
  const parsed = validate(ConfigSchema, raw, name);
  if (parsed.hidden_act !== 'silu' && parsed.hidden_act !== 'swish') {
    throw unsupported(name, `its activation is ${parsed.hidden_act.slice(0, 100)}, not silu`);
  }
  if (raw['quantization_config'] !== undefined && raw['quantization_config'] !== null) {
    throw unsupported(name, 'its weights are quantised in a way that safetensors files alone do not describe');
  }
  const generation = generationJson
    ? validate(GenerationSchema, object(generationJson, 'generation_config.json'), 'generation_config.json')
    : {};

  const base = architecture === 'espalier_moe' ? baseOf(parsed, name) : architecture;
  const defaults = DEFAULTS[base];
  const nHeads = parsed.num_attention_heads;
  const headDim = parsed.head_dim ?? defaults.headDim ?? parsed.hidden_size / nHeads;
  if (!Number.isInteger(headDim)) {
    throw configInvalid(name, `a hidden size of ${parsed.hidden_size} does not divide into ${nHeads} heads`);
  }
  // absent and null differ: null is as many as heads
  const kvHeads = parsed.num_key_value_heads === undefined ? defaults.kvHeads : parsed.num_key_value_heads;
  const maxPositions = parsed.max_position_embeddings ?? defaults.positions;
  const llamaIds = !base.startsWith('qwen');
  const special = (id: number | null | undefined, fallback: number | null) =>
    id === undefined ? fallback : id === -1 ? null : id;

  return checkConfig(
    {
      architecture,
      vocabSize: parsed.vocab_size,
      hiddenSize: parsed.hidden_size,
      intermediateSize: parsed.intermediate_size,
      nLayers: parsed.num_hidden_layers,
      nHeads,
      nKvHeads: kvHeads ?? nHeads,
      headDim,
      rmsNormEps: parsed.rms_norm_eps ?? defaults.eps,
      maxPositions,
      rope: ropeFromConfig({ ...raw, rope_theta: raw['rope_theta'] ?? defaults.theta }, headDim, maxPositions, name),
      tiedEmbeddings: parsed.tie_word_embeddings,
      ...partsOf(parsed, base),
      ...windowOf(parsed, base, name),
      moe: moeFromConfig(raw, architecture, parsed.num_hidden_layers, parsed.intermediate_size, name),
      ...scalesOf(parsed, base),
      bosId: special(parsed.bos_token_id, llamaIds ? 1 : null),
      eosIds: mergeIds(
        parsed.eos_token_id === undefined && llamaIds ? 2 : parsed.eos_token_id,
        generation.eos_token_id,
      ),
      // a padding token beyond the vocabulary (added for training, then dropped) is never fed
      padId: withinVocabulary(special(parsed.pad_token_id, null), parsed.vocab_size),
    },
    name,
  );
}

function object(json: Uint8Array, name: string): Readonly<Record<string, unknown>> {
  const limits = { name, code: 'E_CONFIG_INVALID', maxDepth: 32, uniqueKeys: true } as const;
  return jsonObject(parseJson(json, limits), limits);
}

function validate<S extends v.GenericSchema>(schema: S, value: unknown, name: string): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const cause = new v.ValiError(result.issues);
  throw configInvalid(name, `${v.getDotPath(issue) ?? 'it'}: ${issue.message.slice(0, 200)}`, cause);
}

/** The dense architecture that the layers of our own config are built like. */
function baseOf(config: HfConfig, name: string): StockArchitecture {
  const base = BASES.find((type) => type === config.base_model_type);
  if (base) return base;
  throw configInvalid(name, `base_model_type is ${String(config.base_model_type).slice(0, 100)}`);
}

function partsOf(
  config: HfConfig,
  base: StockArchitecture,
): Pick<ModelConfig, 'qkvBias' | 'outputBias' | 'mlpBias' | 'qkNorm'> {
  const given = config.attention_bias;
  const none = { qkvBias: false, outputBias: false, mlpBias: false, qkNorm: false };
  switch (base) {
    case 'llama':
      return { ...none, qkvBias: given, outputBias: given, mlpBias: config.mlp_bias };
    case 'granitemoeshared':
      return { ...none, qkvBias: given, outputBias: given };
    case 'qwen3':
    case 'qwen3_moe':
      return { ...none, qkvBias: given, outputBias: given, qkNorm: true };
    case 'qwen2': // on q, k and v whatever the file says
      return { ...none, qkvBias: true };
    case 'qwen2_moe':
      return { ...none, qkvBias: config.qkv_bias };
    default:
      return none;
  }
}

function scalesOf(
  config: HfConfig,
  base: StockArchitecture,
): Pick<ModelConfig, 'embeddingScale' | 'residualScale' | 'logitScale' | 'attentionScale'> {
  if (base !== 'granitemoeshared') return { embeddingScale: 1, residualScale: 1, logitScale: 1, attentionScale: null };
  return {
    embeddingScale: config.embedding_multiplier ?? 1,
    residualScale: config.residual_multiplier ?? 1,
    logitScale: config.logits_scaling ?? 1,
    attentionScale: config.attention_multiplier ?? 1,
  };
}

function architectureOf(raw: Readonly<Record<string, unknown>>, name: string): Architecture {
  const { model_type: type, architectures } = raw;
  if (typeof type === 'string') {
    if (type === 'espalier_moe' || Object.hasOwn(DEFAULTS, type)) return type as Architecture;
    throw unsupported(name, `its model_type is ${type.slice(0, 100)}`);
  }
  const first = Array.isArray(architectures) ? architectures[0] : undefined;
  if (typeof first !== 'string') throw configInvalid(name, 'neither model_type nor architectures tells what it is');
  const architecture = CLASSES.get(first);
  if (!architecture) throw unsupported(name, `its architecture is ${first.slice(0, 100)}`);
  return architecture;
}

function windowOf(
  config: HfConfig,
  base: StockArchitecture,
  name: string,
): Pick<ModelConfig, 'slidingWindow' | 'slidingWindowFrom'> {
  const none = { slidingWindow: null, slidingWindowFrom: 0 };
  const window = config.sliding_window === undefined ? DEFAULT_WINDOW : config.sliding_window;
  if (base === 'mistral') return { slidingWindow: window, slidingWindowFrom: 0 };
  if (base === 'mixtral') return { slidingWindow: config.sliding_window ?? null, slidingWindowFrom: 0 };
  if (!base.startsWith('qwen') || !config.use_sliding_window || window === null) return none;
  if (base === 'qwen3_moe') return { slidingWindow: window, slidingWindowFrom: 0 };
  const types = config.layer_types;
  if (!types) {
    // transformers gives every second layer of qwen2_moe a window
    if (base === 'qwen2_moe' && config.max_window_layers > 0) throw alternates(name);
    return base === 'qwen2_moe' ? none : { slidingWindow: window, slidingWindowFrom: config.max_window_layers };
  }
  if (types.length !== config.num_hidden_layers) throw configInvalid(name, 'layer_types has not one entry a layer');
  const first = types.indexOf('sliding_attention');
  if (types.some((type, i) => type !== (first >= 0 && i >= first ? 'sliding_attention' : 'full_attention'))) {
    throw alternates(name);
  }
  return first < 0 ? none : { slidingWindow: window, slidingWindowFrom: first };
}

function alternates(name: string): EspalierError {
  return unsupported(name, 'its layers alternate between kinds of attention');
}

type Ids = number | number[] | null | undefined;

function mergeIds(...lists: Ids[]): number[] {
  const ids = new Set<number>();
  for (const list of lists) {
    for (const id of typeof list === 'number' ? [list] : (list ?? [])) if (id !== -1) ids.add(id);
  }
  return [...ids];
}

function withinVocabulary(id: number | null, size: number): number | null {
  return id !== null && id >= 0 && id < size ? id : null;
}
