import { EspalierError } from '../../errors.ts';
import { FILE_LIMITS } from '../../runtime/files/file-limits.ts';
import { notFound, readWhole } from '../../runtime/files/model-files.ts';
import type { ByteSource, ModelFiles } from '../../runtime/files/source.ts';
import { strangeFolder } from '../../runtime/files/strangers.ts';
import { ADAPTER_CONFIG, ALTER_CONFIG, isAdapterFile } from '../../runtime/hub/remote-files.ts';
import { type ConfigRemarks, configFromJson } from '../config/config.ts';
import { canonicalExperts } from '../expert-names.ts';
import { parseJson } from '../json.ts';
import type { Report } from '../report.ts';
import { checkTensors } from '../required.ts';
import type { Survey } from '../survey.ts';
import { emptyTable, type TensorTable } from '../tensor-table.ts';
import type { ModelConfig } from '../types.ts';
import { type FolderOptions, readSafetensorsFolder } from './folder.ts';
import { canonicalPrefixes, settleTie } from './names.ts';
import { folderTokenizer } from './tokenizer.ts';

/**
 * A Hugging Face folder: config.json and safetensors. What cannot be read is reported, and the rest is read nevertheless.
 * @throws what `report` throws
 */
export async function surveyFolder(
  files: ModelFiles,
  opened: ByteSource[],
  options: FolderOptions,
  report: Report,
): Promise<Survey> {
  const remarks: ConfigRemarks = { ignoredKeys: [], notes: [] };
  const attempt = async <T>(work: () => T | Promise<T>): Promise<T | null> => {
    try {
      return await work();
    } catch (error) {
      report(error);
      return null;
    }
  };
  let config = await attempt(() => readConfig(files, remarks));
  const stored = await attempt(() => readWeights(files, opened, { ...options, report }));
  let table: TensorTable = stored ?? emptyTable();
  if (config && stored) {
    const read = config;
    const settled = await attempt(() => settle(files.name, read, table, remarks, options.signal));
    if (settled) ({ config, table } = settled);
  }
  const survey = { name: files.name, format: 'safetensors' as const, config, ...table, ...remarks };
  const unusedTensors = config && stored ? checkTensors({ ...survey, config }, report) : [];
  return { ...survey, unusedTensors, tokenizer: () => folderTokenizer(files) };
}

/** Names and the output matrix, as the configuration has them. */
async function settle(
  file: string,
  config: ModelConfig,
  stored: TensorTable,
  { notes }: ConfigRemarks,
  signal: AbortSignal | undefined,
): Promise<{ config: ModelConfig; table: TensorTable }> {
  const { table: named, baseExport } = canonicalPrefixes(stored, file);
  const { table, tied, note } = await settleTie(canonicalExperts(named, config, file), config.tiedEmbeddings, signal);
  if (note !== null) notes.push(note);
  const has = (name: string) => table.tensors.has(name) || table.unsupported.has(name);
  const headless = baseExport && !tied && !has('lm_head.weight');
  if (headless) notes.push('There is no output matrix (it is the export of a base model): it can embed, not predict.');
  return { config: { ...config, tiedEmbeddings: tied, headless }, table };
}

async function small(files: ModelFiles, name: string): Promise<Uint8Array | null> {
  if (!files.names.includes(name)) return null;
  const source = await files.open(name);
  try {
    return await readWhole(source, FILE_LIMITS.config);
  } finally {
    await source.close();
  }
}

async function readConfig(files: ModelFiles, remarks: ConfigRemarks): Promise<ModelConfig> {
  const json = await small(files, 'config.json');
  if (!json) throw notFound('config.json', files.name);
  return configFromJson(json, await small(files, 'generation_config.json'), remarks);
}

async function readWeights(files: ModelFiles, opened: ByteSource[], options: FolderOptions): Promise<TensorTable> {
  const weights = files.names.filter((name) => /\.safetensors(?:\.index\.json)?$/.test(name));
  const strange = weights.length === 0 ? strangeFolder(files.names) : null;
  if (strange) throw new EspalierError('E_CHECKPOINT_FORMAT', `${files.name} ${strange.what}.`, strange.hint);
  return readSafetensorsFolder(files, opened, options);
}

/** Whether a folder holds an adapter and not the model that it is for. */
export function isAdapter({ names }: ModelFiles): boolean {
  const hasWeights = names.some((name) => name.endsWith('.safetensors') && !isAdapterFile(name));
  const isModel = names.some((name) => /\.gguf$/i.test(name)) || (names.includes('config.json') && hasWeights);
  return (names.includes(ADAPTER_CONFIG) || names.includes(ALTER_CONFIG)) && !isModel;
}

/** The error for a folder with an adapter alone, with the name of its base model where it says so. */
export async function adapterFault(files: ModelFiles): Promise<EspalierError> {
  let base = 'another model';
  try {
    const plain = await small(files, ADAPTER_CONFIG);
    const json = plain ?? (await small(files, ALTER_CONFIG));
    const limits = {
      name: plain ? ADAPTER_CONFIG : ALTER_CONFIG,
      code: 'E_CONFIG_INVALID',
      maxDepth: 32,
      uniqueKeys: false,
    } as const;
    const config = json && (parseJson(json, { ...limits, python: true }) as Record<string, unknown> | null);
    const name = config?.[plain ? 'base_model_name_or_path' : 'base'];
    if (typeof name === 'string' && name !== '') base = name.slice(0, 200);
  } catch {
    // its name is all that is wanted
  }
  return new EspalierError(
    'E_ADAPTER',
    `${files.name} is an adapter (LoRA) of ${base}, not a model.`,
    'Open that model with this as one of its `adapters` (--adapter).',
  );
}
