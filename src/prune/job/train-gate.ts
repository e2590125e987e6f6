import type { GateKind, GateShape } from '../../checkpoint/adapter/gate-kinds.ts';
import type { RoutingRule } from '../../checkpoint/adapter/routing.ts';
import type { WasmTrainDevice } from '../../device/wasm/wasm-train-device.ts';
import type { LocalModel } from '../../model/model.ts';
import { NULL_SLOT } from '../../model/routed/gate.ts';
import { gateExamples, type LabelledSequence } from '../gate/features.ts';
import { type GateValues, joinGates } from '../gate/join-gates.ts';
import { type GateAccuracy, gateAccuracy, TrainableGate, trainGate } from '../gate/train-gate.ts';
import type { Measured } from './measure.ts';
import type { PreparedPrune } from './prepare.ts';

/** A gate that was trained, and how often it is right on positions of answers and others: on what it learned from. */
export interface TrainedGate {
  readonly values: GateValues;
  readonly accuracy: GateAccuracy;
  /** In nats, over the last tenth of its steps. */
  readonly loss: number;
  /** Tokens that it learned from, with an expert and with none. */
  readonly tokens: { readonly experts: number; readonly none: number };
}

export interface GateStageOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (done: number, total: number) => void;
}

/**
 * Trains the gate of a request on states of the model without the adapter, and joins it to those of earlier requests.
 * @throws as `gateExamples` and `trainGate`
 */
export async function gateStage(
  { plan, earlier }: PreparedPrune,
  { forget, retain, domains }: Measured,
  model: LocalModel,
  device: WasmTrainDevice,
  rule: RoutingRule,
  { signal, onProgress }: GateStageOptions,
): Promise<TrainedGate> {
  const list: LabelledSequence[] = forget.flatMap((sequences, domain) =>
    sequences.map((sequence) => ({ sequence, slot: NULL_SLOT + 1 + domain })),
  );
  // evenly over all that is kept
  const tokens = retain.reduce((sum, { ids }) => sum + ids.length - 1, 0);
  const step = Math.max(1, tokens / plan.gateTokens);
  for (let at = 0; Math.floor(at) < retain.length; at += step) {
    list.push({ sequence: retain[Math.floor(at)]!, slot: NULL_SLOT });
  }
  const [features, total] = [list.length, list.length + plan.gateSteps];
  const { gate: kind } = plan;
  const examples = await gateExamples(model.decoder, list, {
    ...{ kind, order: rule.order, alignment: rule.alignment, signal },
    onProgress: (done) => onProgress(done, total),
  });
  const slots = 1 + domains.count;
  const shape = shapeOf(kind, { hidden: model.config.hiddenSize, units: plan.gateUnits, slots });
  const gate = new TrainableGate(device, shape, plan.seed);
  try {
    const loss = await trainGate(gate, examples, {
      ...{ steps: plan.gateSteps, seed: plan.seed, signal },
      onStep: (done) => onProgress(features + done, total),
    });
    const accuracy = await gateAccuracy(gate, examples, signal);
    const experts = examples.slots.reduce((sum, slot) => sum + (slot === NULL_SLOT ? 0 : 1), 0);
    return {
      values: joinGates(earlier?.gate ?? null, await gate.values(), slots),
      accuracy,
      loss,
      tokens: { experts, none: examples.slots.length - experts },
    };
  } finally {
    gate.dispose();
  }
}

function shapeOf(kind: GateKind, sizes: { hidden: number; units: number; slots: number }): GateShape {
  const { hidden, slots } = sizes;
  switch (kind) {
    case 'global':
      return { kind, ...sizes };
    case 'hidden':
    case 'both':
      return { kind, hidden, slots };
    case 'literal':
      return { kind, slots };
    default:
      return kind satisfies never;
  }
}
