import { checkedText } from '../../options/texts.ts';
import { sentenceChrf } from './chrf.ts';
import { objectIn, pairsF1, pairsOf } from './json-pairs.ts';
import { lastNumber } from './last-number.ts';
import { plainForm } from './plain-form.ts';
import { sentenceRouge } from './rouge.ts';

/** How an answer in free text is held against the one that is right. */
export const MEASURES = ['exact', 'number', 'json', 'chrf', 'rouge-l'] as const;
export type Measure = (typeof MEASURES)[number];

interface MeasureRule {
  /** Whether scores lie between 0 and 1 too; else they are one of these. */
  readonly graded: boolean;
  /** What a right answer must have to be measured against; null: nothing. */
  readonly lacks: (truth: string) => string | null;
  score(text: string, truth: string): number;
}

const nothing = () => null;

const RULES: Readonly<Record<Measure, MeasureRule>> = {
  exact: { graded: false, lacks: nothing, score: (text, truth) => Number(plainForm(text) === plainForm(truth)) },
  number: {
    graded: false,
    lacks: (truth) => (lastNumber(truth).length > 0 ? null : 'number'),
    // what the truth says is known; an answer may be of a language that writes otherwise
    score: (text, truth) => Number(lastNumber(text).includes(lastNumber(truth)[0] ?? '')),
  },
  json: {
    graded: true,
    lacks: (truth) => (objectIn(truth) ? null : 'valid object of JSON'),
    score: (text, truth) => {
      const [own, wanted] = [objectIn(text), objectIn(truth)];
      return own && wanted ? pairsF1(pairsOf(own), pairsOf(wanted)) : 0;
    },
  },
  chrf: { graded: true, lacks: nothing, score: (text, truth) => sentenceChrf(text, [truth]).score / 100 },
  'rouge-l': { graded: true, lacks: nothing, score: (text, truth) => sentenceRouge(text, [truth]).rougeL.f1 },
};

/** Whether a measure gives shares, and not right or wrong alone. */
export const isGraded = (measure: Measure): boolean => RULES[measure].graded;

/** What a right answer lacks to be measured against; null: nothing. */
export const lacking = (measure: Measure, truth: string): string | null => RULES[measure].lacks(truth);

/**
 * One answer against the right one, from 0 to 1.
 *
 * `exact`: 1 where both are the same but for case and white space. `number`: 1 where the last number is the same, behind `####` on its line where that
 * stands there (`lastNumber`). `json`: F1 over pairs of path and value of the first object of JSON in each (`pairsOf`); 0 where the text has none that is
 * valid. `chrf`: chrF2 of sacreBLEU. `rouge-l`: F1 of ROUGE-L of rouge_score, without a stemmer: of words of a to z and digits alone.
 *
 * @throws E_ARGUMENT for what is no text
 */
export function scoreText(measure: Measure, text: string, truth: string): number {
  checkedText(text, 'The answer');
  checkedText(truth, 'The right answer');
  return Math.min(1, Math.max(0, RULES[measure].score(text, truth)));
}
