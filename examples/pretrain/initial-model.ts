import { philox4x32 } from '../../src/random.ts';

/** Shape of a Llama with tied embeddings. */
export interface Shape {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabulary: number;
  readonly positions: number;
}

/** Standard deviation of weights at the start, as of GPT-2; of what is added to the residual stream less by √(2 · layers). */
const DEVIATION = 0.02;
/** Tells these draws from others with the same seed. */
const STREAM = 203;

/** config.json. The tokenizer is nano-base's: token 0 begins and ends texts. */
export function configOf(shape: Shape): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: shape.vocabulary,
    hidden_size: shape.hidden,
    intermediate_size: shape.intermediate,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    head_dim: shape.hidden / shape.heads,
    hidden_act: 'silu',
    max_position_embeddings: shape.positions,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: true,
    bos_token_id: 0,
    eos_token_id: 0,
    pad_token_id: 1,
    attention_bias: false,
    mlp_bias: false,
    torch_dtype: 'float32',
  };
}

/** Tensors by Hugging Face's names; of matrices the deviation. */
function tensorsOf(
  shape: Shape,
): { readonly name: string; readonly shape: readonly number[]; readonly deviation: number | null }[] {
  const { hidden, intermediate, heads, kvHeads } = shape;
  const head = hidden / heads;
  const added = DEVIATION / Math.sqrt(2 * shape.layers);
  const layers = Array.from({ length: shape.layers }, (_, i) => {
    const matrix = (name: string, n: number, k: number, deviation = DEVIATION) => ({
      name: `model.layers.${i}.${name}.weight`,
      shape: [n, k],
      deviation,
    });
    const norm = (name: string) => ({ name: `model.layers.${i}.${name}.weight`, shape: [hidden], deviation: null });
    return [
      norm('input_layernorm'),
      matrix('self_attn.q_proj', heads * head, hidden),
      matrix('self_attn.k_proj', kvHeads * head, hidden),
      matrix('self_attn.v_proj', kvHeads * head, hidden),
      matrix('self_attn.o_proj', hidden, heads * head, added),
      norm('post_attention_layernorm'),
      matrix('mlp.gate_proj', intermediate, hidden),
      matrix('mlp.up_proj', intermediate, hidden),
      matrix('mlp.down_proj', hidden, intermediate, added),
    ];
  });
  return [
    { name: 'model.embed_tokens.weight', shape: [shape.vocabulary, hidden], deviation: DEVIATION },
    ...layers.flat(),
    { name: 'model.norm.weight', shape: [hidden], deviation: null },
  ];
}

/**
 * model.safetensors in f32 with weights of a seed: norms are 1, matrices uniform in ±√3 · deviation, which needs no logarithm and is the same
 * bits in every runtime.
 */
export function initialWeights(shape: Shape, seed: number): Uint8Array<ArrayBuffer> {
  const tensors = tensorsOf(shape);
  let bytes = 0;
  const entries = tensors.map(({ name, shape: own }) => {
    const first = bytes;
    bytes += 4 * own.reduce((product, n) => product * n, 1);
    return [name, { dtype: 'F32', shape: own, data_offsets: [first, bytes] }] as const;
  });
  const json = JSON.stringify({ __metadata__: { format: 'pt' }, ...Object.fromEntries(entries) });
  const header = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8));
  const file = new Uint8Array(8 + header.length + bytes);
  new DataView(file.buffer).setUint32(0, header.length, true);
  file.set(header, 8);
  for (const [t, { deviation }] of tensors.entries()) {
    const [first, end] = entries[t]![1].data_offsets as [number, number];
    const values = new Float32Array(file.buffer, 8 + header.length + first, (end - first) / 4);
    if (deviation === null) values.fill(1);
    else fillUniform(values, Math.sqrt(3) * deviation, seed, t);
  }
  return file;
}

function fillUniform(values: Float32Array, most: number, seed: number, tensor: number): void {
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32)] as const;
  for (let i = 0; i < values.length; i += 4) {
    const words = philox4x32([i / 4, tensor, STREAM, 2], key);
    for (let j = 0; j < 4 && i + j < values.length; j++) values[i + j] = most * (words[j]! / 2 ** 31 - 1);
  }
}
