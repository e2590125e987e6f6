import { EspalierError, throwIfAborted } from '../errors.ts';
import { checked } from '../options/check.ts';
import { type ModelTarget, notFound, openModelFiles } from '../runtime/files/model-files.ts';
import type { ByteSource, ModelFiles } from '../runtime/files/source.ts';
import { STRANGER_BYTES, strangeFolder, strangerOf } from '../runtime/files/strangers.ts';
import { checkedTarget } from '../runtime/files/target.ts';
import { isGguf } from './gguf/gguf.ts';
import { surveyGguf } from './gguf/open.ts';
import { checkpointOptions, type OpenOptions } from './options.ts';
import { type Report, raise } from './report.ts';
import { adapterFault, isAdapter, surveyFolder } from './safetensors/open.ts';
import type { Survey } from './survey.ts';
import type { Checkpoint } from './types.ts';

/**
 * Opens a model: a Hugging Face folder (`config.json` and safetensors) or a GGUF file, by path, address or content. Headers and configuration are read and
 * checked, every tensor the model needs is there with its shape; no weight is read yet. Close it in the end.
 *
 * @throws E_FILE_NOT_FOUND, E_FILE_READ, E_CHECKPOINT_*, E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED, E_TENSOR_MISSING,
 *   E_TENSOR_SHAPE, E_TENSOR_TYPE, E_ABORTED; of models that are downloaded also what `openModelFiles` throws; no file stays open then
 */
export async function openCheckpoint(target: ModelTarget, given: OpenOptions = {}): Promise<Checkpoint> {
  const options = checked<OpenOptions>(checkpointOptions, given, 'openCheckpoint');
  checkedTarget(target);
  throwIfAborted(options.signal);
  return openCheckpointFiles(await openModelFiles(target, options), options);
}

/** The same for files that the host has opened already. */
export async function openCheckpointFiles(files: ModelFiles, options: OpenOptions = {}): Promise<Checkpoint> {
  const { config, ...survey } = await surveyFiles(files, options, raise);
  return { ...survey, config: config! }; // without one the survey has thrown
}

/** What could be read of a model, and its files, to be closed in the end. */
export type OpenSurvey = Survey & Pick<Checkpoint, 'byteLength' | 'close'>;

/**
 * The same, for who wants to see all of a model that cannot be used: what is wrong is reported, and as much as can be is read all the same.
 * @throws what `report` throws, and what leaves nothing to be seen; no file stays open then
 */
export async function surveyCheckpoint(target: ModelTarget, options: OpenOptions, report: Report): Promise<OpenSurvey> {
  throwIfAborted(options.signal);
  return surveyFiles(await openModelFiles(target, options), options, report);
}

async function surveyFiles(files: ModelFiles, options: OpenOptions, report: Report): Promise<OpenSurvey> {
  const opened: ByteSource[] = [];
  try {
    const survey = await surveyAny(files, opened, options, report);
    throwIfAborted(options.signal);
    return {
      ...survey,
      byteLength: opened.reduce((sum, source) => sum + source.size, 0),
      close: () => closeAll(opened),
    };
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

async function surveyAny(
  files: ModelFiles,
  opened: ByteSource[],
  options: OpenOptions,
  report: Report,
): Promise<Survey> {
  if (isAdapter(files)) throw await adapterFault(files);
  const hasWeights = files.names.some((name) => /\.safetensors(\.index\.json)?$/.test(name));
  const gguf = files.names.filter((name) => /\.gguf$/i.test(name));
  if (files.names.includes('config.json') && (hasWeights || gguf.length === 0))
    return surveyFolder(files, opened, options, report);
  // one file of any name is looked at: its first bytes decide
  const only = files.names.length === 1 ? files.names[0]! : gguf.length === 1 ? gguf[0]! : undefined;
  if (only === undefined) throw noModel(files, gguf);
  const source = await files.open(only);
  opened.push(source);
  if (!(await isGguf(source))) {
    if (source.size === 0) {
      throw new EspalierError('E_CHECKPOINT_TRUNCATED', `${source.name} is empty.`, 'Download or copy the file again.');
    }
    throw (
      (await strangerFault(source)) ??
      new EspalierError(
        'E_CHECKPOINT_FORMAT',
        `${source.name} is not a GGUF file.`,
        'Pass a GGUF file, or a folder with config.json and safetensors.',
      )
    );
  }
  const survey = await surveyGguf(source, report);
  options.onProgress?.(1, 1);
  return survey;
}

/** The error for a folder in which nothing can be opened. */
function noModel(files: ModelFiles, gguf: readonly string[]): EspalierError {
  if (gguf.length > 1) {
    return gguf.every((name) => /-\d{5}-of-\d{5}\.gguf$/i.test(name))
      ? new EspalierError(
          'E_CHECKPOINT_FORMAT',
          `${files.name} holds a GGUF file in ${gguf.length} parts.`,
          'Merge them with llama-gguf-split --merge first.',
        )
      : new EspalierError('E_FILE_NOT_FOUND', `${files.name} has several GGUF files.`, 'Name one of them.');
  }
  if (files.names.length === 0) {
    return new EspalierError('E_FILE_NOT_FOUND', `${files.name} is empty.`, 'Check the path and the name.');
  }
  const strange = strangeFolder(files.names);
  if (strange) return new EspalierError('E_CHECKPOINT_FORMAT', `${files.name} ${strange.what}.`, strange.hint);
  return notFound('config.json', files.name);
}

/** The error for a file that is something else than it should be; null where nothing is known of it. */
async function strangerFault(source: ByteSource): Promise<EspalierError | null> {
  const start = new Uint8Array(Math.min(source.size, STRANGER_BYTES));
  await source.readInto(0, start);
  const stranger = strangerOf(start);
  return stranger && new EspalierError('E_CHECKPOINT_FORMAT', `${source.name} is ${stranger.what}.`, stranger.hint);
}

/** Closes every one, even when one fails; reading is over, so a failure to close tells nothing. */
async function closeAll(sources: readonly ByteSource[]): Promise<void> {
  await Promise.allSettled(sources.map((source) => source.close()));
}
