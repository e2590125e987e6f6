import { visibleName } from '../../model/text/visible.ts';
import { duration, whole } from '../../page/html.ts';
import type { Interval } from '../statistics.ts';
import type { ItemResult } from '../types.ts';
import type { Evaluation } from './evaluation.ts';
import { examplesOf } from './examples.ts';
import { chance, minus, signed } from './page.ts';
import { isRight, itemsOf } from './pairs.ts';
import { type Summary, summaryOf } from './summary.ts';

const MOST_PAIRS = 60;
const MOST_EXAMPLES = 12;

/** Text on one line of Markdown that stays text: neither marks nor HTML, also in a table. */
export function markdownText(text: string): string {
  return visibleName(text.replace(/[\n\r\t]+/g, ' ')).replace(/[\\`*_{}[\]<>()#+!|~&$@]/g, '\\$&');
}

/**
 * The same as `evaluationPage` in Markdown: what was asked, the arms, what adaptive arms saw, where arms differ, and some items.
 * @throws as `evaluationPage`
 */
export function evaluationMarkdown(evaluation: Evaluation): string {
  const summary = summaryOf(evaluation, 'evaluationMarkdown()');
  const { model, data } = summary.evaluation;
  const parts: readonly (readonly [title: string, text: string])[] = [
    ['Arms', arms(summary)],
    ['What adaptive arms saw', entropies(summary)],
    ['Where two arms differ', pairs(summary)],
    ['Items', examples(summary)],
  ];
  const setting = summary.setting.map(([name, value]) => `- ${markdownText(name)}: ${markdownText(value)}`);
  return `# Showing examples: ${markdownText(model)}, ${markdownText(data)}

${setting.join('\n')}

${parts.map(([title, text]) => `## ${title}\n\n${text}`).join('\n\n')}
`;
}

/** @param cells Markdown */
function tableOf(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(heads), line(heads.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

const range = ({ low, high }: Interval): string => `${minus(low)} to ${minus(high)}`;
const time = (milliseconds: number | null): string => (milliseconds === null ? '–' : duration(milliseconds));

function arms({ evaluation, reports }: Summary): string {
  const { against } = evaluation;
  const rows = reports.map(({ arm, items, result }) => {
    if (result === null)
      return [markdownText(arm), 'not measured', '', '', '', '', ...(against === undefined ? [] : ['']), whole(items)];
    const { accuracy, difference, meanShots, milliseconds, firstMilliseconds } = result;
    const held = difference ? `${signed(difference.value)} (${range(difference)})` : '–';
    return [
      markdownText(arm),
      accuracy.value.toFixed(3),
      range(accuracy),
      meanShots.toFixed(1),
      time(milliseconds),
      time(firstMilliseconds),
      ...(against === undefined ? [] : [held]),
      whole(items),
    ];
  });
  const held = against === undefined ? [] : [`against ${markdownText(against)}`];
  const skipped = reports.flatMap(({ arm, skipped }) =>
    skipped === null ? [] : [`- ${markdownText(`${arm}: ${skipped}`)}`],
  );
  const list = tableOf(['arm', 'right', '95 %', 'examples', 'a query', 'first token', ...held, 'items'], rows);
  return skipped.length === 0 ? list : `${list}\n\nSkipped:\n\n${skipped.join('\n')}`;
}

function entropies({ entropies }: Summary): string {
  if (entropies.length === 0) return 'No adaptive arm was run, or its results do not tell what was tried.';
  const rows = entropies.flatMap(({ arm, thresholds, behind }) =>
    behind.map(({ shots, chosen, right, wrong, meanRight, meanWrong }) => {
      const sum = (list: readonly number[]) => list.reduce((total, count) => total + count, 0);
      const mean = (x: number | null) => (x === null ? '–' : x.toFixed(3));
      const sure = thresholds.map((one) => one.toFixed(3)).join(', ');
      return [
        markdownText(arm),
        whole(shots),
        whole(sum(right)),
        mean(meanRight),
        whole(sum(wrong)),
        mean(meanWrong),
        whole(chosen),
        sure,
      ];
    }),
  );
  const heads = [
    'arm',
    'examples',
    'right',
    'their mean entropy',
    'wrong',
    'their mean entropy',
    'answered here',
    'threshold',
  ];
  return tableOf(heads, rows);
}

function pairs({ evaluation, pairs }: Summary): string {
  if (pairs.length === 0) return 'Fewer than two arms have answered.';
  const name = (i: number) => markdownText(evaluation.options.arms[i]!.name);
  const rows = pairs.slice(0, MOST_PAIRS).map((pair) => {
    const { a, b, both, onlyA, onlyB, none, p } = pair;
    return [name(a), name(b), ...[itemsOf(pair), both, onlyA, onlyB, none].map(whole), chance(p)];
  });
  const left = pairs.length - rows.length;
  const heads = ['first', 'second', 'items', 'both right', 'only the first', 'only the second', 'neither', 'p'];
  return `${tableOf(heads, rows)}\n\np is of an exact McNemar test.${left > 0 ? ` ${whole(left)} more pairs are not listed.` : ''}`;
}

function examples(summary: Summary): string {
  const list = examplesOf(summary, MOST_EXAMPLES);
  const { evaluation, answers, texts } = summary;
  const { arms, seeds = 1 } = evaluation.options;
  const items = list.map((one) => {
    const name = `item ${one.item}${seeds > 1 ? ` of seed ${one.seed}` : ''}`;
    const input = texts.input(one);
    const lines = one.of.flatMap((result, i) =>
      result ? [`  - ${markdownText(arms[i]!.name)}: ${told(result)}`] : [],
    );
    return [
      `- ${markdownText(input ?? name)} (${input === null ? '' : `${name}; `}gold: ${markdownText(one.truth)})`,
      ...lines,
    ].join('\n');
  });
  const left = answers.length - list.length;
  return `${items.join('\n') || 'There is none.'}${left > 0 ? `\n\n${whole(left)} more items are not listed.` : ''}`;
}

function told(result: ItemResult): string {
  const { label, top = [], shots } = result;
  const likeliest = top.map((one) => `${markdownText(one.label)} ${one.probability.toFixed(3)}`).join(', ');
  return `${isRight(result) ? '✓' : '✗'} ${markdownText(label)}, ${whole(shots)} ${shots === 1 ? 'example' : 'examples'}${likeliest === '' ? '' : ` (${likeliest})`}`;
}
