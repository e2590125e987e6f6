import type { ElementType, TensorData } from './device.ts';

/** What `read` gives, of the bytes of a tensor. */
export function tensorData(type: ElementType, buffer: ArrayBuffer): TensorData {
  if (type === 'f32') return new Float32Array(buffer);
  if (type === 'i32') return new Int32Array(buffer);
  if (type === 'u32') return new Uint32Array(buffer);
  return new Uint16Array(buffer);
}
