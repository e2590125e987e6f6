import { type GateSpec, gateEntries } from './checkpoint/adapter/gate-kinds.ts';
import { openAnyAdapter, type RoutedAdapter } from './checkpoint/adapter/routed.ts';
import type { RoutedExpert } from './checkpoint/adapter/routed-config.ts';
import type { RoutingRule } from './checkpoint/adapter/routing.ts';
import { type OpenSurvey, surveyCheckpoint } from './checkpoint/open.ts';
import { storedKind } from './checkpoint/quantised/stored-types.ts';
import { requiredTensors } from './checkpoint/required.ts';
import type { ModelConfig, MoeConfig, TensorEntry } from './checkpoint/types.ts';
import { byteLengthOf } from './element-types.ts';
import { type ErrorCode, EspalierError } from './errors.ts';
import { Tokenizer } from './model/text/tokenizer.ts';

export interface ModelReport {
  readonly name: string;
  readonly format: 'safetensors' | 'gguf' | null;
  readonly fileBytes: number;
  /** Of the tensors that the model is computed from; of all where that cannot be said. */
  readonly parameters: number;
  /** How many tensors are stored in each type. */
  readonly types: Readonly<Record<string, number>>;
  /** Null where there are none, or the model cannot be read so far. */
  readonly experts: ExpertReport | null;
  /** Null when the model cannot be read so far. */
  readonly config: ModelConfig | null;
  readonly memory: {
    readonly weightBytes: number;
    readonly cacheBytesPerToken: number;
    readonly cacheBytesFullContext: number;
  } | null;
  /** Keys of config.json that its architecture makes no use of. */
  readonly ignoredKeys: readonly string[];
  /** Tensors that are there and not used. */
  readonly unusedTensors: readonly string[];
  /** What was left out or taken otherwise than it stands in the file, a sentence each. */
  readonly notes: readonly string[];
  /** What keeps the model from running here, up to 20 of a kind and then how many more; empty when it runs. */
  readonly unsupported: readonly Problem[];
}

interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/** The mixture of experts of a model, as in its configuration, and what a token meets of it. */
export interface ExpertReport extends MoeConfig {
  /** Parameters that compute a token: all but those of the experts that it does not visit. */
  readonly activeParameters: number;
}

/** Failures to get at the model, which say nothing about it. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'E_ARGUMENT', // of the caller, not of a model
  'E_FILE_READ',
  'E_FILE_WRITE',
  'E_STORAGE_FULL',
  'E_OFFLINE',
  'E_DOWNLOAD',
  'E_DOWNLOAD_CORRUPT',
  'E_ABORTED',
]);

/** Most problems of a kind that are listed one by one. */
const MOST_LISTED = 20;

/**
 * Says what a model is and what it will need, from its headers alone (of a tied model that stores an output matrix too, both are compared).
 * What cannot be run is reported, not thrown, with as much of the model as can be read nevertheless.
 * @throws E_ARGUMENT, E_FILE_NOT_FOUND, E_FILE_READ, E_ABORTED, and what downloading throws (E_OFFLINE, E_DOWNLOAD, …)
 */
export async function inspectModel(
  target: Parameters<typeof surveyCheckpoint>[0],
  options: Parameters<typeof surveyCheckpoint>[1] = {},
): Promise<ModelReport> {
  const problems = new Map<ErrorCode, Problem[]>();
  const note = (error: unknown) => {
    if (!(error instanceof EspalierError) || PASSING.has(error.code)) throw error;
    const { code, message, hint } = error;
    problems.set(code, [...(problems.get(code) ?? []), { code, message, hint }]);
  };
  const unsupported = () => [...problems.values()].flatMap(shortened);
  let survey: OpenSurvey;
  try {
    survey = await surveyCheckpoint(target, options, note);
  } catch (error) {
    if (error instanceof EspalierError && error.code === 'E_FILE_NOT_FOUND') throw error;
    note(error);
    return {
      name: typeof target === 'string' ? target : target instanceof URL ? target.href : 'bytes',
      format: null,
      fileBytes: 0,
      parameters: 0,
      types: {},
      experts: null,
      config: null,
      memory: null,
      ignoredKeys: [],
      unusedTensors: [],
      notes: [],
      unsupported: unsupported(),
    };
  }
  try {
    const tokenizer = await survey.tokenizer().then(Tokenizer.create).catch(note);
    const facts = describe(survey);
    return { ...facts, notes: [...facts.notes, ...(tokenizer?.warnings ?? [])], unsupported: unsupported() };
  } finally {
    await survey.close();
  }
}

