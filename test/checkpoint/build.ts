import type { StoredType } from '../../src/checkpoint/types.ts';
import { byteLengthOf } from '../../src/element-types.ts';
import { bytesSource } from '../../src/runtime/files/model-files.ts';
import type { ModelFiles } from '../../src/runtime/files/source.ts';

/** Small files made in memory: a Llama of one layer, as safetensors and as GGUF. */

export type Json = Record<string, unknown>;

export const tinyConfig: Json = {
  model_type: 'llama',
  vocab_size: 8,
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  hidden_act: 'silu',
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 1,
};

/** Hugging Face name, GGUF name, shape outermost first. */
const TINY: readonly (readonly [hf: string, gguf: string, shape: readonly number[]])[] = [
  ['model.embed_tokens.weight', 'token_embd.weight', [8, 32]],
  ['model.layers.0.input_layernorm.weight', 'blk.0.attn_norm.weight', [32]],
  ['model.layers.0.self_attn.q_proj.weight', 'blk.0.attn_q.weight', [32, 32]],
  ['model.layers.0.self_attn.k_proj.weight', 'blk.0.attn_k.weight', [16, 32]],
  ['model.layers.0.self_attn.v_proj.weight', 'blk.0.attn_v.weight', [16, 32]],
  ['model.layers.0.self_attn.o_proj.weight', 'blk.0.attn_output.weight', [32, 32]],
  ['model.layers.0.post_attention_layernorm.weight', 'blk.0.ffn_norm.weight', [32]],
  ['model.layers.0.mlp.gate_proj.weight', 'blk.0.ffn_gate.weight', [64, 32]],
  ['model.layers.0.mlp.up_proj.weight', 'blk.0.ffn_up.weight', [64, 32]],
  ['model.layers.0.mlp.down_proj.weight', 'blk.0.ffn_down.weight', [32, 64]],
  ['model.norm.weight', 'output_norm.weight', [32]],
];

// ---- safetensors

export type StHeader = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] } | Json>;

/** Header of the tiny model in bf16, its tensors side by side. */
export function tinyHeader(names?: (name: string) => boolean): StHeader {
  const header: StHeader = { __metadata__: { format: 'pt' } };
  let at = 0;
  for (const [name, , shape] of TINY) {
    if (names && !names(name)) continue;
    const bytes = shape.reduce((a, b) => a * b, 2);
    header[name] = { dtype: 'BF16', shape: [...shape], data_offsets: [at, at + bytes] };
    at += bytes;
  }
  return header;
}

export function dataLength(header: StHeader): number {
  return Object.values(header).reduce(
    (sum, { data_offsets: o }) => Math.max(sum, Array.isArray(o) ? Number(o[1]) : 0),
    0,
  );
}

/** A safetensors file of this header (an object or raw text), with `data` bytes of zeros behind it. */
export function safetensors(header: StHeader | string, data: number, length?: bigint): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + data);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

export function tinySafetensors(): Uint8Array {
  const header = tinyHeader();
  return safetensors(header, dataLength(header));
}

/** The same safetensors file with other names; tensors that get none are left out. */
export function renamed(file: Uint8Array, rename: (name: string) => string | null): Uint8Array {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))) as StHeader;
  const kept: StHeader = {};
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [stored, info] of Object.entries(header)) {
    const name = stored === '__metadata__' ? null : rename(stored);
    if (name === null) continue;
    const [begin, end] = info.data_offsets as [number, number];
    parts.push(file.subarray(8 + length + begin, 8 + length + end));
    kept[name] = { ...info, data_offsets: [at, at + end - begin] };
    at += end - begin;
  }
  const out = safetensors(kept, at);
  let to = out.length - at;
  for (const part of parts) {
    out.set(part, to);
    to += part.length;
  }
  return out;
}

// ---- GGUF

export const GGML: Readonly<Record<StoredType, number>> = {
  f32: 0,
  f16: 1,
  q4_0: 2,
  q4_1: 3,
  q5_0: 6,
  q5_1: 7,
  q8_0: 8,
  q4_k: 12,
  q5_k: 13,
  q6_k: 14,
  bf16: 30,
};

/** Little-endian bytes, written front to back. */
export class Bytes {
  #parts: number[] = [];
  get length(): number {
    return this.#parts.length;
  }
  u8(value: number): this {
    this.#parts.push(value & 255);
    return this;
  }
  u32(value: number): this {
    for (let i = 0; i < 4; i++) this.u8(value >>> (8 * i));
    return this;
  }
  u64(value: number | bigint): this {
    const big = BigInt(value);
    for (let i = 0n; i < 8n; i++) this.u8(Number((big >> (8n * i)) & 255n));
    return this;
  }
  f32(value: number): this {
    return this.u32(new Uint32Array(new Float32Array([value]).buffer)[0]!);
  }
  text(value: string): this {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.length);
    for (const byte of bytes) this.u8(byte);
    return this;
  }
  zeros(count: number): this {
    for (let i = 0; i < count; i++) this.#parts.push(0);
    return this;
  }
  done(): Uint8Array {
    return Uint8Array.from(this.#parts);
  }
}

