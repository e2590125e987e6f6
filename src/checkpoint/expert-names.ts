import { EspalierError } from '../errors.ts';
import { emptyTable, putAs, type TensorTable } from './tensor-table.ts';
import type { ModelConfig, MoeConfig, TensorEntry } from './types.ts';

/** Names in a file and the canonical ones, behind `model.layers.L.`; what is not here stays as it is. */
const RENAMED: readonly (readonly [from: RegExp, to: string])[] = [
  [/^block_sparse_moe\.gate\.weight$/, 'mlp.gate.weight'],
  [/^block_sparse_moe\.router\.(?:layer\.)?weight$/, 'mlp.gate.weight'],
  [/^block_sparse_moe\.experts\.(\d+)\.w1\.weight$/, 'mlp.experts.$1.gate_proj.weight'],
  [/^block_sparse_moe\.experts\.(\d+)\.w3\.weight$/, 'mlp.experts.$1.up_proj.weight'],
  [/^block_sparse_moe\.experts\.(\d+)\.w2\.weight$/, 'mlp.experts.$1.down_proj.weight'],
  [/^shared_mlp\.output_linear\.weight$/, 'mlp.shared_expert.down_proj.weight'],
];
/** Tensors that hold several of ours: gate above up of each expert, downs of all, gate above up of the shared expert. */
const GATE_UP = /^(?:block_sparse_moe\.input_linear\.weight|(?:block_sparse_moe|mlp)\.experts\.gate_up_proj)$/;
const DOWN = /^(?:block_sparse_moe\.output_linear\.weight|(?:block_sparse_moe|mlp)\.experts\.down_proj)$/;
const SHARED_GATE_UP = /^shared_mlp\.input_linear\.weight$/;
const LAYER = /^(model\.layers\.\d+\.)(.*)$/;

/**
 * A table of tensors under the canonical names of experts: one matrix each, `…mlp.experts.E.gate_proj.weight` and so on. Tensors
 * that hold several experts are cut into entries over the same bytes; nothing is read or copied. Tables of dense models come back
 * as they are.
 *
 * @throws E_TENSOR_SHAPE for a tensor of several experts that does not fit the configuration; E_CHECKPOINT_HEADER when two
 *   tensors come to the same name
 */
export function canonicalExperts(table: TensorTable, config: ModelConfig, file: string): TensorTable {
  const { moe } = config;
  if (!moe) return table;
  const renamed = emptyTable();
  for (const [name, entry] of table.tensors) {
    const { prefix, part } = parse(name);
    if (GATE_UP.test(part)) {
      const { experts, expertSize: size } = moe;
      const halves = cut(entry, [experts, 2 * size, config.hiddenSize], 2 * experts, [size, config.hiddenSize], file);
      for (const [i, half] of halves.entries()) {
        putAs(renamed, `${prefix}mlp.experts.${i >> 1}.${i % 2 === 0 ? 'gate' : 'up'}_proj.weight`, half, file);
      }
    } else if (DOWN.test(part)) {
      const shape = [config.hiddenSize, moe.expertSize];
      for (const [i, down] of cut(entry, [moe.experts, ...shape], moe.experts, shape, file).entries()) {
        putAs(renamed, `${prefix}mlp.experts.${i}.down_proj.weight`, down, file);
      }
    } else if (SHARED_GATE_UP.test(part)) {
      for (const [i, half] of sharedHalves(entry, moe, config.hiddenSize, file).entries()) {
        putAs(renamed, `${prefix}mlp.shared_expert.${i === 0 ? 'gate' : 'up'}_proj.weight`, half, file);
      }
    } else putAs(renamed, prefix + canonical(part), entry, file);
  }
  for (const [name, type] of table.unsupported) {
    const { prefix, part } = parse(name);
    // of a tensor of several experts the first stands for all: it is looked for first
    const one = GATE_UP.test(part)
      ? 'mlp.experts.0.gate_proj.weight'
      : DOWN.test(part)
        ? 'mlp.experts.0.down_proj.weight'
        : SHARED_GATE_UP.test(part)
          ? 'mlp.shared_expert.gate_proj.weight'
          : canonical(part);
    putAs(renamed, prefix + one, type, file);
  }
  return renamed;
}

function parse(name: string): { prefix: string; part: string } {
  const parts = LAYER.exec(name);
  return parts ? { prefix: parts[1]!, part: parts[2]! } : { prefix: name, part: '' };
}

function canonical(part: string): string {
  for (const [from, to] of RENAMED) if (from.test(part)) return part.replace(from, to);
  return part;
}

function sharedHalves(entry: TensorEntry, moe: MoeConfig, hidden: number, file: string): TensorEntry[] {
  return cut(entry, [2 * moe.sharedSize, hidden], 2, [moe.sharedSize, hidden], file);
}

/** A tensor of the wanted shape in `count` equal pieces of a shape each. */
function cut(
  entry: TensorEntry,
  wanted: readonly number[],
  count: number,
  shape: readonly number[],
  file: string,
): TensorEntry[] {
  if (entry.shape.length !== wanted.length || entry.shape.some((length, i) => length !== wanted[i])) {
    throw new EspalierError(
      'E_TENSOR_SHAPE',
      `${entry.name.slice(0, 200)} in ${file} is [${entry.shape.slice(0, 8).join(', ')}]; the configuration needs [${wanted.join(', ')}].`,
      'Use the configuration that belongs to these weights.',
    );
  }
  const byteLength = entry.byteLength / count;
  return Array.from({ length: count }, (_, i) => ({
    ...entry,
    shape,
    offset: entry.offset + i * byteLength,
    byteLength,
  }));
}
