import { EMBEDDING, HEAD } from '../../checkpoint/layer-tensors.ts';
import { readSafetensorsFolder } from '../../checkpoint/safetensors/folder.ts';
import type { Checkpoint, TensorEntry } from '../../checkpoint/types.ts';
import type { OutputType } from '../../checkpoint/write/shards.ts';
import { castBytes, convertedBytes } from '../../checkpoint/write/source-tensors.ts';
import type { OutputGroup, OutputTensor } from '../../checkpoint/write/write-checkpoint.ts';
import type { Tensor } from '../../device/device.ts';
import { EspalierError } from '../../errors.ts';
import type { ByteSource, ModelFiles } from '../../runtime/files/source.ts';
import type { Trainable } from '../trainable.ts';

/** Bytes that are read from the device at a time. */
const PIECE = 4 << 20;

export interface ModelTensorsOptions {
  readonly files: ModelFiles;
  readonly checkpoint: Checkpoint;
  readonly trainable: Trainable;
  readonly dtype: 'auto' | OutputType;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The tensors of a trained model, as the source has them: by its names, in its order and layout, stacks of experts and matrices that stand
 * twice included. Where one of them holds what was trained, the trained weight is written in its place; else what stands there.
 *
 * @param opened gets the files that the tensors are read from, to be closed behind all of it
 * @throws as `readSafetensorsFolder`
 */
export async function modelTensors(options: ModelTensorsOptions, opened: ByteSource[]): Promise<OutputGroup[]> {
  const { files, checkpoint } = options;
  const { tensors } = await readSafetensorsFolder(files, opened, options);
  const parts = partsOf(checkpoint);
  return [...tensors.values()].map((stored) => {
    const type = options.dtype === 'auto' ? storedType(stored) : options.dtype;
    const own = (parts.get(stored.source.name) ?? []).filter(({ offset }) => isWithin(offset, stored));
    const tensor: OutputTensor = {
      name: stored.name,
      type,
      shape: stored.shape,
      bytes: () => bytesOf(stored, own, type, options),
    };
    return { name: stored.name, tensors: [tensor] };
  });
}

/** Canonical tensors by the file that they are in, in the order of their bytes. */
function partsOf({ tensors }: Checkpoint): ReadonlyMap<string, readonly TensorEntry[]> {
  const parts = new Map<string, TensorEntry[]>();
  for (const entry of tensors.values()) {
    const list = parts.get(entry.source.name) ?? [];
    list.push(entry);
    parts.set(entry.source.name, list);
  }
  for (const list of parts.values()) list.sort((a, b) => a.offset - b.offset);
  return parts;
}

const isWithin = (offset: number, { offset: first, byteLength }: TensorEntry): boolean =>
  offset >= first && offset < first + byteLength;

async function* bytesOf(
  stored: TensorEntry,
  own: readonly TensorEntry[],
  type: OutputType,
  { checkpoint, trainable, signal }: ModelTensorsOptions,
): AsyncGenerator<Uint8Array> {
  const { headDim, normOffset } = checkpoint.config;
  const as = (entry: TensorEntry) => convertedBytes(entry, type, 1, { headDim, signal });
  const at = new Map<number, { readonly entry: TensorEntry; readonly value: Tensor | null }>();
  for (const entry of own) {
    const value = trainedValue(trainable, checkpoint, entry.name);
    // one place may have two names
    if (value || !at.has(entry.offset)) at.set(entry.offset, { entry, value });
  }
  if (![...at.values()].some(({ value }) => value)) {
    yield* as(stored);
    return;
  }
  for (const { entry, value } of at.values()) {
    if (!value) yield* as(entry);
    else {
      // norms are trained as what is multiplied by
      const less = /norm\.weight$/.test(entry.name) ? normOffset : 0;
      for await (const values of rowsOf(trainable, value)) {
        if (less !== 0) for (let i = 0; i < values.length; i++) values[i]! -= less;
        yield castBytes(values, type, entry.name);
      }
    }
  }
}

/** What was trained of a canonical tensor: its master weight, or its part of that of a stack of experts; null: nothing. */
function trainedValue({ parameters, device }: Trainable, { config }: Checkpoint, canonical: string): Tensor | null {
  const name = canonical === HEAD && config.tiedEmbeddings ? EMBEDDING : canonical;
  const [, before, expert, behind] = /^(.*\.experts)\.(\d+)(\..*)$/.exec(name) ?? [];
  const parameter = parameters.find((own) => own.name === name || own.name === `${before}${behind}`);
  if (parameter === undefined) return null;
  if (expert === undefined || parameter.name === name) return parameter.value;
  const rows = parameter.shape[1]!;
  return device.rows(parameter.value, Number(expert) * rows, rows);
}

async function* rowsOf({ device }: Trainable, value: Tensor): AsyncGenerator<Float32Array> {
  const width = value.shape.at(-1)!;
  const rows = value.byteLength / 4 / width;
  const step = Math.max(1, Math.floor(PIECE / 4 / width));
  for (let first = 0; first < rows; first += step) {
    yield (await device.read(device.rows(value, first, Math.min(step, rows - first)))) as Float32Array;
  }
}

/** Of a folder of safetensors all that is read is one of these. */
function storedType({ name, type }: TensorEntry): OutputType {
  if (type === 'f32' || type === 'f16' || type === 'bf16') return type;
  throw new EspalierError('E_TENSOR_TYPE', `${name} is stored as ${type}.`, 'Give a `dtype` to write.');
}