/** Writes a value with its type before it. */
export type Value = (to: Bytes) => void;
export const u32 =
  (value: number): Value =>
  (to) =>
    to.u32(4).u32(value);
export const f32 =
  (value: number): Value =>
  (to) =>
    to.u32(6).f32(value);
export const text =
  (value: string): Value =>
  (to) =>
    to.u32(8).text(value);
export const texts =
  (values: readonly string[]): Value =>
  (to) => {
    to.u32(9).u32(8).u64(values.length);
    for (const value of values) to.text(value);
  };

export interface GgufTensorSpec {
  name: string;
  /** Innermost first, as in the file. */
  dimensions: (number | bigint)[];
  type: number;
  offset: number | bigint;
  /** How many bytes of data to write for it. */
  bytes: number;
}

export interface GgufSpec {
  magic: string;
  version: number;
  nTensors: number | bigint | null;
  nKeys: number | bigint | null;
  keys: [string, Value][];
  tensors: GgufTensorSpec[];
  alignment: number;
}

export function tinyGgufSpec(architecture = 'llama', matrixType: StoredType = 'q8_0'): GgufSpec {
  const tensors: GgufTensorSpec[] = [];
  let offset = 0;
  for (const [, name, shape] of TINY) {
    const type = shape.length === 1 ? 'f32' : matrixType;
    const bytes = byteLengthOf(
      type,
      shape.reduce((a, b) => a * b, 1),
    );
    tensors.push({ name, dimensions: [...shape].reverse(), type: GGML[type], offset, bytes });
    offset += Math.ceil(bytes / 32) * 32;
  }
  const a = architecture;
  return {
    magic: 'GGUF',
    version: 3,
    nTensors: null,
    nKeys: null,
    alignment: 32,
    keys: [
      ['general.architecture', text(a)],
      [`${a}.block_count`, u32(1)],
      [`${a}.context_length`, u32(64)],
      [`${a}.embedding_length`, u32(32)],
      [`${a}.feed_forward_length`, u32(64)],
      [`${a}.attention.head_count`, u32(2)],
      [`${a}.attention.head_count_kv`, u32(1)],
      [`${a}.attention.layer_norm_rms_epsilon`, f32(1e-5)],
      [`${a}.rope.freq_base`, f32(10000)],
      [`${a}.rope.dimension_count`, u32(16)],
      ['tokenizer.ggml.tokens', texts(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])],
      ['tokenizer.ggml.bos_token_id', u32(0)],
      ['tokenizer.ggml.eos_token_id', u32(1)],
    ],
    tensors,
  };
}

export function gguf(spec: GgufSpec): Uint8Array {
  const to = new Bytes();
  for (const char of spec.magic) to.u8(char.charCodeAt(0));
  to.u32(spec.version);
  to.u64(spec.nTensors ?? spec.tensors.length).u64(spec.nKeys ?? spec.keys.length);
  for (const [key, value] of spec.keys) {
    to.text(key);
    value(to);
  }
  for (const tensor of spec.tensors) {
    to.text(tensor.name).u32(tensor.dimensions.length);
    for (const length of tensor.dimensions) to.u64(length);
    to.u32(tensor.type).u64(tensor.offset);
  }
  const pad = () => to.zeros((spec.alignment - (to.length % spec.alignment)) % spec.alignment);
  for (const tensor of spec.tensors) {
    pad();
    to.zeros(tensor.bytes);
  }
  return to.done();
}

// ---- files

/** A folder of files by name that counts what is read of it. */
export interface CountedFiles extends ModelFiles {
  /** Largest buffer that was filled, and the largest file there is. */
  readonly largestRead: () => number;
  readonly bytesRead: () => number;
  readonly closed: () => boolean;
}

export function countedFiles(content: Readonly<Record<string, Uint8Array>>): CountedFiles {
  let largest = 0;
  let total = 0;
  let open = 0;
  return {
    name: 'test model',
    names: Object.keys(content),
    open: async (name) => {
      const source = bytesSource(name, content[name]!);
      open++;
      return {
        ...source,
        readInto: async (offset, target) => {
          // the target was allocated by the reader: it must never be more than the file
          largest = Math.max(largest, target.byteLength);
          if (target.buffer.byteLength > source.size) throw new Error(`${name}: allocated ${target.buffer.byteLength}`);
          total += target.byteLength;
          return source.readInto(offset, target);
        },
        close: async () => {
          open--;
        },
      };
    },
    largestRead: () => largest,
    bytesRead: () => total,
    closed: () => open === 0,
  };
}

export const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
