import type { StrengthReason } from '../choice/strength.ts';
import type { EntropyAudit } from '../entropy/audit.ts';
import type { EntropyDistribution } from '../entropy/distribution.ts';
import type { EntropySplit } from '../entropy/split.ts';
import type { GateAccuracy } from '../gate/train-gate.ts';
import type { IsolationReceipt } from '../proof/receipt.ts';

/** One of the sets of a pruning. */
export interface ReportedSide {
  readonly examples: number;
  readonly tokens?: number;
  readonly digest: string;
}

/** A state that the adapter could have been left in. */
export interface ReportedLook {
  /** From 1 on; several strengths of one look have its number. */
  readonly look: number;
  /** Epochs of Phase II that were done. */
  readonly epoch: number;
  /** What the experts' coefficients were multiplied by. Default 1. */
  readonly strength?: number;
  /** Mean probabilities of answers, a token: of what is forgotten, and of what is kept. */
  readonly forget?: number;
  readonly retain?: number;
  /** From answers that were never learned, in nats; what the choice goes by. */
  readonly distance?: number;
  /** Forget quality, the p of a KS test, and model utility, as TOFU has them. */
  readonly forgetQuality?: number;
  readonly utility?: number;
}

/** A figure of an evaluation, of the model without the adapter and with it; null: not measured. */
export interface ReportedMeasure {
  readonly name: string;
  readonly before: number | null;
  readonly after: number | null;
  /** What it should come to, where that is known. */
  readonly aim?: number | null;
}

/** Mean probabilities of answers, a token. */
export interface ReportedSides {
  readonly forget: number;
  readonly retain: number;
}

/**
 * What a page says of a pruning, as plain JSON: facts of the job and of what was measured besides. Whatever was not measured is left out, and the
 * page says so.
 */
export interface PruneReport {
  /** What forgets. */
  readonly source: {
    readonly name: string;
    readonly architecture?: string;
    readonly bytes?: number;
    readonly digest: string;
  };
  readonly request?: string;
  /** Requests that the adapter had before. */
  readonly earlier?: readonly string[];
  /** Names of all forget experts, in the order of their numbers. */
  readonly experts?: readonly string[];
  readonly data: { readonly forget: ReportedSide; readonly retain: ReportedSide };
  readonly domains?: readonly { readonly name: string; readonly examples: number }[];
  readonly entropies?: { readonly split: EntropySplit; readonly distribution: EntropyDistribution };
  /** What looks go by: the mean probability of answers that were never learned, and where these are from. */
  readonly target?: { readonly source: string; readonly probability: number; readonly answers?: number };
  /** By look: one state, or several strengths of its experts. */
  readonly looks?: readonly (readonly ReportedLook[])[];
  readonly chosen?: ReportedLook;
  /** The strength of the experts in the end, and what was left with others, through the gate. */
  readonly strength?: {
    readonly settled: number;
    /** Why it is that: absent where nobody says. */
    readonly by?: StrengthReason;
    readonly tried: readonly { readonly strength: number; readonly forget: number }[];
  };
  readonly gate?: {
    readonly accuracy: GateAccuracy;
    readonly tokens?: { readonly experts: number; readonly none: number };
  };
  /** Examples of each side that were measured, of the model without the adapter and with it. */
  readonly measured?: { readonly forget: number; readonly retain: number };
  readonly before?: ReportedSides;
  readonly after?: ReportedSides;
  readonly measures?: readonly ReportedMeasure[];
  readonly isolation?: IsolationReceipt;
  /** Audits of texts of either side, by the model with the adapter. */
  readonly samples?: readonly { readonly side: 'forget' | 'retain'; readonly audit: EntropyAudit }[];
  readonly parameters?: number;
  readonly steps?: number;
  readonly seconds?: number;
  readonly peakBytes?: number;
  /** Further ways of taking it back, a sentence or command each. */
  readonly takeBack?: readonly string[];
}
