import type { ModelConfig } from '../../checkpoint/types.ts';
import { throwIfAborted } from '../../errors.ts';
import type { AdapterFacts } from '../../model/adapters.ts';
import type { ScoredToken } from '../../model/model.ts';
import type { EncodePromptOptions, ScoreOptions } from '../../model/options.ts';
import { encodePromptOptions } from '../../model/options.ts';
import type { TokenIds } from '../../model/prompt.ts';
import { checked, filled } from '../../options/check.ts';
import { defined } from '../../options/defined.ts';
import { callback, defaulting, type Schema, signal, whole } from '../../options/rules.ts';
import { distributionOf, type EntropyDistribution } from './distribution.ts';
import { type AuditedRouting, auditedRouting } from './experts.ts';
import { type EntropyOptions, entropyOptions } from './options.ts';
import { checkedCut, type EntropySplit, splitEntropies } from './split.ts';

/** What of a model an audit needs: a `Model` in a worker, or a `LocalModel`. */
export interface AuditModel {
  readonly name: string;
  readonly config: Pick<ModelConfig, 'vocabSize'>;
  /** Where one has experts, the audit tells which of them act. */
  readonly adapters?: readonly Pick<AdapterFacts, 'experts'>[];
  score(text: string | TokenIds, options: ScoreOptions & EncodePromptOptions): Promise<ScoredToken[]>;
  scoreBatch(
    texts: readonly (string | TokenIds)[],
    options: ScoreOptions & EncodePromptOptions,
  ): Promise<ScoredToken[][]>;
}

/** Tokens of which some count, such as an example of training data. */
export interface AuditSequence {
  readonly ids: TokenIds;
  /** By token, 1: it counts. Default: all that something stands before. */
  readonly learned?: ArrayLike<number>;
  /** For people: where it is from. */
  readonly name?: string;
}

export interface AuditOptions extends EntropyOptions, EncodePromptOptions {
  /** How many of the likeliest tokens are told for each place, up to 64. Default 5. */
  readonly top?: number;
  readonly signal?: AbortSignal;
  /** Of one text tokens, of several texts: done and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

export const auditOptions = {
  ...entropyOptions,
  top: defaulting(whole(1, 64), 5),
  ...encodePromptOptions,
  signal,
  onProgress: callback,
} as const satisfies Schema<AuditOptions>;

/** A token, and how certain the model was of what comes in its place. */
export interface AuditedToken {
  readonly id: number;
  readonly text: string;
  /** Of the prediction that this token was to be guessed from; null of a first token, which nothing predicts. */
  readonly entropy: number | null;
  readonly high: boolean | null;
  /** Whether it counts in shares and histogram. */
  readonly counts: boolean;
  /** Natural log of its probability; null as above. */
  readonly logprob: number | null;
  /** What was likeliest in its place, the likeliest first. */
  readonly top: readonly { readonly id: number; readonly text: string; readonly logprob: number }[];
  /** Of the model with the adapter; null of a first token, and of a model without experts that act by position. */
  readonly routing: AuditedRouting | null;
}

export interface AuditedText {
  readonly name: string | null;
  readonly tokens: readonly AuditedToken[];
}

export interface EntropyAudit {
  readonly model: string;
  /** Names of the experts that act by position, as the adapter has them; null: it has none. */
  readonly experts: readonly string[] | null;
  readonly split: EntropySplit;
  readonly distribution: EntropyDistribution;
  readonly texts: readonly AuditedText[];
}

/** Texts that are scored together. */
const TOGETHER = 32;

/**
 * Which tokens of texts the model was uncertain about, from one forward pass: those in whose place its prediction has a Tsallis entropy above
 * a cut. Of several texts the share, the percentile and the histogram are over all of them. Of a model with an adapter whose experts act by
 * position also which acted, and what the gate said.
 * @throws E_ARGUMENT for a cut that cannot be reached, and where no token counts; what `score` throws
 */
export async function auditEntropy(
  model: AuditModel,
  input: string | TokenIds | readonly AuditSequence[],
  options: AuditOptions = {},
): Promise<EntropyAudit> {
  const given = filled(auditOptions, checked<AuditOptions>(auditOptions, options, 'auditEntropy'));
  const { q, cut, percentile, fallback, top, addBos, specialTokens, signal, onProgress } = given;
  const { vocabSize } = model.config;
  const rules = { q, fallback, ...defined({ cut, percentile }) };
  checkedCut(rules, vocabSize);
  const sequences = isSequences(input) ? input : [{ ids: input }];
  const experts = model.adapters?.find((adapter) => adapter.experts !== undefined)?.experts ?? null;
  const scoring = { tsallisOrder: q, top, specialTokens, routing: experts !== null, ...defined({ addBos, signal }) };
  const scored: ScoredToken[][] = [];
  if (sequences.length === 1) {
    scored.push(await model.score(sequences[0]!.ids, { ...scoring, ...defined({ onProgress }) }));
  }
  while (scored.length < sequences.length) {
    throwIfAborted(signal);
    onProgress?.(scored.length, sequences.length);
    const some = sequences.slice(scored.length, scored.length + TOGETHER);
    scored.push(
      ...(await model.scoreBatch(
        some.map(({ ids }) => ids as TokenIds),
        scoring,
      )),
    );
  }
  const counted = scored.flatMap((tokens, i) => countedOf(tokens, sequences[i]!));
  const split = splitEntropies(counted, vocabSize, rules);
  const texts = scored.map((tokens, i) => auditedText(tokens, sequences[i]!, split.cut));
  return { model: model.name, experts, split, distribution: distributionOf(counted), texts };
}

type Sequence = Omit<AuditSequence, 'ids'> & { readonly ids: string | TokenIds };

function isSequences(input: string | TokenIds | readonly AuditSequence[]): input is readonly AuditSequence[] {
  return Array.isArray(input) && input.some((one) => typeof one === 'object');
}

const counts = ({ learned }: Sequence, t: number): boolean => t > 0 && (learned === undefined || learned[t] === 1);

/** Entropy of the prediction after a token. */
const entropyAfter = ({ tsallis, entropy }: ScoredToken): number => tsallis ?? entropy;

function countedOf(tokens: readonly ScoredToken[], sequence: Sequence): number[] {
  return tokens.flatMap((_, t) => (counts(sequence, t) ? [entropyAfter(tokens[t - 1]!)] : []));
}

function auditedText(tokens: readonly ScoredToken[], sequence: Sequence, cut: number): AuditedText {
  const audited = tokens.map(({ id, text, logprob }, t): AuditedToken => {
    const before = tokens[t - 1];
    if (before === undefined) {
      return { id, text, entropy: null, high: null, counts: false, logprob, top: [], routing: null };
    }
    const entropy = entropyAfter(before);
    const routing = before.routing ? auditedRouting(before.routing) : null;
    const high = entropy > cut;
    return { id, text, entropy, high, counts: counts(sequence, t), logprob, top: before.top ?? [], routing };
  });
  return { name: sequence.name ?? null, tokens: audited };
}
