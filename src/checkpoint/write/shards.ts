import { byteLengthOf } from '../../element-types.ts';
import { EspalierError } from '../../errors.ts';
import { SINGLE_FILE } from '../safetensors/folder.ts';
import { elementCount } from '../tensor-table.ts';

/** The size of shards that Hugging Face's libraries write unless told otherwise, in bytes of tensors. */
export const MAX_SHARD_BYTES = 5e9;

/** What checkpoints are written in. */
export type OutputType = 'bf16' | 'f16' | 'f32';

export interface TensorSpec {
  readonly name: string;
  readonly type: OutputType;
  /** Outermost dimension first; none: a single number. */
  readonly shape: readonly number[];
}

/** One file of a checkpoint that is to be written. */
export interface Shard {
  readonly name: string;
  /** All before the first tensor: the length of the JSON, the JSON, spaces up to a multiple of 8 bytes. */
  readonly header: Uint8Array;
  readonly tensors: readonly TensorSpec[];
  /** Bytes of the whole file. */
  readonly bytes: number;
}

const DTYPE = { bf16: 'BF16', f16: 'F16', f32: 'F32' } as const;

/** Bytes of a tensor. @throws a plain Error when the shape is none */
export function tensorBytes({ name, type, shape }: TensorSpec): number {
  const count = elementCount(shape);
  if (count === null) throw new Error(`[${shape}] is no shape, of ${name}`);
  return byteLengthOf(type, count);
}

/**
 * Divides tensors into files, in their order: a file ends before the tensor with which its tensors would have more than
 * `maxShardBytes`, and a tensor that has more by itself has a file of its own. One file is `model.safetensors`; several are
 * `model-00001-of-0000N.safetensors`, from 1.
 *
 * @param metadata of the headers, under `__metadata__`
 * @throws E_ARGUMENT for a size of shards that is none; a plain Error for a name that stands twice
 */
export function planShards(
  groups: readonly { readonly tensors: readonly TensorSpec[] }[],
  maxShardBytes: number = MAX_SHARD_BYTES,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Shard[] {
  if (!(maxShardBytes >= 1)) {
    const hint = 'Shards have at least 1 byte; a tensor is never divided.';
    throw new EspalierError('E_ARGUMENT', `maxShardBytes is ${maxShardBytes}.`, hint);
  }
  const parts: TensorSpec[][] = [[]];
  const names = new Set<string>(['__metadata__']);
  let inPart = 0;
  for (const tensor of groups.flatMap((group) => group.tensors)) {
    if (names.has(tensor.name)) throw new Error(`two tensors are called ${tensor.name}`);
    names.add(tensor.name);
    const bytes = tensorBytes(tensor);
    if (inPart > 0 && inPart + bytes > maxShardBytes) {
      parts.push([]);
      inPart = 0;
    }
    parts.at(-1)!.push(tensor);
    inPart += bytes;
  }
  return parts.map((tensors, i) => {
    const header = headerOf(tensors, metadata);
    const bytes = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), header.byteLength);
    return { name: parts.length === 1 ? SINGLE_FILE : shardName(i, parts.length), header, tensors, bytes };
  });
}

function shardName(index: number, count: number): string {
  const number = (value: number): string => String(value).padStart(5, '0');
  return `model-${number(index + 1)}-of-${number(count)}.safetensors`;
}

/** Built as text: an object would move names that look like numbers to the front. */
function headerOf(tensors: readonly TensorSpec[], metadata: Readonly<Record<string, string>>): Uint8Array {
  let at = 0;
  const entries = tensors.map((tensor) => {
    const begin = at;
    at += tensorBytes(tensor);
    const info = { dtype: DTYPE[tensor.type], shape: tensor.shape, data_offsets: [begin, at] };
    return `${JSON.stringify(tensor.name)}:${JSON.stringify(info)}`;
  });
  if (Object.keys(metadata).length > 0) entries.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  const json = new TextEncoder().encode(`{${entries.join(',')}}`);
  const length = Math.ceil(json.byteLength / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20, 8);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}

/** The index of several shards as transformers writes it: names sorted, two spaces a level, a line's end at the end. */
export function indexOf(shards: readonly Shard[]): Uint8Array {
  const tensors = shards.flatMap((shard) => shard.tensors.map((tensor) => ({ tensor, file: shard.name })));
  const parameters = tensors.reduce((sum, { tensor }) => sum + elementCount(tensor.shape)!, 0);
  const size = tensors.reduce((sum, { tensor }) => sum + tensorBytes(tensor), 0);
  const map = tensors
    .sort((a, b) => (a.tensor.name < b.tensor.name ? -1 : 1))
    .map(({ tensor, file }) => `    ${JSON.stringify(tensor.name)}: ${JSON.stringify(file)}`);
  const text = `{
  "metadata": {
    "total_parameters": ${parameters},
    "total_size": ${size}
  },
  "weight_map": {
${map.join(',\n')}
  }
}
`;
  return new TextEncoder().encode(text);
}
