import { EspalierError, throwIfAborted } from '../../errors.ts';
import { FILE_LIMITS } from '../../runtime/files/file-limits.ts';
import { type ModelTarget, notFound, openModelFiles, readWhole } from '../../runtime/files/model-files.ts';
import type { ByteSource, ModelFiles } from '../../runtime/files/source.ts';
import type { FilesOptions } from '../../runtime/hub/options.ts';
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from '../../runtime/hub/remote-files.ts';
import { readSafetensors } from '../safetensors/safetensors.ts';
import type { TensorTable } from '../tensor-table.ts';
import type { ModelConfig, TensorEntry } from '../types.ts';
import { type AdapterConfig, adapterConfigFromJson, isAllLinear } from './config.ts';
import { type LoraModule, type LoraTarget, loraModules } from './modules.ts';

/** The two factors of a module, as they stand in the file. */
export interface LoraPair {
  /** By Hugging Face's name: `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  readonly a: TensorEntry; // [r, K]
  readonly b: TensorEntry; // [N, r]
  /** As `AdapterConfig.scaleOf`. */
  readonly scale: number;
}

/** An opened adapter: its configuration and the header of its weights are read. */
export interface Adapter {
  readonly kind: 'plain';
  readonly name: string;
  readonly config: AdapterConfig;
  /** In the order of their names. */
  readonly pairs: readonly LoraPair[];
  readonly parameters: number;
  readonly byteLength: number;
  readonly notes: readonly string[];
  close(): Promise<void>;
}

/** A pair, and the matrices that it corrects. */
export interface BoundPair extends LoraPair {
  readonly targets: readonly LoraTarget[];
}

/**
 * Opens a folder of PEFT: adapter_config.json and adapter_model.safetensors, wherever a model may lie.
 * @throws E_ADAPTER for a kind that is not computed, such as HydraLoRA, and for a file that is no adapter; E_CONFIG_INVALID, E_CHECKPOINT_…, E_TENSOR_TYPE, and
 *   what `openModelFiles` throws; no file stays open then
 */
export async function openAdapter(target: ModelTarget, options: FilesOptions = {}): Promise<Adapter> {
  throwIfAborted(options.signal);
  return openAdapterFiles(await openModelFiles(target, options, 'adapter'));
}

/** The same for files that the host has opened already. */
export async function openAdapterFiles(files: ModelFiles): Promise<Adapter> {
  return openingFiles(files, missing, async (open) => {
    const config = adapterConfigFromJson(await readWhole(await open(ADAPTER_CONFIG), FILE_LIMITS.config), files.name);
    if (config.heads !== null) throw hydra(files.name);
    const weights = await open(files.preferred ?? ADAPTER_WEIGHTS);
    const pairs = pairsOf(await readSafetensors(weights), config, files.name);
    const count = ({ shape }: TensorEntry): number => shape[0]! * shape[1]!;
    return {
      kind: 'plain',
      name: files.name,
      config,
      pairs,
      parameters: pairs.reduce((sum, { a, b }) => sum + count(a) + count(b), 0),
      notes: ignoredNotes(files.name, config.ignoredKeys, ADAPTER_CONFIG),
    };
  });
}

/**
 * What `make` reads from files of an adapter, with their size and a way to close them.
 * @param missing the error for a file that is not there
 * @throws what `make` throws; no file stays open then
 */
