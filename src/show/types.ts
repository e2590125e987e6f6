import type { StoredType } from '../device/checks/stored-rows.ts';
import type { Tensor } from '../device/device.ts';
import type { GeneratedToken } from '../model/generate/generation.ts';

/** One example of a pool. */
export interface Shot {
  readonly id: string;
  /** The whole text with its separator; it is tokenised by itself. */
  readonly text: string;
  /** Of label tasks: the answer that the text shows. */
  readonly label?: string;
  /** What was asked in it; ranking by words compares this, or else the text. */
  readonly input?: string;
}

/**
 * What a shot sees while it is cached, and what is done again where it is used (P0 to P4 of the specification). `bare`: only itself.
 * `prefixed`: the begin-of-text token and the instruction. `blocks`: those, and the shots before it in its block of so many, in the
 * pool's order. `repair`: as `prefixed`, and its first tokens are computed again behind what stands before it. `recompute`: as
 * `prefixed` while probing, and the answer is computed from the plain text of the chosen shots.
 */
export type PrefixMode = 'bare' | 'prefixed' | { readonly blocks: number } | { readonly repair: number } | 'recompute';

/**
 * How stored keys and values are written down. `int8` and `int4`: with a scale of one byte a token and KV head; `int4` after a Walsh-Hadamard
 * transform of each head, whose size must be even.
 */
export type StorageType = StoredType;

/** Where encoded shots are kept between runs; see `openShotStore`. */
export interface ShotStore {
  /** For messages. */
  readonly name: string;
  /**
   * The entry that was written under this key, checked by its checksum; null when there is none, or it is damaged or another one's.
   * @param size bytes that it must have: another is a miss, and is not read
   */
  read(key: string, size?: number): Promise<Uint8Array<ArrayBuffer> | null>;
  /** @throws E_STORAGE_FULL, E_FILE_WRITE; a pool goes on without keeping then, and warns */
  write(key: string, entry: Uint8Array): Promise<void>;
  remove(key: string): Promise<boolean>;
  /** Bytes of all entries. */
  bytes(): Promise<number>;
  clear(): Promise<void>;
}

export interface PoolProgress {
  /** Shots that are encoded, or loaded from the store, of those asked for. */
  readonly done: number;
  readonly total: number;
  /** Of these, loaded from the store. */
  readonly loaded: number;
  /** Tokens of those shots that are done; of what is being computed a share, by layers. */
  readonly tokens: number;
  readonly totalTokens: number;
}

/** What lies ahead. */
export interface WorkEstimate {
  readonly shots: number;
  readonly tokens: number;
  /** Keys and values of all of them: on the device as far as the limits allow, and in the store. */
  readonly bytes: number;
  /** From now on, as fast as the first tokens went; null before any did. */
  readonly seconds: number | null;
}

/** A query as ranking needs it. */
export interface EncodedQuery {
  /** What is compared by words. */
  readonly text: string;
  /** Its tokens, without a begin-of-text token. */
  readonly ids: readonly number[];
  /**
   * Mean query vectors before RoPE over the tokens, summed over the heads that share a KV head: [layers · nKvHeads · headDim]. Null
   * where no forward pass was made.
   */
  readonly vector: Float32Array | null;
  /** Mean such vector of some texts of the pool: what queries have in common. Null where it was not asked for. */
  readonly centre: Float32Array | null;
  /** Its keys as those of the prompts of shots, see `PooledKeys.features`. Null where they were not asked for. */
  readonly features: Float32Array | null;
}

export interface Ranked {
  readonly id: string;
  readonly score: number;
}

/** `best-first`: the best shot is farthest from the query. `best-nearest`: it stands right before it. */
export type ShotOrder = 'best-first' | 'best-nearest';

/** Tokens behind the first `shots` of the placed shots. */
export interface Branch {
  readonly ids: readonly number[];
  readonly shots: number;
}

/** Where a branch's hidden states stand: rows first .. first + count - 1. */
export interface BranchRows {
  readonly first: number;
  readonly count: number;
}

/** Tokens that go on from the end of a branch; several may fork from one. */
export interface Fork {
  /** Index in the list of branches. */
  readonly branch: number;
  readonly ids: readonly number[];
}

/** Runs tokens behind branches, as often as wanted while the branches are there. */
export type RunForks = <T>(
  forks: readonly Fork[],
  use: (hidden: Tensor, forks: readonly BranchRows[]) => Promise<T>,
) => Promise<T>;

/** Takes hidden states [rows, hidden] of branches, normalised; they are gone when its promise resolves. */
export type UseHidden<T> = (hidden: Tensor, branches: readonly BranchRows[], fork: RunForks) => Promise<T>;

/** What is probed. `label`: the distribution over labels (E4). The others ask a yes-or-no question (E1, E2, E3). */
export type EntropyRule = 'label' | 'raw-nats' | 'two-way-nats' | 'two-way-bits';

/**
 * Counts of shots to try, `perRound` in one forward pass, until a round has one that is sure enough. `geometric`: first (4), 2 · first, …,
 * one a round: a query of some ten tokens runs as fast alone as beside others, so nothing is gained by trying more than is needed.
 * `arithmetic`: step (4), 2 · step, …, four a round, at most 64 rounds. Both end at `most` (128). `zero`: no shots are tried too. A list:
 * these, in one round.
 */
export type Grid =
  | {
      readonly kind: 'geometric';
      readonly first?: number;
      readonly perRound?: number;
      readonly most?: number;
      readonly zero?: boolean;
    }
  | {
      readonly kind: 'arithmetic';
      readonly step?: number;
      readonly perRound?: number;
      readonly rounds?: number;
      readonly most?: number;
      readonly zero?: boolean;
    }
  | readonly number[];

