import { percent, table, whole } from '../../page/html.ts';
import { escaped } from '../../page/text.ts';
import type { ItemResult } from '../types.ts';
import { type Answers, isRight } from './pairs.ts';
import type { Summary } from './summary.ts';

/** Answers that examples on a page show at most, and examples. */
const MOST_ANSWERS = 1500;
const MOST_EXAMPLES = 250;
/** Texts of what was shown that stand below an answer at most. */
const MOST_TEXTS = 16;

/**
 * Items that are worth looking at before others: those that one of the two alone has right, then those that any arms differ on, then the rest. Within
 * each in their order.
 */
export function examplesOf({ answers, pairs }: Summary, most: number): readonly Answers[] {
  const [first] = pairs;
  const rank = ({ of }: Answers): number => {
    const [a, b] = first ? [of[first.a], of[first.b]] : [];
    if (a && b && isRight(a) !== isRight(b)) return 0;
    const rights = of.flatMap((one) => (one ? [isRight(one)] : []));
    return rights.some((right) => right !== rights[0]) ? 1 : 2;
  };
  return answers
    .map((one) => ({ one, rank: rank(one) }))
    .sort((x, y) => x.rank - y.rank)
    .slice(0, most)
    .map(({ one }) => one);
}

/** How many a page shows of so many arms. */
export const fitting = (arms: number): number =>
  Math.min(MOST_EXAMPLES, Math.max(10, Math.floor(MOST_ANSWERS / Math.max(1, arms))));

/** What arms make of an item, by their number: 1 right, 0 wrong, - not asked. */
export const outcomes = ({ of }: Answers): string => of.map((one) => (one ? (isRight(one) ? '1' : '0') : '-')).join('');

/** One item, to be opened. */
export function example(answers: Answers, summary: Summary): string {
  const { texts, pairs, evaluation } = summary;
  const { arms, seeds = 1 } = evaluation.options;
  const { seed, item, truth, of } = answers;
  const input = texts.input(answers);
  const name = `item ${item}${seeds > 1 ? ` of seed ${seed}` : ''}`;
  const [first] = pairs;
  const told = (first ? [first.a, first.b] : []).flatMap((i) =>
    of[i] ? [`${escaped(arms[i]!.name)} ${verdict(of[i])}`] : [],
  );
  const rows = of.flatMap((result, i) => (result ? [{ cells: cells(arms[i]!.name, result) }] : []));
  const shown = of.flatMap((result, i) => (result ? [shownOf(arms[i]!.name, result, summary)] : []));
  const gold = [`gold: ${escaped(truth)}`, ...told].join(' · ');
  return `<details class="example" data-o="${outcomes(answers)}"><summary>${escaped(input ?? name)}<small>${gold}</small></summary>
<div>${input === null ? '' : `<p class="hint">${name}</p>\n`}${table(`Answers to ${name}`, ['arm', 'answer', 'likeliest', 'examples'], rows, true)}
${shown.filter((html) => html !== '').join('\n')}</div></details>`;
}

const verdict = (result: ItemResult): string => (isRight(result) ? 'right' : 'wrong');

function cells(arm: string, result: ItemResult): readonly string[] {
  const { label, top = [], shots, tried = [], fallback } = result;
  const right = isRight(result);
  const list = top.map(
    (one) =>
      `<li style="--p:${(100 * Math.min(1, Math.max(0, one.probability))).toFixed(1)}%"><span>${escaped(one.label)}</span> ${percent(one.probability)}</li>`,
  );
  const steps = tried.map((one) => `${whole(one.shots)}: ${one.entropy.toFixed(2)}`).join(', ');
  const note =
    steps === ''
      ? ''
      : `<br><small>entropy behind ${escaped(steps)}${fallback ? '; none was sure enough' : ''}</small>`;
  return [
    escaped(arm),
    `<span class="${right ? 'yes' : 'no-answer'}">${right ? '✓' : '✗'}</span> ${escaped(label)}`,
    list.length === 0 ? '<span class="none">not recorded</span>' : `<ol class="top">${list.join('')}</ol>`,
    `${whole(shots)}${note}`,
  ];
}

/** The examples that an arm was shown, where the data are known. */
function shownOf(arm: string, result: ItemResult, { texts }: Summary): string {
  const shots = result.shown?.length ? texts.shots(result) : null;
  if (!shots || shots.length === 0) return '';
  const list = shots.slice(0, MOST_TEXTS).map(({ input, output }) => `<li>${escaped(input)} → ${escaped(output)}</li>`);
  const left = result.shots - list.length;
  const more = left > 0 ? `<li class="none">and ${whole(left)} more</li>` : '';
  return `<details><summary>What ${escaped(arm)} was shown: ${whole(result.shots)} ${result.shots === 1 ? 'example' : 'examples'}</summary>
<ol class="shown">${list.join('')}${more}</ol></details>`;
}
