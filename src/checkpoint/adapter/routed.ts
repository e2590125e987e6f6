import { type EspalierError, throwIfAborted } from '../../errors.ts';
import { FILE_LIMITS } from '../../runtime/files/file-limits.ts';
import { type ModelTarget, notFound, openModelFiles, readWhole } from '../../runtime/files/model-files.ts';
import type { ModelFiles } from '../../runtime/files/source.ts';
import type { FilesOptions } from '../../runtime/hub/options.ts';
import { ADAPTER_CONFIG, ALTER_CONFIG, ALTER_WEIGHTS } from '../../runtime/hub/remote-files.ts';
import { readSafetensors } from '../safetensors/safetensors.ts';
import type { ModelConfig, TensorEntry } from '../types.ts';
import { GATE_INPUTS, type GateOf, gateEntries, gateFrom, gateWeightShapes } from './gate-kinds.ts';
import { type LoraTarget, loraModules } from './modules.ts';
import {
  type Adapter,
  adapterFault,
  checkTypes,
  foreignBase,
  ignoredNotes,
  moduleOf,
  openAdapterFiles,
  openingFiles,
  trainedElsewhere,
} from './open.ts';
import { type RoutedConfig, routedConfigFromJson } from './routed-config.ts';
import { highestEntropy } from './routing.ts';

/** The factors of a module, as they stand in the file: one A for all of them. */
export interface RoutedFactors {
  /** By Hugging Face's name: `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  readonly a: TensorEntry; // [r, K]
  readonly retain: TensorEntry; // [N, r]
  /** By expert. */
  readonly forget: readonly TensorEntry[]; // [N, r]
}

/** An opened adapter whose experts act by position: its configuration and the header of its weights are read. */
export interface RoutedAdapter {
  readonly kind: 'routed';
  readonly name: string;
  readonly config: RoutedConfig;
  /** In the order of their names. */
  readonly modules: readonly RoutedFactors[];
  readonly gate: GateOf<TensorEntry>;
  /** With those of the gate. */
  readonly parameters: number;
  readonly byteLength: number;
  readonly notes: readonly string[];
  close(): Promise<void>;
}

/** Factors, and the matrices that they correct. */
export interface BoundFactors extends RoutedFactors {
  readonly targets: readonly LoraTarget[];
}

/**
 * Opens an adapter of either kind: PEFT's two files, or alter.json and alter.safetensors where there is no adapter_config.json.
 * @throws as `openAdapter` and `openRoutedFiles`; no file stays open then
 */
export async function openAnyAdapter(
  target: ModelTarget,
  options: FilesOptions = {},
): Promise<Adapter | RoutedAdapter> {
  throwIfAborted(options.signal);
  const files = await openModelFiles(target, options, 'adapter');
  return isRouted(files) ? openRoutedFiles(files) : openAdapterFiles(files);
}

function isRouted({ names, preferred }: ModelFiles): boolean {
  if (preferred !== undefined) return preferred === ALTER_WEIGHTS;
  return names.some((name) => name === ALTER_CONFIG || name === ALTER_WEIGHTS) && !names.includes(ADAPTER_CONFIG);
}

/**
 * Opens alter.json and alter.safetensors.
 * @throws E_CONFIG_INVALID, E_ADAPTER for a later version and for tensors that do not belong to what alter.json says, E_TENSOR_TYPE,
 *   E_CHECKPOINT_…, E_FILE_NOT_FOUND; no file stays open then
 */
export async function openRoutedFiles(files: ModelFiles): Promise<RoutedAdapter> {
  return openingFiles(files, missing, async (open) => {
    const config = routedConfigFromJson(await readWhole(await open(ALTER_CONFIG), FILE_LIMITS.config), files.name);
    const table = await readSafetensors(await open(ALTER_WEIGHTS));
    checkTypes(table, files.name);
    const left = new Map(table.tensors);
    const gate = gateOf(left, config, files.name);
    const modules = modulesOf(left, config, files.name);
    return {
      kind: 'routed',
      name: files.name,
      config,
      modules,
      gate,
      parameters: [...table.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((x, y) => x * y, 1), 0),
      notes: ignoredNotes(files.name, config.ignoredKeys, ALTER_CONFIG),
    };
  });
}

function missing(files: ModelFiles, name: string): EspalierError {
  const isHalf = files.names.includes(ALTER_CONFIG) || files.names.includes(ALTER_WEIGHTS);
  if (!isHalf) return notFound(name, files.name);
  return adapterFault(files.name, `has no ${name}`, `Its two files are ${ALTER_CONFIG} and ${ALTER_WEIGHTS}.`);
}

const HINT = 'Use the alter.json that belongs to these weights, or write the adapter again.';

