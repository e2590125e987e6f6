import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import { throwIfAborted } from '../errors.ts';
import { decoderLayer } from '../model/layer.ts';
import type { LayerBuffers } from '../model/layer-buffers.ts';
import type { LayerFacts, LayerRun } from '../model/layer-run.ts';
import type { LayerTables } from '../model/model-ropes.ts';
import { tokenEmbedding } from '../model/token-embedding.ts';
import type { DecoderWeights, LayerWeights } from '../model/weights.ts';
import { Pace } from '../runtime/host/yielding.ts';
import type { BatchInputs } from './batch-inputs.ts';

/** What packed rows go through. */
export interface PackedModel {
  readonly device: Device;
  readonly config: ModelConfig;
  readonly facts: readonly LayerFacts[];
  readonly weights: Pick<DecoderWeights, 'embedding' | 'norm' | 'head'>;
  readonly layers: readonly LayerWeights[];
}

/** Keys and values of the rows are the layer's own: nothing of a text stands before them, and masks tell texts apart. */
export function packedRun(index: number, b: LayerBuffers, table: Tensor | null, again = false): LayerRun {
  return {
    index,
    sequences: [{ keys: b.k, values: b.v, stretches: [], first: 0, count: b.q.shape[0]!, base: 0, position: 0 }],
    alone: false,
    table,
    splitFactor: 1,
    precision: 'exact',
    firstRow: 0,
    hooks: {},
    again,
  };
}

/**
 * Sequences behind one another through the layers.
 *
 * @param buffers of each layer, or of the first ones, and no others are run; where the hidden of one is the middle of the layer before, it goes
 *   on there
 * @param end [t, hidden]: gets the residual stream behind the last layer; may be its middle
 * @param onLayer called when a layer's buffers stand
 * @param onHidden called with the residual stream [t, hidden] behind a layer: look, and leave it as it is
 * @throws E_ABORTED
 */
export async function packedForward(
  { device, config, facts, weights, layers }: PackedModel,
  inputs: BatchInputs,
  tables: LayerTables,
  buffers: readonly LayerBuffers[],
  end: Tensor,
  signal: AbortSignal | undefined,
  onLayer: (layer: number) => void = () => {},
  onHidden: (layer: number, hidden: Tensor) => void = () => {},
): Promise<void> {
  const pace = new Pace();
  const { rmsNormEps: eps } = config;
  const [first] = buffers;
  tokenEmbedding(device, config, weights.embedding, inputs.ids, first!.hidden);
  device.rmsNorm(first!.hidden, layers[0]!.inputNorm, first!.normed, eps);
  for (const [i, b] of buffers.entries()) {
    throwIfAborted(signal);
    decoderLayer(device, facts[i]!, layers[i]!, b, b, packedRun(i, b, tables[i]!));
    onLayer(i);
    const next = buffers[i + 1];
    const hidden = next?.hidden ?? end;
    if (hidden !== b.middle) device.copyRows(b.middle, hidden, 0);
    if (next) device.addRmsNorm(b.feedForwardOut, hidden, layers[i + 1]!.inputNorm, next.normed, eps);
    else device.add(b.feedForwardOut, hidden);
    onHidden(i, hidden);
    await pace.breathe();
  }
  throwIfAborted(signal);
}
