import { jsonObject, parseJson } from '../json.ts';
import { checkConfig, configInvalid, MAX_LAYERS, unsupported } from '../limits.ts';
import { ropeFromConfig } from '../rope/config.ts';
import type { Architecture, ModelConfig } from '../types.ts';
import { moeFromConfig } from './experts.ts';
import { ConfigKeys, shown } from './keys.ts';
import { BASES, CLASSES, NEUTRAL, STOCK, type StockArchitecture } from './stock.ts';
import { checkLayerTypes, windowFromConfig } from './window.ts';

/** What is said about a configuration beside what it means. */
export interface ConfigRemarks {
  /** Keys of the file that its architecture makes no use of, those inside an object with its name before them. */
  readonly ignoredKeys: string[];
  /** What was found and left out, a sentence each. */
  readonly notes: string[];
}

/**
 * The model's configuration from Hugging Face's config.json, and the ends of text from generation_config.json where there is one: what
 * the stock class of transformers 5.24 computes from that file, key by key, in the spelling of 4.x or 5.x, and of a key that stands in
 * both what 5.24 takes. A key that the class ignores is ignored, whatever stands there.
 *
 * @param remarks gets what is said beside
 * @throws E_CONFIG_INVALID for values of a wrong type, absurd or contradictory; E_ARCHITECTURE_UNSUPPORTED for another family,
 *   activation, quantisation, RoPE variant or kind of layer
 */
export function configFromJson(
  json: Uint8Array,
  generationJson: Uint8Array | null = null,
  remarks: ConfigRemarks = { ignoredKeys: [], notes: [] },
): ModelConfig {
  const name = 'config.json';
  const raw = object(json, name);
  const keys = new ConfigKeys(raw, name);
  const architecture = architectureOf(keys, name);
  refuseOthers(keys, name);
  const base = architecture === 'espalier_moe' ? baseOf(keys, name) : architecture;
  const stock = STOCK[base];

  const nLayers = keys.whole('num_hidden_layers', stock.layers);
  if (nLayers < 1 || nLayers > MAX_LAYERS)
    throw keys.fault('num_hidden_layers', `is ${nLayers}, not 1 to ${MAX_LAYERS}`);
  const vocabSize = keys.whole('vocab_size', stock.vocab);
  const hiddenSize = keys.whole('hidden_size', stock.hidden);
  const intermediateSize = keys.whole('intermediate_size', stock.inner);
  const maxPositions = keys.whole('max_position_embeddings', stock.positions);
  const heads = headsOf(keys, base, hiddenSize, name);
  const context = {
    headDim: heads.headDim,
    maxPositions,
    theta: stock.theta,
    partial: architecture === 'espalier_moe',
  };
  const special = specialTokens(keys, stock, vocabSize, generationJson, remarks);
  const config: ModelConfig = {
    architecture,
    vocabSize,
    hiddenSize,
    intermediateSize,
    nLayers,
    ...heads,
    rmsNormEps: keys.number('rms_norm_eps', stock.eps),
    maxPositions,
    rope: ropeFromConfig(keys, context, name),
    tiedEmbeddings: keys.flag('tie_word_embeddings', false),
    headless: false,
    ...partsOf(keys, base),
    ...windowFromConfig(keys, base, architecture === 'espalier_moe', nLayers, name),
    moe: moeFromConfig(keys, architecture, nLayers, intermediateSize),
    ...scalesOf(keys, base),
    ...special,
  };
  if (holdsNonFinite(raw)) {
    remarks.notes.push(`${name} holds NaN or Infinity, which JSON has not; they are read as Python writes them.`);
  }
  remarks.ignoredKeys.push(...keys.unread.filter((key) => !NEUTRAL.has(key)));
  // read by no class but refused by all when it cannot be
  const types = raw['layer_types'];
  if (types !== undefined && types !== null) checkLayerTypes(types, nLayers, name);
  return checkConfig(config, name);
}

function object(json: Uint8Array, name: string): Readonly<Record<string, unknown>> {
  const limits = { name, code: 'E_CONFIG_INVALID', maxDepth: 32, uniqueKeys: true, python: true } as const;
  return jsonObject(parseJson(json, limits), limits);
}

function holdsNonFinite(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isFinite(value);
  return typeof value === 'object' && value !== null && Object.values(value).some(holdsNonFinite);
}

function architectureOf(keys: ConfigKeys, name: string): Architecture {
  const type = keys.value('model_type');
  if (typeof type === 'string') {
    if (type === 'espalier_moe' || Object.hasOwn(STOCK, type)) return type as Architecture;
    throw unsupported(name, `its model_type is ${type.slice(0, 100)}`);
  }
  const architectures = keys.value('architectures');
  const first = Array.isArray(architectures) ? architectures[0] : undefined;
  if (typeof first !== 'string') throw configInvalid(name, 'neither model_type nor architectures tells what it is');
  const architecture = CLASSES.get(first.replace(/(?:ForCausalLM|Model)$/, ''));
  if (!architecture) throw unsupported(name, `its architecture is ${first.slice(0, 100)}`);
  return architecture;
}

