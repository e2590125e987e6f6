import type { Tensor } from '../device/device.ts';
import { EspalierError } from '../errors.ts';
import type { Decoder } from '../model/decoder.ts';
import { sharedBuffers } from '../model/layer-buffers.ts';
import { layerFacts } from '../model/layer-run.ts';
import { normedRows } from '../model/loss-head.ts';
import type { LossReference, LossRun } from '../model/loss-terms.ts';
import { batchInputs } from './batch-inputs.ts';
import type { ReferencePass } from './loss-rows.ts';
import { packedForward } from './packed-pass.ts';
import type { MicroBatch } from './trainable.ts';

/** A decoder that stays as it is, to measure a divergence from. Whoever opened it ends it. */
export class DecoderReference implements ReferencePass {
  readonly #decoder: Decoder;

  constructor(decoder: Decoder) {
    decoder.checkHead();
    this.#decoder = decoder;
  }

  get vocabSize(): number {
    return this.#decoder.config.vocabSize;
  }

  async forward(
    batch: MicroBatch,
    runs: readonly LossRun[],
    signal: AbortSignal | undefined,
  ): Promise<LossReference['logits']> {
    const { device, config, weights } = this.#decoder;
    const count = runs.reduce((sum, run) => sum + run.count, 0);
    const kept = device.scratch('f32', [count, config.hiddenSize]);
    const mark = device.mark();
    const hidden = await this.#stream(batch, config.nLayers, signal);
    const { normed } = normedRows(device, config, weights.norm, hidden, runs);
    device.copyRows(normed, kept, 0);
    device.reset(mark);
    return (first: number, rows: number): Tensor => this.#decoder.logits(device.rows(kept, first, rows), 'exact');
  }

  async hidden(batch: MicroBatch, layer: number, signal: AbortSignal | undefined): Promise<Tensor> {
    const { device, config } = this.#decoder;
    if (layer >= config.nLayers) {
      throw new EspalierError(
        'E_ARGUMENT',
        `Hidden states behind layer ${layer} of the reference are asked for, and it has ${config.nLayers}.`,
        'Give a reference of the same shape.',
      );
    }
    const kept = device.scratch('f32', [batch.ids.length, config.hiddenSize]);
    const mark = device.mark();
    device.copyRows(await this.#stream(batch, layer + 1, signal), kept, 0);
    device.reset(mark);
    return kept;
  }

  /** The residual stream behind the first `count` layers; scratch. */
  async #stream(batch: MicroBatch, count: number, signal: AbortSignal | undefined): Promise<Tensor> {
    const { device, config, weights, ropes } = this.#decoder;
    const layers = await Promise.all(Array.from({ length: count }, (_, i) => weights.layers.get(i)));
    // its windows may be others than those of what is trained
    const inputs = batchInputs(device, config, batch);
    const buffers = sharedBuffers(device, config, inputs);
    const model = { device, config, facts: layerFacts(config), weights, layers };
    const all = layers.map(() => buffers);
    await packedForward(model, inputs, ropes.forward(inputs.positionCount), all, buffers.hidden, signal);
    return buffers.hidden;
  }
}
