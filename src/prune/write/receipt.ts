import type { SourceFacts } from '../../train/write/receipt.ts';
import type { Candidate, ChoiceSource } from '../choice/choice.ts';
import type { StrengthReason, StrengthTried } from '../choice/strength.ts';
import type { EntropyDistribution } from '../entropy/distribution.ts';
import type { EntropySplit } from '../entropy/split.ts';
import type { GateAccuracy } from '../gate/train-gate.ts';
import type { PrunePlan } from '../job/plan.ts';
import type { IsolationReceipt } from '../proof/receipt.ts';

/** Lies beside an adapter that forgets. */
export const PRUNE_FILE = 'espalier-prune.json';

/** Mean probabilities of answers, a token: e^(mean log-probability), averaged over examples. */
export interface SidesMeasured {
  readonly forget: number;
  readonly retain: number;
}

/** What can be known of it afterwards. A reconstruction of ALTER (arXiv 2603.01792), whose authors published no code. */
export interface PruneReceipt {
  readonly receipt: 'espalier-prune';
  readonly version: 1;
  /** What forgets. */
  readonly source: SourceFacts;
  /** Digests of what was given beside it; null where there was none. */
  readonly beside: {
    readonly earlier: string | null;
    readonly base: string | null;
    readonly reference: string | null;
  };
  /** The request that this adapter adds, and those that it had. */
  readonly request: string;
  readonly earlier: readonly string[];
  readonly data: {
    readonly forget: { readonly examples: number; readonly tokens: number; readonly digest: string };
    readonly retain: { readonly examples: number; readonly tokens: number; readonly digest: string };
  };
  readonly options: PrunePlan;
  readonly domains: readonly { readonly name: string; readonly examples: number }[];
  readonly entropies: { readonly split: EntropySplit; readonly distribution: EntropyDistribution };
  /** What looks went by: the mean probability of answers that were never learned, and whose they are. */
  readonly target: { readonly source: ChoiceSource; readonly probability: number; readonly answers: number };
  /** By look: its candidates, each with experts on where answers of what is forgotten are predicted. */
  readonly looks: readonly (readonly Candidate[])[];
  readonly chosen: Candidate;
  /** What the experts' coefficients were multiplied by in the end, and what was tried to find it: by all that is forgotten, through the gate. */
  readonly strength: {
    readonly settled: number;
    readonly by: StrengthReason;
    readonly tried: readonly StrengthTried[];
  };
  readonly gate: {
    readonly accuracy: GateAccuracy;
    readonly loss: number;
    readonly tokens: { readonly experts: number; readonly none: number };
    /** By round: tokens of what is kept that it had not learned from, and those where an expert would have acted. */
    readonly rounds: readonly { readonly tokens: number; readonly wrong: number }[];
  };
  /** Examples of each side that were measured, of the model without the adapter and with it as it was written. */
  readonly measured: { readonly forget: number; readonly retain: number };
  readonly before: SidesMeasured;
  readonly after: SidesMeasured;
  /** Of what is forgotten from answers that were never learned, in nats (`distanceOf`). */
  readonly distance: { readonly before: number; readonly after: number };
  /** Which factors learned from what, and what was seen to rest. */
  readonly isolation: IsolationReceipt;
  /** Parameters of the adapter, its gate left out. */
  readonly parameters: number;
  readonly steps: number;
  /** Of both phases, in all runs together. */
  readonly seconds: number;
  /** Most bytes on the device, in the last run. */
  readonly peakBytes: number;
  readonly device: Readonly<Record<string, string>>;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}
