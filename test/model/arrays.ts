import { readBytes } from '../files.ts';

export type ArrayData = Float32Array | BigInt64Array | Int32Array;

/** The f32, i32 and i64 tensors of a small safetensors file, for references. */
export async function readArrays(path: string): Promise<Map<string, { shape: number[]; data: ArrayData }>> {
  const bytes = await readBytes(path);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const arrays = new Map<string, { shape: number[]; data: ArrayData }>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [from, to] = entry.data_offsets;
    const { buffer } = bytes.slice(8 + length + from, 8 + length + to);
    arrays.set(name, { shape: entry.shape, data: view(entry.dtype, buffer) });
  }
  return arrays;
}

function view(type: string, buffer: ArrayBuffer): ArrayData {
  if (type === 'F32') return new Float32Array(buffer);
  if (type === 'I32') return new Int32Array(buffer);
  if (type === 'I64') return new BigInt64Array(buffer);
  throw new Error(`${type} in a reference`);
}
