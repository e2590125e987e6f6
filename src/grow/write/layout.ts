import {
  EMBEDDING,
  FINAL_NORM,
  HEAD,
  isPresent,
  LAYER_PARTS,
  type PartSpec,
  partName,
  projectionName,
} from '../../checkpoint/layer-tensors.ts';
import type { Checkpoint, ModelConfig, TensorEntry } from '../../checkpoint/types.ts';
import { castBytes } from '../../checkpoint/write/source-tensors.ts';
import type { OutputGroup, OutputTensor } from '../../checkpoint/write/write-checkpoint.ts';
import { EspalierError } from '../../errors.ts';
import type { GrownLayer } from '../methods/layer.ts';
import type { Fit } from '../plan/fit.ts';
import { targetOf } from '../targets/targets.ts';
import { type LayerRecord, type OutputType, PROJECTIONS, type Projection } from '../types.ts';
import type { CopiedRange, Copies } from './copies.ts';
import type { ExpertSizes } from './output-config.ts';

/** What the files are made from. */
export interface Materials {
  readonly checkpoint: Checkpoint;
  readonly fit: Fit;
  readonly sizes: ExpertSizes;
  readonly copies: Copies;
  /** Grows a layer; it is disposed of when its tensors are written. */
  readonly grow: (layer: number) => Promise<GrownLayer>;
}

/** What the journal keeps of a group, for the receipt. */
export interface GroupRecord {
  readonly layer: LayerRecord | null;
  readonly copied: readonly CopiedRange[];
}

/** All tensors of the grown model in the order of computing: what lies outside the layers, each layer, the end. */
export function outputGroups(materials: Materials): OutputGroup[] {
  const { checkpoint, fit, copies } = materials;
  const { config } = checkpoint;
  const entry = (name: string) => entryOf(checkpoint, name);
  const head = entry(config.tiedEmbeddings ? EMBEDDING : HEAD);
  const copied = (name: string, tensors: readonly OutputTensor[]): OutputGroup => ({
    name,
    tensors,
    end: async (): Promise<GroupRecord> => ({ layer: null, copied: copies.takeRanges() }),
  });
  return [
    copied('embedding', [copies.tensor(entry(EMBEDDING))]),
    ...Array.from({ length: config.nLayers }, (_, layer) =>
      fit.layers.includes(layer)
        ? grownLayer(materials, layer)
        : copied(`layer ${layer}`, denseLayer(materials, layer)),
    ),
    copied('head', [
      copies.tensor(entry(FINAL_NORM)),
      ...(config.tiedEmbeddings && !fit.untie ? [] : [copies.tensor(head, HEAD)]),
    ]),
  ];
}

function denseLayer(materials: Materials, layer: number): OutputTensor[] {
  const { checkpoint, copies } = materials;
  return [
    ...attention(materials, layer),
    ...PROJECTIONS.map((projection) => copies.tensor(entryOf(checkpoint, projectionName(layer, projection)))),
  ];
}

/** Norms and attention, which are copied, with zeros for biases that the target has and the dense model has not. */
function attention({ checkpoint, fit, copies }: Materials, layer: number): OutputTensor[] {
  const { config } = checkpoint;
  const { qkv, output } = targetOf(fit.target).biases(config);
  const wanted = { ...config, qkvBias: config.qkvBias || qkv, outputBias: config.outputBias || output };
  const specs: readonly PartSpec<ModelConfig>[] = Object.values(LAYER_PARTS);
  return specs
    .filter((spec) => isPresent(spec, wanted))
    .map((spec) => {
      const name = `model.layers.${layer}.${partName(spec, config)}`;
      if (isPresent(spec, config)) return copies.tensor(entryOf(checkpoint, name));
      return zeros(name, spec.shape(config)[0]!, fit.type);
    });
}

