import { EspalierError } from '../errors.ts';
import { configInvalid } from './config/faults.ts';
import {
  AT,
  denseShape,
  EMBEDDING,
  expertShapes,
  FEED_FORWARD_PARTS,
  FINAL_NORM,
  HEAD,
  isPresent,
  LAYER_PARTS,
  MIXTURE_PARTS,
  type PartTable,
  partName,
} from './layer-tensors.ts';
import { STORED_NAMES } from './quantised/stored-types.ts';
import { type Report, raise } from './report.ts';
import type { Checkpoint, ModelConfig, MoeConfig, StoredType } from './types.ts';

/** A tensor that a configuration calls for. */
export interface RequiredTensor {
  /** Canonical name. */
  readonly name: string;
  /** Outermost dimension first. */
  readonly shape: readonly number[];
  /** May be absent. */
  readonly optional: boolean;
}

/** Every tensor that a model of this configuration is computed from, in the order of computing. */
export function* requiredTensors(config: ModelConfig): Generator<RequiredTensor> {
  const { hiddenSize: hidden, moe } = config;
  const sparse = new Set(moe?.layers);
  yield { name: EMBEDDING, shape: [config.vocabSize, hidden], optional: false };
  for (let i = 0; i < config.nLayers; i++) {
    const layer = `model.layers.${i}.`;
    yield* parts(LAYER_PARTS, layer, config);
    if (moe && sparse.has(i)) yield* mixture(moe, layer, hidden);
    else yield* parts(FEED_FORWARD_PARTS, layer + AT.feedForward, denseShape(config));
  }
  yield { name: FINAL_NORM, shape: [hidden], optional: false };
  // tied models may store the same matrix once more
  if (!config.headless) yield { name: HEAD, shape: [config.vocabSize, hidden], optional: config.tiedEmbeddings };
}

/** Names of those that are read when a model is loaded: a tied one has its head in its embedding, wherever else it is stored. */
export function loadedTensors(config: ModelConfig): Set<string> {
  const names = new Set<string>();
  for (const { name, optional } of requiredTensors(config)) if (!optional) names.add(name);
  return names;
}

function* parts<Of>(table: PartTable<Of>, at: string, of: Of): Generator<RequiredTensor> {
  for (const part of Object.values(table)) {
    if (isPresent(part, of)) yield { name: at + partName(part, of), shape: part.shape(of), optional: false };
  }
}

function* mixture(moe: MoeConfig, layer: string, hidden: number): Generator<RequiredTensor> {
  const { expert, shared } = expertShapes(hidden, moe);
  yield* parts(MIXTURE_PARTS, layer + AT.feedForward, { ...moe, hidden });
  for (let e = 0; e < moe.experts; e++) yield* parts(FEED_FORWARD_PARTS, layer + AT.expert(e), expert);
  if (moe.sharedSize > 0) yield* parts(FEED_FORWARD_PARTS, layer + AT.shared, shared);
}

/** A tensor of one of a layer's experts, which are put together by projection. */
const EXPERT = /\.experts\.\d+\./;

/** Vectors are small and added or multiplied in f32; nobody stores them in blocks. */
const VECTOR_TYPES: ReadonlySet<StoredType> = new Set<StoredType>(['f32', 'f16', 'bf16']);

/** Parts of a layer that change the result; one that is there against the configuration would be left out silently. */
const DENIABLE: ReadonlySet<string> = new Set([
  ...mayBeAbsent(LAYER_PARTS),
  ...mayBeAbsent(FEED_FORWARD_PARTS).map((name) => AT.feedForward + name),
  ...mayBeAbsent(MIXTURE_PARTS).map((name) => AT.feedForward + name),
]);
const EXPERTS = /^mlp\.(?:experts|shared_experts?)\../;

function mayBeAbsent(table: PartTable<never>): string[] {
  return Object.values(table).flatMap(({ name, present }) => (present && typeof name === 'string' ? [name] : []));
}

function isDeniable(name: string): boolean {
  const part = name.replace(/^model\.layers\.\d+\./, '');
  return part !== name && (DENIABLE.has(part) || EXPERTS.test(part));
}

/** Layers of either format, whatever else their tensors are called. */
const LAYER = /^(?:model\.layers|blk)\.(\d+)\./;
/** Of GGUF: part of the configuration, which is where it is read. */
const FREQUENCIES = 'rope_freqs.weight';
/** Of GGUF: what is known and read elsewhere, or needed by other programs alone. */
const GGUF_BESIDE = /^(?:rope_freqs|token_types)\.weight$|\.attn_rot_embd\.weight$/;

