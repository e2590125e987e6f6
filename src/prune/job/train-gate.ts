import type { GateKind, GateShape } from '../../checkpoint/adapter/gate-kinds.ts';
import type { RoutingRule } from '../../checkpoint/adapter/routing.ts';
import type { TrainDevice } from '../../device/train-device.ts';
import type { LocalModel } from '../../model/model.ts';
import { NULL_SLOT } from '../../model/routed/gate.ts';
import type { SubDomains } from '../domains/sub-domains.ts';
import type { PruneSequence } from '../edit/batches.ts';
import { gateExamples, type LabelledSequence } from '../gate/features.ts';
import { hardRows, joinExamples, withHardRows } from '../gate/hard-rows.ts';
import { type GateValues, joinGates } from '../gate/join-gates.ts';
import { type GateAccuracy, type GateExamples, gateAccuracy, TrainableGate, trainGate } from '../gate/train-gate.ts';
import type { Measured } from './measure.ts';
import type { PreparedPrune } from './prepare.ts';

/** A gate that was trained. */
export interface TrainedGate {
  readonly values: GateValues;
  /** How often it is right on what it learned from. */
  readonly accuracy: GateAccuracy;
  /** In nats, over the last tenth of its steps. */
  readonly loss: number;
  /** Tokens that it learned from, with an expert and with none. */
  readonly tokens: { readonly experts: number; readonly none: number };
  /** By round: tokens of what is kept that it had not learned from, and those where an expert would have acted; it learned from these then. */
  readonly rounds: readonly { readonly tokens: number; readonly wrong: number }[];
}

/** Learning rate of rounds after the first. */
const RATE_AGAIN = 5e-4;

export interface GateStageOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (done: number, total: number) => void;
}

/**
 * Trains the gate of a request on states of the model without the adapter, and joins it to those of earlier requests. What it has learned from is a
 * part of what is kept; the rest is gone through afterwards, and it learns from what it was wrong or unsure about there, in `gateRounds` rounds.
 * @throws as `gateExamples` and `trainGate`
 */
export async function gateStage(
  { plan, earlier }: Pick<PreparedPrune, 'plan' | 'earlier'>,
  { forget, retain, domains }: Pick<Measured, 'forget' | 'retain'> & { readonly domains: Pick<SubDomains, 'count'> },
  model: LocalModel,
  device: TrainDevice,
  rule: RoutingRule,
  { signal, onProgress }: GateStageOptions,
): Promise<TrainedGate> {
  const list: LabelledSequence[] = forget.flatMap((sequences, domain) =>
    sequences.map((sequence) => ({ sequence, slot: NULL_SLOT + 1 + domain })),
  );
  const [some, others] = parted(retain, plan.gateTokens);
  list.push(...some);
  const { gate: kind, gateSteps: steps, gateRounds, seed } = plan;
  const rounds: { tokens: number; wrong: number }[] = [];
  const most = others.length === 0 ? 0 : gateRounds;
  const total = list.length + steps + most * (others.length + steps);
  let before = 0;
  const told = (done: number) => onProgress(before + done, total);
  const features = { kind, order: rule.order, alignment: rule.alignment, signal, onProgress: told };
  const learned = await gateExamples(model.decoder, list, features);
  before += list.length;
  const slots = 1 + domains.count;
  const shape = shapeOf(kind, { hidden: model.config.hiddenSize, units: plan.gateUnits, slots });
  const gate = new TrainableGate(device, shape, seed);
  try {
    let examples = learned;
    let loss = await trainGate(gate, examples, { steps, seed, signal, onStep: told });
    before += steps;
    let hard: GateExamples | null = null;
    while (rounds.length < most) {
      const found = await hardRows(gate, model.decoder, others, features);
      before += others.length;
      rounds.push({ tokens: found.rows, wrong: found.wrong });
      if (found.examples.slots.length === 0) break;
      hard = hard === null ? found.examples : joinExamples([hard, found.examples]);
      examples = withHardRows(learned, hard);
      // it goes on from where it is, more carefully
      loss = await trainGate(gate, examples, {
        steps,
        rate: RATE_AGAIN,
        seed: seed + rounds.length,
        signal,
        onStep: told,
      });
      before += steps;
    }
    const accuracy = await gateAccuracy(gate, learned, signal);
    const experts = learned.slots.reduce((sum, slot) => sum + (slot === NULL_SLOT ? 0 : 1), 0);
    return {
      values: joinGates(earlier?.gate ?? null, await gate.values(), slots),
      ...{ accuracy, loss, rounds },
      tokens: { experts, none: learned.slots.length - experts + (hard?.slots.length ?? 0) },
    };
  } finally {
    gate.dispose();
  }
}

/** What is kept: some whose states are remembered, evenly from all, and the others. */
function parted(
  retain: readonly PruneSequence[],
  most: number,
): readonly [readonly LabelledSequence[], readonly LabelledSequence[]] {
  const tokens = retain.reduce((sum, { ids }) => sum + ids.length - 1, 0);
  const step = Math.max(1, tokens / most);
  const chosen = new Set<number>();
  for (let at = 0; Math.floor(at) < retain.length; at += step) chosen.add(Math.floor(at));
  const labelled = (isWanted: (i: number) => boolean) =>
    retain.flatMap((sequence, i) => (isWanted(i) ? [{ sequence, slot: NULL_SLOT }] : []));
  return [labelled((i) => chosen.has(i)), labelled((i) => !chosen.has(i))];
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
