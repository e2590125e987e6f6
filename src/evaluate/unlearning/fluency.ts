/** Whether texts read as written by somebody, without a judge: words are what stands between white space, in lower case. */
import { EspalierError } from '../../errors.ts';
import { shown } from '../../options/shown.ts';
import { checkedText } from '../../options/texts.ts';
import { ngrams } from '../scores/ngrams.ts';
import { words } from '../scores/words.ts';
import { mean } from '../statistics.ts';

/** Shares from 0 to 1; null where the texts are too short. */
export interface Variety {
  /** distinct-n (Li et al. 2016): different runs of n words in all texts, of all such runs. Low where all texts are alike. */
  readonly distinct2: number | null;
  readonly distinct3: number | null;
  /** Mean over texts of the share of runs of four words that stood in the same text before (Welleck et al. 2020). High where a text goes in circles. */
  readonly repetition: number | null;
}

/** Of texts without spaces between words, such as Chinese, nothing is said. @throws E_ARGUMENT */
export function variety(texts: readonly string[]): Variety {
  if (!Array.isArray(texts)) throw new EspalierError('E_ARGUMENT', `The texts are ${shown(texts)}.`, 'Give a list.');
  const lists = texts.map((text, i) => words(checkedText(text, `Text ${i + 1}`).toLowerCase()));
  const repeated = lists.flatMap((list) => {
    const total = list.length - 3;
    return total > 0 ? [1 - ngrams(list, 4).size / total] : [];
  });
  const repetition = repeated.length > 0 ? mean(repeated) : null;
  return { distinct2: distinct(lists, 2), distinct3: distinct(lists, 3), repetition };
}

function distinct(lists: readonly (readonly string[])[], n: number): number | null {
  const seen = new Set<string>();
  let total = 0;
  for (const list of lists) {
    for (const ngram of ngrams(list, n).keys()) seen.add(ngram);
    total += Math.max(0, list.length - n + 1);
  }
  return total > 0 ? seen.size / total : null;
}