/** Takes the gate's tensors out of the table. @throws E_ADAPTER */
function gateOf(left: Map<string, TensorEntry>, config: RoutedConfig, name: string): RoutedAdapter['gate'] {
  const shapes = gateWeightShapes({ ...config.gate, slots: config.experts.length + 1 });
  const entries = new Map(
    gateEntries(shapes).map(([weight, shape]) => {
      const entry = left.get(`gate.${weight}`);
      if (!entry) throw adapterFault(name, `has no gate.${weight}`, HINT);
      const [got, wanted] = [entry.shape.slice(0, 8).join(', '), shape.join(', ')];
      if (got !== wanted)
        throw adapterFault(name, `has gate.${weight} of [${got}], and ${ALTER_CONFIG} says [${wanted}]`, HINT);
      left.delete(`gate.${weight}`);
      return [weight, entry] as const;
    }),
  );
  return gateFrom(config.gate.kind, (weight) => entries.get(weight)!);
}

/** What is left has to be the factors of whole modules. @throws E_ADAPTER */
function modulesOf(left: Map<string, TensorEntry>, { rank, experts }: RoutedConfig, name: string): RoutedFactors[] {
  const names = [...left.keys()].flatMap((tensor) => /^(.+)\.lora_A\.weight$/.exec(tensor)?.[1] ?? []).sort();
  if (names.length === 0) throw adapterFault(name, 'has no factors', 'Write the adapter again.');
  const modules = names.map((module): RoutedFactors => {
    const take = (factor: string): TensorEntry => {
      const tensor = `${module}.lora_${factor}.weight`;
      const entry = left.get(tensor);
      if (!entry) throw adapterFault(name, `has no ${tensor.slice(0, 200)}`, HINT);
      left.delete(tensor);
      return entry;
    };
    const a = take('A');
    const [retain, ...forget] = ['retain', ...experts.keys()].map((own) =>
      take(`B.${own === 'retain' ? own : `forget.${own}`}`),
    ) as [TensorEntry, ...TensorEntry[]];
    const r = a.shape[0]!;
    const [n] = retain.shape;
    const fits = (shape: readonly number[]): boolean => shape.length === 2 && shape[0] === n && shape[1] === r;
    if (a.shape.length !== 2 || r < rank || r % rank !== 0 || ![retain, ...forget].every(({ shape }) => fits(shape))) {
      const shapes = [a, retain, ...forget].slice(0, 4).map(({ shape }) => `[${shape.slice(0, 8).join(', ')}]`);
      throw adapterFault(name, `has factors ${shapes.join(', ')} for ${module.slice(0, 200)}, of rank ${rank}`, HINT);
    }
    return { module, a, retain, forget };
  });
  const [extra] = left.keys();
  if (extra !== undefined) {
    throw adapterFault(name, `holds ${extra.slice(0, 200)}, which ${ALTER_CONFIG} knows nothing of`, HINT);
  }
  return modules;
}

/**
 * Holds an adapter against the model that it shall correct.
 * @returns its factors with the matrices that they are for, and what is to be said
 * @throws E_ADAPTER for another base: a module that it has not, or of another shape, another hidden size, a cut that none of its entropies
 *   can be above, and entropies of a model without an output matrix
 */
export function bindRouted(
  { name, config, modules }: Pick<RoutedAdapter, 'name' | 'config' | 'modules'>,
  base: { readonly name: string; readonly config: ModelConfig },
): { readonly modules: readonly BoundFactors[]; readonly notes: readonly string[] } {
  const all = loraModules(base.config);
  const foreign = (what: string) => foreignBase(name, config.base, what);
  const { hiddenSize, vocabSize, headless } = base.config;
  const { gate } = config;
  if (gate.kind !== 'literal' && gate.hidden !== hiddenSize) {
    throw foreign(`its gate reads ${gate.hidden} values, and ${base.name} has a hidden size of ${hiddenSize}`);
  }
  const { cut, order } = config.rule;
  const needsEntropy = cut !== null || GATE_INPUTS[gate.kind].includes('entropy');
  if (needsEntropy && headless) throw foreign(`it needs entropies, and ${base.name} has no output matrix`);
  if (cut !== null && cut >= highestEntropy(order, vocabSize)) {
    const highest = highestEntropy(order, vocabSize).toFixed(4);
    const what = `no entropy of order ${order} of ${vocabSize} tokens is above ${highest}, and its cut is ${cut}`;
    throw foreign(what);
  }
  const bound = modules.map((factors): BoundFactors => {
    const shape = [factors.retain.shape[0]!, factors.a.shape[1]!] as const;
    const { targets } = moduleOf(all, factors.module, shape, foreign, base.name);
    // several matrices in one may each have an A of their own
    if (factors.a.shape[0]! > config.rank * targets.length) {
      const shown = factors.module.slice(0, 200);
      throw adapterFault(name, `has a rank of ${factors.a.shape[0]} for ${shown}, and not ${config.rank}`, HINT);
    }
    return { ...factors, targets };
  });
  return { modules: bound, notes: trainedElsewhere(name, config.base, base.name) };
}