/** When no count is sure enough: the largest (F1), or the one with the least entropy, the smaller first of equals (F2). */
export type Fallback = 'most' | 'least-entropy' | { readonly shots: number };

/** How the nearest shots' labels count beside the model. */
export interface NearestVote {
  /** How many of the ranking vote; the r-th counts 1 / r. */
  readonly neighbours: number;
  /** 0: nothing; 1: as much as the model. */
  readonly weight: number;
}

/** How ridge regression of the pool's labels counts, and the model beside it. */
export interface RidgePrior {
  /** 0: nothing. */
  readonly weight: number;
  /** How much the model's distribution behind shots counts. */
  readonly modelWeight: number;
  /** Labels that the model is asked for: the likeliest ones, before any shot is shown. */
  readonly candidates: number;
}

/** One count that was tried. */
export interface Probe {
  readonly shots: number;
  readonly entropy: number;
  /** Probability of all answers that count (yes and no, or the labels), out of all tokens. */
  readonly mass: number;
  /** Probability of yes among the two; null for labels. */
  readonly yes: number | null;
  /** The likeliest label; null for yes-or-no questions. */
  readonly label: string | null;
}

/** What was done for one answer. */
export interface ShowReceipt {
  /** Ids in the order of their rank: those that were used. As many as `chosen`, but of blocks whole ones. */
  readonly shots: readonly string[];
  /** What was tried, in order. */
  readonly probes: readonly Probe[];
  readonly chosen: number;
  /** Counts whose distributions over labels the answer averages, `chosen` among them. Of free text none. */
  readonly averaged: readonly number[];
  /** How the nearest shots' labels voted; null: they did not. */
  readonly vote: NearestVote | null;
  /**
   * How ridge regression of the pool's labels counted, and what it and the vote said before any shot was shown: where that was sure enough, it is the
   * answer, behind no shots and without a pass for it. `scored`: labels that the model was asked for. Null: it did not count.
   */
  readonly ridge:
    | (RidgePrior & {
        readonly label: string;
        readonly entropy: number;
        readonly sure: boolean;
        readonly scored: number;
      })
    | null;
  /** Whether a fitted bias was taken off. */
  readonly unbiased: boolean;
  readonly threshold: number;
  /** Whether no count was sure enough. */
  readonly fallback: boolean;
  readonly tokens: {
    /** Of shots and prefix whose keys and values came from the pool. */
    readonly reused: number;
    /** Of these, rows whose keys were rotated for this answer. */
    readonly rotated: number;
    /** That went through the layers for this answer: query, probes, repairs, answer. */
    readonly forwarded: number;
    readonly generated: number;
  };
  readonly bytes: {
    /** Stored keys and values that were read. */
    readonly read: number;
    /** The working cache. */
    readonly cache: number;
    /** The pool on the device. */
    readonly pool: number;
  };
  readonly milliseconds: {
    readonly rank: number;
    readonly encode: number;
    readonly place: number;
    readonly probe: number;
    readonly answer: number;
    readonly total: number;
  };
  /**
   * What the attention behind `chosen` shots was, and behind all that were averaged. Exact, to the rounding of the pool's storage, for
   * block-diagonal attention (`blocks`), for ordinary causal attention over the same shots (`causal`), or neither
   * (`approximate`: another temperature or scale, or repaired tokens).
   */
  readonly exactness: 'blocks' | 'causal' | 'approximate';
  /** Against full attention over the same text; null unless it was asked for. */
  readonly comparison: Comparison | null;
  /** What went wrong beside the answer, such as a store that cannot be written. */
  readonly warnings: readonly string[];
}

/** How far an answer is from ordinary causal attention over the same shots in the same order. */
export interface Comparison {
  /** KL(full ‖ reused) of the first answer token, in nats. */
  readonly divergence: number;
  /** Whether both have the same likeliest token, and for labels the same label. */
  readonly sameToken: boolean;
  readonly sameLabel: boolean | null;
  /** Milliseconds of the plain forward pass over prefix, shots and query. */
  readonly milliseconds: number;
}

export interface LikelyLabel {
  readonly label: string;
  /** Among all labels. */
  readonly probability: number;
}

export interface Answer {
  readonly text: string;
  readonly label?: string;
  /** Of label tasks: of each label, summing to 1. */
  readonly probabilities?: Readonly<Record<string, number>>;
  /** Of label tasks: the five likeliest of them, the likeliest first. With greedy scoring `label` may be another than the first. */
  readonly top?: readonly LikelyLabel[];
  readonly receipt: ShowReceipt;
}

export type Preset = 'parity' | 'label' | 'generate';

/** A generated answer as it comes: iterate it, then await `answer()`. */
export interface AnswerStream extends AsyncIterable<GeneratedToken> {
  answer(): Promise<Answer>;
}

/** One setting of the threshold on a development set. */
export interface CalibrationPoint {
  readonly threshold: number;
  readonly accuracy: number;
  readonly meanShots: number;
}

/** What `calibrate` fits; plain data, to be given to `Show.create` again. */
export interface Fitted {
  /** In their order. */
  readonly labels: readonly string[];
  readonly threshold: number;
  readonly fallback: Fallback;
  readonly vote: NearestVote | null;
  readonly ridge: RidgePrior | null;
  /**
   * By count: what is taken off the logarithm of each label's probability, in the order of the labels. Behind another count, that of the
   * nearest. Null: nothing.
   */
  readonly bias: Readonly<Record<number, readonly number[]>> | null;
}

/** What came out, and what else was tried. */
export interface Calibration extends Fitted, CalibrationPoint {
  /** With everything else as fitted. */
  readonly curve: readonly CalibrationPoint[];
  /** Accuracy of each fixed count of the grid, by its own distribution. */
  readonly fixed: readonly { readonly shots: number; readonly accuracy: number }[];
}
