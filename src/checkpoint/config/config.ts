import { ARCHITECTURES, familyOf, familyOfClass, isFamily, type StockArchitecture } from '../families/families.ts';
import { type Activation, type Family, NO_SCALES, type StockConfig } from '../families/family.ts';
import { jsonObject, parseJson } from '../json.ts';
import { checkConfig, MAX_LAYERS } from '../limits.ts';
import { ropeFromConfig } from '../rope/config.ts';
import { ONE_ROPE } from '../rope/types.ts';
import type { Architecture, ModelConfig } from '../types.ts';
import { ownMixture } from './experts.ts';
import { configInvalid, unsupported } from './faults.ts';
import { ConfigKeys, shown } from './keys.ts';
import { NEUTRAL } from './neutral-keys.ts';
import { checkLayerTypes, ownWindows } from './window.ts';

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
  const own = architecture === 'espalier_moe';
  const family = familyOf(own ? baseOf(keys, name) : architecture);
  const stock = family.defaults;

  const nLayers = keys.whole('num_hidden_layers', stock.layers);
  if (nLayers < 1 || nLayers > MAX_LAYERS)
    throw keys.fault('num_hidden_layers', `is ${nLayers}, not 1 to ${MAX_LAYERS}`);
  const vocabSize = keys.whole('vocab_size', stock.vocab);
  const hiddenSize = keys.whole('hidden_size', stock.hidden);
  const intermediateSize = keys.whole('intermediate_size', stock.inner);
  const maxPositions = keys.whole('max_position_embeddings', stock.positions);
  const heads = headsOf(keys, family, hiddenSize, name);
  const context = {
    headDim: heads.headDim,
    maxPositions,
    theta: stock.theta,
    partial: own,
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
    ...(family.ropes?.(keys, context, nLayers, name) ?? { rope: ropeFromConfig(keys, context, name), ...ONE_ROPE }),
    tiedEmbeddings: keys.flag('tie_word_embeddings', stock.tied),
    headless: false,
    ...family.parts(keys),
    activation: (family.activation ?? siluAlone)(keys, name),
    ...((own ? ownWindows(keys, nLayers, name) : null) ?? family.windows(keys, nLayers, name)),
    moe: own ? ownMixture(keys) : (family.experts?.(keys, nLayers, intermediateSize) ?? null),
    ...(family.scales?.(keys, hiddenSize, name) ?? NO_SCALES),
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
    if (type === 'espalier_moe' || isFamily(type)) return type;
    throw unsupported(name, `its model_type is ${type.slice(0, 100)}`, ARCHITECTURES);
  }
  const architectures = keys.value('architectures');
  const first = Array.isArray(architectures) ? architectures[0] : undefined;
  if (typeof first !== 'string') throw configInvalid(name, 'neither model_type nor architectures tells what it is');
  const architecture = familyOfClass(first.replace(/(?:ForCausalLM|Model)$/, ''));
  if (!architecture) throw unsupported(name, `its architecture is ${first.slice(0, 100)}`, ARCHITECTURES);
  return architecture;
}

function siluAlone(keys: ConfigKeys, name: string): Activation {
  const act = keys.text('hidden_act', 'silu');
  if (act === 'silu' || act === 'swish') return 'silu';
  throw unsupported(name, `its activation is ${act.slice(0, 100)}, not silu`);
}

/** What changes the answer of any class and is not computed here. */
function refuseOthers(keys: ConfigKeys, name: string): void {
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
  if (typeof wanted === 'string' && isFamily(wanted) && familyOf(wanted).base) return wanted;
  throw configInvalid(name, `base_model_type is ${shown(wanted)}`);
}

function headsOf(
  keys: ConfigKeys,
  { defaults: stock }: Family,
  hiddenSize: number,
  name: string,
): Pick<ModelConfig, 'nHeads' | 'nKvHeads' | 'headDim'> {
  const nHeads = keys.whole('num_attention_heads', stock.heads);
  const kvHeads = stock.kvHeadsNull
    ? keys.wholeOrNull('num_key_value_heads', stock.kvHeads)
    : keys.whole('num_key_value_heads', stock.kvHeads!);
  const own = stock.headDimNull
    ? keys.wholeOrNull('head_dim', stock.headDim)
    : keys.has('head_dim')
      ? keys.whole('head_dim', 0)
      : stock.headDim;
  if (own === null && stock.headsDivide && hiddenSize % nHeads !== 0) {
    throw configInvalid(name, `a hidden size of ${hiddenSize} does not divide into ${nHeads} heads`);
  }
  return { nHeads, nKvHeads: kvHeads ?? nHeads, headDim: own ?? Math.floor(hiddenSize / nHeads) };
}

function specialTokens(
  keys: ConfigKeys,
  stock: StockConfig,
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
  return { bosId, eosIds: [...ends], padId: one('pad_token_id', stock.pad) };
}
