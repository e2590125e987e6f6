/** Which adapters a model is opened with. */
import { object } from '../options/check.ts';
import { either, listOf, place, type Rule, real, type Schema } from '../options/rules.ts';
import type { ModelTarget } from '../runtime/files/model-files.ts';
import { checkedTarget } from '../runtime/files/target.ts';

/** An adapter, and how much of it. */
export interface WeightedAdapter {
  /** A folder in PEFT's format, or with alter.json and alter.safetensors: a path, an address, `owner/name` on the hub, or files by name. */
  readonly from: ModelTarget;
  /** Multiplies what the adapter adds, of one with experts what these add; default 1. */
  readonly weight?: number;
}

/** A path, an address or `owner/name`, or one with a weight. */
export type AdapterChoice = string | URL | WeightedAdapter;

const from: Rule<ModelTarget> = {
  takes: 'a path, an address, owner/name, or an object of bytes or Blobs by file name',
  check: (value) => checkedTarget(value, 'The adapter'),
};

const weightedAdapter = {
  from,
  weight: real(-Number.MAX_VALUE, Number.MAX_VALUE, { takes: 'a number' }),
} as const satisfies Schema<WeightedAdapter>;

export const adapters: Rule<readonly AdapterChoice[]> = listOf(
  either(place, object<WeightedAdapter>(weightedAdapter, 'adapters', ['from'])),
);

/** The same with everything said. */
export function weighted(choice: AdapterChoice): Required<WeightedAdapter> {
  if (typeof choice === 'string' || choice instanceof URL) return { from: choice, weight: 1 };
  return { from: choice.from, weight: choice.weight ?? 1 };
}
