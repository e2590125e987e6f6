import type { LikelyLabel, Probe } from '../show/types.ts';

/** What one arm made of one test item: a line of the file of results. */
export interface ItemResult {
  /** Name of the arm. */
  readonly arm: string;
  readonly seed: number;
  /** Index in the test items of the seed. */
  readonly item: number;
  readonly truth: string;
  readonly label: string;
  /** Examples that were shown, or that voted. */
  readonly shots: number;
  /** To the first answer token, as it would take without what earlier items left behind (see docs/showing.md), and to the label. */
  readonly firstMilliseconds: number;
  readonly milliseconds: number;
  /** Of examples that were encoded for this item, or loaded from a store: not part of the times above. Of arms that reuse them. */
  readonly encodeMilliseconds?: number;
  /** Tokens that went through the layers, those of earlier items included where they left a cache behind. */
  readonly forwarded: number;
  /** Tokens whose keys and values came from a pool, a chain or stored blocks. */
  readonly reused: number;
  /** The five likeliest labels with their probabilities, the likeliest first; of a vote with their shares. */
  readonly top?: readonly LikelyLabel[];
  /** Of the distribution over all labels that `top` is from, in nats. */
  readonly entropy?: number;
  /** Ids of the examples, the best first where they were ranked: numbers in the seed's pool. Of more than 32 the first ones. */
  readonly shown?: readonly string[];
  /** What was tried, in order, and the entropy that was sure enough; of adaptive arms. */
  readonly tried?: readonly Tried[];
  readonly threshold?: number;
  /** Counts of shots that were tried; of adaptive arms. */
  readonly probes?: number;
  /** Whether no count was sure enough; of adaptive arms. */
  readonly fallback?: boolean;
  /** KL(full ‖ reused) of the first answer token, in nats, and whether the labels are the same; where it was asked for. */
  readonly divergence?: number;
  readonly agrees?: boolean;
}

/** One count that an adaptive arm tried: its entropy, in the unit of the arm's rule, and the likeliest label (null: a question was asked). */
export type Tried = Pick<Probe, 'shots' | 'entropy' | 'label'>;

export type Answered = Omit<ItemResult, 'arm' | 'seed' | 'item' | 'truth'>;

/** One arm, ready for items. */
export interface Answerer {
  /** @param compare whether full attention over the same shots is asked too, where shots are reused */
  answer(input: string, compare: boolean): Promise<Answered>;
  close(): void;
}

/** An arm that cannot run with this model and these data. */
export interface SkippedArm {
  readonly arm: string;
  readonly seed: number;
  /** Code and sentence. */
  readonly skipped: string;
}

export type EvaluationRecord = ItemResult | SkippedArm;
