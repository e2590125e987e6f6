import { EspalierError } from '../../errors.ts';
import { truncated } from '../../runtime/files/model-files.ts';
import type { ByteSource } from '../../runtime/files/source.ts';
import { STRANGER_BYTES, strangerOf } from '../../runtime/files/strangers.ts';
import { jsonObject, parseJson } from '../json.ts';
import { elementCount, emptyTable, type TensorTable } from '../tensor-table.ts';
import type { StoredType } from '../types.ts';

/** The reference implementation's cap on the header, in bytes. */
const MAX_HEADER = 100_000_000;

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

/**
 * Reads and checks the header of one safetensors file. Nothing is allocated beyond the header's length, and that only after
 * it was found to lie inside the file.
 *
 * @throws E_CHECKPOINT_TRUNCATED, E_CHECKPOINT_FORMAT (something else under this name), E_CHECKPOINT_HEADER (length, JSON,
 *   duplicates), E_CHECKPOINT_LAYOUT (shapes, offsets)
 */
export async function readSafetensors(source: ByteSource): Promise<TensorTable> {
  // the eight bytes of a length and the brace behind them
  const start = new Uint8Array(Math.min(source.size, STRANGER_BYTES));
  await source.readInto(0, start);
  const length = start.length < 8 ? 0n : new DataView(start.buffer).getBigUint64(0, true);
  if (start[8] !== 0x7b || length > MAX_HEADER) {
    const stranger = strangerOf(start);
    if (stranger) throw new EspalierError('E_CHECKPOINT_FORMAT', `${source.name} is ${stranger.what}.`, stranger.hint);
  }
  if (source.size < 8) throw truncated(source.name, source.size, 8);
  if (length > MAX_HEADER || length < 2) {
    throw headerFault(source, `the header would be ${length} bytes long; 2 to ${MAX_HEADER} are allowed`);
  }
  const dataStart = 8 + Number(length);
  if (dataStart > source.size) throw truncated(source.name, source.size, dataStart);
  if (start[8] !== 0x7b) throw headerFault(source, 'the header does not begin with {');
  const bytes = new Uint8Array(Number(length));
  await source.readInto(8, bytes);

  const limits = { name: source.name, code: 'E_CHECKPOINT_HEADER', maxDepth: 8, uniqueKeys: true } as const;
  const header = jsonObject(parseJson(bytes, limits), limits);
  const table = emptyTable();
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

function headerFault(source: { name: string }, what: string): EspalierError {
  return new EspalierError('E_CHECKPOINT_HEADER', `${source.name}: ${what}.`, 'Download or export the file again.');
}

function layoutFault(source: { name: string }, what: string): EspalierError {
  return new EspalierError('E_CHECKPOINT_LAYOUT', `${source.name}: ${what}.`, 'Download or export the file again.');
}
