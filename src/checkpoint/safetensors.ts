import { EspalierError, throwIfAborted } from '../errors.ts';
import { notFound, readWhole, truncated } from '../runtime/files.ts';
import type { ByteSource, ModelFiles } from '../runtime/source.ts';
import { elementCount } from './element-types.ts';
import { jsonObject, parseJson } from './json.ts';
import type { StoredType, TensorEntry } from './types.ts';

/** The reference implementation's cap on the header, in bytes. */
const MAX_HEADER = 100_000_000;
const MAX_INDEX = 100_000_000;
export const SINGLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

/** Bits of an element by safetensors' names, all that the reference implementation knows; others are kept aside unmeasured. */
const BITS: ReadonlyMap<string, number> = new Map([
  ['F64', 64],
  ['I64', 64],
  ['U64', 64],
  ['C64', 64],
  ['F32', 32],
  ['I32', 32],
  ['U32', 32],
  ['F16', 16],
  ['BF16', 16],
  ['I16', 16],
  ['U16', 16],
  ['F8_E5M2', 8],
  ['F8_E4M3', 8],
  ['F8_E8M0', 8],
  ['I8', 8],
  ['U8', 8],
  ['BOOL', 8],
  ['F6_E2M3', 6],
  ['F6_E3M2', 6],
  ['F4', 4],
]);
const STORED: ReadonlyMap<string, StoredType> = new Map([
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
]);

/** What the files of a checkpoint hold, before a configuration is held against it. */
export interface TensorTable {
  readonly tensors: Map<string, TensorEntry>;
  /** Names of tensors in types that we do not read, with the type's name in the file. */
  readonly unsupported: Map<string, string>;
}

/**
 * Reads and checks the header of one safetensors file. Nothing is allocated beyond the header's length, and that only after
 * it was found to lie inside the file.
 *
 * @throws E_CHECKPOINT_TRUNCATED, E_CHECKPOINT_HEADER (length, JSON, duplicates), E_CHECKPOINT_LAYOUT (shapes, offsets)
 */
export async function readSafetensors(source: ByteSource): Promise<TensorTable> {
  if (source.size < 8) throw truncated(source.name, source.size, 8);
  const prefix = new Uint8Array(8);
  await source.readInto(0, prefix);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > MAX_HEADER || length < 2) {
    throw headerFault(source, `the header would be ${length} bytes long; 2 to ${MAX_HEADER} are allowed`);
  }
  const dataStart = 8 + Number(length);
  if (dataStart > source.size) throw truncated(source.name, source.size, dataStart);
  const bytes = new Uint8Array(Number(length));
  await source.readInto(8, bytes);
  if (bytes[0] !== 0x7b) throw headerFault(source, 'the header does not begin with {');

  const limits = { name: source.name, code: 'E_CHECKPOINT_HEADER', maxDepth: 8, uniqueKeys: true } as const;
  const header = jsonObject(parseJson(bytes, limits), limits);
  const table: TensorTable = { tensors: new Map(), unsupported: new Map() };
  const ranges: Range[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      jsonObject(value, { ...limits, name: `${source.name}: __metadata__` });
      continue;
    }
    const { dtype, shape, range } = tensorInfo(source, name, value);
    ranges.push(range);
    const type = STORED.get(dtype);
    if (type === undefined) table.unsupported.set(name, dtype);
    else {
      const offset = dataStart + range.begin;
      const byteLength = range.end - range.begin;
      table.tensors.set(name, { name, type, shape, source, offset, byteLength, rowOrder: 'plain' });
    }
  }
  checkRanges(source, ranges, source.size - dataStart);
  return table;
}

interface Range {
  readonly name: string;
  /** Relative to the data section. */
  readonly begin: number;
  readonly end: number;
}

function tensorInfo(
  source: ByteSource,
  name: string,
  value: unknown,
): { dtype: string; shape: number[]; range: Range } {
  const shown = name.slice(0, 200);
  const info = jsonObject(value, { name: `${source.name}: ${shown}`, code: 'E_CHECKPOINT_HEADER', ...NO_LIMITS });
  const { dtype, shape, data_offsets: offsets } = info;
  if (typeof dtype !== 'string') throw headerFault(source, `${shown} has no dtype`);
  if (!Array.isArray(shape)) throw headerFault(source, `${shown} has no shape`);
  if (!Array.isArray(offsets) || offsets.length !== 2)
    throw headerFault(source, `${shown} has no pair of data_offsets`);
  const count = elementCount(shape);
  if (count === null) {
    throw layoutFault(source, `the shape of ${shown} is not a list of lengths whose product can be counted`);
  }
  const [begin, end] = offsets as unknown[];
  if (!isOffset(begin) || !isOffset(end) || begin > end) {
    throw layoutFault(source, `the data_offsets of ${shown} are not a range`);
  }
  const bits = BITS.get(dtype);
  if (bits !== undefined && count * bits !== (end - begin) * 8) {
    throw layoutFault(source, `${shown} has ${end - begin} bytes for ${count} elements of type ${dtype}`);
  }
  return { dtype, shape: shape as number[], range: { name: shown, begin, end } };
}

