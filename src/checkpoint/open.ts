import { EspalierError, throwIfAborted } from '../errors.ts';
import { type ModelTarget, notFound, openModelFiles, readWhole } from '../runtime/files.ts';
import type { FilesOptions } from '../runtime/session.ts';
import type { ByteSource, ModelFiles } from '../runtime/source.ts';
import { configFromJson } from './config.ts';
import { dequantise } from './dequantise.ts';
import { canonicalExperts } from './expert-names.ts';
import { type GgufTensor, isGguf, readGguf } from './gguf.ts';
import { configFromGguf, ggufArchitecture } from './gguf-config.ts';
import { canonicalTensors } from './gguf-names.ts';
import { tokenizerFromGguf } from './gguf-tokenizer.ts';
import { folderTokenizer } from './hf-tokenizer.ts';
import { configInvalid } from './limits.ts';
import { checkTensors } from './required.ts';
import { readSafetensorsFolder, type TensorTable } from './safetensors.ts';
import type { Checkpoint, ModelConfig, TokenizerSpec } from './types.ts';

/** Where models come from, and what is told meanwhile. */
export interface OpenOptions extends FilesOptions {
  /** Called after each file whose header was read, with files so far and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

const MAX_CONFIG = 16 << 20;

/**
 * Opens a model: a Hugging Face folder (`config.json` and safetensors) or a GGUF file, by path, address or content. Headers and configuration are read and
 * checked, every tensor the model needs is there with its shape; no weight is read yet. Close it in the end.
 *
 * @throws E_FILE_NOT_FOUND, E_FILE_READ, E_CHECKPOINT_*, E_CONFIG_INVALID, E_ARCHITECTURE_UNSUPPORTED, E_TENSOR_MISSING,
 *   E_TENSOR_SHAPE, E_TENSOR_TYPE, E_ABORTED; of models that are downloaded also what `openModelFiles` throws; no file stays open then
 */
export async function openCheckpoint(target: ModelTarget, options: OpenOptions = {}): Promise<Checkpoint> {
  throwIfAborted(options.signal);
  return openCheckpointFiles(await openModelFiles(target, options), options);
}

/** The same for files that the host has opened already. */
export async function openCheckpointFiles(files: ModelFiles, options: OpenOptions = {}): Promise<Checkpoint> {
  const opened: ByteSource[] = [];
  try {
    const checkpoint = await openAny(files, opened, options);
    checkTensors(checkpoint);
    throwIfAborted(options.signal);
    return checkpoint;
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

async function openAny(files: ModelFiles, opened: ByteSource[], options: OpenOptions): Promise<Checkpoint> {
  const hasWeights = files.names.some((name) => /\.safetensors(\.index\.json)?$/.test(name));
  const gguf = files.names.filter((name) => /\.gguf$/i.test(name));
  if (files.names.includes('config.json') && (hasWeights || gguf.length === 0))
    return openFolder(files, opened, options);
  // one file of any name is looked at: its first bytes decide
  const only = files.names.length === 1 ? files.names[0]! : gguf.length === 1 ? gguf[0]! : undefined;
  if (only === undefined) {
    throw gguf.length > 1
      ? new EspalierError('E_FILE_NOT_FOUND', `${files.name} has several GGUF files.`, 'Name one of them.')
      : notFound('config.json', files.name);
  }
  const source = await files.open(only);
  opened.push(source);
  if (!(await isGguf(source))) {
    if (source.size === 0) {
      throw new EspalierError('E_CHECKPOINT_TRUNCATED', `${source.name} is empty.`, 'Download or copy the file again.');
    }
    throw new EspalierError(
      'E_CHECKPOINT_FORMAT',
      `${source.name} is not a GGUF file.`,
      'Pass a GGUF file, or a folder with config.json and safetensors.',
    );
  }
  const checkpoint = await openGguf(source, opened);
  options.onProgress?.(1, 1);
  return checkpoint;
}

async function openFolder(files: ModelFiles, opened: ByteSource[], options: OpenOptions): Promise<Checkpoint> {
  const small = async (name: string): Promise<Uint8Array | null> => {
    if (!files.names.includes(name)) return null;
    const source = await files.open(name);
    try {
      return await readWhole(source, MAX_CONFIG);
    } finally {
      await source.close();
    }
  };
  const json = await small('config.json');
  if (!json) throw notFound('config.json', files.name);
  const config = configFromJson(json, await small('generation_config.json'));
  const table = canonicalExperts(await readSafetensorsFolder(files, opened, options), config, files.name);
  return assemble(files.name, 'safetensors', config, table, opened, () => folderTokenizer(files));
}

async function openGguf(source: ByteSource, opened: ByteSource[]): Promise<Checkpoint> {
  const { metadata, tensors } = await readGguf(source);
  const table = canonicalTensors(tensors, source, ggufArchitecture(metadata, source.name));
  const divisors = await frequencyDivisors(tensors, source);
  const config = configFromGguf(metadata, table, divisors, source.name);
  return assemble(source.name, 'gguf', config, table, opened, async () => tokenizerFromGguf(metadata));
}

/** `rope_freqs.weight`, which is small and shapes the configuration. */
async function frequencyDivisors(tensors: readonly GgufTensor[], source: ByteSource): Promise<Float32Array | null> {
  const tensor = tensors.find(({ name }) => name === 'rope_freqs.weight');
  if (!tensor) return null;
  const elements = tensor.shape[0] ?? 0;
  if (tensor.shape.length !== 1 || elements > 4096) throw configInvalid(source.name, 'rope_freqs.weight is no vector');
  if (tensor.type !== 'f32' && tensor.type !== 'f16' && tensor.type !== 'bf16') {
    throw new EspalierError(
      'E_TENSOR_TYPE',
      `rope_freqs.weight in ${source.name} is stored as ${tensor.typeName}.`,
      'Convert the model again.',
    );
  }
  const bytes = new Uint8Array(tensor.byteLength);
  await source.readInto(tensor.offset, bytes);
  return dequantise(tensor.type, bytes, elements);
}

function assemble(
  name: string,
  format: Checkpoint['format'],
  config: ModelConfig,
  table: TensorTable,
  opened: readonly ByteSource[],
  tokenizer: () => Promise<TokenizerSpec>,
): Checkpoint {
  return {
    name,
    format,
    config,
    tensors: table.tensors,
    unsupported: table.unsupported,
    byteLength: opened.reduce((sum, source) => sum + source.size, 0),
    tokenizer,
    close: () => closeAll(opened),
  };
}

/** Closes every one, even when one fails; reading is over, so a failure to close tells nothing. */
async function closeAll(sources: readonly ByteSource[]): Promise<void> {
  await Promise.allSettled(sources.map((source) => source.close()));
}
