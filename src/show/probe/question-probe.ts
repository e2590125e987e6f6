import { EspalierError } from '../../errors.ts';
import type { Decoder } from '../../model/decoder.ts';
import { eachLogits } from '../../model/logits-of-rows.ts';
import type { Tokenizer } from '../../model/text/tokenizer.ts';
import type { EntropyRule } from '../types.ts';
import type { RunBranches } from './label-probe.ts';

/** What is asked by default; the paper leaves the wording open. */
export const QUESTION =
  '\nGiven the examples above, are you confident that you can answer this? Reply with Yes or No.\nReply:';

/** Tokens that count as yes and as no. */
export interface YesNo {
  readonly yes: readonly number[];
  readonly no: readonly number[];
}

/** Single tokens for yes and no, with and without a space and in either case. @throws E_ARGUMENT where the tokenizer has none */
export function yesNoTokens(tokenizer: Tokenizer): YesNo {
  const [yes, no] = ['Yes', 'No'].map((word) => {
    const forms = [word, ` ${word}`, word.toLowerCase(), ` ${word.toLowerCase()}`];
    const ids = forms
      .map((form) => tokenizer.encode(form, { addSpecialTokens: false }))
      .filter((list) => list.length === 1);
    return [...new Set(ids.map(([id]) => id!))];
  });
  if (yes!.length > 0 && no!.length > 0) return { yes: yes!, no: no! };
  throw new EspalierError(
    'E_ARGUMENT',
    'The tokenizer of this model has no single token for yes and no.',
    "Probe labels instead (preset 'label'), or use another model.",
  );
}

/** Answers to the question behind one count of shots. */
export interface QuestionScore {
  readonly shots: number;
  readonly entropy: number;
  /** Probability of yes and no together, out of everything. */
  readonly mass: number;
  /** Of yes among the two. */
  readonly yes: number;
}

/** The question behind a query with each of several counts of shots, in one forward pass. */
export async function probeQuestion(
  decoder: Decoder,
  run: RunBranches,
  { yes, no }: YesNo,
  ids: readonly number[],
  counts: readonly number[],
  rule: Exclude<EntropyRule, 'label'>,
): Promise<readonly QuestionScore[]> {
  const list = counts.map((shots) => ({ ids, shots }));
  return run(list, async (hidden, branches) => {
    const scores: QuestionScore[] = [];
    const last = branches.map(({ first, count }) => first + count - 1);
    await eachLogits(decoder, hidden, last, (i, logits, logSumExp) => {
      const total = (tokens: readonly number[]) =>
        tokens.reduce((sum, token) => sum + Math.exp(logits[token]! - logSumExp), 0);
      scores.push({ shots: counts[i]!, ...scoreOf(total(yes), total(no), rule) });
    });
    return scores;
  });
}

/**
 * Entropy of yes and no (D1). raw-nats, as the paper prints it: -Σ p ln p of the probabilities out of everything, at most 2/e, and near 0
 * also where neither is likely. two-way: of the two renormalised, in nats (at most ln 2) or bits.
 */
export function scoreOf(
  yes: number,
  no: number,
  rule: Exclude<EntropyRule, 'label'>,
): { readonly entropy: number; readonly mass: number; readonly yes: number } {
  const mass = yes + no;
  const share = mass > 0 ? yes / mass : 0.5;
  const term = (p: number) => (p > 0 ? -p * Math.log(p) : 0);
  const two = term(share) + term(1 - share);
  const entropies: Readonly<Record<typeof rule, number>> = {
    'raw-nats': term(yes) + term(no),
    'two-way-nats': two,
    'two-way-bits': two / Math.LN2,
  };
  return { entropy: entropies[rule], mass, yes: share };
}
