import { BLOCK_SIZE } from '../../element-types.ts';
import { EspalierError } from '../../errors.ts';
import { truncated } from '../../runtime/files/model-files.ts';
import type { ByteSource } from '../../runtime/files/source.ts';
import { STORED_NAMES, type StoredType, storedKind } from '../quantised/stored-types.ts';
import { elementCount } from '../tensor-table.ts';
import { GGUF_TYPE, GgufReader, type GgufValue } from './reader.ts';

export type { GgufNumbers, GgufValue } from './reader.ts';

/** A tensor as the file describes it. */
export interface GgufTensor {
  readonly name: string;
  /** Null when we do not read this type. */
  readonly type: StoredType | null;
  /** ggml's name of the type, or `type N`. */
  readonly typeName: string;
  /** Outermost dimension first: the file's own order reversed. */
  readonly shape: readonly number[];
  /** Absolute byte offset, and length; the length of an unknown type is 0. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** ggml's numbers of the metadata's types, which values alone do not tell: 2.0 and 2 are one number here. */
  readonly types: ReadonlyMap<string, number>;
  readonly tensors: readonly GgufTensor[];
}

/** ggml's numbers of the types that are read. */
const READ: ReadonlyMap<number, StoredType> = new Map(STORED_NAMES.map((type) => [storedKind(type).ggml, type]));
/** And of others, whose places in the file are checked all the same: name, elements a block, bytes a block. */
const OTHERS: ReadonlyMap<number, readonly [name: string, elements: number, bytes: number]> = new Map([
  [9, ['q8_1', 32, 40]],
  [10, ['q2_k', 256, 84]],
  [11, ['q3_k', 256, 110]],
  [15, ['q8_k', 256, 292]],
  [16, ['iq2_xxs', 256, 66]],
  [17, ['iq2_xs', 256, 74]],
  [18, ['iq3_xxs', 256, 98]],
  [19, ['iq1_s', 256, 50]],
  [20, ['iq4_nl', 32, 18]],
  [21, ['iq3_s', 256, 110]],
  [22, ['iq2_s', 256, 82]],
  [23, ['iq4_xs', 256, 136]],
  [24, ['i8', 1, 1]],
  [25, ['i16', 1, 2]],
  [26, ['i32', 1, 4]],
  [27, ['i64', 1, 8]],
  [28, ['f64', 1, 8]],
  [29, ['iq1_m', 256, 56]],
  [34, ['tq1_0', 256, 54]],
  [35, ['tq2_0', 256, 66]],
  [39, ['mxfp4', 32, 17]],
]);

const MAGIC = 0x46554747; // "GGUF", little-endian
/** The specification's limit on keys; names of tensors are at most 64 bytes there, some files have more. */
const MAX_KEY = 65535;
const MAX_TENSOR_NAME = 1024;
/** ggml's own. */
const MAX_DIMENSIONS = 4;
const DEFAULT_ALIGNMENT = 32;
const MAX_ALIGNMENT = 1 << 20;

/** Whether a file begins as GGUF does. */
export async function isGguf(source: ByteSource): Promise<boolean> {
  if (source.size < 4) return false;
  const magic = new Uint8Array(4);
  await source.readInto(0, magic);
  return new DataView(magic.buffer).getUint32(0, true) === MAGIC;
}

/**
 * Reads and checks the header of a GGUF file, version 2 or 3, little-endian.
 *
 * @throws E_CHECKPOINT_FORMAT (magic, version, byte order, split files), E_CHECKPOINT_HEADER, E_CHECKPOINT_TRUNCATED,
 *   E_CHECKPOINT_LAYOUT (offsets and sizes that contradict each other)
 */
export async function readGguf(source: ByteSource): Promise<GgufHeader> {
  const reader = new GgufReader(source);
  if (source.size < 24) throw truncated(source.name, source.size, 24);
  if ((await reader.u32()) !== MAGIC) throw formatFault(source, 'does not begin with GGUF', 'Pass a GGUF file.');
  const version = await reader.u32();
  if (version !== 2 && version !== 3) {
    const swapped = (version & 0xffff) === 0 && version !== 0;
    throw swapped
      ? formatFault(source, 'is a big-endian GGUF file', 'Use the little-endian file.')
      : formatFault(source, `is GGUF version ${version}; 2 and 3 are read`, 'Convert it with a current llama.cpp.');
  }
  // at least: a tensor's name length, rank, type and offset; a key's length, value type and a byte
  const nTensors = await reader.count(24, 'the list of tensors');
  const nKeys = await reader.count(13, 'the metadata');

  const metadata = new Map<string, GgufValue>();
  const types = new Map<string, number>();
  for (let i = 0; i < nKeys; i++) {
    const key = await reader.name(MAX_KEY, 'a metadata key');
    if (metadata.has(key)) throw reader.fault(`the key ${key.slice(0, 100)} stands twice`);
    const type = await reader.u32();
    types.set(key, type);
    metadata.set(key, await reader.value(key.slice(0, 100), type));
  }
  const parts = metadata.get('split.count');
  if (parts !== undefined && Number(parts) > 1) {
    throw formatFault(source, `is one of ${parts} parts`, 'Merge them with llama-gguf-split --merge first.');
  }
  const alignment = alignmentOf(reader, metadata, types);

  const infos: TensorInfo[] = [];
  const names = new Set<string>();
  for (let i = 0; i < nTensors; i++) {
    const info = await tensorInfo(reader, source);
    if (names.has(info.name)) throw reader.fault(`the tensor ${info.name} stands twice`);
    names.add(info.name);
    infos.push(info);
  }
  const dataStart = roundUp(reader.position, alignment);
  checkLayout(source, infos, dataStart, alignment);
  const tensors = infos.map(({ begin, ...info }) => ({ ...info, offset: dataStart + begin }));
  return { version, metadata, types, tensors };
}

