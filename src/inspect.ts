import { openCheckpoint } from './checkpoint/open.ts';
import { repackPlan } from './checkpoint/repack.ts';
import { checkTensors, requiredTensors } from './checkpoint/required.ts';
import type { Checkpoint, ModelConfig, MoeConfig, TensorEntry } from './checkpoint/types.ts';
import { storedBytes } from './device/wasm/weights.ts';
import { type ErrorCode, EspalierError } from './errors.ts';
import { Tokenizer } from './model/tokenizer.ts';

export interface ModelReport {
  readonly name: string;
  readonly format: 'safetensors' | 'gguf' | null;
  readonly fileBytes: number;
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
  /** What keeps the model from running here; empty when it runs. */
  readonly unsupported: readonly { readonly code: ErrorCode; readonly message: string; readonly hint: string }[];
}

/** The mixture of experts of a model, as in its configuration, and what a token meets of it. */
export interface ExpertReport extends MoeConfig {
  /** Parameters that compute a token: all but those of the experts that it does not visit. */
  readonly activeParameters: number;
}

/** Failures to get at the model, which say nothing about it. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'E_FILE_READ',
  'E_FILE_WRITE',
  'E_STORAGE_FULL',
  'E_OFFLINE',
  'E_DOWNLOAD',
  'E_DOWNLOAD_CORRUPT',
  'E_ABORTED',
]);

/**
 * Says what a model is and what it will need, from its header alone. What cannot be run is reported, not thrown.
 * @throws E_FILE_NOT_FOUND, E_FILE_READ, E_ABORTED, and what downloading throws (E_OFFLINE, E_DOWNLOAD, …)
 */
export async function inspectModel(
  target: Parameters<typeof openCheckpoint>[0],
  options: Parameters<typeof openCheckpoint>[1] = {},
): Promise<ModelReport> {
  const unsupported: { code: ErrorCode; message: string; hint: string }[] = [];
  const note = (error: unknown) => {
    if (!(error instanceof EspalierError) || PASSING.has(error.code)) throw error;
    unsupported.push({ code: error.code, message: error.message, hint: error.hint });
  };
  let checkpoint: Checkpoint;
  try {
    checkpoint = await openCheckpoint(target, options);
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
      unsupported,
    };
  }
  try {
    try {
      checkTensors(checkpoint);
    } catch (error) {
      note(error);
    }
    await checkpoint.tokenizer().then(Tokenizer.create).catch(note);
    return { ...describe(checkpoint), unsupported };
  } finally {
    await checkpoint.close();
  }
}

function describe(checkpoint: Checkpoint): Omit<ModelReport, 'unsupported'> {
  const { config } = checkpoint;
  const types: Record<string, number> = {};
  let parameters = 0;
  let weightBytes = 0;
  for (const entry of checkpoint.tensors.values()) {
    types[entry.type] = (types[entry.type] ?? 0) + 1;
    parameters += entry.shape.reduce((product, n) => product * n, 1);
  }
  // only what is read: a tied model may store its embedding twice
  for (const { name, optional } of requiredTensors(config)) {
    const entry = optional ? undefined : checkpoint.tensors.get(name);
    if (entry) weightBytes += deviceBytes(entry);
  }
  const cacheBytesPerToken = 8 * config.nLayers * config.nKvHeads * config.headDim;
  return {
    name: checkpoint.name,
    format: checkpoint.format,
    fileBytes: checkpoint.byteLength,
    parameters,
    types,
    experts: config.moe && describeExperts(config.moe, config.hiddenSize, parameters),
    config,
    memory: { weightBytes, cacheBytesPerToken, cacheBytesFullContext: cacheBytesPerToken * config.maxPositions },
  };
}

function describeExperts(moe: MoeConfig, hidden: number, parameters: number): ExpertReport {
  const idle = moe.layers.length * (moe.experts - moe.topK) * 3 * moe.expertSize * hidden;
  return { ...moe, activeParameters: parameters - idle };
}

/** Matrices stand in panels of 8 rows in their native type; vectors as f32. */
function deviceBytes(entry: TensorEntry): number {
  const columns = entry.shape.at(-1) ?? 1;
  if (entry.shape.length < 2) return 4 * columns;
  const type = repackPlan(entry.type)?.to ?? (entry.type as 'f32');
  return storedBytes(type, 8 * Math.ceil(entry.shape[0]! / 8), columns);
}
