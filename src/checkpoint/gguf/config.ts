import type { ConfigRemarks } from '../config/config.ts';
import { configInvalid, unsupported } from '../config/faults.ts';
import { windows } from '../config/window.ts';
import { FAMILIES, familyOf, type StockArchitecture } from '../families/families.ts';
import { allLayers, type GgufFamily, NO_PARTS, NO_SCALES } from '../families/family.ts';
import { checkConfig, MAX_LAYERS } from '../limits.ts';
import { isScaling, SCALINGS } from '../rope/scalings.ts';
import { ONE_ROPE } from '../rope/types.ts';
import type { TensorTable } from '../tensor-table.ts';
import type { ModelConfig, RopeScaling } from '../types.ts';
import { endTokens } from './end-tokens.ts';
import type { GgufValue } from './gguf.ts';
import { GgufKeys } from './keys.ts';

/** The architecture that a GGUF file states, and how its family is stored. @throws E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED */
export function ggufArchitecture(
  metadata: ReadonlyMap<string, GgufValue>,
  name: string,
): { readonly architecture: StockArchitecture; readonly family: GgufFamily } {
  const architecture = metadata.get('general.architecture');
  if (typeof architecture !== 'string') throw configInvalid(name, 'general.architecture is missing');
  const found = (Object.keys(FAMILIES) as StockArchitecture[]).find((type) => ggufName(type) === architecture);
  if (found) return { architecture: found, family: familyOf(found).gguf! };
  throw unsupported(
    name,
    `its architecture is ${architecture.slice(0, 100)}`,
    (Object.keys(FAMILIES) as StockArchitecture[]).map(ggufName).filter((known) => known !== null),
  );
}

/** What `general.architecture` says of a family; null where its files are not read. */
function ggufName(type: StockArchitecture): string | null {
  const { gguf } = familyOf(type);
  return gguf && (gguf.architecture ?? type);
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
  const stored = family.architecture ?? architecture;
  const read = new GgufKeys(metadata, types, stored, name);
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
  if (metadata.get(`${stored}.attention.causal`) === false) {
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

  const common: ModelConfig = {
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
    ...NO_PARTS,
    qkvBias: has(`${attention}.q_proj.bias`),
    outputBias: has(`${attention}.o_proj.bias`),
    mlpBias: has('model.layers.0.mlp.gate_proj.bias'),
    qkNorm: family.qkNorm,
    ...ONE_ROPE,
    ...windows(window === 0 ? null : window, allLayers(Math.min(nLayers, MAX_LAYERS))),
    moe: null,
    ...NO_SCALES,
    bosId: special('bos_token_id'),
    eosIds: [...['eos_token_id', 'eot_token_id', 'eom_token_id'].map(special), ...endTokens(metadata)].filter(
      (id, i, ids): id is number => id !== null && ids.indexOf(id) === i,
    ),
    padId: special('padding_token_id'),
  };
  const facts = { ...common, nLayers: Math.min(nLayers, MAX_LAYERS) };
  const config = checkConfig({ ...common, ...family.own?.(read, facts, name) }, name);
  remarks.ignoredKeys.push(...read.unread.filter((key) => !NEUTRAL.has(key.slice(stored.length + 1))));
  return config;
}

/** Keys of an architecture that no answer depends on. The vocabulary's size is its list's. */
const NEUTRAL: ReadonlySet<string> = new Set(['attention.causal', 'rope.scaling.finetuned', 'vocab_size']);

function vocabularySize(
  metadata: ReadonlyMap<string, GgufValue>,
  read: GgufKeys,
  table: TensorTable,
  name: string,
): number {
  const tokens = metadata.get('tokenizer.ggml.tokens');
  if (Array.isArray(tokens)) return tokens.length;
  const size = read.whole('vocab_size') ?? table.tensors.get('model.embed_tokens.weight')?.shape[0];
  if (size === undefined) throw configInvalid(name, 'nothing tells the size of the vocabulary');
  return size;
}

function scalingOf(read: GgufKeys, maxPositions: number, name: string): RopeScaling {
  const factor = read.number('rope.scaling.factor') ?? read.number('rope.scale_linear') ?? 0;
  // llama.cpp: a factor without a type is linear, a factor of 0 is none
  const type = read.text('rope.scaling.type') ?? 'linear';
  const extra = read.number('rope.scaling.yarn_attn_factor') ?? read.number('rope.scaling.attn_factor') ?? 1;
  // llama.cpp multiplies by it whatever the type
  if (type !== 'yarn' && extra !== 1) throw unsupported(name, `its RoPE has an attention factor of ${extra}`);
  if (type === 'none' || (type === 'linear' && (factor === 0 || factor === 1))) return { type: 'none' };
  const from = isScaling(type) ? SCALINGS[type].fromGguf : null;
  if (from === null) throw unsupported(name, `its RoPE scaling is ${type.slice(0, 100)}`);
  return from({
    factor,
    maxPositions,
    extraFactor: extra,
    number: (key) => read.number(key),
    whole: (key) => read.whole(key),
    unsupported: (what) => unsupported(name, what),
  });
}
