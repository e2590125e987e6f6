/** Dense models of a few thousand random weights, made in memory, which a test may spoil before they are grown. */

import { castBytes } from '../../src/checkpoint/write/source-tensors.ts';
import type { OutputType } from '../../src/grow.ts';
import { normal } from '../svd/algebras.ts';

export interface Shape {
  readonly vocab: number;
  readonly hidden: number;
  readonly inner: number;
  readonly layers: number;
  /** Config on top, such as the family. */
  readonly config?: Readonly<Record<string, unknown>>;
}

export const SMALL: Shape = { vocab: 40, hidden: 16, inner: 48, layers: 2 };

export type Weights = Map<string, { readonly shape: readonly number[]; readonly values: Float32Array }>;

/** Tensors of a Llama with untied embeddings (biases of q, k and v for qwen2, norms of q and k for qwen3). */
export function weightsOf({ vocab, hidden: d, inner: m, layers, config = {} }: Shape): Weights {
  const weights: Weights = new Map();
  const add = (name: string, shape: readonly number[], std: number | null = null): void => {
    const count = shape.reduce((product, n) => product * n, 1);
    const values =
      std === null ? new Float32Array(count).fill(1) : Float32Array.from(normal(count, weights.size), (x) => std * x);
    weights.set(name, { shape, values });
  };
  add('model.embed_tokens.weight', [vocab, d], 1);
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`;
    add(`${at}.input_layernorm.weight`, [d]);
    for (const part of ['q', 'k', 'v', 'o']) add(`${at}.self_attn.${part}_proj.weight`, [d, d], 1 / Math.sqrt(d));
    if (config['model_type'] === 'qwen2') {
      for (const part of ['q', 'k', 'v']) add(`${at}.self_attn.${part}_proj.bias`, [d], 0.1);
    }
    if (config['model_type'] === 'qwen3') {
      for (const part of ['q', 'k']) add(`${at}.self_attn.${part}_norm.weight`, [d / 2]);
    }
    add(`${at}.post_attention_layernorm.weight`, [d]);
    for (const part of ['gate', 'up']) add(`${at}.mlp.${part}_proj.weight`, [m, d], 1 / Math.sqrt(d));
    add(`${at}.mlp.down_proj.weight`, [d, m], 1 / Math.sqrt(m));
  }
  add('model.norm.weight', [d]);
  add('lm_head.weight', [vocab, d], 1);
  return weights;
}

/** The files of a model without a tokenizer. */
export function modelOf(
  spoil: (weights: Weights) => void = () => {},
  shape: Shape = SMALL,
  type: OutputType = 'f32',
): Record<string, Uint8Array> {
  const weights = weightsOf(shape);
  spoil(weights);
  const header: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [name, { shape: dims, values }] of weights) {
    const bytes = type === 'f32' ? new Uint8Array(values.buffer as ArrayBuffer) : castBytes(values, type, name);
    header[name] = { dtype: type.toUpperCase(), shape: dims, data_offsets: [at, at + bytes.length] };
    parts.push(bytes);
    at += bytes.length;
  }
  const head = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(head.length / 8) * 8;
  const file = new Uint8Array(8 + padded + at).fill(32);
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true);
  file.set(head, 8);
  let place = 8 + padded;
  for (const bytes of parts) {
    file.set(bytes, place);
    place += bytes.length;
  }
  const config = {
    model_type: 'llama',
    vocab_size: shape.vocab,
    hidden_size: shape.hidden,
    intermediate_size: shape.inner,
    num_hidden_layers: shape.layers,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    hidden_act: 'silu',
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: false,
    bos_token_id: 0,
    eos_token_id: 1,
    ...shape.config,
  };
  return { 'config.json': new TextEncoder().encode(JSON.stringify(config)), 'model.safetensors': file };
}