function grownLayer(materials: Materials, layer: number): OutputGroup {
  const { checkpoint, fit, sizes, copies } = materials;
  const { type } = fit;
  const { hiddenSize: d } = checkpoint.config;
  const { experts, expertSize: f, sharedSize: s } = sizes;
  const { names } = targetOf(fit.target);
  const at = `model.layers.${layer}`;
  let grown: GrownLayer | null = null;
  const now = (): GrownLayer => {
    if (grown === null) throw new Error(`layer ${layer} was not grown`);
    return grown;
  };
  const source = (projection: Projection) => entryOf(checkpoint, projectionName(layer, projection));
  const routed = async function* (expert: number, projection: Projection): AsyncGenerator<Uint8Array> {
    if (now().routed(expert, projection).kind === 'copy') yield* copies.bytes(source(projection));
    else yield* now().rows(expert, projection, type);
  };
  const shared = async function* (projection: Projection): AsyncGenerator<Uint8Array> {
    const part = now().shared(projection);
    if (part === null) throw new Error('a layer without a shared expert is asked for one');
    // sigmoid(0) = 1/2 times twice the weights: doubling is exact
    const doubled = names.sharedGate !== null && projection === 'down' ? 2 : 1;
    yield* copies.bytes(source(projection), part.scale * doubled);
  };
  const tensor = (name: string, shape: readonly number[], bytes: () => AsyncIterable<Uint8Array>): OutputTensor => ({
    name: `${at}.${name}`,
    type,
    shape,
    bytes,
  });
  const list = Array.from({ length: experts }, (_, e) => e);
  const shapeOf = (projection: Projection, size: number) => (projection === 'down' ? [d, size] : [size, d]);

  const tensors: OutputTensor[] = [
    ...attention(materials, layer),
    tensor(names.router, [experts, d], async function* () {
      yield await now().router(type);
    }),
  ];
  if (names.experts.kind === 'fused') {
    tensors.push(
      tensor(names.experts.input, [experts, 2 * f, d], async function* () {
        for (const e of list) {
          yield* routed(e, 'gate');
          yield* routed(e, 'up');
        }
      }),
      tensor(names.experts.output, [experts, d, f], async function* () {
        for (const e of list) yield* routed(e, 'down');
      }),
    );
  } else {
    for (const e of list) {
      const own = names.experts.of(e);
      for (const p of PROJECTIONS) tensors.push(tensor(own[p], shapeOf(p, f), () => routed(e, p)));
    }
  }
  if (names.shared !== null && s > 0) {
    const own = names.shared;
    if (own.kind === 'fused') {
      tensors.push(
        tensor(own.input, [2 * s, d], async function* () {
          yield* shared('gate');
          yield* shared('up');
        }),
        tensor(own.output, [d, s], () => shared('down')),
      );
    } else {
      for (const p of PROJECTIONS) tensors.push(tensor(own[p], shapeOf(p, s), () => shared(p)));
    }
    const gate = names.sharedGate;
    if (gate !== null) {
      tensors.push(
        tensor(gate, [1, d], async function* () {
          yield castBytes(new Float32Array(d).fill(fit.sharedGate), type, gate);
        }),
      );
    }
  }
  return {
    name: `layer ${layer}`,
    tensors,
    begin: async () => {
      grown = await materials.grow(layer);
    },
    end: async (): Promise<GroupRecord> => ({
      layer: await now().finish(type),
      copied: copies.takeRanges(),
    }),
    dispose: () => {
      grown?.dispose();
      grown = null;
      copies.forget();
    },
  };
}

function zeros(name: string, length: number, type: OutputType): OutputTensor {
  return {
    name,
    type,
    shape: [length],
    bytes: async function* () {
      yield castBytes(new Float32Array(length), type, name);
    },
  };
}

function entryOf(checkpoint: Checkpoint, name: string): TensorEntry {
  const entry = checkpoint.tensors.get(name);
  if (entry) return entry;
  throw new EspalierError('E_TENSOR_MISSING', `The checkpoint has no ${name}.`, 'Get the whole model.');
}
