import { repackPlan, repackRows } from '../checkpoint/repack.ts';
import { requiredTensors } from '../checkpoint/required.ts';
import type { Checkpoint, ModelConfig, TensorEntry } from '../checkpoint/types.ts';
import type { Device, Tensor, WeightSource } from '../device/device.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';

/** Weights of one decoder layer. Matrices [out, in] in panels; vectors f32. */
export interface LayerWeights {
  readonly inputNorm: Tensor; // [hidden]
  readonly q: Tensor; // [nHeads · headDim, hidden]
  readonly k: Tensor; // [nKvHeads · headDim, hidden]
  readonly v: Tensor; // [nKvHeads · headDim, hidden]
  readonly o: Tensor; // [hidden, nHeads · headDim]
  readonly qBias: Tensor | null;
  readonly kBias: Tensor | null;
  readonly vBias: Tensor | null;
  readonly oBias: Tensor | null;
  readonly qNorm: Tensor | null; // [headDim]
  readonly kNorm: Tensor | null; // [headDim]
  readonly postNorm: Tensor; // [hidden]
  readonly gate: Tensor; // [intermediate, hidden]
  readonly up: Tensor; // [intermediate, hidden]
  readonly down: Tensor; // [hidden, intermediate]
  readonly gateBias: Tensor | null;
  readonly upBias: Tensor | null;
  readonly downBias: Tensor | null;
}

export interface DecoderWeights {
  readonly embedding: Tensor; // [vocab, hidden]
  readonly layers: readonly LayerWeights[];
  readonly norm: Tensor; // [hidden]
  /** [vocab, hidden]; the embedding itself when tied. */
  readonly head: Tensor;
  dispose(): void;
}

export interface LoadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after each tensor with bytes read so far and in all. */
  readonly onProgress?: ((loaded: number, total: number) => void) | undefined;
}

/**
 * Reads all weights onto the device, tensor by tensor, straight into its memory.
 * @throws E_TENSOR_MISSING, E_TENSOR_TYPE, E_TENSOR_VALUE, E_OUT_OF_MEMORY, E_ABORTED; nothing is left allocated then
 */
export async function loadWeights(
  device: Device,
  checkpoint: Checkpoint,
  options: LoadOptions = {},
): Promise<DecoderWeights> {
  const { config } = checkpoint;
  const made: Tensor[] = [];
  let total = 0;
  // an optional tensor is not read
  for (const { name, optional } of requiredTensors(config)) {
    if (!optional) total += checkpoint.tensors.get(name)?.byteLength ?? 0;
  }
  let loaded = 0;

  const load = async (name: string): Promise<Tensor> => {
    throwIfAborted(options.signal);
    const entry = checkpoint.tensors.get(name);
    if (!entry) {
      throw new EspalierError('E_TENSOR_MISSING', `The checkpoint has no ${name}.`, 'Get the whole model.');
    }
    const source = weightSource(entry, config);
    const tensor = entry.shape.length === 1 ? await device.loadVector(source) : await device.loadMatrix(source);
    made.push(tensor);
    loaded += entry.byteLength;
    options.onProgress?.(loaded, total);
    return tensor;
  };
  const dispose = () => {
    for (const tensor of made) tensor.dispose();
  };
  const loadIf = (wanted: boolean, name: string) => (wanted ? load(name) : Promise.resolve(null));

  try {
    const embedding = await load('model.embed_tokens.weight');
    const layers: LayerWeights[] = [];
    for (let i = 0; i < config.nLayers; i++) {
      const at = `model.layers.${i}`;
      const attention = `${at}.self_attn`;
      layers.push({
        inputNorm: await load(`${at}.input_layernorm.weight`),
        q: await load(`${attention}.q_proj.weight`),
        k: await load(`${attention}.k_proj.weight`),
        v: await load(`${attention}.v_proj.weight`),
        o: await load(`${attention}.o_proj.weight`),
        qBias: await loadIf(config.qkvBias, `${attention}.q_proj.bias`),
        kBias: await loadIf(config.qkvBias, `${attention}.k_proj.bias`),
        vBias: await loadIf(config.qkvBias, `${attention}.v_proj.bias`),
        oBias: await loadIf(config.outputBias, `${attention}.o_proj.bias`),
        qNorm: await loadIf(config.qkNorm, `${attention}.q_norm.weight`),
        kNorm: await loadIf(config.qkNorm, `${attention}.k_norm.weight`),
        postNorm: await load(`${at}.post_attention_layernorm.weight`),
        gate: await load(`${at}.mlp.gate_proj.weight`),
        up: await load(`${at}.mlp.up_proj.weight`),
        down: await load(`${at}.mlp.down_proj.weight`),
        gateBias: await loadIf(config.mlpBias, `${at}.mlp.gate_proj.bias`),
        upBias: await loadIf(config.mlpBias, `${at}.mlp.up_proj.bias`),
        downBias: await loadIf(config.mlpBias, `${at}.mlp.down_proj.bias`),
      });
    }
    const norm = await load('model.norm.weight');
    const head = config.tiedEmbeddings ? embedding : await load('lm_head.weight');
    return { embedding, layers, norm, head, dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** A tensor of a file as the device wants it: q and k rows in Hugging Face's order, other block formats repacked. */
export function weightSource(entry: TensorEntry, config: ModelConfig): WeightSource {
  const columns = entry.shape.at(-1)!;
  const rows = entry.shape.length === 1 ? 1 : entry.shape[0]!;
  const size = rows * columns === 0 ? 0 : entry.byteLength / rows;
  const plan = repackPlan(entry.type);
  const { headDim } = config;
  // stored row h·d + 2j + s is row h·d + s·d/2 + j
  const order =
    entry.rowOrder === 'llama-permuted'
      ? (row: number) => {
          const r = row % headDim;
          const half = headDim / 2;
          return row - r + (r < half ? 2 * r : 2 * (r - half) + 1);
        }
      : null;
  const read = (firstRow: number, target: Uint8Array) => entry.source.readInto(entry.offset + firstRow * size, target);
  const common = { name: entry.name, rows, columns, order, orderGroup: headDim };
  if (plan === null) return { ...common, type: entry.type as WeightSource['type'], read };
  return {
    ...common,
    type: plan.to,
    read: async (firstRow, target) => {
      const count = Math.round(target.byteLength / plan.bytes(columns));
      const stored = new Uint8Array(count * size);
      await read(firstRow, stored);
      target.set(repackRows(entry.type, stored, count * columns));
    },
  };
}
