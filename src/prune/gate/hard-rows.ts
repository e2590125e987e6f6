import type { GateInput } from '../../checkpoint/adapter/gate-kinds.ts';
import { exclusive } from '../../device/exclusive.ts';
import { throwIfAborted } from '../../errors.ts';
import type { Decoder } from '../../model/decoder.ts';
import { NULL_SLOT } from '../../model/routed/gate.ts';
import { type FeatureOptions, gateExamples, type LabelledSequence } from './features.ts';
import type { GateExamples, TrainableGate } from './train-gate.ts';

/** Texts whose states are there at once. */
const TOGETHER = 32;
/** Rows of a pass through the gate. */
const ROWS = 512;
/** A row is hard where what is right has less than this of the probability. */
const SURE = 0.99;

/** What a gate is not sure of, in texts that it has not learned from. */
export interface HardRows {
  readonly examples: GateExamples;
  /** Rows of all texts, and those where another slot is the likeliest. */
  readonly rows: number;
  readonly wrong: number;
}

/**
 * Goes through texts that are too many to keep the states of, and keeps those of rows where the gate is wrong or not sure.
 * @throws as `gateExamples`
 */
export async function hardRows(
  gate: TrainableGate,
  decoder: Decoder,
  list: readonly LabelledSequence[],
  options: FeatureOptions = {},
): Promise<HardRows> {
  const { signal, onProgress, ...kind } = options;
  const { slots: count } = gate.shape;
  const found: GateExamples[] = [];
  let [rows, wrong] = [0, 0];
  for (let first = 0; first < list.length; first += TOGETHER) {
    throwIfAborted(signal);
    onProgress?.(first, list.length);
    const examples = await gateExamples(decoder, list.slice(first, first + TOGETHER), { ...kind, signal });
    const { slots } = examples;
    const hard: number[] = [];
    for (let at = 0; at < slots.length; at += ROWS) {
      const most = Math.min(ROWS, slots.length - at);
      const logits = await exclusive(gate.device, () => gate.logits(examples, at, most));
      for (let i = 0; i < most; i++) {
        const own = logits.subarray(i * count, (i + 1) * count);
        const { probability, isLargest } = of(own, slots[at + i]!);
        if (!isLargest) wrong++;
        if (probability < SURE) hard.push(at + i);
      }
    }
    rows += slots.length;
    if (hard.length > 0) found.push(picked(examples, hard));
  }
  onProgress?.(list.length, list.length);
  return { examples: joinExamples(found), rows, wrong };
}

function of(logits: Float32Array, slot: number): { probability: number; isLargest: boolean } {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((all, logit) => all + Math.exp(logit - largest), 0);
  return { probability: Math.exp(logits[slot]! - largest) / sum, isLargest: logits[slot] === largest };
}

const INPUTS = ['mean', 'now', 'entropy'] as const satisfies readonly GateInput[];

/** Some rows of examples, in the order in which they are named. */
function picked(examples: GateExamples, rows: readonly number[]): GateExamples {
  const { slots } = examples;
  const inputs = INPUTS.flatMap((input) => {
    const values = examples[input];
    if (values === undefined) return [];
    const width = values.length / slots.length;
    const own = new Float32Array(rows.length * width);
    for (const [i, row] of rows.entries()) own.set(values.subarray(row * width, (row + 1) * width), i * width);
    return [[input, own] as const];
  });
  return { ...Object.fromEntries(inputs), slots: Int32Array.from(rows, (row) => slots[row]!) };
}

/** Examples of one kind behind one another. */
export function joinExamples(list: readonly GateExamples[]): GateExamples {
  const total = list.reduce((sum, { slots }) => sum + slots.length, 0);
  const slots = new Int32Array(total);
  const joined: { [I in GateInput]?: Float32Array } = {};
  let at = 0;
  for (const examples of list) {
    slots.set(examples.slots, at);
    for (const input of INPUTS) {
      const values = examples[input];
      if (values === undefined) continue;
      const width = values.length / examples.slots.length;
      joined[input] ??= new Float32Array(total * width);
      joined[input].set(values, at * width);
    }
    at += examples.slots.length;
  }
  return { ...joined, slots };
}

/** What a gate has learned from, with hard rows so often that they are about half of the rows with the null slot, and at most `MOST` times. */
export function withHardRows(learned: GateExamples, hard: GateExamples): GateExamples {
  const none = learned.slots.reduce((sum, slot) => sum + (slot === NULL_SLOT ? 1 : 0), 0);
  const times = Math.max(1, Math.min(MOST, Math.round(none / Math.max(1, hard.slots.length))));
  return joinExamples([learned, ...Array.from({ length: times }, () => hard)]);
}

const MOST = 20;