/** What changes the answer of any class and is not computed here. */
function refuseOthers(keys: ConfigKeys, name: string): void {
  const act = keys.text('hidden_act', 'silu');
  if (act !== 'silu' && act !== 'swish') throw unsupported(name, `its activation is ${act.slice(0, 100)}, not silu`);
  const there = (key: string) => {
    const value = keys.value(key);
    return value !== undefined && value !== null;
  };
  if (there('quantization_config')) {
    throw unsupported(name, 'its weights are quantised in a way that safetensors files alone do not describe');
  }
  const mlx = keys.value('quantization');
  if (typeof mlx === 'object' && mlx !== null && 'bits' in mlx)
    throw unsupported(name, 'its weights are quantised by MLX');
  keys.ignore('quantization');
  if (there('per_layer_config'))
    throw unsupported(name, 'its layers have configurations of their own (per_layer_config)');
  const causal = keys.value('is_causal');
  if (causal !== undefined && causal !== true) {
    throw unsupported(name, `is_causal is ${shown(causal)}: tokens would see those behind them`);
  }
}

/** The dense architecture that the layers of our own config are built like. */
function baseOf(keys: ConfigKeys, name: string): StockArchitecture {
  const wanted = keys.value('base_model_type');
  const base = BASES.find((type) => type === wanted);
  if (base) return base;
  throw configInvalid(name, `base_model_type is ${shown(wanted)}`);
}

function headsOf(
  keys: ConfigKeys,
  base: StockArchitecture,
  hiddenSize: number,
  name: string,
): Pick<ModelConfig, 'nHeads' | 'nKvHeads' | 'headDim'> {
  const stock = STOCK[base];
  const nHeads = keys.whole('num_attention_heads', stock.heads);
  const kvHeads = stock.kvHeadsNull
    ? keys.wholeOrNull('num_key_value_heads', stock.kvHeads)
    : keys.whole('num_key_value_heads', stock.kvHeads!);
  const own = stock.headDimNull
    ? keys.wholeOrNull('head_dim', stock.headDim)
    : keys.has('head_dim')
      ? keys.whole('head_dim', 0)
      : stock.headDim;
  if (own === null && base === 'llama' && hiddenSize % nHeads !== 0) {
    throw configInvalid(name, `a hidden size of ${hiddenSize} does not divide into ${nHeads} heads`);
  }
  return { nHeads, nKvHeads: kvHeads ?? nHeads, headDim: own ?? Math.floor(hiddenSize / nHeads) };
}

function partsOf(
  keys: ConfigKeys,
  base: StockArchitecture,
): Pick<ModelConfig, 'qkvBias' | 'outputBias' | 'mlpBias' | 'qkNorm'> {
  const none = { qkvBias: false, outputBias: false, mlpBias: false, qkNorm: false };
  switch (base) {
    case 'llama': {
      const given = keys.flag('attention_bias', false);
      return { ...none, qkvBias: given, outputBias: given, mlpBias: keys.flag('mlp_bias', false) };
    }
    case 'granitemoeshared': {
      const given = keys.flag('attention_bias', false);
      return { ...none, qkvBias: given, outputBias: given };
    }
    case 'qwen3':
    case 'qwen3_moe': {
      const given = keys.flag('attention_bias', false);
      return { ...none, qkvBias: given, outputBias: given, qkNorm: true };
    }
    case 'qwen2': // on q, k and v whatever the file says
      return { ...none, qkvBias: true };
    case 'qwen2_moe':
      return { ...none, qkvBias: keys.flag('qkv_bias', true) };
    case 'mistral':
    case 'mixtral':
      return none;
    default:
      return base satisfies never;
  }
}

function scalesOf(
  keys: ConfigKeys,
  base: StockArchitecture,
): Pick<ModelConfig, 'embeddingScale' | 'residualScale' | 'logitScale' | 'attentionScale'> {
  if (base !== 'granitemoeshared') return { embeddingScale: 1, residualScale: 1, logitScale: 1, attentionScale: null };
  return {
    embeddingScale: keys.number('embedding_multiplier', 1),
    residualScale: keys.number('residual_multiplier', 1),
    logitScale: keys.number('logits_scaling', 1),
    attentionScale: keys.number('attention_multiplier', 1),
  };
}

function specialTokens(
  keys: ConfigKeys,
  stock: (typeof STOCK)[StockArchitecture],
  vocabSize: number,
  generationJson: Uint8Array | null,
  { notes }: ConfigRemarks,
): Pick<ModelConfig, 'bosId' | 'eosIds' | 'padId'> {
  const within = (id: number | null, key: string, file: string): id is number => {
    if (id === null || id === -1) return false; // -1 is how some write that there is none
    if (id >= 0 && id < vocabSize) return true;
    notes.push(`${file}: ${key} is ${id}, outside the vocabulary of ${vocabSize}; it is ignored.`);
    return false;
  };
  const one = (key: string, fallback: number | null) => {
    const id = keys.wholeOrNull(key, fallback);
    return within(id, key, 'config.json') ? id : null;
  };
  const ends = new Set<number>();
  const addEnds = (ids: readonly number[], file: string) => {
    for (const id of ids) if (within(id, 'eos_token_id', file)) ends.add(id);
  };
  const bosId = one('bos_token_id', stock.bos);
  addEnds(keys.ids('eos_token_id', stock.eos === null ? [] : [stock.eos]), 'config.json');
  if (generationJson) {
    const file = 'generation_config.json';
    addEnds(new ConfigKeys(object(generationJson, file), file).ids('eos_token_id', []), file);
  }
  return { bosId, eosIds: [...ends], padId: one('pad_token_id', null) };
}
