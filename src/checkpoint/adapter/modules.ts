import { AT, denseShape, expertShapes, FEED_FORWARD_PARTS, LAYER_PARTS, partName } from '../layer-tensors.ts';
import type { ModelConfig } from '../types.ts';

/** A matrix of a layer that adapters may correct; of a layer with experts, gate, up and down are the shared expert's. */
export type LoraPart = 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down';

/** A matrix of the decoder, or a part of one: `rows` rows from `firstRow` on of a module are its rows. */
export interface LoraTarget {
  readonly layer: number;
  readonly part: LoraPart;
  /** Its canonical name among the tensors of a checkpoint. */
  readonly tensor: string;
  readonly firstRow: number;
  readonly rows: number;
}

/** A linear layer as transformers has it. */
export interface LoraModule {
  /** `model.layers.0.self_attn.q_proj` */
  readonly name: string;
  /** Of its weight, [N, K]. */
  readonly shape: readonly [number, number];
  readonly targets: readonly LoraTarget[];
}

/** The linear layers of a model that adapters may correct, by name: all but the output matrix, routers, gates and experts. */
export function loraModules(config: ModelConfig): ReadonlyMap<string, LoraModule> {
  const modules = new Map<string, LoraModule>();
  const sparse = new Set(config.moe?.layers);
  for (let layer = 0; layer < config.nLayers; layer++) {
    const at = `model.layers.${layer}.`;
    /** @param parts of one matrix below each other */
    const add = (name: string, parts: readonly { part: LoraPart; tensor: string; shape: readonly number[] }[]) => {
      let firstRow = 0;
      const targets = parts.map(({ part, tensor, shape }): LoraTarget => {
        const target = { layer, part, tensor, firstRow, rows: shape[0]! };
        firstRow += shape[0]!;
        return target;
      });
      modules.set(name, { name, shape: [firstRow, parts[0]!.shape[1]!], targets });
    };
    const one = (part: LoraPart, tensor: string, shape: readonly number[]) =>
      add(tensor.slice(0, -'.weight'.length), [{ part, tensor, shape }]);
    for (const part of ['q', 'k', 'v', 'o'] as const) {
      const spec = LAYER_PARTS[part];
      one(part, at + partName(spec, config), spec.shape(config));
    }
    const moe = sparse.has(layer) ? config.moe : null;
    if (moe && moe.sharedSize === 0) continue;
    const of = moe ? expertShapes(config.hiddenSize, moe).shared : denseShape(config);
    const parts = (['gate', 'up', 'down'] as const).map((part) => {
      const spec = FEED_FORWARD_PARTS[part];
      return { part, tensor: at + (moe ? AT.shared : AT.feedForward) + spec.name, shape: spec.shape(of) };
    });
    if (config.architecture === 'granitemoeshared') {
      add(`${at}shared_mlp.input_linear`, parts.slice(0, 2));
      add(`${at}shared_mlp.output_linear`, parts.slice(2));
    } else for (const { part, tensor, shape } of parts) one(part, tensor, shape);
  }
  return modules;
}
