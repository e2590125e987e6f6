import { BLOCK_SIZE } from '../../element-types.ts';

/** Element types that devices compute with. */
export type DeviceType = 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q8_1' | 'q4_0' | 'q4_1';

/** One element type of files, whole but for the size of its blocks, which devices know too. `stored-types.ts` lists all. */
export interface StoredKind {
  /** ggml's number of it. */
  readonly ggml: number;
  /**
   * The values behind whole blocks, in f32, bit for bit those of `gguf.quants.dequantize` (and so of ggml's own code, which rounds at
   * the same places): every product and sum is rounded to f32 in that order.
   */
  values(bytes: Uint8Array, out: Float32Array): void;
  /** What it is on a device. */
  readonly device: DeviceType;
  /** Fills `out` with blocks of `device` from whole blocks; null: they are that already. */
  readonly repack: ((bytes: Uint8Array, out: Uint8Array) => void) | null;
}

/** One that values can be rounded to. */
export interface QuantisedKind extends StoredKind {
  /**
   * Whole blocks of values, bit for bit those of `gguf.quants.quantize`, and so of llama.cpp's reference (`quantize_row_…_ref`). Where one of a
   * block is not finite, its scale is not either.
   */
  blocks(values: Float32Array, out: Uint8Array): void;
}

/** Decodes one block at `bytes[at…]` into `out[to…]`. */
export type BlockDecoder = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

/** `values` by blocks. */
export function byBlocks(type: keyof typeof BLOCK_SIZE, decode: BlockDecoder): StoredKind['values'] {
  const { elements, bytes: size } = BLOCK_SIZE[type];
  return (bytes, out) => {
    for (let at = 0, to = 0; to < out.length; at += size, to += elements) decode(bytes, at, out, to);
  };
}

/** Encodes the block of `values[from…]` into `bytes[at…]`. */
export type BlockEncoder = (values: Float32Array, from: number, bytes: Uint8Array, at: number) => void;

/** `blocks`, one after another. */
export function intoBlocks(type: keyof typeof BLOCK_SIZE, encode: BlockEncoder): QuantisedKind['blocks'] {
  const { elements, bytes: size } = BLOCK_SIZE[type];
  return (values, out) => {
    for (let at = 0, from = 0; from < values.length; at += size, from += elements) encode(values, from, out, at);
  };
}
