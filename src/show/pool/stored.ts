import type { ModelConfig } from '../../checkpoint/types.ts';
import type { Device, ElementType, StoredRows, Tensor } from '../../device/device.ts';
import { byteLengthOf } from '../../element-types.ts';
import { EspalierError } from '../../errors.ts';
import type { StorageType } from '../types.ts';

interface Format {
  readonly element: ElementType;
  /** Numbers that one element holds. */
  readonly numbers: 1 | 2;
  /** Whether there is a byte for the scale of each row and head. */
  readonly isScaled: boolean;
}

const FORMAT: Readonly<Record<StorageType, Format>> = {
  f32: { element: 'f32', numbers: 1, isScaled: false },
  f16: { element: 'f16', numbers: 1, isScaled: false },
  int8: { element: 'i8', numbers: 1, isScaled: true },
  int4: { element: 'i8', numbers: 2, isScaled: true },
};

/** @throws E_ARGUMENT for a model whose heads cannot be stored so */
export function checkStorage(storage: StorageType, { headDim }: ModelConfig): void {
  if (headDim % FORMAT[storage].numbers === 0) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `${storage} holds pairs, and heads of the model have ${headDim} numbers.`,
    'Take int8.',
  );
}

/**
 * Keys and values of one shot (or of a block of shots) in all layers, as they stay: keys before RoPE, after QK-norm, without the
 * attention factor. Never changed once written; on the device until disposed.
 */
export class StoredShot {
  /** Tokens. */
  readonly length: number;
  readonly keys: StoredRows;
  readonly values: StoredRows;
  readonly bytes: number;

  /** Room for so many tokens. @throws E_OUT_OF_MEMORY */
  constructor(device: Device, config: ModelConfig, length: number, storage: StorageType) {
    const { nLayers, nKvHeads, headDim } = config;
    const made: Tensor[] = [];
    const tensor = (type: ElementType, width: number): Tensor => {
      const t = device.tensor(type, [nLayers * length, width]);
      made.push(t);
      return t;
    };
    const { element, numbers, isScaled } = FORMAT[storage];
    const rows = (): StoredRows => ({
      data: tensor(element, (nKvHeads * headDim) / numbers),
      scales: isScaled ? tensor('i8', nKvHeads) : null,
    });
    try {
      this.keys = rows();
      this.values = rows();
    } catch (error) {
      for (const t of made) t.dispose();
      throw error;
    }
    this.length = length;
    this.bytes = made.reduce((sum, t) => sum + t.byteLength, 0);
  }

  /** In the order in which they are written down. */
  get tensors(): readonly Tensor[] {
    const { keys, values } = this;
    return [keys.data, keys.scales, values.data, values.scales].filter((t) => t !== null);
  }

  dispose(): void {
    for (const t of this.tensors) t.dispose();
  }
}

const MAGIC = 0x31485345; // ESH1
/** magic, tokens, bytes of tensors, numbers of pooled keys */
const HEADER = 16;

/** Bytes of the keys and values of so many tokens. */
export function shotBytes({ nLayers, nKvHeads, headDim }: ModelConfig, length: number, storage: StorageType): number {
  const { element, numbers, isScaled } = FORMAT[storage];
  return 2 * nLayers * length * nKvHeads * (byteLengthOf(element, headDim / numbers) + (isScaled ? 1 : 0));
}

/** Bytes that `bytesOf` makes of a shot of so many tokens, with so many numbers of pooled keys. */
export function entryBytes(config: ModelConfig, length: number, storage: StorageType, pooled: number): number {
  return HEADER + shotBytes(config, length, storage) + 4 * pooled;
}

/** A stored shot and its pooled keys as bytes, for `entryOf` of the same model and storage. */
export async function bytesOf(
  device: Device,
  shot: StoredShot,
  pooled: Float32Array,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(HEADER + shot.bytes + pooled.byteLength);
  new Uint32Array(bytes.buffer, 0, 4).set([MAGIC, shot.length, shot.bytes, pooled.length]);
  let at = HEADER;
  for (const tensor of shot.tensors) {
    bytes.set(await device.readBytes(tensor), at);
    at += tensor.byteLength;
  }
  bytes.set(new Uint8Array(pooled.buffer, pooled.byteOffset, pooled.byteLength), at);
  return bytes;
}

/** The shot that `bytesOf` wrote; null when the bytes do not fit what is wanted. @throws E_OUT_OF_MEMORY */
export function shotOf(
  device: Device,
  config: ModelConfig,
  bytes: Uint8Array<ArrayBuffer>,
  wanted: { readonly length: number; readonly storage: StorageType; readonly pooled: number },
): { readonly shot: StoredShot; readonly pooled: Float32Array } | null {
  if (bytes.byteLength < HEADER) return null;
  // a part of another array, as somebody's own store may give
  if (bytes.byteOffset % 4 !== 0) bytes = bytes.slice();
  const [magic, length, size, count] = new Uint32Array(bytes.buffer, bytes.byteOffset, 4);
  if (magic !== MAGIC || length !== wanted.length || count !== wanted.pooled) return null;
  if (bytes.byteLength !== HEADER + size! + 4 * count) return null;
  const shot = new StoredShot(device, config, length, wanted.storage);
  if (shot.bytes !== size) {
    shot.dispose();
    return null;
  }
  let at = HEADER;
  for (const tensor of shot.tensors) {
    device.writeBytes(tensor, bytes.subarray(at, at + tensor.byteLength));
    at += tensor.byteLength;
  }
  return { shot, pooled: new Float32Array(bytes.slice(at).buffer) };
}