export async function openingFiles<T>(
  files: ModelFiles,
  missing: (files: ModelFiles, name: string) => EspalierError,
  make: (open: (name: string) => Promise<ByteSource>) => Promise<T>,
): Promise<T & { readonly byteLength: number; close(): Promise<void> }> {
  const opened: ByteSource[] = [];
  const open = async (name: string): Promise<ByteSource> => {
    if (!files.names.includes(name)) throw missing(files, name);
    const source = await files.open(name);
    opened.push(source);
    return source;
  };
  const close = async (): Promise<void> => void (await Promise.allSettled(opened.map((source) => source.close())));
  try {
    const made = await make(open);
    return { ...made, byteLength: opened.reduce((sum, { size }) => sum + size, 0), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What is said of keys that nothing is made of. */
export function ignoredNotes(name: string, keys: readonly string[], file: string): readonly string[] {
  if (keys.length === 0) return [];
  return [`${name}: nothing is made of ${keys.slice(0, 8).join(', ').slice(0, 800)} in ${file}.`];
}

function missing(files: ModelFiles, name: string): EspalierError {
  const hint =
    name === ADAPTER_CONFIG
      ? 'An adapter is a folder with adapter_config.json and adapter_model.safetensors.'
      : 'With peft, save_pretrained(FOLDER, safe_serialization=True) writes it.';
  if (files.names.some((other) => /^adapter_|^config\.json$|\.gguf$/i.test(other))) {
    const what = name === ADAPTER_CONFIG ? 'is no adapter: it has no' : 'is an adapter without';
    return new EspalierError('E_ADAPTER', `${files.name} ${what} ${name}.`, hint);
  }
  return notFound(name, files.name);
}

/** `base_model.model.MODULE.lora_A.weight`, with the adapter's own name behind lora_A where it was not saved by peft. */
const FACTOR = /^base_model\.model\.(.+)\.lora_([AB])(?:\.[^.]+)?\.weight$/;

/** Things that only other kinds of adapters have, by their names. */
const FOREIGN: readonly (readonly [name: RegExp, what: string])[] = [
  [/lora_magnitude_vector/, 'magnitudes of DoRA'],
  [/lora_embedding_|embed_tokens|lm_head/, 'corrections of the embedding or the output matrix'],
  [/\.lora_B(?:\.[^.]+)?\.bias$/, 'biases of LoRA'],
  [/\.experts?\.|\.(?:router|gate|shared_expert_gate)\./, 'corrections of experts or routers'],
];

/** HydraLoRA's names: several B of one A, and a router. */
const HYDRA = /\.lora_(?:route|B\d+)\.weight$/;

function hydra(name: string): EspalierError {
  const what =
    "is HydraLoRA's: each of its layers mixes several matrices B by a router of its own, which is not computed here";
  return adapterFault(
    name,
    what,
    'readHydra and exportHydra of espalier/prune make a plain adapter of it, whose coefficients are constant.',
  );
}

/** @throws E_TENSOR_TYPE for what is stored in a type that is not read */
export function checkTypes({ unsupported }: TensorTable, name: string): void {
  for (const [tensor, type] of unsupported) {
    throw new EspalierError(
      'E_TENSOR_TYPE',
      `${tensor.slice(0, 200)} of the adapter ${name} is stored as ${type}.`,
      'Save it as float32, float16 or bfloat16.',
    );
  }
}

function pairsOf(table: TensorTable, config: AdapterConfig, name: string): LoraPair[] {
  checkTypes(table, name);
  const found = new Map<string, { A?: TensorEntry; B?: TensorEntry }>();
  for (const [tensor, entry] of table.tensors) {
    const shown = tensor.slice(0, 200);
    if (HYDRA.test(tensor)) throw hydra(name);
    const foreign = FOREIGN.find(([pattern]) => pattern.test(tensor));
    if (foreign) throw adapterFault(name, `has ${foreign[1]} (${shown})`, 'They are not computed.');
    const [, module, factor] = FACTOR.exec(tensor) ?? [];
    if (module === undefined) {
      throw adapterFault(name, `holds ${shown}, which is no factor of a linear layer`, 'Export the adapter alone.');
    }
    const pair = found.get(module) ?? {};
    if (pair[factor as 'A'])
      throw adapterFault(name, `holds ${shown} under two names`, 'Export one adapter at a time.');
    pair[factor as 'A'] = entry;
    found.set(module, pair);
  }
  if (found.size === 0) throw adapterFault(name, 'has no factors', 'Export it again.');
  return [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([module, { A: a, B: b }]): LoraPair => {
      if (!a || !b) throw adapterFault(name, `has one factor alone for ${module.slice(0, 200)}`, 'Export it again.');
      const rank = config.rankOf(module);
      const fits = a.shape.length === 2 && b.shape.length === 2 && a.shape[0] === rank && b.shape[1] === rank;
      if (!fits) {
        const shapes = `[${a.shape.slice(0, 8).join(', ')}] and [${b.shape.slice(0, 8).join(', ')}]`;
        const what = `has factors ${shapes} for ${module.slice(0, 200)}, and ${ADAPTER_CONFIG} says rank ${rank}`;
        throw adapterFault(name, what, 'Use the configuration that belongs to these weights.');
      }
      return { module, a, b, scale: config.scaleOf(module) };
    });
}

export function adapterFault(name: string, what: string, hint: string): EspalierError {
  return new EspalierError('E_ADAPTER', `The adapter ${name} ${what}.`, hint);
}

/**
 * The module of a base that factors are for.
 * @param shape [N, K] of what they add to it
 * @throws E_ADAPTER for one that the base has not, or has in another shape
 */
export function moduleOf(
  modules: ReadonlyMap<string, LoraModule>,
  name: string,
  [rows, width]: readonly [rows: number, width: number],
  foreign: (what: string) => EspalierError,
  base: string,
): LoraModule {
  const shown = name.slice(0, 200);
  const module = modules.get(name);
  if (!module) throw foreign(`${base} has no ${shown}`);
  const [n, k] = module.shape;
  if (rows === n && width === k) return module;
  throw foreign(`${shown} is [${n}, ${k}] in ${base}, and [${rows}, ${width}] there`);
}

/** @param trained what it was trained on, where it says so */
export function foreignBase(name: string, trained: string | null, what: string): EspalierError {
  const hint = `It was trained on ${trained ?? 'a model that it does not name'}: open that one.`;
  return adapterFault(name, `is for another model: ${what}`, hint);
}

/** What is said of a base that fits by its shapes and has another name. */
export function trainedElsewhere(name: string, trained: string | null, base: string): readonly string[] {
  if (trained === null || isSameName(trained, base)) return [];
  return [`The adapter ${name} was trained on ${trained}, and fits ${base} by its shapes.`];
}

/**
 * Holds an adapter against the model that it shall correct.
 * @returns its pairs with the matrices that they are for, and what is to be said
 * @throws E_ADAPTER for a module that the model has not, or that has another shape there, or that adapter_config.json leaves out
 */
export function bindAdapter(
  { name, config, pairs }: Pick<Adapter, 'name' | 'config' | 'pairs'>,
  base: { readonly name: string; readonly config: ModelConfig },
): { readonly pairs: readonly BoundPair[]; readonly notes: readonly string[] } {
  const modules = loraModules(base.config);
  const foreign = (what: string) => foreignBase(name, config.base, what);
  const bound = pairs.map((pair): BoundPair => {
    const shape = [pair.b.shape[0]!, pair.a.shape[1]!] as const;
    const { targets } = moduleOf(modules, pair.module, shape, foreign, base.name);
    if (!config.isTarget(pair.module)) {
      const shown = pair.module.slice(0, 200);
      throw adapterFault(name, `has factors for ${shown}, which its target_modules leave out`, 'Export it again.');
    }
    return { ...pair, targets };
  });
  const notes: string[] = [];
  const there = new Set(pairs.map(({ module }) => module));
  const absent = [...modules.keys()].filter((module) => !there.has(module) && config.isTarget(module));
  if (absent.length > 0 && !isAllLinear(config.targets)) {
    const more = absent.length > 1 ? ` and ${absent.length - 1} more` : '';
    notes.push(`The adapter ${name} has no factors for ${absent[0]}${more}, which its target_modules name.`);
  }
  notes.push(...trainedElsewhere(name, config.base, base.name));
  return { pairs: bound, notes };
}

/** Whether two names of models end alike, whatever folder or owner stands before. */
function isSameName(a: string, b: string): boolean {
  const last = (name: string): string => {
    const parts = name
      .replace(/@[^/]*$/, '')
      .split(/[/\\]+/)
      .filter((part) => part !== '');
    return (parts.at(-1) ?? '').toLowerCase();
  };
  // bytes have no name, and a GGUF file has its type behind it
  return /^model(?:\.gguf)?$/.test(b) || last(a) === last(b) || (/\.gguf$/i.test(b) && last(b).startsWith(last(a)));
}