/** What an adapter is, by itself. */
export interface AdapterReport {
  readonly name: string;
  /** `alter`: experts of it act by position. */
  readonly format: 'peft' | 'alter';
  readonly fileBytes: number;
  readonly parameters: number;
  /** How many factors are stored in each type. */
  readonly types: Readonly<Record<string, number>>;
  /** What it was trained on, as it was called there. */
  readonly base: string | null;
  /** Rank of modules that no pattern names, and alpha; `rslora`: their terms are divided by the root of the rank. */
  readonly rank: number;
  readonly alpha: number;
  readonly rslora: boolean;
  /** As in its configuration. */
  readonly targets: string | readonly string[];
  /** Linear layers that it has factors for. */
  readonly modules: number;
  /** Null in PEFT's format, as are the gate that chooses them and the rule by which they act. */
  readonly experts: readonly RoutedExpert[] | null;
  readonly gate: GateSpec | null;
  readonly rule: RoutingRule | null;
  readonly notes: readonly string[];
}

/**
 * Says what the files of an adapter hold, from their headers alone.
 * @throws as `openAnyAdapter`
 */
export async function inspectAdapter(
  target: Parameters<typeof openAnyAdapter>[0],
  options: Parameters<typeof openAnyAdapter>[1] = {},
): Promise<AdapterReport> {
  const adapter = await openAnyAdapter(target, options);
  await adapter.close();
  const { name, parameters, byteLength, notes } = adapter;
  const isRouted = adapter.kind === 'routed';
  const entries = isRouted ? routedEntries(adapter) : adapter.pairs.flatMap(({ a, b }) => [a, b]);
  const types: Record<string, number> = {};
  for (const { type } of entries) types[type] = (types[type] ?? 0) + 1;
  const common = { name, fileBytes: byteLength, parameters, types, notes };
  if (isRouted) {
    const { base, rank, scale, experts, gate, rule } = adapter.config;
    const targets = adapter.modules.map(({ module }) => module);
    const facts = { base, rank, alpha: scale * rank, rslora: false, targets, modules: targets.length };
    return { ...common, format: 'alter', ...facts, experts, gate, rule };
  }
  const { base, rank, alpha, rslora, targets } = adapter.config;
  const facts = { base, rank, alpha, rslora, targets, modules: adapter.pairs.length };
  return { ...common, format: 'peft', ...facts, experts: null, gate: null, rule: null };
}

function routedEntries({ modules, gate }: RoutedAdapter): readonly TensorEntry[] {
  const ofGate = gateEntries(gate).map(([, entry]) => entry);
  return [...modules.flatMap(({ a, retain, forget }) => [a, retain, ...forget]), ...ofGate];
}

/** The first of many problems of one kind, and how many more there are. */
function shortened(problems: readonly Problem[]): readonly Problem[] {
  if (problems.length <= MOST_LISTED) return problems;
  const { code, hint } = problems[0]!;
  return [
    ...problems.slice(0, MOST_LISTED),
    { code, message: `And ${problems.length - MOST_LISTED} more of this kind.`, hint },
  ];
}

function describe(survey: OpenSurvey): Omit<ModelReport, 'unsupported'> {
  const { config } = survey;
  const types: Record<string, number> = {};
  const used = config && new Set(usedTensors(config));
  let parameters = 0;
  for (const [name, entry] of survey.tensors) {
    types[entry.type] = (types[entry.type] ?? 0) + 1;
    if (!used || used.has(name)) parameters += entry.shape.reduce((product, n) => product * n, 1);
  }
  for (const type of survey.unsupported.values()) types[type] = (types[type] ?? 0) + 1;
  return {
    name: survey.name,
    format: survey.format,
    fileBytes: survey.byteLength,
    parameters,
    types,
    experts: config?.moe ? describeExperts(config.moe, config.hiddenSize, parameters) : null,
    config,
    memory: config && memoryOf(config, survey),
    ignoredKeys: survey.ignoredKeys,
    unusedTensors: survey.unusedTensors,
    notes: survey.notes,
  };
}

/** Names of the tensors that are read: a tied model may store its embedding twice. */
function* usedTensors(config: ModelConfig): Generator<string> {
  for (const { name, optional } of requiredTensors(config)) if (!optional) yield name;
}

function memoryOf(config: ModelConfig, { tensors }: OpenSurvey): NonNullable<ModelReport['memory']> {
  let weightBytes = 0;
  for (const name of usedTensors(config)) {
    const entry = tensors.get(name);
    if (entry) weightBytes += deviceBytes(entry);
  }
  const cacheBytesPerToken = 8 * config.nLayers * config.nKvHeads * config.headDim;
  return { weightBytes, cacheBytesPerToken, cacheBytesFullContext: cacheBytesPerToken * config.maxPositions };
}

function describeExperts(moe: MoeConfig, hidden: number, parameters: number): ExpertReport {
  const idle = moe.layers.length * (moe.experts - moe.topK) * 3 * moe.expertSize * hidden;
  return { ...moe, activeParameters: parameters - idle };
}

/** Matrices stand in panels of 8 rows in their native type; vectors as f32. */
function deviceBytes(entry: TensorEntry): number {
  const columns = entry.shape.at(-1) ?? 1;
  if (entry.shape.length < 2) return 4 * columns;
  const type = storedKind(entry.type).device;
  return byteLengthOf(type, 8 * Math.ceil(entry.shape[0]! / 8) * columns);
}