interface TensorInfo extends Omit<GgufTensor, 'offset'> {
  /** Relative to the data section. */
  readonly begin: number;
  /** Whether the length of its type is known. */
  readonly measured: boolean;
}

function alignmentOf(
  reader: GgufReader,
  metadata: ReadonlyMap<string, GgufValue>,
  types: ReadonlyMap<string, number>,
): number {
  const value = metadata.get('general.alignment');
  if (value === undefined) return DEFAULT_ALIGNMENT;
  if (types.get('general.alignment') !== GGUF_TYPE.u32 || typeof value !== 'number') {
    throw reader.fault('general.alignment is not a 32-bit unsigned number');
  }
  if (value < 1 || value > MAX_ALIGNMENT || (value & (value - 1)) !== 0) {
    throw reader.fault(`general.alignment is ${value}, not a power of two up to ${MAX_ALIGNMENT}`);
  }
  return value;
}

async function tensorInfo(reader: GgufReader, source: ByteSource): Promise<TensorInfo> {
  const name = await reader.name(MAX_TENSOR_NAME, 'a tensor’s name');
  const nDimensions = await reader.u32();
  if (nDimensions > MAX_DIMENSIONS) throw reader.fault(`${name} has ${nDimensions} dimensions`);
  const shape: number[] = [];
  for (let i = 0; i < nDimensions; i++) {
    const length = await reader.u64();
    if (length > Number.MAX_SAFE_INTEGER) throw layoutFault(source, `${name} has a dimension of ${length}`);
    shape.unshift(Number(length));
  }
  const count = elementCount(shape);
  if (count === null) throw layoutFault(source, `the elements of ${name} are too many to count`);
  const typeNumber = await reader.u32();
  const begin = await reader.u64();
  if (begin > Number.MAX_SAFE_INTEGER) throw layoutFault(source, `${name} would begin at ${begin}`);

  const type = READ.get(typeNumber) ?? null;
  const block = type && BLOCK_SIZE[type];
  const [typeName, elements, bytes] = block
    ? [type, block.elements, block.bytes]
    : (OTHERS.get(typeNumber) ?? [`type ${typeNumber}`, 1, 0]);
  if ((shape.at(-1) ?? 1) % elements !== 0) {
    throw layoutFault(source, `rows of ${name} are not whole blocks of ${elements}, which ${typeName} needs`);
  }
  const byteLength = (count / elements) * bytes;
  if (!Number.isSafeInteger(byteLength)) throw layoutFault(source, `the bytes of ${name} are too many to count`);
  return { name, shape, begin: Number(begin), type, typeName, byteLength, measured: bytes > 0 };
}

/** As llama.cpp demands: each tensor begins where the one before it ends, rounded up to the alignment. */
function checkLayout(source: ByteSource, infos: readonly TensorInfo[], dataStart: number, alignment: number): void {
  const sorted = [...infos].sort((a, b) => a.begin - b.begin || a.byteLength - b.byteLength);
  let at = 0;
  let exact = true;
  for (const info of sorted) {
    if (info.begin % alignment !== 0) throw layoutFault(source, `${info.name} does not begin at the alignment`);
    if (info.begin < at) throw layoutFault(source, `${info.name} overlaps the tensor before it`);
    if (exact && info.begin > at) throw layoutFault(source, `there is a hole before ${info.name}`);
    const end = dataStart + info.begin + info.byteLength;
    if (end > source.size) throw truncated(source.name, source.size, end);
    at = roundUp(info.begin + info.byteLength, alignment);
    exact = info.measured;
  }
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}

function formatFault(source: ByteSource, what: string, hint: string): EspalierError {
  return new EspalierError('E_CHECKPOINT_FORMAT', `${source.name} ${what}.`, hint);
}

function layoutFault(source: ByteSource, what: string): EspalierError {
  return new EspalierError('E_CHECKPOINT_LAYOUT', `${source.name}: ${what}.`, 'Download or convert it again.');
}
