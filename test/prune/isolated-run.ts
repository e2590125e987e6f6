/** Steps as the two phases of pruning take them, on a small model, with a record of isolation. */
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { AsymmetricFactors } from '../../src/prune/adapter/factors.ts';
import {
  forgetStep,
  type PruneSequence,
  type PruneStep,
  retainStep,
  structureStep,
} from '../../src/prune/edit/batches.ts';
import { IsolationLedger, type IsolationOptions } from '../../src/prune/proof/isolation.ts';
import { type SequenceSource, type StepKind, trainedBy } from '../../src/prune/proof/kinds.ts';
import type { DecoderTrainable } from '../../src/train/decoder-trainable.ts';
import { AdamW } from '../../src/train/optimiser.ts';
import { families, floats } from '../device/gradients.ts';
import { noise } from '../device/reference.ts';
import { tinyTrainable } from '../train/decoders.ts';

export const MODEL = 'llama-gqa';
export const all = await families();
export const device = all[0]![0]!;
const probe = await tinyTrainable(MODEL, device);
export const { config } = probe;
probe.dispose();

/** Of ten tokens the last five are the answer; its first is of high entropy. */
export const sequences = (count: number, seed: number): PruneSequence[] => {
  const next = noise(seed);
  return Array.from({ length: count }, () => ({
    ids: Int32Array.from({ length: 10 }, () => Math.floor(((next() + 1) / 2) * 0.999 * config.vocabSize)),
    learned: Uint8Array.from({ length: 10 }, (_, t) => (t >= 5 ? 1 : 0)),
    entropies: Float32Array.from({ length: 10 }, (_, t) => (t === 5 ? 1.5 : 0.1)),
    high: Uint8Array.from({ length: 10 }, (_, t) => (t === 5 ? 1 : 0)),
  }));
};
const DATA = { 'forget-1': sequences(3, 1), 'forget-2': sequences(2, 2), retain: sequences(4, 3) } as const;

interface Taken {
  readonly kind: StepKind;
  readonly sources: readonly SequenceSource[];
  readonly list: readonly PruneSequence[];
  readonly made: PruneStep;
}

export function taken(kind: StepKind): Taken {
  const of = (...names: (keyof typeof DATA)[]) => {
    const pairs = names.flatMap((name) => DATA[name].map((own) => [name, own] as const));
    return { sources: pairs.map(([name]) => name), list: pairs.map(([, own]) => own) };
  };
  if (kind === 'structure') {
    const { sources, list } = of('forget-1', 'forget-2', 'retain');
    return { kind, sources, list, made: structureStep(list, 64, { order: 0.8, factor: 0.01 })! };
  }
  const { sources, list } = of(kind as keyof typeof DATA);
  if (kind === 'retain') return { kind, sources, list, made: retainStep(list, 64, 1) };
  const expert = Number(kind.slice(7)) - 1;
  return { kind, sources, list, made: forgetStep(list, 64, { expert, experts: 2, mask: 'low', factor: 1 }) };
}

export class Run {
  readonly #optimiser: AdamW;
  readonly trainable: DecoderTrainable;
  readonly factors: AsymmetricFactors;
  ledger!: IsolationLedger;

  constructor(trainable: DecoderTrainable, factors: AsymmetricFactors) {
    this.trainable = trainable;
    this.factors = factors;
    this.#optimiser = new AdamW(trainable, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 });
  }

  static async begin(options: IsolationOptions = {}): Promise<Run> {
    const lora = { rank: 4, alpha: 4, rslora: false, targets: null, seed: 5 };
    const factors = new AsymmetricFactors(device, config, { ...lora, experts: 2 });
    const frozen = { trainable: () => false, adapter: factors };
    const run = new Run(await tinyTrainable(MODEL, device, frozen), factors);
    run.ledger = await IsolationLedger.begin(run.subject, options);
    return run;
  }

  get subject() {
    const { trainable, factors } = this;
    return { device, parameters: trainable.parameters, roles: factors.roles, base: trainable.baseWeights };
  }

  /** @param more what somebody else does in the step */
  async step(kind: StepKind, more: () => void = () => {}, signal?: AbortSignal): Promise<void> {
    const { sources, made } = taken(kind);
    const recorded = { kind, sources, tokens: made.tokens };
    const run = async (): Promise<void> => {
      this.trainable.train(this.factors.trained(trainedBy(kind)));
      this.trainable.zeroGradients();
      for (const batch of made.batches) await this.trainable.step(batch, {});
      this.#optimiser.step(1e-2, await this.#optimiser.norm());
      more();
    };
    await this.ledger.step(recorded, run, signal);
  }

  /** The first factor of a role. */
  factor(role: string): Tensor {
    return this.trainable.parameters.find(({ name }) => this.factors.roles.get(name) === role)!.value;
  }

  async bits(): Promise<Map<string, string>> {
    const list = new Map<string, string>();
    for (const { name, value } of this.trainable.parameters) list.set(name, (await floats(device, value)).join());
    return list;
  }

  dispose(): void {
    this.#optimiser.dispose();
    this.trainable.dispose();
    assert.is(device.stats().tensors, 0);
  }
}
