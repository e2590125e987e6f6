import { readFileSync } from 'node:fs';

/** The f32 and i64 tensors of a small safetensors file, for references. */
export function readArrays(path: string | URL): Map<string, { shape: number[]; data: Float32Array | BigInt64Array }> {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const arrays = new Map<string, { shape: number[]; data: Float32Array | BigInt64Array }>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [from, to] = entry.data_offsets;
    const buffer = new Uint8Array(bytes.subarray(8 + length + from, 8 + length + to)).buffer;
    arrays.set(name, {
      shape: entry.shape,
      data: entry.dtype === 'I64' ? new BigInt64Array(buffer) : new Float32Array(buffer),
    });
  }
  return arrays;
}
