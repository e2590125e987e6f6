import type { RopeConfig } from '../../checkpoint/types.ts';
import type { Precision } from '../../device/device.ts';
import { sha256 } from '../../runtime/files/hash.ts';
import type { StorageType } from '../types.ts';

/** Raised when what is stored, or how it is computed, changes. */
const VERSION = 3;

/** Everything that stored keys and values depend on (3.1 of the specification). A difference in any field is another entry. */
export interface ShotFields {
  /** `LocalModel.identity`: weights, their quantisation and the configuration. */
  readonly weights: string;
  readonly tokenizer: string;
  /** Of the activations. */
  readonly precision: Precision;
  readonly rope: RopeConfig;
  /** Tokens of the prefix that the shot saw; empty for bare shots. Values depend on it too. */
  readonly prefix: readonly number[];
  /** Tokens of each shot: one, or those of a block. */
  readonly shots: readonly (readonly number[])[];
  /** How many of them stand before each shot's answer. */
  readonly prompts: readonly number[];
  readonly mode: 'bare' | 'prefixed' | 'block';
  readonly storage: StorageType;
  readonly version?: number;
}

/** Key of a store's entry: sha256 over all fields. */
export function shotIdentity(fields: ShotFields): Promise<string> {
  const { weights, tokenizer, precision, rope, prefix, shots, prompts, mode, storage, version = VERSION } = fields;
  const { theta, rotaryDims, layout, scaling, frequencyDivisors } = rope;
  const turning = [
    theta,
    rotaryDims,
    layout,
    Object.entries(scaling).sort(),
    frequencyDivisors && [...frequencyDivisors],
  ];
  return sha256(
    JSON.stringify([version, weights, tokenizer, precision, turning, prefix, shots, prompts, mode, storage]),
  );
}