const NO_LIMITS = { maxDepth: 0, uniqueKeys: false } as const;

function isOffset(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** The tensors must tile the data section: no hole, no overlap, nothing before or after. */
function checkRanges(source: ByteSource, ranges: Range[], dataLength: number): void {
  ranges.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const range of ranges) {
    if (range.begin < at) throw layoutFault(source, `${range.name} overlaps the tensor before it`);
    if (range.begin > at)
      throw layoutFault(source, `there is a hole of ${range.begin - at} bytes before ${range.name}`);
    at = range.end;
  }
  if (at > dataLength) throw truncated(source.name, source.size, source.size - dataLength + at);
  if (at < dataLength) throw layoutFault(source, `${dataLength - at} bytes at the end belong to no tensor`);
}

/**
 * Reads the headers of a folder's safetensors: `model.safetensors`, or the shards that `model.safetensors.index.json` names,
 * or the only other file of that kind. Opened sources are handed to `opened`, whatever happens after.
 *
 * @throws E_FILE_NOT_FOUND, E_TENSOR_MISSING when a shard lacks what the index promises, and as `readSafetensors`
 */
export async function readSafetensorsFolder(
  files: ModelFiles,
  opened: ByteSource[],
  options: { signal?: AbortSignal | undefined; onProgress?: ((done: number, total: number) => void) | undefined } = {},
): Promise<TensorTable> {
  const read = async (name: string) => {
    throwIfAborted(options.signal);
    const source = await files.open(name);
    opened.push(source);
    return readSafetensors(source);
  };
  const preferred = files.preferred;
  const single = preferred ?? (files.names.includes(SINGLE_FILE) ? SINGLE_FILE : undefined);
  const indexed = files.names.includes(INDEX_FILE) ? await readIndex(files) : null;
  // a shard that the caller pointed at stands for all of them
  if (indexed && (single === undefined || (single === preferred && indexed.has(single)))) {
    return readShards(files, indexed, read, options.onProgress);
  }
  const others = files.names.filter((name) => name.endsWith('.safetensors'));
  const name = single ?? (others.length === 1 ? others[0]! : undefined);
  if (name === undefined) throw notFound(`${SINGLE_FILE} or ${INDEX_FILE}`, files.name);
  const table = await read(name);
  options.onProgress?.(1, 1);
  return table;
}

/** File name to the names of the tensors in it. */
type Index = ReadonlyMap<string, readonly string[]>;

async function readIndex(files: ModelFiles): Promise<Index> {
  const source = await files.open(INDEX_FILE);
  const limits = { name: INDEX_FILE, code: 'E_CHECKPOINT_HEADER', maxDepth: 8, uniqueKeys: true } as const;
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(source, MAX_INDEX);
  } finally {
    await source.close();
  }
  const index = jsonObject(parseJson(bytes, limits), limits);
  const weightMap = jsonObject(index['weight_map'], { ...limits, name: `${INDEX_FILE}: weight_map` });
  const shards = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(weightMap)) {
    if (typeof file !== 'string' || !isPlainName(file)) {
      throw headerFault(source, `${tensor.slice(0, 200)} is said to lie in a file that is not in this folder`);
    }
    const names = shards.get(file);
    if (names) names.push(tensor);
    else shards.set(file, [tensor]);
  }
  return shards;
}

/** A file in this very folder. */
function isPlainName(name: string): boolean {
  return name.endsWith('.safetensors') && !/[/\\:\0]/.test(name) && !name.startsWith('..');
}

async function readShards(
  files: ModelFiles,
  index: Index,
  read: (name: string) => Promise<TensorTable>,
  onProgress: ((done: number, total: number) => void) | undefined,
): Promise<TensorTable> {
  // all of them first: a missing shard is the usual fault, and must not cost reading the others
  for (const file of index.keys()) if (!files.names.includes(file)) throw notFound(file, files.name);
  const all: TensorTable = { tensors: new Map(), unsupported: new Map() };
  let done = 0;
  for (const [file, names] of index) {
    const shard = await read(file);
    for (const name of names) {
      const entry = shard.tensors.get(name);
      const type = shard.unsupported.get(name);
      if (entry) all.tensors.set(name, entry);
      else if (type !== undefined) all.unsupported.set(name, type);
      else {
        throw new EspalierError(
          'E_TENSOR_MISSING',
          `${file} does not hold ${name.slice(0, 200)}, which ${INDEX_FILE} promises.`,
          'Download the shards and the index again; they belong to different versions.',
        );
      }
    }
    onProgress?.(++done, index.size);
  }
  return all;
}

function headerFault(source: { name: string }, what: string): EspalierError {
  return new EspalierError('E_CHECKPOINT_HEADER', `${source.name}: ${what}.`, 'Download or export the file again.');
}

function layoutFault(source: { name: string }, what: string): EspalierError {
  return new EspalierError('E_CHECKPOINT_LAYOUT', `${source.name}: ${what}.`, 'Download or export the file again.');
}
