import type { ByteSource } from '../../runtime/files/source.ts';
import type { GgufFamily } from '../families/family.ts';
import type { RowOrder } from '../row-order.ts';
import { emptyTable, putAs, type TensorTable } from '../tensor-table.ts';
import type { GgufTensor } from './gguf.ts';

/** GGUF's names outside the layers, without `.weight`. */
const OUTER: ReadonlyMap<string, string> = new Map([
  ['token_embd', 'model.embed_tokens'],
  ['output_norm', 'model.norm'],
  ['output', 'lm_head'],
]);

/** GGUF's names within `blk.N`, and Hugging Face's within `model.layers.N`, unless a family says otherwise. */
const INNER: ReadonlyMap<string, string> = new Map([
  ['attn_norm', 'input_layernorm'],
  ['attn_q', 'self_attn.q_proj'],
  ['attn_k', 'self_attn.k_proj'],
  ['attn_v', 'self_attn.v_proj'],
  ['attn_output', 'self_attn.o_proj'],
  ['attn_q_norm', 'self_attn.q_norm'],
  ['attn_k_norm', 'self_attn.k_norm'],
  ['ffn_norm', 'post_attention_layernorm'],
  ['ffn_gate', 'mlp.gate_proj'],
  ['ffn_up', 'mlp.up_proj'],
  ['ffn_down', 'mlp.down_proj'],
]);

const PERMUTED = /\.self_attn\.[qk]_proj\.(weight|bias)$/;

/**
 * Hugging Face's name of a GGUF tensor, or its own where it has none there.
 * @param family whose layers may call some tensors otherwise; null: not known
 */
export function canonicalName(name: string, family: GgufFamily | null): string {
  const inner = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name);
  if (inner) {
    const part = family?.names?.[inner[2]!] ?? INNER.get(inner[2]!);
    return part === undefined ? name : `model.layers.${Number(inner[1])}.${part}.${inner[3]}`;
  }
  const outer = /^(\w+)\.(weight|bias)$/.exec(name);
  const part = outer ? OUTER.get(outer[1]!) : undefined;
  return part === undefined ? name : `${part}.${outer![2]}`;
}

/**
 * Tensors by canonical name.
 * @param family whose rows of q and k stand in another order where it says so; null: not known
 * @throws E_CHECKPOINT_HEADER when two tensors come to the same name
 */
export function canonicalTensors(
  list: readonly GgufTensor[],
  source: ByteSource,
  family: GgufFamily | null,
): TensorTable {
  const table = emptyTable();
  for (const { name: stored, type, typeName, shape, offset, byteLength } of list) {
    const name = canonicalName(stored, family);
    if (type === null) {
      putAs(table, name, typeName, source.name);
      continue;
    }
    const permuted = family?.permuted === true && PERMUTED.test(name);
    const rowOrder: RowOrder = permuted ? 'llama-permuted' : 'plain';
    putAs(table, name, { name, type, shape, source, offset, byteLength, rowOrder }, source.name);
  }
  return table;
}