/**
 * Holds a checkpoint's tensors against its configuration.
 *
 * @param report is called for each problem; default: the first is thrown
 * @throws E_TENSOR_MISSING, E_TENSOR_SHAPE, E_TENSOR_TYPE, naming the tensor; E_CONFIG_INVALID when there are biases, norms,
 *   experts or layers that the configuration denies, or in GGUF any tensor that it has no use for
 * @returns names of tensors that are there and not used
 */
export function checkTensors(
  checkpoint: Pick<Checkpoint, 'name' | 'format' | 'config' | 'tensors' | 'unsupported'>,
  report: Report = raise,
): string[] {
  const { name: file, format, config, tensors, unsupported } = checkpoint;
  const wanted = new Set<string>();
  const stacks = new Map<string, StoredType>();
  for (const { name, shape, optional } of requiredTensors(config)) {
    wanted.add(name);
    const entry = tensors.get(name);
    if (!entry) {
      const type = unsupported.get(name);
      if (optional && type === undefined) continue;
      report(type === undefined ? missing(file, name) : wrongType(file, name, type.slice(0, 50)));
    } else if (entry.shape.length !== shape.length || entry.shape.some((length, i) => length !== shape[i])) {
      report(
        new EspalierError(
          'E_TENSOR_SHAPE',
          `${name} in ${file} is [${entry.shape.slice(0, 8).join(', ')}]; the configuration needs [${shape.join(', ')}].`,
          'Use the configuration that belongs to these weights.',
        ),
      );
    } else if (shape.length === 1 && !VECTOR_TYPES.has(entry.type)) report(wrongType(file, name, entry.type));
    else if (EXPERT.test(name)) {
      const stack = name.replace(EXPERT, '.experts.');
      const type = stacks.get(stack) ?? entry.type;
      stacks.set(stack, type);
      if (type !== entry.type) report(mixedTypes(file, name, entry.type, type));
    }
  }
  return checkUnused(
    [...tensors.keys(), ...unsupported.keys()].filter((name) => !wanted.has(name)),
    report,
    {
      format,
      file,
      config,
      empty: (name) => tensors.get(name)?.byteLength === 0,
    },
  );
}

/** Whether what is left over may be left out: not where it would change the result. */
function checkUnused(
  names: readonly string[],
  report: Report,
  of: Pick<Checkpoint, 'format' | 'config'> & { readonly file: string; readonly empty: (name: string) => boolean },
): string[] {
  const { format, file, config, empty } = of;
  const beyond = names.map((name) => Number(LAYER.exec(name)?.[1] ?? -1)).reduce((a, b) => Math.max(a, b), -1);
  if (beyond >= config.nLayers) {
    report(
      configInvalid(
        file,
        `it holds layers 0 to ${beyond}, and the configuration says that there are ${config.nLayers}`,
      ),
    );
  }
  for (const name of names) {
    // a shared expert of size 0 is stored as matrices of nothing, and a gate of nothing
    if (empty(name)) continue;
    if (config.moe?.sharedSize === 0 && name.endsWith('.mlp.shared_expert_gate.weight')) continue;
    if (Number(LAYER.exec(name)?.[1] ?? -1) >= config.nLayers) continue;
    if (isDeniable(name)) {
      report(configInvalid(file, `there is ${name.slice(0, 200)}, which the configuration denies`));
    } else if (format === 'gguf' && !GGUF_BESIDE.test(name)) {
      report(configInvalid(file, `there is ${name.slice(0, 200)}, which its architecture has no use for`));
    }
  }
  return names.filter((name) => format !== 'gguf' || name !== FREQUENCIES);
}

function missing(file: string, name: string): EspalierError {
  const hint =
    name === HEAD
      ? 'Get the whole model. If its embedding is its output matrix too, config.json must say so: "tie_word_embeddings": true.'
      : 'Get the whole model.';
  return new EspalierError('E_TENSOR_MISSING', `${file} has no tensor ${name}.`, hint);
}

function wrongType(file: string, name: string, type: string): EspalierError {
  return new EspalierError(
    'E_TENSOR_TYPE',
    `${name} in ${file} is stored as ${type}, which is not read there.`,
    `Convert the model to one of ${STORED_NAMES.join(', ')}.`,
  );
}

function mixedTypes(file: string, name: string, type: string, others: string): EspalierError {
  return new EspalierError(
    'E_TENSOR_TYPE',
    `${name} in ${file} is stored as ${type}, and that of another expert as ${others}.`,
    'Convert the experts of a layer to one type.',
  );
}
