import type { ContextOptions, EntropyRule, Fallback, Fitted, Grid, NearestVote, Preset, RankMethod } from '../types.ts';

/** How queries are answered. Every field has a default by the preset; `settingsOfArm` gives all of them. */
export interface ShowOptions extends ContextOptions {
  /**
   * `label`: one of the labels, from the distribution at the answer. `generate`: free text, probed by a yes-or-no question. `parity`: as
   * the paper, for either: with labels the answer is one of them.
   */
  readonly preset: Preset;
  /** What may be answered. Needed by `label`; with `parity` they restrict the answer. */
  readonly labels?: readonly string[];
  /**
   * End of every query, such as `Type:`; labels are tokenised behind it, with a space between. Default `:`, behind which most tokenisers
   * do the same.
   */
  readonly prompt?: string;
  /** `sum`: by the sum of log-probabilities (S2). `greedy`: token by token, from what labels allow (S1). Default sum; parity: greedy. */
  readonly scoring?: 'sum' | 'greedy';
  /**
   * Whose distribution over labels counts behind a number of shots. `one`: its own. `all`: the geometric mean of it and of those behind
   * all smaller numbers that were tried for the query, whose passes were made anyway (a logarithmic opinion pool). Only with entropy
   * `label` and scoring `sum`.
   */
  readonly ensemble?: 'one' | 'all';
  /**
   * Labels of the query's nearest shots vote too: distributions over labels are multiplied by the vote's shares to the power of `weight`.
   * Of a pool, or chains, with labelled shots; null: no vote. Not with greedy scoring.
   */
  readonly vote?: NearestVote | null;
  /** Which shots come first. */
  readonly rank?: RankMethod;
  /** Counts of shots that are tried. */
  readonly grid?: Grid;
  /** What is looked at: the distribution over labels, or the answer to a yes-or-no question, by one of three rules. */
  readonly entropy?: EntropyRule;
  /** Entropy that is sure enough, in the unit of the rule. */
  readonly threshold?: number;
  /** Least probability of all answers that count, without which a count is not sure. */
  readonly leastMass?: number;
  /** Yes-or-no questions: whether only a yes counts (D2b). */
  readonly onlyYes?: boolean;
  /** What is answered when no count was sure: of the largest count, of the least entropy, or of so many shots. */
  readonly fallback?: Fallback;
  /** What `calibrate` fitted for the same task and model: its threshold, fallback, vote and bias go before those given. */
  readonly calibration?: Fitted;
  /** What is asked behind a query, for yes-or-no questions; it ends where the answer's first token begins. */
  readonly question?: string;
  /** Of free text. Default 256. */
  readonly maxTokens?: number;
  /** One text, or several, that end free text. Default: two line ends. */
  readonly stop?: string | readonly string[];
  /** Sampling temperature of free text; 0, the default, is greedy. */
  readonly sampling?: {
    readonly temperature?: number;
    readonly topK?: number;
    readonly topP?: number;
    readonly seed?: number;
  };
}
