import { EspalierError } from '../../errors.ts';
import { readable } from '../../options/check.ts';
import { shown } from '../../options/shown.ts';
import { checkedText } from '../../options/texts.ts';

/**
 * References of hypotheses: one text each, or several lists of such, each with a text for every hypothesis or null where it has none.
 */
export type References = readonly string[] | readonly (readonly (string | null)[])[];

/** A score that is computed from sums of counts over segments. */
export interface Metric<S> {
  /** As in `BLEU`, `chrF2`, `chrF2++`. */
  readonly name: string;
  /** Counts of one segment; those of a corpus are their sums. */
  statistics(hypothesis: string, references: readonly string[]): number[];
  /** From counts that are summed. */
  score(statistics: ArrayLike<number>): S;
  /** What makes two figures comparable, but for references and samples. */
  readonly settings: readonly string[];
  /** Of the program whose figures these are. */
  readonly version: string;
}

/** What every score has. */
export interface Score {
  readonly name: string;
  /** From 0 to 100. */
  readonly score: number;
}

/** A segment and the references that it has. */
export interface Segment {
  readonly hypothesis: string;
  readonly references: readonly string[];
}

/** @throws E_ARGUMENT for what is no list of texts, for lists of different lengths, empty ones, and a hypothesis without a reference */
export function segmentsOf(hypotheses: readonly string[], references: References): Segment[] {
  return readable('The texts', () => {
    const list = texts(hypotheses, 'hypotheses', false) as readonly string[];
    if (!Array.isArray(references) || references.length === 0) {
      throw refused(`The references are ${shown(references)}.`, 'Give a list of texts, or several.');
    }
    const lists = (Array.isArray(references[0]) ? references : [references]) as readonly (readonly (string | null)[])[];
    for (const [r, one] of lists.entries()) {
      const { length } = texts(one, `references[${r}]`, true);
      if (length !== list.length) {
        throw refused(`There are ${list.length} hypotheses against ${length} references.`, 'Give as many of both.');
      }
    }
    return list.map((hypothesis, i) => {
      const own = lists.map((one) => one[i]!).filter((reference) => reference !== null);
      if (own.length > 0) return { hypothesis, references: own };
      throw refused(`Hypothesis ${i + 1} has no reference.`, 'Give one or more.');
    });
  });
}

/** One text and its references. @throws E_ARGUMENT for what is no text and no list of texts, and for an empty list */
export function segmentOf(hypothesis: string, references: readonly string[]): Segment {
  checkedText(hypothesis, 'The hypothesis');
  return readable('The references', () => {
    return { hypothesis, references: [...(texts(references, 'references', false) as readonly string[])] };
  });
}

/** @throws E_ARGUMENT */
function texts(list: unknown, name: string, nullable: boolean): readonly (string | null)[] {
  if (!Array.isArray(list)) throw refused(`${name} are ${shown(list)}.`, 'Give a list of texts.');
  if (list.length === 0) throw refused(`There are no ${name}.`, 'Give one or more texts.');
  const wrong = Array.from(list.keys()).find((i) => typeof list[i] !== 'string' && !(nullable && list[i] === null));
  if (wrong !== undefined) throw refused(`${name}[${wrong}] is ${shown(list[wrong])}.`, 'Give a text.');
  return list;
}

const refused = (what: string, hint: string) => new EspalierError('E_ARGUMENT', what, hint);

/** Counts of each segment. */
export function statisticsOf(metric: Metric<unknown>, segments: readonly Segment[]): number[][] {
  return segments.map(({ hypothesis, references }) => metric.statistics(hypothesis, references));
}

/** Sums over segments. */
export function summed(statistics: readonly (readonly number[])[]): number[] {
  const sums = new Array<number>(statistics[0]!.length).fill(0);
  for (const own of statistics) for (let i = 0; i < sums.length; i++) sums[i]! += own[i]!;
  return sums;
}

/** sacreBLEU whose figures BLEU and chrF are. */
export const SACREBLEU = '2.6.0';

/**
 * A signature of a figure in the form of sacreBLEU's, with `impl:espalier`: of BLEU and chrF, same settings give the same figure there; samples are drawn by another generator.
 * @param samples such as `bs:1000` and `seed:0`
 */
export function signatureOf(
  metric: Metric<unknown>,
  segments: readonly Segment[],
  samples: readonly string[] = [],
): string {
  const counts = new Set(segments.map(({ references }) => references.length));
  const references = counts.size === 1 ? [...counts][0] : 'var';
  return [`nrefs:${references}`, ...samples, ...metric.settings, `version:${metric.version}`, 'impl:espalier'].join(
    '|',
  );
}
